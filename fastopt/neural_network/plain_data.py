"""Data that need none of scikit-learn's conversions and messages.

scikit-learn's validation takes longer than predicting or training on a few rows, and a tenth of a small fit.
What is recognised here is used as that validation would return it. For everything else the functions return
None, and the generic path decides, converts, warns and raises.
"""

import math
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
_INDEX = np.dtype(np.int32)
# Elements up to which the plain test is quicker than setting up the sum.
_SHORT = 5000


def all_finite(X: np.ndarray) -> bool:
    """Whether every element is finite; may be False also for finite numbers whose sum overflows."""
    if X.size <= _SHORT:
        return np.count_nonzero(np.isfinite(X)) == X.size
    with np.errstate(over="ignore"):
        return math.isfinite(np.add.reduce(X, axis=None))


def rows(estimator: Any, X: Any, *, reset: bool, to_float: bool) -> Any:
    """Return ``X`` as scikit-learn's ``validate_data`` does, or None if that might convert or say more.

    Parameters
    ----------
    estimator : estimator
        Its ``n_features_in_`` and ``feature_names_in_`` are compared with ``X``.
    X : object
        Known are finite float arrays, lists of lists of numbers, CSR matrices, and DataFrames of the columns
        that the estimator was fitted with.
    reset : bool
        Whether nothing is compared, because ``X`` will set the features.
    to_float : bool
        Whether integers become float64.

    Returns
    -------
    ndarray or CSR matrix of shape (n_samples, n_features), or None
    """
    known = estimator.__dict__
    names = None if reset else known.get("feature_names_in_")
    if type(X) is np.ndarray or type(X) in (scipy.sparse.csr_array, scipy.sparse.csr_matrix):
        plain = X
    elif type(X) is list:
        plain = _from_lists(X)
    else:
        plain, names = _from_frame(X, names), None
    if plain is None or names is not None or plain.ndim != 2 or 0 in plain.shape:
        return None
    dtype = known.get("dtype")
    if dtype is not None and plain.dtype.kind in "iuf":
        with np.errstate(over="ignore"):  # what is then infinite is refused in words
            plain = plain.astype(dtype, copy=False)
    elif to_float and type(plain) is np.ndarray and plain.dtype.kind in "iu":
        plain = plain.astype(np.float64)
    if not (reset or plain.shape[1] == known.get("n_features_in_")) or not _has_plain_elements(plain):
        return None
    return plain


def set_features(estimator: Any, X: Any) -> None:
    """Let later data have as many features as the plain rows ``X``, which have no names."""
    estimator.n_features_in_ = X.shape[1]
    estimator.__dict__.pop("feature_names_in_", None)


def _has_plain_elements(X):
    if type(X) is np.ndarray:
        return X.dtype.kind in "iu" or (X.dtype in _FLOATS and all_finite(X))
    return X.dtype in _FLOATS and X.indices.dtype == X.indptr.dtype == _INDEX and all_finite(X.data)


def _from_lists(X):
    """Return an array of float64 or integers made from a list of lists of numbers, or None."""
    if not X or type(X[0]) not in (list, tuple):
        return None
    try:
        array = np.array(X)
    except ValueError:  # rows of different lengths
        return None
    return array if array.dtype.kind in "if" else None


def _from_frame(X, names):
    """Return the numbers of a DataFrame with columns of these names, or numbered ones if None; or None."""
    if type(X) is not _pandas("DataFrame"):
        return None
    columns = X.columns.to_numpy()
    fits = columns.dtype.kind in "iu" if names is None else np.array_equal(columns, names)
    is_plain = fits and all(isinstance(kind, np.dtype) and kind.kind == "f" for kind in X.dtypes.unique())
    return X.to_numpy() if is_plain else None


def _from_series(y):
    """Return the labels of a Series, or None: scikit-learn turns nullable integers into floats."""
    array = y.to_numpy()
    is_plain = isinstance(y.dtype, np.dtype) or (type(array) is np.ndarray and array.dtype.kind in "OU")
    return array if is_plain else None


def _pandas(name):
    """Return a class of pandas if that is imported; a module that is being imported may lack it."""
    return getattr(sys.modules.get("pandas"), name, None)


def vector(y: Any, n_samples: int, kinds: str) -> np.ndarray | None:
    """Return ``y`` as a one-dimensional array of one of some kinds, or None.

    Parameters
    ----------
    y : object
        Known are arrays, lists and pandas' Series.
    n_samples : int
        Its length.
    kinds : str
        Of ``dtype.kind``. Objects ('O') count only if all are strings. Floats may be infinite or NaN.
    """
    if type(y) is list:
        try:
            y = np.array(y)
        except ValueError:
            return None
    elif type(y) is not np.ndarray:
        if y is None or type(y) is not _pandas("Series"):
            return None
        y = _from_series(y)
        if y is None:
            return None
    if y.shape != (n_samples,) or y.dtype.kind not in kinds:
        return None
    return None if y.dtype.kind == "O" and not all(type(label) is str for label in y.tolist()) else y


def targets(y: Any, n_samples: int, kinds: str) -> np.ndarray | None:
    """Return ``y`` as scikit-learn's validation does, or None if that might convert or say more.

    Parameters
    ----------
    y, n_samples, kinds
        As `vector` takes them; arrays of several columns are known, too.
    """
    if type(y) is np.ndarray and y.ndim == 2 and y.shape[0] == n_samples and y.shape[1] > 1:
        plain = y if y.dtype.kind == "f" and "f" in kinds else None
    else:
        plain = vector(y, n_samples, kinds)
    return plain if plain is None or plain.dtype.kind != "f" or all_finite(plain) else None


def codes(y: Any, n_samples: int, classes: np.ndarray) -> np.ndarray | None:
    """Return the places of the labels ``y`` in the sorted ``classes``, or None if one may not be among them.

    Parameters
    ----------
    y : object
        As `vector` takes it.
    n_samples : int
    classes : ndarray of shape (n_classes,)

    Returns
    -------
    ndarray of int of shape (n_samples,), or None
    """
    if vector(classes, len(classes), "biufUO") is None:
        return None
    are_strings = classes.dtype.kind in "UO"
    labels = vector(y, n_samples, "UO" if are_strings else classes.dtype.kind)
    if labels is None:
        return None
    if are_strings and labels.dtype.kind != classes.dtype.kind:
        labels = np.array(labels.tolist(), dtype=classes.dtype.type)  # of whatever length
    found = classes.searchsorted(labels)
    return found if (classes.take(found, mode="clip") == labels).all() else None


def weights(sample_weight: npt.ArrayLike, n_samples: int) -> np.ndarray | None:
    """Return ``sample_weight`` if it is a plain array of finite numbers, else None."""
    if (
        type(sample_weight) is np.ndarray
        and sample_weight.dtype in _FLOATS
        and sample_weight.shape == (n_samples,)
        and sample_weight.flags.c_contiguous
        and all_finite(sample_weight)
    ):
        return sample_weight
    return None
