"""The state of training between two epochs: all that the next epoch depends on, in the types of a file."""

import copy
import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from fastopt._parameters import plain
from fastopt.neural_network import history
from fastopt.schedules import Run, Schedule
from fastopt.stepping.layerwise_state import LayerwiseState

if TYPE_CHECKING:
    from fastopt.neural_network._base import BaseMLP
    from fastopt.neural_network.epochs import MiniBatchTraining
    from fastopt.stepping.dropout import DropoutState
    from fastopt.stepping.flat_state import FlatState

#: Curves of an estimator, each a list of floats or None.
_CURVES = ("loss_curve_", "validation_scores_")
#: Numbers of an estimator (or None) that change from epoch to epoch.
_NUMBERS = ("n_iter_", "t_", "loss_", "best_loss_", "best_validation_score_", "_no_improvement_count")
#: What a new optimizer state has already got from the estimator's arguments.
_FROM_ARGUMENTS = ("optimizer", "dtype", "size", "n_decay", "n_groups", "layout")


def capture(training: "MiniBatchTraining") -> dict[str, Any]:
    """Return a copy of the state of a `MiniBatchTraining` between two epochs.

    Parameters
    ----------
    training : MiniBatchTraining

    Returns
    -------
    dict
        Of what `fastopt.model_files.objects` can store.
    """
    held_out = training.validation_set
    return capture_estimator(training.estimator) | {
        "history": history.as_table(training.estimator),
        "random_state": training.estimator._random_state.get_state(legacy=False),
        "rows": _row_numbers(training.rows),
        "held_out_rows": None if held_out is None else _row_numbers(held_out.rows),
        "watch": copy.deepcopy(training.watch),
        "n_epochs": training.solver.n_epochs,
        "update": capture_update(training.solver.update),
        "dropout": capture_dropout(training.solver.dropout),
    }


def capture_estimator(estimator: "BaseMLP") -> dict[str, Any]:
    """Return a copy of the parameters and the history of an estimator."""
    curves = {name: _copied(getattr(estimator, name, None)) for name in _CURVES}
    numbers = {name: getattr(estimator, name, None) for name in _NUMBERS}
    return {"params": estimator._parameters().copy(), **curves, **numbers}


def capture_update(update: "FlatState | LayerwiseState") -> dict[str, Any]:
    """Return a copy of an optimizer's state; update : FlatState or LayerwiseState."""
    state = {name: value for name, value in update.__getstate__().items() if name not in _FROM_ARGUMENTS}
    state["hyper"] = {name: _described(value) for name, value in state["hyper"].items()}
    state["run"] = dataclasses.asdict(state["run"])
    if "state" in state:
        state["state"] = state["state"].copy()
    return state


def capture_dropout(dropout: "DropoutState | None") -> dict[str, Any] | None:
    """Return a copy of the state of dropout, if there is any."""
    if dropout is None:
        return None
    rates = _described(dropout.hyper["rates"])
    return {"rates": rates, "seed": dropout.seed, "t": dropout.t, "run": dataclasses.asdict(dropout.run)}


def is_left_in(estimator: "BaseMLP", state: dict[str, Any]) -> bool:
    """Whether an estimator has the weights with which a fit ended that was interrupted in this state."""
    left = state["params"].copy()
    state["watch"].restore(left)
    return np.array_equal(estimator._params, left)


def restore(training: "MiniBatchTraining", state: dict[str, Any]) -> None:
    """Put a `MiniBatchTraining`, made from the same arguments and data, into a state from `capture`."""
    estimator = training.estimator
    _check_form(training, state)
    estimator._params[...] = state["params"]
    for name in _CURVES:
        setattr(estimator, name, None if state[name] is None else state[name].tolist())
    for name in _NUMBERS:
        setattr(estimator, name, state[name])
    history.restore(estimator, state.get("history"))  # which the files of version 0.1.0 lack
    training.stopwatch.go_on_from(history.elapsed(estimator))
    if estimator.random_state is None:  # the state of NumPy's global generator is the caller's
        estimator._random_state = np.random.RandomState()
    estimator._random_state.set_state(state["random_state"])
    if state["rows"] is not None:
        training.rows[...] = state["rows"]
    if state["held_out_rows"] is not None:
        training.hold_out(state["held_out_rows"].astype(np.int64))
    training.watch = state["watch"]
    training.solver.n_epochs = state["n_epochs"]
    _restore_update(training.solver.update, state["update"], estimator._layout)
    _restore_dropout(training.solver.dropout, state.get("dropout"))


def _check_form(training, state):
    """Raise ValueError if weights or rows have other types or shapes than now: compiled code reads them."""
    pairs = {
        "params": (state["params"], training.estimator._params),
        "rows": (state["rows"], _row_numbers(training.rows)),
    }
    for name, (was, now) in pairs.items():
        forms = [None if array is None else (array.dtype, array.shape) for array in (was, now)]
        if forms[0] != forms[1]:
            raise ValueError(f"the checkpoint's {name} has the form {forms[0]}, not {forms[1]}")


def _restore_update(update, saved, layout):
    fresh = update.__getstate__()
    hyper = {name: _from_description(value, fresh["hyper"][name]) for name, value in saved["hyper"].items()}
    given = {"hyper": hyper, "run": Run(**saved["run"] | {"seen": tuple(saved["run"]["seen"])})}
    n_threads = getattr(update, "n_threads", None)
    if isinstance(update, LayerwiseState):
        given["layout"] = layout
    else:
        given["scalars"] = tuple(saved["scalars"])
    update.__setstate__(fresh | saved | given)
    update._check_restored()
    if isinstance(update, LayerwiseState):
        update.n_threads = n_threads  # which a pickle does not keep


def _restore_dropout(dropout, saved):
    if (dropout is None) != (saved is None):
        raise ValueError(f"the checkpoint's dropout is {saved!r}, not that of {dropout!r}")
    if dropout is not None:
        rates = _from_description(saved["rates"], dropout.hyper["rates"])
        run = Run(**saved["run"] | {"seen": tuple(saved["run"]["seen"])})
        dropout.__setstate__({"hyper": {"rates": rates}, "seed": saved["seed"], "t": saved["t"], "run": run})
        dropout._check_restored()


def _copied(value):
    return None if value is None else np.array(value)


def _row_numbers(rows):
    """Return a copy of row numbers, in half the bytes wherever that is possible."""
    return None if rows is None else rows.astype(np.uint32 if rows.max() < 2**32 else np.int64)


def _described(value):
    """Return a hyper-parameter with a dict in place of each schedule, and None in place of functions."""
    if isinstance(value, Schedule):
        return {name: _described(own) for name, own in value.get_params(deep=False).items()}
    if isinstance(value, (tuple, list)):
        return list(map(_described, value))
    value = plain(value)
    return value if isinstance(value, (bool, int, float, str)) else None


def _from_description(saved, fresh):
    """Return the hyper-parameter that was described; ``fresh`` has its types and its functions."""
    if isinstance(fresh, Schedule):
        params = fresh.get_params(deep=False)
        return type(fresh)(**{name: _from_description(saved[name], own) for name, own in params.items()})
    if isinstance(saved, list):
        own = fresh if isinstance(fresh, (tuple, list)) and len(fresh) == len(saved) else [None] * len(saved)
        values = map(_from_description, saved, own)
        return list(values) if isinstance(fresh, list) else tuple(values)
    return fresh if saved is None else saved
