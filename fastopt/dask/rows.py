"""Rows of a fit on a cluster, dealt to replicas."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import is_classifier

from fastopt.dask import evaluation, rounds
from fastopt.dask.partitions import Collection, Facts, facts_of, merge_facts, shard

#: scikit-learn's batch_size="auto".
_AUTO_BATCH = 200
#: How many partitions are looked at together, so that those read as a stream never lie in memory as a whole.
_LOOKED_AT_ONCE = 64


def look_at(executor: Any, rows: Collection, estimator: Any, classes: Any) -> Facts:
    """Return the facts of all partitions; no row leaves the cluster."""
    has_labels = is_classifier(estimator) and classes is None and rows.y_width in (None, 1)
    is_hashed = estimator.checkpoint is not None
    found = []
    for first in range(0, len(rows.X), _LOOKED_AT_ONCE):
        numbers = range(first, min(first + _LOOKED_AT_ONCE, len(rows.X)))
        parts = rows.compute(executor.client, numbers)
        weights = parts.get("sample_weight", dict.fromkeys(numbers))
        tasks = [
            executor.submit(facts_of, i, parts["X"][i], parts["y"][i], weights[i], has_labels, is_hashed)
            for i in numbers
        ]
        task = rounds.reduced(executor, merge_facts, tasks, estimator.split_every)
        found.append(executor.result(task))
    return merge_facts(*found)


def plan(
    estimator: Any, facts: Facts, class_weight: dict | None, n_workers: int, seed: int
) -> tuple[rounds.Recipe, list[list[int]]]:
    """Deal the partitions to replicas and count steps; return the recipe and each replica's partitions.

    Raises
    ------
    ValueError
        If there are more replicas than partitions with rows.
    """
    full = [i for i, n in enumerate(facts.n_rows) if n]
    if not full:
        raise ValueError("X has no rows to train on")
    n_replicas = min(n_workers, len(full)) if estimator.n_replicas is None else estimator.n_replicas
    if n_replicas > len(full):
        raise ValueError(
            f"n_replicas={n_replicas} and only {len(full)} partitions of X have rows: give fewer replicas, "
            "or repartition X and y. 20 partitions for each replica mix well."
        )
    hands = [[full[i] for i in hand] for hand in rounds.deal(len(full), n_replicas, seed)]
    sizes = [sum(facts.n_rows[i] for i in hand) for hand in hands]
    n_rows = sum(sizes)
    batch = min(_AUTO_BATCH if estimator.batch_size == "auto" else estimator.batch_size, max(sizes))
    is_stream = estimator.deal == "stream"
    local_steps = estimator.local_steps
    if local_steps == "auto":
        local_steps = rounds.automatic_local_steps(n_rows, estimator.max_iter, n_replicas, batch)
        if is_stream:  # a partition that is read is also trained on
            local_steps = max(local_steps, math.ceil(max(facts.n_rows) / batch))
    per_epoch = math.ceil(n_rows / (n_replicas * batch))
    network = estimator._local(with_parameters=False, warm_start=False)
    if class_weight is not None:
        network.class_weight = class_weight
    recipe = rounds.Recipe(
        network=network,
        dtype=estimator._params.dtype,
        seed=seed,
        shares=tuple(size / n_rows for size in sizes),
        batch_size=batch,
        local_steps=local_steps,
        n_steps=per_epoch * estimator.max_iter,
        steps_per_epoch=per_epoch,
        is_stream=is_stream,
        split_every=estimator.split_every,
    )
    return recipe, hands


class RowsOnCluster:
    """Rows of a collection on the cluster in groups of partitions, and the recipe beside them.

    Parameters
    ----------
    executor : ClusterExecutor
    collection : Collection
    groups : list of list of int
        The partitions of each group.
    recipe : Recipe
    """

    def __init__(
        self, executor: Any, collection: Collection, groups: list[list[int]], recipe: rounds.Recipe
    ) -> None:
        self._executor, self._collection, self._groups = executor, collection, groups
        self.recipe = recipe
        self.renew()

    def renew(self) -> None:
        """Forget all futures, which may stand for tasks that failed."""
        self._kept: list[Any] | None = None
        self._recipe_task: Any = None

    @property
    def recipe_task(self) -> Any:
        """A future of the recipe, which is sent once."""
        if self._recipe_task is None:
            self._recipe_task = self._executor.submit(rounds.itself, self.recipe)
        return self._recipe_task

    def shards(self) -> list[Any]:
        """Return a future of the rows of each group; they stay on the workers."""
        if self._kept is None:
            self._kept = self._made(self._groups)
        return self._kept

    def _made(self, groups):
        parts = self._collection.compute(
            self._executor.client, sorted({i for group in groups for i in group})
        )
        return [
            self._executor.submit(shard, self.recipe_task, *self._collection.rows_of(group, parts))
            for group in groups
        ]


class TrainingRows(RowsOnCluster):
    """The rows of each replica.

    Parameters
    ----------
    executor, collection, groups, recipe
        See `RowsOnCluster`; a group is a replica's.
    n_rows : sequence of int
        Of each partition.
    """

    def __init__(
        self,
        executor: Any,
        collection: Collection,
        groups: list[list[int]],
        recipe: rounds.Recipe,
        n_rows: Sequence[int],
    ) -> None:
        super().__init__(executor, collection, groups, recipe)
        self._n_rows = n_rows

    def submit_round(self, params: np.ndarray, number: int) -> Any:
        """Submit a round of all replicas; return a future of its `Outcome`."""
        if self.recipe.is_stream:
            shards = self._made([self._next_of(hand, r, number) for r, hand in enumerate(self._groups)])
        else:
            shards = self.shards()
        return rounds.submit_round(self._executor, params, shards, self.recipe, self.recipe_task, number)

    def _next_of(self, hand, replica, number):
        """Return the partitions that a replica reads in a round: those that come next in random order."""
        wanted = self.recipe.local_steps * self.recipe.batch_size
        total = sum(self._n_rows[i] for i in hand)
        epoch, row = divmod(number * wanted, total)
        chosen, n = [], 0
        while n < wanted and len(chosen) < len(hand):
            order = np.random.default_rng((self.recipe.seed, replica, epoch, 2)).permutation(hand).tolist()
            for i in order:
                if row >= self._n_rows[i]:  # read in an earlier round
                    row -= self._n_rows[i]
                elif n < wanted and i not in chosen:
                    chosen.append(i)
                    n, row = n + self._n_rows[i] - row, 0
            epoch, row = epoch + 1, 0
        return chosen


class ValidationRows(RowsOnCluster):
    """Rows that are measured after each round."""

    def submit_tally(self, params: np.ndarray) -> Any:
        """Submit the measurement of all rows; return a future of its `Tally`."""
        root = self._executor.submit(rounds.itself, params)
        tallies = [
            self._executor.submit(evaluation.tally_of_network, root, rows, self.recipe_task)
            for rows in self.shards()
        ]
        return rounds.reduced(self._executor, evaluation.add_tallies, tallies, self.recipe.split_every)
