"""The GPU engine: all of it in the simulator, in another process; what happens without a GPU, here."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fastopt import MLPClassifier
from fastopt.kernels import cuda

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """Run `simulated_engine.py`; return the finished process and the folder that it wrote to."""
    folder = tmp_path_factory.mktemp("simulated")
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": f"{HERE.parent}{os.pathsep}{HERE}"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    return subprocess.run(
        [
            *command,
            f"--rootdir={HERE}",
            f"-c={HERE.parent / 'pyproject.toml'}",
            str(HERE / "simulated_engine.py"),
        ],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    ), folder


def test_the_simulated_engine_passes_its_tests(simulated):
    process, _ = simulated
    assert process.returncode == 0, process.stdout[-20_000:] + process.stderr[-5_000:]


@pytest.fixture
def model(simulated):
    with open(simulated[1] / "model.pickle", "rb") as file:
        return pickle.load(file)


def without_gpu():
    return pytest.mark.skipif(not cuda.problem(), reason="there is a GPU")


@without_gpu()
def test_a_model_from_a_gpu_is_loaded_without_one_and_says_how_to_use_it(model):
    clf, X, _, probabilities = model
    assert clf.device_ == "cuda:0"
    with pytest.raises(cuda.DeviceError, match=r"device='cpu' needs no GPU"):
        clf.predict(X)
    # float32: a few ulp of a probability.
    np.testing.assert_allclose(clf.set_params(device="cpu").predict_proba(X), probabilities, atol=1e-6)


def test_a_model_from_a_gpu_goes_on_training_without_one(model):
    clf, X, y, _ = model
    before = clf.t_
    clf.set_params(device="cpu").partial_fit(X, y)
    assert clf.device_ == "cpu"
    assert clf.t_ == before + len(X)


@without_gpu()
@pytest.mark.parametrize("device", ["cuda", "cuda:3"])
def test_without_a_gpu_the_error_names_the_device_and_the_extra(device):
    clf = MLPClassifier(device=device)
    with pytest.raises(cuda.DeviceError, match=rf"device='{device}'.*fastopt\[cuda12\]"):
        clf.fit(np.eye(4), [0, 1, 0, 1])
    assert not hasattr(clf, "device_")
