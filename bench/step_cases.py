"""What the registry's bench times: every optimizer on one matrix or several, torch's beside it, and floors.

Each is verified before it is timed: against torch's result where torch has the optimizer (the others have
their oracles in the tests), and one thread against all, bit by bit.
"""

import concurrent.futures
import contextlib

import numpy as np
import scipy.linalg
from _measure import measure

import fastopt
from fastopt.kernels import threading_layer
from fastopt.kernels.blas_threads import single_threaded

#: Optimizers whose cost is matrix products.
MATRIX = ("muon", "normuon", "shampoo", "soap")

#: Steps after which the work of a step recurs, where it is not the same at each.
CYCLE = {"soap": 10}

#: Lists of weight matrices: one large, one of MNIST's, and a whole network's.
NETWORKS = {
    "1024x1024": [(1024, 1024)],
    "784x512": [(784, 512)],
    "784x512, 512x256, 256x10": [(784, 512), (512, 256), (256, 10)],
}

#: Names under which torch has an optimizer with the same defaults, and those of them with a fused step.
TORCH = {
    name: name
    for name in "Adadelta Adafactor Adagrad Adam Adamax AdamW ASGD Muon NAdam RAdam RMSprop Rprop SGD".split()
}
FUSED = ("Adagrad", "Adam", "AdamW", "SGD")

#: Relative to the largest weight after three steps, instead of 2e-6 for float32's roundings: torch's Muon
#: computes in bfloat16, and its float32 norm of 10 million weights is off by 4e-4.
TOLERANCE = {"Muon": 2e-2, "Adafactor": 2e-5}


def cases():
    """Return pairs of a label and an optimizer: all that is registered, with its defaults.

    L-BFGS is left out: what its step costs depends on how often it evaluates the closure.
    """
    return [(name, fastopt.get_optimizer(name)) for name in fastopt.list_optimizers() if name != "lbfgs"]


def arrays(shapes):
    """Return weights and gradients of those shapes."""
    rng = np.random.default_rng(0)
    return [[rng.standard_normal(shape, np.float32) for shape in shapes] for _ in range(2)]


def bound(optimizer, shapes):
    """Return a stepper and a call that steps it, after checking that threads change no bit."""
    ends = []
    for n_threads in (1, None):
        weights, grads = arrays(shapes)
        stepper = optimizer.bind(weights, n_threads=n_threads)

        def step(stepper=stepper, grads=grads):
            stepper.step(closure=lambda: (1.0, grads))

        for _ in range(8):  # rectified methods move from the sixth
            step()
        ends.append([w.copy() for w in weights])
    for one, many in zip(*ends, strict=True):
        np.testing.assert_array_equal(one, many)
        assert np.isfinite(one).all()
    assert any((w != start).any() for w, start in zip(weights, arrays(shapes)[0], strict=True))
    return stepper, step


def torch_steps(optimizer, shapes):
    """Return calls that make a step of torch's default and of its fused form, those that exist, by name."""
    name = type(optimizer).__name__
    if name not in TORCH:
        return {}
    try:
        import torch
    except ImportError:
        return {}
    ours, grads = arrays(shapes)
    if name == "Muon":
        optimizer = type(optimizer)(**optimizer.get_params() | {"layout": "oi"})
    stepper = optimizer.bind(ours)
    for _ in range(3):
        stepper.step(grads)
    calls = {}
    for kind in ("default", "fused") if name in FUSED else ("default",):
        weights, grads = arrays(shapes)
        params = [torch.nn.Parameter(torch.from_numpy(w)) for w in weights]
        for p, g in zip(params, grads, strict=True):
            p.grad = torch.from_numpy(g)
        step = getattr(torch.optim, TORCH[name])(params, **{"fused": True} if kind == "fused" else {}).step
        for _ in range(3):
            step()
        for a, b in zip(ours, weights, strict=True):
            bound_ = TOLERANCE.get(name, 2e-6) * np.abs(b).max()
            np.testing.assert_allclose(a, b, rtol=0, atol=bound_, err_msg=f"{name}, {kind}")
        calls[kind] = step
    return calls


def bytes_moved(stepper, n):
    """Return the bytes per parameter that a float32 step reads and writes: arrays once for each sweep.

    An elementwise rule reads and writes the weight and its state, and reads the gradient.
    """
    if hasattr(stepper, "_base"):  # Mechanic's other optimizer moves a copy of the weights
        own = sum(map(_swept, stepper.bound.tensorwise))
        return own + 8 + bytes_moved(stepper._base, n)
    if stepper.bound.tensorwise:
        return sum(map(_swept, stepper.bound.tensorwise))
    return 12 + 2 * stepper.nbytes / n


def _swept(ensemble):
    sweeps = ensemble._tensors._passes
    whole = [{*s.operands} - {*s.rows, *s.columns} for s in sweeps]
    return 4 * sum(len(read) + len(s.writes) for read, s in zip(whole, sweeps, strict=True))


def products(name, shapes):
    """Return the products of a step: ``[(m, n, k, how often)]``, in full where they are symmetric, too.

    Muon's are 20 r + 10 r^2 / c operations per weight of a matrix with sides r <= c.
    """
    found = []
    for rows, columns in shapes:
        r, c = sorted((rows, columns))
        if name in ("muon", "normuon"):  # X X', A A, P X, five times
            found += [(r, r, c, 5), (r, r, r, 5), (r, c, r, 5)]
            continue
        grams = [(rows, rows, columns, 1), (columns, columns, rows, 1)]
        sandwich = [(rows, columns, rows, 1), (rows, columns, columns, 1)]
        if name == "shampoo":  # both sums, both roots from their eigenvectors, and the step
            found += [*grams, (rows, rows, rows, 1), (columns, columns, columns, 1), *sandwich]
        else:  # into the basis, out of it, the averages; every tenth step both turn and the moments follow
            turn = [(rows, rows, rows, 0.1), (columns, columns, columns, 0.1)]
            found += [*grams, *sandwich * 2, *turn, *((*mnk, 0.2) for *mnk, _ in sandwich)]
    return found


def operations(name, shapes):
    """Return the floating-point operations of `products`."""
    return sum(2 * m * n * k * times for m, n, k, times in products(name, shapes))


def floor_calls(name, shapes):
    """Return calls that make the products of a cycle alone, in sgemm: with all of BLAS's threads, and one."""
    rng = np.random.default_rng(0)
    work = []
    for m, n, k, times in products(name, shapes):
        a, b = rng.standard_normal((m, k), np.float32), rng.standard_normal((k, n), np.float32)
        work.append((a, b, np.empty((m, n), np.float32), round(CYCLE.get(name, 1) * times)))

    def run():
        for a, b, out, times in work:
            for _ in range(times):
                np.matmul(a, b, out=out)

    def run_on_one():
        with single_threaded():
            run()

    return run, run_on_one


def floor_seconds(times):
    """Return the floor, from the seconds of several runs of both calls.

    On a busy machine BLAS's threads wait for each other, to ten times the time that they need. What one would
    take if it were shared perfectly holds then.
    """
    every, one = np.min(times, axis=0)
    return float(min(every, one / threading_layer.n_available()))


def factorization_seconds(name, shapes, repeats):
    """Return the seconds per step of the LAPACK calls alone: SOAP's QR every tenth step, Shampoo's eigh.

    The faster of two ways: one after the other with BLAS's threads, or side by side on one thread each.
    """
    if name not in ("soap", "shampoo"):
        return 0.0
    rng = np.random.default_rng(0)
    sides = [rng.standard_normal((n, n), np.float32) for shape in shapes for n in shape]
    sums = [a @ a.T for a in sides]

    def factorize(a):
        if name == "soap":
            scipy.linalg.qr(a, check_finite=False)
        else:
            scipy.linalg.eigh(a, driver="evd", check_finite=False)

    with concurrent.futures.ThreadPoolExecutor(threading_layer.n_available()) as pool:
        ways = (
            (contextlib.nullcontext, lambda: list(map(factorize, sums))),
            (
                single_threaded,
                lambda: list(pool.map(factorize, sums)),
            ),
        )
        best = []
        for limit, call in ways:
            with limit():
                best.append(measure([call], repeats).min())
    return min(best) * (0.1 if name == "soap" else 1.0)


def cycle(name, step):
    """Return a call that makes all steps of a cycle."""

    def run():
        for _ in range(CYCLE.get(name, 1)):
            step()

    return run
