"""The compiled loop over epochs, for training that has nothing to ask Python between them.

`run_epochs` is a C function that takes the place of the worker function: it shuffles, calls the worker for
the batches of an epoch, records the loss, and stops when patience has run out.
"""

import math

import numpy as np
from numba import from_dtype, njit

from fastopt.engine.cpu.context import record
from fastopt.engine.cpu.shuffling import shuffle
from fastopt.engine.cpu.vector_math import INNER_JIT
from fastopt.engine.cpu.work_sharing import OVER, line
from fastopt.kernels.intrinsics import call, record_at, store_shared, vector
from fastopt.rules import patience

#: What the loop reads and, the number of epochs done, writes.
_ADDRESSES = "context worker next_uint32 generator losses clock clock_number times"
EPOCHS = np.dtype(
    [(name, np.int64) for name in f"{_ADDRESSES} n_epochs n_done n_bad".split()]
    + [(name, np.float64) for name in "best tol n_bad_allowed".split()]
)
_EPOCHS_TYPE = from_dtype(EPOCHS)
_observe = njit(**INNER_JIT)(patience.observe)


def run_epochs(epochs, number):
    """Run epochs until they are done, patience has run out or the loss is not finite.

    ``epochs`` is the address of a record of type `EPOCHS`; ``number`` that of the worker, the only one.
    """
    e = record_at(epochs, _EPOCHS_TYPE)
    c = record(e.context)
    losses, result = vector(e.losses, np.float64, e.n_epochs), vector(c.result, np.float64, 2)
    constants, dropout, best, n_bad = c.constants, c.dropout, -e.best, e.n_bad
    while e.n_done < e.n_epochs:
        if e.next_uint32:
            shuffle(c.order, c.n_samples, e.next_uint32, e.generator)
        result[0] = result[1] = 0.0
        store_shared(line(c, OVER), 0)
        call(e.worker, (e.context, number))
        c.constants += c.last_batch * c.n_constants * c.itemsize
        c.dropout += c.last_batch * c.dropout_stride
        loss = losses[e.n_done] = result[0] / c.n_samples
        if e.clock:
            call(e.clock, (e.clock_number, e.times + 16 * e.n_done))  # two int64
        e.n_done += 1
        best, n_bad = _observe(-loss, best, n_bad, e.tol)
        if n_bad > e.n_bad_allowed or not math.isfinite(loss):
            break
    c.constants, c.dropout = constants, dropout
