"""Base class of the schedules: parameters, evaluation and plot."""

import copy
import dataclasses
import math
from numbers import Real
from typing import Any, ClassVar, TypeAlias, TypeVar, overload

import numpy as np
import numpy.typing as npt

from fastopt._extras import require
from fastopt._parameters import Parameters, dataclass_transform
from fastopt.schedules.clock import UNITS, Clock, Run

#: Every schedule by name.
SCHEDULES: dict[str, type["Schedule"]] = {}

#: Parameters that are lengths of time.
LENGTHS = ("length", "every", "up", "down")

_C = TypeVar("_C")


@dataclass_transform(eq_default=True)
def schedule(cls: type[_C]) -> type[_C]:
    """Turn a class with annotated fields into a schedule, registered by its class name; a decorator.

    The class derives from `Schedule` and has ``values(self, clock)``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.schedules import Schedule, schedule
    >>> @schedule
    ... class halving(Schedule):
    ...     value: float = 1.0
    ...     def values(self, clock):
    ...         return self.value * 0.5 ** clock.ticks(self.unit)
    >>> halving(8.0)(np.arange(4))
    array([8., 4., 2., 1.])
    """
    cls = dataclasses.dataclass(repr=False)(cls)
    SCHEDULES[cls.__name__] = cls
    return cls


@dataclasses.dataclass(repr=False)
class Schedule(Parameters):
    """A hyper-parameter that changes during training: a pure function of the number of completed steps.

    Schedules hold parameters and nothing else, so they compare, clone, pickle and print as values. Give one
    wherever an optimizer takes a number: ``Adam(lr=cosine(1e-3, 500), weight_decay=linear(0.1, 500))``.
    To change one that is in use, assign a new one.

    Parameters
    ----------
    unit : {'step', 'epoch', 'run'}
        What lengths and boundaries count: steps (mini-batches); epochs, and then the value changes between
        epochs only; or shares of the whole run, from 0 to 1.
    """

    _family: ClassVar[str] = "schedule"
    #: Allowed strings by parameter.
    choices: ClassVar[dict[str, tuple[Any, ...]]] = {}

    _: dataclasses.KW_ONLY
    unit: str = "step"

    @overload
    def __call__(
        self, step: int, *, n_steps: int | None = None, steps_per_epoch: int | None = None
    ) -> float: ...
    @overload
    def __call__(
        self, step: npt.ArrayLike, *, n_steps: int | None = None, steps_per_epoch: int | None = None
    ) -> np.ndarray: ...
    def __call__(self, step, *, n_steps=None, steps_per_epoch=None):
        """Return the value after ``step`` completed steps.

        Parameters
        ----------
        step : int or array of int
            Completed steps, from 0.
        n_steps : int, optional
            Steps of the run, for schedules whose length is the whole run.
        steps_per_epoch : int, optional
            For schedules that count epochs.

        Returns
        -------
        float or ndarray of float64
            In the shape of ``step``.

        Raises
        ------
        TypeError, ValueError
            If a parameter or a step is invalid, or ``n_steps`` or ``steps_per_epoch`` is needed and missing.
        """
        steps = np.asarray(step)
        if steps.dtype.kind not in "iu" or (steps.size and steps.min() < 0):
            raise ValueError(f"step must be whole numbers >= 0, not {step!r}")
        clock = Run(n_steps, steps_per_epoch).clock(steps.ravel().astype(np.int64))
        values = self.at(clock)
        return values.reshape(steps.shape) if steps.ndim else float(values[0])

    def at(self, clock: Clock) -> np.ndarray:
        """Return the values at the times of a `Clock`, checked, as a float64 array."""
        self.check()
        return np.broadcast_to(np.asarray(self.values(clock), np.float64), clock.steps.shape)

    def values(self, clock: Clock) -> npt.ArrayLike:
        """Return the values at the times of a `Clock`; a schedule of one's own overrides this."""
        raise NotImplementedError(f"{type(self).__name__} does not define values(self, clock)")

    def check(self) -> None:
        """Raise TypeError or ValueError if a parameter is invalid."""
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        for name, value in self.get_params(deep=False).items():
            what = f"{type(self).__name__}({name}={value!r}): {name}"
            allowed = UNITS if name == "unit" else self.choices.get(name)
            if allowed is not None:
                if value not in allowed:
                    raise ValueError(f"{what} must be {' or '.join(map(repr, allowed))}")
            elif name == "value" and value is None:
                raise ValueError(
                    f"{what} must be a number; only an estimator's learning_rate fills it, with the "
                    "learning_rate_init or the lr that it is given beside"
                )
            elif name in ("value", *LENGTHS) or isinstance(defaults[name], float):
                self._check_number(what, name, value, defaults[name])

    @staticmethod
    def _check_number(what, name, value, default):
        if value is None and default is None:
            return
        length = name in LENGTHS
        allowed = "a finite number > 0" if length else "a finite number"
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
            raise TypeError(f"{what} must be {allowed}, not {type(value).__name__}")
        if not math.isfinite(value) or (length and value <= 0):
            raise ValueError(f"{what} must be {allowed}")

    def parts(self) -> "list[Schedule]":
        """Return the schedules that this one is made of, if any."""
        values = self.get_params(deep=False).values()
        flat = [v for value in values for v in (value if isinstance(value, (list, tuple)) else (value,))]
        return [v for v in flat if isinstance(v, Schedule)]

    def _with_parts(self, change):
        """Return the schedule with ``change`` applied to each of its parts; itself if it has none."""

        def changed(value):
            if isinstance(value, Schedule):
                return change(value)
            return type(value)(map(changed, value)) if isinstance(value, (list, tuple)) else value

        if not self.parts():
            return self
        params = {name: changed(value) for name, value in self.get_params(deep=False).items()}
        return type(self)(**params)

    def based_on(self, value: float) -> "Schedule":
        """Return the schedule with ``value`` wherever a part has ``value=None``."""
        new = self._with_parts(lambda part: part.based_on(value))
        if getattr(self, "value", value) is None:
            new = copy.copy(new)
            new.value = value
        return new

    def observe(self, metric: float, *, greater_is_better: bool = False) -> "Schedule":
        """Return the schedule to use after an epoch with this loss or score; only `plateau` changes."""
        return self._with_parts(lambda part: part.observe(metric, greater_is_better=greater_is_better))

    def reduced(self) -> "Schedule":
        """Return the schedule with its value reduced now; itself unless it has a `plateau`."""
        return self._with_parts(lambda part: part.reduced())

    def __mul__(self, other: "Schedule | float") -> "Schedule":
        if isinstance(other, (Schedule, Real)):
            return SCHEDULES["product"]((self, other))
        return NotImplemented

    __rmul__ = __mul__

    def plot(
        self, ax: Any = None, *, n_steps: int | None = None, steps_per_epoch: int = 1, **kwargs: Any
    ) -> Any:
        """Plot the value against the step.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; new axes by default.
        n_steps : int, optional
            How far; by default a little past the schedule's end.
        steps_per_epoch : int
            For schedules that count epochs; with 1 the axis counts epochs as well.
        **kwargs
            Passed to matplotlib's ``plot``.

        Returns
        -------
        matplotlib Axes
        """
        if ax is None:
            _, ax = require("matplotlib.pyplot", "a plot").subplots()
        if n_steps is None:
            scale = steps_per_epoch if self.unit == "epoch" else 1
            n_steps = math.ceil(1.25 * scale * self._extent()) or 1000
        steps = np.unique(np.linspace(0, n_steps, 2001).astype(np.int64))
        ax.plot(steps, self(steps, n_steps=n_steps, steps_per_epoch=steps_per_epoch), **kwargs)
        ax.set(xlabel="Completed steps", ylabel="Value")
        return ax

    def _extent(self):
        """Return roughly how long the schedule changes, in its unit; 0 if that depends on the run."""
        if self.unit == "run":
            return 0
        own = [getattr(self, name, None) or 0 for name in LENGTHS]
        return max([*own, *getattr(self, "boundaries", ())]) + sum(part._extent() for part in self.parts())


#: Type of a hyper-parameter that may change during training: a number, or a schedule that gives one.
Hyperparameter: TypeAlias = float | Schedule

#: Type of a pair of such hyper-parameters, as ``betas``.
HyperparameterPair: TypeAlias = tuple[Hyperparameter, Hyperparameter]
