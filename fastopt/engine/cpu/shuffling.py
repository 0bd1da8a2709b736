"""Shuffling in compiled code, with the draws and swaps of `numpy.random.RandomState.shuffle`."""

import contextlib
import ctypes
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from fastopt.engine.cpu.vector_math import INNER_JIT
from fastopt.kernels.intrinsics import draw_uint32, vector


class Draws(NamedTuple):
    """A random state's generator as compiled code uses it; whoever draws holds ``lock``.

    Attributes
    ----------
    next_uint32 : int
        Address of the C function that draws 32 bits.
    state : int
        Address that the function takes. Valid as long as the random state lives.
    lock : threading.Lock
        NumPy's own.
    """

    next_uint32: int
    state: int
    lock: Any


#: Of what is not shuffled.
NO_DRAWS = Draws(0, 0, contextlib.nullcontext())


def draws(random_state: np.random.RandomState) -> Draws:
    """Return the generator of a random state, whichever of NumPy's or others' it is.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.engine.cpu.shuffling import draws
    >>> draws(np.random.RandomState(0)).next_uint32 != 0
    True
    """
    generator = random_state._bit_generator
    interface = generator.ctypes
    function = ctypes.cast(interface.next_uint32, ctypes.c_void_p).value
    return Draws(function or 0, interface.state_address, generator.lock)


@njit(**INNER_JIT)
def shuffle(order, n, next_uint32, state):
    """Shuffle the ``n`` int64 at the address ``order`` in place; ``n`` is below 2**32.

    NumPy's legacy algorithm: from the last element on each is exchanged with itself or one before it, whose
    number is drawn by rejecting what the lowest bits of a draw exceed it by.
    """
    rows = vector(order, np.int64, n)
    mask = np.uint32(0)
    for bit in range(32):
        if np.int64(n - 1) >> bit:
            mask |= np.uint32(1) << np.uint32(bit)
    for i in range(n - 1, 0, -1):
        if np.uint32(i) <= mask >> np.uint32(1):
            mask >>= np.uint32(1)
        j = draw_uint32(next_uint32, state) & mask
        while j > np.uint32(i):
            j = draw_uint32(next_uint32, state) & mask
        rows[i], rows[j] = rows[j], rows[i]
