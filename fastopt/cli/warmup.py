"""``warmup``: compile all kernels into the cache, for images and machines whose first fit must not wait."""

from __future__ import annotations

import sys
import time

# Seconds of one server core (2024) with an empty cache; with a full one, one or two.
_USUAL = {
    "networks on dense rows": 6,
    "networks on sparse rows": 3,
    "update rules": 30,
    "optimizers": 19,
    "wrappers": 9,
}


def add_arguments(parser):
    """Add the arguments of ``warmup``; return the function that runs it."""
    choices = ("float32", "float64")
    parser.add_argument(
        "--dtypes", nargs="+", choices=choices, default=list(choices), help="types to compile for"
    )
    return _warmup


def _warmup(arguments):
    """Compile part after part, with a line for each that says what it does and how long it usually takes."""
    from .. import engine, list_optimizers

    start = time.perf_counter()
    usual = sum(_USUAL.values()) * len(arguments.dtypes)
    print(f"With an empty cache this takes about {usual} s on a machine that is free.", flush=True)
    for dtype in arguments.dtypes:
        work = {
            "networks on dense rows": lambda dtype=dtype: _network(dtype, sparse=False),
            "networks on sparse rows": lambda dtype=dtype: _network(dtype, sparse=True),
            "update rules": lambda dtype=dtype: engine.warmup([dtype]),
            "optimizers": lambda dtype=dtype: _optimizers(dtype),
            "wrappers": lambda dtype=dtype: _wrappers(dtype),
        }
        for part, compile_part in work.items():
            _timed(f"{dtype}: {part}, about {_USUAL[part]} s ...", compile_part)
    seconds = time.perf_counter() - start
    kinds = " and ".join(arguments.dtypes)
    n_optimizers = len(list_optimizers())
    print(
        f"Kernels of the networks and of {n_optimizers} optimizers are ready for {kinds} ({seconds:.1f} s)."
    )


def _timed(part, compile_part):
    """Print a line before and after a part, the second with its seconds."""
    print(part, flush=True)
    start = time.perf_counter()
    compile_part()
    print(f"  ready after {time.perf_counter() - start:.1f} s", flush=True)


def _network(dtype, *, sparse):
    """Compile the engine by a small fit and prediction; `engine.warmup` adds the other activations."""
    from scipy.sparse import csr_array

    rows = _rows(dtype)
    _fitted(csr_array(rows) if sparse else rows, "adam").predict(rows)


def _rows(dtype):
    import numpy as np

    return np.random.default_rng(0).standard_normal((40, 4)).astype(dtype)


def _fitted(rows, solver):
    from ..neural_network import MLPClassifier

    y = [0, 1] * (rows.shape[0] // 2)
    return MLPClassifier((8,), solver=solver, random_state=0).partial_fit(rows, y, classes=[0, 1])


def _optimizers(dtype):
    """Compile each optimizer by a step with its defaults; a terminal shows their number."""
    import numpy as np

    from .. import get_optimizer, list_optimizers

    names = list_optimizers()
    for i, name in enumerate(names, 1):
        if sys.stdout.isatty():
            print(f"  {i}/{len(names)}: {name:<30}", end="\r", flush=True)
        params, grads = ([np.ones((8, 8), dtype), np.ones(8, dtype)] for _ in range(2))
        get_optimizer(name).bind(params).step(closure=lambda grads=grads: (1.0, grads))


def _wrappers(dtype):
    """Compile each wrapper and each kind of reduced state, bound to arrays and as solver of a network."""
    import numpy as np

    from .. import optimizers as o

    adam = o.Adam()
    solvers = [o.Clip(adam, norm=1.0, value=1.0, tensor_norm=1.0), o.MultiSteps(adam, n=2)]
    solvers += [o.Adam(state_dtype=kind) for kind in ("bfloat16", "int8")]
    kinds = "AdaptiveClip ASAM Cautious Centralize EMA GradientNoise Lookahead MaxNorm SAM SkipNonFinite SWA"
    solvers += [getattr(o, kind)(adam) for kind in kinds.split()]
    for solver in solvers:
        params, grads = ([np.ones((8, 8), dtype), np.ones(8, dtype)] for _ in range(2))
        solver.bind(params).step(closure=lambda grads=grads: (1.0, grads))
        _fitted(_rows(dtype), solver)
