"""A study whose fits are tasks on Dask: the numbers of one process, whatever happens to workers."""

import contextlib
import copy
import json
import pickle

import numpy as np
import pandas as pd
import pytest
from reference.small_study import iris, small_study
from sklearn.base import clone
from sklearn.neural_network import MLPClassifier

import fastopt
from fastopt.study import OptimizerStudy, dask_fits, optimizer_study, progress

COLUMNS = ["optimizer", "lr", "seed", "phase", "loss", "accuracy", "recall_macro"]
N_FITS = 10


@pytest.fixture(scope="module")
def alone():
    return small_study().fit(*iris()).results_[COLUMNS]


def test_the_cluster_gives_the_numbers_of_one_process(cluster, alone):
    study = small_study(client=cluster).fit(*iris())
    pd.testing.assert_frame_equal(study.results_[COLUMNS], alone, check_exact=True)


def test_the_current_client_is_taken_where_none_is_given(cluster, alone):
    with cluster.as_current():
        study = small_study(backend="dask").fit(*iris())
    pd.testing.assert_frame_equal(study.results_[COLUMNS], alone, check_exact=True)


class SlowNetwork(MLPClassifier):
    """A network that takes its time, so that a worker can be killed while it trains."""

    def partial_fit(self, X, y, classes=None):
        import time

        time.sleep(0.05)
        return super().partial_fit(X, y, classes=classes)


def test_killed_workers_cost_neither_fits_nor_numbers(mortal, tmp_path, monkeypatch):
    """Both workers die, which also loses the data that were sent to them, and one dies later."""
    slow = {"estimator": SlowNetwork((8,)), "store": tmp_path, "n_seeds": 6, "n_tuning_seeds": 2}
    expected = small_study().set_params(**slow | {"store": None}).fit(*iris()).results_
    deaths, n_at_death = [], [0, 6]

    class Kills(progress.Progress):
        """Kills workers after no fit, and after some: both, then one."""

        done = 0

        def fit_started(self, what, n_epochs):
            if n_at_death[len(deaths) :] and self.done >= n_at_death[len(deaths)]:
                deaths.append(mortal.replace_at_work(2 - len(deaths)))

        def fit_done(self):
            self.done += 1

    monkeypatch.setattr(optimizer_study, "shown", lambda wanted: contextlib.nullcontext(Kills()))
    study = small_study(client=mortal.client).set_params(**slow).fit(*iris())
    assert list(map(len, deaths)) == [2, 1]
    pd.testing.assert_frame_equal(study.results_[COLUMNS], expected[COLUMNS], check_exact=True)
    lines = [json.loads(line) for line in study.store_path_.read_text().splitlines()]
    keys = [json.dumps(line["key"], sort_keys=True) for line in lines if "key" in line]
    assert len(keys) == len(set(keys)) == len(expected)  # none is lost and none is written twice


def study_of_groups(**changes):
    """Return a study whose 32 tuning fits are made side by side."""
    settings = {"lr": [0.003, 0.03], "n_seeds": 2, "n_tuning_seeds": 8, "max_epochs": 4, **changes}
    return OptimizerStudy(fastopt.MLPClassifier((8,)), ["adam", "lion"], **settings)


@pytest.fixture
def lost_groups(monkeypatch):
    """Return the groups of fits that have lost their workers."""
    lost, count = [], dask_fits._count_death
    monkeypatch.setattr(
        dask_fits,
        "_count_death",
        lambda attempts, group, *rest: lost.append(group) or count(attempts, group, *rest),
    )
    return lost


def test_fits_side_by_side_have_the_numbers_of_one_process(cluster, monkeypatch):
    expected = study_of_groups().fit(*iris()).results_[COLUMNS]
    keys, submit = [], type(cluster).submit

    def noted(self, *arguments, key, **options):
        keys.append(key)
        return submit(self, *arguments, key=key, **options)

    monkeypatch.setattr(type(cluster), "submit", noted)
    study = study_of_groups(client=cluster).fit(*iris())
    pd.testing.assert_frame_equal(study.results_[COLUMNS], expected, check_exact=True)
    fits = [key.rsplit("-")[-2] for key in keys if key.startswith("fastopt-fit")]
    assert sorted(fit.count("+") + 1 for fit in fits) == [1] * 4 + [4] * 8


def test_a_group_that_loses_its_worker_is_fitted_one_by_one(mortal, lost_groups, monkeypatch):
    """With no failure allowed, the death of a worker is an error of its task at once."""
    expected = study_of_groups().fit(*iris()).results_[COLUMNS]
    mortal.client.run_on_scheduler(lambda dask_scheduler: setattr(dask_scheduler, "allowed_failures", 0))
    deaths = []

    class Kills(progress.Progress):
        def fit_started(self, what, n_epochs):
            if not deaths:
                deaths.extend(mortal.replace_at_work(2))

    monkeypatch.setattr(optimizer_study, "shown", lambda wanted: contextlib.nullcontext(Kills()))
    study = study_of_groups(client=mortal.client).fit(*iris())
    pd.testing.assert_frame_equal(study.results_[COLUMNS], expected, check_exact=True)
    assert len(deaths) == 2
    assert max(map(len, lost_groups)) == 4


class Murderer(MLPClassifier):
    """A network that ends the process that trains it."""

    def partial_fit(self, X, y, classes=None):
        import os
        import signal

        os.kill(os.getpid(), signal.SIGKILL)


def test_a_fit_that_kills_every_worker_ends_the_study_with_its_name(mortal, monkeypatch):
    monkeypatch.setattr("fastopt.study.dask_fits._RETRIES", 0)
    mortal.client.run_on_scheduler(lambda dask_scheduler: setattr(dask_scheduler, "allowed_failures", 0))
    study = small_study(client=mortal.client).set_params(estimator=Murderer((8,)))
    with pytest.raises(
        RuntimeError, match=r"(adam|momentum), lr .* its Dask worker died in each of 1 attempts"
    ):
        study.fit(*iris())


def test_what_the_store_holds_is_not_sent_to_the_cluster(cluster, tmp_path):
    small_study(store=tmp_path).fit(*iris())
    again = small_study(store=tmp_path, client=cluster).fit(*iris())
    assert again.n_read_ == N_FITS


def test_an_error_of_a_fit_reaches_the_study(cluster):
    X, y = iris()
    with pytest.raises(ValueError, match="NaN"):
        small_study(client=cluster).fit(np.where(X > 7, np.nan, X), y)


def test_progress_tells_each_fit(cluster, monkeypatch):
    class Noted(progress.Progress):
        done, told = 0, ""

        def fit_started(self, what, n_epochs):
            Noted.told = what

        def fit_done(self):
            Noted.done += 1

    monkeypatch.setattr(optimizer_study, "shown", lambda wanted: contextlib.nullcontext(Noted()))
    small_study(client=cluster, progress=True).fit(*iris())
    assert Noted.done == N_FITS
    assert Noted.told.endswith("given to 2 threads of Dask workers")


def test_copies_share_the_client_and_pickles_have_none(cluster):
    study = small_study(client=cluster)
    assert clone(study).client is copy.copy(study).client is copy.deepcopy(study).client is cluster
    assert study.client is cluster
    loaded = pickle.loads(pickle.dumps(study))
    assert loaded.client is None
    assert repr(loaded.estimator) == repr(study.estimator)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_jobs": 2}, "n_jobs=2 has no effect on a Dask cluster"),
        ({"backend": "threading"}, "backend='threading' of this process"),
    ],
)
def test_what_has_no_effect_on_a_cluster_is_refused(cluster, wrong, message):
    with pytest.raises(ValueError, match=message):
        small_study(client=cluster, **wrong).fit(*iris())


def test_no_client_or_a_wrong_one_is_refused():
    with pytest.raises(ValueError, match="a study on Dask found no Dask client: make one first"):
        small_study(backend="dask").fit(*iris())
    with pytest.raises(TypeError, match=r"client='tcp://.*' is not a distributed.Client"):
        small_study(client="tcp://127.0.0.1:8786").fit(*iris())


def test_a_closed_client_is_refused(cluster):
    from distributed import Client

    client = Client(cluster.scheduler.address, set_as_default=False)
    client.close()
    with pytest.raises(ValueError, match="is closed: make a new one"):
        small_study(client=client).fit(*iris())
