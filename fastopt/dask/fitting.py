"""What both estimators do on a cluster: fit, score and predict Dask collections."""

import functools
import inspect
from typing import Any, ClassVar

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils.validation import check_is_fitted

from fastopt._dask_client import HasClient, client_of
from fastopt.dask import evaluation, prediction, rounds
from fastopt.dask.checkpoint import RoundCheckpoint
from fastopt.dask.cluster import ClusterExecutor
from fastopt.dask.partitions import Collection
from fastopt.dask.requirements import check_supported
from fastopt.dask.rows import TrainingRows, ValidationRows, look_at, plan
from fastopt.dask.training import RoundTraining
from fastopt.neural_network import epochs, validation
from fastopt.neural_network.progress import fit_bar
from fastopt.neural_network.stopwatch import Stopwatch
from fastopt.neural_network.unused_parameters import warn_of_unused

#: What a fit leaves that the estimator in memory has not.
_OF_ROUNDS = ("n_replicas_", "local_steps_", "n_rounds_")


class TrainedInRounds(HasClient):
    """The part of both estimators that trains on a cluster, mixed into an estimator of fastopt."""

    _family: ClassVar[str] = "estimator on Dask"
    _in_memory: ClassVar[Any]

    n_replicas: int | None
    local_steps: int | str
    outer_lr: float
    outer_momentum: float
    deal: str
    split_every: int
    max_round_retries: int

    n_replicas_: int
    local_steps_: int
    n_rounds_: int

    def __init__(
        self,
        *args: Any,
        n_replicas: int | None = None,
        local_steps: int | str = "auto",
        outer_lr: float = 1.0,
        outer_momentum: float = 0.0,
        deal: str = "static",
        split_every: int = 16,
        max_round_retries: int = 3,
        client: Any | None = None,
        **local: Any,
    ) -> None:
        super().__init__(*args, **local)
        self.n_replicas, self.local_steps, self.deal = n_replicas, local_steps, deal
        self.outer_lr, self.outer_momentum = outer_lr, outer_momentum
        self.split_every, self.max_round_retries, self.client = split_every, max_round_retries, client

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Show the arguments of the estimator in memory in the signature, before those of the cluster."""
        super().__init_subclass__(**kwargs)
        if "_in_memory" not in vars(cls):  # the class of a user
            return
        shared = TrainedInRounds.__init__
        own = inspect.signature(shared).parameters.values()
        theirs = inspect.signature(cls._in_memory.__init__).parameters.values()
        extras = [one for one in own if one.kind is one.KEYWORD_ONLY]

        @functools.wraps(shared)
        def __init__(self, *args, **arguments):
            shared(self, *args, **arguments)

        __init__.__signature__ = inspect.Signature([*theirs, *extras])
        cls.__init__ = __init__

    def _fit_in_rounds(self, X, y, sample_weight, given, classes=None):
        """Train on Dask collections; ``given`` are X_val, y_val and sample_weight_val."""
        stopwatch, owner = Stopwatch(self.max_time), type(self).__name__
        rows = Collection.of(owner, X, y, sample_weight)
        measured = self._validation_collection(owner, *given)
        check_supported(self, has_validation_set=measured is not None)
        client = client_of(self.client, owner)
        executor = ClusterExecutor(client, owner)
        facts = look_at(executor, rows, self, classes)
        is_fresh = not (self.warm_start and self._has("coefs_"))
        balanced = self._prepare(rows, facts, classes, is_fresh)
        checkpoint = (
            None if self.checkpoint is None else RoundCheckpoint(self.checkpoint, self.checkpoint_every)
        )
        seed = int(self._random_state.randint(2**31))
        seed = seed if checkpoint is None else checkpoint.seed(seed)
        recipe, hands = plan(self, facts, balanced, len(client.nthreads()), seed)
        self.n_replicas_, self.local_steps_ = recipe.n_replicas, recipe.local_steps
        epochs.begin_history(self, only_if_missing=True, has_validation_set=measured is not None)
        warn_of_unused(self, has_validation_set=measured is not None)
        with fit_bar(self, False) as report:
            training = RoundTraining(
                self,
                executor,
                TrainingRows(executor, rows, hands, recipe, facts.n_rows),
                self._validation_rows(executor, measured, recipe),
                report,
                stopwatch,
            )
            training.run(checkpoint, facts)
        validation.check_fitted_parameters(self._params)
        return self

    def _validation_collection(self, owner, X_val, y_val, sample_weight_val):
        if X_val is None and y_val is None and sample_weight_val is None:
            return None
        if X_val is None or y_val is None:
            raise ValueError("X_val and y_val belong together: pass both, or neither.")
        return Collection.of(owner, X_val, y_val, sample_weight_val, ("X_val", "y_val", "sample_weight_val"))

    def _validation_rows(self, executor, measured, recipe):
        if measured is None:
            return None
        facts = look_at(executor, measured, self, classes=())
        full = [i for i, n in enumerate(facts.n_rows) if n]
        groups = [part.tolist() for part in np.array_split(full, min(recipe.n_replicas, len(full)))]
        return ValidationRows(executor, measured, groups, recipe)

    def _prepare(self, rows, facts, classes, is_fresh):
        """Initialize the network from counts and labels, on rows made up; return balanced class weights."""
        labels = facts.labels if classes is None else np.unique(np.asarray(classes))
        X, targets = self._validate_input(*self._made_up(rows, labels), False, is_fresh)
        self._seed()
        if is_fresh:
            sizes = validation.layer_sizes(self.hidden_layer_sizes)
            self._initialize([X.shape[1], *sizes, targets.shape[1]], X.dtype)
        self._parameters()
        self._make_writable()
        validation.check_network_shape(self._layout, X.shape[1], targets.shape[1], self.input_scale)
        self.device_, self.n_outputs_ = "cpu", targets.shape[1]
        return self._balanced(facts)

    def _made_up(self, rows, labels):
        if labels is None:
            shape = () if rows.y_width is None else (rows.y_width,)
            y = np.ones((2, *shape))
            if rows.y_width is not None and is_classifier(self):
                y[0], y = 0, y.astype(int)  # an indicator matrix
        else:
            y = labels if len(labels) else np.ones(1)
        return rows.example(len(y)), y

    def _balanced(self, facts):
        """Return the class weights that stand for 'balanced'; None where they are given, or none."""
        if getattr(self, "class_weight", None) != "balanced":
            return None
        if facts.labels is None:
            raise ValueError(
                "class_weight='balanced' needs the frequencies of the labels: leave out classes, and for "
                "multilabel y give a list of dicts."
            )
        share = facts.counts.sum() / (len(facts.counts) * facts.counts)
        return dict(zip(facts.labels.tolist(), share.tolist(), strict=True))

    def _local(self, *, with_parameters=True, **changes):
        """Return the estimator in memory with this one's arguments and what a fit has left."""
        names = inspect.signature(self._in_memory).parameters
        local = self._in_memory(**{name: getattr(self, name) for name in names})
        left_out = {*inspect.signature(type(self)).parameters, *_OF_ROUNDS, "_random_state", "_is_seeded"}
        left_out |= set() if with_parameters else {"_params", "_history", "loss_curve_", "validation_scores_"}
        vars(local).update((name, value) for name, value in vars(self).items() if name not in left_out)
        vars(local).update(changes)
        if with_parameters:
            local._params = self._params.copy()
        return local

    def to_local(self) -> Any:
        """Return the fitted estimator in memory, which needs no Dask to be loaded or to predict.

        Raises
        ------
        NotFittedError
            If there is no network yet.
        """
        self._check_fitted()
        return self._local()

    def _check_fitted(self):
        check_is_fitted(self)
        self._parameters()

    def _predict_lazily(self, method, X):
        self._check_fitted()
        return prediction.lazily(self._local(), method, X)

    def _score_on_cluster(self, X, y, sample_weight):
        self._check_fitted()
        owner = type(self).__name__
        rows = Collection.of(owner, X, y, sample_weight)
        executor = ClusterExecutor(client_of(self.client, owner), owner)
        network = executor.submit(rounds.itself, self._local())
        numbers = range(len(rows.X))
        parts = rows.compute(executor.client, numbers)
        weights = parts.get("sample_weight", dict.fromkeys(numbers))
        tallies = [
            executor.submit(
                evaluation.tally_of_predictions, network, parts["X"][i], parts["y"][i], weights[i]
            )
            for i in numbers
        ]
        return self._score_of(
            executor.result(rounds.reduced(executor, evaluation.add_tallies, tallies, self.split_every))
        )

    @property
    def partial_fit(self) -> Any:
        """Not there: the data of a round are those of `fit`."""
        raise AttributeError(
            f"{type(self).__name__} has no partial_fit. To train on, set warm_start=True and call fit; for "
            "rows in memory, to_local().partial_fit."
        )
