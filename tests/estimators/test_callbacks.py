"""scikit-learn's callbacks on our estimators: what hooks get, when they are called, and what stops a fit."""

import copy
import io
import pickle
import re
import warnings
from contextlib import redirect_stdout

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastopt
from fastopt import MLPClassifier, MLPRegressor

HAS_CALLBACKS = hasattr(MLPClassifier, "set_callbacks")
needs_callbacks = pytest.mark.skipif(not HAS_CALLBACKS, reason="scikit-learn has callbacks from 1.9 on")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
LABELS = np.array(["setosa", "versicolor", "virginica"])[Y]


class Recorder:
    """Keeps what each hook gets; `stops_at` and `raises_at` are numbers of tasks below the fit's."""

    def __init__(self, stops_at=None, raises_at=None, error=ValueError):
        self.calls = []
        self.stops_at, self.raises_at, self.error = stops_at, raises_at, error

    def setup(self, estimator, context):
        self.calls.append(("setup", context.task_name, {}))

    def teardown(self, estimator, context):
        self.calls.append(("teardown", context.task_name, {}))

    def on_fit_task_begin(self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None):
        given = {"X": X, "y": y, "metadata": metadata, "fitted_estimator": fitted_estimator}
        self.calls.append(("begin", context.task_name, given))

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None):
        given = {"X": X, "y": y, "metadata": metadata, "fitted_estimator": fitted_estimator}
        self.calls.append(("end", context.task_name, given))
        if context.parent is not None and context.task_id == self.raises_at:
            raise self.error
        if context.parent is not None and context.task_id == self.stops_at:
            return np.True_  # what a comparison of NumPy numbers gives
        return None

    def names(self):
        return [call[:2] for call in self.calls]

    def of(self, hook, task):
        return [given for *name, given in self.calls if name == [hook, task]]


def network(**kwargs):
    batches = {} if kwargs.get("solver") == "lbfgs" else {"batch_size": 50}
    return MLPClassifier((6,), **{"max_iter": 5, "random_state": 0} | batches | kwargs)


def same_weights(one, other):
    arrays = zip(one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_, strict=True)
    return all(np.array_equal(a, b) for a, b in arrays)


def test_callbacks_are_there_from_scikit_learn_1_9_on():
    version = tuple(map(int, sklearn.__version__.split(".")[:2]))
    assert (version >= (1, 9)) == HAS_CALLBACKS


@needs_callbacks
@pytest.mark.parametrize(("solver", "task"), [("adam", "epoch"), ("sgd", "epoch"), ("lbfgs", "iteration")])
def test_each_task_begins_and_ends_once(solver, task):
    recorder = Recorder()
    fitted = network(solver=solver).set_callbacks(recorder).fit(X, LABELS)
    pairs = [("begin", task), ("end", task)] * fitted.n_iter_
    around = [("setup", "fit"), ("begin", "fit"), *pairs, ("end", "fit"), ("teardown", "fit")]
    assert recorder.names() == around
    assert fitted.n_iter_ == 5


@needs_callbacks
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_callbacks_change_no_bit(solver):
    recorder = Recorder()
    watched = network(solver=solver).set_callbacks(recorder).fit(X, LABELS)
    assert same_weights(watched, network(solver=solver).fit(X, LABELS))
    assert len(recorder.calls) > 5


@needs_callbacks
@pytest.mark.parametrize(
    "options", [{"solver": "adam"}, {"solver": "lbfgs"}, {"solver": "schedulefreeadamw"}]
)
def test_the_fitted_estimator_is_what_a_fit_of_so_many_epochs_gives(options):
    """Bit for bit, its curves and its optimizer included; later epochs change nothing of it."""
    recorder = Recorder()
    fitted = network(**options).set_callbacks(recorder).fit(X, LABELS)
    for n, given in enumerate(recorder.of("end", "iteration" if "lbfgs" in options.values() else "epoch"), 1):
        seen, alone = (
            given["fitted_estimator"],
            network(
                **options,
            )
            .set_params(max_iter=n)
            .fit(X, LABELS),
        )
        assert seen is not fitted
        assert seen.n_iter_ == alone.n_iter_ == n
        assert same_weights(seen, alone)
        assert seen.loss_ == alone.loss_
        assert np.array_equal(seen.predict_proba(X), alone.predict_proba(X))
        if options["solver"] == "adam":
            assert seen.loss_curve_ == alone.loss_curve_
            assert same_weights(seen.partial_fit(X, LABELS), alone.partial_fit(X, LABELS))
    assert same_weights(recorder.of("end", "fit")[0]["fitted_estimator"], fitted)


@needs_callbacks
def test_hooks_get_the_data_as_given_to_fit():
    pandas = pytest.importorskip("pandas")
    frame, recorder = pandas.DataFrame(X, columns=list("abcd")), Recorder()
    weight = np.linspace(0.5, 2, len(X))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        network().set_callbacks(recorder).fit(frame, LABELS, weight)
        for given in recorder.of("end", "epoch"):
            assert given["X"] is frame
            assert given["y"] is LABELS
            assert list(given["metadata"]) == ["sample_weight"]
            assert given["metadata"]["sample_weight"] is weight
            # scikit-learn 1.9.1's LogisticRegression passes an array: predictions from it warn of names.
            assert given["fitted_estimator"].predict(given["X"]).shape == LABELS.shape
    network().set_callbacks(recorder := Recorder()).fit(X, Y)
    assert {given["metadata"] for given in recorder.of("end", "epoch")} == {None}


@needs_callbacks
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_callback_stops_the_fit(solver):
    recorder = Recorder(stops_at=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no word of max_iter or of convergence
        fitted = network(solver=solver).set_callbacks(Recorder(), recorder).fit(X, LABELS)
    assert fitted.n_iter_ == 3
    assert same_weights(fitted, network(solver=solver, max_iter=3).fit(X, LABELS))
    assert recorder.names()[-2:] == [("end", "fit"), ("teardown", "fit")]


@needs_callbacks
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_an_error_in_a_hook_leaves_fit_after_teardown(solver):
    recorder = Recorder(raises_at=1, error=ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        network(solver=solver).set_callbacks(recorder).fit(X, LABELS)
    assert recorder.names()[-1] == ("teardown", "fit")
    assert ("end", "fit") not in recorder.names()


@needs_callbacks
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_ctrl_c_ends_all_tasks(solver):
    """Ctrl-C in a hook, while another's task is open: the model is as usable as after one in training."""
    recorder = Recorder(raises_at=1, error=KeyboardInterrupt)
    with pytest.warns(UserWarning, match="interrupted by user"):
        fitted = network(solver=solver).set_callbacks(recorder).fit(X, LABELS)
    assert fitted.n_iter_ == 2
    assert recorder.names()[-2:] == [("end", "fit"), ("teardown", "fit")]


@needs_callbacks
def test_a_task_that_ctrl_c_interrupts_ends_with_nothing(monkeypatch):
    recorder, trained = Recorder(), fastopt.neural_network.epochs.MiniBatchTraining._train_epoch

    def interrupted(self, trainer):
        if self.estimator.n_iter_ == 2:
            raise KeyboardInterrupt
        trained(self, trainer)

    monkeypatch.setattr(fastopt.neural_network.epochs.MiniBatchTraining, "_train_epoch", interrupted)
    with pytest.warns(UserWarning, match="interrupted by user"):
        network().set_callbacks(recorder).fit(X, LABELS)
    ends = recorder.of("end", "epoch")
    assert len(ends) == len(recorder.of("begin", "epoch")) == 3
    assert ends[1]["fitted_estimator"].n_iter_ == 2
    assert set(ends[2].values()) == {None}


@needs_callbacks
def test_data_that_fit_refuses_calls_no_callback():
    recorder = Recorder()
    with pytest.raises(ValueError, match="NaN"):
        network().set_callbacks(recorder).fit(np.full_like(X, np.nan), Y)
    assert recorder.calls == []


@needs_callbacks
def test_partial_fit_says_that_it_calls_no_callbacks():
    recorder = Recorder()
    estimator = network().set_callbacks(recorder)
    with pytest.warns(UserWarning, match="partial_fit calls no callbacks"):
        estimator.partial_fit(X, Y, classes=[0, 1, 2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # once is enough
        estimator.partial_fit(X, Y)
    assert recorder.calls == []


@needs_callbacks
@pytest.mark.parametrize("early_stopping", [False, True])
def test_scoring_monitor_scores_each_epoch(early_stopping):
    from sklearn.callback import ScoringMonitor

    monitor = ScoringMonitor(scoring=("accuracy", "neg_log_loss"))
    options = {"early_stopping": early_stopping, "learning_rate_init": 0.03, "restore_best_weights": False}
    fitted = network(**options).set_callbacks(monitor).fit(X, LABELS)
    rows = monitor.get_logs().data
    assert [row["task_name"] for row in rows] == ["fit", *["epoch"] * 5]
    for n, row in enumerate(rows[1:], 1):
        alone = network(**options).set_params(max_iter=n).fit(X, LABELS)
        assert row["accuracy"] == accuracy_score(LABELS, alone.predict(X))
    assert rows[0]["accuracy"] == fitted.score(X, LABELS)
    assert len({row["neg_log_loss"] for row in rows}) == 5  # the fit's is that of the last epoch


@needs_callbacks
def test_scoring_monitor_inside_a_search_with_two_processes():
    from sklearn.callback import ScoringMonitor

    monitor = ScoringMonitor(scoring="accuracy")
    inner = make_pipeline(StandardScaler(), network(max_iter=3))
    inner[-1].set_callbacks(monitor)
    grid = {"mlpclassifier__alpha": [0.0, 0.1]}
    search = GridSearchCV(inner, grid, cv=2, n_jobs=2).fit(X, LABELS)
    rows = monitor.get_logs().data
    epochs = [row for row in rows if row["task_name"] == "epoch"]
    assert len(epochs) == (2 * 2 + 1) * 3  # candidates by splits, and the refit
    last = [row for row in epochs if row["task_id_path"][1] == 1][-1]  # the search's task 1 is the refit
    assert last["accuracy"] == search.score(X, LABELS)


@needs_callbacks
@pytest.mark.parametrize("where", ["estimator", "pipeline", "search"])
def test_progress_bar(where):
    pytest.importorskip("rich")
    from sklearn.callback import ProgressBar

    mlp = network(max_iter=3)
    # Of an outer estimator, scikit-learn's own callbacks reach the network by themselves.
    outer = {
        "estimator": mlp,
        "pipeline": make_pipeline(StandardScaler(), mlp),
        "search": GridSearchCV(mlp, {"alpha": [0.0, 0.1]}, cv=2, n_jobs=2),
    }[where]
    with redirect_stdout(io.StringIO()) as shown:
        outer.set_callbacks(ProgressBar()).fit(X, LABELS)
    lines = [line for line in shown.getvalue().splitlines() if "MLPClassifier - fit" in line]
    assert lines
    assert all(re.search("100%", line) or where == "search" for line in lines[-1:])


@needs_callbacks
def test_callbacks_of_the_network_in_a_search_see_every_fit():
    recorder = Recorder()
    search = GridSearchCV(network(max_iter=2).set_callbacks(recorder), {"alpha": [0.0, 0.1]}, cv=2)
    search.fit(X, LABELS)
    assert len(recorder.of("end", "epoch")) == (2 * 2 + 1) * 2
    assert recorder.names().count(("teardown", "fit")) == 5


@needs_callbacks
def test_early_stopping_gives_the_last_weights_to_hooks_and_the_best_to_the_user():
    recorder = Recorder()
    options = {"early_stopping": True, "learning_rate_init": 0.05, "max_iter": 30, "n_iter_no_change": 4}
    fitted = network(**options).set_callbacks(recorder).fit(X, LABELS)
    epochs = [given["fitted_estimator"] for given in recorder.of("end", "epoch")]
    best = int(np.argmax(fitted.validation_scores_))
    assert best < fitted.n_iter_ - 1
    assert same_weights(epochs[best], fitted)
    assert not same_weights(epochs[-1], fitted)


@needs_callbacks
def test_clone_shares_callbacks_and_copies_do_not():
    estimator = network().set_callbacks(recorder := Recorder())
    assert clone(estimator)._skl_callbacks[0] is recorder
    assert clone(estimator).set_params(alpha=0.1)._skl_callbacks[0] is recorder
    assert copy.deepcopy(estimator)._skl_callbacks[0] is not recorder
    assert isinstance(pickle.loads(pickle.dumps(estimator.fit(X, Y)))._skl_callbacks[0], Recorder)
    assert "_callback_fit_ctx" not in vars(estimator)
    assert not hasattr(estimator.set_callbacks(), "_skl_callbacks")


@needs_callbacks
def test_model_files_leave_callbacks_out(tmp_path):
    pytest.importorskip("safetensors")
    estimator = network().set_callbacks(Recorder()).fit(X, LABELS)
    fastopt.save(estimator, tmp_path / "model")
    loaded = fastopt.load(tmp_path / "model")
    assert "_skl_callbacks" not in vars(loaded)
    assert np.array_equal(loaded.predict_proba(X), estimator.predict_proba(X))


@needs_callbacks
def test_a_checkpointed_fit_that_a_callback_stopped_is_complete(tmp_path):
    pytest.importorskip("safetensors")
    first = network(checkpoint=tmp_path / "fit").set_callbacks(Recorder(stops_at=1)).fit(X, LABELS)
    again = network(checkpoint=tmp_path / "fit").set_callbacks(recorder := Recorder()).fit(X, LABELS)
    assert first.n_iter_ == again.n_iter_ == 2
    assert same_weights(first, again)
    assert recorder.of("end", "epoch") == []


@needs_callbacks
def test_a_fit_goes_on_from_a_checkpoint_under_callbacks(tmp_path):
    """Its tasks are numbered from 0 again, as scikit-learn demands; ``n_iter_`` counts on."""
    pytest.importorskip("safetensors")
    path = tmp_path / "fit"
    interrupted = Recorder(raises_at=1, error=RuntimeError)
    with pytest.raises(RuntimeError):
        network(checkpoint=path).set_callbacks(interrupted).fit(X, LABELS)
    resumed = network(checkpoint=path).set_callbacks(recorder := Recorder()).fit(X, LABELS)
    seen = [given["fitted_estimator"].n_iter_ for given in recorder.of("end", "epoch")]
    assert seen == list(range(seen[0], 6))
    assert seen[0] > 1
    assert same_weights(resumed, network().fit(X, LABELS))


@needs_callbacks
def test_a_diverged_fit_has_ended_its_tasks():
    recorder = Recorder()
    estimator = MLPRegressor(activation="identity", solver="sgd", learning_rate_init=1e3, random_state=0)
    with pytest.raises(ValueError, match="finite"):
        estimator.set_callbacks(recorder).fit(X, X[:, 0])
    assert len(recorder.of("begin", "epoch")) == len(recorder.of("end", "epoch")) > 0
    assert recorder.names()[-1] == ("teardown", "fit")
