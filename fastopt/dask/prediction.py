"""Predictions for Dask collections, computed where and when their partitions are."""

from typing import Any

import numpy as np


def lazily(network: Any, method: str, X: Any) -> Any:
    """Return the predictions for a Dask Array or DataFrame as a Dask Array that is computed later.

    Parameters
    ----------
    network : MLPClassifier or MLPRegressor
        Fitted; becomes part of the graph.
    method : str
        Of the network, takes rows.
    X : Dask Array or DataFrame
    """
    probe = getattr(network, method)(np.zeros((2, network.n_features_in_), network._params.dtype))
    empty = probe[:0]
    if hasattr(X, "columns"):
        return X.map_partitions(_of_block, network, method, empty, meta=empty)
    if X.numblocks[1] > 1:
        raise ValueError(f"X has its columns in {X.numblocks[1]} chunks: call X.rechunk({{1: -1}}) before")
    shape = (
        {"drop_axis": 1} if probe.ndim == 1 else {"chunks": (X.chunks[0], *((n,) for n in probe.shape[1:]))}
    )
    if probe.ndim > 2:
        shape["new_axis"] = list(range(2, probe.ndim))
    return X.map_blocks(_of_block, network, method, empty, dtype=probe.dtype, meta=empty, **shape)


def _of_block(rows, network, method, empty):
    return getattr(network, method)(rows) if len(rows) else empty
