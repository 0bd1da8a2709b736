"""Estimators of tables as ONNX models: every kind of column, scaler and encoding."""

import numpy as np
import pytest
from reference.onnx_sessions import assert_same_predictions, of_the_library, session
from scipy.special import ndtri
from sklearn.datasets import load_diabetes, load_iris, make_multilabel_classification

from fastopt import TabularMLPClassifier, TabularMLPRegressor, to_onnx
from fastopt.onnx_export import session_inputs, table_inputs
from fastopt.onnx_export.graph import Graph
from fastopt.rules.losses import REGRESSION_LOSSES
from fastopt.tabular import TableEncoder

IRIS, SPECIES = load_iris(return_X_y=True)
DIABETES, PROGRESS = load_diabetes(return_X_y=True)
#: Of the regressor of tables; see `of_the_library`.
LOSSES = sorted(
    TabularMLPRegressor._parameter_constraints["loss"][0].options & {*of_the_library(REGRESSION_LOSSES)}
)
SHORT = {"n_members": 2, "max_iter": 3, "random_state": 0, "hidden_layer_sizes": (8, 8)}


@pytest.fixture(autouse=True)
def onnx():
    return pytest.importorskip("onnx")


@pytest.fixture
def pandas():
    return pytest.importorskip("pandas")


def frame_of(pandas, n=200):
    """Return a frame with a column of each kind, with and without missing values, and labels."""
    draw = np.random.RandomState(0)
    day = pandas.Timestamp("2020-01-01")
    frame = pandas.DataFrame(
        {
            "number": draw.standard_normal(n) * 3 + 1e6,  # float32 would leave 6 % of its spread
            "missing number": np.where(draw.rand(n) < 0.2, np.nan, draw.standard_normal(n)),
            "many equal": draw.choice([0.0, 0.0, 0.0, 1.5, 2.0, 9.0], n),
            "whole": draw.randint(0, 9, n),
            "text": draw.choice(["a", "b", "ü", "日本"], n),
            "missing text": draw.choice(np.array(["a", "b", None], object), n),
            "missing or empty": draw.choice(np.array(["a", "", None], object), n),
            "two texts": draw.choice(["u", "v"], n),
            "truth": draw.rand(n) < 0.3,
            "missing truth": pandas.array(draw.choice([True, False, None], n), dtype="boolean"),
            "date": day + pandas.to_timedelta(draw.randint(0, 10**6, n), unit="min"),
            "duration": pandas.to_timedelta(draw.randint(0, 10**6, n), unit="s"),
            "category of text": pandas.Categorical(draw.choice(["x", "y", "z"], n)),
            "category of numbers": pandas.Categorical(draw.choice([1.0, 2.5, 5.0], n)),
            "grade": draw.choice([1, 2, 3, 4], n).astype(float),
            "birthday": day + pandas.to_timedelta(draw.choice([0, 1, 40], n), unit="D"),
            "mixed": np.array([1, "x", 2.5, True], object)[draw.randint(0, 4, n)],
            "always one": 1,
            "empty": None,
            "label": draw.standard_normal(n),  # the name of an output
        }
    )
    frame.loc[draw.rand(n) < 0.1, "date"] = pandas.NaT
    frame.loc[draw.rand(n) < 0.1, "grade"] = np.nan
    y = np.where(frame["label"] + (frame["text"] == "a") + frame["grade"].fillna(3) > 3, "yes", "no")
    return frame, y


NAMED = ["grade", "birthday"]  # numbers and dates that are categories


@pytest.mark.parametrize("scaler", ["robust_clip", "standard", "quantile", None])
@pytest.mark.parametrize("embedding", ["ple", None])
def test_every_kind_of_column(scaler, embedding, pandas):
    frame, y = frame_of(pandas)
    if scaler is None:  # which leaves large numbers large
        frame = frame.drop(columns=["number", "date", "duration"])
    settings = {"numeric_scaler": scaler, "num_embedding": embedding, "categorical_features": NAMED}
    model = TabularMLPClassifier(**SHORT, **settings).fit(frame, y)
    assert_same_predictions(model, frame)
    assert_same_predictions(model, frame[:1])
    new = frame.copy()
    new["text"], new["two texts"], new["category of text"], new["grade"] = "new", "w", "v", 7.5
    new["missing number"] = new["missing truth"] = new["missing text"] = None
    new = new.astype({"missing number": float, "missing truth": "boolean"})
    assert_same_predictions(model, new)


@pytest.mark.parametrize("is_sparse", [False, True])
def test_the_inputs_of_the_networks_are_those_of_the_encoder(is_sparse, pandas):
    """Compared before any network: what is encoded in another way might hardly show in predictions."""
    frame, y = frame_of(pandas, 400)
    settings = {"categorical_features": NAMED}
    if is_sparse:  # more than 100 inputs, few of which are not 0
        levels = np.random.RandomState(1).randint(0, 30, (400, 5)).astype(str)
        frame = pandas.concat([pandas.DataFrame(levels).add_prefix("code "), frame["two texts"]], axis=1)
        frame["rarely"] = np.where(np.arange(400) % 20, 0.0, np.arange(400))
        frame["count"] = np.where(np.arange(400) % 19, 0.0, np.nan)
        frame.loc[0, "count"] = 2.0
        settings = {}
    model = TabularMLPClassifier(**SHORT, num_embedding=None if is_sparse else "ple", **settings).fit(
        frame, y
    )
    assert model.encoder_.sparse_output_ == is_sparse
    expected = model.encoder_.transform(frame)
    graph, inputs = Graph(), table_inputs.inputs_of(model.encoder_)
    values = [(graph.unique(one.name), 1, one.is_text) for one in inputs]
    encoded = table_inputs.encoded(graph, table_inputs.TableValues(graph, values), model.encoder_)
    graph.name_output(encoded, "encoded")
    named = {name: (object if is_text else np.float64, ["n", 1]) for name, _, is_text in values}
    exported = graph.to_model("columns", named, {"encoded": (np.float32, ["n", expected.shape[1]])})
    (found,) = session(exported).run(None, session_inputs(model, frame))
    dense = expected.toarray() if is_sparse else expected
    np.testing.assert_allclose(found, dense, rtol=2e-7, atol=1e-7)  # float64 until the last rounding


def test_the_scaler_to_a_normal_distribution():
    """SciPy's quantile at the places that the encoder gives, of ties and beyond the ends, too."""
    draw = np.random.RandomState(0)
    X = np.c_[draw.standard_normal(3000), draw.choice([0, 0, 0, 1, 2], 3000), draw.rand(3000) ** 9 * 1e-310]
    encoder = TableEncoder(numeric_scaler="quantile", dtype="float64").fit(X)
    edges = [[-np.inf, -1e-300, 5.0], [9.0, 0.5, -1.0], [0.0, 1.0, 1e-312]]
    new = np.concatenate([X[:500], np.nan_to_num(edges), X.min(axis=0)[None], X.max(axis=0)[None]])
    graph = Graph()
    graph.unique("X")
    values = table_inputs.TableValues(graph, [("X", 3, False)])
    group, numbers, _ = encoder._encoder().groups[0]
    graph.name_output(table_inputs._numbers(graph, values.numbers(group), numbers), "z")
    exported = graph.to_model("quantile", {"X": (np.float64, ["n", 3])}, {"z": (np.float64, ["n", 3])})
    (found,) = session(exported).run(None, {"X": new})
    np.testing.assert_allclose(found, encoder.transform(new), rtol=0, atol=1e-8)
    assert found.min() == pytest.approx(ndtri(1e-7))
    assert found.max() == pytest.approx(-ndtri(1e-7))


def test_an_array_of_numbers_is_one_input():
    model = TabularMLPClassifier(**SHORT).fit(IRIS, SPECIES)
    (name,) = session_inputs(model, IRIS)
    assert name == "X"
    assert_same_predictions(model, IRIS)
    wide = np.random.RandomState(0).standard_normal((80, 130))  # of more than one group of columns
    wide[::3, 7] = np.nan
    wide[:, 100] = 1.0
    assert_same_predictions(TabularMLPClassifier(**SHORT).fit(wide, wide[:, 0] > 0), wide)


def test_an_array_of_objects_has_an_input_for_each_column():
    X = np.array([[1.0, "red"], [3.0, "blue"], [None, "red"], [2.0, None]] * 10, dtype=object)
    model = TabularMLPClassifier(**SHORT).fit(X, [0, 1, 0, 1] * 10)
    assert [*session_inputs(model, X)] == ["x0", "x1"]
    assert_same_predictions(model, X)


def test_a_table_that_says_nothing_has_predictions_for_each_row():
    X = np.array([["a"], ["a"], ["a"]], dtype=object)
    model = TabularMLPClassifier(**SHORT).fit(X, [0, 1, 0])
    assert_same_predictions(model, X)


def test_frames_of_polars(pandas):
    polars = pytest.importorskip("polars")
    frame, y = frame_of(pandas)
    columns = ["missing number", "text", "missing text", "truth", "grade"]
    model = TabularMLPClassifier(**SHORT).fit(polars.from_pandas(frame[columns]), y)
    assert_same_predictions(model, polars.from_pandas(frame[columns]))


@pytest.mark.parametrize("calibration", ["temperature", None])
@pytest.mark.parametrize("n_members", [1, 3])
def test_temperature_and_several_labels(calibration, n_members):
    settings = SHORT | {"n_members": n_members, "calibration": calibration}
    model = TabularMLPClassifier(**settings).fit(IRIS, np.array(["a", "b", "c"])[SPECIES])
    model.temperature_ = 1.7 if calibration else 1.0
    assert_same_predictions(model, IRIS)
    X, labels = make_multilabel_classification(60, n_features=8, n_classes=4, random_state=0)
    model = TabularMLPClassifier(**settings).fit(X, labels)
    model.temperature_ = 0.6 if calibration else 1.0
    assert_same_predictions(model, X)


@pytest.mark.parametrize("y", [PROGRESS, np.c_[PROGRESS, 1e4 - PROGRESS]], ids=["one target", "two targets"])
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_of_numbers(loss, y):
    settings = {"quantile": [0.1, 0.5, 0.9]} if loss == "quantile" else {}
    model = TabularMLPRegressor(**SHORT, loss=loss, **settings).fit(DIABETES, y)
    (found,) = assert_same_predictions(model, DIABETES)
    far = session(to_onnx(model)).run(None, {"X": np.full((1, 10), 1e30)})[0]
    assert found.min() >= y.min().astype(np.float32)  # within the range of the targets
    assert (y.min().astype(np.float32) <= far).all()
    assert (far <= y.max().astype(np.float32)).all()


def test_numbers_beyond_float32_are_refused():
    model = TabularMLPRegressor(**SHORT).fit(DIABETES, PROGRESS * 1e40)
    with pytest.raises(ValueError, match=r"y goes from 2\.5e\+41 to 3\.46e\+42.*float32"):
        to_onnx(model)


def test_no_row_and_many(pandas):
    frame, y = frame_of(pandas)
    frame = frame[["missing number", "text", "grade", "missing truth"]]
    model = TabularMLPClassifier(**SHORT, numeric_scaler="quantile").fit(frame, y)
    running, inputs = session(to_onnx(model)), session_inputs(model, frame)
    labels, probabilities = running.run(None, {name: values[:0] for name, values in inputs.items()})
    assert (labels.shape, probabilities.shape) == ((0,), (0, 2))
    many = running.run(None, {name: np.tile(values, (500, 1)) for name, values in inputs.items()})[1]
    np.testing.assert_allclose(many, np.tile(model.predict_proba(frame), (500, 1)), rtol=0, atol=1e-6)


def test_infinity_is_the_largest_number_where_predict_refuses_it():
    model = TabularMLPClassifier(**SHORT).fit(IRIS, SPECIES)
    X = IRIS[:2].copy()
    X[0, 1] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        model.predict(X)
    found = session(to_onnx(model)).run(None, {"X": X})[1]
    X[0, 1] = 1e30
    np.testing.assert_allclose(found, model.predict_proba(X), rtol=0, atol=1e-6)


def test_missing_text_has_a_text_of_its_own(pandas):
    frame, y = frame_of(pandas)
    model = TabularMLPClassifier(**SHORT).fit(frame, y)
    inputs = session_inputs(model, frame)
    for name, text in {"missing text": "", "missing or empty": "<NA>"}.items():
        is_missing = frame[name].isna().to_numpy()
        assert (inputs[name][is_missing] == text).all()
        assert not (inputs[name][~is_missing] == text).any()
    frame["missing text"] = frame["missing text"].fillna("").where(frame.index % 2 == 0)
    few = TabularMLPClassifier(**SHORT, max_one_hot=2).fit(frame, y)  # the empty text has no input of its own
    assert "" not in few.encoder_.columns_[list(frame).index("missing text")].levels
    assert_same_predictions(few, frame)


def test_names_of_inputs_and_outputs_do_not_collide(pandas):
    frame = pandas.DataFrame(IRIS, columns=["label", "x2", "", "constant"])
    model = TabularMLPClassifier(**SHORT).fit(frame, SPECIES)
    running = session(to_onnx(model))
    assert [one.name for one in running.get_inputs()] == ["label", "x2", "x2_", "constant"]
    assert [one.name for one in running.get_outputs()] == ["label1", "probabilities"]
    assert_same_predictions(model, frame)


def test_columns_that_do_not_fit_are_refused_as_by_predict(pandas):
    frame, y = frame_of(pandas)
    model = TabularMLPClassifier(**SHORT).fit(frame, y)
    with pytest.raises(ValueError, match="column 'number' held numbers in fit, and holds text now"):
        session_inputs(model, frame.assign(number="1.5"))
    with pytest.raises(ValueError, match="text"):
        session_inputs(model, frame.drop(columns="text"))


def random_column(pandas, draw, n):
    """Return a column of some kind: sizes far from 1, few levels, rare or missing ones, constants."""
    day = pandas.Timestamp("1990-01-01")
    kinds = (
        lambda: draw.standard_normal(n) * 10.0 ** draw.randint(-6, 7) + 10.0 ** draw.randint(-3, 7),
        lambda: np.where(draw.rand(n) < 0.3, np.nan, draw.randint(0, 4, n)),
        lambda: draw.choice(np.array(["a", "b", "", "ä", None], object), n),
        lambda: draw.rand(n) < 0.5,
        lambda: day + pandas.to_timedelta(draw.randint(0, 10**9, n), unit="s"),
        lambda: pandas.Categorical(draw.choice([1, 2.5, 7], n)),
        lambda: draw.choice(np.array([1, "1.0", 2.5, None, True], object), n),
        lambda: np.full(n, 3.0),
    )
    return kinds[draw.randint(len(kinds))]()


@pytest.mark.parametrize("seed", range(8))
def test_random_tables(seed, pandas):
    draw = np.random.RandomState(seed)
    n = draw.randint(20, 120)
    frame = pandas.DataFrame({f"c{j}": random_column(pandas, draw, n) for j in range(draw.randint(1, 8))})
    settings = {
        **SHORT,
        "numeric_scaler": ["robust_clip", "standard", "quantile"][draw.randint(3)],
        "max_one_hot": int(draw.randint(1, 5)),
    }
    kind = TabularMLPClassifier if seed % 2 else TabularMLPRegressor
    model = kind(**settings).fit(
        frame, draw.randint(0, draw.randint(2, 5), n), sample_weight=draw.rand(n) + 0.1
    )
    some = frame.sample(frac=0.5, random_state=seed)
    found = session(to_onnx(model)).run(None, session_inputs(model, some))[-1]
    expected = model.predict_proba(some) if seed % 2 else model.predict(some)[:, np.newaxis]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
