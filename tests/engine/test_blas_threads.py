"""Holding BLAS to one thread, from whichever Python thread and however fits overlap."""

import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from fastopt import MLPRegressor
from fastopt.kernels.blas_threads import single_threaded


def numbers():
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


@pytest.fixture(autouse=True)
def two_blas_threads():
    """Let every library have two threads, so that a limit of one shows on any machine."""
    with threadpool_limits(2, user_api="blas"):
        if set(numbers()) != {2}:
            pytest.skip("this BLAS does not take two threads")
        yield


def in_thread(function):
    results = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    return results[0]


def inside():
    with single_threaded():
        return numbers()


def test_every_library_is_held_to_one_thread_and_released():
    assert set(inside()) == {1}
    assert set(numbers()) == {2}


def test_a_second_python_thread_is_held_too_although_another_set_a_limit_first():
    inside()
    assert set(in_thread(inside)) == {1}
    assert set(numbers()) == {2}


def test_of_overlapping_uses_the_last_to_leave_restores():
    first, leave = threading.Event(), threading.Event()

    def hold():
        with single_threaded():
            first.set()
            leave.wait(30)

    other = threading.Thread(target=hold)
    other.start()
    assert first.wait(30)
    with single_threaded():
        leave.set()
        other.join()
        assert set(numbers()) == {1}  # the first to come has left
    assert set(numbers()) == {2}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_bits_of_lbfgs_do_not_depend_on_blas_threads():
    """SciPy's L-BFGS-B uses dot products of all weights, which OpenBLAS divides among its threads."""
    X = np.random.default_rng(0).normal(size=(300, 100))
    found = []
    for n_threads in (1, 2):
        with threadpool_limits(n_threads, user_api="blas"):
            network = MLPRegressor(hidden_layer_sizes=(200, 50), solver="lbfgs", max_iter=8, random_state=0)
            network.fit(X, X.sum(axis=1))
        found.append(b"".join(array.tobytes() for array in network.coefs_))
    assert found[0] == found[1]


def test_an_error_inside_restores_as_well():
    with pytest.raises(KeyError), single_threaded():
        raise KeyError("stop")
    assert set(numbers()) == {2}
