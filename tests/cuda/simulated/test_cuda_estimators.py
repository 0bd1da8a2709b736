"""`device="cuda"` of the estimators in the simulator: what the CPU's engine makes of the same data."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import own_rules  # noqa: F401  registers one
import pytest
import scipy.sparse
from sklearn.base import clone

import fastopt
from fastopt import MLPClassifier, MLPRegressor
from fastopt.engine.cuda import trainer

rs = np.random.RandomState(0)
X = rs.standard_normal((24, 4)).astype(np.float32)
CLASSES = rs.randint(3, size=24)
LABELS = np.where(X[:, 0] + X[:, 1] > 0, "yes", "no")
NUMBERS = X[:, :2] @ np.array([[1.0, -2.0], [0.5, 1.0]], np.float32)
WEIGHT = rs.uniform(0.5, 2, 24)
SMALL = {"hidden_layer_sizes": (5,), "max_iter": 3, "batch_size": 9, "random_state": 0, "tol": 0}

pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer", "ignore:lbfgs failed")


def assert_same_model(estimator, y, fit=lambda e, y: e.fit(X, y), tolerance=1e-5):
    """Fit on either device and compare weights, losses and what the models say."""
    ours = fit(estimator.set_params(device="cuda"), y)
    theirs = fit(clone(estimator).set_params(device="cpu"), y)
    assert (ours.device_, theirs.device_) == ("cuda:0", "cpu")
    for a, b in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)
    assert ours.n_iter_ == theirs.n_iter_
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=tolerance)
    name = "predict_proba" if hasattr(ours, "predict_proba") else "predict"
    np.testing.assert_allclose(getattr(ours, name)(X), getattr(theirs, name)(X), rtol=0, atol=tolerance)
    return ours


@pytest.mark.parametrize("activation", ["identity", "relu", "tanh", "logistic"])
def test_a_classifier_is_that_of_the_cpu(activation):
    assert_same_model(MLPClassifier(activation=activation, **SMALL), CLASSES)


def test_two_hidden_layers_and_two_classes():
    assert_same_model(MLPClassifier(**SMALL | {"hidden_layer_sizes": (5, 3)}), LABELS)


def test_several_labels_a_row():
    assert_same_model(MLPClassifier(**SMALL), (X[:, :3] > 0).astype(int))


@pytest.mark.parametrize("y", [NUMBERS[:, 0], NUMBERS], ids=["one", "two"])
def test_a_regressor_is_that_of_the_cpu(y):
    assert_same_model(MLPRegressor(alpha=0.1, **SMALL), y, lambda e, y: e.fit(X, y, WEIGHT))


def test_poisson():
    assert_same_model(MLPRegressor(loss="poisson", **SMALL), np.arange(24) % 4)


@pytest.mark.parametrize(
    "settings",
    [
        {"loss": "quantile", "quantile": [0.2, 0.7]},
        {"loss": "gaussian_nll"},
        {"loss": "tweedie", "power": 1.2, "out_activation": "softplus"},
    ],
    ids=lambda settings: settings["loss"],
)
def test_losses_with_parameters_and_of_rows(settings):
    ours = assert_same_model(MLPRegressor(**settings, **SMALL), np.arange(24) % 4)
    theirs = clone(ours).set_params(device="cpu").fit(X, np.arange(24) % 4)
    assert vars(ours).get("n_crossed_") == vars(theirs).get("n_crossed_")


@pytest.mark.parametrize("y", [CLASSES, LABELS], ids=["three", "two"])
def test_a_focal_loss_of_smoothed_labels(y):
    assert_same_model(MLPClassifier(loss="focal", focal_gamma=1.5, label_smoothing=0.1, **SMALL), y)


def test_early_stopping():
    stopped = assert_same_model(
        MLPClassifier(early_stopping=True, validation_fraction=0.25, **SMALL), CLASSES
    )
    assert len(stopped.validation_scores_) == 3


def test_callbacks_see_each_epoch_and_stop():
    pytest.importorskip("sklearn.callback", reason="scikit-learn has callbacks from version 1.9 on")
    seen = []

    class Watch:
        def setup(self, estimator, context): ...
        def teardown(self, estimator, context): ...
        def on_fit_task_begin(self, estimator, context): ...
        def on_fit_task_end(self, estimator, context, *, X=None, fitted_estimator=None):
            seen.append(fitted_estimator.predict_proba(X))
            return context.task_id == 1

    fitted = MLPClassifier(device="cuda", **SMALL).set_callbacks(Watch()).fit(X, CLASSES)
    assert fitted.n_iter_ == 2
    alone = [MLPClassifier(device="cuda", **SMALL | {"max_iter": n}).fit(X, CLASSES) for n in (1, 2, 2)]
    np.testing.assert_array_equal(seen, [model.predict_proba(X) for model in alone])


def test_warm_start_keeps_the_optimizer():
    def fit(estimator, y):
        return estimator.fit(X, y).fit(X, y)

    assert_same_model(
        MLPClassifier(warm_start=True, reset_optimizer=False, **SMALL | {"max_iter": 2}), CLASSES, fit
    )


def test_partial_fit():
    def fit(estimator, y):
        for half in (slice(0, 12), slice(12, None)):
            estimator.partial_fit(X[half], y[half], classes=[0, 1, 2])
        return estimator

    assert_same_model(MLPClassifier(solver="momentum", **SMALL), CLASSES, fit)


def test_lbfgs():
    # SciPy's line search in float64 amplifies what rounding leaves of a difference.
    assert_same_model(
        MLPClassifier(solver="lbfgs", **SMALL), CLASSES, lambda e, y: e.fit(X.astype(np.float64), y)
    )


@pytest.mark.parametrize(
    "solver",
    [fastopt.AdamW(lr=0.01, weight_decay=0.1), "sgd", "tilted", fastopt.MultiSteps(fastopt.SGD(lr=0.1), 2)],
    ids=str,
)
def test_optimizers(solver):
    assert_same_model(MLPClassifier(solver=solver, **SMALL), LABELS)


def test_sparse_input_is_dense_on_the_device():
    sparse = scipy.sparse.csr_matrix(np.where(X > 0.5, X, 0))
    assert_same_model(MLPClassifier(**SMALL), CLASSES, lambda e, y: e.fit(sparse, y))


def test_blocks(monkeypatch):
    expected = MLPClassifier(device="cuda", **SMALL).fit(X, CLASSES)
    monkeypatch.setattr(trainer, "free_bytes", lambda: 500)
    streamed = MLPClassifier(device="cuda", **SMALL).fit(X, CLASSES)
    np.testing.assert_array_equal(streamed.coefs_[0], expected.coefs_[0])
    assert streamed.loss_curve_ == expected.loss_curve_


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_diverged_fit_says_so():
    clf = MLPRegressor(device="cuda", solver="sgd", learning_rate_init=1e30, **SMALL)
    with pytest.raises(ValueError, match="non-finite parameter weights"):
        clf.fit(X, NUMBERS)


def test_auto_takes_the_gpu_and_what_is_not_there_is_refused():
    assert MLPClassifier(device="auto", **SMALL | {"max_iter": 1}).fit(X, CLASSES).device_ == "cuda:0"
    with pytest.raises(RuntimeError, match=r"'cuda:1' was asked for, but this machine has 'cuda:0'$"):
        MLPClassifier(device="cuda:1", **SMALL).fit(X, CLASSES)


def test_a_model_is_used_by_a_process_without_a_gpu(tmp_path):
    clf = MLPClassifier(device="cuda", **SMALL).fit(X, CLASSES)
    with open(tmp_path / "model.pickle", "wb") as file:
        pickle.dump((clf, X, CLASSES, clf.predict_proba(X)), file)
    code = """
import pickle, sys
import numpy as np
from fastopt.kernels.cuda import api as cuda

with open("model.pickle", "rb") as file:
    clf, X, y, probabilities = pickle.load(file)
assert clf.device_ == "cuda:0"
if cuda.problem():
    try:
        clf.predict(X)
    except cuda.DeviceError as error:
        assert "device='cpu' needs no GPU" in str(error)
    else:
        raise AssertionError("a model that asks for a GPU predicted without one")
clf.set_params(device="cpu")
# float32: a few ulp of a probability.
np.testing.assert_allclose(clf.predict_proba(X), probabilities, atol=1e-6)
t = clf.t_
clf.partial_fit(X, y)
assert (clf.device_, clf.t_) == ("cpu", t + len(X))
"""
    environment = {key: value for key, value in os.environ.items() if key != "NUMBA_ENABLE_CUDASIM"}
    environment["PYTHONPATH"] = str(Path(fastopt.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
