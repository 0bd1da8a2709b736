"""Comparisons of optimizers, learning rates and batch sizes with sound statistics."""

from .contenders import DEFAULT_LEARNING_RATES, DEFAULT_OPTIMIZERS
from .optimizer_study import OptimizerStudy
from .range_test import RangeTest, range_test
from .statistics import Interval, holm, mean_interval, paired_difference
from .store import StoreError

__all__ = [
    "DEFAULT_LEARNING_RATES",
    "DEFAULT_OPTIMIZERS",
    "Interval",
    "OptimizerStudy",
    "RangeTest",
    "StoreError",
    "holm",
    "mean_interval",
    "paired_difference",
    "range_test",
]
