"""L-BFGS."""

from typing import Any, ClassVar

import numpy.typing as npt

from fastopt.optimizers.base import Optimizer, optimizer
from fastopt.rules.ranges import AT_LEAST_0, COUNT, Range
from fastopt.schedules import Hyperparameter, Run
from fastopt.stepping import scheduling
from fastopt.stepping.cuda_stepper import refuse_on_gpu
from fastopt.stepping.layerwise_state import LayerwiseState
from fastopt.stepping.lbfgs import LBFGSStepper
from fastopt.stepping.rate_factors import RateFactors, check_rates
from fastopt.stepping.stepper import Stepper


@optimizer("lbfgs")
class LBFGS(Optimizer):
    """The limited-memory BFGS method, for smooth losses of all data at once.

    As ``torch.optim.LBFGS``, defaults included: each step makes up to `max_iter` iterations and evaluates
    loss and gradient by ``step(closure=f)``, where ``f()`` returns ``(loss, gradients)`` at the present
    weights. One group, one dtype. The estimators' ``solver='lbfgs'`` is scikit-learn's full-batch solver;
    ``solver=LBFGS()`` takes a step on each batch.

    Parameters
    ----------
    lr : float or Schedule
        Step along the direction, the first with a line search.
    max_iter : int
        Iterations in a step.
    max_eval : int or None
        Evaluations in a step; None is 1.25 times `max_iter`.
    tolerance_grad : float
        Ends the step when no component of the gradient is larger.
    tolerance_change : float
        Ends the step when weights or loss change by less.
    history_size : int
        Pairs of changes that are kept.
    line_search_fn : {None, 'strong_wolfe'}
        None takes steps of `lr`.
    maximize : bool
        Ascend instead of descend.

    Notes
    -----
    Executed against ``torch.optim.LBFGS`` in the tests (``tests/optimizers/test_lbfgs.py``).

    References
    ----------
    Liu & Nocedal (1989), "On the limited memory BFGS method for large scale optimization".

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import LBFGS
    >>> w = np.array([-1.5, 2.0])
    >>> def rosenbrock():
    ...     x, y = w
    ...     gradient = np.array([2 * (x - 1) - 400 * x * (y - x**2), 200 * (y - x**2)])
    ...     return (1 - x) ** 2 + 100 * (y - x**2) ** 2, gradient
    >>> stepper = LBFGS(max_iter=50, line_search_fn="strong_wolfe").bind(w)
    >>> first_loss = stepper.step(closure=rosenbrock)
    >>> w.round(3)
    array([1., 1.])
    """

    needs: ClassVar[str | None] = "closure"
    ranges: ClassVar[dict[str, Range]] = {
        "max_iter": COUNT,
        "max_eval": COUNT,
        "history_size": COUNT,
        "tolerance_grad": AT_LEAST_0,
        "tolerance_change": AT_LEAST_0,
    }
    lr: Hyperparameter = 1.0
    max_iter: int = 20
    max_eval: int | None = None
    tolerance_grad: float = 1e-7
    tolerance_change: float = 1e-9
    history_size: int = 100
    line_search_fn: str | None = None

    def stepper(self, groups: list[dict[str, Any]], n_threads: int | None, run: Run) -> Stepper:
        """Return the stepper for arrays in one group and of one dtype; see `Optimizer.bind`."""
        refuse_on_gpu(self, groups)
        return LBFGSStepper(self, groups, n_threads, run)

    def flat(
        self,
        size: int,
        n_decay: int,
        dtype: npt.DTypeLike,
        run: Run | None = None,
        rate_factors: RateFactors | None = None,
    ) -> LayerwiseState:
        """Return the state for the training engine; see `Optimizer.flat`."""
        check_rates(self, rate_factors)
        run = run or Run()
        self.check(scheduling.at_step(self, self.get_params(deep=False), run, 0))
        return LayerwiseState(self, size, n_decay, dtype, run, n_groups=1)
