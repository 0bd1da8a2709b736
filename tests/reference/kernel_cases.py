"""Kernels run on plain arrays, and steps from two Python threads at once."""

import itertools
import threading

import numpy as np

import fastopt
from fastopt.kernels import elementwise, work_queue
from fastopt.rules.registry import RULES

BUILT_IN = sorted(name for name, rule in RULES.items() if rule.function.__module__.startswith("fastopt."))


def random_case(rule, dtype, n=67, seed=0):
    """Return weights, gradients, non-zero slots and constants of a plausible size."""
    rng = np.random.default_rng(seed)
    w, g = rng.normal(size=(2, n)).astype(dtype)
    slots = np.abs(rng.normal(size=(len(rule.slots), n))).astype(dtype) + dtype(0.5)
    return w, g, slots, rng.uniform(0.1, 0.9, rule.n_constants).astype(dtype)


def run_kernel(rule, dtype, w, g, slots, constants, bounds, prologue=(1, 0, 1)):
    row = np.array([*prologue, *constants], dtype)
    address = elementwise.update_address(rule, dtype)
    table = np.array([[address, w.ctypes.data, g.ctypes.data, slots.ctypes.data, len(w), row.ctypes.data]])
    work = np.array([[0, lo, hi] for lo, hi in itertools.pairwise(bounds)])
    work_queue.KernelQueue(table, work, 1).run()


def concurrent_steps():
    """Step two optimizers in two Python threads at once; return both parameters."""
    params = [np.ones(200_000, np.float32) for _ in range(2)]

    def work(w):
        stepper = fastopt.Adam(lr=0.1).bind(w)
        g = np.ones_like(w)
        for _ in range(30):
            stepper.step([g])

    workers = [threading.Thread(target=work, args=(w,)) for w in params]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return params
