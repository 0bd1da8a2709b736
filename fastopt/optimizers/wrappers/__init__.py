"""Wrappers: optimizers around another optimizer, used in its place."""

from fastopt.optimizers.wrappers.accumulation import MultiSteps
from fastopt.optimizers.wrappers.averaging import EMA, SWA, Lookahead
from fastopt.optimizers.wrappers.base import Wrapper
from fastopt.optimizers.wrappers.cautious import Cautious
from fastopt.optimizers.wrappers.clipping import AdaptiveClip, Clip
from fastopt.optimizers.wrappers.constraints import MaxNorm
from fastopt.optimizers.wrappers.gradients import Centralize, GradientNoise
from fastopt.optimizers.wrappers.sam import ASAM, SAM
from fastopt.optimizers.wrappers.skipping import SkipNonFinite

__all__ = [
    "ASAM",
    "EMA",
    "SAM",
    "SWA",
    "AdaptiveClip",
    "Cautious",
    "Centralize",
    "Clip",
    "GradientNoise",
    "Lookahead",
    "MaxNorm",
    "MultiSteps",
    "SkipNonFinite",
    "Wrapper",
]
