"""Workers that share a run: more of them than cores, on every threading layer, alone or late."""

import os
import subprocess
import sys
import textwrap

import pytest

TRAIN = """
    import hashlib, sys
    import numba, numpy as np
    from fastopt import Adam
    from fastopt.engine import Layout, Trainer
    from fastopt.engine.cpu import thread_count

    class Fixed:  # no trials: every batch with all workers
        def __init__(self, most, flops): self.most = most
        def next(self, n_left): return self.most, n_left
        def record(self, seconds): pass
    thread_count.ThreadChooser = Fixed

    def train(n_threads):
        rs = np.random.RandomState(0)
        layout = Layout([70, 200, 100, 3])
        params = rs.uniform(-0.1, 0.1, layout.size).astype("f")
        X = rs.standard_normal((1500, 70)).astype("f")
        Y = np.eye(3, dtype="f")[rs.randint(3, size=1500)]
        trainer = Trainer(layout, activation="tanh", out_activation="softmax", loss="log_loss",
                          dtype=np.float32, n_threads=n_threads)
        update = Adam(lr=0.01).flat(layout.size, layout.n_decay, np.float32)
        losses = [trainer.train(params, X, Y, update, batch_size=300, alpha=0.01) for _ in range(20)]
        loss, gradient = trainer.loss_and_gradient(params, X, Y, alpha=0.1)
        outputs = trainer.predict(params, X)
        parts = [params, update.state, gradient, outputs, np.array([*losses, loss])]
        return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()

    assert len({train(n) for n in (1, 2, 3, 4)}) == 1
    print(numba.threading_layer())
"""


@pytest.mark.parametrize("layer", ["tbb", "omp", "workqueue"])
def test_any_number_of_workers_computes_the_same_bits_on_every_layer(layer):
    """Four workers, mostly on fewer cores: some come late or not at all, and all must be let go."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(TRAIN)],
        env=os.environ | {"NUMBA_NUM_THREADS": "4", "NUMBA_THREADING_LAYER": layer},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if "No threading layer could be loaded" in done.stderr:
        pytest.skip(f"this machine has no {layer}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [layer]


EARLY = """
    import threading, time
    import numpy as np
    from fastopt.engine import Layout, Trainer
    from fastopt.engine.cpu import compilation
    from fastopt.engine.cpu.context import PREDICT
    from fastopt.engine.cpu.work_sharing import LEADER, OVER

    layout = Layout([4, 3, 1])
    trainer = Trainer(layout, activation="tanh", out_activation="identity", loss="squared_error",
                      dtype=np.float64)
    runner = trainer._prepare(PREDICT, np.zeros(layout.size), np.ones((8, 4)), 8, None, None, None)
    workspace = runner.workspace
    workspace.begin(0, 1, 8, 8, 2)
    workspace._counters[LEADER, 0] = 1  # somebody else leads, and has not begun
    worker = threading.Thread(
        target=compilation.alone(), args=(compilation.worker_address(), workspace.address, 1)
    )
    worker.start()
    time.sleep(0.1)
    assert worker.is_alive()  # it looks for work
    workspace._counters[OVER, 0] = 1
    worker.join(10)
    assert not worker.is_alive()
"""


def test_a_worker_that_comes_before_the_leader_begins_finds_no_work():
    """It read the counter that stops a run at an address that the leader was yet to write: a segfault."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(EARLY)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
