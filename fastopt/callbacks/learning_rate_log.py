"""A log of the learning rate, of every fit of a search."""

from typing import TYPE_CHECKING, Any

from fastopt.callbacks.base import check_network, require_callbacks
from fastopt.neural_network.fit_tasks import EPOCH_TASKS

if TYPE_CHECKING:
    from sklearn.callback import ScoringMonitor
else:
    try:
        from sklearn.callback import ScoringMonitor  # from scikit-learn 1.9 on
    except ImportError:
        ScoringMonitor = object


class LearningRateLog(ScoringMonitor):
    """Keep the learning rate of each epoch, and from whichever process: a `ScoringMonitor` of the rate.

    Of a single network ``history_["lr"]`` has the same numbers; in a search this has those of all fits.
    `get_logs` returns them as `sklearn.callback.ScoringMonitor` does, in a column ``lr``.

    Raises
    ------
    MissingExtraError
        If scikit-learn is older than 1.9.
    ValueError
        In ``fit``, if the solver is ``'lbfgs'``, which has no learning rate.

    Notes
    -----
    The rate is that of an epoch's first step. Rates arrive from processes that joblib starts by its default,
    loky, and from threads; under its backends ``multiprocessing`` and ``dask`` only those of the refit do.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import GridSearchCV
    >>> from fastopt import MLPClassifier
    >>> from fastopt.callbacks import LearningRateLog
    >>> log = LearningRateLog()
    >>> clf = MLPClassifier((8,), max_iter=4, learning_rate="cosine", random_state=0).set_callbacks(log)
    >>> _ = GridSearchCV(clf, {"learning_rate_init": [0.1, 0.01]}, cv=2).fit(*load_iris(return_X_y=True))
    >>> rows = log.get_logs().data_as_pandas
    >>> len(rows)  # 2 rates, 2 splits, and the refit, of 4 epochs each
    20
    >>> float(rows.lr.max())
    0.1
    """

    def __init__(self) -> None:
        require_callbacks(type(self).__name__)
        super().__init__(scoring={"lr": _last_rate})

    def setup(self, estimator: Any, context: Any) -> None:
        """Begin to watch a fit: a hook, called by scikit-learn.

        Raises
        ------
        TypeError
            If ``estimator`` is no network of fastopt's.
        ValueError
            If its solver has no learning rate.
        """
        check_network(self, estimator)
        if not hasattr(estimator, "partial_fit"):
            raise ValueError(f"LearningRateLog: solver={estimator.solver!r} has no learning rate")
        super().setup(estimator, context)

    def on_fit_task_end(
        self,
        estimator: Any,
        context: Any,
        *,
        X: Any = None,
        y: Any = None,
        fitted_estimator: Any = None,
        metadata: Any = None,
    ) -> None:
        """Keep the learning rate of an epoch: a hook, called by scikit-learn."""
        # Without metadata: a rate has no use for sample weights.
        if context.task_name in EPOCH_TASKS:
            super().on_fit_task_end(estimator, context, X=X, y=y, fitted_estimator=fitted_estimator)


def _last_rate(estimator, X, y):
    return float(estimator.history_["lr"][-1])
