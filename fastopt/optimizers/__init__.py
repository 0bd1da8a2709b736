"""Optimizers: one class of hyper-parameters each, and the bound stepper that updates arrays in place."""

from fastopt.optimizers.adam import Adam, AdamW
from fastopt.optimizers.base import Optimizer, get_optimizer, list_optimizers
from fastopt.optimizers.flat import FlatState
from fastopt.optimizers.sgd import SGD, Lion, SignSGD, Signum
from fastopt.optimizers.stepper import Stepper
from fastopt.rules.registry import register

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "FlatState",
    "Lion",
    "Optimizer",
    "SignSGD",
    "Signum",
    "Stepper",
    "get_optimizer",
    "list_optimizers",
    "register",
]
