#!/usr/bin/env bash
# SciPy 1.17.1: `minimize(..., callback=f)` hands `f(intermediate_result)` the live iterate with method="L-BFGS-B" and "Newton-CG": one array
# that the next iteration overwrites. Kept without a copy, all iterates are the last one. `f(xk)` gets copies from the same two methods,
# and `intermediate_result.x` is a copy under BFGS, CG, SLSQP, Nelder-Mead, Powell, trust-constr, dogleg and the other trust-region methods.
# (TNC knows no `intermediate_result` and passes xk by that name.) We had guessed copies everywhere, as the older signature gives.
#
# Seen (2026-11-28, Python 3.11): 6 calls, 1 distinct point for L-BFGS-B and Newton-CG; as many points as calls for the others and for f(xk).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet numpy==2.4.6 scipy==1.17.1
"$work/venv/bin/python" - <<'PY'
import numpy as np
import scipy
from scipy.optimize import minimize

assert scipy.__version__ == "1.17.1", scipy.__version__


def quartic(x):
    return ((x - 3.0) ** 4).sum()


def gradient(x):
    return 4.0 * (x - 3.0) ** 3


def hessian(x):
    return np.diag(12.0 * (x - 3.0) ** 2)


def distinct(method, with_result):
    kept = []
    if with_result:
        callback = lambda intermediate_result: kept.append(intermediate_result.x)
    else:
        callback = lambda xk: kept.append(xk)
    given = {"jac": gradient} if method not in ("Nelder-Mead", "Powell") else {}
    given |= {"hess": hessian} if method.startswith(("Newton", "trust", "dogleg")) else {}
    minimize(quartic, np.array([0.0, 1.0]), method=method, callback=callback, options={"maxiter": 6}, **given)
    return len(kept), len({tuple(x) for x in kept})


for method in ("L-BFGS-B", "Newton-CG", "BFGS", "CG", "SLSQP", "Nelder-Mead", "Powell", "trust-ncg", "trust-krylov", "trust-exact", "dogleg"):
    calls, points = distinct(method, with_result=True)
    old_calls, old_points = distinct(method, with_result=False)
    print(f"{method:12} intermediate_result: {calls} calls, {points} points; xk: {old_calls} calls, {old_points} points")
    assert calls > 1
    assert points == (1 if method in ("L-BFGS-B", "Newton-CG") else calls)
    assert old_points == old_calls
PY
