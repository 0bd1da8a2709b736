"""``compare --dask``."""

import pytest
from sklearn.datasets import load_iris

from fastopt.cli import main

pytest.importorskip("rich")
pytest.importorskip("jinja2")


pytest.importorskip("distributed")


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "iris.csv"
    load_iris(as_frame=True).frame.to_csv(path, index=False)
    return path


def test_compare_makes_its_fits_on_the_cluster(cluster, table, tmp_path, capsys):
    where = ["--dask", cluster.scheduler.address]
    what = [
        "--optimizers",
        "adam",
        "nesterov",
        "--lr",
        "0.01",
        "--seeds",
        "2",
        "--epochs",
        "2",
        "--hidden",
        "4",
    ]
    out = ["--out", str(tmp_path / "results"), "--no-yardstick"]
    before = sum(cluster.run(lambda dask_worker: dask_worker.state.executed_count).values())
    assert main(["compare", "--dataset", str(table), "--target", "target", *where, *what, *out]) == 0
    after = sum(cluster.run(lambda dask_worker: dask_worker.state.executed_count).values())
    assert after - before == 5  # two optimizers with two seeds, and the task of which the data are the result
    assert "Adam" in capsys.readouterr().out


def test_an_address_where_nobody_answers_is_told_in_a_line(table, monkeypatch, capsys):
    monkeypatch.setattr("fastopt.cli.studies._SECONDS_TO_CONNECT", 0.5)
    assert (
        main(["compare", "--dataset", str(table), "--target", "target", "--dask", "tcp://127.0.0.1:9"]) == 2
    )
    error = capsys.readouterr().err
    assert "--dask tcp://127.0.0.1:9: no Dask scheduler answers there" in error
    assert "dask scheduler" in error
    assert error.count("\n") == 1


def test_jobs_and_a_cluster_exclude_each_other(cluster, table, capsys):
    where = ["--dask", cluster.scheduler.address, "--jobs", "2"]
    assert main(["compare", "--dataset", str(table), "--target", "target", *where]) == 2
    assert "give one of the two" in capsys.readouterr().err
