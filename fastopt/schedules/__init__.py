"""Schedules: hyper-parameters that change during training, as pure functions of the completed steps.

They are called like functions, so they are written like functions: ``cosine(1e-3, 1000)``. The same word is
the estimators' ``learning_rate`` string, where every parameter has a default.
"""

from fastopt.schedules.base import Hyperparameter, HyperparameterPair, Schedule, schedule
from fastopt.schedules.clock import Clock, Run
from fastopt.schedules.compose import function, product, sequence, warmup
from fastopt.schedules.cycles import cosine_restarts, cyclic, onecycle
from fastopt.schedules.decay import cosine, coslog4, flat_cos, linear, polynomial, rex, wsd
from fastopt.schedules.endless import constant, exponential, inverse_time
from fastopt.schedules.names import get_schedule, list_schedules
from fastopt.schedules.plateau import plateau
from fastopt.schedules.stairs import multistep, piecewise, step

__all__ = [
    "Clock",
    "Hyperparameter",
    "HyperparameterPair",
    "Run",
    "Schedule",
    "constant",
    "cosine",
    "cosine_restarts",
    "coslog4",
    "cyclic",
    "exponential",
    "flat_cos",
    "function",
    "get_schedule",
    "inverse_time",
    "linear",
    "list_schedules",
    "multistep",
    "onecycle",
    "piecewise",
    "plateau",
    "polynomial",
    "product",
    "rex",
    "schedule",
    "sequence",
    "step",
    "warmup",
    "wsd",
]
