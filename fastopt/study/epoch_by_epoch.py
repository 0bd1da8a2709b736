"""What `fit` of a network does and `partial_fit` does not, where a network is trained epoch by epoch."""

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.class_weight import compute_class_weight

from ..neural_network._base import BaseMLP

#: Parameters of fastopt's networks that only early stopping uses.
_OF_EARLY_STOPPING = ("scoring", "validation_fraction")


def for_partial_fit(network: Any, y: npt.ArrayLike) -> Any:
    """Return a network, its parameters such that epochs of `partial_fit` are those of `fit`.

    ``class_weight='balanced'``, which `partial_fit` refuses because it does not know all rows, becomes the
    weights that it stands for. What only early stopping uses is at its default, or each fit would warn.

    Parameters
    ----------
    network : estimator
        Changed in place.
    y : array-like of shape (n_samples,) or (n_samples, n_labels)
        All training targets.
    """
    params, values = network.get_params(deep=False), {}
    if isinstance(params.get("class_weight"), str) and params["class_weight"] == "balanced":
        values["class_weight"] = _balanced(np.asarray(y))
    if isinstance(network, BaseMLP) and not params["early_stopping"]:
        defaults = type(network)().get_params(deep=False)
        values |= {name: defaults[name] for name in _OF_EARLY_STOPPING}
    return network.set_params(**values)


def _balanced(y):
    if y.ndim == 2 and y.shape[1] > 1:
        return [_balanced(column) for column in y.T]
    classes = np.unique(y)
    weights = compute_class_weight("balanced", classes=classes, y=y.ravel())
    return dict(zip(classes.tolist(), weights.tolist(), strict=True))
