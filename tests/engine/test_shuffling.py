"""Shuffling in compiled code: the oracle is the installed NumPy's `RandomState.shuffle`."""

import threading

import numpy as np
import pytest
from numba import njit

from fastopt.engine.cpu import shuffling


@njit
def compiled(order, n, next_uint32, state):
    shuffling.shuffle(order, n, next_uint32, state)


@pytest.mark.parametrize("generator", [None, "MT19937", "PCG64", "Philox", "SFC64"])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 31, 32, 33, 1000, 1024, 1025, 70_000])
def test_the_order_and_the_next_draws_are_those_of_numpy(generator, n):
    def random_state():
        return np.random.RandomState(7 if generator is None else getattr(np.random, generator)(7))

    theirs, ours = random_state(), random_state()
    draws = shuffling.draws(ours)
    expected = np.arange(n)
    order = expected.copy()
    for _ in range(3):  # each goes on from the order and the state that the last one left
        theirs.shuffle(expected)
        compiled(order.ctypes.data, n, draws.next_uint32, draws.state)
        np.testing.assert_array_equal(order, expected)
    np.testing.assert_array_equal(ours.standard_normal(3), theirs.standard_normal(3))


def test_the_lock_is_the_one_that_numpy_takes():
    random_state, drawn = np.random.RandomState(0), threading.Event()
    thread = threading.Thread(target=lambda: (random_state.random_sample(), drawn.set()), daemon=True)
    with shuffling.draws(random_state).lock:
        thread.start()
        assert not drawn.wait(0.1)
    assert drawn.wait(10)
