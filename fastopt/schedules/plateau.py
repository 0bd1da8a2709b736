"""The schedule that is reduced when the loss stops improving."""

import math
from typing import Any, ClassVar

from fastopt.schedules.base import Schedule, schedule
from fastopt.schedules.clock import Clock

#: `plateau.seen` before the first epoch; see there.
_NOTHING = None, 0, 0, 0


@schedule
class plateau(Schedule):
    """Multiply by ``factor`` when the loss or score has stopped improving.

    As torch's and Keras' ``ReduceLROnPlateau``, and optax' ``contrib.reduce_on_plateau``; see the notes. It
    is told the loss by `observe`, once an epoch: estimators pass the training loss, or with
    ``early_stopping=True`` the validation score; for a bound stepper call ``stepper.observe(loss)``. Between
    two such calls the value is constant.

    Parameters
    ----------
    value : float
        The first value.
    factor : float
        What the value is multiplied by, in (0, 1).
    patience : int
        Epochs without improvement that are still accepted; see `counting`.
    threshold : float
        Smallest change that counts as an improvement.
    threshold_mode : {'rel', 'abs'}
        Whether the threshold is a share of the size of the best value so far, or absolute. Keras'
        ``min_delta`` is absolute.
    cooldown : int
        Epochs after a reduction during which none is bad.
    minimum : float
        Lower bound of the value.
    counting : {'torch', 'keras'}
        Reduce in the bad epoch ``patience + 1``, as torch, or ``patience``, as Keras. The epoch that ends a
        cooldown may be the first bad one for Keras, and never is for torch.
    seen : tuple, optional
        State kept by `observe`: best value, bad epochs in a row, epochs of cooldown left, reductions made.
    unit : str
        Not used: time is counted in calls of `observe`.

    Notes
    -----
    Exactly torch 2.13.0 as long as losses are positive, Keras 3.15.1 with ``threshold_mode='abs',
    counting='keras'``, and optax 0.2.8 with torch's counting and a `patience` smaller by one. What differs:

    * For a relative threshold torch and optax multiply the best value by ``1 - threshold``. Where that is
      negative (an R2 score, a log-likelihood), the value to beat lies on the wrong side of it: an equal
      value, or one that is a little worse, counts as an improvement every epoch. Here the margin is
      ``threshold * abs(best)``.
    * torch leaves out a reduction of less than 1e-8 (its ``eps``); here `minimum` is the only bound.
    * NaN is never an improvement. For Keras a NaN in the first epoch is the best value and stays that.

    Examples
    --------
    >>> from fastopt.schedules import plateau
    >>> schedule = plateau(1.0, 0.5, patience=1)
    >>> for loss in (3.0, 2.0, 2.0, 2.0):
    ...     schedule = schedule.observe(loss)
    >>> schedule(0)
    0.5
    """

    choices: ClassVar[dict[str, tuple[Any, ...]]] = {
        "threshold_mode": ("rel", "abs"),
        "counting": ("torch", "keras"),
    }
    value: float | None = None
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    threshold_mode: str = "rel"
    cooldown: int = 0
    minimum: float = 0.0
    counting: str = "torch"
    seen: tuple[float | None, int, int, int] | None = None

    def check(self) -> None:
        """Check the parameters."""
        super().check()
        if not 0 < self.factor < 1:
            raise ValueError(f"plateau(factor={self.factor!r}): factor must be a number in (0, 1)")
        for name in ("patience", "cooldown", "threshold", "minimum"):
            value = getattr(self, name)
            whole = name in ("patience", "cooldown")
            if value < 0 or (whole and value != int(value)):
                what = "a whole number" if whole else "a number"
                raise ValueError(f"plateau({name}={value!r}): {name} must be {what} >= 0")

    def values(self, clock: Clock) -> float:
        """Return the values at the times of a `Clock`."""
        return self._reduced(0 if self.seen is None else self.seen[3])

    def _reduced(self, times):
        return max(self.value * self.factor**times, min(self.minimum, self.value))

    def observe(self, metric: float, *, greater_is_better: bool = False) -> "plateau":
        """Return the schedule to use after an epoch with this loss or score.

        Parameters
        ----------
        metric : float
            Loss or score of the epoch. NaN is no improvement.
        greater_is_better : bool
            Whether it is a score.

        Returns
        -------
        plateau
            Another schedule; this one is unchanged.
        """
        self.check()
        best, bad, rest, times = self.seen or _NOTHING
        metric = float(metric)
        better = self._is_better(metric, best, greater_is_better)
        if better:
            best = metric
        bad = 0 if better else bad + 1
        # torch counts the epoch that ends a cooldown as part of it, Keras as the first one after.
        if rest > 0:
            rest -= 1
            bad = 0 if rest or self.counting == "torch" else int(not better)
        if self.counting == "torch":
            due = bad > self.patience
        else:
            due = not better and not rest and bad >= self.patience and self._reduced(times) > self.minimum
        now = self._with_seen(best, bad, rest, times)
        return now.reduced() if due else now

    def reduced(self) -> "plateau":
        """Return the schedule with its value reduced now, whether or not patience has run out."""
        best, _, _, times = self.seen or _NOTHING
        return self._with_seen(best, 0, self.cooldown, times + 1)

    def _with_seen(self, *seen):
        return type(self)(**self.get_params(deep=False) | {"seen": seen})

    def _is_better(self, metric, best, greater_is_better):
        if greater_is_better:
            metric, best = -metric, None if best is None else -best
        if best is None or math.isinf(best):  # of which there is no share
            return metric < (math.inf if best is None else best)
        return metric < best - self.threshold * (abs(best) if self.threshold_mode == "rel" else 1.0)
