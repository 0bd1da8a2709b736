"""The estimators on a cluster: their numbers, what reaches the client, and what they refuse."""

import inspect
import pickle
import threading
import time
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import r2_score

import fastopt
from fastopt import AdamW, MLPClassifier, MLPRegressor
from fastopt.dask import DaskMLPClassifier, DaskMLPRegressor, rounds, simulate
from fastopt.dask.cluster import ClusterExecutor
from fastopt.dask.partitions import Facts, shard
from fastopt.dask.rows import plan
from fastopt.schedules import function

da = pytest.importorskip("dask.array")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SETTINGS = {"learning_rate_init": 0.01, "batch_size": 32, "max_iter": 8, "random_state": 0, "n_replicas": 3}


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return np.ascontiguousarray(X / 16, np.float32), y


@pytest.fixture(scope="module")
def on_cluster(digits):
    X, y = digits
    return da.from_array(X, chunks=(150, -1)), da.from_array(y, chunks=150)


def classifier(client, **changes):
    return DaskMLPClassifier((16,), **SETTINGS | changes, client=client)


def serially(estimator, X, y, chunk):
    """Return the parameters that the same training gives in this process, one replica after the other."""
    n_parts = -(-len(X) // chunk)
    sizes = [min(chunk, len(X) - i * chunk) for i in range(n_parts)]
    fresh = clone(estimator).set_params(client=None)
    fresh._validate_input(X, y, False, True)
    fresh._seed()
    fresh._initialize([X.shape[1], 16, len(np.unique(y))], X.dtype)
    fresh.n_outputs_ = len(np.unique(y))
    seed = int(fresh._random_state.randint(2**31))
    recipe, hands = plan(fresh, Facts(tuple(sizes), None, None, ()), None, 2, seed)
    parts = [slice(i * chunk, i * chunk + chunk) for i in range(n_parts)]
    shards = [shard(recipe, [X[parts[i]] for i in hand], [y[parts[i]] for i in hand], None) for hand in hands]
    params, executor = fresh._params, rounds.SerialExecutor()
    for number in range(recipe.n_rounds):
        params = rounds.submit_round(executor, params, shards, recipe, recipe, number).params
    return params


@pytest.fixture(scope="module")
def expected(digits):
    return serially(classifier(None), *digits, chunk=150)


def slow_round(*arguments):
    time.sleep(0.3)
    return rounds.local_round(*arguments)


# -- bits ----------------------------------------------------------------------------------------------


def test_two_workers_give_the_bits_of_the_serial_executor(cluster, digits, on_cluster, expected):
    clf = classifier(cluster).fit(*on_cluster)
    np.testing.assert_array_equal(clf._params, expected)
    assert (clf.n_replicas_, clf.local_steps_) == (3, 25)
    assert clf.n_rounds_ == len(clf.loss_curve_) == len(clf.history_["loss"]) == 7
    assert clf.n_iter_ == 8
    assert clf.score(*digits) > 0.9
    assert clf.device_ == "cpu"


def test_one_worker_gives_the_same_bits(cluster, on_cluster, expected):
    address = next(iter(cluster.nthreads()))

    class OneWorker(ClusterExecutor):
        """Binds every task to one worker, which the library never does."""

        def submit(self, function, *arguments):
            return self.client.submit(function, *arguments, workers=[address], pure=False)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastopt.dask.fitting.ClusterExecutor", OneWorker)
        clf = classifier(cluster).fit(*on_cluster)
    np.testing.assert_array_equal(clf._params, expected)


def test_a_death_of_all_workers_in_a_round_changes_no_bit(mortal, digits, on_cluster, expected):
    """Both workers die while they train, then one more: what was lost is computed again."""
    deaths = []

    class Kills(ClusterExecutor):
        """Kills workers in the first local round, which it makes last, and in the fourth."""

        n_rounds = 0

        def submit(self, function, *arguments):
            if function is rounds.local_round:
                return self.client.submit(slow_round, *arguments, pure=False)
            return super().submit(function, *arguments)

        def result(self, future):
            if "add_outcomes" in future.key:
                self.n_rounds += 1
                if self.n_rounds in (1, 4):
                    deaths.append(mortal.replace_at_work(2 - len(deaths)))
            return super().result(future)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastopt.dask.fitting.ClusterExecutor", Kills)
        clf = classifier(mortal.client).fit(*on_cluster)
    assert list(map(len, deaths)) == [2, 1]
    np.testing.assert_array_equal(clf._params, expected)


def test_a_round_that_dask_gives_up_is_submitted_again(mortal, on_cluster, expected):
    """With no failure allowed, the death of a worker is an error of its tasks at once."""
    mortal.client.run_on_scheduler(lambda dask_scheduler: setattr(dask_scheduler, "allowed_failures", 0))

    class KillsOnce(ClusterExecutor):
        killed = False

        def result(self, future):
            if "add_outcomes" in future.key and not self.killed:
                KillsOnce.killed = True
                mortal.replace_at_work(2)
            return super().result(future)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastopt.dask.fitting.ClusterExecutor", KillsOnce)
        clf = classifier(mortal.client).fit(*on_cluster)
    assert KillsOnce.killed
    np.testing.assert_array_equal(clf._params, expected)


def test_what_the_cluster_cannot_import_is_named(mortal, on_cluster, tmp_path, monkeypatch):
    """The fit is not said to have lost results with its workers, and is not tried again."""
    (tmp_path / "only_here.py").write_text("def rate(t):\n    return 0.01\n")
    monkeypatch.syspath_prepend(tmp_path)
    import only_here

    clf = classifier(mortal.client, solver=AdamW(lr=function(only_here.rate)))
    with pytest.raises(RuntimeError) as raised:
        clf.fit(*on_cluster)
    assert isinstance(raised.value.__cause__, ModuleNotFoundError)
    assert "only_here" in str(raised.value.__cause__)


def test_a_client_that_was_killed_goes_on_from_the_checkpoint(cluster, on_cluster, expected, tmp_path):
    class Killed(BaseException):
        pass

    class Dies(ClusterExecutor):
        n = 0

        def result(self, future):
            Dies.n += "add_outcomes" in future.key
            if Dies.n == 4:
                raise Killed
            return super().result(future)

    path = tmp_path / "fit.safetensors"
    settings = {"checkpoint": path, "outer_momentum": 0.0, "random_state": 0}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastopt.dask.fitting.ClusterExecutor", Dies)
        with pytest.raises(Killed):
            classifier(cluster, **settings).fit(*on_cluster)
    assert path.exists()
    clf = classifier(cluster, **settings).fit(*on_cluster)
    np.testing.assert_array_equal(clf._params, expected)
    assert len(clf.loss_curve_) == clf.n_rounds_ == 7
    again = classifier(cluster, **settings).fit(*on_cluster)  # a completed fit is returned at once
    np.testing.assert_array_equal(again._params, expected)
    X, y = on_cluster
    with pytest.raises(ValueError, match="is of another fit: the data differs"):
        classifier(cluster, **settings).fit(X * 2, y)
    with pytest.raises(ValueError, match=r"is of another fit: learning_rate_init was 0\.01 and is 0\.02"):
        classifier(cluster, **settings | {"learning_rate_init": 0.02}).fit(X, y)


def test_the_outer_momentum_survives_a_checkpoint(cluster, on_cluster, tmp_path):
    settings = {"outer_momentum": 0.5, "outer_lr": 0.7, "random_state": 3}
    whole = classifier(cluster, **settings).fit(*on_cluster)
    path = tmp_path / "fit.safetensors"
    with pytest.warns(ConvergenceWarning, match="max_time"):
        classifier(cluster, **settings, checkpoint=path, max_time=1e-9).fit(*on_cluster)
    resumed = classifier(cluster, **settings, checkpoint=path).fit(*on_cluster)
    np.testing.assert_array_equal(resumed._params, whole._params)


def test_simulate_gives_the_loss_of_the_cluster(cluster, digits):
    X, y = digits
    parts = da.concatenate([da.from_array(p, chunks=p.shape) for p in np.array_split(X, 12)])
    labels = da.concatenate([da.from_array(p, chunks=p.shape) for p in np.array_split(y, 12)])
    clf = classifier(cluster, random_state=1).fit(parts, labels)
    (found,) = simulate(clf, X, y, 3, n_partitions=12, X_val=X, y_val=y, client=cluster)
    assert (found.loss, found.validation_score) == (clf.loss_, clf.score(X, y))
    assert (found.n_rounds, found.local_steps) == (clf.n_rounds_, clf.local_steps_)
    assert 0 < found.seconds_scheduling < 7 * 5 * 0.5  # 5 tasks a round
    assert found.seconds > found.seconds_computing > 0


# -- data stay where they are -----------------------------------------------------------------------------


def test_no_row_reaches_the_client(cluster, on_cluster, monkeypatch):
    """The largest object that the client receives in a fit: parameters, and a little."""
    sizes = []
    original = ClusterExecutor.result

    def noted(self, future):
        value = original(self, future)
        sizes.append(len(pickle.dumps(value)))
        return value

    gathered, gather = [], type(cluster)._gather

    def counted(self, futures, *args, **kwargs):
        gathered.append(futures)
        return gather(self, futures, *args, **kwargs)

    monkeypatch.setattr(ClusterExecutor, "result", noted)
    monkeypatch.setattr(type(cluster), "_gather", counted)
    clf = classifier(cluster).fit(*on_cluster)
    assert len(sizes) == clf.n_rounds_ + 1  # and the counts and labels of the partitions
    assert max(sizes) <= clf._params.nbytes + 2000
    assert len(gathered) == len(sizes)  # nothing comes by another way
    assert on_cluster[0].nbytes > 20 * max(sizes)


def test_persisted_data_are_not_changed(cluster, on_cluster):
    import joblib

    X, y = (one.persist() for one in on_cluster)
    before = [joblib.hash(one.compute()) for one in (X, y)]
    classifier(cluster, dropout=0.2).fit(X, y)
    assert [joblib.hash(one.compute()) for one in (X, y)] == before


# -- collections ------------------------------------------------------------------------------------------


def test_data_frames_with_string_labels_and_empty_partitions(cluster):
    dd = pytest.importorskip("dask.dataframe")
    frame = load_iris(as_frame=True).frame
    frame["target"] = frame["target"].map({0: "setosa", 1: "versicolor", 2: "virginica"})
    table = dd.from_pandas(frame, npartitions=6, sort=True)
    table = table[table["petal width (cm)"] < 2.4]  # of unequal partitions
    X, y = table.drop(columns="target"), table["target"]
    clf = DaskMLPClassifier((8,), **SETTINGS | {"max_iter": 60, "n_replicas": 2}, client=cluster).fit(X, y)
    assert clf.classes_.tolist() == ["setosa", "versicolor", "virginica"]
    assert clf.feature_names_in_.tolist() == list(frame.columns[:4])
    assert clf.score(X, y) > 0.9
    predicted = clf.predict(X)
    assert isinstance(predicted, da.Array)
    here = frame[frame["petal width (cm)"] < 2.4]
    with cluster.as_current():
        np.testing.assert_array_equal(predicted.compute(), clf.predict(here[here.columns[:4]]))
    assert clf.score(X, y) == pytest.approx(clf.score(here[here.columns[:4]], here["target"]), rel=1e-12)


def test_parquet_whose_y_the_optimizer_would_fuse(cluster, tmp_path):
    """Dask merges the partitions of one narrow column of several files, unless it is told not to."""
    dd = pytest.importorskip("dask.dataframe")
    pytest.importorskip("pyarrow")
    import pandas as pd

    rng = np.random.default_rng(0)
    for i in range(8):
        frame = pd.DataFrame(rng.normal(size=(50, 12)), columns=[f"x{j}" for j in range(12)])
        frame["label"] = np.where(frame["x0"] > 0, "yes", "no")
        frame.to_parquet(tmp_path / f"part-{i}.parquet")
    table = dd.read_parquet(tmp_path)
    X, y = table[[f"x{j}" for j in range(12)]], table["label"]
    clf = classifier(cluster, n_replicas=2, max_iter=30).fit(X, y)
    assert clf.classes_.tolist() == ["no", "yes"]
    assert clf.score(X, y) > 0.9


def test_rows_that_do_not_belong_together_are_refused(cluster, on_cluster):
    X, y = on_cluster
    with pytest.raises(
        ValueError, match=r"partition [01] has 150 rows of X, 1(49|51) rows of y: .* not aligned"
    ):
        classifier(cluster).fit(X, y.rechunk(((149, 151, *[150] * 9, 147),)))
    with pytest.raises(ValueError, match="not the same partitions: X has 12, y has 2"):
        classifier(cluster).fit(X, y.rechunk(1000))
    with pytest.raises(ValueError, match=r"columns in 2 chunks.*X.rechunk\(\{1: -1\}\)"):
        classifier(cluster).fit(X.rechunk((150, 32)), y)


def test_more_replicas_than_partitions_are_refused(cluster, on_cluster):
    with pytest.raises(ValueError, match="n_replicas=40 and only 12 partitions of X have rows"):
        classifier(cluster, n_replicas=40).fit(*on_cluster)
    by_itself = classifier(cluster, n_replicas=None, max_iter=1).fit(*on_cluster)
    assert by_itself.n_replicas_ == 2  # workers


def test_sample_weights_take_out_rows(cluster, digits):
    """Rows without weight have no part in the loss: noise labels among them do not hurt."""
    X, y = digits
    noisy, weight = y.copy(), np.ones(len(y))
    noisy[::3], weight[::3] = 0, 0
    arrays = [da.from_array(one, chunks=(150, -1)[: one.ndim]) for one in (X, noisy, weight)]
    clf = classifier(cluster, max_iter=30).fit(*arrays)
    assert clf.score(X[::3], y[::3]) > 0.9


def test_streamed_partitions_are_read_as_they_are_needed(cluster, on_cluster, digits):
    clf = classifier(cluster, deal="stream", max_iter=20).fit(*on_cluster)
    assert clf.score(*digits) > 0.9
    again = classifier(cluster, deal="stream", max_iter=20).fit(*on_cluster)
    np.testing.assert_array_equal(again._params, clf._params)
    static = classifier(cluster, max_iter=20).fit(*on_cluster)
    assert not np.array_equal(static._params, clf._params)


def test_validation_rows_and_early_stopping(cluster, on_cluster, digits):
    X, y = on_cluster
    clf = classifier(cluster, max_iter=200, early_stopping=True, n_iter_no_change=2)
    clf.fit(X[:1500], y[:1500], X_val=X[1500:], y_val=y[1500:])
    local = clf.to_local()
    assert len(clf.validation_scores_) == clf.n_rounds_ < 200 * 1500 // (3 * 32 * clf.local_steps_)
    assert clf.best_validation_score_ == max(clf.validation_scores_)
    score = local.score(digits[0][1500:], digits[1][1500:])  # the best round's weights are restored
    assert clf.best_validation_score_ == pytest.approx(score, rel=1e-12)
    assert clf.validation_loss_curve_[-1] > 0


def test_a_regressor_and_its_score(cluster):
    X, y = load_diabetes(return_X_y=True)
    X, y = X * 20, (y - y.mean()) / y.std()
    dX, dy = da.from_array(X, chunks=(50, -1)), da.from_array(y, chunks=50)
    regr = DaskMLPRegressor(hidden_layer_sizes=(8,), **SETTINGS, client=cluster)
    regr.fit(dX, dy, X_val=dX, y_val=dy)
    assert regr.score(dX, dy) == pytest.approx(r2_score(y, regr.predict(X)), rel=1e-12)  # another order
    assert regr.validation_scores_[-1] == pytest.approx(regr.score(dX, dy), rel=1e-9)
    assert regr.score(X, y) > 0.3
    with cluster.as_current():
        np.testing.assert_array_equal(regr.predict(dX).compute(), regr.predict(X))
    with pytest.raises(ValueError, match="return_std=True is for rows in memory"):
        regr.predict(dX, return_std=True)


def test_multilabel_targets(cluster, digits):
    X, y = digits
    Y = np.stack([y % 2, y > 4], axis=1).astype(int)
    clf = classifier(cluster, max_iter=20)
    clf.fit(da.from_array(X, chunks=(150, -1)), da.from_array(Y, chunks=(150, -1)))
    assert clf.score(X, Y) > 0.8
    assert clf.predict(da.from_array(X, chunks=(150, -1))).shape == Y.shape


def test_balanced_classes_count_all_partitions(cluster):
    """The oracle: the weights that scikit-learn computes from all labels, given as a dict."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 4))
    y = np.where(X[:, 0] > 1, "rare", "frequent")
    parts = da.from_array(X, chunks=(50, -1)), da.from_array(y, chunks=50)
    balanced = classifier(cluster, class_weight="balanced").fit(*parts)
    n = np.count_nonzero(y == "rare")
    weights = {"frequent": 600 / (2 * (600 - n)), "rare": 600 / (2 * n)}
    given = classifier(cluster, class_weight=weights).fit(*parts)
    np.testing.assert_array_equal(balanced._params, given._params)


def test_two_fits_at_once(cluster, on_cluster, expected):
    fits = [classifier(cluster), classifier(cluster)]
    threads = [threading.Thread(target=fit.fit, args=on_cluster) for fit in fits]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for fit in fits:
        np.testing.assert_array_equal(fit._params, expected)


def test_a_warm_start_goes_on_from_its_weights(cluster, on_cluster):
    clf = classifier(cluster, warm_start=True).fit(*on_cluster)
    before, loss = clf._params.copy(), clf.loss_
    clf.fit(*on_cluster)
    assert clf.loss_curve_[7] < loss * 1.1
    assert not np.array_equal(clf._params, before)


# -- without a cluster ------------------------------------------------------------------------------------


def test_to_local_needs_no_dask_and_predicts_the_same(cluster, on_cluster, digits, tmp_path):
    X, _ = on_cluster
    clf = classifier(cluster, solver=AdamW(lr=0.01), learning_rate_init=0.001).fit(*on_cluster)
    local = clf.to_local()
    assert type(local) is MLPClassifier
    np.testing.assert_array_equal(local.predict_proba(digits[0]), clf.predict_proba(digits[0]))
    fastopt.save(local, tmp_path / "model")
    np.testing.assert_array_equal(fastopt.load(tmp_path / "model").predict(digits[0]), clf.predict(digits[0]))
    with pytest.raises(TypeError, match=r"DaskMLPClassifier: save what its to_local\(\) returns"):
        fastopt.save(clf, tmp_path / "other")
    local._params[:] = 0  # a copy
    lazy = clf.predict_proba(X)
    assert isinstance(lazy, da.Array)
    assert lazy.chunks == (X.chunks[0], (10,))
    with cluster.as_current():
        np.testing.assert_array_equal(lazy.compute(), clf.predict_proba(digits[0]))
    loaded = pickle.loads(pickle.dumps(clf))
    assert loaded.client is None
    np.testing.assert_array_equal(loaded.predict(digits[0]), clf.predict(digits[0]))
    assert clone(clf).client is cluster


@pytest.mark.parametrize(
    ("ours", "theirs"), [(DaskMLPClassifier, MLPClassifier), (DaskMLPRegressor, MLPRegressor)]
)
def test_arguments_are_those_of_the_estimator_in_memory_and_eight_more(ours, theirs):
    extras = (
        "n_replicas local_steps outer_lr outer_momentum deal split_every max_round_retries client".split()
    )
    known, base = inspect.signature(ours).parameters, inspect.signature(theirs).parameters
    assert list(known) == [*base, *extras]
    assert all(known[name] == base[name] for name in base)
    assert set(ours().get_params()) == {*theirs().get_params(), *extras}
    with pytest.raises(TypeError, match="n_replica"):
        ours(n_replica=2)
    named = inspect.signature(ours.fit).parameters
    of_base = inspect.signature(theirs.fit).parameters
    assert [name for name in named if name != "classes"] == list(of_base)


def test_a_class_that_derives_from_an_estimator_has_its_arguments_or_its_own():
    class Same(DaskMLPClassifier):
        pass

    class Smaller(DaskMLPRegressor):
        def __init__(self, hidden_layer_sizes=(5,), *, n_replicas=2, client=None):
            super().__init__(hidden_layer_sizes=hidden_layer_sizes, n_replicas=n_replicas, client=client)

    assert Same(n_replicas=3).get_params() == DaskMLPClassifier(n_replicas=3).get_params()
    assert clone(Smaller()).get_params() == {"hidden_layer_sizes": (5,), "n_replicas": 2, "client": None}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"solver": "lbfgs"}, "L-BFGS takes all rows in every step"),
        ({"device": "cuda"}, "device='cpu'"),
        ({"early_stopping": True}, "pass X_val and y_val"),
        ({"solver": "sgd", "learning_rate": "adaptive"}, "take a schedule of steps"),
        ({"learning_rate": "plateau"}, "schedules that react to the loss"),
        ({"scoring": "f1_macro"}, "None and 'loss'"),
        ({"n_replicas": 0}, "n_replicas"),
        ({"deal": "fair"}, "deal"),
        ({"split_every": 1}, "split_every"),
        ({"outer_lr": 0.0}, "outer_lr"),
    ],
)
def test_what_rounds_cannot_follow_is_refused(cluster, on_cluster, wrong, message):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match=message):
            classifier(cluster, **wrong).fit(*on_cluster)


def test_rows_in_memory_are_refused_with_a_pointer(cluster, digits, on_cluster):
    with pytest.raises(TypeError, match=r"X of type ndarray is no Dask .*take MLPClassifier"):
        classifier(cluster).fit(*digits)
    with pytest.raises(TypeError, match="X_val of type ndarray"):
        classifier(cluster).fit(*on_cluster, X_val=digits[0], y_val=digits[1])


def test_an_estimator_that_is_not_fitted_says_so(on_cluster):
    for call in ("predict", "predict_proba"):
        with pytest.raises(NotFittedError):
            getattr(DaskMLPClassifier(), call)(on_cluster[0])
    with pytest.raises(NotFittedError):
        DaskMLPClassifier().to_local()
    with pytest.raises(AttributeError, match=r"has no partial_fit\. To train on, set warm_start=True"):
        DaskMLPClassifier().partial_fit(*on_cluster)


def test_without_a_client_it_is_refused(on_cluster):
    with pytest.raises(ValueError, match="DaskMLPClassifier found no Dask client"):
        classifier(None).fit(*on_cluster)


def test_importing_fastopt_does_not_import_dask():
    import subprocess
    import sys

    code = (
        "import sys, fastopt, fastopt.dask, fastopt.study; fastopt.dask.DaskMLPClassifier(); "
        "assert not {'dask', 'distributed'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
