"""The compiled loop over epochs, for training that has nothing to ask Python between them.

`run_epochs` is a C function that takes the place of the worker function: it shuffles, calls the worker for
the batches of an epoch, records the loss, validates if it is to, and stops when patience has run out.
`run_members` does so for several networks: each worker trains one at a time, for a turn of some milliseconds,
and takes the next that no other worker is training. No worker shares the work on a network with another, so
what is computed does not depend on their number.
"""

import math

import numpy as np
from numba import njit

from fastopt.engine.cpu.context import LINE, record
from fastopt.engine.cpu.shuffling import shuffle
from fastopt.engine.cpu.vector_math import INNER_JIT
from fastopt.engine.cpu.work_sharing import NOT_IDLE, OVER, STOP, line, relax
from fastopt.kernels.intrinsics import Record, call, fetch_add, load_shared, record_at, store_shared, vector
from fastopt.rules import patience

#: Addresses: the context record for training, the worker, the generator that shuffles, the order that each
#: shuffle begins with or 0 for that of the epoch before, the losses and the clock; the context record for
#: validation or 0, its losses, its outputs, and what is best so far.
_ADDRESSES = (
    "context worker next_uint32 generator first_order losses clock clock_number times "
    "score validation_losses outputs best_params best_outputs"
).split()
#: What the loop writes: epochs and batches done, the next batch of the epoch that is under way, whether there
#: is nothing left to do, bad epochs in a row, and the number of the best epoch; the nanoseconds in which no
#: worker was at it, and since when that is. What it reads: how many epochs and batches there are, bytes of
#: parameters and outputs, and from one epoch's outputs to the next's.
_INTEGERS = (
    "n_done n_batches_done next_batch is_over n_bad best_epoch idle left_at "
    "n_epochs n_batches params_bytes outputs_bytes outputs_step"
).split()
_NUMBERS = "best tol n_bad_allowed best_score".split()
EPOCHS = np.dtype([(name, np.int64) for name in _ADDRESSES + _INTEGERS] + [(n, np.float64) for n in _NUMBERS])
_EPOCHS_TYPE, _EPOCHS_BYTES = Record("Epochs", EPOCHS), EPOCHS.itemsize
#: Networks that are trained side by side: addresses of their records of type `EPOCHS`, of their shared
#: counters, of the number that stops the run and of what yields the processor; batches of one turn.
MEMBERS = np.dtype(
    [(name, np.int64) for name in "epochs shared stop give_way n_members n_workers turn".split()]
)
_MEMBERS_TYPE = Record("Members", MEMBERS)
#: Places in a member's line of shared counters: whether a worker has it, batches done, whether it is over.
TAKEN, DONE, IS_OVER = 0, 8, 16
#: A row of times: seconds and nanoseconds at the end of an epoch, and the nanoseconds of idleness until then.
TIMES = 3
_BILLION = 10**9
#: Number of the only worker of a network.
_ONLY = np.int64(0)

_observe = njit(**INNER_JIT)(patience.observe)


@njit(**INNER_JIT)
def _copy(source, target, n_bytes):
    """Copy bytes from one address to another."""
    x, y = vector(source, np.uint8, n_bytes), vector(target, np.uint8, n_bytes)
    for i in range(n_bytes):
        y[i] = x[i]


@njit(**INNER_JIT)
def _now(e):
    """Return the nanoseconds on the clock, which it writes to the row of times of the epoch under way."""
    if not e.clock:
        return 0
    times = e.times + 8 * TIMES * e.n_done
    call(e.clock, (e.clock_number, times))  # two int64
    parts = vector(times, np.int64, TIMES)
    parts[2] = e.idle
    return _BILLION * parts[0] + parts[1]


@njit(**INNER_JIT)
def _train(e, n_most):
    """Train on the next batches of the epoch under way, ``n_most`` at the most; return how many."""
    c = record(e.context)
    result = vector(c.result, np.float64, 2)
    if e.next_batch == 0:
        if e.first_order:
            _copy(e.first_order, c.order, 8 * c.n_samples)
        if e.next_uint32:
            shuffle(c.order, c.n_samples, e.next_uint32, e.generator)
        result[0] = result[1] = 0.0
    n = min(n_most, e.n_batches - e.next_batch)
    c.first_batch, c.last_batch = e.next_batch, e.next_batch + n
    store_shared(line(c, OVER), 0)
    call(e.worker, (e.context, _ONLY))
    c.constants += n * c.n_constants * c.itemsize
    e.next_batch += n
    e.n_batches_done += n
    return n


@njit(**INNER_JIT)
def _validate(e):
    """Compute outputs and mean loss of the rows held out, and keep the best; False if stopped meanwhile."""
    s = record(e.score)
    result = vector(s.result, np.float64, 2)
    result[0] = result[1] = 0.0
    s.out = e.outputs + e.n_done * e.outputs_step
    store_shared(line(s, OVER), 0)
    call(e.worker, (e.score, _ONLY))
    if load_shared(line(s, STOP)):
        return False
    loss = result[0] / result[1]
    vector(e.validation_losses, np.float64, e.n_epochs)[e.n_done] = loss
    if loss <= e.best_score and math.isfinite(loss):
        e.best_score, e.best_epoch = loss, e.n_done
        _copy(record(e.context).params, e.best_params, e.params_bytes)
        _copy(s.out, e.best_outputs, e.outputs_bytes)
    return True


@njit(**INNER_JIT)
def _end_epoch(e):
    """Record an epoch whose batches are done, and tell by its loss whether it was the last."""
    if e.score and not _validate(e):
        return
    c = record(e.context)
    c.dropout += e.n_batches * c.dropout_stride
    loss = vector(c.result, np.float64, 1)[0] / c.n_samples
    vector(e.losses, np.float64, e.n_epochs)[e.n_done] = loss
    _now(e)
    e.n_done += 1
    e.next_batch = 0
    best, e.n_bad = _observe(-loss, -e.best, e.n_bad, e.tol)
    e.best = -best
    e.is_over = e.n_done == e.n_epochs or e.n_bad > e.n_bad_allowed or not math.isfinite(loss)


def run_epochs(epochs, number):
    """Run epochs until they are done, patience has run out or the loss is not finite.

    ``epochs`` is the address of a record of type `EPOCHS`; ``number`` that of the worker, the only one.
    """
    e = record_at(epochs, _EPOCHS_TYPE)
    while not e.is_over:
        _train(e, e.n_batches)
        _end_epoch(e)


@njit(**INNER_JIT)
def _count_left(m):
    """Return how many members are not over."""
    n = 0
    for at in range(m.n_members):
        n += load_shared(m.shared + at * LINE + IS_OVER) == 0
    return n


@njit(**INNER_JIT)
def _take_member(m):
    """Take, of the members that no worker has, one that has done the fewest batches; return -1 if none."""
    while True:
        found, fewest = np.int64(-1), np.int64(0)
        for at in range(m.n_members):
            place = m.shared + at * LINE
            if load_shared(place + TAKEN) or load_shared(place + IS_OVER):
                continue
            done = load_shared(place + DONE)
            if found < 0 or done < fewest:
                found, fewest = at, done
        if found < 0:
            return found
        place = m.shared + found * LINE
        if fetch_add(place + TAKEN) == 0:
            if not load_shared(place + IS_OVER):
                return found
            store_shared(place + TAKEN, 0)


@njit(**INNER_JIT)
def _take_turn(m, at):
    """Train member ``at``, which this worker has, for one turn, and let others take it."""
    e = record_at(m.epochs + at * _EPOCHS_BYTES, _EPOCHS_TYPE)
    n_left, place = m.turn, m.shared + at * LINE
    e.idle += _now(e) - e.left_at
    while n_left > 0 and not e.is_over and not load_shared(m.stop):
        n_left -= _train(e, n_left)
        if e.next_batch == e.n_batches:
            _end_epoch(e)
    e.left_at = _now(e)
    store_shared(place + DONE, e.n_batches_done)
    store_shared(place + IS_OVER, e.is_over)
    store_shared(place + TAKEN, 0)


def run_members(members, number):
    """Run the epochs of several networks as one worker of some, until all are done or it is to stop.

    ``members`` is the address of a record of type `MEMBERS`, ``number`` that of the worker.
    """
    m = record_at(members, _MEMBERS_TYPE)
    idle = NOT_IDLE
    while not load_shared(m.stop):
        at = _take_member(m)
        if at >= 0:
            _take_turn(m, at)
            idle = NOT_IDLE
        elif _count_left(m) < m.n_workers:
            break  # the others see to what is left
        else:
            idle = relax(m, idle)
