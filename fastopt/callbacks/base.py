"""What the callbacks share: scikit-learn's hooks around three of one's own, and a state for each fit."""

from typing import Any

import sklearn

from fastopt._extras import MissingExtraError
from fastopt.neural_network import MLPClassifier, MLPRegressor
from fastopt.neural_network.fit_tasks import EPOCH_TASKS


def require_callbacks(name: str) -> None:
    """Raise MissingExtraError if the installed scikit-learn calls no callbacks."""
    if not hasattr(MLPClassifier, "set_callbacks"):
        raise MissingExtraError(
            f"fastopt.callbacks.{name} needs the set_callbacks of scikit-learn 1.9, and this is scikit-learn "
            f'{sklearn.__version__}. Run: pip install "scikit-learn>=1.9"',
            name="sklearn.callback",
        )


def check_network(callback: object, estimator: object) -> None:
    """Raise TypeError unless a callback was set on a network."""
    if not isinstance(estimator, MLPClassifier | MLPRegressor):
        raise TypeError(
            f"{type(callback).__name__} watches an MLPClassifier or MLPRegressor of fastopt, not a "
            f"{type(estimator).__name__}. Set it on the network inside: pipeline[-1].set_callbacks(...) or "
            "search.estimator.set_callbacks(...)."
        )


def is_one_of_many(context: Any) -> bool:
    """Whether a fit is one of those that a search makes side by side; its last fit, the refit, is not."""
    while context.parent is not None:
        context = context.parent
        if not context.sequential_subtasks:
            return True
    return False


class NetworkCallback:
    """Base of callbacks that look at a network after each epoch and keep a state for each fit.

    scikit-learn shares one callback among the clones of a search, whose fits may run side by side in threads.
    """

    def __init__(self) -> None:
        require_callbacks(type(self).__name__)
        self._fits: dict[Any, Any] = {}

    def _begin(self, estimator: Any, context: Any) -> Any:
        """Return the state of a fit that begins."""

    def _epoch_ends(self, estimator: Any, state: Any) -> bool:
        """Look at the network after an epoch; return whether training is to stop."""
        raise NotImplementedError

    def _fit_ends(self, estimator: Any, state: Any) -> None:
        """Look at the network at the end of a fit without error."""

    def setup(self, estimator: Any, context: Any) -> None:
        """Begin to watch a fit: a hook, called by scikit-learn.

        Raises
        ------
        TypeError
            If ``estimator`` is no network of fastopt's.
        """
        check_network(self, estimator)
        self._fits[estimator] = self._begin(estimator, context)

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        """Do nothing: a hook, called by scikit-learn."""

    def on_fit_task_end(self, estimator: Any, context: Any, *, X: Any = None) -> bool:
        """Look at the network after an epoch and at the end of the fit: a hook, called by scikit-learn."""
        state = self._fits[estimator]
        if context.task_name not in EPOCH_TASKS:
            self._fit_ends(estimator, state)
        elif X is not None:  # else Ctrl-C came before its end
            return self._epoch_ends(estimator, state)
        return False

    def teardown(self, estimator: Any, context: Any) -> None:
        """Forget a fit: a hook, called by scikit-learn, after an error, too."""
        self._fits.pop(estimator, None)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_fits": {}}  # a copy, in another process or not, watches fits of its own
