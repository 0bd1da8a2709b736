"""Plots of studies and fits, as scikit-learn's displays: ``from_...``, ``plot(ax=...)``."""

from .comparison import OptimizerComparisonDisplay, OptimizerDifferenceDisplay, overview
from .confusion import ConfusionDisplay
from .critical_difference import CriticalDifferenceDisplay
from .curves import LossCurveDisplay
from .learning_rate import HeatMapDisplay, LearningRateDisplay
from .range_test import LearningRateRangeDisplay, find_learning_rate
from .style import PALETTE, theme
from .trajectory import SURFACES, TrajectoryDisplay

__all__ = [
    "PALETTE",
    "SURFACES",
    "ConfusionDisplay",
    "CriticalDifferenceDisplay",
    "HeatMapDisplay",
    "LearningRateDisplay",
    "LearningRateRangeDisplay",
    "LossCurveDisplay",
    "OptimizerComparisonDisplay",
    "OptimizerDifferenceDisplay",
    "TrajectoryDisplay",
    "find_learning_rate",
    "overview",
    "theme",
]
