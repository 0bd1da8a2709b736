"""One training run, recorded epoch by epoch."""

from __future__ import annotations

import contextlib
import math
import threading
import time
import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning, UndefinedMetricWarning
from sklearn.metrics import check_scoring, confusion_matrix

from .epoch_by_epoch import for_partial_fit


@dataclass(frozen=True)
class Budget:
    """The limits of a fit, the first reached ends it; samples and seconds are checked after each epoch."""

    max_epochs: int | None = None
    max_samples: int | None = None
    max_seconds: float | None = None

    def is_spent(self, epochs, samples, seconds):
        """Whether a fit that has used this much has to end."""
        limits = (self.max_epochs, self.max_samples, self.max_seconds)
        return any(
            limit is not None and used >= limit
            for limit, used in zip(limits, (epochs, samples, seconds), strict=True)
        )

    def n_epochs(self, n_rows):
        """Return after how many epochs of so many rows it is spent; None if seconds count."""
        if self.max_seconds is not None:
            return None
        by_rows = math.inf if self.max_samples is None else math.ceil(self.max_samples / n_rows)
        return int(min(math.inf if self.max_epochs is None else self.max_epochs, by_rows))

    def scaled(self, factor):
        """Return this budget multiplied by `factor`, of at least one epoch."""
        return Budget(
            max_epochs=None if self.max_epochs is None else max(1, math.ceil(self.max_epochs * factor)),
            max_samples=None if self.max_samples is None else max(1, math.ceil(self.max_samples * factor)),
            max_seconds=None if self.max_seconds is None else self.max_seconds * factor,
        )

    def __str__(self):
        """Return a description for the report, such as ``30 epochs``."""
        units = (
            (self.max_epochs, "epochs"),
            (self.max_samples, "samples"),
            (self.max_seconds, "seconds of training"),
        )
        return " or ".join(f"{limit:,g} {unit}" for limit, unit in units if limit is not None)


def train_and_record(
    contender, config, seed, splits, budget, scoring, *, is_tuning=False, metrics=(), on_epoch=None
):
    """Train one network and return its record, as a dict for JSON.

    Parameters
    ----------
    contender, config, seed, splits, budget
        What to train, on which rows, for how long.
    scoring : str or callable
        scikit-learn scorer, evaluated on the validation rows after every epoch, outside the clock.
    is_tuning : bool
        Whether to keep away from fixed validation rows, and to score the last epoch only.
    metrics : sequence of str or callable
        Further scorers, evaluated once, after the last epoch.
    on_epoch : callable, optional
        Called with the number of epochs done.

    Returns
    -------
    record : dict
        Keys `loss`, `score`, `seconds` (lists over epochs), `metrics` (dict), `confusion` (nested list or
        None), `n_train`, `n_val`, `diverged`, `error`.
    """
    split = splits.get(seed, is_tuning=is_tuning)
    network = network_of_fit(contender, config, seed, split)
    first = splits.first_call
    scorer = check_scoring(network, scoring=scoring)
    loss, score, seconds, error = [], [], [], None
    samples = elapsed = 0
    while error is None and not budget.is_spent(len(score), samples, elapsed):
        error, spent = one_epoch(network, split, first)
        first = {}
        elapsed += spent
        if error is None:
            samples += len(split.y_train)
            loss.append(float(getattr(network, "loss_", math.nan)))
            # Tuning looks at the end only, and scoring a small network costs as much as training it.
            score.append(math.nan if is_tuning else score_of(scorer, network, split))
            seconds.append(spent)
            if on_epoch is not None:
                on_epoch(len(score))
    if is_tuning and score and error is None:
        score[-1] = score_of(scorer, network, split)
    curves = {"loss": loss, "score": score, "seconds": seconds}
    return record_of(network, split, splits.classes, curves, metrics=metrics, error=error)


def network_of_fit(contender, config, seed, split):
    """Return the network of a fit, whose epochs are calls of `partial_fit`."""
    return for_partial_fit(contender.network_for(_clipped(config, len(split.y_train)), seed), split.y_train)


def record_of(network, split, classes, curves, *, metrics, error=None):
    """Return the record of a fit that has ended, from its network and its curves."""
    score = curves["score"]
    if error is None and not math.isfinite(score[-1]):
        error = f"the score became {score[-1]}"
    return {
        **curves,
        "metrics": {} if error else _final_metrics(network, split, metrics),
        "confusion": None if error else _confusion(network, split, classes),
        "n_train": len(split.y_train),
        "n_val": len(split.y_val),
        "diverged": error is not None,
        "error": error,
    }


class _QuietDivergence:
    """Silences the warnings of a diverging run in the block, as its record notes the divergence once.

    Filters belong to the process: the first of several threads sets them, and the last restores what there
    was before. `warnings.catch_warnings` in each would restore them in the wrong order.
    """

    def __init__(self):
        self._lock, self._n_inside, self._caught = threading.Lock(), 0, contextlib.ExitStack()

    def __enter__(self):
        with self._lock:
            if not self._n_inside:
                self._caught.enter_context(warnings.catch_warnings())
                warnings.simplefilter("ignore", ConvergenceWarning)
                warnings.simplefilter("ignore", UndefinedMetricWarning)
            self._n_inside += 1

    def __exit__(self, *_):
        with self._lock:
            self._n_inside -= 1
            if not self._n_inside:
                self._caught.close()


quiet_divergence = _QuietDivergence()


def warm_up(contender, config, splits):
    """Train on a few rows and discard the result, so that compilation is not timed."""
    split = splits.get(0)
    n = min(len(split.y_train), 2 * (config.batch_size or 32))
    network = for_partial_fit(contender.network_for(_clipped(config, n), 0), split.y_train)
    try:
        network.partial_fit(
            split.X_train[:n], split.y_train[:n], **_weighted(split.weight_train, n), **splits.first_call
        )
        network.predict(split.X_val[:n])
    except ValueError as problem:  # the fit itself meets and records a divergence
        if not _is_divergence(problem):
            raise


def _clipped(config, n_train):
    if config.batch_size is None or config.batch_size <= n_train:
        return config
    return type(config)(config.label, config.lr, n_train)


def one_epoch(network, split, first):
    """Train one epoch; return ``(None or why the run diverged, seconds)``."""
    start = time.perf_counter()
    try:
        # A diverging run says so in its record; NumPy's overflow warnings would repeat it once a step.
        with np.errstate(all="ignore"):
            network.partial_fit(split.X_train, split.y_train, **_weighted(split.weight_train), **first)
    except ValueError as problem:
        if not _is_divergence(problem):
            raise
        return str(problem).splitlines()[0], time.perf_counter() - start
    spent = time.perf_counter() - start
    if not math.isfinite(getattr(network, "loss_", 0.0)):
        return f"the loss became {network.loss_}", spent
    return None, spent


def _weighted(weights, n_rows=None):
    """Return the keyword argument of weighted rows; none where there are no weights."""
    return {} if weights is None else {"sample_weight": weights[:n_rows]}


def _is_divergence(problem):
    return "non-finite" in str(problem)


def score_of(scorer, network, split):
    """Return the score; NaN where finite weights give predictions that are not."""
    try:
        return float(scorer(network, split.X_val, split.y_val, **_weighted(split.weight_val)))
    except ValueError as problem:
        if "Input contains" not in str(problem):
            raise
        return math.nan


def _final_metrics(network, split, metrics):
    return {
        scorer_name(metric): score_of(check_scoring(network, scoring=metric), network, split)
        for metric in metrics
    }


def scorer_name(scoring):
    """Return the name of a scorer: the string itself, or what a callable is called."""
    return scoring if isinstance(scoring, str) else getattr(scoring, "__name__", repr(scoring))


def _confusion(network, split, classes):
    if classes is None or split.y_val.ndim > 1:
        return None
    return confusion_matrix(split.y_val, network.predict(split.X_val), labels=classes).tolist()
