"""Validation of the estimators' arguments and data, and conversion to the engine's arrays."""

import datetime
import functools
import inspect
import math
import os
import re
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from operator import index
from typing import TypeAlias

import numba
import numpy as np
import numpy.typing as npt
import scipy.sparse
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_array, check_X_y
from sklearn.utils._param_validation import (
    Interval,
    InvalidParameterError,
    Options,
    StrOptions,
    make_constraint,
)
from sklearn.utils.validation import _check_sample_weight, validate_data

from fastopt.engine import Layout, resolve
from fastopt.engine.validation import check_compressed
from fastopt.neural_network import frames, plain_data
from fastopt.optimizers import Optimizer
from fastopt.rules.activations import ACTIVATIONS, OUTPUTS
from fastopt.rules.initializations import INITIALIZATIONS
from fastopt.rules.losses import PARAMETERS
from fastopt.schedules import Schedule

_DEVICE = re.compile(r"cpu|auto|cuda(:\d+)?")

#: What `fit` and the predictions take as X: a table, an array or a sparse matrix.
Rows: TypeAlias = npt.ArrayLike | scipy.sparse.spmatrix | scipy.sparse.sparray

#: What scikit-learn checks in ``fit``, by parameter.
CONSTRAINTS = {
    "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
    "activation": [StrOptions(ACTIVATIONS.keys()), list, tuple],
    "solver": [str, Optimizer],
    "alpha": [Interval(Real, 0, None, closed="left")],
    "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    "learning_rate": [str, callable],
    "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
    "power_t": [Interval(Real, 0, None, closed="left")],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "shuffle": ["boolean"],
    "random_state": ["random_state"],
    "tol": [Interval(Real, 0, None, closed="left")],
    "verbose": ["verbose"],
    "warm_start": ["boolean"],
    "momentum": [Interval(Real, 0, 1, closed="both")],
    "nesterovs_momentum": ["boolean"],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="left")],
    "beta_1": [Interval(Real, 0, 1, closed="left")],
    "beta_2": [Interval(Real, 0, 1, closed="left")],
    "epsilon": [Interval(Real, 0, None, closed="neither")],
    "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
    "max_fun": [Interval(Integral, 1, None, closed="left")],
    "n_jobs": [
        None,
        Interval(Integral, 1, None, closed="left"),
        Interval(Integral, None, -1, closed="right"),
    ],
    "device": [str],
    "dtype": [None, StrOptions({"float32", "float64"})],
    "reset_optimizer": ["boolean"],
    "restore_best_weights": [StrOptions({"auto"}), "boolean"],
    "warmup": [Interval(Real, 0, 1, closed="left")],
    "clip_norm": [None, Interval(Real, 0, None, closed="neither")],
    "clip_value": [None, Interval(Real, 0, None, closed="neither")],
    "progress": ["boolean"],
    "checkpoint": [None, str, os.PathLike],
    "checkpoint_every": [Interval(Integral, 1, None, closed="left"), datetime.timedelta],
    "init": [StrOptions({"auto", *INITIALIZATIONS})],
    "class_weight": [None, StrOptions({"balanced"}), dict, list],
    "scoring": [None, str, callable],
    "max_time": [None, Interval(Real, 0, None, closed="neither")],
    "dropout": [Interval(Real, 0, 1, closed="left"), Schedule, "array-like"],
    "weight_decay": [Interval(Real, 0, None, closed="left"), Schedule],
    "max_norm": [None, Interval(Real, 0, None, closed="neither")],
    "input_scale": ["boolean"],
    "learning_rate_factors": [None, StrOptions({"fan_in"}), dict],
    **{
        name: [Interval(Real, low, high, closed=closed) for low, high, closed in one.intervals]
        for name, one in PARAMETERS.items()
    },
    "out_activation": [None, StrOptions(OUTPUTS.keys() - {"softmax"})],
    "label_smoothing": [Interval(Real, 0, 1, closed="left")],
    "n_members": [Interval(Integral, 1, None, closed="left")],
}
CONSTRAINTS["quantile"].append("array-like")


@functools.lru_cache(64)
def _constraints(cls):
    """Return the name, the default and the constraints of each parameter that scikit-learn would check."""
    known = inspect.signature(cls).parameters
    allowed = {name: cls._parameter_constraints.get(name, "no_validation") for name in known}
    return [
        (name, known[name].default, [make_constraint(constraint) for constraint in constraints])
        for name, constraints in allowed.items()
        if constraints != "no_validation"
    ]


def has_valid_parameters(estimator: BaseEstimator) -> bool:
    """Whether every parameter is at its default or satisfies its constraints.

    What scikit-learn does for a message takes longer, because it reads signature and constraints each time.
    """
    for name, default, constraints in _constraints(type(estimator)):
        value = getattr(estimator, name)
        if value is not default and not any(one.is_satisfied_by(value) for one in constraints):
            return False
    return True


def layer_sizes(hidden_layer_sizes: int | Sequence[int]) -> list[int]:
    """Return the units of each hidden layer; raises scikit-learn's error if one is not positive.

    Raises
    ------
    TypeError
        If one is no whole number.
    """
    sizes = [*hidden_layer_sizes] if isinstance(hidden_layer_sizes, Iterable) else [hidden_layer_sizes]
    if all(type(n) is int and n > 0 for n in sizes):
        return sizes
    if any(isinstance(n, Real) and n <= 0 for n in sizes):
        raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
    try:
        return [index(n) for n in sizes]
    except TypeError:
        raise TypeError(
            "hidden_layer_sizes must be whole numbers > 0, one for each hidden layer, such as (64, 32); got "
            f"{hidden_layer_sizes!r}."
        ) from None


def check_sample_weight(
    sample_weight: npt.ArrayLike | None, X: Rows, *, may_be_zero: bool = False
) -> np.ndarray | None:
    """Return the weights of the rows of ``X`` as an array, or None; raises scikit-learn's errors.

    With ``may_be_zero`` all may be 0, because the rows are only a part of those to train on.
    """
    if sample_weight is None:
        return None
    weights = plain_data.weights(sample_weight, X.shape[0])
    if weights is None:
        weights = _check_sample_weight(sample_weight, X)
    if not (may_be_zero or weights.any()):  # scikit-learn says so from 1.9 on
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return weights


def check_fitted_parameters(params: np.ndarray) -> None:
    """Raise scikit-learn's ValueError if a parameter is not finite after training."""
    if not np.isfinite(params).all():
        raise ValueError(
            "Solver produced non-finite parameter weights. The input data may contain large values and "
            "need to be preprocessed."
        )


def check_device(device: str, owner: str) -> str:
    """Return the device that will be used, ``'cpu'`` or ``'cuda:N'``.

    Raises
    ------
    InvalidParameterError
        If the name is not a device.
    DeviceError
        A RuntimeError: if the device was asked for by name and cannot be had.
    """
    if not _DEVICE.fullmatch(device):
        raise InvalidParameterError(
            f"The 'device' parameter of {owner} must be 'cpu', 'auto', 'cuda' or 'cuda:N'. "
            f"Got {device!r} instead."
        )
    return resolve(device)


def check_dtype(asked: str | None, params: np.ndarray) -> None:
    """Raise ValueError if ``dtype`` is another than that of the parameters to be trained further."""
    if asked is not None and params.dtype != asked:
        raise ValueError(
            f"dtype={asked!r}, but the network to be trained further is {params.dtype}. To change that, fit "
            "with warm_start=False."
        )


def check_network_shape(layout: Layout, n_features: int, n_outputs: int, input_scale: bool) -> None:
    """Raise ValueError if data of this width, or ``input_scale``, do not fit the network to be trained."""
    ends = layout.layer_sizes[0], layout.layer_sizes[-1]
    if ends != (n_features, n_outputs):
        raise ValueError(
            f"The network takes {ends[0]} features and has {ends[1]} outputs, but X has {n_features} "
            f"features and y stands for {n_outputs} outputs. To change them, fit with warm_start=False."
        )
    if layout.scales_inputs != bool(input_scale):
        has = "has a" if layout.scales_inputs else "has no"
        raise ValueError(
            f"input_scale={input_scale!r}, but the network to be trained further {has} learnt scale of its "
            "inputs. To change that, fit with warm_start=False, or assign input_scale_."
        )


def thread_count(n_jobs: int | None) -> int | None:
    """Return the number of threads for ``n_jobs``, as the engine takes it.

    None stays None: Numba's current number, so that each of joblib's workers keeps to its share. A negative
    number counts back from all of Numba's threads, which are also the most there can be.
    """
    most = numba.config.NUMBA_NUM_THREADS
    if n_jobs is None:
        return None
    return min(n_jobs, most) if n_jobs > 0 else max(1, most + 1 + n_jobs)


def prediction_input(estimator, X: Rows):
    """Return ``X`` validated as scikit-learn's ``validate_data(reset=False)`` does."""
    plain = plain_data.rows(estimator, X, reset=False, to_float=False)
    if plain is not None:
        return plain
    dtype = "numeric" if estimator.dtype is None else estimator.dtype
    rows = frames.float32_rows(X)
    if rows is None:
        X = validate_data(estimator, X, accept_sparse="csr", reset=False, dtype=dtype)
    else:
        validate_data(estimator, X, reset=False, skip_check_array=True)  # the names and number of features
        X = check_array(rows, dtype=dtype, estimator=estimator, input_name="X")
    if X.dtype.kind == "O":  # lists with None, which it leaves as they are, and NumPy takes for NaN
        X = check_array(X, dtype=np.float64, estimator=estimator, input_name="X")
    return X


def fit_input(estimator, X: Rows, y: npt.ArrayLike, *, reset: bool, kinds: str, y_numeric: bool = False):
    """Return ``X``, of floats, and ``y`` validated as scikit-learn's ``validate_data`` does.

    Parameters
    ----------
    estimator : estimator
    X, y : array-like
    reset : bool
        Whether ``X`` sets the features that later data must have.
    kinds : str
        Of the dtypes of ``y`` that need no conversion.
    y_numeric : bool
        Whether objects in ``y`` have to be numbers.
    """
    y = frames.plain_labels(y)
    rows = plain_data.rows(estimator, X, reset=reset, to_float=True)
    targets = None if rows is None else plain_data.targets(y, rows.shape[0], kinds)
    if targets is not None:
        if reset:
            plain_data.set_features(estimator, rows)
        return rows, targets
    how = {
        "accept_sparse": ["csr", "csc"],
        "multi_output": True,
        "y_numeric": y_numeric,
        "dtype": (np.float64, np.float32) if estimator.dtype is None else estimator.dtype,
    }
    of_frame = frames.float32_rows(X)
    if of_frame is None:
        return validate_data(estimator, X, y, reset=reset, **how)
    validate_data(estimator, X, y, reset=reset, skip_check_array=True)  # the names and number of features
    return check_X_y(of_frame, y, estimator=estimator, **how)


def as_engine_array(X, dtype):
    """Return ``X`` as the engine reads it: CSR, or C-contiguous, of ``dtype``; copied only if necessary."""
    if hasattr(X, "tocsr"):
        check_compressed(X)  # before SciPy, which does not look, converts it or takes rows
        X = X.tocsr().astype(dtype, copy=False)
        if X.indices.dtype != np.int32:
            X = type(X)((X.data, X.indices, X.indptr), shape=X.shape)  # shares the data
            X.indices = X.indices.astype(np.int32)  # the engine's type; no row has 2**31 columns
        return X
    return np.ascontiguousarray(X, dtype=dtype)


def as_engine_weights(
    sample_weight: np.ndarray | None, dtype: npt.DTypeLike
) -> tuple[np.ndarray | None, float]:
    """Return the weights as the engine reads them, and the power of two that they were multiplied by.

    Weights and ``alpha``, both multiplied by it, give the same gradients to the bit, because the weights' sum
    divides both. So weights that are too small or too large for arithmetic in ``dtype`` are brought nearer
    to 1; all others stay as they are. Those that even then are no normal numbers of ``dtype`` become 0.
    """
    if sample_weight is None:
        return None, 1.0
    limits = np.finfo(dtype)
    largest = np.abs(sample_weight).max()
    exponent, enough = math.frexp(largest)[1], limits.maxexp // 4
    shift = min(max(-exponent - enough, 0), 1000) - max(exponent - enough, 0)
    weights = np.ldexp(sample_weight, shift) if shift else sample_weight
    weights = np.ascontiguousarray(weights, dtype=dtype)
    is_subnormal = (np.abs(weights) < limits.tiny) & (weights != 0)
    if is_subnormal.any():
        weights = np.where(is_subnormal, limits.dtype.type(0), weights)
    return weights, math.ldexp(1.0, shift)


def held_out_rows(n_samples, stratify, random_state, fraction):
    """Draw the rows of the early-stopping split, with scikit-learn's draws and error messages.

    Parameters
    ----------
    n_samples : int
    stratify : ndarray of shape (n_samples,) or None
    random_state : RandomState
        Advanced.
    fraction : float

    Returns
    -------
    train, held_out : ndarray of int64
        Row numbers.

    Raises
    ------
    ValueError
        If there are too few rows, in all or of a class.
    """
    train, held_out = train_test_split(
        np.arange(n_samples), random_state=random_state, test_size=fraction, stratify=stratify
    )
    if len(held_out) < 2:
        raise ValueError(
            "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
        )
    return train, held_out
