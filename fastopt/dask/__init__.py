"""One network trained on the data of many machines: estimators for Dask collections.

`DaskMLPClassifier` and `DaskMLPRegressor` need the extra ``dask``; `simulate`, which plans, does not.
"""

from fastopt.dask.estimators import DaskMLPClassifier, DaskMLPRegressor
from fastopt.dask.simulation import Simulation, simulate

__all__ = ["DaskMLPClassifier", "DaskMLPRegressor", "Simulation", "simulate"]
