"""A cluster without workers: what waits for it says so, and goes on when one joins, which may be prepared."""

import sys

import numpy as np
import pytest
from reference.small_study import iris, small_study

from fastopt.dask import DaskMLPClassifier

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture
def empty(monkeypatch):
    """Return the client of a cluster whose worker starts when somebody has said that there is none."""
    monkeypatch.setattr("fastopt._dask_client._PATIENCE", 0.3)
    options = {"threads_per_worker": 1, "dashboard_address": None, "silence_logs": 50}
    with (
        distributed.LocalCluster(n_workers=0, **options) as local,
        distributed.Client(local, set_as_default=False) as client,
    ):
        client.said = []

        def said(message):
            client.said.append(message)
            local.scale(1)

        monkeypatch.setattr("fastopt.dask.cluster.warn", said)
        monkeypatch.setattr("fastopt.study.dask_fits.warn", said)
        yield client


def test_a_fit_of_one_model(empty):
    da = pytest.importorskip("dask.array")
    X, y = iris()
    rows = da.from_array(X, chunks=(50, -1)), da.from_array(y, chunks=50)
    clf = DaskMLPClassifier((4,), max_iter=2, n_replicas=2, random_state=0, client=empty).fit(*rows)
    address = empty.scheduler.address
    assert empty.said == [
        f"DaskMLPClassifier waits, because the Dask cluster at {address} has no worker. It goes on when one "
        f"joins, such as by `dask worker {address}`; Ctrl-C ends it."
    ]
    assert np.isfinite(clf.loss_)


def test_a_study(empty):
    study = small_study(client=empty).fit(*iris())
    assert len(study.results_) == 10
    assert all(said.startswith("OptimizerStudy waits, because the Dask cluster at") for said in empty.said)
    assert empty.said


def test_a_worker_that_preloads_fastopt_joins_when_it_is_imported():
    from reference.dask_processes import DaskProcesses

    def is_imported():
        return "fastopt.neural_network.classifier" in sys.modules

    for options, expected in ((), False), (("--preload", "fastopt.dask"), True):
        with DaskProcesses(1, *options) as processes:
            assert list(processes.client.run(is_imported).values()) == [expected]
