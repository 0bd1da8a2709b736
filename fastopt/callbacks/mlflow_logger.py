"""A fit as a run of MLflow."""

import math
import os
from typing import Any

from fastopt._extras import require
from fastopt.callbacks.base import NetworkCallback, is_one_of_many


class MLflowLogger(NetworkCallback):
    """Log a network's parameters and, after each epoch, its history to MLflow.

    Parameters are logged once, when ``fit`` begins; metrics after each epoch, with the number of epochs as
    their step: ``loss``, ``val_loss``, ``val_score``, ``lr`` and ``seconds``, without those that there are
    not.

    Parameters
    ----------
    run_name : str, optional
        Name of the runs that it starts; the class of the network if there is none.

    Raises
    ------
    MissingExtraError
        If scikit-learn is older than 1.9, or MLflow is not installed (extra ``mlflow``).

    Notes
    -----
    A fit logs to the active run. Where there is none, and for each of the fits that a search makes side by
    side, it starts a run of its own, nested in the active one, and ends it; ``FAILED`` after an error. Each
    thread and process has an active run of its own: with ``n_jobs=2`` the runs are not nested. They are in
    the store and the experiment of the process that began.

    MLflow stores an infinite loss as 1.8e308, and refuses other parameters for a run that has some: one run
    for two different fits is an error of its own.

    Examples
    --------
    ::

        with mlflow.start_run():
            MLPClassifier((32,)).set_callbacks(MLflowLogger()).fit(X, y)
    """

    def __init__(self, *, run_name: str | None = None) -> None:
        super().__init__()
        require("mlflow", "fastopt.callbacks.MLflowLogger", "mlflow")
        self.run_name: str | None = run_name
        self._began_in: dict[str, Any] = {}

    def _begin(self, estimator: Any, context: Any) -> dict[str, Any]:
        mlflow = require("mlflow", "fastopt.callbacks.MLflowLogger", "mlflow")
        experiment = None
        if self._began_in.get("process", os.getpid()) != os.getpid():
            # A process of joblib's may be older than what was set, and lives on.
            mlflow.set_tracking_uri(self._began_in["store"])
            experiment = self._began_in["experiment"]
        active = run = mlflow.active_run()
        if active is None or is_one_of_many(context):
            name = self.run_name or type(estimator).__name__
            run = mlflow.start_run(experiment_id=experiment, run_name=name, nested=True)
        state = {"mlflow": mlflow, "run_id": run.info.run_id, "is_own": run is not active, "has_ended": False}
        self._fits[estimator] = state  # the next line may raise, and the run is to be ended
        mlflow.log_params(estimator.get_params(), run_id=state["run_id"])
        return state

    def _epoch_ends(self, estimator: Any, state: dict[str, Any]) -> bool:
        latest = {name: float(values[-1]) for name, values in estimator.history_.items()}
        metrics = {name: value for name, value in latest.items() if name == "loss" or not math.isnan(value)}
        state["mlflow"].log_metrics(metrics, step=estimator.n_iter_, run_id=state["run_id"])
        return False

    def _fit_ends(self, estimator: Any, state: dict[str, Any]) -> None:
        state["has_ended"] = True

    def teardown(self, estimator: Any, context: Any) -> None:
        """End the run that it has started: a hook, called by scikit-learn, after an error, too."""
        state = self._fits.get(estimator)
        if state is not None and state["is_own"]:
            state["mlflow"].end_run("FINISHED" if state["has_ended"] else "FAILED")
        super().teardown(estimator, context)

    def __getstate__(self) -> dict[str, Any]:
        mlflow = require("mlflow", "fastopt.callbacks.MLflowLogger", "mlflow")
        here = {
            "process": os.getpid(),
            "store": mlflow.get_tracking_uri(),
            "experiment": os.environ.get("MLFLOW_EXPERIMENT_ID"),  # where set_experiment writes it
        }
        return super().__getstate__() | {"_began_in": here}
