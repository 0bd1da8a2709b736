"""Ctrl-C while compiled code runs: answered soon, with parameters that can be used."""

import _thread
import threading
import time

import numpy as np
import pytest

from fastopt import SGD
from fastopt.engine import Layout, Trainer

pytestmark = pytest.mark.usefixtures("ctrl_c")

#: The promise is one second; a machine that runs other tests beside this one gets some more.
SECONDS = 4.0


def network(sizes):
    rs = np.random.RandomState(0)
    layout = Layout(sizes)
    params = np.zeros(layout.size, np.float32)
    for array in layout.weights(params):
        array[...] = rs.uniform(-1, 1, array.shape) / np.sqrt(array.shape[0])
    trainer = Trainer(
        layout, activation="relu", out_activation="identity", loss="squared_error", dtype=np.float32
    )
    return layout, params, trainer


class Interruption:
    """Press Ctrl-C a little after entering; ``waited`` is how long the answer took."""

    def __enter__(self):
        self.pressed = self.waited = None
        self._timer = threading.Timer(0.3, self._press)
        self._timer.start()
        return self

    def _press(self):
        self.pressed = time.monotonic()
        _thread.interrupt_main()

    def __exit__(self, kind, *_):
        self._timer.cancel()
        if kind is KeyboardInterrupt:
            self.waited = time.monotonic() - self.pressed
            return True
        return False


def test_an_interrupted_epoch_stands_at_the_last_batch_done():
    layout, params, trainer = network([64, 128, 128, 8])
    rs = np.random.RandomState(1)
    X, Y = rs.standard_normal((1000, 64)).astype("f"), rs.standard_normal((1000, 8)).astype("f")
    order = rs.randint(1000, size=20_000_000)  # an epoch of a minute or more
    start = params.copy()
    trainer.train(params.copy(), X, Y, flat(layout), batch_size=40, alpha=0.1)  # compiled before the clock
    update = flat(layout)
    with Interruption() as ctrl_c:
        trainer.train(params, X, Y, update, batch_size=40, alpha=0.1, order=order)
    assert ctrl_c.waited < SECONDS
    assert 0 < update.t < 500_000
    replayed, again = start.copy(), flat(layout)
    trainer.train(replayed, X, Y, again, batch_size=40, alpha=0.1, order=order[: 40 * update.t])
    np.testing.assert_array_equal(params, replayed)
    np.testing.assert_array_equal(update.state, again.state)


def flat(layout):
    return SGD(lr=1e-3, momentum=0.9).flat(layout.size, layout.n_decay, np.float32)


@pytest.mark.parametrize("what", ["train", "gradient"])
def test_a_single_batch_of_many_seconds_is_left_part_way(what):
    layout, params, trainer = network([2048, 2048, 2048, 8])
    n = 12_000 if what == "train" else 1024
    X, Y = np.ones((n, 2048), "f"), np.ones((n, 8), "f")
    X[:, ::3] = -0.5

    def run():
        if what == "train":
            update = flat(layout)
            trainer.train(params, X, Y, update, batch_size=n, alpha=0.0)
        else:
            for _ in range(100):
                trainer.loss_and_gradient(params, X, Y, alpha=0.0)

    trainer.train(params, X[:64], Y[:64], flat(layout), batch_size=64, alpha=0.0)  # compiled before the clock
    with Interruption() as ctrl_c:
        run()
    assert ctrl_c.waited is not None, "it was over before Ctrl-C"
    assert ctrl_c.waited < SECONDS
    assert np.isfinite(params).all()
    # Nothing of the batch stands in the way of the next.
    few = slice(0, 64)
    mine, fresh = params.copy(), params.copy()
    losses = [
        one.train(p, X[few], Y[few], flat(layout), batch_size=32, alpha=0.0)
        for one, p in ((trainer, mine), (network([2048, 2048, 2048, 8])[2], fresh))
    ]
    assert losses[0] == losses[1]
    np.testing.assert_array_equal(mine, fresh)
