"""The pairing: one split of the data per seed, the same for every contender."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

import joblib
import numpy as np
from sklearn.base import clone
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing, check_consistent_length


@dataclass(frozen=True)
class Split:
    """Training and validation rows of one seed, already preprocessed."""

    X_train: object
    y_train: np.ndarray
    X_val: object
    y_val: np.ndarray


class Splits:
    """Training and validation rows for each seed.

    Parameters
    ----------
    preprocessor : Pipeline or None
        Fitted on the training rows of each split alone, so that nothing of the validation rows leaks.
    X, y : array-like or DataFrame
        The data. Not copied, not written.
    X_val, y_val : optional
        Fixed validation rows; then every seed trains on all of `X`.
    validation_fraction : float
        Share of the rows that each seed's split holds out.
    is_classification : bool
        Whether `y` holds classes: splits are then stratified where each class has two members.
    n_kept : int
        How many splits are held in memory at once.
    """

    def __init__(
        self, preprocessor, X, y, X_val=None, y_val=None, *, validation_fraction, is_classification, n_kept=2
    ):
        check_consistent_length(X, y)
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val belong together: give both, or neither.")
        check_consistent_length(X_val, y_val)
        self.preprocessor, self.validation_fraction = preprocessor, validation_fraction
        self.X, self.y, self.X_val, self.y_val = X, np.asarray(y), X_val, y_val
        self.classes, self._stratify = None, False
        if is_classification and self.y.ndim == 2 and self.y.shape[1] > 1:
            self.classes = np.arange(self.y.shape[1])  # an indicator matrix: each column is a class
        elif is_classification:
            self.classes, counts = np.unique(self.y, return_counts=True)
            self._stratify = self.y.ndim == 1 and counts.min() > 1
        self._n_kept = n_kept
        self._forget()

    def _forget(self):
        self._kept, self._lock = OrderedDict(), threading.Lock()

    def __getstate__(self):
        return {k: v for k, v in self.__dict__.items() if k not in ("_kept", "_lock")}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._forget()

    @property
    def is_fixed(self):
        """Whether all seeds share one split (then they vary initial weights and batch order only)."""
        return self.X_val is not None

    @property
    def val_to_train(self):
        """Rows of validation per row of training: how much the splits of two seeds overlap (statistics)."""
        if self.is_fixed:
            return 0.0
        return self.validation_fraction / (1 - self.validation_fraction)

    @property
    def first_call(self):
        """Keyword arguments of the first `partial_fit`: a batch may lack a class, so all are named."""
        return {} if self.classes is None else {"classes": self.classes}

    def fingerprint(self):
        """Return text that is equal exactly when data, preprocessing and splitting are."""
        from .plan import describe

        prepared = describe(self.preprocessor) if self.preprocessor is not None else ""
        return joblib.hash(
            (self.X, self.y, self.X_val, self.y_val, None if self.is_fixed else self.validation_fraction)
        ) + joblib.hash(prepared)

    def get(self, seed, *, is_tuning=False):
        """Return the `Split` of `seed`. The last few are kept: contenders ask for the same one in turn.

        Tuning never sees fixed validation rows: it holds out its own part of `X`.
        """
        seed = None if self.is_fixed and not is_tuning else seed
        with self._lock:
            if seed not in self._kept:
                self._kept[seed] = self._make(seed)
                while len(self._kept) > self._n_kept:
                    self._kept.popitem(last=False)
            return self._kept[seed]

    def _make(self, seed):
        if seed is None:
            X_train, y_train, X_val, y_val = self.X, self.y, self.X_val, np.asarray(self.y_val)
        else:
            train, val = train_test_split(
                np.arange(len(self.y)),
                test_size=self.validation_fraction,
                random_state=seed,
                stratify=self.y if self._stratify else None,
            )
            X_train, X_val = _safe_indexing(self.X, train), _safe_indexing(self.X, val)
            y_train, y_val = self.y[train], self.y[val]
        if self.preprocessor is not None:
            prepare = clone(self.preprocessor)
            X_train, X_val = prepare.fit_transform(X_train, y_train), prepare.transform(X_val)
        return Split(X_train, y_train, X_val, y_val)


def preprocessor_of(estimator):
    """Return the steps before the network, or ``None``."""
    if isinstance(estimator, Pipeline) and len(estimator.steps) > 1:
        return estimator[:-1]
    return None
