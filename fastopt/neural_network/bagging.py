"""Several networks in the place of one: they differ in their random states, and predict their mean."""

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_random_state

from fastopt.data import BlockSource
from fastopt.neural_network import compiled_epochs, epochs, history, progress, solvers, validation
from fastopt.neural_network.caller_warnings import warn_interrupted
from fastopt.neural_network.data import data_of_fit
from fastopt.neural_network.fit_tasks import CALLBACK_ATTRIBUTES
from fastopt.neural_network.full_batches import train_lbfgs
from fastopt.neural_network.stopwatch import Stopwatch
from fastopt.neural_network.unused_parameters import warn_of_unused

if TYPE_CHECKING:
    from fastopt.neural_network._base import BaseMLP

#: What validation learns of X and y, which the members have in common.
_LEARNT = ("n_features_in_", "feature_names_in_", "classes_", "_label_binarizer")
#: What is no result of a fit.
_KEPT = (*CALLBACK_ATTRIBUTES, "_metadata_request", "_random_state", "_is_seeded")


def check_members(estimator: "BaseMLP", X: Any, incremental: bool) -> None:
    """Raise ValueError for what several networks cannot do; drop what another number of them has left.

    Parameters
    ----------
    estimator : BaseMLP
    X : object
        What is passed to ``fit``.
    incremental : bool
        Whether it is `partial_fit`.
    """
    n, state = estimator.n_members, vars(estimator)
    if n > 1:
        refused = {
            f"checkpoint={estimator.checkpoint!r}, which holds one network": estimator.checkpoint is not None,
            "callbacks, which watch one network": "_skl_callbacks" in state,
            "a BlockSource, whose rows are read for one network": isinstance(X, BlockSource),
        }
        for what, is_there in refused.items():
            if is_there:
                raise ValueError(
                    f"n_members={n} does not go with {what}: use n_members=1, with another random_state for "
                    "each network"
                )
    n_fitted = len(state["members_"]) if "members_" in state else int(estimator._has("coefs_"))
    if n_fitted in (0, n):
        return
    if incremental or estimator.warm_start:
        raise ValueError(f"n_members={n}, but it has been fitted with {n_fitted}: what is there cannot go on")
    params = estimator.get_params(deep=False)
    for name in [name for name in state if name not in params and name not in _KEPT]:
        del state[name]


def fit_members(
    ensemble: "BaseMLP", rows: tuple[Any, ...], *, device: str, fresh: bool, stopwatch: Stopwatch
) -> None:
    """Fit the members of an ensemble: side by side if they can be trained so, else one after the other.

    Parameters
    ----------
    ensemble : BaseMLP
        Written: ``members_``, and what describes them all.
    rows : tuple
        Validated X, targets and weights, and those of the validation set or None.
    device : str
    fresh : bool
        Whether the members are to be new; else they go on.
    stopwatch : Stopwatch
    """
    members = _new_members(ensemble) if fresh else _present_members(ensemble)
    for member in members:
        vars(member).update({name: vars(ensemble)[name] for name in _LEARNT if name in vars(ensemble)})
        member._begin(*rows[:2], device, fresh)
    ensemble.out_activation_ = members[0].out_activation_
    warn_of_unused(ensemble, has_validation_set=rows[3] is not None)
    data, measured = data_of_fit(members[0], *rows)
    with progress.ensemble_bar(ensemble) as tick:
        if solvers.is_lbfgs(ensemble.solver):
            n_trained = _train_by_lbfgs(members, data, measured, stopwatch, tick)
        else:
            n_trained = _train_by_batches(members, data, measured, stopwatch, tick)
    ensemble.members_ = members[:n_trained]
    for member in ensemble.members_:
        validation.check_fitted_parameters(member._params)
        member._conclude(data)
    _describe(ensemble)


def _new_members(ensemble):
    seeds = check_random_state(ensemble.random_state).randint(np.iinfo(np.int32).max, size=ensemble.n_members)
    members: list[Any] = [clone(ensemble) for _ in seeds]
    for member, seed in zip(members, seeds, strict=True):
        member.set_params(n_members=1, random_state=int(seed))
    return members


def _present_members(ensemble):
    """Return the members, with the parameters that the ensemble has now."""
    for member in ensemble.members_:
        own = {"n_members": 1, "random_state": member.random_state}
        copied: Any = clone(ensemble)
        member.set_params(**copied.get_params(deep=False) | own)
    return ensemble.members_


def _train_by_batches(members, data, measured, stopwatch, tick):
    """Train all members by mini-batches; return how many have begun, which are fewer after Ctrl-C."""
    trainings = [
        epochs.MiniBatchTraining(
            member, data, incremental=False, validation_data=measured, stopwatch=stopwatch.share(1),
            report=progress.ignore,
        )
        for member in members
    ]  # fmt: skip
    first = members[0]
    trainer = compiled_epochs.member_trainer(trainings, first._network(first._params.dtype, first.device_))
    if trainer is None:
        return _train_one_by_one(trainings, stopwatch, tick)
    for training in trainings:
        training.begin()
    try:
        compiled_epochs.train_members(trainings, trainer, tick)
    except KeyboardInterrupt:
        warn_interrupted()
    for training in trainings:
        training.warn_of_ending()
    return len(members)


def _train_one_by_one(trainings, stopwatch, tick):
    n_epochs = 0
    for number, training in enumerate(trainings):
        training.stopwatch = stopwatch.share(len(trainings) - number)
        training.stopwatch.go_on_from(history.elapsed(training.estimator))
        training.report = lambda n_done, loss, n_before=n_epochs: tick(n_before + n_done)
        training.run()
        if not training.ending:  # Ctrl-C
            return number + 1
        n_epochs += training.estimator.n_iter_
    return len(trainings)


def _train_by_lbfgs(members, data, measured, stopwatch, tick):
    n_iter = 0
    for number, member in enumerate(members):
        train_lbfgs(
            member, data, validation_data=measured, stopwatch=stopwatch.share(len(members) - number),
            report=lambda n_done, loss, n_before=n_iter: tick(n_before + n_done), tasks=None,
        )  # fmt: skip
        n_iter += member.n_iter_
    return len(members)


def _describe(ensemble):
    """Set what says something of all members, from theirs."""
    members = ensemble.members_
    for name in ("device_", "n_outputs_", "n_layers_", "out_activation_"):
        setattr(ensemble, name, getattr(members[0], name))
    ensemble.n_iter_ = max(member.n_iter_ for member in members)
    ensemble.t_ = sum(member.t_ for member in members)
    if all(hasattr(member, "loss_") for member in members):
        ensemble.loss_ = float(np.mean([member.loss_ for member in members]))
    else:  # Ctrl-C in the first epoch, after which one network has none, either
        vars(ensemble).pop("loss_", None)
