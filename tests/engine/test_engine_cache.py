"""When the engine compiles: once per machine and dtype, again after an edit, never at import."""

import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import scipy.sparse
from numba.core import event
from sklearn.exceptions import ConvergenceWarning

import fastopt
from fastopt.engine.cpu import announcement

PACKAGE = Path(fastopt.__file__).parent

TRAIN = """
import numpy as np
from fastopt import SGD
from fastopt.engine import Layout, Trainer
from fastopt.engine.cpu.context import DENSE_ROUTINES
from fastopt.engine.cpu.compilation import _entrance, _task, routine

layout = Layout([3, 2, 1])
network = {"activation": "tanh", "out_activation": "identity", "loss": "squared_error"}
trainer = Trainer(layout, dtype=np.float64, **network)
params, X, Y = np.ones(layout.size), np.ones((4, 3)), np.ones((4, 1))
update = SGD(lr=0.1).flat(layout.size, layout.n_decay, np.float64)
trainer.train(params, X, Y, update, batch_size=2, alpha=0.0)
parts = [_task(), *(routine(name, "float64") for name in DENSE_ROUTINES)]
hits = [part.cache_hits for part in parts] + list(_entrance(False).stats.cache_hits.values())
print(min(hits), "hits", params[0])
"""

IMPORT = """
from numba.core import event
with event.install_recorder("numba:run_pass") as passes:
    import fastopt, fastopt.engine, fastopt.study, fastopt.cli
print(len(passes.buffer), "passes")
"""


class Compilations:
    """Record what Numba compiles, loading from its cache apart."""

    def __enter__(self):
        self._recorder = event.install_recorder("numba:run_pass")
        self._buffer = self._recorder.__enter__().buffer
        return self

    def __exit__(self, *error):
        self._recorder.__exit__(*error)
        self.names = sorted({str(record.data.get("qualname")) for _, record in self._buffer})


def run(code, folder, cache):
    settings = {**os.environ, "PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=settings, cwd=folder, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done


def entries(cache):
    return {path.name for path in Path(cache).rglob("*.nbc")}


def test_the_cache_serves_a_second_process_and_notices_an_edit(tmp_path):
    cache = tmp_path / "cache"
    shutil.copytree(PACKAGE, tmp_path / "fastopt", ignore=shutil.ignore_patterns("__pycache__"))
    first = run(TRAIN, tmp_path, cache)
    assert first.stdout.startswith("0 hits")
    known = entries(cache)
    assert known

    second = run(TRAIN, tmp_path, cache)
    assert second.stdout.startswith("1 hits")
    assert "compiling" not in second.stderr
    assert entries(cache) == known
    assert second.stdout.split()[-1] == first.stdout.split()[-1]

    # An edit of a file that the cached functions only call: Numba alone would serve the stale code.
    edited = tmp_path / "fastopt/engine/cpu/vector_math.py"
    source = edited.read_text("utf-8")
    edited.write_text(source.replace("far = one - two / (", "far = one - one / ("), "utf-8")
    assert edited.read_text("utf-8") != source
    third = run(TRAIN, tmp_path, cache)
    assert third.stdout.startswith("0 hits")
    assert third.stdout.split()[-1] != first.stdout.split()[-1]


def test_importing_compiles_nothing(tmp_path):
    done = run(IMPORT, PACKAGE.parent, tmp_path)
    assert done.stdout == "0 passes\n"
    assert not entries(tmp_path)


def test_a_compile_that_takes_its_time_says_so_once(capsys, monkeypatch):
    monkeypatch.setattr(announcement, "_PATIENCE", 0.0)
    monkeypatch.setattr(announcement, "_said", set())
    for _ in range(2):
        with announcement.announced("the kernel of a test") as timer:
            timer.join(30)
    error = capsys.readouterr().err
    assert error.count("compiling the kernel of a test, once") == 1
    assert error.count("\n") == 1


def test_a_quick_load_says_nothing(capsys, monkeypatch):
    monkeypatch.setattr(announcement, "_PATIENCE", 3600.0)
    with announcement.announced("nothing") as timer:
        pass
    timer.join(30)
    assert not timer.is_alive()
    assert capsys.readouterr().err == ""


def test_after_warmup_no_fit_compiles():
    from fastopt.engine import warmup

    warmup(["float32"])
    with Compilations() as seen:
        for n_features, hidden in ((4, (3,)), (100, (200, 100))):  # one thread is enough, and it is not
            X = np.random.RandomState(0).standard_normal((400, n_features)).astype(np.float32)
            for rows in (X, scipy.sparse.csr_array(X)):
                network = fastopt.MLPClassifier(hidden, batch_size=200, max_iter=2, tol=0, random_state=0)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", ConvergenceWarning)
                    network.fit(rows, X[:, 0] > 0).predict(rows)
    assert seen.names == []
