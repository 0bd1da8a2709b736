"""`fastopt.mlflow.autolog`: what a fit leaves in MLflow, alone, as a part of others, and when it fails."""

import os
import re
import signal
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
from reference.mlflow_store import metric, models, runs
from scipy import sparse
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import BaggingClassifier, StackingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastopt.mlflow
from fastopt import Adam, MLPClassifier, MLPRegressor, TabularMLPClassifier
from fastopt.callbacks import MLflowLogger
from fastopt.callbacks.base import NetworkCallback
from fastopt.data import BlockSource

pytest.importorskip("safetensors", reason='needs pip install "fastopt[files]"')
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
CURVES = {"loss", "lr", "seconds"}


def network(**kwargs):
    return MLPClassifier((8,), **{"max_iter": 4, "random_state": 0, "batch_size": 50} | kwargs)


class Raises(NetworkCallback):
    """Raise an error after the second epoch."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def _epoch_ends(self, estimator, state):
        if estimator.n_iter_ == 2:
            raise self.error


def test_a_bare_network_leaves_parameters_curves_data_and_model(autolog, mlflow):
    autolog(log_input_examples=True, extra_tags={"team": "mine"})
    fitted = network(solver=Adam(lr=0.02), early_stopping=True, n_iter_no_change=9).fit(X, Y)
    (run,) = runs(mlflow)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "MLPClassifier")
    assert mlflow.active_run() is None
    assert {*run.data.params} == {*fitted.get_params()}
    assert run.data.params["solver__lr"] == "0.02"
    for name, values in fitted.history_.items():
        if not np.isnan(values).all():
            assert metric(mlflow, run, name) == dict(enumerate(values.tolist(), 1))
    assert run.data.metrics["n_iter"] == 4
    assert run.data.metrics["best_validation_score"] == fitted.best_validation_score_
    assert run.data.tags["estimator_name"] == "MLPClassifier"
    assert run.data.tags["team"] == "mine"
    (dataset,) = run.inputs.dataset_inputs
    assert (
        '"shape": [150, 4]' in dataset.dataset.schema.replace("(", "[").replace(")", "]")
        or dataset.dataset.profile
    )
    (model,) = models(mlflow)
    assert model.source_run_id == run.info.run_id
    again = fastopt.mlflow.load_model(model.model_uri)
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    assert mlflow.models.get_model_info(model.model_uri).signature.inputs.is_tensor_spec()
    assert "_skl_callbacks" not in vars(fitted)


def test_the_network_is_the_same_with_and_without_logging(autolog, mlflow):
    alone = network(max_iter=20).fit(X, Y)
    autolog()
    logged = network(max_iter=20).fit(X, Y)
    for a, b in zip(alone.coefs_, logged.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)


def test_warnings_of_a_fit_keep_their_kind_and_place(autolog, mlflow):
    """MLflow makes lines of its log of warnings that come from its own files, whose wrapper calls fit."""
    autolog(log_models=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        network().fit(X, Y)
    (warning,) = [one for one in caught if issubclass(one.category, ConvergenceWarning)]
    assert warning.filename == __file__


def test_what_is_logged_can_be_chosen(autolog, mlflow):
    autolog(log_models=False, log_datasets=False)
    network().fit(X, Y)
    (run,) = runs(mlflow)
    assert not run.inputs.dataset_inputs
    assert not models(mlflow)
    autolog(exclusive=True, log_models=False)
    with mlflow.start_run() as mine:
        network().fit(X, Y)
    assert not mlflow.get_run(mine.info.run_id).data.params
    autolog(disable=True)
    network().fit(X, Y)
    assert len(runs(mlflow)) == 2


def test_a_fit_logs_to_the_active_run_and_leaves_it_open(autolog, mlflow):
    autolog(log_models=False)
    with mlflow.start_run() as mine:
        network().fit(X, Y)
        assert mlflow.active_run().info.run_id == mine.info.run_id
    (run,) = runs(mlflow)
    assert {*run.data.metrics} >= CURVES


def test_callbacks_of_the_network_go_on_and_a_logger_is_not_doubled(autolog, mlflow):
    autolog(log_models=False)
    logger = MLflowLogger()
    fitted = network().set_callbacks(logger).fit(X, Y)
    assert fitted._skl_callbacks == [logger]
    (run,) = runs(mlflow)
    assert metric(mlflow, run, "loss") == dict(enumerate(fitted.loss_curve_, 1))


@pytest.mark.parametrize(
    ("error", "status"), [(ZeroDivisionError(), "FAILED"), (SystemExit(1), "KILLED"), (None, "FAILED")]
)
def test_a_fit_that_ends_early_says_how(error, status, autolog, mlflow):
    autolog()
    if error is None:
        with pytest.raises(ValueError, match="alpha"):
            network(alpha=-1).fit(X, Y)
    else:
        broken = network().set_callbacks(Raises(error))
        with pytest.raises(type(error)):
            broken.fit(X, Y)
        assert len(broken._skl_callbacks) == 1
    (run,) = runs(mlflow)
    assert run.info.status == status
    assert mlflow.active_run() is None
    assert not models(mlflow)
    if error is not None:
        assert [*metric(mlflow, run, "loss")] == [1, 2]  # what there was is not lost


def test_a_model_that_no_file_can_hold_is_said_in_mlflows_log(autolog, mlflow, capfd):
    autolog()
    network(solver="sgd", learning_rate=lambda t: 1 / (1 + t)).fit(X, Y)
    assert re.search(
        "WARNING mlflow.*the model is not logged to MLflow: .*learning_rate", capfd.readouterr().err
    )
    (run,) = runs(mlflow)
    assert run.info.status == "FINISHED"
    assert [model.status.name for model in models(mlflow)] == ["FAILED"]  # as MLflow leaves it


def test_members_and_iterations_have_curves_too(autolog, mlflow):
    autolog()
    bag = network(n_members=2).fit(X, Y)
    newton = network(solver="lbfgs", batch_size="auto").fit(X, Y)
    of_bag, of_newton = runs(mlflow)
    for number, member in enumerate(bag.members_):
        assert metric(mlflow, of_bag, f"member_{number}/loss") == dict(enumerate(member.loss_curve_, 1))
    assert len(metric(mlflow, of_newton, "loss")) == newton.n_iter_
    assert len(models(mlflow)) == 2


def test_a_table_is_logged_with_its_out_of_fold_score(autolog, mlflow):
    pandas = pytest.importorskip("pandas")
    autolog()
    table = pandas.DataFrame(X).assign(colour=["red", "blue", None] * 50).rename(columns=str)
    fitted = TabularMLPClassifier(max_iter=3, random_state=0).fit(table, Y)
    (run,) = runs(mlflow)
    assert run.data.metrics["oof_score"] == fitted.oof_score_
    assert metric(mlflow, run, "val_loss") == dict(enumerate(fitted.history_["val_loss"].tolist(), 1))
    assert len(run.inputs.dataset_inputs) == 1
    (model,) = models(mlflow)
    served = mlflow.pyfunc.load_model(model.model_uri)
    np.testing.assert_array_equal(served.predict(table), fitted.predict(table))


def rows_of(kind, folder):
    """Return what `fit` is given as data of some kind, and the same rows as MLflow serves them."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcd"))
    if kind == "blocks":
        np.save(folder / "X.npy", X)
        np.save(folder / "y.npy", Y)
        return (BlockSource(folder / "X.npy", folder / "y.npy"),), X
    if kind in ("polars", "pyarrow"):
        module = pytest.importorskip(kind)
        return (module.from_pandas(frame) if kind == "polars" else module.table(frame), Y), frame
    if kind == "pandas":  # columns of which MLflow refuses what it has inferred a schema from
        frame["n"] = pandas.array([1, 2, None] * 50, dtype="Int64")
        frame["yes"] = pandas.array([True, None, False] * 50, dtype="boolean")
        frame["kind"] = pandas.Categorical(["u", "v", None] * 50)
        frame["at"] = pandas.date_range("2024-01-01", periods=150, tz="UTC")
        frame["x"] = pandas.array([1.5, None, 2.5] * 50, dtype="Float64")
        return (frame, Y), frame
    if kind == "list":
        return (X.tolist(), Y), X
    return (sparse.csc_array(X), Y), sparse.csr_matrix(X)


@pytest.mark.parametrize("kind", ["list", "sparse", "polars", "pyarrow", "blocks", "pandas"])
def test_data_of_every_kind_has_a_signature(kind, autolog, mlflow, tmp_path, capfd):
    autolog(log_input_examples=True)
    given, served_rows = rows_of(kind, tmp_path)
    kind_of_model = TabularMLPClassifier if kind == "pandas" else MLPClassifier
    fitted = kind_of_model(max_iter=2, random_state=0).fit(*given)
    (run,) = runs(mlflow)
    assert run.data.metrics["n_iter"] == 2
    (model,) = [model for model in models(mlflow) if model.status.name == "READY"]
    inputs = mlflow.models.get_model_info(model.model_uri).signature.inputs
    is_table = hasattr(served_rows, "columns")
    assert inputs.is_tensor_spec() != is_table
    assert not is_table or inputs.input_names() == list(served_rows)
    expected = fitted.predict(served_rows)
    np.testing.assert_array_equal(mlflow.pyfunc.load_model(model.model_uri).predict(served_rows), expected)
    assert "without an example of its inputs" not in capfd.readouterr().err


def test_a_model_without_its_example_is_better_than_none(autolog, mlflow, monkeypatch, capfd):
    autolog(log_input_examples=True)
    save = mlflow.pyfunc.save_model

    def refuses_examples(*args, input_example=None, **kwargs):
        if input_example is not None:
            raise mlflow.MlflowException("no JSON")
        return save(*args, **kwargs)

    monkeypatch.setattr(mlflow.pyfunc, "save_model", refuses_examples)
    network().fit(X, Y)
    assert "logged to MLflow without an example of its inputs: no JSON" in capfd.readouterr().err
    assert sorted(model.status.name for model in models(mlflow)) == ["FAILED", "READY"]


def test_the_network_of_a_pipeline_is_logged_without_scikit_learns_autolog(autolog, mlflow):
    autolog()
    fitted = make_pipeline(StandardScaler(), network()).fit(X, Y)
    (run,) = runs(mlflow)
    assert {*run.data.params} == {*fitted[-1].get_params()}
    assert metric(mlflow, run, "loss") == dict(enumerate(fitted[-1].loss_curve_, 1))
    assert not models(mlflow)  # the network alone is not what was fitted
    numbers = load_diabetes(return_X_y=True)
    TransformedTargetRegressor(MLPRegressor(max_iter=2), transformer=StandardScaler()).fit(*numbers)
    assert len(runs(mlflow)) == 2


@pytest.mark.parametrize(("outer", "n_jobs"), [("pipeline", None), ("search", None), ("search", 2)])
def test_beside_scikit_learns_autolog_only_curves_are_added(outer, n_jobs, autolog, mlflow):
    def fitted():
        inner = make_pipeline(StandardScaler(), network())
        if outer == "search":
            inner = GridSearchCV(inner, {"mlpclassifier__alpha": [0.0, 0.1]}, cv=2, n_jobs=n_jobs)
        return inner.fit(X, Y)

    mlflow.sklearn.autolog(log_datasets=False)
    fitted()
    before, n_models = runs(mlflow), len(models(mlflow))
    autolog()
    result = fitted()
    after = runs(mlflow)[len(before) :]
    assert len(after) == len(before) == (1 if outer == "pipeline" else 3)  # a child for each candidate
    assert len(models(mlflow)) == 2 * n_models

    def place(run):
        return "mlflow.parentRunId" in run.data.tags, sorted(run.data.params.items())

    for run, other in zip(sorted(before, key=place), sorted(after, key=place), strict=True):
        assert run.data.params.keys() == other.data.params.keys()
        is_outer = "mlflow.parentRunId" not in run.data.tags
        assert other.data.metrics.keys() - run.data.metrics.keys() == (
            CURVES | {"n_iter"} if is_outer else set()
        )
    refit = (result.best_estimator_ if outer == "search" else result)[-1]
    (parent,) = [run for run in after if "mlflow.parentRunId" not in run.data.tags]
    assert metric(mlflow, parent, "loss") == dict(enumerate(refit.loss_curve_, 1))


def test_a_search_alone_logs_its_refit(autolog, mlflow):
    autolog()
    search = GridSearchCV(network(), {"alpha": [0.0, 0.1]}, cv=2).fit(X, Y)
    (run,) = runs(mlflow)
    assert run.data.params["alpha"] == str(search.best_params_["alpha"])
    assert metric(mlflow, run, "loss") == dict(enumerate(search.best_estimator_.loss_curve_, 1))


def test_fits_of_a_cross_validation_and_of_ensembles_are_not_logged(autolog, mlflow):
    autolog()
    cross_val_score(network(), X, Y, cv=2)
    cross_val_score(make_pipeline(StandardScaler(), network()), X, Y, cv=2)
    BaggingClassifier(network(), n_estimators=2).fit(X, Y)
    StackingClassifier([("one", network())], network(), cv=2).fit(X, Y)
    assert not runs(mlflow)


def test_a_store_that_is_away_for_a_while_gets_everything_later(autolog, mlflow, monkeypatch):
    autolog(log_models=False)
    log_batch, calls = mlflow.MlflowClient.log_batch, []

    def fails_once(self, run_id, metrics=(), **kwargs):  # parameters come this way, too
        calls.append(len(metrics))
        if metrics and sum(map(bool, calls)) == 1:
            raise ConnectionError("no route")
        return log_batch(self, run_id, metrics=metrics, **kwargs)

    monkeypatch.setattr(mlflow.MlflowClient, "log_batch", fails_once)
    with pytest.warns(UserWarning, match=r"has not taken 3 metrics.*no route.*the fit goes on"):
        fitted = network().fit(X, Y)
    (run,) = runs(mlflow)
    assert run.info.status == "FINISHED"
    assert metric(mlflow, run, "loss") == dict(enumerate(fitted.loss_curve_, 1))


def test_a_slow_store_does_not_slow_the_fit(autolog, mlflow, monkeypatch):
    """Of 300 epochs of less than a millisecond, few are written one by one to a store that takes 50."""
    autolog(log_models=False, log_datasets=False)
    log_batch, sizes = mlflow.MlflowClient.log_batch, []

    def slow(self, run_id, metrics=(), **kwargs):
        sizes.extend([len(metrics)] if len(metrics) > 1 else [])  # one: n_iter, at the end
        time.sleep(0.05)
        return log_batch(self, run_id, metrics=metrics, **kwargs)

    monkeypatch.setattr(mlflow.MlflowClient, "log_batch", slow)
    began = time.perf_counter()
    fitted = network(max_iter=300, tol=0, n_iter_no_change=300).fit(X, Y)
    seconds = time.perf_counter() - began
    assert sum(sizes) == 3 * 300
    assert len(sizes) <= 2 + seconds / (10 * 0.05)  # the first epoch, what is due then, the rest
    (run,) = runs(mlflow)
    assert metric(mlflow, run, "loss") == dict(enumerate(fitted.loss_curve_, 1))


def test_rounds_of_a_cluster_are_logged_when_the_fit_has_ended(autolog, mlflow):
    array = pytest.importorskip("dask.array")
    distributed = pytest.importorskip("distributed")
    from fastopt.dask import DaskMLPClassifier

    autolog()
    with distributed.Client(
        processes=False, n_workers=2, threads_per_worker=1, dashboard_address=None
    ) as client:
        rows, labels = array.from_array(X, chunks=(75, 4)), array.from_array(Y, chunks=75)
        fitted = DaskMLPClassifier((8,), max_iter=2, random_state=0, client=client).fit(rows, labels)
        (run,) = runs(mlflow)
        assert run.info.run_name == "DaskMLPClassifier"
        assert metric(mlflow, run, "loss") == dict(enumerate(fitted.loss_curve_, 1))
        (model,) = models(mlflow)
        again = fastopt.mlflow.load_model(model.model_uri)
        assert type(again) is MLPClassifier
        np.testing.assert_array_equal(again.predict_proba(X), fitted.to_local().predict_proba(X))


KILLED = """
import sys, mlflow
from sklearn.datasets import load_iris
import fastopt.mlflow
from fastopt import MLPClassifier
from fastopt.callbacks import MLflowLogger
clf = MLPClassifier((8,), max_iter=10_000_000, tol=0, n_iter_no_change=10_000_000)
if sys.argv[1] == "autolog":
    fastopt.mlflow.autolog(log_models=False, log_datasets=False)
else:
    clf.set_callbacks(MLflowLogger())
clf.fit(*load_iris(return_X_y=True))
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM that a program could catch")
@pytest.mark.parametrize("how", ["autolog", "logger"])
def test_sigterm_leaves_a_killed_run(how, mlflow, tmp_path):
    script = tmp_path / "fits.py"
    script.write_text(KILLED)
    environment = {**os.environ, "MLFLOW_EXPERIMENT_ID": mlflow.tracking.fluent._get_experiment_id()}
    process = subprocess.Popen([sys.executable, str(script), how], env=environment, cwd=tmp_path)
    until = time.monotonic() + 300
    while not any("loss" in run.data.metrics for run in runs(mlflow)):
        assert process.poll() is None, "it ended by itself"
        assert time.monotonic() < until, "no epoch was logged"
        time.sleep(1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=120) == 128 + signal.SIGTERM
    (run,) = runs(mlflow)
    assert run.info.status == "KILLED"


def test_handlers_of_the_program_are_left_alone(autolog, mlflow):
    """Without one the fit puts its own there while it runs, and takes it away."""
    seen = []

    class Looks(NetworkCallback):
        def _epoch_ends(self, estimator, state):
            seen.append(signal.getsignal(signal.SIGTERM))

    def mine(number, frame):
        pass

    autolog(log_models=False)
    before = signal.signal(signal.SIGTERM, mine)
    try:
        network(max_iter=1).set_callbacks(Looks()).fit(X, Y)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        network(max_iter=1).set_callbacks(Looks()).fit(X, Y)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen[0] is mine
    assert seen[1] not in (mine, signal.SIG_DFL)
