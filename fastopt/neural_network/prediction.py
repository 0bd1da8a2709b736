"""Outputs of fitted networks: of one, or of several together."""

from typing import TYPE_CHECKING

import numpy as np

from fastopt.data import BlockSource
from fastopt.engine.cpu.few_rows import MAX_ROWS
from fastopt.neural_network import validation
from fastopt.neural_network.block_input import outputs_by_block
from fastopt.neural_network.kept_trainers import few_rows, kept_trainer

if TYPE_CHECKING:
    from fastopt.neural_network._base import BaseMLP


def outputs(estimator: "BaseMLP", X: "validation.Rows | BlockSource") -> np.ndarray:
    """Return the output activations of ``X``, in ``dtype`` or the wider of its dtype and the network's.

    Parameters
    ----------
    estimator : BaseMLP
        Fitted.
    X : {array-like, sparse matrix} of shape (n_samples, n_features), or BlockSource

    Returns
    -------
    ndarray of shape (n_samples, n_outputs)

    Raises
    ------
    ValueError
        If X does not fit.
    """
    if isinstance(X, BlockSource):
        return np.concatenate(list(outputs_by_block(estimator, X)))
    if "members_" in estimator.__dict__:
        X = validation.prediction_input(estimator, X)
        return estimator._combined([_of_network(one, one._parameters(), X) for one in estimator.members_])
    params = estimator._parameters()  # what the user has put in becomes the network
    return _of_network(estimator, params, validation.prediction_input(estimator, X))


def _of_network(estimator, params, X):
    """Return the output activations of one network for validated rows."""
    dtype, n_features = params.dtype, estimator._layout.layer_sizes[0]
    if X.shape[1] != n_features:  # the user has put in other coefs_ since fit
        raise ValueError(f"X has {X.shape[1]} features, but the network takes {n_features}.")
    if estimator.dtype is not None:
        dtype = np.dtype(estimator.dtype)
    elif X.dtype != dtype:
        dtype = np.dtype(np.float32 if np.result_type(X.dtype, dtype) == np.float32 else np.float64)
    params = params.astype(dtype, copy=False)
    X = validation.as_engine_array(X, dtype)
    network = estimator._network(dtype, validation.check_device(estimator.device, type(estimator).__name__))
    if network["device"] == "cpu" and type(X) is np.ndarray and X.shape[0] <= MAX_ROWS:
        few = few_rows(network)
        if few.can_take(X.shape[0]):
            return few.predict(params, X)
    return kept_trainer("predict", **network).predict(params, X)
