"""Wrappers that change the gradients, and their steppers."""

import dataclasses
import math
from numbers import Real
from typing import ClassVar

import numpy as np

from fastopt.optimizers import checks
from fastopt.optimizers.arrays import order_of
from fastopt.optimizers.requests import Stage
from fastopt.optimizers.wrapped import WrappedStepper
from fastopt.optimizers.wrappers import Wrapper
from fastopt.rules import wrapping
from fastopt.rules.randomness import keys


@dataclasses.dataclass(repr=False)
class Clip(Wrapper):
    """Bounds the gradients: each value, then the norm of each array, then the norm of all together.

    As torch's ``clip_grad_value_`` and ``clip_grad_norm_``: norms are L2, and gradients are multiplied by
    ``min(1, bound / (norm + 1e-6))``. The gradients passed in are not written. The norms cost one more
    reading of the gradients, in which several wrappers share.

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
        return Clipping(inner, self.value, self.tensor_norm, self.norm)


class Clipping(WrappedStepper):
    """Bounds the gradients of each step."""

    kind = "clipping"

    def __init__(self, inner, value, tensor_norm, norm):
        super().__init__(inner)
        self._value, self._tensor_norm, self._norm = value, tensor_norm, norm
        self._clamp = Stage(wrapping.clamp)

    def ask(self, call):
        """Bound values, then each array's norm, then that of all."""
        core = self.core
        core.evaluate(call, self.kind)
        if self._value is not None:
            core.add(call, self._clamp, bound=self._value)
        if self._tensor_norm is not None:
            call.multiply(_factor(core.norms(call), self._tensor_norm))
        if self._norm is not None:
            call.multiply(float(_factor(np.linalg.norm(core.norms(call)), self._norm)))


def _factor(norm, bound):
    # torch's, which spares a comparison with 0; a norm that is not finite makes the gradients NaN or 0.
    return np.minimum(1.0, bound / (norm + 1e-6))


def check_layout(wrapper):
    """Raise ValueError unless a wrapper's layout is one of those that there are."""
    allowed = checks.CHOICES["layout"]
    if wrapper.layout not in allowed:
        name = type(wrapper).__name__
        raise ValueError(
            f"{name}(layout={wrapper.layout!r}): layout must be {' or '.join(map(repr, allowed))}"
        )


def units_of(params, layout):
    """Return how the units of arrays with at least two axes lie in memory, by the parameters' numbers.

    Rows and columns of the memory, and whether a unit is one of the rows; else it is a column.
    """
    found = {}
    for p in params:
        shape = p.array.shape
        if len(shape) < 2:
            continue
        n_units = shape[-1] if layout == "io" else shape[0]
        per_unit = math.prod(shape[:-1]) if layout == "io" else math.prod(shape[1:])
        # The last axis runs fastest in C order, the first one in Fortran order.
        is_row = (layout == "io") == (order_of(p.array) == "F")
        found[p.index] = (n_units, per_unit, True) if is_row else (per_unit, n_units, False)
    return found


def _of_units(core, units):
    """Return arrays of one element for each unit, for the parameters that have units."""
    n_units = {i: rows if is_row else columns for i, (rows, columns, is_row) in units.items()}
    return {i: np.zeros(n, core.params[i].array.dtype) for i, n in n_units.items()}


@dataclasses.dataclass(repr=False)
class AdaptiveClip(Wrapper):
    """Bounds the norm of each unit's gradient by a share of the norm of its weights (Brock et al., 2021).

    Where ``norm(g) >= clipping * max(norm(w), eps)``, ``g *= clipping * max(norm(w), eps) / max(norm(g),
    1e-6)``, with the norms of all weights that lead to one output. Arrays with at most one axis longer than 1
    (biases, scalars) are one unit, as in the authors' code and in optax. The authors spare the last layer;
    bind it apart to do so. The norms cost one more reading of gradients and weights.

    Parameters
    ----------
    optimizer : Optimizer
        What makes the steps.
    clipping : float
        The share.
    eps : float
        The least norm of weights that counts, so that those which are 0 can move.
    layout : {'io', 'oi'}
        Whether the outputs are the last axis, as here, in Keras and in the authors' code, or the first, as in
        torch.

    References
    ----------
    Brock et al. (2021), "High-Performance Large-Scale Image Recognition Without Normalization", equation 3.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import SGD, AdaptiveClip
    >>> w = np.array([[3.0, 1.0], [4.0, 0.0]])
    >>> AdaptiveClip(SGD(lr=1.0), clipping=0.1).bind(w).step(np.array([[5.0, 0.0], [0.0, 0.01]]))
    >>> w
    array([[ 2.5 ,  1.  ],
           [ 4.  , -0.01]])
    """

    limits: ClassVar[dict] = {"clipping": checks.ABOVE_0, "eps": checks.ABOVE_0}
    clipping: float = 0.01
    eps: float = 1e-3
    layout: str = "io"

    def check_own(self):
        """Check the layout, too."""
        super().check_own()
        check_layout(self)

    def around(self, optimizer, groups, n_threads, run):
        """Return the clipping stepper."""
        inner = optimizer.stepper(groups, n_threads, run)
        return ClippingByUnit(inner, self.clipping, self.eps, self.layout)


class ClippingByUnit(WrappedStepper):
    """Bounds the norm of each unit's gradient."""

    kind = "adaptive clipping"

    def __init__(self, inner, clipping, eps, layout):
        super().__init__(inner)
        self._clipping, self._eps = clipping, eps
        params = self.core.params
        units = units_of((p for p in params if sum(n > 1 for n in p.array.shape) > 1), layout)
        whole = [p.index for p in params if p.index not in units]
        self._factors = _of_units(self.core, units)
        self._unit_squares = Stage(wrapping.unit_squares, {}, [*units], units)
        self._whole_squares = Stage(wrapping.both_squares, {}, whole)
        self._scale = Stage(wrapping.scale_units, {"f": self._factors}, [*units], units)

    def ask(self, call):
        """Bound each unit's gradient."""
        core = self.core
        core.evaluate(call, self.kind)
        whole = self._factor(*np.sqrt(core.reduce(call, self._whole_squares)))
        by_unit = core.reduce(call, self._unit_squares)
        for i, sums in by_unit.items():
            self._factors[i][:] = self._factor(*np.sqrt(sums))
        if self._whole_squares.members:
            factors = np.ones(len(core.params))
            factors[self._whole_squares.members] = whole[self._whole_squares.members]
            call.multiply(factors)
        if by_unit:
            core.add(call, self._scale)

    def _factor(self, weights, gradients):
        bound = self._clipping * np.maximum(weights, self._eps)
        return np.where(gradients < bound, 1.0, bound / np.maximum(gradients, 1e-6))


@dataclasses.dataclass(repr=False)
class Centralize(Wrapper):
    """Takes from each gradient the mean over its unit (gradient centralisation, Yong et al., 2020).

    The mean of the gradients of all weights that lead to one output, for arrays with at least two axes;
    others pass. It costs one more reading of the gradients.

    Parameters
    ----------
    optimizer : Optimizer
        What makes the steps.
    layout : {'io', 'oi'}
        Whether the outputs are the last axis, as here and in Keras, or the first, as in torch and in
        ``optax.centralize``.

    References
    ----------
    Yong et al. (2020), "Gradient Centralization: A New Optimization Technique for Deep Neural Networks",
    equation 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import SGD, Centralize
    >>> w = np.zeros((2, 2))
    >>> Centralize(SGD(lr=1.0)).bind(w).step(np.array([[1.0, 5.0], [3.0, 5.0]]))
    >>> w
    array([[ 1.,  0.],
           [-1.,  0.]])
    """

    layout: str = "io"

    def check_own(self):
        """Check the layout, too."""
        super().check_own()
        check_layout(self)

    def around(self, optimizer, groups, n_threads, run):
        """Return the stepper that centres gradients."""
        return Centering(optimizer.stepper(groups, n_threads, run), self.layout)


class Centering(WrappedStepper):
    """Takes from each gradient the mean over its unit."""

    kind = "centralisation"

    def __init__(self, inner, layout):
        super().__init__(inner)
        units = units_of(self.core.params, layout)
        self._means = _of_units(self.core, units)
        self._sum = Stage(wrapping.column_sum, {}, [*units], units)
        self._center = Stage(wrapping.center, {"m": self._means}, [*units], units)
        self._per_unit = {i: columns if is_row else rows for i, (rows, columns, is_row) in units.items()}

    def ask(self, call):
        """Centre the gradients."""
        self.core.evaluate(call, self.kind)
        sums = self.core.reduce(call, self._sum)
        for i, (of_units,) in sums.items():
            self._means[i][:] = of_units / max(self._per_unit[i], 1)
        if sums:
            self.core.add(call, self._center)


@dataclasses.dataclass(repr=False)
class GradientNoise(Wrapper):
    """Adds Gaussian noise of variance ``eta / (1 + t) ** gamma`` to the gradients of step ``t``, from 0.

    The noise depends on `seed`, the step, the number of the parameter and the element's place in memory
    alone, so it is the same for any number of threads, and in float32 and float64 up to rounding.

    Parameters
    ----------
    optimizer : Optimizer
        What makes the steps.
    eta : float
        Variance at the first step. The paper takes 0.01, 0.3 and 1.
    gamma : float
        Power of the step by which it decays.
    seed : int
        Starts the noise, below 2 ** 32.

    References
    ----------
    Neelakantan et al. (2015), "Adding Gradient Noise Improves Learning for Very Deep Networks", equation 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import SGD, GradientNoise
    >>> a, b = np.zeros(1000), np.zeros(1000)
    >>> GradientNoise(SGD(lr=1.0), eta=0.25).bind(a).step([np.ones(1000)])
    >>> GradientNoise(SGD(lr=1.0), eta=0.25).bind(b).step([np.ones(1000)])
    >>> bool((a == b).all()), bool(abs(a.mean() + 1.0) < 0.05), bool(abs(a.std() - 0.5) < 0.05)
    (True, True, True)
    """

    limits: ClassVar[dict] = {
        "eta": checks.AT_LEAST_0,
        "gamma": checks.AT_LEAST_0,
        "seed": (lambda x: checks.WHOLE[0](x) and x < 2**32, "a whole number in [0, 2 ** 32)"),
    }
    eta: float = 0.01
    gamma: float = 0.55
    seed: int = 0

    def around(self, optimizer, groups, n_threads, run):
        """Return the stepper that adds noise."""
        return AddingNoise(optimizer.stepper(groups, n_threads, run), self.eta, self.gamma, self.seed)


class AddingNoise(WrappedStepper):
    """Adds noise to the gradients of each step."""

    kind, counts = "noise", ("count",)

    def __init__(self, inner, eta, gamma, seed):
        super().__init__(inner)
        self._eta, self._gamma, self._seed = eta, gamma, seed
        self.count, self._add = 0, Stage(wrapping.add_noise)

    def take(self, call):
        """Add noise, then step."""
        self.core.evaluate(call, self.kind)
        key = keys(self._seed, self.count, np.arange(len(self.core.params)))
        deviation = math.sqrt(self._eta / (1 + self.count) ** self._gamma)
        # A float32 holds 16 bits of the key, not 32.
        self.core.add(call, self._add, high=key >> 16, low=key & 0xFFFF, deviation=deviation)
        found = self.pass_on(call)
        self.count += 1
        return found
