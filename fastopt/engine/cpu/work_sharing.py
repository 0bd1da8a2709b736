"""Work sharing: workers take blocks of rows or tiles by atomic counters, each on its own cache line.

A worker without work spins for some microseconds, then yields the processor. No worker is ever waited for
before it has taken an item, so a run goes on at full speed when the others come late or not at all, as on a
busy machine.

A phase is open while its counters hold numbers of items. Whoever finds it open finds its inputs ready,
because opening is the last thing written; so a worker need not know which phase or step it is about to join.
"""

import ctypes
import functools
import sys

import numpy as np
from numba import njit

from fastopt.engine.cpu.context import LINE
from fastopt.engine.cpu.vector_math import INNER_JIT
from fastopt.kernels.intrinsics import call, fetch_add, load_shared, pause, store_shared, vector

#: Places of the counters, in lines: who came first; whether the run is over; whether it is to stop; the next
#: block of rows, and how many are done; how many tiles are done; the next task of a program, and how many are
#: done; from there on each worker's next tile. Numba compiles a function anew for each literal integer that
#: it is given, not so for NumPy's.
LEADER, OVER, STOP, NEXT_BLOCK, BLOCKS_DONE, TILES_DONE, NEXT_TASK, TASKS_DONE, NEXT_TILE = map(
    np.int64, range(9)
)
#: What a counter holds while its phase is closed.
CLOSED = np.int64(1 << 62)
#: Number of spins so far of who has found work.
NOT_IDLE = np.int64(0)
#: Spins before yielding: some 20 microseconds.
_PATIENCE = 500


@functools.cache
def give_way_address():
    """Return the address of the operating system's function that yields the processor."""
    library = ctypes.windll.kernel32 if sys.platform == "win32" else ctypes.CDLL(None)
    function = library.SwitchToThread if sys.platform == "win32" else library.sched_yield
    return ctypes.cast(function, ctypes.c_void_p).value


@njit(**INNER_JIT)
def line(c, place):
    """Return the address of a counter."""
    return c.counters + place * LINE


@njit(**INNER_JIT)
def _take(c, place):
    """Atomically increment a counter; return its value before."""
    if c.alone:
        counter = vector(line(c, place), np.int64, 1)
        at = counter[0]
        counter[0] = at + 1
        return at
    return fetch_add(line(c, place))


@njit(**INNER_JIT)
def _is_over(c):
    # ``stop_at`` is the counter STOP, or OVER while a batch must not be left part way.
    return load_shared(c.stop_at) != 0


@njit(**INNER_JIT)
def take_block(c):
    """Return the number of a block of rows that no worker has taken yet, or -1."""
    if _is_over(c) or load_shared(line(c, NEXT_BLOCK)) >= c.n_blocks:  # a look is cheaper than taking in vain
        return -1
    at = _take(c, NEXT_BLOCK)
    return at if at < c.n_blocks else -1


@njit(**INNER_JIT)
def take_tile(c, worker):
    """Return the number of a tile that no worker has taken yet, or -1.

    A worker's own come first, so that the state of a tile stays in one core's cache from step to step.
    """
    if _is_over(c):
        return -1
    bounds = vector(c.tile_bounds, np.int64, c.n_workers + 1)
    for turn in range(c.n_workers):
        owner = worker + turn
        if owner >= c.n_workers:
            owner -= c.n_workers
        if load_shared(line(c, NEXT_TILE + owner)) < bounds[owner + 1]:
            at = _take(c, NEXT_TILE + owner)
            if at < bounds[owner + 1]:
                return at
    return -1


@njit(**INNER_JIT)
def finish(c, place):
    """Count an item as done, in the counter BLOCKS_DONE or TILES_DONE."""
    if not c.alone:
        fetch_add(line(c, place))


@njit(**INNER_JIT)
def open_blocks(c):
    """Start a phase of blocks of rows, which workers may then take."""
    store_shared(line(c, BLOCKS_DONE), 0)
    store_shared(line(c, NEXT_BLOCK), 0)


@njit(**INNER_JIT)
def close_blocks(c):
    """Wait until all blocks are done, then let workers take no more."""
    _wait(c, BLOCKS_DONE, c.n_blocks)
    store_shared(line(c, NEXT_BLOCK), CLOSED)


@njit(**INNER_JIT)
def open_tiles(c):
    """Start a phase of tiles, which workers may then take."""
    bounds = vector(c.tile_bounds, np.int64, c.n_workers + 1)
    store_shared(line(c, TILES_DONE), 0)
    for owner in range(c.n_workers):
        store_shared(line(c, NEXT_TILE + owner), bounds[owner])


@njit(**INNER_JIT)
def close_tiles(c):
    """Wait until all tiles are done, then let workers take no more."""
    _wait(c, TILES_DONE, c.n_tiles)
    for owner in range(c.n_workers):
        store_shared(line(c, NEXT_TILE + owner), CLOSED)


@njit(**INNER_JIT)
def _wait(c, place, n_items):
    """Wait until ``n_items`` are done, or the run has ended."""
    idle = NOT_IDLE
    while not c.alone and load_shared(line(c, place)) < n_items and not _is_over(c):
        idle = relax(c, idle)


@njit(**INNER_JIT)
def relax(c, idle):
    """Pause or yield while waiting, for the ``idle``-th time in a row; return ``idle + 1``."""
    if idle < _PATIENCE:
        pause()
    else:
        call(c.give_way, ())
    return idle + 1
