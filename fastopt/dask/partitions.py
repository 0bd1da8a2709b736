"""Dask collections as the rows of a fit: their partitions, what has to be known of them, and shards."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import joblib
import numpy as np
import scipy.sparse
from sklearn.utils.multiclass import unique_labels

from fastopt.dask.rounds import Recipe
from fastopt.neural_network import validation
from fastopt.neural_network.data import Data


class Facts(NamedTuple):
    """What the client has to know of partitions: counts and labels, never rows.

    ``n_rows`` and ``checksums`` have an entry for each partition; ``labels`` and ``counts`` are of all of
    them, None without a search for labels.
    """

    n_rows: tuple[int, ...]
    labels: np.ndarray | None
    counts: np.ndarray | None
    checksums: tuple[str, ...]


def facts_of(number: int, X: Any, y: Any, sample_weight: Any, has_labels: bool, is_hashed: bool) -> Facts:
    """Return the `Facts` of one partition.

    Raises
    ------
    ValueError
        If X, y and the weights have not the same number of rows.
    """
    sizes = {"X": X.shape[0], "y": len(y)} | (
        {} if sample_weight is None else {"sample_weight": len(sample_weight)}
    )
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{n} rows of {name}" for name, n in sizes.items())
        raise ValueError(
            f"partition {number} has {listed}: the collections are not aligned. Filter and shuffle them "
            "together, as columns of one DataFrame, or give their arrays the same chunks."
        )
    labels = counts = None
    if has_labels and len(y):
        column = np.asarray(y).reshape(-1)
        labels = unique_labels(column)
        counts = np.array([np.count_nonzero(column == label) for label in labels])
    return Facts((X.shape[0],), labels, counts, (joblib.hash((X, y, sample_weight)),) if is_hashed else ())


def merge_facts(*facts: Facts) -> Facts:
    """Return the facts of several partitions together."""
    known = [one for one in facts if one.labels is not None]
    labels = counts = None
    if known:
        labels, places = np.unique(np.concatenate([one.labels for one in known]), return_inverse=True)
        counts = np.bincount(places, np.concatenate([one.counts for one in known])).astype(int)
    return Facts(
        sum((one.n_rows for one in facts), ()), labels, counts, sum((one.checksums for one in facts), ())
    )


def shard(recipe: Recipe, Xs: Sequence[Any], ys: Sequence[Any], weights: Sequence[Any] | None) -> Data:
    """Return the rows of several partitions as the engine reads them, with encoded and smoothed labels.

    Parameters
    ----------
    recipe : Recipe
    Xs, ys : sequence of arrays or DataFrames
    weights : sequence of arrays or None

    Raises
    ------
    ValueError
        If scikit-learn's validation refuses the rows, or a label is unknown.
    """
    network = recipe.network
    X, targets = network._validate_input(_together(Xs), _together(ys), True, False)
    weight = None if weights is None else validation.check_sample_weight(_together(weights), X)
    weight = network._class_weighing(targets)(targets, weight)
    data = Data.of(X, targets, weight, recipe.dtype)
    smoothed = network._training_targets(data.targets)
    return data if smoothed is data.targets else data._replace(targets=smoothed, true_targets=data.targets)


def _together(parts):
    if len(parts) == 1:
        return parts[0]
    if hasattr(parts[0], "iloc"):
        import pandas

        return pandas.concat(parts)
    if scipy.sparse.issparse(parts[0]):
        return scipy.sparse.vstack(parts, format="csr")
    return np.concatenate(parts)


@dataclasses.dataclass
class Collection:
    """X, y and weights on a cluster, as lists of delayed partitions.

    Attributes
    ----------
    X, y : list of Delayed
    sample_weight : list of Delayed or None
    n_features : int
    y_width : int or None
        Columns of y; None if it has one dimension.
    example : callable
        Returns some rows made up, of the same columns and types, for a number of rows.
    """

    X: list[Any]
    y: list[Any]
    sample_weight: list[Any] | None
    n_features: int
    y_width: int | None
    example: Any

    @classmethod
    def of(
        cls, owner: str, X: Any, y: Any, sample_weight: Any = None, names: Any = ("X", "y", "sample_weight")
    ):
        """Check the collections of a fit by what is known without computing them.

        Raises
        ------
        TypeError
            If one of them is no Dask Array, DataFrame or Series.
        ValueError
            If they have not the same partitions, or X is cut between its columns.
        """
        given = dict(zip(names, (X, y, sample_weight), strict=True))
        if sample_weight is None:
            del given[names[2]]
        for name, one in given.items():
            if not is_collection(one):
                raise TypeError(
                    f"{name} of type {type(one).__name__} is no Dask Array, DataFrame or Series. {owner} "
                    f"trains on these; for data in memory take {owner.removeprefix('Dask')}."
                )
        if len(X.shape) != 2:
            raise ValueError(f"{names[0]} has {len(X.shape)} dimensions instead of rows and columns")
        for name, one in given.items():
            if getattr(one, "numblocks", (0,))[1:] not in ((), (1,)):
                raise ValueError(
                    f"{name} has its columns in {one.numblocks[1]} chunks, and a row has to be in one: call "
                    f"{name}.rechunk({{1: -1}}) before"
                )
        parts = {name: _delayed(one) for name, one in given.items()}
        if len(set(map(len, parts.values()))) > 1:
            listed = ", ".join(f"{name} has {len(one)}" for name, one in parts.items())
            raise ValueError(
                f"the collections have not the same partitions: {listed}. Repartition or rechunk them alike."
            )
        width = None if len(y.shape) == 1 else int(y.shape[1])
        weights = parts.get(names[2])
        return cls(
            parts[names[0]], parts[names[1]], weights, int(X.shape[1]), width, lambda n: _example(X, n)
        )

    def rows_of(self, numbers: Sequence[int], parts: dict[str, list[Any]]) -> tuple[Any, Any, Any]:
        """Return X, y and weights of some partitions, for `shard`, from what `compute` returned."""
        weights = None if self.sample_weight is None else [parts["sample_weight"][i] for i in numbers]
        return [parts["X"][i] for i in numbers], [parts["y"][i] for i in numbers], weights

    def compute(self, client: Any, numbers: Sequence[int]) -> dict[str, dict[int, Any]]:
        """Have some partitions computed; return futures of X, y and weights by number.

        They are released with the last reference to them.
        """
        lists = {"X": self.X, "y": self.y} | (
            {} if self.sample_weight is None else {"sample_weight": self.sample_weight}
        )
        flat = client.compute([parts[i] for parts in lists.values() for i in numbers])
        n = len(numbers)
        return {
            name: dict(zip(numbers, flat[at * n : (at + 1) * n], strict=True))
            for at, name in enumerate(lists)
        }


def is_collection(value: Any) -> bool:
    """Whether a value is a Dask collection with rows; does not import Dask."""
    return hasattr(value, "__dask_graph__") and hasattr(value, "to_delayed") and hasattr(value, "shape")


def _delayed(collection):
    # Dask's optimisation may fuse partitions of y that it does not fuse of X.
    return list(np.ravel(np.asarray(collection.to_delayed(optimize_graph=False), dtype=object)))


def _example(X, n):
    """Return rows of ones with the columns and types of a collection."""
    if hasattr(X, "columns"):
        from dask.dataframe.utils import meta_nonempty

        return meta_nonempty(X._meta).iloc[np.zeros(n, int)]
    return np.ones((n, int(X.shape[1])), X.dtype)
