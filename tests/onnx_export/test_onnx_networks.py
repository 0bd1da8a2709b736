"""Networks as ONNX models, run by onnxruntime: every activation, loss and form of output."""

import importlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from reference import own_functions
from reference.onnx_sessions import assert_same_predictions, is_decided, of_the_library, session
from sklearn.base import BaseEstimator
from sklearn.datasets import load_diabetes, load_iris, make_multilabel_classification
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import scale

import fastopt
from fastopt import MLPClassifier, MLPRegressor, register_activation, register_loss, to_onnx
from fastopt._extras import MissingExtraError
from fastopt.onnx_export import session_inputs
from fastopt.onnx_export.predictions import ESTIMATORS
from fastopt.rules.activations import ACTIVATIONS, OUTPUTS
from fastopt.rules.losses import CLASSIFICATION_LOSSES, REGRESSION_LOSSES

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

IRIS, SPECIES = load_iris(return_X_y=True)
IRIS = scale(IRIS)
DIABETES, PROGRESS = load_diabetes(return_X_y=True)
DIABETES, PROGRESS = scale(DIABETES), PROGRESS / 100  # of which all losses can be: above 0
MANY, LABELS = make_multilabel_classification(60, n_features=8, n_classes=4, random_state=0)
SHORT = {"max_iter": 4, "random_state": 0, "learning_rate_init": 0.01}


@pytest.fixture(autouse=True)
def onnx():
    return pytest.importorskip("onnx")


def classifier(*arguments, y=SPECIES, X=IRIS, **settings):
    return MLPClassifier(*(arguments or [(8, 6)]), **SHORT | settings).fit(X, y)


def regressor(loss="squared_error", *, y=PROGRESS, **settings):
    return MLPRegressor(loss, hidden_layer_sizes=(8, 6), **SHORT | settings).fit(DIABETES, y)


@pytest.mark.parametrize("name", of_the_library(ACTIVATIONS))
def test_every_hidden_activation(name):
    assert_same_predictions(classifier(activation=name), IRIS)


@pytest.mark.parametrize("name", of_the_library(REGRESSION_LOSSES))
@pytest.mark.parametrize("y", [PROGRESS, np.c_[PROGRESS, 2 * PROGRESS]], ids=["one target", "two targets"])
def test_every_loss_of_numbers(name, y):
    assert_same_predictions(regressor(name, y=y), DIABETES)


@pytest.mark.parametrize("name", sorted(set(OUTPUTS) - {"softmax"}))
def test_every_output_of_regressors(name):
    assert_same_predictions(regressor(out_activation=name, y=PROGRESS / 10), DIABETES)


@pytest.mark.parametrize(
    "loss", [name for name in of_the_library(CLASSIFICATION_LOSSES) if not name.startswith("binary_")]
)
@pytest.mark.parametrize("targets", ["two", "three", "multilabel"])
def test_every_loss_of_labels(loss, targets):
    X, y = {"two": (IRIS, SPECIES == 1), "three": (IRIS, SPECIES), "multilabel": (MANY, LABELS)}[targets]
    assert_same_predictions(classifier(X=X, y=y, loss=loss), X)


@pytest.mark.parametrize(
    ("y", "labels"),
    [
        (SPECIES > 0, [0, 1]),
        (SPECIES.astype(float), [0, 1, 2]),
        (SPECIES.astype(np.uint8) + 250, [250, 251, 252]),
        (np.array(["a", "ü", "日本"])[SPECIES], ["a", "ü", "日本"]),
        (np.array(["a", "b", "c"], object)[SPECIES], ["a", "b", "c"]),
        (np.full(150, 7), [7]),
    ],
    ids=["bool", "float", "uint8", "str", "object", "a single class"],
)
def test_labels_of_every_type(y, labels):
    found, _ = assert_same_predictions(classifier(y=y), IRIS)
    assert {*found.tolist()} <= {*labels}
    assert found.dtype == (np.int64 if isinstance(labels[0], int) else object)


@pytest.mark.parametrize("y", [PROGRESS, np.c_[PROGRESS, -PROGRESS]], ids=["one target", "two targets"])
@pytest.mark.parametrize("quantile", [[0.5], [0.1, 0.5, 0.9]], ids=str)
def test_lists_of_quantiles_are_sorted(quantile, y):
    model = regressor("quantile", quantile=quantile, y=y)
    if len(quantile) > 1:
        model.coefs_[-1][:, 0] += 1.0  # so that they cross
    (found,) = assert_same_predictions(model, DIABETES)
    assert (np.diff(found, axis=-1) >= 0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_members", [1, 3])
def test_the_rest_of_a_network(dtype, n_members):
    settings = {
        "activation": ("prelu", "gelu", "tanh"),
        "input_scale": True,
        "dropout": 0.2,
        "n_members": n_members,
        "learning_rate_init": 0.1,  # moves slopes and scale away from where they begin
    }
    assert_same_predictions(classifier((7, 6, 5), X=IRIS.astype(dtype), **settings), IRIS)


@pytest.mark.parametrize("loss", ["squared_error", "poisson", "gaussian_nll", "quantile"])
def test_members_of_regressors(loss):
    settings = {"quantile": [0.2, 0.7]} if loss == "quantile" else {}
    assert_same_predictions(regressor(loss, n_members=3, **settings), DIABETES)


def test_a_linear_model_and_wide_layers():
    assert_same_predictions(MLPClassifier((), **SHORT).fit(IRIS, SPECIES), IRIS)
    assert_same_predictions(classifier((512, 256)), IRIS)


def test_a_second_runtime_agrees():
    evaluate = pytest.importorskip("onnx.reference").ReferenceEvaluator
    for model, X in ((classifier(n_members=2, activation="silu"), IRIS), (regressor("poisson"), DIABETES)):
        exported, inputs = to_onnx(model), session_inputs(model, X)
        pairs = zip(evaluate(exported).run(None, inputs), session(exported).run(None, inputs), strict=True)
        for one, other in pairs:
            np.testing.assert_allclose(one, other, rtol=2e-6, atol=1e-7)


def test_own_activations_and_losses_need_no_more_than_their_registration():
    register_activation(
        "own_silu", own_functions.silu, own_functions.silu_derivative, derivative_from="input"
    )
    register_activation(
        "own_softsign",
        own_functions.learnt_softsign,
        own_functions.learnt_softsign_derivative,
        parameter=0.5,
        parameter_derivative=own_functions.learnt_softsign_by_bend,
    )
    register_loss("own_log", own_functions.half_log, own_functions.half_log_gradient, output="softplus")
    assert_same_predictions(regressor("own_log", activation=("own_silu", "own_softsign")), DIABETES)


def rounded(z):
    return z if round(z) > 0.0 else 0.0


def test_what_cannot_be_exported_is_refused():
    model = classifier(activation="relu")
    register_activation("rounded", rounded, lambda a: 1.0)
    with pytest.raises(NotImplementedError, match="the function rounded cannot be exported to ONNX"):
        to_onnx(model.set_params(activation="rounded"))
    model.set_params(activation="relu").coefs_[0][0, 0] = 1e39
    with pytest.raises(ValueError, match=r"a parameter of the network is 1e\+39.*float32"):
        to_onnx(model)
    with pytest.raises(NotFittedError):
        to_onnx(MLPClassifier())
    with pytest.raises(ValueError, match=r"X tells the types.*leave it out"):
        to_onnx(classifier(), X=IRIS)
    with pytest.raises(
        TypeError, match="session_inputs is for estimators of fastopt, got LogisticRegression"
    ):
        session_inputs(LogisticRegression().fit(IRIS, SPECIES), IRIS)


@pytest.mark.parametrize("n_rows", [0, 1, 100_000])
@pytest.mark.parametrize("n_members", [1, 2])
def test_any_number_of_rows(n_rows, n_members):
    model = classifier((4,), n_members=n_members)
    X = np.random.RandomState(0).standard_normal((n_rows, 4)).astype(np.float32)
    labels, probabilities = session(to_onnx(model)).run(None, {"X": X})
    assert labels.shape == (n_rows,)
    assert probabilities.shape == (n_rows, 3)
    if n_rows:
        expected = model.predict_proba(X)
        np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-6)
        assert (labels == model.predict(X))[is_decided(expected)].all()


def test_nan_goes_through_where_predict_refuses_it():
    X = np.array([[np.nan, 0, 0, 0], [0, 0, 0, 0]], np.float32)
    for model in (classifier(), classifier(y=SPECIES == 1), classifier(n_members=2)):
        with pytest.raises(ValueError, match="NaN"):
            model.predict(X)
        _, probabilities = session(to_onnx(model)).run(None, {"X": X})
        assert np.isnan(probabilities[0]).all()
        assert np.isfinite(probabilities[1]).all()


def test_no_probability_becomes_zero():
    model = classifier(y=SPECIES == 1)
    model.intercepts_[-1][:] = -1000
    _, probabilities = assert_same_predictions(model, IRIS)
    assert (probabilities[:, 1] > 0).all()
    model = classifier()
    model.intercepts_[-1][:] = [-1000, 0, 1000]
    _, probabilities = assert_same_predictions(model, IRIS)
    assert (probabilities > 0).all()


def test_names_types_and_shapes(onnx):
    exported = to_onnx(classifier(y=np.array(["a", "b", "c"])[SPECIES]))

    def described(values):
        helper = onnx.helper
        return {
            one.name: (
                helper.tensor_dtype_to_string(one.type.tensor_type.elem_type),
                [dim.dim_param or dim.dim_value for dim in one.type.tensor_type.shape.dim],
            )
            for one in values
        }

    assert described(exported.graph.input) == {"X": ("TensorProto.FLOAT", ["n", 4])}
    assert described(exported.graph.output) == {
        "label": ("TensorProto.STRING", ["n"]),
        "probabilities": ("TensorProto.FLOAT", ["n", 3]),
    }
    assert described(to_onnx(regressor()).graph.output) == {"variable": ("TensorProto.FLOAT", ["n", 1])}
    assert [one.version for one in exported.opset_import] == [13]  # ONNX 1.8, of 2020
    assert exported.ir_version == 7
    assert "float32" in exported.doc_string


def test_what_is_given_as_a_frame_goes_in_by_position():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(IRIS, columns=list("abcd"))
    model = classifier(X=frame)
    assert_same_predictions(model, frame)
    assert session_inputs(model, frame[:2])["X"].flags.c_contiguous


def test_sparse_rows_and_refused_ones():
    sparse = pytest.importorskip("scipy.sparse")
    model = classifier(X=sparse.csr_array(MANY), y=LABELS)
    np.testing.assert_array_equal(session_inputs(model, sparse.csr_array(MANY))["X"], MANY.astype(np.float32))
    with pytest.raises(ValueError, match="expecting 8 features"):
        session_inputs(model, IRIS)


def test_a_network_of_dask_is_exported_as_that_in_memory():
    """Trained as its class is after a fit on a cluster: by its own network, and with nothing of a client."""
    dask = importlib.import_module("fastopt.dask")
    model, local = dask.DaskMLPClassifier((8, 6), **SHORT), classifier()
    vars(model).update({name: value for name, value in vars(local).items() if name not in local.get_params()})
    np.testing.assert_array_equal(model.to_local().predict_proba(IRIS), local.predict_proba(IRIS))
    assert to_onnx(model) == to_onnx(local)


def test_every_estimator_is_among_those_that_are_exported():
    """A new estimator fails here until `ESTIMATORS`, and a test, have it."""
    modules = [importlib.import_module(f"fastopt.{name}") for name in ("neural_network", "tabular", "dask")]
    public = {getattr(module, name) for module in (fastopt, *modules) for name in module.__all__}
    estimators = {one for one in public if isinstance(one, type) and issubclass(one, BaseEstimator)}
    predicting = {one for one in estimators if hasattr(one, "predict")}
    assert len(predicting) == 6
    assert all(issubclass(one, ESTIMATORS) for one in predicting)


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch, onnx):
    path, model = tmp_path / "network.onnx", classifier()
    exported = to_onnx(model, path)
    assert onnx.load(path) == exported
    before = path.read_bytes()

    def full(handle):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match=r"No space left.*network\.onnx"):
            to_onnx(classifier(y=SPECIES == 1), path)
    assert path.read_bytes() == before
    assert [*tmp_path.iterdir()] == [path]
    with pytest.raises(ValueError, match="no regular file"):
        to_onnx(model, tmp_path)


def test_without_the_extra_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r'to_onnx needs onnx.*pip install "fastopt\[onnx\]"'):
        to_onnx(classifier())


def test_threads_export_and_run_at_once():
    models = [classifier(activation=name) for name in ("relu", "gelu", "softplus", "elu")]
    alone = [to_onnx(model) for model in models]
    with ThreadPoolExecutor(2) as pool:
        assert [*pool.map(to_onnx, models * 4)] == alone * 4
        one = session(alone[1])
        results = [*pool.map(lambda i: one.run(None, session_inputs(models[1], IRIS))[1], range(8))]
    assert all((result == results[0]).all() for result in results)
