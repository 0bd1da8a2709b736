"""A fit as a run of MLflow."""

import os
from typing import Any

from fastopt._extras import require
from fastopt.callbacks.base import NetworkCallback, is_one_of_many
from fastopt.callbacks.mlflow_run import FitRun, present


class MLflowLogger(NetworkCallback):
    """Log a network's parameters and, after each epoch, its history to MLflow.

    Parameters are logged once, when ``fit`` begins; metrics while it runs, with the number of epochs as their
    step: ``loss``, ``val_loss``, ``val_score``, ``lr`` and ``seconds``, without those that there are not.

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
    side, it starts a run of its own, nested in the active one, and ends it; ``FAILED`` after an error,
    ``KILLED`` when the program is to exit. SIGTERM, which otherwise would leave the run ``RUNNING``, raises
    SystemExit(143) during the fit, in the main thread and where the program has no handler of its own. Each
    thread and process has an active run of its own: with ``n_jobs=2`` the runs are not nested. They are in
    the store and the experiment of the process that began.

    Metrics are written in batches: as often as leaves nine tenths of the time to the training. A store that
    does not take them is warned of; the fit goes on, and they are sent again.

    MLflow stores an infinite loss as 1.8e308, and refuses other parameters for a run that has some: one run
    for two different fits is an error of its own.

    See Also
    --------
    fastopt.mlflow.autolog : Logs every fit, the model, too.

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

    def _begin(self, estimator: Any, context: Any) -> FitRun:
        mlflow = require("mlflow", "fastopt.callbacks.MLflowLogger", "mlflow")
        experiment = None
        if self._began_in.get("process", os.getpid()) != os.getpid():
            # A process of joblib's may be older than what was set, and lives on.
            mlflow.set_tracking_uri(self._began_in["store"])
            experiment = self._began_in["experiment"]
        name = self.run_name or type(estimator).__name__
        run = FitRun(mlflow, name, is_own=is_one_of_many(context), experiment_id=experiment)
        self._fits[estimator] = run  # the next line may raise, and the run is to be ended
        run.log_params(estimator.get_params())
        return run

    def _epoch_ends(self, estimator: Any, state: FitRun) -> bool:
        latest = {name: values[-1] for name, values in estimator.history_.items()}
        state.log_metrics(present(latest), step=estimator.n_iter_)
        return False

    def _fit_ends(self, estimator: Any, state: FitRun) -> None:
        state.has_ended = True

    def teardown(self, estimator: Any, context: Any) -> None:
        """End the run that it has started: a hook, called by scikit-learn, after an error, too."""
        run = self._fits.get(estimator)
        super().teardown(estimator, context)
        if run is not None:
            run.end()

    def __getstate__(self) -> dict[str, Any]:
        mlflow = require("mlflow", "fastopt.callbacks.MLflowLogger", "mlflow")
        here = {
            "process": os.getpid(),
            "store": mlflow.get_tracking_uri(),
            "experiment": os.environ.get("MLFLOW_EXPERIMENT_ID"),  # where set_experiment writes it
        }
        return super().__getstate__() | {"_began_in": here}
