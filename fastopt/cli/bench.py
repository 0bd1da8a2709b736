"""``bench``: a short measurement of this machine, which works from an installed wheel.

The full benchmarks, with peers, checks and JSON, are the scripts in ``bench/`` of a source checkout.
"""

from __future__ import annotations

import time
from statistics import median

_ADAM_BYTES = 28  # per float32 parameter: reads w, g and two moments, writes w and two moments

_SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
_FITS = (
    ("1,000 x 10, hidden 32 16, batch 32", 1000, 10, (32, 16), 32),
    ("10,000 x 64, hidden 128 64, batch 128", 10_000, 64, (128, 64), 128),
)


def add_arguments(parser):
    """Add the arguments of ``bench``; return the function that runs it."""
    parser.add_argument("--repeats", type=int, default=15, metavar="N", help="measurements of each figure")
    return _bench


def _bench(arguments):
    repeats = max(3, arguments.repeats)
    print("Adam, float32, one step (median; bandwidth beside that of copying 64 MB)")
    bandwidth = _copy_bandwidth(repeats)
    for n in _SIZES:
        seconds = _time_step(n, repeats)
        rate = _ADAM_BYTES * n / seconds / 1e9
        print(
            f"  {n:>10,} parameters {1e6 * seconds:>10.1f} us {rate:>7.1f} GB/s  (copy: {bandwidth:.1f} GB/s)"
        )
    print("Training, float32, Adam, one epoch (median of alternating runs)")
    for name, rows, features, hidden, batch in _FITS:
        ours, theirs = _time_epochs(rows, features, hidden, batch, repeats)
        print(
            f"  {name:<40} {1e3 * ours:>9.2f} ms   scikit-learn {1e3 * theirs:>9.2f} ms   "
            f"{theirs / ours:.1f} times as fast"
        )


def _timed(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def _copy_bandwidth(repeats):
    import numpy as np

    source = np.ones(16_000_000, np.float32)
    target = np.empty_like(source)
    np.copyto(target, source)
    seconds = median(_timed(lambda: np.copyto(target, source)) for _ in range(repeats))
    return 2 * source.nbytes / seconds / 1e9


def _time_step(n, repeats):
    import numpy as np

    from .. import Adam

    rng = np.random.default_rng(0)
    weights = rng.standard_normal(n).astype(np.float32)
    gradient = rng.standard_normal(n).astype(np.float32)
    start = weights.copy()
    stepper = Adam(lr=1e-3).bind([weights])
    stepper.step([gradient])
    # Adam's first step is lr * g / (|g| + eps): worth a look before the clock. Weights up to 5 round to 5e-7.
    expected = 1e-3 * gradient / (abs(gradient) + 1e-8)
    np.testing.assert_allclose(start - weights, expected, rtol=0, atol=1e-6)
    n_inner = max(1, 2_000_000 // n)

    def steps():
        for _ in range(n_inner):
            stepper.step([gradient])

    steps()
    return median(_timed(steps) for _ in range(repeats)) / n_inner


def _time_epochs(rows, features, hidden, batch, repeats):
    """Return the seconds of one epoch, ours and scikit-learn's, from alternating `partial_fit` calls."""
    import numpy as np
    from sklearn.datasets import make_classification
    from sklearn.neural_network import MLPClassifier as Theirs

    from ..neural_network import MLPClassifier as Ours

    X, y = make_classification(rows, features, n_informative=features // 2, random_state=0)
    X = X.astype(np.float32)
    pair = [kind(hidden, batch_size=batch, random_state=0) for kind in (Ours, Theirs)]
    for network in pair:
        network.partial_fit(X, y, classes=np.unique(y))
    losses = [network.loss_ for network in pair]
    if not np.allclose(*losses, rtol=1e-3):
        raise RuntimeError(f"the two networks disagree: losses {losses} after one epoch from equal weights.")
    times = [
        [_timed(lambda network=network: network.partial_fit(X, y)) for network in pair]
        for _ in range(repeats)
    ]
    return [median(column) for column in zip(*times, strict=True)]
