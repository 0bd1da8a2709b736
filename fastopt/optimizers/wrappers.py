"""Wrappers: an optimizer around another one, and used like it."""

import dataclasses
import math
from numbers import Real
from typing import ClassVar

from fastopt.optimizers import scheduling, wrapped
from fastopt.optimizers.base import Optimizer
from fastopt.optimizers.bound import BoundState
from fastopt.schedules import Run


@dataclasses.dataclass(repr=False)
class Wrapper(Optimizer):
    """Base of the wrappers: an optimizer inside, whose hyper-parameters are those of the groups.

    Wrappers nest. The training engine hands over the gradient of each mini-batch, which takes longer than the
    fused update of an optimizer alone.
    """

    maximize: ClassVar[bool] = False  # that of the optimizer inside counts
    #: Allowed whole numbers: parameter to the least.
    least: ClassVar[dict] = {}
    #: Allowed shares.
    shares: ClassVar[tuple] = ()
    #: Whether it works with optimizers whose steps take a closure, and no gradients.
    takes_closure: ClassVar[bool] = False

    optimizer: Optimizer

    @property
    def core(self):
        """The optimizer inside, however deep."""
        return self.optimizer.core

    def check_own(self):
        """Raise TypeError or ValueError if a parameter of the wrapper is not acceptable."""
        name = type(self).__name__
        if not isinstance(self.optimizer, Optimizer):
            raise TypeError(f"{name} wraps an optimizer such as Adam(), not {type(self.optimizer).__name__}")
        for parameter, least in self.least.items():
            value = getattr(self, parameter)
            if isinstance(value, bool) or not isinstance(value, Real) or value != int(value) or value < least:
                raise ValueError(f"{name}({parameter}={value!r}): must be a whole number >= {least}")
        for parameter in self.shares:
            value = getattr(self, parameter)
            if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= value <= 1:
                raise ValueError(f"{name}({parameter}={value!r}): must be a number in [0, 1]")
        if isinstance(self.optimizer, Wrapper):
            self.optimizer.check_own()
        if self.core.needs == "closure" and not self.takes_closure:
            raise TypeError(f"{name} works on gradients, but {type(self.core).__name__} takes a closure")

    def stepper(self, groups, n_threads, run):
        """Return the stepper for groups of arrays; see `bind`."""
        self.check_own()
        return self.around(self.optimizer, groups, n_threads, run)

    def flat(self, size, n_decay, dtype, run=None):
        """Return the state for one flat vector of parameters; see `Optimizer.flat`."""
        self.check_own()
        core, run = self.core, run or Run()
        core.check(scheduling.at_step(core, core.get_params(deep=False), run, 0))
        return BoundState(self, size, n_decay, dtype, run)


@dataclasses.dataclass(repr=False)
class EMA(Wrapper):
    """Exponential moving average of the weights, which evaluation uses.

    ``average = decay * average + (1 - decay) * weights`` after each step; the first time a copy. As
    ``torch.optim.swa_utils.AveragedModel`` with ``get_ema_multi_avg_fn(decay)``. A bound stepper has
    ``eval()``, which exchanges weights and average, and ``train()`` back; estimators do that themselves, so
    that validation, the best weights and the fitted model are the average.

    Parameters
    ----------
    optimizer : Optimizer
        What makes the steps.
    decay : float
        In [0, 1].
    every : int
        Average after every so many steps.
    first : int
        Steps before the first.

    References
    ----------
    Polyak & Juditsky (1992), "Acceleration of Stochastic Approximation by Averaging".

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import EMA, SGD
    >>> w = np.zeros(1)
    >>> stepper = EMA(SGD(lr=1.0), decay=0.5).bind(w)
    >>> for _ in range(2):
    ...     stepper.step(np.ones(1))
    >>> stepper.eval()
    >>> w
    array([-1.5])
    """

    takes_closure: ClassVar[bool] = True
    least: ClassVar[dict] = {"every": 1, "first": 0}
    shares: ClassVar[tuple] = ("decay",)
    decay: float = 0.999
    every: int = 1
    first: int = 0

    def around(self, optimizer, groups, n_threads, run):
        """Return the averaging stepper."""
        inner = optimizer.stepper(groups, n_threads, run)
        return wrapped.Averaging(inner, self.decay, self.every, self.first)


@dataclasses.dataclass(repr=False)
class SWA(Wrapper):
    """Mean of the weights of many steps, which evaluation uses (Izmailov et al., 2018).

    As ``torch.optim.swa_utils.AveragedModel``. See `EMA` for ``eval()`` and ``train()``.

    Parameters
    ----------
    optimizer : Optimizer
        What makes the steps.
    every : int
        Average after every so many steps.
    first : int
        Steps before the first.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import SGD, SWA
    >>> w = np.zeros(1)
    >>> stepper = SWA(SGD(lr=1.0)).bind(w)
    >>> for _ in range(3):
    ...     stepper.step(np.ones(1))
    >>> stepper.eval()
    >>> w
    array([-2.])
    """

    takes_closure: ClassVar[bool] = True
    least: ClassVar[dict] = {"every": 1, "first": 0}
    every: int = 1
    first: int = 0

    def around(self, optimizer, groups, n_threads, run):
        """Return the averaging stepper."""
        return wrapped.Averaging(optimizer.stepper(groups, n_threads, run), None, self.every, self.first)


@dataclasses.dataclass(repr=False)
class Lookahead(Wrapper):
    """Every `k` steps: ``slow += alpha * (fast - slow); fast = slow`` (Zhang et al., 2019, algorithm 1).

    Parameters
    ----------
    optimizer : Optimizer
        What moves the fast weights.
    k : int
        Steps between two meetings.
    alpha : float
        Share of the way that the slow weights go, in [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import SGD, Lookahead
    >>> w = np.zeros(1)
    >>> stepper = Lookahead(SGD(lr=1.0), k=2).bind(w)
    >>> for _ in range(3):
    ...     stepper.step(np.ones(1))
    >>> w
    array([-2.])
    """

    takes_closure: ClassVar[bool] = True
    least: ClassVar[dict] = {"k": 1}
    shares: ClassVar[tuple] = ("alpha",)
    k: int = 5
    alpha: float = 0.5

    def around(self, optimizer, groups, n_threads, run):
        """Return the stepper with slow weights."""
        return wrapped.LookingAhead(optimizer.stepper(groups, n_threads, run), self.k, self.alpha)


@dataclasses.dataclass(repr=False)
class MultiSteps(Wrapper):
    """Gradient accumulation: every `n`-th step is one with the mean of the last `n` gradients.

    As ``optax.MultiSteps``. Schedules count the steps that are made. A mean that is not complete when
    training ends is dropped.

    Parameters
    ----------
    optimizer : Optimizer
        What makes the steps.
    n : int
        Gradients of a step.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import SGD, MultiSteps
    >>> w = np.zeros(1)
    >>> stepper = MultiSteps(SGD(lr=1.0), n=2).bind(w)
    >>> for gradient in (1.0, 3.0, 5.0):
    ...     stepper.step(np.array([gradient]))
    >>> w
    array([-2.])
    """

    least: ClassVar[dict] = {"n": 1}
    n: int = 2

    def around(self, optimizer, groups, n_threads, run):
        """Return the accumulating stepper."""
        inner = optimizer.stepper(groups, n_threads, wrapped.fewer_steps(run, self.n))
        return wrapped.Accumulating(inner, self.n)


@dataclasses.dataclass(repr=False)
class Clip(Wrapper):
    """Bounds the gradients: each value, then the norm of each array, then the norm of all together.

    As torch's ``clip_grad_value_`` and ``clip_grad_norm_``: norms are L2, and gradients are multiplied by
    ``min(1, bound / (norm + 1e-6))``. The gradients passed in are not written. `norm` alone costs one more
    reading of the gradients; the others a buffer as well.

    Parameters
    ----------
    optimizer : Optimizer
        What makes the steps.
    norm : float, optional
        Bound of the norm of all gradients together, those of all groups.
    value : float, optional
        Bound of each element.
    tensor_norm : float, optional
        Bound of the norm of each array, as Keras' ``clipnorm``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import SGD, Clip
    >>> w = np.zeros(2)
    >>> Clip(SGD(lr=1.0), norm=1.0).bind(w).step(np.array([3.0, 4.0]))
    >>> w.round(6)
    array([-0.6, -0.8])
    """

    norm: float | None = None
    value: float | None = None
    tensor_norm: float | None = None

    def check_own(self):
        """Check the bounds."""
        super().check_own()
        for name in ("norm", "value", "tensor_norm"):
            bound = getattr(self, name)
            if bound is None:
                continue
            if isinstance(bound, bool) or not isinstance(bound, Real) or not 0 < bound < math.inf:
                raise ValueError(f"Clip({name}={bound!r}): {name} must be a finite number > 0, or None")

    def around(self, optimizer, groups, n_threads, run):
        """Return the clipping stepper."""
        inner = optimizer.stepper(groups, n_threads, run)
        return wrapped.Clipping(inner, self.value, self.tensor_norm, self.norm)


@dataclasses.dataclass(repr=False)
class SkipNonFinite(Wrapper):
    """Leaves out steps whose gradients' squares do not add up to a finite number.

    As ``optax.apply_if_finite`` without a limit. A stepper counts them in ``n_skipped``.

    Parameters
    ----------
    optimizer : Optimizer
        What makes the steps.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import SGD, SkipNonFinite
    >>> w = np.zeros(1)
    >>> stepper = SkipNonFinite(SGD(lr=1.0)).bind(w)
    >>> stepper.step(np.array([np.nan]))
    >>> w, stepper.n_skipped
    (array([0.]), 1)
    """

    def around(self, optimizer, groups, n_threads, run):
        """Return the skipping stepper."""
        return wrapped.Skipping(optimizer.stepper(groups, n_threads, run))
