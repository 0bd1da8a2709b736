"""What the numbers of a fit depend on, data and arguments, in a form that can be kept and compared."""

import concurrent.futures
import hashlib
import inspect
import json
import math
import re
import zlib
from numbers import Real
from typing import TYPE_CHECKING, Any

import numba
import numpy as np

from fastopt._parameters import plain
from fastopt.data import BlockSource
from fastopt.model_files import objects
from fastopt.neural_network import training_state, validation
from fastopt.neural_network.validation_sets import ARGUMENTS
from fastopt.schedules import Schedule
from fastopt.stepping import scheduling

if TYPE_CHECKING:
    from fastopt.neural_network._base import BaseMLP
    from fastopt.neural_network.epochs import MiniBatchTraining

#: Parameters on which the numbers do not depend; of ``device`` it is `device_` that counts.
_WITHOUT_EFFECT = tuple(
    "verbose progress n_jobs device checkpoint checkpoint_every max_time client max_round_retries".split()
)
#: The data among what is compared.
_DATA = ("X", "y", "sample_weight", *ARGUMENTS)
#: What tells functions of the user's apart: the values of hyper-parameters throughout the run.
_COURSE = "the course of the schedule"
#: Bytes that get a checksum of their own.
_PIECE = 1 << 20
#: At how many points of a run functions of the user's are compared.
_N_POINTS = 33


def beginning(estimator: "BaseMLP", fresh: bool) -> dict[str, Any]:
    """Return what a fit begins with, beside arguments and data: random numbers, and weights if any.

    Parameters
    ----------
    estimator : BaseMLP
        Its random state is that of the beginning.
    fresh : bool
        Whether the fit draws new weights.
    """
    start = {}
    if isinstance(estimator.random_state, np.random.RandomState):
        start["the state of random_state"] = _of_nested(estimator._random_state.get_state(legacy=False))
    if not fresh:
        state = training_state.capture_estimator(estimator)
        if not estimator.reset_optimizer and hasattr(estimator, "_optimizer"):
            state["update"] = training_state.capture_update(estimator._optimizer.update)
            state["dropout"] = training_state.capture_dropout(estimator._optimizer.dropout)
        start["the network before the fit"] = _of_nested(state)
    return start


def identity(training: "MiniBatchTraining") -> dict[str, Any]:
    """Return the arguments and the data of a `MiniBatchTraining`: names, and plain values to compare."""
    estimator, data = training.estimator, training.data
    classes = getattr(estimator, "classes_", None)
    labels = "" if classes is None else repr(classes.tolist())
    n_threads = validation.thread_count(estimator.n_jobs) or numba.get_num_threads()
    with concurrent.futures.ThreadPoolExecutor(n_threads) as pool:
        return {
            "the class": type(estimator).__name__,
            **arguments(estimator),
            "the device": estimator.device_,
            "X": _of_rows(data.X, pool),
            "y": _digest(labels, str(_of_rows(data.targets, pool))),
            "sample_weight": _of_rows(data.sample_weight, pool),
            **_of_validation_set(training.validation_set, pool),
            _COURSE: _values_of_functions(training.solver.update) + _rates(training.solver.dropout),
        }


def arguments(estimator: "BaseMLP") -> dict[str, Any]:
    """Return the arguments of an estimator on which the numbers of a fit depend, as JSON values."""
    params = estimator.get_params(deep=False)
    return {name: _shown(value) for name, value in params.items() if name not in _WITHOUT_EFFECT}


def with_newer_parameters(saved: dict[str, Any], estimator: "BaseMLP") -> dict[str, Any]:
    """Return an `identity` with the defaults of parameters that its version of fastopt did not have."""
    known = inspect.signature(type(estimator)).parameters.values()
    defaults = {one.name: _shown(one.default) for one in known if one.name not in _WITHOUT_EFFECT}
    return defaults | saved


def differences(saved: dict[str, Any], present: dict[str, Any]) -> list[str]:
    """Return what differs, each in a few words: parameters with both values, data by name."""
    found = []
    for name in {**present, **saved}:
        was, now = saved.get(name), present.get(name)
        if was == now or (name == _COURSE and found):  # other arguments make another course
            continue
        is_parameter = name.isidentifier() and name not in _DATA
        found.append(f"{name} was {_short(was)} and is {_short(now)}" if is_parameter else f"{name} differs")
    return found


def _shown(value):
    """Return a parameter as a JSON value that is equal for equal parameters."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (tuple, list)):
        return list(map(_shown, value))
    value = plain(value)
    if isinstance(value, Real) and not math.isfinite(value):
        return repr(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.random.RandomState):
        return "a RandomState"
    if callable(value) and not isinstance(value, Schedule):
        return "a function"
    return re.sub(" at 0x[0-9a-fA-F]+", "", repr(value))  # an address says nothing in another process


def _short(value):
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _values_of_functions(update):
    """Return the hyper-parameters that follow a function of the user's, at points throughout the run."""
    names = [name for name in scheduling.scheduled(update.hyper) if _holds_function(update.hyper[name])]
    if not names:
        return []
    steps = np.linspace(0, update.run.n_steps, _N_POINTS, endpoint=False).astype(np.int64)
    run = update.optimizer.inner_run(update.run)
    optimizer = update.optimizer.innermost
    values = scheduling.evaluate(optimizer, update.hyper, run, np.unique(steps) + update.run.origin)
    found = [value for name in names for value in _as_tuple(values[name])]
    return [np.asarray(value).tolist() for value in found]


def _rates(dropout):
    """Return the rates of dropout that follow a function of the user's, at points throughout the run."""
    if dropout is None:
        return []
    steps = np.linspace(0, dropout.run.n_steps, _N_POINTS, endpoint=False).astype(np.int64)
    clock = dropout.run.clock(np.unique(steps) + dropout.run.origin)
    return [rate.at(clock).tolist() for rate in dropout.hyper["rates"] if _holds_function(rate)]


def _as_tuple(value):
    return value if isinstance(value, tuple) else (value,)


def _holds_function(value):
    if isinstance(value, Schedule):
        return any(map(_holds_function, value.get_params(deep=False).values()))
    if isinstance(value, (tuple, list)):
        return any(map(_holds_function, value))
    return callable(value)


def _of_nested(state):
    """Return the digest of a nested state of arrays and plain values."""
    arrays, content = objects.pack(state)
    raw = [np.ascontiguousarray(array).data for array in arrays.values()]
    return _digest(json.dumps(content), *(hashlib.sha256(one).hexdigest() for one in raw))


def _of_validation_set(validation_set, pool):
    """Return the digests of a validation set that was passed to ``fit``."""
    if validation_set is None or validation_set.rows is not None:
        return {}
    data = validation_set.data
    return {
        name: _of_rows(array, pool)
        for name, array in zip(ARGUMENTS, (data.X, data.targets, data.sample_weight), strict=True)
    }


def _of_rows(array, pool):
    """Return the digest of a dense or CSR matrix, or of None: of its bytes, type and shape."""
    if array is None:
        return None
    if isinstance(array, BlockSource):
        return array.digest()  # of targets and weights, too
    parts = (array,) if isinstance(array, np.ndarray) else (array.data, array.indices, array.indptr)
    described = [repr((array.shape, *(part.dtype.str for part in parts)))]
    for part in parts:
        raw = np.ascontiguousarray(part).reshape(-1).view(np.uint8)
        pieces = [raw[i : i + _PIECE] for i in range(0, len(raw), _PIECE)]
        # Against mistakes, not attacks: CRC-32 takes less than half the time of SHA-256.
        described += map(str, pool.map(zlib.crc32, pieces))
    return _digest(*described)


def _digest(*texts):
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()
