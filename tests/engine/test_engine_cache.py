"""When the engine compiles: once per machine and dtype, again after an edit, never at import."""

import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
from numba.core import event
from sklearn.exceptions import ConvergenceWarning

import fastopt
from fastopt.engine.cpu import compilation
from fastopt.engine.cpu.context import DENSE_ROUTINES, OUTPUT_ROUTINES

PACKAGE = Path(fastopt.__file__).parent

TRAIN = """
import numpy as np
from fastopt import SGD
from fastopt.engine import Layout, Trainer
from fastopt.engine.cpu import compilation
from fastopt.engine.cpu.context import DENSE_ROUTINES
from fastopt.engine.objective import resolve_functions

layout = Layout([3, 2, 1])
network = {"activation": "tanh", "out_activation": "identity", "loss": "squared_error"}
trainer = Trainer(layout, dtype=np.float64, **network)
params, X, Y = np.ones(layout.size), np.ones((4, 3)), np.ones((4, 1))
update = SGD(lr=0.1).flat(layout.size, layout.n_decay, np.float64)
trainer.train(params, X, Y, update, batch_size=2, alpha=0.0)
functions = resolve_functions(*network.values(), layout=layout)
parts = {
    "worker": compilation._worker(),
    **{name: compilation.routine(name, "float64") for name in DENSE_ROUTINES},
    **compilation.activation_routines(functions.activations[0], "float64"),
    "output": compilation.output_routine(functions.output, "float64"),
    "loss": compilation.loss_routine(functions.loss, functions.output, "float64"),
}
missed = [name for name, part in parts.items() if not part.cache_hits]
missed += ["entry"] * (not sum(compilation._entry_point(False).stats.cache_hits.values()))
print(*sorted(missed), params[0])
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


EVERYTHING = sorted(["worker", "entry", "activate", "backpropagate", *DENSE_ROUTINES, *OUTPUT_ROUTINES])
#: Edits of code that compiled functions only call, and what is compiled again for each: Numba alone would
#: serve stale code. An activation stands for those of a user, whose file is none of the package's.
EDITS = {
    "engine/cpu/vector_math.py": ("far = one - two / (", "far = one - one / (", EVERYTHING),
    "rules/activation_functions.py": ("return 1.0 - a * a", "return 1.0 - 0.5 * a * a", ["backpropagate"]),
    "rules/regression_losses.py": ("return p - y\n", "return 2.0 * (p - y)\n", ["loss"]),
}


@pytest.fixture(scope="module")
def cached(tmp_path_factory):
    """Return a copy of the package, its cache, and what the first training compiled and found."""
    folder = tmp_path_factory.mktemp("package")
    shutil.copytree(PACKAGE, folder / "fastopt", ignore=shutil.ignore_patterns("__pycache__"))
    return folder, folder / "cache", run(TRAIN, folder, folder / "cache")


def test_the_cache_serves_a_second_process(cached):
    folder, cache, first = cached
    *compiled, weight = first.stdout.split()
    assert compiled == EVERYTHING
    known = entries(cache)
    assert known
    second = run(TRAIN, folder, cache)
    assert second.stdout.split() == [weight]
    assert "compiling" not in second.stderr
    assert entries(cache) == known


@pytest.mark.parametrize("file", EDITS)
def test_the_cache_notices_an_edit(cached, file):
    folder, cache, first = cached
    old, new, expected = EDITS[file]
    edited = folder / "fastopt" / file
    source = edited.read_text("utf-8")
    assert old in source
    edited.write_text(source.replace(old, new), "utf-8")
    try:
        *compiled, weight = run(TRAIN, folder, cache).stdout.split()
    finally:
        edited.write_text(source, "utf-8")
    assert compiled == expected
    assert weight != first.stdout.split()[-1]


def test_importing_compiles_nothing(tmp_path):
    done = run(IMPORT, PACKAGE.parent, tmp_path)
    assert done.stdout == "0 passes\n"
    assert not entries(tmp_path)


def test_a_compile_that_takes_its_time_says_so_once(capsys, monkeypatch):
    monkeypatch.setattr(compilation, "_PATIENCE", 0.0)
    monkeypatch.setattr(compilation, "_announced", set())
    for _ in range(2):
        with compilation.announced("the kernel of a test") as timer:
            timer.join(30)
    error = capsys.readouterr().err
    assert error.count("compiling the kernel of a test, once") == 1
    assert error.count("\n") == 1


def test_a_quick_load_says_nothing(capsys, monkeypatch):
    monkeypatch.setattr(compilation, "_PATIENCE", 3600.0)
    with compilation.announced("nothing") as timer:
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
