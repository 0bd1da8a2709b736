"""A `BlockSource` as input of ``fit`` and of predictions: checks, labels, names of columns."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils.multiclass import check_classification_targets

from fastopt.data import BlockSource
from fastopt.neural_network import class_weights, solvers, validation
from fastopt.neural_network.block_buffers import Conversion
from fastopt.neural_network.block_training import BlockTraining
from fastopt.neural_network.caller_warnings import warn
from fastopt.neural_network.data import Data
from fastopt.neural_network.scoring import as_it_is_now

if TYPE_CHECKING:
    from fastopt.neural_network._base import BaseMLP


#: Up to how large a range of whole numbers is counted number by number.
_FEW = 1 << 16


class BlockInput:
    """A source that is passed to ``fit`` or ``partial_fit``.

    Parameters
    ----------
    estimator : BaseMLP
    source : BlockSource
    y, sample_weight : None
        What was passed beside it.
    device : str
        On which the network is to be trained.
    incremental : bool
        Whether the call is `partial_fit`, which has been told all labels.

    Raises
    ------
    ValueError
        If the call or the estimator does not go with a source.
    """

    def __init__(
        self,
        estimator: "BaseMLP",
        source: BlockSource,
        y: object,
        sample_weight: object,
        *,
        device: str,
        incremental: bool,
    ) -> None:
        self.source: BlockSource = source
        self._check_call(y, sample_weight)
        self._check_estimator(estimator, device)
        self._labels = TargetScan(source) if is_classifier(estimator) and not incremental else None
        if source.has_weights and not any(weight.any() for _, weight in source.targets()):
            raise ValueError("Sample weights must contain at least one non-zero number.")

    def _check_call(self, y, sample_weight):
        for name, value in (("y", y), ("sample_weight", sample_weight)):
            if value is not None:
                raise ValueError(
                    f"A BlockSource brings its own {name}, and there is another one beside it. Pass it as "
                    f"BlockSource(X, y, sample_weight=...)."
                )
        if not self.source.has_targets:
            raise ValueError(f"{self.source!r} has no targets to train on. Give them: BlockSource(X, y).")

    def _check_estimator(self, estimator, device):
        if solvers.is_lbfgs(estimator.solver):
            raise ValueError(
                f"solver={estimator.solver!r} needs all rows at once and cannot train on a BlockSource. Take "
                "a solver of mini-batches, such as 'adam'."
            )
        if device != "cpu":
            raise ValueError(
                f"device={estimator.device!r}: rows of a BlockSource are trained on by the CPU only. Set "
                "device='cpu'."
            )

    def validated(
        self, estimator: "BaseMLP", *, incremental: bool, reset: bool
    ) -> tuple[np.ndarray, np.ndarray, Callable[..., Any]]:
        """Let the estimator learn labels, features and their names; return what stands for X and y.

        Parameters
        ----------
        estimator : BaseMLP
        incremental, reset : bool
            As `BaseMLP._validate_input` takes them.

        Returns
        -------
        X : ndarray of shape (n_rows, n_features)
            Zeros of the dtype of the source.
        targets : ndarray of shape (n_rows, n_outputs)
            Of a classifier each label occurs, unless the call is incremental.
        weigh : callable
            Multiplies sample weights by class weights.
        """
        y = first_targets(self.source) if self._labels is None else self._labels.labels
        X = np.zeros((len(y), self.source.shape[1]), self.source.dtype)
        names = vars(estimator).pop("feature_names_in_", None)  # the zeros have none to compare
        try:
            X, targets = estimator._validate_input(X, y, incremental, reset=reset)
        finally:
            if names is not None and not reset:
                estimator.feature_names_in_ = names
        if not reset:
            check_names(estimator, self.source)
        elif self.source.feature_names is not None:
            estimator.feature_names_in_ = np.array(self.source.feature_names, dtype=object)
        return X, targets, self._weighing(estimator, targets)

    def _weighing(self, estimator, targets):
        if self._labels is None or estimator.class_weight != "balanced":
            return estimator._class_weighing(targets)
        weights, is_matrix = self._labels.balanced_weights(), self._labels.is_matrix
        return class_weights.class_weighing(weights, estimator.classes_, targets, is_matrix)

    def training(self, estimator: "BaseMLP", weigh: Callable[..., Any], **call: Any) -> BlockTraining:
        """Return the training of an estimator that is initialized; arguments as `MiniBatchTraining` takes."""
        return BlockTraining(estimator, self.source, conversion(estimator, weigh), **call)


class TargetScan:
    """What a classifier has to know of all targets before it begins: labels, and how often each occurs.

    Parameters
    ----------
    source : BlockSource

    Attributes
    ----------
    labels : ndarray
        Each label once, sorted; of an indicator matrix the first rows.
    is_matrix : bool
        Whether the targets are an indicator matrix.
    """

    def __init__(self, source: BlockSource) -> None:
        self.labels: np.ndarray = first_targets(source)
        check_classification_targets(self.labels)
        self.is_matrix: bool = self.labels.ndim == 2
        self._n_rows = source.shape[0]
        if self.is_matrix:
            self._counts = sum(y.sum(axis=0, dtype=np.int64) for y, _ in source.targets())
            return
        found = [_counted(y) for y, _ in source.targets()]
        labels, counts = map(np.concatenate, zip(*found, strict=True))
        self.labels, places = np.unique(labels, return_inverse=True)
        self._counts = np.bincount(places, counts).astype(np.int64)

    def balanced_weights(self) -> Any:
        """Return the weights of ``class_weight='balanced'``: a dict, or a list of one for each label."""
        if not self.is_matrix:
            shares = self._n_rows / (len(self.labels) * self._counts)
            return dict(zip(self.labels.tolist(), shares.tolist(), strict=True))
        tables = []
        for ones in self._counts.tolist():
            counts = {value: n for value, n in ((0, self._n_rows - ones), (1, ones)) if n}
            tables.append({value: self._n_rows / (len(counts) * n) for value, n in counts.items()})
        return tables


def _counted(y):
    """Return the labels, sorted, and how often each occurs; of whole numbers without sorting them all."""
    if y.dtype.kind in "iu" and len(y):
        wide = np.int64 if y.dtype.kind == "i" else np.uint64
        least, most = wide(y.min()), wide(y.max())
        if int(most) - int(least) < _FEW:
            counts = np.bincount((y.astype(wide) - least).astype(np.int64))
            labels = counts.nonzero()[0]
            return (labels.astype(wide) + least).astype(y.dtype), counts[labels]
    return np.unique(y, return_counts=True)


def first_targets(source: BlockSource, n_rows: int = 1000) -> np.ndarray:
    """Return the targets of the first rows."""
    return next(source.targets())[0][:n_rows]


def targets_to_score(estimator: "BaseMLP", X: Any, y: Any, sample_weight: Any) -> tuple[Any, Any]:
    """Return y and sample_weight of a call of ``score``: those of a source where y is not given.

    Raises
    ------
    ValueError
        If there is no y.
    """
    if y is not None:
        return y, sample_weight
    if not isinstance(X, BlockSource):
        raise ValueError(f"{type(estimator).__name__}.score compares predictions with y, which is None.")
    if not X.has_targets:
        raise ValueError(f"{X!r} has no targets to compare with. Give them: BlockSource(X, y).")
    targets, weights = zip(*X.targets(), strict=True)
    if sample_weight is None and X.has_weights:
        sample_weight = np.concatenate(weights)
    return np.concatenate(targets), sample_weight


def conversion(estimator: "BaseMLP", weigh: Callable[..., Any]) -> Conversion:
    """Return the function that validates rows of a source and converts them to what the engine reads.

    Parameters
    ----------
    estimator : BaseMLP
        Initialized. What is read later may not change it, because it is read by another thread.
    weigh : callable
        Multiplies sample weights by class weights.
    """
    view = as_it_is_now(estimator)

    def convert(X, y, weight):
        X, targets = view._validate_more(X, y, "y")
        weight = weigh(targets, validation.check_sample_weight(weight, X, may_be_zero=True))
        data = Data.of(X, targets, weight, X.dtype)
        smoothed = view._training_targets(data.targets)
        return (
            data if smoothed is data.targets else data._replace(targets=smoothed, true_targets=data.targets)
        )

    return convert


def check_names(estimator: "BaseMLP", source: BlockSource) -> None:
    """Compare the columns of a source with those that an estimator was fitted with, as scikit-learn does.

    Raises
    ------
    ValueError
        If there are others, or in another order.

    Warns
    -----
    UserWarning
        If only one of the two has names.
    """
    fitted, given = vars(estimator).get("feature_names_in_"), source.feature_names
    owner = type(estimator).__name__
    if fitted is None and given is not None:
        warn(f"X has feature names, but {owner} was fitted without feature names")
    elif fitted is not None and given is None:
        warn(f"X does not have valid feature names, but {owner} was fitted with feature names")
    elif fitted is not None and list(fitted) != given:
        raise ValueError(
            f"The columns of {source!r} should be those that {owner} was fitted with, in their order: "
            f"{list(fitted)}. They are {given}. BlockSource(..., columns=[...]) chooses them."
        )


def outputs_by_block(estimator: "BaseMLP", source: BlockSource) -> Iterator[np.ndarray]:
    """Yield the outputs of a network for the rows of each block, in the order of the file."""
    check_names(estimator, source)
    view = as_it_is_now(estimator)
    for X, _, _ in source.blocks():
        yield view._outputs(X)
