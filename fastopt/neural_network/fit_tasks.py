"""scikit-learn's callbacks: a fit is a task, each of its epochs (iterations of L-BFGS, cycles) a subtask."""

import array
import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fastopt.neural_network import solvers
from fastopt.neural_network.validation import Rows

if TYPE_CHECKING:
    from sklearn.callback import CallbackSupportMixin

    from fastopt.neural_network._base import BaseMLP
else:
    try:
        from sklearn.callback import CallbackSupportMixin  # from scikit-learn 1.9 on
    except ImportError:

        class CallbackSupportMixin:
            """Adds nothing where scikit-learn is older than 1.9 and has no callbacks: no `set_callbacks`."""


#: Attributes that scikit-learn's callbacks keep on an estimator, the last three while it is fitted.
CALLBACK_ATTRIBUTES = (
    "_skl_callbacks",
    "_skl_callbacks_to_teardown",
    "_callback_fit_ctx",
    "_parent_callback_ctx",
)

#: What the tasks below that of a fit are called: with mini-batches, and with L-BFGS.
EPOCH_TASKS = ("epoch", "iteration")


class FitTasks:
    """The tasks of one fit, whose callbacks are called as each begins and ends.

    Parameters
    ----------
    estimator : BaseMLP or BaseTabularMLP
        Initialized. Its callbacks are set up.
    X, y, sample_weight
        What was passed to ``fit``, which the callbacks get. Not the validated arrays: in these a data frame
        has lost the names of its features, and predictions from it would warn.
    name : str
        What a task below that of the fit is called.
    n_tasks : int
        The most that there may be of these.
    """

    def __init__(
        self,
        estimator: Any,
        X: Rows,
        y: npt.ArrayLike,
        sample_weight: npt.ArrayLike | None,
        *,
        name: str,
        n_tasks: int,
    ) -> None:
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self._given: dict[str, Any] = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self._estimator = estimator
        self._task: Any = None
        self._name = name
        self._root: Any = estimator._init_callback_context(max_subtasks=n_tasks)
        self._root.call_on_fit_task_begin(**self._given)

    def begin(self) -> None:
        """Begin the task of an epoch or iteration, unless one is open."""
        if self._task is not None:
            return
        self._task = self._root.subcontext(task_name=self._name)
        self._task.call_on_fit_task_begin(**self._given, reconstruction_attributes=self._as_it_is)

    def end(self) -> bool:
        """End the open task; return whether a callback asks training to stop."""
        task, self._task = self._task, None
        return task.call_on_fit_task_end(**self._given, reconstruction_attributes=self._as_it_is)

    def finish(self) -> None:
        """End the task of the fit, and before it one that was interrupted, with nothing to look at."""
        if self._task is not None:
            self._task.call_on_fit_task_end(estimator=self._estimator)
        self._root.call_on_fit_task_end(**self._given, reconstruction_attributes={})

    def _as_it_is(self):
        """Return copies of the attributes that training changes in place: of weights, curves, optimizer."""
        estimator = self._estimator
        params = estimator.get_params(deep=False)
        changing = np.ndarray, array.array, list, dict, solvers.StochasticSolver
        return {
            name: copy.deepcopy(value)
            for name, value in vars(estimator).items()
            if isinstance(value, changing) and name not in params and name not in CALLBACK_ATTRIBUTES
        }


def fit_tasks(
    estimator: "BaseMLP", X: Rows, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None
) -> FitTasks | None:
    """Return the tasks of a fit, or None if the estimator has no callbacks."""
    if "_skl_callbacks" not in vars(estimator):
        return None
    name = EPOCH_TASKS[solvers.is_lbfgs(estimator.solver)]
    # No fit has more epochs or iterations, though it may end before.
    return FitTasks(estimator, X, y, sample_weight, name=name, n_tasks=estimator.max_iter)
