#!/usr/bin/env bash
# JAX 0.10.2 on the CPU: a product that is subnormal is 0 when XLA computes it at run time, and the exact subnormal number when XLA folds
# it at compile time. `jax.jit(lambda a: a * 0.5)(1e-40)` is 0; the same product of a constant inside the function is 5e-41. Within one
# array operations disagree, too: `abs` returns the subnormal number, `maximum(x, 0)` and `sum` return 0, and `x > 0` is False.
# We knew that XLA's CPU threads flush subnormal numbers, and had guessed that it does so in every case.
#
# Seen (2026-11-28, Python 3.11, x86-64): run time 0.0, folded 5e-41, abs 1e-40, maximum 0.0, x > 0 False.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet numpy==2.4.6 jax==0.10.2 jaxlib==0.10.2
JAX_PLATFORMS=cpu "$work/venv/bin/python" - <<'PY'
import jax
import jax.numpy as jnp
import numpy as np

assert (np.__version__, jax.__version__) == ("2.4.6", "0.10.2")
tiny = np.float32(1e-40)
x = jnp.full(4, tiny)
at_run_time = float(jax.jit(lambda a: a * 0.5)(x)[0])
folded = float(jax.jit(lambda: jnp.float32(1e-40) * 0.5)())
print("run time:", at_run_time, " folded at compile time:", folded)
assert at_run_time == 0.0
assert np.float32(folded) == tiny * np.float32(0.5) != 0.0
seen = {
    "abs": float(jnp.abs(x)[0]),
    "maximum(x, 0)": float(jnp.maximum(x, 0)[0]),
    "sum": float(x.sum()),
    "x > 0": bool((x > 0)[0]),
}
print(seen)
assert np.float32(seen["abs"]) == tiny
assert seen["maximum(x, 0)"] == seen["sum"] == 0.0
assert not seen["x > 0"]
PY
