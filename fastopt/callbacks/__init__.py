"""Callbacks for ``set_callbacks`` of the networks, in scikit-learn 1.9's protocol.

They watch a network of fastopt's while ``fit`` trains it, epoch by epoch (for ``'lbfgs'`` iteration by
iteration): alone, at the end of a Pipeline, or inside a search. scikit-learn's own, `sklearn.callback`, work
beside them.
"""

from fastopt.callbacks.checkpoint import Checkpoint
from fastopt.callbacks.cycle_stopping import CycleStopping
from fastopt.callbacks.early_stopping import EarlyStopping
from fastopt.callbacks.learning_rate_log import LearningRateLog
from fastopt.callbacks.mlflow_logger import MLflowLogger
from fastopt.callbacks.optuna_pruning import OptunaPruning

__all__ = ["Checkpoint", "CycleStopping", "EarlyStopping", "LearningRateLog", "MLflowLogger", "OptunaPruning"]
