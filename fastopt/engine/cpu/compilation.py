"""The engine compiled, and the way into it from Python.

The loop over batches and its passes are compiled once. What depends on the element type is a set of routines,
each a C function of integers that stands alone and is called by address: Numba would compile and optimise a
function again with every function that calls it.
"""

import functools
import inspect
from types import SimpleNamespace

import numpy as np
from numba import cfunc, njit, prange, types

from fastopt.engine.cpu import activations, batch_loop, inputs, layer_products
from fastopt.engine.cpu.announcement import announced
from fastopt.engine.cpu.context import DENSE_ROUTINES, SPARSE_ROUTINES
from fastopt.engine.cpu.vector_math import ENGINE_JIT
from fastopt.kernels import elementwise, intrinsics, threading_layer
from fastopt.kernels.binding import bind, digest
from fastopt.kernels.intrinsics import call
from fastopt.rules.registry import RULES

_DIGEST = digest(__file__) + digest(intrinsics.__file__)
_HOMES = (layer_products, activations, inputs, batch_loop)


def _alone(task, context, n_workers):
    call(task, (context, 0))


def _together(task, context, n_workers):
    for worker in prange(n_workers):
        call(task, (context, worker))


def _compile(template, suffix="", **names):
    """Compile a C function of integers, with the globals of the template's own file and ``names``."""
    bound = bind(template, template, suffix, digest=_DIGEST, **template.__globals__, **names)
    n_arguments = len(inspect.signature(template).parameters)
    return cfunc(types.void(*[types.int64] * n_arguments), cache=True, **ENGINE_JIT)(bound)


@functools.cache
def _entrance(parallel):
    """Return the compiled way in: here and now, or in a parallel region."""
    template = _together if parallel else _alone
    bound = bind(template, template, digest=_DIGEST, call=call, prange=prange)
    signature = types.void(*[types.int64] * 3)
    return njit([signature], parallel=parallel, nogil=True, cache=True, **ENGINE_JIT)(bound)


@functools.cache
def _task():
    return _compile(batch_loop.work)


@functools.cache
def routine(name, dtype):
    """Return a routine compiled for a dtype; its ``address`` is valid while the object lives."""
    (template,) = [vars(home)[name] for home in _HOMES if name in vars(home)]
    return _compile(template, f"_{dtype}", real=np.dtype(dtype).type)


@functools.cache
def program(dtype, sparse):
    """Return the engine compiled for a dtype: one for every network and every optimizer.

    Parameters
    ----------
    dtype : {'float32', 'float64'}
    sparse : bool
        Whether inputs may be read by their non-zeros.

    Returns
    -------
    SimpleNamespace
        ``task``, the address that `run` takes, and ``routines``, the others by name.
    """
    with announced(f"the training engine for {dtype}"):
        prepare(False)
        names = DENSE_ROUTINES + (SPARSE_ROUTINES if sparse else [])
        routines = {name: routine(name, dtype).address for name in names}
        return SimpleNamespace(task=_task().address, routines=routines)


@functools.cache
def prepare(parallel):
    """Compile the way in, before a clock runs."""
    with announced("what starts the threads"):
        threading_layer.prepare()
        _entrance(parallel)


def run(task, context, n_workers):
    """Let ``n_workers`` threads take part in a run.

    Parameters
    ----------
    task : int
        Address of a `program`.
    context : int
        Address of a record of type `context.CONTEXT`.
    n_workers : int
    """
    with threading_layer.region(n_workers):
        _entrance(n_workers > 1)(task, context, n_workers)


def warmup(dtypes=("float32", "float64")):
    """Compile the engine and the update kernels of all registered optimizers, or load them from the cache.

    Parameters
    ----------
    dtypes : sequence of {'float32', 'float64'}

    Examples
    --------
    >>> from fastopt.engine import warmup
    >>> warmup(["float32"])
    """
    for parallel in (False, True):
        _entrance(parallel)
    for dtype in dtypes:
        for sparse in (False, True):
            program(np.dtype(dtype).name, sparse)
        for rule in RULES.values():
            elementwise.update_kernel(rule, np.dtype(dtype).name)
