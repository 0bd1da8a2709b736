"""Optimizers: one class of hyper-parameters each, and the bound stepper that updates arrays in place."""

from fastopt.optimizers.adam import Adam, AdamW
from fastopt.optimizers.adam_variants import Adamax, NAdam, RAdam
from fastopt.optimizers.averaging import ASGD, Rprop
from fastopt.optimizers.base import Optimizer, get_optimizer, list_optimizers
from fastopt.optimizers.flat import FlatState
from fastopt.optimizers.rmsprop import Adadelta, Adagrad, RMSprop
from fastopt.optimizers.sgd import SGD, Lion, SignSGD, Signum
from fastopt.optimizers.stepper import Stepper
from fastopt.rules.registry import register

__all__ = [
    "ASGD",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "FlatState",
    "Lion",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "SignSGD",
    "Signum",
    "Stepper",
    "get_optimizer",
    "list_optimizers",
    "register",
]
