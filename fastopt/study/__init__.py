"""Comparisons of optimizers, learning rates and batch sizes with sound statistics."""

from .contenders import DEFAULT_LEARNING_RATES, DEFAULT_OPTIMIZERS
from .landscape import UnusualRateWarning, recommended_grid
from .optimizer_study import OptimizerStudy
from .range_test import RangeTest, range_test
from .set_comparison import SetComparison, compare_over_sets
from .statistics import Interval, bayesian_signed_rank, holm, mean_interval, paired_difference
from .store import StoreError
from .study_over_sets import StudyOverSets

__all__ = [
    "DEFAULT_LEARNING_RATES",
    "DEFAULT_OPTIMIZERS",
    "Interval",
    "OptimizerStudy",
    "RangeTest",
    "SetComparison",
    "StoreError",
    "StudyOverSets",
    "UnusualRateWarning",
    "bayesian_signed_rank",
    "compare_over_sets",
    "holm",
    "mean_interval",
    "paired_difference",
    "range_test",
    "recommended_grid",
]
