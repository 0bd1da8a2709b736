"""`fastopt.save` and `fastopt.load`: the same model, the same further training, and no bad file loaded."""

import datetime
import math
import pickle
import random
import re
import sys

import numpy as np
import pytest
import scipy.sparse
import sklearn
import sklearn.neural_network
from reference.saved_models import LABELS, NUMBERS, X, numbers
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

import fastopt
from fastopt import EMA, LBFGS, SAM, SGD, Adam, AdamW, Clip, MLPClassifier, MLPRegressor, MultiSteps
from fastopt.model_files.objects import load_objects, save_objects
from fastopt.rules.activations import ACTIVATIONS
from fastopt.schedules import cosine, function, plateau

pytest.importorskip("safetensors")
pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:solver="),  # the default rate is far below that of some
    pytest.mark.filterwarnings("ignore:Parameters of .* that have no effect here"),
]

SMALL = {"hidden_layer_sizes": (3,), "batch_size": 20, "max_iter": 3, "random_state": 0, "tol": 0.0}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.fixture
def reloaded(path):
    """Return a function that saves a model and loads it."""

    def reload(model, optimizer=False):
        before = numbers(model)
        fastopt.save(model, path, optimizer=optimizer)
        assert_same(numbers(model), before)  # saving changes nothing
        return fastopt.load(path)

    return reload


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for place, value in ours.items():
        np.testing.assert_array_equal(value, theirs[place], err_msg=place)
        assert type(value) is type(theirs[place]), place


SOLVERS = [
    *fastopt.list_optimizers(),
    EMA(Adam(lr=cosine(0.01))),
    Clip(AdamW(lr=plateau(0.1, patience=0)), norm=1.0),
    SAM(MultiSteps(SGD(lr=0.1), 2)),
    Adam(state_dtype="int8"),
    Adam(lr=cosine(0.1), betas=(cosine(0.9, end=0.8), 0.99)),
    LBFGS(max_iter=2),
]


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_training_goes_on_with_the_same_bits(solver, reloaded):
    model = MLPRegressor(solver=solver, warm_start=True, **SMALL).fit(X, NUMBERS)
    again = reloaded(model, optimizer=True)
    assert_same(numbers(again), numbers(model))
    rows = slice(0, 45)  # two full batches and a part
    train = "fit" if solver == "lbfgs" else "partial_fit"
    for _ in range(2):
        for one in (model, again):
            getattr(one, train)(X[rows], NUMBERS[rows])
        assert_same(numbers(again), numbers(model))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "changes",
    [
        {"solver": "lbfgs"},
        {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.1, "n_iter_no_change": 1},
        {"solver": "sgd", "learning_rate": "invscaling"},
        {"solver": "sgd", "learning_rate": "cosine"},
        {"solver": "sgd", "learning_rate": cosine(0.1)},
        {"early_stopping": True, "learning_rate": "plateau", "activation": "tanh"},
        {"solver": EMA(AdamW(lr=cosine(0.02))), "clip_norm": 1.0, "warmup": 0.2, "clip_value": 0.5},
        {"solver": "muon", "restore_best_weights": True},
    ],
    ids=str,
)
def test_a_warm_start_goes_on_with_the_same_bits(changes, dtype, reloaded):
    shared = SMALL | {"warm_start": True, "reset_optimizer": False, "random_state": np.random.RandomState(3)}
    model = MLPClassifier(**shared | changes).fit(X.astype(dtype), LABELS)
    again = reloaded(model, optimizer=True)
    for _ in range(2):
        model.fit(X.astype(dtype), LABELS)
        again.fit(X.astype(dtype), LABELS)
        assert model.coefs_[0].dtype == dtype
        ours, theirs = numbers(again), numbers(model)
        ours.pop(".random_state"), theirs.pop(".random_state")  # told by the bits of the second fit
        assert_same(ours, theirs)


def test_without_the_optimizer_the_file_is_smaller_and_predicts_the_same(path, reloaded):
    model = MLPRegressor(**SMALL | {"hidden_layer_sizes": (200,)}).fit(X, NUMBERS)
    again = reloaded(model, optimizer=True)
    large = path.stat().st_size
    again = reloaded(model)
    assert path.stat().st_size < large / 2
    assert not hasattr(again, "_optimizer")
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert again.loss_curve_ == model.loss_curve_
    assert np.isfinite(again.partial_fit(X, NUMBERS).loss_)  # with a new optimizer


NAMES = np.array(["no", "perhaps", "yes"])[np.arange(60) % 3]
TARGETS = {
    "text": NAMES,
    "objects": NAMES.astype(object),
    "wider text": NAMES.astype("U20"),
    "bool": np.arange(60) % 2 == 0,
    "int8": (np.arange(60) % 3).astype(np.int8),
    "big-endian": (np.arange(60) % 3).astype(">i4"),
    "float": np.array([-5.0, 1e10, 3.0])[np.arange(60) % 3],
    "date": np.array(["2020-01-01", "2021-01-01"], "M8[D]")[np.arange(60) % 2],
    "one class": ["only"] * 60,
    "multilabel": np.arange(180).reshape(60, 3) % 7 % 2,
    "sparse multilabel": scipy.sparse.csr_matrix(np.arange(180).reshape(60, 3) % 7 % 2),
}


@pytest.mark.parametrize("kind", TARGETS)
def test_labels_come_back(kind, reloaded):
    model = MLPClassifier(**SMALL).fit(X, TARGETS[kind])
    again = reloaded(model, optimizer=True)
    assert again.classes_.dtype == model.classes_.dtype
    np.testing.assert_array_equal(again.classes_, model.classes_)
    ours, theirs = again.predict(X), model.predict(X)
    assert type(ours) is type(theirs)
    assert ours.dtype == theirs.dtype
    assert (ours != theirs).sum() == 0
    again.partial_fit(X, TARGETS[kind])
    np.testing.assert_array_equal(again.coefs_[0], model.partial_fit(X, TARGETS[kind]).coefs_[0])


def test_where_a_fit_writes_is_not_in_the_file(tmp_path, reloaded):
    every = datetime.timedelta(seconds=60)
    model = MLPRegressor(checkpoint=tmp_path / "fit", checkpoint_every=every, **SMALL).fit(X, NUMBERS)
    again = reloaded(model, optimizer=True)
    assert again.get_params() == model.get_params() | {"checkpoint": None, "checkpoint_every": 1}
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


def test_names_of_features_come_back(reloaded):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["a", "ä", "€", "d.e"])
    model = MLPRegressor(**SMALL).fit(frame, np.c_[NUMBERS, NUMBERS])
    again = reloaded(model)
    np.testing.assert_array_equal(again.feature_names_in_, model.feature_names_in_)
    np.testing.assert_array_equal(again.predict(frame), model.predict(frame))
    with pytest.raises(ValueError, match="feature names should match"):
        again.predict(frame.rename(columns={"a": "b"}))


def test_assigned_weights_are_saved(path):
    model = MLPRegressor(**SMALL).fit(X, NUMBERS)
    model.coefs_ = [np.ones((4, 2), np.float32), np.ones((2, 1), np.float32)]
    model.intercepts_ = [np.zeros(2, np.float32), np.zeros(1, np.float32)]
    fastopt.save(model, path)
    again = fastopt.load(path)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert again.coefs_[0].dtype == np.float32
    again.coefs_[0][...] = 0.0  # views, as after a fit
    np.testing.assert_array_equal(again.predict(X), np.zeros(60))


def test_a_model_from_scikit_learn_is_saved(reloaded):
    theirs = sklearn.neural_network.MLPClassifier(**SMALL).fit(X, LABELS)
    again = reloaded(fastopt.from_sklearn(theirs), optimizer=True)
    np.testing.assert_array_equal(again.predict(X), theirs.predict(X))


def test_requests_of_metadata_come_back(path):
    with sklearn.config_context(enable_metadata_routing=True):
        model = MLPRegressor(**SMALL).fit(X, NUMBERS)
        model.set_fit_request(sample_weight=True).set_score_request(sample_weight="other")
        fastopt.save(model, path)
        again = fastopt.load(path)
        assert str(again.get_metadata_routing()) == str(model.get_metadata_routing())
        assert again.get_metadata_routing().score.requests == {"sample_weight": "other"}


def test_what_is_registered_is_found_by_its_name(path):
    fastopt.register_activation("scaled_tanh", lambda z: math.tanh(z), lambda y: 1.0 - y * y)
    model = MLPRegressor(activation="tanh", **SMALL).fit(X, NUMBERS)
    model.activation = "scaled_tanh"
    fastopt.save(model, path)
    assert fastopt.load(path).activation == "scaled_tanh"
    del ACTIVATIONS["scaled_tanh"]
    with pytest.raises(ValueError, match="activation='scaled_tanh' is not registered"):
        fastopt.load(path)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("loss", "nosuch", "loss='nosuch' is not registered.*register_loss adds one"),
        ("activation", "nosuch", "activation='nosuch' is not registered.*register_activation adds one"),
        ("solver", "nosuch", "The 'solver' parameter .* Got 'nosuch'"),
        ("alpha", -1.0, "The 'alpha' parameter .* Got -1.0"),
    ],
)
def test_a_parameter_that_fit_would_refuse_is_refused(name, value, message, path):
    """By `save`, so that whatever it writes can be loaded, and by `load`, which another process may call."""
    model = MLPRegressor(**SMALL).fit(X, NUMBERS)
    fastopt.save(model, path)
    saved = load_objects(path, "model")
    with pytest.raises(ValueError, match=message):
        fastopt.save(model.set_params(**{name: value}), path)
    assert fastopt.load(path).get_params()[name] != value  # the old file
    saved["params"][name] = value
    save_objects(path, saved, "model")
    with pytest.raises(ValueError, match=rf"model\.safetensors cannot be loaded: {message}"):
        fastopt.load(path)


class Own(MLPRegressor):
    """A user's own estimator."""

    def __init__(self, hidden_layer_sizes=(3,), *, max_iter=2):
        super().__init__(hidden_layer_sizes=hidden_layer_sizes, max_iter=max_iter)


def with_attribute():
    model = MLPRegressor(**SMALL).fit(X, NUMBERS)
    model.note = "mine"
    return model


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: make_pipeline(MLPRegressor(**SMALL)).fit(X, NUMBERS),
            "takes a fitted MLPClassifier, MLPRegressor, Tab",
        ),
        (lambda: Own().fit(X, NUMBERS), r"test_model_files\.Own is a class of your own"),
        (with_attribute, r"MLPRegressor has the attributes \['note'\], which are not its own"),
        (
            lambda: MLPRegressor(learning_rate=np.sqrt, **SMALL).fit(X, NUMBERS),
            r"params\.learning_rate=<ufunc 'sqrt'> is a function or class, which is code",
        ),
        (
            lambda: MLPRegressor(solver=Adam(lr=function(np.sqrt, unit="run")), **SMALL).fit(X, NUMBERS),
            r"params\.solver\.lr\.f=<ufunc 'sqrt'> is a function",
        ),
    ],
    ids=["pipeline", "class", "attribute", "function", "schedule"],
)
def test_what_a_file_cannot_hold_is_refused(make, message, path):
    with pytest.raises(TypeError, match=message):
        fastopt.save(make(), path)
    assert not path.exists()


def test_an_unfitted_model_is_refused(path):
    with pytest.raises(NotFittedError):
        fastopt.save(MLPClassifier(), path)


def test_without_safetensors_the_message_says_what_to_install(path, monkeypatch):
    model = MLPRegressor(**SMALL).fit(X, NUMBERS)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ImportError, match=r'pip install "fastopt\[files\]"'):
        fastopt.save(model, path)


@pytest.fixture(scope="module")
def model():
    return MLPClassifier(solver=EMA(AdamW(lr=cosine(0.02))), **SMALL).fit(X, LABELS)


@pytest.mark.parametrize("kind", ["pickle", "empty", "foreign", "checkpoint"])
def test_another_file_is_a_valueerror(kind, path, model):
    from safetensors.numpy import save_file

    if kind == "pickle":
        path.write_bytes(pickle.dumps(model))
    elif kind == "empty":
        path.touch()
    elif kind == "foreign":
        save_file({"x": np.ones(3)}, path)
    else:
        save_objects(path, {}, "checkpoint")
    with pytest.raises(ValueError, match=re.escape(str(path))):
        fastopt.load(path)


def mutated(whole, draw):
    """Return a file with a few bytes changed, cut out, repeated or inserted."""
    data = bytearray(whole)
    for _ in range(draw.choice([1, 1, 1, 2, 5])):
        at = draw.randrange(len(data)) if draw.random() < 0.5 else draw.randrange(min(len(data), 600))
        match draw.randrange(5):
            case 0:
                data[at] ^= 1 << draw.randrange(8)
            case 1:
                data[at] = draw.choice(b'\x00\xff"{}[],:0159-eE')
            case 2:
                del data[at : at + draw.choice([1, 2, 8, 64])]
            case 3:
                data[at:at] = data[at : at + draw.choice([1, 8, 64])]
            case _:
                data[at : at + 8] = draw.randbytes(8)
        if not data:
            break
    return bytes(data)


def test_no_damaged_file_is_loaded(path, model):
    """By hand 10,000 such files: see the commit that added this."""
    fastopt.save(model, path, optimizer=True)
    whole, expected, draw = path.read_bytes(), numbers(model), random.Random(0)
    refused = 0
    for _ in range(300):
        path.write_bytes(mutated(whole, draw))
        try:
            again = fastopt.load(path)
        except ValueError as error:
            assert str(path) in str(error)  # noqa: PT017  a file that is as it was may be loaded
            refused += 1
        else:
            assert_same(numbers(again), expected)
    assert refused > 290


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (["kind"], "optimizer.Adam"),
        (["kind"], "estimator.load"),
        (["kind"], "estimator.Pipeline"),
        (["extra"], 1),
        (["params", "colour"], "red"),
        (["params", "checkpoint"], "/etc/hosts"),
        (["params", "solver"], {"a": 1}),
        (["params", "n_jobs"], {"a": 1}),
        (["params", "device"], None),
        (["params", "hidden_layer_sizes"], "ab"),
        (["params", "solver"], "nosuch"),
        (["params", "activation"], ["relu", "relu"]),
        (["params", "activation"], [["relu"]]),
        (["params", "activation"], 1),
        (["params", "init"], "nosuch"),
        (["params", "activation"], "nosuch"),
        (["params", "learning_rate"], "nosuch"),
        (["fitted", "predict"], 1),
        (["fitted", "__class__"], 1),
        (["fitted", "coefs_"], []),
        (["fitted", "loss_"], "x"),
        (["fitted", "out_activation_"], "relu"),
        (["fitted", "n_features_in_"], 5),
        (["fitted", "n_outputs_"], 1),
        (["fitted", "classes_"], np.array(["a", "b"])),
        (["fitted", "classes_"], np.ones((3, 3))),
        (["fitted", "feature_names_in_"], np.array(["a"], object)),
        (["fitted"], {}),
        (["fitted", "loss_curve_"], None),
        (["fitted", "best_loss_"], [1.0]),
        (["labels"], None),
        (["labels", "y_type_"], 1),
        (["labels", "y_type_"], "x"),
        (["labels", "sparse_input_"], "x"),
        (["labels", "classes_"], np.ones(4)),
        (["requests"], {"fit": {"sample_weight": {}}}),
        (["requests"], {"no": {"sample_weight": True}}),
        (["requests"], {"__init__": {"a": True}}),
        (["coefs_"], []),
        (["coefs_"], 1),
        (["coefs_", 0], np.ones((4, 4))),
        (["coefs_", 0], np.ones((4, 3), np.float32)),
        (["coefs_", 0], np.ones((4, 3), int)),
        (["coefs_", 0], np.array(["x"], object)),
        (["intercepts_", 1], np.ones(2)),
        (["optimizer"], 1),
        (["optimizer"], Adam()),
        (["optimizer", "update", "size"], 10**9),
        (["optimizer", "update", "layout"], [4, 3, 2]),
        (["optimizer", "update", "stepper"], None),
    ],
    ids=str,
)
def test_a_forged_model_is_a_valueerror(place, value, path, model):
    fastopt.save(model, path, optimizer=True)
    saved = load_objects(path, "model")
    where = saved
    for name in place[:-1]:
        where = where[name] if isinstance(where, (dict, list)) else getattr(where, name)
    if place[-1] == "layout":
        where._layout = type(where._layout)(value)
    elif place[-1] == "stepper":
        where._saved = value
    elif isinstance(where, (dict, list)):
        where[place[-1]] = value
    else:
        setattr(where, place[-1], value)
    save_objects(path, saved, "model")
    with pytest.raises(ValueError, match=re.escape(str(path))):
        fastopt.load(path)
