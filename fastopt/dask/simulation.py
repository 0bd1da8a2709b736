"""What more replicas would give and take: rounds run here one after the other, and a model of their time."""

import dataclasses
import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import clone, is_classifier

from fastopt._dask_client import client_of
from fastopt.dask import evaluation, rounds
from fastopt.dask.partitions import Collection, facts_of, merge_facts, shard
from fastopt.dask.requirements import check_supported
from fastopt.dask.rows import plan
from fastopt.neural_network.data import Data

#: What Dask documents as the work of a scheduler for one task.
_SECONDS_PER_TASK = 0.00025
#: Tasks by which a scheduler is measured, and how often.
_N_TASKS, _N_TIMES = 64, 5
#: Time of one message beside its bytes.
_LATENCY = 0.001


@dataclasses.dataclass(frozen=True)
class Simulation:
    """What `simulate` found for a number of replicas.

    Attributes
    ----------
    n_replicas, local_steps, n_rounds : int
    loss : float
        Mean training loss of the last round; that of a fit on a cluster to the last bit.
    validation_loss, validation_score : float or None
        Of the rows given for validation, after the last round.
    seconds : float
        Predicted time of the fit on `n_replicas` machines like this one: the sum of the next three.
    seconds_computing : float
        Of local steps, as measured here.
    seconds_scheduling : float
        Of the scheduler, which sees each task of each round.
    seconds_sending : float
        Of parameters on their way.
    """

    n_replicas: int
    local_steps: int
    n_rounds: int
    loss: float
    validation_loss: float | None
    validation_score: float | None
    seconds: float
    seconds_computing: float
    seconds_scheduling: float
    seconds_sending: float


def simulate(
    estimator: Any,
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    n_replicas: int | Sequence[int] = (1, 2, 4, 8, 16),
    *,
    X_val: npt.ArrayLike | None = None,
    y_val: npt.ArrayLike | None = None,
    n_partitions: int | None = None,
    bandwidth: float = 125e6,
    client: Any | None = None,
) -> list[Simulation]:
    """Tell what fits with several numbers of replicas would cost in loss and take in time.

    Losses are measured: the replicas train here, one after the other. Times are computed from the time of a
    step here, the bytes of the parameters, and the scheduler's work for a task. Not in the model: workers of
    unequal speed, and others on the same network.

    Parameters
    ----------
    estimator : DaskMLPClassifier or DaskMLPRegressor
        Not changed; its `n_replicas` is replaced.
    X : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Rows in memory, of which all replicas together visit ``max_iter`` epochs.
    n_replicas : int or sequence of int, default=(1, 2, 4, 8, 16)
    X_val, y_val : array-like, default=None
        Rows to measure at the end.
    n_partitions : int, default=None
        Into how many the rows are cut; None is 20 for each replica.
    bandwidth : float, default=125e6
        Of the network, in bytes a second; the default is a gigabit.
    client : distributed.Client or None, default=None
        Of a cluster whose scheduler is measured, which takes a second or so. ``None``: 0.25 ms a task, as
        Dask documents.

    Returns
    -------
    list of Simulation
        For ``pandas.DataFrame(...)``, in the order of `n_replicas`.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from fastopt.dask import DaskMLPClassifier, simulate
    >>> clf = DaskMLPClassifier((16,), batch_size=32, max_iter=5, random_state=0)
    >>> found = simulate(clf, *load_digits(return_X_y=True), n_replicas=[1, 4])
    >>> [(one.n_replicas, one.n_rounds) for one in found], found[0].loss < found[1].loss
    ([(1, 12), (4, 3)], True)
    """
    per_task = _SECONDS_PER_TASK if client is None else measure_scheduler(client_of(client, "simulate"))
    X, y = np.asarray(X), np.asarray(y)
    measured = None if X_val is None else (np.asarray(X_val), np.asarray(y_val))
    wanted = [n_replicas] if isinstance(n_replicas, int) else n_replicas
    return [
        _simulated(estimator, X, y, n, n_partitions or 20 * n, measured, bandwidth, per_task) for n in wanted
    ]


def _simulated(estimator, X, y, n_replicas, n_partitions, measured, bandwidth, per_task):
    estimator = clone(estimator).set_params(n_replicas=n_replicas)
    estimator._validate_params()
    check_supported(estimator, has_validation_set=measured is not None)
    Xs, ys = np.array_split(X, n_partitions), np.array_split(y, n_partitions)
    has_labels = is_classifier(estimator) and y.ndim == 1
    facts = merge_facts(*(facts_of(i, Xs[i], ys[i], None, has_labels, False) for i in range(n_partitions)))
    width = None if y.ndim == 1 else y.shape[1]
    rows = Collection(Xs, ys, None, X.shape[1], width, lambda n: X[np.zeros(n, int)])
    weights = estimator._prepare(rows, facts, None, True)
    recipe, hands = plan(estimator, facts, weights, n_replicas, int(estimator._random_state.randint(2**31)))
    shards = [shard(recipe, [Xs[i] for i in hand], [ys[i] for i in hand], None) for hand in hands]
    params, loss, seconds = _trained(estimator, recipe, shards)
    times = _times(recipe, params.nbytes, seconds / recipe.n_replicas, bandwidth, per_task)
    tally = None
    if measured is not None:
        data = Data.of(*recipe.network._validate_input(*measured, True, False), None, recipe.dtype)
        tally = evaluation.tally_of_network(params, data, recipe)
    return Simulation(
        n_replicas,
        recipe.local_steps,
        recipe.n_rounds,
        loss,
        None if tally is None else tally.mean_loss,
        None if tally is None else estimator._score_of(tally),
        sum(times),
        *times,
    )


def _trained(estimator, recipe, shards):
    """Return parameters, the loss of the last round and the seconds of all replicas' rounds."""
    executor, params, loss, seconds = rounds.SerialExecutor(), estimator._params, math.nan, 0.0
    outer = rounds.OuterStep(estimator.outer_lr, estimator.outer_momentum)
    for number in range(recipe.n_rounds):
        began = time.perf_counter()
        outcome = rounds.submit_round(executor, params, shards, recipe, recipe, number)
        seconds += time.perf_counter() - began
        params, loss = outer(params, outcome.params), outcome.loss / outcome.n_rows
    return params, loss, seconds


def _times(recipe, n_bytes, seconds_computing, bandwidth, per_task):
    """Return the seconds of computing, scheduling and sending in a whole fit.

    The parameters reach the replicas from worker to worker, whose number doubles, and come back by a tree.
    """
    n, fan_in = recipe.n_replicas, recipe.split_every
    tasks = 1 + n + (math.ceil((n - 1) / (fan_in - 1)) if n > 1 else 0)
    out = math.ceil(math.log2(n)) * (n_bytes / bandwidth + _LATENCY) if n > 1 else 0.0
    levels = math.ceil(math.log(n, fan_in)) if n > 1 else 0
    back = levels * (min(n, fan_in) * n_bytes / bandwidth + _LATENCY)
    return seconds_computing, recipe.n_rounds * per_task * tasks, recipe.n_rounds * (out + back)


def measure_scheduler(client: Any) -> float:
    """Return the seconds that a scheduler takes for one task, from rounds of tasks that do nothing.

    Parameters
    ----------
    client : distributed.Client

    Returns
    -------
    float
        The median of some rounds. Workers on the scheduler's own machine make it larger.
    """
    found = []
    for _ in range(_N_TIMES):
        began = time.perf_counter()
        futures = client.map(rounds.itself, range(_N_TASKS), pure=False)
        client.submit(len, futures, pure=False).result()
        found.append((time.perf_counter() - began) / (_N_TASKS + 1))
    return float(np.median(found))
