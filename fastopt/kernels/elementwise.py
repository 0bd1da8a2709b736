"""Update kernels: one C function per rule and dtype, called by address.

``void update(T *w, const T *g, T *s, int64 stride, const T *c, int64 lo, int64 hi)`` updates the elements
``lo`` to ``hi`` of ``w`` in place. Slot ``k`` starts at ``s + k * stride``; ``c`` is the row of constants
``[grad_scale, l2, keep, *the rule's own]``. Elements are independent, so any split into chunks, on any number
of threads, gives the same bits.
"""

import functools

import numpy as np
import numpy.typing as npt
from numba import from_dtype, types

from fastopt.kernels import elementwise_loops, quantized_state, subnormals
from fastopt.kernels.binding import bind, compile_c, compile_scalar
from fastopt.rules.quantized_state import Reduced
from fastopt.rules.registry import Rule

DTYPES = ("float32", "float64")


@functools.cache
def update_kernel(rule: Rule | Reduced, dtype: str):
    """Return the compiled update of ``rule`` for arrays of ``dtype`` ('float32' or 'float64').

    Compiled at the first call and cached on disk, if the rule has a file. The result's ``address`` stays
    valid for the life of the process.
    """
    scalar = np.dtype(dtype).type
    if isinstance(rule, Reduced):
        array, own, stored = types.int64, quantized_state.names(scalar), np.float32
        template, suffix = quantized_state.template(rule), f"_{dtype}_{rule.state_dtype}"
    else:
        array, own, stored = types.CPointer(from_dtype(np.dtype(dtype))), elementwise_loops.NAMES, scalar
        template, suffix = elementwise_loops.loop(len(rule.slots)), f"_{dtype}"
        own = own | {"n_constants": rule.n_constants}
    signature = types.void(array, array, array, types.int64, array, types.int64, types.int64)
    kernel = bind(
        template,
        rule.function,
        suffix,
        rule=compile_scalar(rule.function, scalar),
        prologue=compile_scalar(elementwise_loops.prologue, scalar),
        flush=compile_scalar(subnormals.flush, stored),
        tiny=stored(subnormals.TINY[np.dtype(stored).name]),
        **own,
    )
    return compile_c(signature, kernel)


def update_address(rule: Rule | Reduced, dtype: npt.DTypeLike) -> int:
    """Return the address of `update_kernel` as an integer, for `fastopt.kernels.intrinsics.call`."""
    return update_kernel(rule, np.dtype(dtype).name).address
