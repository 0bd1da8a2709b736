"""Optimizers: a class of hyper-parameters each; its ``bind`` returns the stepper that updates arrays."""

from fastopt.optimizers.adam import Adam, AdamW, SparseAdam
from fastopt.optimizers.adam_variants import Adamax, AdEMAMix, NAdam, RAdam
from fastopt.optimizers.asgd import ASGD
from fastopt.optimizers.base import Optimizer, get_optimizer, list_optimizers
from fastopt.optimizers.factored import SM3, Adafactor
from fastopt.optimizers.layerwise import LAMB, LARS, MARS, Fromage, NovoGrad
from fastopt.optimizers.lbfgs import LBFGS
from fastopt.optimizers.matrix import SOAP, Muon, NorMuon, Shampoo
from fastopt.optimizers.noise import NoisySGD
from fastopt.optimizers.online import COCOB, FTRL, MADGRAD
from fastopt.optimizers.parameter_free import DAdaptAdam, DoG, DoWG, Mechanic, Prodigy
from fastopt.optimizers.polyak import MoMo, MoMoAdam, PolyakSGD
from fastopt.optimizers.previous_gradient import Adan, OptimisticAdam, OptimisticGradientDescent
from fastopt.optimizers.rmsprop import Adadelta, Adagrad, RMSprop
from fastopt.optimizers.rprop import Rprop
from fastopt.optimizers.schedule_free import ScheduleFreeAdamW, ScheduleFreeRAdam, ScheduleFreeSGD
from fastopt.optimizers.second_moment import ADOPT, AcProp, AdaBelief, SophiaG, Yogi
from fastopt.optimizers.sgd import SGD, Lion, SignSGD, Signum
from fastopt.optimizers.wrappers import (
    ASAM,
    EMA,
    SAM,
    SWA,
    AdaptiveClip,
    Cautious,
    Centralize,
    Clip,
    GradientNoise,
    Lookahead,
    MaxNorm,
    MultiSteps,
    SkipNonFinite,
)
from fastopt.rules.registry import register
from fastopt.rules.tensorwise import sweep, tensor_rule
from fastopt.stepping.stepper import Stepper

__all__ = [
    "ADOPT",
    "ASAM",
    "ASGD",
    "COCOB",
    "EMA",
    "FTRL",
    "LAMB",
    "LARS",
    "LBFGS",
    "MADGRAD",
    "MARS",
    "SAM",
    "SGD",
    "SM3",
    "SOAP",
    "SWA",
    "AcProp",
    "AdEMAMix",
    "AdaBelief",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Adan",
    "AdaptiveClip",
    "Cautious",
    "Centralize",
    "Clip",
    "DAdaptAdam",
    "DoG",
    "DoWG",
    "Fromage",
    "GradientNoise",
    "Lion",
    "Lookahead",
    "MaxNorm",
    "Mechanic",
    "MoMo",
    "MoMoAdam",
    "MultiSteps",
    "Muon",
    "NAdam",
    "NoisySGD",
    "NorMuon",
    "NovoGrad",
    "OptimisticAdam",
    "OptimisticGradientDescent",
    "Optimizer",
    "PolyakSGD",
    "Prodigy",
    "RAdam",
    "RMSprop",
    "Rprop",
    "ScheduleFreeAdamW",
    "ScheduleFreeRAdam",
    "ScheduleFreeSGD",
    "Shampoo",
    "SignSGD",
    "Signum",
    "SkipNonFinite",
    "SophiaG",
    "SparseAdam",
    "Stepper",
    "Yogi",
    "get_optimizer",
    "list_optimizers",
    "register",
    "sweep",
    "tensor_rule",
]
