"""Splits of the data into training and validation rows: one per seed, the same for every contender."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from numbers import Integral

import joblib
import numpy as np
from sklearn.model_selection import (
    GroupKFold,
    GroupShuffleSplit,
    PredefinedSplit,
    ShuffleSplit,
    StratifiedShuffleSplit,
    check_cv,
)
from sklearn.utils import _safe_indexing, check_consistent_length

from .contenders import describe
from .preprocessing import changes_rows, prepared


@dataclass(frozen=True)
class Split:
    """Preprocessed training and validation rows of one seed, with their weights if given."""

    X_train: object
    y_train: np.ndarray
    X_val: object
    y_val: np.ndarray
    weight_train: np.ndarray | None = None
    weight_val: np.ndarray | None = None


class Splits:
    """Training and validation rows for each seed.

    Parameters
    ----------
    pipeline : Pipeline or None
        Its steps before the network are fitted on the training rows of each split alone, so that nothing of
        the validation rows leaks.
    X, y : array-like or DataFrame
        The data. Not copied, not written.
    X_val, y_val : optional
        Fixed validation rows; then every seed trains on all of `X`.
    cv : None, int, splitter of scikit-learn, or iterable of (train, test) rows
        Seed `first_seed` + i takes its split number i. ``None``: a random split for each seed.
    groups : array-like of shape (n_rows,), optional
        Rows of one group are never on both sides.
    sample_weight, sample_weight_val : array-like, optional
        Weights of the rows of `X` and `X_val`.
    validation_fraction : float
        Share of the rows (of the groups, where given) that a random split holds out.
    is_classification : bool
        Whether `y` holds classes: random splits are then stratified where each class has two members.
    first_seed : int
    n_kept : int
        How many splits are held in memory at once.

    Attributes
    ----------
    n_nested : int or None
        Random splits within whose training rows tuning splits again, if it does; see `rows`.
    """

    n_nested = None

    def __init__(
        self,
        pipeline,
        X,
        y,
        X_val=None,
        y_val=None,
        *,
        validation_fraction,
        is_classification,
        cv=None,
        groups=None,
        sample_weight=None,
        sample_weight_val=None,
        first_seed=0,
        n_kept=2,
    ):
        check_consistent_length(X, y, groups, sample_weight)
        if not len(np.asarray(y)):
            raise ValueError("X and y have no rows.")
        _check_validation_rows(X_val, y_val, sample_weight_val, cv)
        if sample_weight is not None and changes_rows(pipeline):
            raise ValueError(
                "sample_weight is given and a step of the pipeline resamples the rows, which leaves them no "
                "weights: leave out one of the two."
            )
        self.pipeline, self.validation_fraction, self.first_seed = pipeline, validation_fraction, first_seed
        self.X, self.y, self.X_val, self.y_val = X, np.asarray(y), X_val, y_val
        self.groups = None if groups is None else np.asarray(groups)
        self.weights = tuple(None if w is None else np.asarray(w) for w in (sample_weight, sample_weight_val))
        self.classes, self._by_class = None, False
        if is_classification and self.y.ndim == 2 and self.y.shape[1] > 1:
            self.classes = np.arange(self.y.shape[1])  # an indicator matrix: each column is a class
        elif is_classification:
            self.classes = np.unique(self.y)
            self._by_class = self.y.ndim == 1
        self.cv, self._folds = cv, None
        if cv is not None:
            self._folds = self._folds_of(np.arange(len(self.y)), cv)
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
        """Whether all seeds share one split, so that only initial weights and batch order vary."""
        return self.X_val is not None

    @property
    def n_folds(self):
        """Number of splits of `cv`; None without it."""
        return None if self._folds is None else len(self._folds)

    @property
    def is_weighted(self):
        """Whether rows have weights."""
        return any(weight is not None for weight in self.weights)

    @property
    def val_to_train(self):
        """Ratio of validation rows to training rows, which the corrected variance needs."""
        if self.is_fixed:
            return 0.0
        if self._folds is None and self.groups is None:
            return self.validation_fraction / (1 - self.validation_fraction)
        splits = self._folds or [self._held_out(self._all_rows, self.first_seed + i) for i in range(10)]
        return float(sum(len(val) for _, val in splits) / sum(len(train) for train, _ in splits))

    @property
    def _all_rows(self):
        return np.arange(len(self.y))

    @property
    def first_call(self):
        """Keyword arguments of the first `partial_fit`: all classes, as a batch may lack one."""
        return {} if self.classes is None else {"classes": self.classes}

    def fingerprint(self):
        """Return text that is equal exactly if data, preprocessing and splitting are equal."""
        rule = None if self.is_fixed else self.validation_fraction
        data = joblib.hash((self.X, self.y, self.X_val, self.y_val, rule))
        more = [self._folds, self.groups, *self.weights, None if self._folds else self.n_nested]
        steps = describe(self.pipeline[:-1]) if self.pipeline is not None else ""
        return data + joblib.hash(steps) + (joblib.hash(more) if any(m is not None for m in more) else "")

    def get(self, seed, *, is_tuning=False):
        """Return the `Split` of `seed`. The last few are kept: contenders ask for the same one in turn.

        Tuning never sees the validation rows of its seed's comparison split: it holds out a part of the
        training rows.
        """
        key = (None if self.is_fixed and not is_tuning else seed, is_tuning)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = self._make(seed, is_tuning)
                while len(self._kept) > self._n_kept:
                    self._kept.popitem(last=False)
            return self._kept[key]

    def rows(self, seed, *, is_tuning=False):
        """Return the indices of the rows of `X` for training and for validation.

        With `cv`, or `n_nested`, the seeds go round the splits of the comparison, and tuning splits the
        training rows of that one, by its next inner split in each round.
        """
        if self.n_outer is None:
            return self._held_out(self._all_rows, seed)
        n_rounds, number = divmod(seed - self.first_seed, self.n_outer)
        train, val = self._outer(number)
        if not is_tuning:
            return train, val
        if self._folds is None or self._is_row_by_row:
            return self._held_out(train, seed)
        inner = self._folds_of(train, self.cv)
        return inner[(number + n_rounds) % len(inner)]

    @property
    def n_outer(self):
        """Number of splits of the comparison, where tuning splits within their training rows."""
        return self.n_folds or self.n_nested

    @property
    def _is_row_by_row(self):
        """Whether `cv` are given splits, which say nothing about part of the rows."""
        is_splitter = isinstance(self.cv, Integral) or hasattr(self.cv, "split")
        return isinstance(self.cv, PredefinedSplit) or not is_splitter

    def _outer(self, number):
        if self._folds is None:
            return self._held_out(self._all_rows, self.first_seed + number)
        return self._folds[number]

    def _make(self, seed, is_tuning):
        if self.is_fixed and not is_tuning:
            y_val, seed = np.asarray(self.y_val), self.first_seed
            parts = self.X, self.y, self.X_val, y_val, *self.weights
        else:
            train, val = self.rows(seed, is_tuning=is_tuning)
            weight = self.weights[0]
            parts = [_safe_indexing(self.X, train), self.y[train], _safe_indexing(self.X, val), self.y[val]]
            parts += [None, None] if weight is None else [weight[train], weight[val]]
        X_train, y_train, X_val, y_val, *weights = parts
        if self.pipeline is not None:
            X_train, y_train, X_val = prepared(self.pipeline, X_train, y_train, X_val, seed)
        return Split(X_train, y_train, X_val, y_val, *weights)

    def _held_out(self, rows, seed):
        """Split `rows` into two parts at random, by `seed`."""
        options = {"n_splits": 1, "test_size": self.validation_fraction, "random_state": seed}
        y, groups = self.y[rows], None
        if self.groups is not None:
            splitter, groups = GroupShuffleSplit(**options), self.groups[rows]
        elif self._by_class and np.unique(y, return_counts=True)[1].min() > 1:
            splitter = StratifiedShuffleSplit(**options)
        else:
            splitter = ShuffleSplit(**options)
        train, val = next(splitter.split(np.zeros(len(rows)), y, groups))
        return rows[train], rows[val]

    def _folds_of(self, rows, cv):
        """Return the (train, validation) rows of every split that `cv` makes of `rows`."""
        y, groups = self.y[rows], None if self.groups is None else self.groups[rows]
        if isinstance(cv, Integral) and groups is not None:
            cv = GroupKFold(int(cv))
        splitter = check_cv(cv, y, classifier=self.classes is not None)
        given_groups = {} if groups is None else {"groups": groups}
        folds = list(splitter.split(_safe_indexing(self.X, rows), y, **given_groups))
        for train, val in folds:
            both = [] if groups is None else np.intersect1d(groups[train], groups[val])
            if len(both):
                raise ValueError(
                    f"cv={self.cv!r} puts rows of group {both[0]!r} on both sides of a split. Take a "
                    "splitter that keeps groups together, such as GroupKFold, or a number of folds."
                )
        return [(rows[train], rows[val]) for train, val in folds]


def _check_validation_rows(X_val, y_val, sample_weight_val, cv):
    if (X_val is None) != (y_val is None):
        raise ValueError("X_val and y_val belong together: give both, or neither.")
    if X_val is None and sample_weight_val is not None:
        raise ValueError("sample_weight_val is for X_val, which is not given.")
    if X_val is not None and cv is not None:
        raise ValueError("cv splits the rows, and X_val fixes those that validate: give one of the two.")
    check_consistent_length(X_val, y_val, sample_weight_val)
