"""A store of MLflow for all tests, and an experiment in it for each; none of its files in the repository."""

import pytest


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/runs.db"  # making one takes seconds


@pytest.fixture
def mlflow(store, monkeypatch, request, tmp_path):
    """MLflow with an empty experiment; the environment, which it writes to, is restored."""
    module = pytest.importorskip("mlflow")
    pytest.importorskip("sklearn.callback", reason="scikit-learn has callbacks from version 1.9 on")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "0")
    monkeypatch.chdir(tmp_path)
    module.set_tracking_uri(store)
    name = request.node.nodeid
    if module.get_experiment_by_name(name) is None:
        module.create_experiment(name, artifact_location=(tmp_path / "artifacts").as_uri())
    module.set_experiment(name)
    return module


@pytest.fixture
def autolog(mlflow):
    """`fastopt.mlflow.autolog`; what it and scikit-learn's have begun is ended."""
    module = pytest.importorskip("fastopt.mlflow")
    yield module.autolog
    module.autolog(disable=True)
    mlflow.sklearn.autolog(disable=True)
