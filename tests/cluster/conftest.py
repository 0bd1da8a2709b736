"""One Dask cluster of two workers for all tests of the run, and one that a test may kill.

Workers import the modules of tests whose functions they run. Those must import nothing from here: there are
several modules named conftest, and which of them a worker finds depends on the tests that were collected.
"""

import pytest


@pytest.fixture(scope="session")
def cluster():
    """Return the client of a cluster that all tests share."""
    distributed = pytest.importorskip("distributed", reason='needs pip install "fastopt[dask]"')
    options = {"threads_per_worker": 1, "dashboard_address": None, "silence_logs": 50}
    with (
        distributed.LocalCluster(n_workers=2, **options) as local,
        distributed.Client(local, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture
def mortal():
    """Return a cluster whose workers a test may kill."""
    pytest.importorskip("distributed", reason='needs pip install "fastopt[dask]"')
    from reference.dask_processes import DaskProcesses

    with DaskProcesses() as processes:
        yield processes
