"""Pipelines and searches around the estimators, converted by skl2onnx."""

import numpy as np
import pytest
from reference.onnx_sessions import assert_same_predictions, is_decided
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import BaggingClassifier, StackingClassifier
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from fastopt import MLPClassifier, MLPRegressor, TabularMLPClassifier, TabularMLPRegressor, to_onnx
from fastopt.dask import DaskMLPRegressor
from fastopt.onnx_export import register_converters

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

IRIS, SPECIES = load_iris(return_X_y=True)
NAMES = np.array(["a", "b", "c"])[SPECIES]
DIABETES, PROGRESS = load_diabetes(return_X_y=True)
PROGRESS = PROGRESS / 100
SHORT = {"max_iter": 10, "random_state": 0, "learning_rate_init": 0.01}
CLASSIFIER = MLPClassifier((8,), **SHORT)
REGRESSOR = MLPRegressor(hidden_layer_sizes=(8,), **SHORT)
TABULAR = {"n_members": 2, "max_iter": 3, "random_state": 0}


@pytest.fixture(autouse=True)
def skl2onnx():
    return pytest.importorskip("skl2onnx")


def run(exported, inputs):
    """Return the results of onnxruntime by their names."""
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    onnx.checker.check_model(exported, full_check=True)
    session = onnxruntime.InferenceSession(exported.SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip([one.name for one in session.get_outputs()], session.run(None, inputs), strict=True))


def assert_classified(found, model, X):
    expected = model.predict_proba(X)
    np.testing.assert_allclose(found["probabilities"], expected, rtol=0, atol=2e-6)
    assert (found["label"] == model.predict(X))[is_decided(expected)].all()


@pytest.mark.parametrize(
    "model",
    [
        make_pipeline(StandardScaler(), CLASSIFIER),
        GridSearchCV(make_pipeline(StandardScaler(), CLASSIFIER), {"mlpclassifier__alpha": [0, 1]}, cv=2),
        GridSearchCV(CLASSIFIER, {"alpha": [0, 1]}, cv=2),
        CalibratedClassifierCV(CLASSIFIER, cv=2),
        StackingClassifier([("network", CLASSIFIER)], cv=2),
        BaggingClassifier(CLASSIFIER, 2),
        make_pipeline(StandardScaler(), TabularMLPClassifier(**TABULAR)),
    ],
    ids=["pipeline", "search of pipelines", "search", "calibrated", "stacking", "bagging", "tabular"],
)
@pytest.mark.parametrize("y", [SPECIES, NAMES], ids=["int", "str"])
def test_classifiers_in_others(model, y):
    model = clone(model).fit(IRIS, y)
    exported = to_onnx(model)
    assert_classified(run(exported, {"X": IRIS.astype(np.float32)}), model, IRIS)
    assert max(one.version for one in exported.opset_import) <= 18
    if hasattr(model, "best_estimator_"):
        best = run(to_onnx(model.best_estimator_), {"X": IRIS.astype(np.float32)})
        assert_classified(best, model, IRIS)


@pytest.mark.parametrize(
    ("model", "y"),
    [
        (make_pipeline(StandardScaler(), REGRESSOR), PROGRESS),
        (make_pipeline(StandardScaler(), REGRESSOR), np.c_[PROGRESS, -PROGRESS]),
        (make_pipeline(StandardScaler(), TabularMLPRegressor(**TABULAR)), PROGRESS),
        (MultiOutputRegressor(REGRESSOR), np.c_[PROGRESS, -PROGRESS]),
    ],
    ids=["one target", "two targets", "tabular", "by target"],
)
def test_regressors_in_others(model, y, tmp_path):
    model = clone(model).fit(DIABETES, y)
    to_onnx(model, tmp_path / "model.onnx")
    found = run(pytest.importorskip("onnx").load(tmp_path / "model.onnx"), {"X": DIABETES.astype(np.float32)})
    (numbers,) = found.values()
    np.testing.assert_allclose(numbers, model.predict(DIABETES).reshape(numbers.shape), rtol=0, atol=1e-5)


def test_columns_of_a_frame_and_what_has_no_types():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": IRIS[:, 0], "b": IRIS[:, 1], "c": NAMES[::-1]})
    columns = ColumnTransformer(
        [("scaled", StandardScaler(), ["a", "b"]), ("levels", OneHotEncoder(), ["c"])]
    )
    model = make_pipeline(columns, clone(CLASSIFIER)).fit(frame, NAMES)
    with pytest.raises(ValueError, match=r"pass some rows, as in to_onnx\(model, path, X=frame\[:1\]\)"):
        to_onnx(model)
    inputs = {name: frame[[name]].to_numpy() for name in frame}
    assert_classified(run(to_onnx(model, X=frame[:1]), inputs), model, frame)


def test_missing_numbers_of_a_frame_as_the_documentation_exports_them():
    """onnxruntime 1.32 has no Imputer for float64, which is what skl2onnx makes of such a frame."""
    pandas = pytest.importorskip("pandas")
    numbers = np.where(np.arange(150) % 7, IRIS[:, 0], np.nan)
    frame = pandas.DataFrame({"a": numbers, "b": IRIS[:, 1], "c": NAMES[::-1]})
    filled = make_pipeline(SimpleImputer(), StandardScaler())
    columns = ColumnTransformer([("filled", filled, ["a", "b"]), ("levels", OneHotEncoder(), ["c"])])
    model = make_pipeline(columns, clone(CLASSIFIER)).fit(frame, NAMES)
    of_float32 = frame.astype({"a": "float32", "b": "float32"})
    inputs = {name: of_float32[[name]].to_numpy() for name in frame}
    assert_classified(run(to_onnx(model, X=of_float32[:1]), inputs), model, of_float32)


def test_a_table_by_skl2onnx_itself(skl2onnx):
    """Of the types that skl2onnx finds in a frame: float64, int64, bool and strings."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": IRIS[:, 0], "b": np.arange(150), "c": NAMES[::-1], "d": IRIS[:, 1] > 3})
    model = TabularMLPClassifier(**TABULAR).fit(frame, NAMES)
    register_converters()
    exported = skl2onnx.to_onnx(model, frame[:1], options={"zipmap": False})
    inputs = {name: frame[[name]].to_numpy() for name in frame}
    assert_classified(run(exported, inputs), model, frame)
    assert_same_predictions(model, frame)
    with pytest.raises(
        ValueError, match="column 0 held numbers in fit, and the input 'a' of the graph is text"
    ):
        skl2onnx.to_onnx(model, frame.assign(a="1")[:1])
    with pytest.raises(ValueError, match=r"was fitted to 4 columns, and the graph has inputs of \[1, 1, 1\]"):
        skl2onnx.to_onnx(model, frame[["a", "b", "c"]][:1])


def test_any_number_of_columns_is_that_of_the_fit(skl2onnx):
    register_converters()
    types = pytest.importorskip("skl2onnx.common.data_types")
    for model in (clone(CLASSIFIER), TabularMLPClassifier(**TABULAR)):
        model.fit(IRIS, SPECIES)
        given = [("X", types.FloatTensorType([None, None]))]
        exported = skl2onnx.to_onnx(model, initial_types=given, options={"zipmap": False})
        assert_classified(run(exported, {"X": IRIS.astype(np.float32)}), model, IRIS)
    given = [(name, types.FloatTensorType([None, None])) for name in "ab"]
    with pytest.raises(
        ValueError, match=r"was fitted to 4 columns, and the graph has inputs of \[None, None\]"
    ):
        skl2onnx.to_onnx(model, initial_types=given)


def test_options_of_skl2onnx(skl2onnx):
    register_converters()
    model = make_pipeline(StandardScaler(), clone(CLASSIFIER)).fit(IRIS, NAMES)
    X = IRIS.astype(np.float32)

    def converted(**options):
        return run(skl2onnx.to_onnx(model, X[:1], options={id(model): options}), {"X": X})

    expected = model.predict_proba(IRIS)
    maps = converted(zipmap=True)["output_probability"]
    np.testing.assert_allclose([[one[name] for name in "abc"] for one in maps], expected, atol=1e-6)
    columns = converted(zipmap="columns")
    assert [name for name in columns if name != "output_label"] == ["sa", "sb", "sc"]
    np.testing.assert_allclose(columns["sb"], expected[:, 1], atol=1e-6)
    numbers = converted(zipmap=False, nocl=True)["label"]
    assert (np.array(["a", "b", "c"])[numbers] == model.predict(IRIS)).all()
    assert converted(zipmap=False, output_class_labels=True)["class_labels"].tolist() == ["a", "b", "c"]


@pytest.mark.parametrize("opset", [13, 15, 18, 21])
def test_versions_of_the_operators(opset, skl2onnx):
    register_converters()
    for model in (MLPClassifier((8,), n_members=2, **SHORT), TabularMLPClassifier(**TABULAR)):
        model.fit(IRIS, SPECIES)
        exported = skl2onnx.to_onnx(model, IRIS[:1], target_opset=opset, options={"zipmap": False})
        assert_classified(run(exported, {"X": IRIS}), model, IRIS)
        with pytest.raises(ValueError, match="target_opset=12: fastopt's estimators need 13 or later"):
            skl2onnx.to_onnx(model, IRIS[:1], target_opset=12)


def test_an_estimator_of_dask_in_a_pipeline():
    local = clone(REGRESSOR).fit(DIABETES, PROGRESS)
    network = DaskMLPRegressor(**REGRESSOR.get_params())
    vars(network).update(
        {name: value for name, value in vars(local).items() if name not in local.get_params()}
    )
    pipeline = make_pipeline(StandardScaler(with_mean=False, with_std=False).fit(DIABETES), network)
    (numbers,) = run(to_onnx(pipeline), {"X": DIABETES.astype(np.float32)}).values()
    np.testing.assert_allclose(numbers[:, 0], local.predict(DIABETES), rtol=0, atol=1e-5)


def test_what_skl2onnx_does_not_know_is_its_own_error():
    model = TransformedTargetRegressor(clone(REGRESSOR)).fit(DIABETES, PROGRESS)
    with pytest.raises(RuntimeError, match="TransformedTargetRegressor"):
        to_onnx(model)
