"""The estimators of tables among others: callbacks, Ctrl-C, frames, files, metadata and progress."""

import copy
import os
import threading
import time

import numpy as np
import pytest
import sklearn
from sklearn.datasets import load_iris
from sklearn.model_selection import cross_validate
from sklearn.pipeline import make_pipeline

import fastopt
from fastopt import TabularMLPClassifier, TabularMLPRegressor
from fastopt.model_files import container

X, Y = load_iris(return_X_y=True)
QUICK = {"max_iter": 31, "hidden_layer_sizes": (8,), "n_members": 5, "random_state": 0}
needs_callbacks = pytest.mark.skipif(
    not hasattr(TabularMLPClassifier, "set_callbacks"), reason="scikit-learn has callbacks from 1.9 on"
)


class Recorder:
    """A callback of scikit-learn's that keeps what each cycle's end gives it."""

    def __init__(self, stops_at=None):
        self.stops_at, self.ends, self.begins, self.last = stops_at, [], 0, None

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None):
        self.begins += context.parent is not None

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None):
        if context.parent is None:
            return None
        self.ends.append((context.task_name, fitted_estimator.n_iter_, fitted_estimator.oof_score_))
        self.last = fitted_estimator.predict_proba(X)
        return len(self.ends) == self.stops_at


@needs_callbacks
def test_callbacks_see_a_fitted_estimator_after_each_cycle():
    recorder = Recorder()
    clf = TabularMLPClassifier(**QUICK).set_callbacks(recorder).fit(X, Y)
    assert [end[:2] for end in recorder.ends] == [("cycle", n) for n in (1, 3, 7, 15, 31)][
        : len(recorder.ends)
    ]
    assert recorder.begins == len(recorder.ends)
    assert recorder.ends[-1] == ("cycle", clf.n_iter_, clf.oof_score_)
    np.testing.assert_array_equal(recorder.last, clf.predict_proba(X))
    plain = TabularMLPClassifier(**QUICK).fit(X, Y)
    np.testing.assert_array_equal(plain.predict_proba(X), clf.predict_proba(X))


@needs_callbacks
def test_a_callback_stops_a_fit_and_copies_of_it_go_on():
    clf = TabularMLPClassifier(**QUICK).set_callbacks(Recorder(stops_at=2)).fit(X, Y)
    assert clf.n_iter_ == 3
    copy.deepcopy(clf).predict(X)


def test_ctrl_c_leaves_a_model_that_predicts(ctrl_c):
    clf = TabularMLPClassifier(max_iter=200_000, n_members=2, n_cv=2, random_state=0)
    press = threading.Timer(1.0, lambda: os.kill(os.getpid(), 2))
    press.start()
    began = time.monotonic()
    with pytest.warns(UserWarning, match="interrupted by user"):
        clf.fit(X, Y)
    assert time.monotonic() - began < 30
    assert 1 <= clf.n_iter_ < 200_000
    assert len(clf.history_["loss"]) == clf.n_iter_
    assert clf.predict_proba(X).shape == (150, 3)
    assert clf.oof_score_ > 0.5


def frame_of(library):
    pytest.importorskip("narwhals")
    module = pytest.importorskip(library)
    rs = np.random.RandomState(0)
    data = {
        "size": np.where(rs.random_sample(90) < 0.1, np.nan, rs.standard_normal(90)),
        "colour": np.array(["red", "blue", "green"])[rs.randint(0, 3, 90)].tolist(),
        "old": (rs.random_sample(90) < 0.5).tolist(),
    }
    y = np.where(np.array(data["colour"]) == "red", "a", "b")
    return (module.table(data) if library == "pyarrow" else module.DataFrame(data)), y


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_frames_are_taken_as_they_are(library):
    table, y = frame_of(library)
    clf = TabularMLPClassifier(**QUICK).fit(table, y)
    assert clf.feature_names_in_.tolist() == ["size", "colour", "old"]
    assert clf.oof_score_ > 0.9
    assert clf.feature_importances_.argmax() == 1
    backwards = (
        table.select(["old", "colour", "size"]) if library != "pandas" else table[["old", "colour", "size"]]
    )
    np.testing.assert_array_equal(clf.predict_proba(backwards), clf.predict_proba(table))
    with pytest.raises(ValueError, match="colour"):
        clf.predict(table.drop(columns="colour") if library == "pandas" else table.select(["old", "size"]))


def test_frames_of_all_libraries_give_the_same_bits():
    outputs = []
    for library in ("pandas", "polars", "pyarrow"):
        table, y = frame_of(library)
        outputs.append(TabularMLPClassifier(**QUICK).fit(table, y).predict_proba(table))
    np.testing.assert_array_equal(outputs[0], outputs[1])
    np.testing.assert_array_equal(outputs[0], outputs[2])


def test_a_target_may_be_a_series():
    pandas = pytest.importorskip("pandas")
    y = pandas.Series(np.array(["x", "y", "z"])[Y], dtype="category")
    assert TabularMLPClassifier(**QUICK).fit(X, y).classes_.tolist() == ["x", "y", "z"]
    numbers = pandas.Series(X[:, 0])
    assert TabularMLPRegressor(**QUICK).fit(X[:, 1:], numbers).oof_score_ > 0.3


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def test_weights_are_routed_and_files_keep_the_request(routing, tmp_path):
    pytest.importorskip("safetensors")
    clf = (
        TabularMLPClassifier(**QUICK)
        .set_fit_request(sample_weight=True)
        .set_score_request(sample_weight=False)
    )
    weights = np.linspace(0.1, 1, 150)
    routed = make_pipeline(clf).fit(X, Y, sample_weight=weights)
    direct = TabularMLPClassifier(**QUICK).fit(X, Y, weights)
    np.testing.assert_array_equal(routed.predict_proba(X), direct.predict_proba(X))
    cross_validate(clf, X, Y, cv=2, params={"sample_weight": weights}, error_score="raise")
    fastopt.save(clf.fit(X, Y, weights), tmp_path / "model")
    again = fastopt.load(tmp_path / "model")
    assert again.get_metadata_routing().fit.requests["sample_weight"] is True


@pytest.mark.parametrize("cls", [TabularMLPClassifier, TabularMLPRegressor])
def test_files_that_do_not_fit_together_are_refused(cls, tmp_path):
    pytest.importorskip("safetensors")
    path = tmp_path / "model"
    model = cls(**QUICK | {"max_iter": 2}).fit(X, Y)
    fastopt.save(model, path)
    arrays, content = container.read(path, "model")
    _, state = content["value"]["dict"]["model"]["object"]

    def refused(match, **changes):
        changed = copy.deepcopy(content)
        changed["value"]["dict"]["model"]["object"][1].update(changes)
        own = dict(arrays)
        if "_params" in changes:  # stands among the arrays
            own["model._params"] = changes["_params"]
            changed["value"]["dict"]["model"]["object"][1]["_params"] = state["_params"]
        container.write(path, own, changed, "model")
        with pytest.raises(ValueError, match=match):
            fastopt.load(path)

    refused("parameters of float32 and shape", _params=arrays["model._params"][:, :-1])
    refused("n_iter_ is", n_iter_="many")
    refused("n_members", n_members=-1)
    refused("activation", activation="unheard of")
    refused("does not know", colour="red")
    refused("best epochs", _best=[])
    refused("do not read", n_features_in_=7)
    container.write(path, *without(arrays, content, "encoder_"), "model")
    with pytest.raises(ValueError, match="lacks"):
        fastopt.load(path)


def without(arrays, content, name):
    changed = copy.deepcopy(content)
    del changed["value"]["dict"]["model"]["object"][1][name]
    kept = {key: array for key, array in arrays.items() if not key.startswith(f"model.{name}")}
    return kept, changed


def test_what_is_no_model_is_refused(tmp_path):
    pytest.importorskip("safetensors")
    from fastopt.model_files.objects import save_objects

    save_objects(tmp_path / "x", {"model": fastopt.Adam()}, "model")
    with pytest.raises(ValueError, match="Adam is no model"):
        fastopt.load(tmp_path / "x")


def test_files_hold_fitted_models_without_foreign_attributes(tmp_path):
    pytest.importorskip("safetensors")
    clf = TabularMLPClassifier(**QUICK | {"max_iter": 2})
    with pytest.raises(sklearn.exceptions.NotFittedError):
        fastopt.save(clf, tmp_path / "x")
    clf.fit(X, Y).note = "mine"
    with pytest.raises(TypeError, match=r"\['note'\]"):
        fastopt.save(clf, tmp_path / "x")
    del clf.note
    with pytest.raises(ValueError, match="optimizer=True"):
        fastopt.save(clf, tmp_path / "x", optimizer=True)


def test_verbose_tells_the_losses_of_each_cycle(capsys):
    clf = TabularMLPClassifier(**QUICK, verbose=True).fit(X, Y)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Epoch 1, loss = ")
    assert lines[-1].startswith(f"Epoch {clf.n_iter_}, loss = {clf.history_['loss'][-1]:.6f}")


def test_progress_changes_nothing():
    pytest.importorskip("rich")
    shown = TabularMLPClassifier(**QUICK, progress=True).fit(X, Y)
    np.testing.assert_array_equal(
        shown.predict_proba(X), TabularMLPClassifier(**QUICK).fit(X, Y).predict_proba(X)
    )
