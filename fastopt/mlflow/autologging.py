"""Every fit logged to MLflow, without a change to the code that fits."""

import functools
import importlib
import importlib.util
import inspect
import sys
import warnings
from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
from scipy import sparse

from fastopt._extras import require
from fastopt.callbacks import MLflowLogger
from fastopt.callbacks.base import NetworkCallback
from fastopt.callbacks.mlflow_run import FitRun, present
from fastopt.neural_network._base import BaseMLP
from fastopt.neural_network.caller_warnings import warn
from fastopt.tabular.estimator import BaseTabularMLP

from .flavor import FLAVOR_NAME, log_model, signature_of

#: Numbers that a fit may leave, logged when it has ended.
_RESULTS = "n_iter_", "best_validation_score_", "oof_score_", "validation_score_", "temperature_"
#: scikit-learn's modules that fit an estimator once, as a part of another one. The fits that its other
#: modules make are some of many: splits of a cross-validation, members of an ensemble.
_ONE_FIT = ("sklearn.base", "sklearn.callback", "sklearn.compose._target", "sklearn.model_selection._search")
_ONE_FIT += ("sklearn.model_selection._search_successive_halving", "sklearn.pipeline", "sklearn.utils")
#: Rows of an example of the inputs.
_N_ROWS = 5


def autolog(
    *,
    log_input_examples: bool = False,
    log_model_signatures: bool = True,
    log_models: bool = True,
    log_datasets: bool = True,
    disable: bool = False,
    exclusive: bool = False,
    silent: bool = False,
    registered_model_name: str | None = None,
    extra_tags: dict[str, str] | None = None,
) -> None:
    """Log every fit of fastopt's estimators to MLflow from now on.

    A fit logs to the active run, or to one that it starts and ends: parameters (``solver__lr``, too), the
    curves of ``history_`` while it trains, ``n_iter``, ``oof_score`` and the like, the class as tags, a
    description of the data, and the model with its signature.

    Parameters
    ----------
    log_input_examples : bool, default=False
        Whether models have the first rows of the data as an example.
    log_model_signatures : bool, default=True
        Whether models say which columns they take.
    log_models : bool, default=True
        Whether models are logged, by `log_model`.
    log_datasets : bool, default=True
        Whether shape, types and a digest of arrays and pandas' DataFrames are logged.
    disable : bool, default=False
        Stop logging.
    exclusive : bool, default=False
        Log nothing to runs that you have started yourself.
    silent : bool, default=False
        Without MLflow's messages and warnings.
    registered_model_name : str, optional
        Register each model as a version of this one.
    extra_tags : dict, optional
        Further tags for runs that are started.

    Raises
    ------
    MissingExtraError
        If MLflow is not installed (extra ``mlflow``).

    See Also
    --------
    fastopt.callbacks.MLflowLogger : Logs the fits of one network, those of a search each to a run of its own.

    Notes
    -----
    ``mlflow.sklearn.autolog`` knows the classes of scikit-learn only. Call both where a network is a part of
    a Pipeline or a search: that one logs the outer estimator, this one adds the curves of the network, of a
    search those of the refit. Without it parameters and curves of the network inside are logged, no model.
    The fits that scikit-learn makes for a cross-validation or an ensemble are not logged, and those of other
    processes never are.

    Nothing that goes wrong in logging ends a fit: MLflow prints a warning.

    Examples
    --------
    >>> import fastopt.mlflow
    >>> fastopt.mlflow.autolog()  # doctest: +SKIP
    >>> clf.fit(X, y)  # a run with parameters, curves and model  # doctest: +SKIP
    """
    _integration()(
        log_input_examples=log_input_examples,
        log_model_signatures=log_model_signatures,
        log_models=log_models,
        log_datasets=log_datasets,
        disable=disable,
        exclusive=exclusive,
        silent=silent,
        registered_model_name=registered_model_name,
        extra_tags=extra_tags,
    )


@functools.cache
def _integration():
    """Return what begins logging, registered with MLflow, which keeps its arguments and heeds some."""
    utils = require("mlflow.utils.autologging_utils", "fastopt.mlflow.autolog", "mlflow")

    def begin(disable=False, silent=False, **config):
        for cls in _classes():
            utils.safe_patch(FLAVOR_NAME, cls, "fit", functools.partial(_logged_fit, config))

    return utils.autologging_integration(FLAVOR_NAME)(begin)


def _classes():
    """Return the classes with a method ``fit`` of their own."""
    yield from (BaseMLP, BaseTabularMLP)
    if importlib.util.find_spec("distributed") is not None:
        on_dask = importlib.import_module("fastopt.dask")
        yield from (on_dask.DaskMLPClassifier, on_dask.DaskMLPRegressor)


def _logged_fit(config, original, estimator, *args, **kwargs):
    """Fit an estimator, and log that unless it is one fit of many: the patch of ``fit``."""
    mlflow = require("mlflow", "fastopt.mlflow.autolog", "mlflow")
    utils = importlib.import_module("mlflow.utils.autologging_utils")
    is_alone, is_one_of_many = _caller()
    is_logged_outside = not is_alone and not utils.autologging_is_disabled("sklearn")
    if is_one_of_many or (is_logged_outside and mlflow.active_run() is None):
        return original(estimator, *args, **kwargs)
    tags = {"mlflow.autologging": FLAVOR_NAME, **(config["extra_tags"] or {})}
    run = FitRun(mlflow, type(estimator).__name__, is_own=False, tags=tags)
    try:
        given = inspect.signature(original).bind(estimator, *args, **kwargs).arguments
        if not is_logged_outside:
            _log_before(mlflow, run, estimator, given, log_datasets=config["log_datasets"] and is_alone)
        fitted = _with_curves(original, run, estimator, args, kwargs)
        run.has_ended = True
        is_kept = is_alone and config["log_models"]
        model_id = _log_model(mlflow, estimator, given["X"], config) if is_kept else None
        _log_results(mlflow, run, estimator, model_id)
    finally:
        run.end()
    return fitted


def _caller():
    """Return whether no code of scikit-learn's has called a fit, and whether it is one of many of that."""
    frame, is_alone = sys._getframe(1), True
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith("sklearn."):
            is_alone = False
            if not any(module == one or module.startswith(f"{one}.") for one in _ONE_FIT):
                return False, True
        frame = frame.f_back
    return is_alone, False


def _log_before(mlflow, run, estimator, given, *, log_datasets):
    kind = type(estimator)
    mlflow.set_tags(
        {"estimator_name": kind.__name__, "estimator_class": f"{kind.__module__}.{kind.__name__}"}
    )
    run.log_params(estimator.get_params())
    if log_datasets:
        dataset = _dataset(mlflow, given["X"], given.get("y"))
        if dataset is not None:
            mlflow.log_input(dataset, context="train")


def _dataset(mlflow, X, y):
    """Return MLflow's description of arrays and DataFrames, None of other data."""
    if isinstance(X, np.ndarray):
        return mlflow.data.from_numpy(X, targets=y if isinstance(y, np.ndarray) else None)
    return mlflow.data.from_pandas(X) if _is_pandas(X) else None


def _is_pandas(X):
    return hasattr(X, "iloc") and not hasattr(X, "dask")


class _Curves(NetworkCallback):
    """Log each epoch to a run."""

    def __init__(self, run: FitRun) -> None:
        super().__init__()
        self._run = run

    def _epoch_ends(self, estimator: Any, state: None) -> bool:
        latest = {name: values[-1] for name, values in estimator.history_.items()}
        self._run.log_metrics(present(latest), step=estimator.n_iter_)
        return False


def _with_curves(original, run, estimator, args, kwargs):
    """Fit with the curves logged: while it trains, or where nothing can be called then, after that."""
    callbacks = vars(estimator).get("_skl_callbacks")
    if any(isinstance(callback, MLflowLogger) for callback in callbacks or ()):
        return original(estimator, *args, **kwargs)  # it logs them itself
    can_watch = isinstance(estimator, BaseMLP) and hasattr(estimator, "set_callbacks")
    if not can_watch or hasattr(estimator, "to_local") or estimator.n_members > 1:
        fitted = original(estimator, *args, **kwargs)
        _log_histories(run, estimator)
        return fitted
    estimator.set_callbacks(_Curves(run), *(callbacks or ()))  # before one that may raise
    try:
        return original(estimator, *args, **kwargs)
    finally:
        if callbacks is None:
            del estimator._skl_callbacks
        else:
            estimator._skl_callbacks = callbacks


def _log_histories(run, estimator):
    members = getattr(estimator, "members_", ())
    if isinstance(estimator, BaseMLP) and members:
        for number, member in enumerate(members):
            run.log_history(member.history_, prefix=f"member_{number}/")
    else:
        run.log_history(estimator.history_)


def _log_results(mlflow, run, estimator, model_id):
    found = {name.rstrip("_"): vars(estimator).get(name) for name in _RESULTS}
    numbers = {name: float(value) for name, value in found.items() if isinstance(value, Real)}
    mlflow.log_metrics(numbers, run_id=run.run_id, model_id=model_id)


def _log_model(mlflow, estimator, X, config):
    """Log the model and return its id, or warn that no file can hold it."""
    try:
        rows = _first_rows(estimator, X)
        signature = None
        if config["log_model_signatures"]:
            signature = signature_of(mlflow, rows, estimator.predict(rows))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*An input example was not provided")
            log = functools.partial(
                log_model,
                estimator,
                name="model",
                signature=False if signature is None else signature,
                registered_model_name=config["registered_model_name"],
                params=estimator.get_params(),
            )
            return _with_example(mlflow, log, rows if config["log_input_examples"] else None).model_id
    except Exception as error:  # of whatever kind: the network is trained, and the rest is to be logged
        warn(f"the model is not logged to MLflow: {error}")
        return None


def _with_example(mlflow, log, rows):
    """Log a model with rows as its example, or without where MLflow cannot write them as JSON."""
    try:
        return log(input_example=rows)
    except mlflow.MlflowException as error:
        if rows is None:
            raise
        warn(f"the model is logged to MLflow without an example of its inputs: {error}")
        return log(input_example=None)


def _first_rows(estimator: Any, X: Any) -> Any:
    """Return some rows of the data as MLflow describes them; zeros for rows on a cluster or on disk."""
    if _is_pandas(X):
        return X.iloc[:_N_ROWS]
    if hasattr(X, "to_pandas"):  # polars, pyarrow
        return X[:_N_ROWS].to_pandas()
    if isinstance(X, np.ndarray):
        return X[:_N_ROWS]
    if sparse.issparse(X):
        return sparse.csr_matrix(X.tocsr()[:_N_ROWS])  # MLflow takes no other kind
    if isinstance(X, list):
        return np.asarray(X[:_N_ROWS])
    zeros = np.zeros((_N_ROWS, estimator.n_features_in_))
    names: Mapping[str, Any] | Any = getattr(estimator, "feature_names_in_", None)
    return (
        zeros if names is None else require("pandas", "a signature", "tables").DataFrame(zeros, columns=names)
    )
