"""`fastopt.callbacks` during fits, alone, in pipelines and in searches: what stops, is kept and logged."""

import copy
import datetime
import os
import pickle
import warnings

import numpy as np
import pytest
from joblib import parallel_config
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastopt
from fastopt import MLPClassifier
from fastopt._extras import MissingExtraError
from fastopt.callbacks import Checkpoint, EarlyStopping, LearningRateLog

needs_callbacks = pytest.mark.skipif(
    not hasattr(MLPClassifier, "set_callbacks"), reason="scikit-learn has callbacks from version 1.9 on"
)
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
ROWS, VALIDATION = slice(0, None, 2), {"X_val": X[1::2], "y_val": Y[1::2]}


def network(**kwargs):
    return MLPClassifier((8,), **{"max_iter": 8, "random_state": 0, "batch_size": 25} | kwargs)


def same_weights(one, other):
    return np.array_equal(one._params, other._params)


class Script:
    """A number for each epoch of a fit, as a function of the network."""

    def __init__(self, *values):
        self.values = values

    def __call__(self, estimator):
        return self.values[estimator.n_iter_ - 1]


def test_without_callbacks_in_scikit_learn_each_says_what_to_install(monkeypatch):
    if hasattr(MLPClassifier, "set_callbacks"):
        monkeypatch.delattr("sklearn.callback.CallbackSupportMixin.set_callbacks")
    for make in (EarlyStopping, LearningRateLog, lambda: Checkpoint("path")):
        with pytest.raises(
            MissingExtraError, match=r'needs the set_callbacks of scikit-learn 1.9.*"scikit-learn>=1.9"'
        ):
            make()


@needs_callbacks
@pytest.mark.parametrize(
    ("values", "patience", "min_delta", "n_epochs", "best"),
    [
        # Executed with Keras 3.15.1's EarlyStopping, which was given these values as logs: the epoch after
        # which it stops, and the one whose weights it restores.
        ((5, 4, 4, 4, 3, 2, 1, 0), 2, 0.0, 4, 2),
        ((5, 4, 4, 3, 3, 2, 2, 2), 2, 0.0, 8, 6),
        ((5, 4, 3, 2, 1, 0, -1, -2), 1, 1.0, 2, 1),
        ((5, 3, 3.5, 2.5, 1, 1, 1, 1), 2, 0.5, 4, 2),  # 0.5 better is not more than that
        ((5, 3, 2.6, 2.2, 1, 1, 1, 1), 2, 0.5, 7, 5),
        ((5, 4, np.nan, np.nan, 3, 2, 1, 0), 2, 0.0, 4, 2),
    ],
)
def test_patience_is_that_of_keras(values, patience, min_delta, n_epochs, best):
    for sign, mode in ((1, "min"), (-1, "max")):
        script = Script(*(sign * value for value in values))
        stop = EarlyStopping(script, mode=mode, patience=patience, min_delta=min_delta, restore_best=True)
        stopped = network().set_callbacks(stop).fit(X, Y)
        assert stopped.n_iter_ == n_epochs
        assert same_weights(stopped, network(max_iter=best).fit(X, Y))
        assert len(stopped.loss_curve_) == n_epochs


@needs_callbacks
def test_nan_is_never_the_best():
    """Unlike in Keras 3.15.1, where a NaN in the first epoch stays the best (executed)."""
    stop = EarlyStopping(Script(np.nan, 4, 3, 3, 3, 3), mode="min", patience=2, restore_best=True)
    stopped = network().set_callbacks(stop).fit(X, Y)
    assert stopped.n_iter_ == 5
    assert same_weights(stopped, network(max_iter=3).fit(X, Y))
    stop = EarlyStopping(Script(*[np.nan] * 8), mode="min", patience=2, restore_best=True)
    with pytest.warns(UserWarning, match="all values were NaN"):
        assert network().set_callbacks(stop).fit(X, Y).n_iter_ == 2


@needs_callbacks
@pytest.mark.parametrize("monitor", ["loss", "val_loss", "val_score"])
def test_early_stopping_reads_the_history(monitor):
    stop = EarlyStopping(monitor, patience=2, min_delta=0.05, restore_best=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # stopping is what was asked for
        stopped = network(max_iter=200).set_callbacks(stop).fit(X[ROWS], Y[ROWS], **VALIDATION)
    values = stopped.history_[monitor] * (1 if monitor == "val_score" else -1)
    assert 2 < stopped.n_iter_ < 200
    best = 0
    for n, value in enumerate(values):
        best = n if value > values[best] + 0.05 else best
    assert best == stopped.n_iter_ - 3
    assert same_weights(stopped, network(max_iter=best + 1).fit(X[ROWS], Y[ROWS]))


@needs_callbacks
def test_early_stopping_leaves_the_last_weights_unless_asked():
    stopped = network().set_callbacks(EarlyStopping(Script(1, 2, 3), mode="min", patience=2)).fit(X, Y)
    assert same_weights(stopped, network(max_iter=3).fit(X, Y))


@needs_callbacks
def test_the_best_weights_are_restored_after_max_iter_and_with_lbfgs():
    for options in ({"batch_size": 25}, {"solver": "lbfgs", "batch_size": "auto"}):
        stop = EarlyStopping(Script(5, 4, 1, 2, 3, 4, 5, 6), mode="min", patience=99, restore_best=True)
        fitted = network(**options).set_callbacks(stop).fit(X, Y)
        assert fitted.n_iter_ == 8
        assert same_weights(fitted, network(**options).set_params(max_iter=3).fit(X, Y))


@needs_callbacks
def test_a_second_fit_has_patience_anew():
    stop = EarlyStopping(Script(1, 2, 3, 4, 5, 6, 7, 8), mode="min", patience=3)
    estimator = network(warm_start=True).set_callbacks(stop)
    assert estimator.fit(X, Y).n_iter_ == estimator.fit(X, Y).n_iter_ == 4
    assert len(estimator.loss_curve_) == 8


@needs_callbacks
def test_early_stopping_goes_on_from_a_checkpoint(tmp_path):
    """Killed after epoch 4, whose best was the second: the epochs before count, their weights are gone."""
    pytest.importorskip("safetensors")

    class Killed(EarlyStopping):
        def _epoch_ends(self, estimator, state):
            super()._epoch_ends(estimator, state)
            if estimator.n_iter_ == 4:
                raise RuntimeError("killed")

    path = tmp_path / "fit"
    with pytest.raises(RuntimeError, match="killed"):
        network(checkpoint=path).set_callbacks(Killed("loss", patience=3, min_delta=9.0)).fit(X, Y)
    stop = EarlyStopping("loss", patience=5, min_delta=9.0, restore_best=True)
    with pytest.warns(UserWarning, match="best epoch, 1, was not of this call"):
        resumed = network(checkpoint=path).set_callbacks(stop).fit(X, Y)
    assert resumed.n_iter_ == 6  # the first epoch improves on nothing, and five more
    assert same_weights(resumed, network(max_iter=6).fit(X, Y))


@needs_callbacks
def test_early_stopping_inside_a_search_with_two_processes():
    stop = EarlyStopping("loss", patience=2, min_delta=9.0)
    inner = make_pipeline(StandardScaler(), network(max_iter=50))
    inner[-1].set_callbacks(stop)
    search = GridSearchCV(inner, {"mlpclassifier__alpha": [0.0, 0.1]}, cv=2, n_jobs=2).fit(X, Y)
    assert search.best_estimator_[-1].n_iter_ == 3
    results = cross_validate(inner, X, Y, cv=2, return_estimator=True)
    assert [fitted[-1].n_iter_ for fitted in results["estimator"]] == [3, 3]
    assert stop._fits == {}


@needs_callbacks
def test_fits_side_by_side_in_threads_stop_independently():
    seen = {}

    def monitor(estimator):  # rises from epoch 3 or 6 on, after alpha
        seen.setdefault(estimator.alpha, []).append(estimator.n_iter_)
        return abs(estimator.n_iter_ - (3 if estimator.alpha == 0 else 6))

    stop = EarlyStopping(monitor, mode="min", patience=1, restore_best=True)
    with parallel_config(backend="threading"):
        GridSearchCV(network(max_iter=50).set_callbacks(stop), {"alpha": [0.0, 0.1]}, cv=3, n_jobs=4).fit(
            X, Y
        )
    fits = {alpha: epochs.count(1) for alpha, epochs in seen.items()}
    assert sum(fits.values()) == 7  # two candidates, three splits, and the refit
    assert all(seen[alpha].count(last) == fits[alpha] for alpha, last in ((0.0, 4), (0.1, 7)))
    assert max(seen[0.0]) == 4
    assert max(seen[0.1]) == 7


@needs_callbacks
def test_what_a_monitor_cannot_be():
    for arguments, words in [
        (("val_los",), "Did you mean 'val_loss'"),
        (("seconds",), "is none of 'loss'"),
        ((len,), "needs mode"),
        (("loss", "max"), "does not go with"),
        (("loss", "least"), "neither 'min' nor 'max'"),
    ]:
        with pytest.raises(ValueError, match=words):
            EarlyStopping(arguments[0], mode=arguments[1] if arguments[1:] else None)
    for options in (
        {"patience": 0},
        {"patience": 2.5},
        {"patience": True},
        {"min_delta": -1},
        {"min_delta": "1"},
    ):
        with pytest.raises(ValueError, match=next(iter(options))):
            EarlyStopping(**options)
    with pytest.raises(ValueError, match="nothing is validated: pass X_val"):
        network().set_callbacks(EarlyStopping()).fit(X, Y)


@needs_callbacks
@pytest.mark.parametrize("callback", [EarlyStopping, LearningRateLog])
def test_callbacks_are_set_on_the_network_itself(callback):
    outer = make_pipeline(StandardScaler(), network())
    with pytest.raises(TypeError, match=r"not a Pipeline. Set it on the network inside"):
        outer.set_callbacks(callback()).fit(X, Y)


@needs_callbacks
def test_a_callback_can_be_copied_and_pickled_during_a_fit(tmp_path):
    class Copies(EarlyStopping):
        def _epoch_ends(self, estimator, state):
            assert len(self._fits) == 1
            assert copy.deepcopy(self)._fits == pickle.loads(pickle.dumps(EarlyStopping("loss")))._fits == {}
            return super()._epoch_ends(estimator, state)

    network().set_callbacks(Copies("loss", patience=3)).fit(X, Y)


@needs_callbacks
def test_checkpoints_are_the_models_of_their_epochs(tmp_path):
    pytest.importorskip("safetensors")
    keep = Checkpoint(tmp_path / "model-{epoch:02d}", every=3, optimizer=True)
    network().set_callbacks(keep).fit(X, Y)
    assert sorted(os.listdir(tmp_path)) == ["model-03", "model-06"]
    for n in (3, 6):
        saved, alone = fastopt.load(tmp_path / f"model-{n:02d}"), network(max_iter=n).fit(X, Y)
        assert same_weights(saved, alone)
        assert (saved.n_iter_, saved.loss_, saved.loss_curve_) == (n, alone.loss_, alone.loss_curve_)
        assert same_weights(saved.partial_fit(X, Y), alone.partial_fit(X, Y))


@needs_callbacks
def test_checkpoints_by_time_and_of_lbfgs(tmp_path):
    pytest.importorskip("safetensors")
    keep = Checkpoint(tmp_path / "{epoch}", every=datetime.timedelta(microseconds=1))
    network(solver="lbfgs", batch_size="auto").set_callbacks(keep).fit(X, Y)
    assert sorted(os.listdir(tmp_path)) == list("12345678")
    alone = network(solver="lbfgs", batch_size="auto", max_iter=2).fit(X, Y)
    assert same_weights(fastopt.load(tmp_path / "2"), alone)
    network().set_callbacks(Checkpoint(tmp_path / "never", every=datetime.timedelta(hours=1))).fit(X, Y)
    assert not (tmp_path / "never").exists()


@needs_callbacks
def test_checkpoints_that_cannot_be_written_cost_one_warning(tmp_path, monkeypatch):
    pytest.importorskip("safetensors")

    def save(estimator, path, **options):
        if estimator.n_iter_ < 3:
            raise OSError(28, "No space left on device")
        fastopt.save(estimator, path, **options)

    monkeypatch.setattr("fastopt.callbacks.checkpoint.save", save)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = network(max_iter=3).set_callbacks(Checkpoint(tmp_path / "{epoch}")).fit(X, Y)
    assert len(seen) == 1
    assert "could not write" in str(seen[0].message)
    assert same_weights(fastopt.load(tmp_path / "3"), fitted)


@needs_callbacks
def test_what_a_checkpoint_cannot_be(tmp_path):
    pytest.importorskip("safetensors")
    for path in ("{n}", "{", "{epoch.real.x}", "{}"):
        with pytest.raises(ValueError, match=r"Only \{epoch\} stands for something"):
            Checkpoint(path)
    for every in (0, 1.5, True, datetime.timedelta(0), None):
        with pytest.raises(ValueError, match="every="):
            Checkpoint("model", every=every)
    with pytest.raises(FileNotFoundError, match="no folder"):
        network().set_callbacks(Checkpoint(tmp_path / "none" / "model")).fit(X, Y)


@needs_callbacks
def test_the_learning_rates_of_all_fits_of_a_search_arrive():
    log = LearningRateLog()
    inner = network(max_iter=4, learning_rate="cosine").set_callbacks(log)
    grid = {"learning_rate_init": [0.1, 0.01]}
    search = GridSearchCV(inner, grid, cv=2, n_jobs=2).fit(X, Y, sample_weight=np.ones(len(X)))
    rows = log.get_logs().data
    assert len(rows) == 5 * 4
    refit = [row["lr"] for row in rows if row["task_id_path"][1] == 1]
    assert refit == search.best_estimator_.history_["lr"].tolist()
    firsts = [row["lr"] for row in rows if row["task_id"] == 0]
    assert sorted(firsts[1:]) == [0.01, 0.01, 0.1, 0.1]  # the refit's comes first


@needs_callbacks
def test_lbfgs_has_no_learning_rate_to_log():
    with pytest.raises(ValueError, match="solver='lbfgs' has no learning rate"):
        network(solver="lbfgs", batch_size="auto").set_callbacks(LearningRateLog()).fit(X, Y)
