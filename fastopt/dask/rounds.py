"""Local SGD: replicas of a network take steps on their own rows, and are averaged after each round.

Every function here is pure, so that a task whose worker is lost can run again elsewhere with the same bits.
Nothing imports Dask: an executor needs `submit` and `result` only, and `SerialExecutor` is the reference that
the cluster has to agree with, bit for bit.
"""

import copy
import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastopt.kernels import aligned_memory
from fastopt.neural_network import validation
from fastopt.neural_network.data import Data
from fastopt.neural_network.kept_trainers import kept_trainer
from fastopt.neural_network.regularisation import new_dropout
from fastopt.neural_network.solvers import StochasticSolver
from fastopt.schedules import Run
from fastopt.stepping.layerwise_state import LayerwiseState

#: Least and most steps that ``local_steps="auto"`` gives a round, and the rounds it aims at. Below 25 steps
#: the moments of Adam, which begin at zero in each round, are missed.
_LOCAL_STEPS, _ROUNDS = (25, 500), 20


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What a training in rounds depends on, beside the rows and the parameters that it begins with.

    Attributes
    ----------
    network : MLPClassifier or MLPRegressor
        Fitted but for its parameters: knows labels, layout and hyper-parameters. Never written.
    dtype : dtype
        Of the parameters.
    seed : int
        From which each replica's order of rows and dropout follow.
    shares : tuple of float
        Weight of each replica in the average: its share of all rows.
    batch_size : int
    local_steps : int
        Steps of a replica in each round but the last.
    n_steps : int
        Steps of each replica in all rounds.
    steps_per_epoch : int
        Mean of the replicas.
    is_stream : bool
        Whether each round brings other rows.
    split_every : int
        How many results a task adds up. It decides the order of additions, so the bits depend on it.
    """

    network: Any
    dtype: np.dtype[Any]
    seed: int
    shares: tuple[float, ...]
    batch_size: int
    local_steps: int
    n_steps: int
    steps_per_epoch: int
    is_stream: bool = False
    split_every: int = 16

    @property
    def n_replicas(self) -> int:
        """The number of replicas."""
        return len(self.shares)

    @property
    def n_rounds(self) -> int:
        """The number of rounds; the last one may be shorter."""
        return math.ceil(self.n_steps / self.local_steps)

    def run(self, first_step: int) -> Run:
        """Return what schedules know in a round that begins after `first_step` steps of its replica."""
        return Run(self.n_steps, self.steps_per_epoch, origin=-first_step)


class Outcome(NamedTuple):
    """What a replica's round gives, and what sums of these are.

    ``params`` is multiplied by the replica's share, so that the sum over all replicas is their average;
    ``loss`` is a sum over ``n_rows`` rows.
    """

    params: np.ndarray
    loss: float
    n_rows: int


def automatic_local_steps(n_rows: int, n_epochs: int, n_replicas: int, batch_size: int) -> int:
    """Return the steps of a round: a twentieth of a replica's, from 25 to 500. Clocks have no part in it.

    Examples
    --------
    >>> automatic_local_steps(1_000_000, 10, n_replicas=8, batch_size=256)
    244
    """
    least, most = _LOCAL_STEPS
    return int(np.clip(n_rows * n_epochs // (n_replicas * batch_size * _ROUNDS), least, most))


def deal(n_partitions: int, n_replicas: int, seed: int) -> list[list[int]]:
    """Deal partitions to replicas at random, by a seed and never by worker.

    A file that is sorted by label has its labels in all replicas then, given enough partitions: 20 for each
    replica, say.

    Examples
    --------
    >>> deal(5, 2, seed=0)
    [[0, 4, 2], [3, 1]]
    """
    order = np.random.default_rng((seed, n_partitions)).permutation(n_partitions).tolist()
    return [order[replica::n_replicas] for replica in range(n_replicas)]


def orders_of_round(
    n_rows: int, batch_size: int, first_step: int, n_steps: int, key: tuple[int, ...] | None
) -> Iterator[np.ndarray]:
    """Yield the rows of a round's mini-batches in their order, for each epoch that the round touches.

    Parameters
    ----------
    n_rows, batch_size : int
        Of the replica. Each of its epochs ends with a smaller batch if need be.
    first_step, n_steps : int
        Where in the replica's steps the round begins, and how many it has.
    key : tuple of int or None
        Of the random numbers of all epochs. None: the rows keep their order.

    Yields
    ------
    ndarray of int64
    """
    per_epoch, step, end = math.ceil(n_rows / batch_size), first_step, first_step + n_steps
    while step < end:
        epoch, at = divmod(step, per_epoch)
        until = min(per_epoch, at + end - step)
        order = np.arange(n_rows)
        if key is not None:
            np.random.default_rng((*key, epoch)).shuffle(order)
        yield order[at * batch_size : until * batch_size]
        step += until - at


def local_round(params: np.ndarray, rows: Data, recipe: Recipe, replica: int, number: int) -> Outcome:
    """Train a replica for one round from the common parameters, with an optimizer that begins anew.

    Parameters
    ----------
    params : ndarray of shape (layout.size,)
        Not written: a worker may share it with other tasks.
    rows : Data
    recipe : Recipe
    replica, number : int
        Which replica, and which round, from 0.

    Returns
    -------
    Outcome
    """
    network = copy.copy(recipe.network)
    first = number * recipe.local_steps
    n_steps = min(recipe.local_steps, recipe.n_steps - first)
    network._random_state = np.random.RandomState(
        np.random.MT19937(np.random.SeedSequence((recipe.seed, replica, number, 1)))
    )
    params = _own_copy(params)
    dropout, update = new_dropout(network, recipe.run(first)), solver_of_round(recipe, first).update
    if isinstance(update, LayerwiseState):
        update.n_threads = validation.thread_count(network.n_jobs)
    trainer = kept_trainer("round", **network._network(recipe.dtype, "cpu"))
    key = (recipe.seed, replica) if network.shuffle else None
    if recipe.is_stream:
        key, first = key and (*key, number), 0
    rows = rows._replace(X=_readable(rows.X), targets=_readable(rows.targets))
    loss, n_rows = 0.0, 0
    update.train(params)
    try:
        for order in orders_of_round(rows.X.shape[0], recipe.batch_size, first, n_steps, key):
            loss += trainer.train(
                params,
                rows.X,
                rows.targets,
                update,
                batch_size=recipe.batch_size,
                alpha=float(network.alpha) * rows.weight_scale,
                order=order,
                sample_weight=rows.sample_weight,
                dropout=dropout,
            )
            n_rows += len(order)
    finally:
        trainer.forget()
    update.eval(params)
    params *= params.dtype.type(recipe.shares[replica])
    return Outcome(params, loss, n_rows)


def solver_of_round(recipe: Recipe, first_step: int) -> StochasticSolver:
    """Return a new solver for a round that begins after `first_step` steps of its replica."""
    return StochasticSolver(recipe.network, recipe.network._layout, recipe.dtype, recipe.run(first_step))


def _own_copy(params):
    copied = aligned_memory.zeros(params.size, params.dtype)
    copied[:] = params
    return copied


def _readable(array):
    """Return an array whose numbers are aligned: Dask passes arrays on as bytes at any address."""
    return array.copy() if isinstance(array, np.ndarray) and not array.flags.aligned else array


def add_outcomes(*outcomes: Outcome) -> Outcome:
    """Return the sum of outcomes, added in their order."""
    total = outcomes[0].params.copy()
    for outcome in outcomes[1:]:
        total += outcome.params
    return Outcome(total, sum(one.loss for one in outcomes), sum(one.n_rows for one in outcomes))


def itself(value: Any) -> Any:
    """Return the argument: the task from which all others take it, and which can be run again."""
    return value


def reduced(executor: Any, function: Callable, items: Sequence[Any], split_every: int) -> Any:
    """Return what `function` makes of all items, by a tree of tasks of at most `split_every` each."""
    items = list(items)
    while len(items) > 1:
        groups = [items[i : i + split_every] for i in range(0, len(items), split_every)]
        items = [group[0] if len(group) == 1 else executor.submit(function, *group) for group in groups]
    return items[0]


def submit_round(
    executor: Any, params: np.ndarray, shards: Sequence[Any], recipe: Recipe, recipe_task: Any, number: int
) -> Any:
    """Submit one round of all replicas; return what stands for the `Outcome` of their sum."""
    root = executor.submit(itself, params)
    outcomes = [
        executor.submit(local_round, root, shard, recipe_task, replica, number)
        for replica, shard in enumerate(shards)
    ]
    return reduced(executor, add_outcomes, outcomes, recipe.split_every)


class OuterStep:
    """What is done with the average of the replicas: it replaces the parameters, unless told otherwise.

    Parameters
    ----------
    lr : float
        1 takes the average; less goes a part of the way.
    momentum : float
        Of Nesterov's form, over rounds.
    """

    def __init__(self, lr: float = 1.0, momentum: float = 0.0) -> None:
        self.lr, self.momentum = lr, momentum
        self.buffer: np.ndarray | None = None

    def __call__(self, params: np.ndarray, average: np.ndarray) -> np.ndarray:
        """Return the parameters of the next round."""
        if self.lr == 1.0 and not self.momentum:
            return average
        step, kind = params - average, params.dtype.type
        if self.momentum:
            self.buffer = step if self.buffer is None else kind(self.momentum) * self.buffer + step
            step = step + kind(self.momentum) * self.buffer
        return params - kind(self.lr) * step


class SerialExecutor:
    """Runs each task at once, in this thread: the reference for the bits of every other executor."""

    #: Errors after which a round is tried again.
    lost: tuple[type[Exception], ...] = ()

    def submit(self, function: Callable, *arguments: Any) -> Any:
        """Return the result."""
        return function(*arguments)

    def result(self, value: Any) -> Any:
        """Return the result of what `submit` returned."""
        return value
