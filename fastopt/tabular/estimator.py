"""What the estimators of tables have in common: fitting a bag of networks, and its predictions."""

import functools
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from fastopt.engine import Layout
from fastopt.engine.cpu.few_rows import MAX_ROWS
from fastopt.engine.objective import resolve_activations
from fastopt.neural_network import validation
from fastopt.neural_network._base import in_fit_context
from fastopt.neural_network.caller_warnings import (
    warn_diverged,
    warn_interrupted,
    warn_out_of_time,
)
from fastopt.neural_network.data import Data
from fastopt.neural_network.familiar_keywords import answers_keywords
from fastopt.neural_network.fit_tasks import FitTasks
from fastopt.neural_network.kept_trainers import few_rows, kept_trainer
from fastopt.neural_network.progress import fit_bar
from fastopt.neural_network.stopwatch import Stopwatch
from fastopt.neural_network.validation import Rows
from fastopt.neural_network.validation_sets import Given
from fastopt.tabular import tables
from fastopt.tabular.bag import Bag, Training
from fastopt.tabular.columns import TableEncoder
from fastopt.tabular.cycles import cycle_lengths, train_in_cycles
from fastopt.tabular.distinct_rows import distinct_rows
from fastopt.tabular.folds import repeated_folds
from fastopt.tabular.held_out import HeldOut
from fastopt.tabular.importance import permutation_importance
from fastopt.tabular.parameters import TabularParameters

_Self = TypeVar("_Self", bound="BaseTabularMLP")

#: Networks of a bag and the units of their hidden layers: for fewer rows than this, and for more.
_FEW_ROWS, _MANY, _LARGE = 2000, (10, (64, 64, 64)), (5, (128, 128, 128))
#: The most folds that ``n_cv='auto'`` is for.
_MOST_FOLDS = 10


class TabularMember(NamedTuple):
    """One network of a bag; its arrays are views.

    Attributes
    ----------
    coefs_, intercepts_ : list of ndarray
        Weights of shape (fan_in, fan_out) and biases.
    input_scale_ : ndarray of shape (n_inputs,) or None
        What the columns of `TableEncoder` are multiplied by.
    best_epoch_ : int
        The epoch, counted from 0, of which these are: that with the least loss of the rows held out.
    best_loss_ : float
        That loss.
    """

    coefs_: list[np.ndarray]
    intercepts_: list[np.ndarray]
    input_scale_: np.ndarray | None
    best_epoch_: int
    best_loss_: float


class BaseTabularMLP(TabularParameters):
    """Base class of `TabularMLPClassifier` and `TabularMLPRegressor`, which add targets and scores."""

    @answers_keywords
    @in_fit_context
    def fit(
        self: _Self,
        X: Rows,
        y: npt.ArrayLike,
        sample_weight: npt.ArrayLike | None = None,
        *,
        X_val: Rows | None = None,
        y_val: npt.ArrayLike | None = None,
        sample_weight_val: npt.ArrayLike | None = None,
    ) -> _Self:
        """Fit the bag to a table.

        Parameters
        ----------
        X : DataFrame, {array-like, sparse matrix} of shape (n_samples, n_features)
            The table as it is; see `TableEncoder`.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Labels or numbers.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, 0 or more: in the loss, in what is learnt of the columns, and in the scores.
            A row of weight 2 counts as if it stood twice in the table.
        X_val : like X, default=None
            Rows on which the networks are validated. Then all are trained on all rows of X, and there are no
            out-of-fold predictions: `validation_score_` takes the place of `oof_score_`.
        y_val, sample_weight_val : array-like, default=None
            Their targets, required, and weights.

        Returns
        -------
        self : estimator

        Raises
        ------
        ValueError
            If a parameter or the data is not acceptable, or the weights of the networks stop being finite.
        MissingExtraError
            If ``progress=True`` and rich is not installed.

        Warns
        -----
        ConvergenceWarning
            When ``max_time`` ends the fit in the middle of a cycle, or the loss is no longer finite.
        UserWarning
            If a parameter that was set has no effect here.
        """
        if y is None:  # scikit-learn's words
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y is None."
            )
        stopwatch = Stopwatch(self.max_time)
        self._forget()
        random_state = check_random_state(self.random_state)
        labels = self._read_labels(y, reset=True)
        weights = _checked_weights(sample_weight, labels)
        encoded = self._learn_columns(X, labels, weights)
        validation_set = self._validation_set(Given(X_val, y_val, sample_weight_val), labels.shape[1])
        self._warn_of_unused(validation_set is not None)
        n_parts = 1 if validation_set is not None else _MOST_FOLDS if self.n_cv == "auto" else self.n_cv
        distinct = distinct_rows(encoded, labels, weights, n_parts)
        rest = encoded[distinct.inverse < 0]  # rows without weight
        data, held_out = self._prepare(encoded, labels, distinct, validation_set, random_state)
        del encoded
        bag = self._new_bag(data, held_out, validation_set is not None, random_state)
        tasks = self._tasks(X, y, sample_weight)
        conclude = functools.partial(self._conclude, bag, held_out, distinct, rest)
        ending = self._train(bag, stopwatch, conclude, tasks)
        conclude()
        self._kept = held_out
        if ending == "cut_short":
            warn_out_of_time(self.max_time, self.n_iter_)
        if tasks is not None:
            tasks.finish()
        return self

    def _tasks(self, X, y, sample_weight):
        """Return the tasks for scikit-learn's callbacks, or None if there are none."""
        if "_skl_callbacks" not in vars(self):
            return None
        n_tasks = len(cycle_lengths(self.max_iter))
        tasks = FitTasks(self, X, y, sample_weight, name="cycle", n_tasks=n_tasks)
        tasks.begin()
        return tasks

    def _forget(self):
        """Forget what another fit has left and this one, or an error in it, may not leave."""
        for name in (
            "oof_predictions_",
            "oof_score_",
            "validation_score_",
            "folds_",
            "_importances",
            "_kept",
            "_params",
        ):
            vars(self).pop(name, None)

    def _learn_columns(self, X, labels, weights):
        """Learn from a table what its columns are, and return it as the networks read it."""
        check_consistent_length(X, labels)
        embedding = self._embedding if self.num_embedding == "auto" else self.num_embedding
        encoder = TableEncoder(
            numeric_scaler=self.numeric_scaler,
            categorical_features=self.categorical_features,
            max_one_hot=self.max_one_hot,
            encoding=embedding,
        )
        table = tables.read(X, self, reset=True)
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(self, name):
                setattr(encoder, name, getattr(self, name))
        self.encoder_ = encoder.fit_table(table, weights)
        return validation.as_engine_array(encoder.encode(table), np.float32)

    def _encoded(self, X):
        """Return the rows of a table as the networks read them."""
        check_is_fitted(self)
        return self._inputs(X)

    def _inputs(self, X):
        table = tables.read(X, self, reset=False)
        return validation.as_engine_array(self.encoder_.encode(table), np.float32)

    def _validation_set(self, given, n_targets):
        """Return inputs, labels and weights of the arguments ``X_val`` and so on, or None."""
        if not given.is_there():
            return None
        try:
            labels = self._read_labels(given.y, reset=False)
            if labels.shape[1] != n_targets:
                raise ValueError(f"y_val has {labels.shape[1]} targets, but y has {n_targets}")
            check_consistent_length(given.X, labels)
            return self._inputs(given.X), labels, _checked_weights(given.sample_weight, labels)
        except (ValueError, TypeError) as error:
            raise type(error)(f"In the validation set (X_val, y_val): {error}") from error

    def _prepare(self, encoded, labels, distinct, validation_set, random_state):
        """Return the rows to train on, and those that are held out of the networks."""
        rows = distinct.rows
        n_rows, own = len(rows), labels[distinct.rows]
        n_members = _for_rows(n_rows)[0] if self.n_members == "auto" else self.n_members
        self._learn_targets(own, distinct.weights)
        smoothed, targets = self._targets(own)
        weigh = self._class_weighing(targets)
        loss_weights = weigh(targets, distinct.weights)
        data = Data.of(encoded[rows], smoothed, loss_weights, np.float32)
        if smoothed is not targets:
            data = data._replace(true_targets=np.ascontiguousarray(targets, np.float32))
        if validation_set is not None:
            X, labels_val, weights = validation_set
            every = [np.arange(len(labels_val))] * n_members
            loss_weights = weigh(self._targets(labels_val)[1], weights)
            return data, HeldOut(X, labels_val, weights, loss_weights, every)
        if n_rows < 2:
            raise ValueError(
                f"{type(self).__name__} needs at least 2 rows that differ and have weight, got {n_rows} of "
                f"n_samples={len(labels)}: each network is validated on rows that it is not trained on"
            )
        n_folds = min(_n_folds(n_rows, n_members) if self.n_cv == "auto" else self.n_cv, n_rows)
        folds = repeated_folds(
            _strata(self._strata(own), rows), n_folds, -(-n_members // n_folds), random_state
        )
        held_out = [np.flatnonzero(folds[j // n_folds] == j % n_folds) for j in range(n_members)]
        self.folds_ = np.where(distinct.inverse < 0, -1, folds[:, distinct.inverse])
        return data, HeldOut(data.X, own, distinct.weights, loss_weights, held_out)

    def _new_bag(self, data, held_out, has_validation_set, random_state):
        is_auto = isinstance(self.hidden_layer_sizes, str)
        hidden = _for_rows(data.X.shape[0])[1] if is_auto else self.hidden_layer_sizes
        sizes = [data.X.shape[1], *validation.layer_sizes(hidden), data.targets.shape[1]]
        activations = resolve_activations(self.activation, len(sizes) - 2)
        self._layout = Layout(sizes, [one.learns for one in activations], self.input_scale)
        rate = self._learning_rate if self.learning_rate_init == "auto" else self.learning_rate_init
        training = Training(
            rate, (self.beta_1, self.beta_2), self.weight_decay, self.max_iter, self.batch_size
        )
        measured = n_folds = None
        if not has_validation_set:
            n_folds = int(self.folds_.max()) + 1
        else:
            targets = self._targets(held_out.labels)[1]
            measured = Data.of(held_out.X, targets, held_out.loss_weights, np.float32)
        self._seed = int(random_state.randint(2**31))  # of permutations
        return Bag(self._network(), training, data, held_out.rows, measured, n_folds, random_state)

    def _network(self):
        """Return the arguments of `fastopt.engine.MemberTrainer`."""
        loss, output, parameter = self._objective()
        return {
            "layout": self._layout,
            "activation": self.activation if isinstance(self.activation, str) else tuple(self.activation),
            "out_activation": output,
            "loss": loss,
            "loss_parameter": parameter,
            "dtype": np.float32,
            "n_threads": validation.thread_count(self.n_jobs),
        }

    def _train(self, bag, stopwatch, conclude, tasks):
        """Train a bag; return why training has ended."""

        def cycle_ends(n_epochs):
            self.n_iter_ = n_epochs
            training, held_out = (curve[-1] for curve in bag.losses())
            if self.verbose:
                print(f"Epoch {n_epochs}, loss = {training:.6f}, loss of the rows held out = {held_out:.6f}")
            if tasks is None:
                return False
            conclude()
            stops = tasks.end()
            if n_epochs < self.max_iter and not stops:
                tasks.begin()
            return stops

        def curves():
            return ((), ()) if bag.lacks_epochs() else bag.losses()

        with fit_bar(self, incremental=False, curves=curves) as report:
            tick = None if not self.progress else lambda n: report(round(n), bag.last_loss())
            try:
                return train_in_cycles(bag, self.max_iter, stopwatch, cycle_ends, tick)
            except KeyboardInterrupt:
                if bag.lacks_epochs():
                    raise
                warn_interrupted()
                return "interrupt"

    def _conclude(self, bag, held_out, distinct, rest):
        """Record what the fit leaves."""
        members = bag.members
        training, validated = bag.losses()
        self.n_iter_ = len(training)
        self.history_ = {"loss": training, "val_loss": validated}
        if any(member.best_params is None for member in members):
            validation.check_fitted_parameters(np.array([np.nan]))
        if any(member.has_diverged for member in members):
            warn_diverged(self.n_iter_, training[-1])
        self._params = np.array([member.best_params for member in members])
        self._best = [(member.best_epoch, member.best_loss) for member in members]
        outputs = bag.held_out_outputs()
        mean = held_out.mean(outputs)
        known = np.flatnonzero(~np.isnan(mean[:, 0]))
        self._calibrate(held_out, outputs, mean)
        score = self._score_of(held_out.take(known), mean[known])
        if not hasattr(self, "folds_"):
            self.validation_score_ = score
            return
        self.oof_score_ = score
        of_all = mean[distinct.inverse]
        if rest.shape[0]:  # no network was trained on these
            of_all[distinct.inverse < 0] = self._mean_outputs(rest)
        self.oof_predictions_ = self._predicted(of_all)

    def _predictor(self, X):
        """Return the function of parameters and inputs that returns outputs, for so many rows."""
        network = {"device": "cpu", **self._network()}
        if isinstance(X, np.ndarray) and X.shape[0] <= MAX_ROWS:
            few = few_rows(network)
            if few.can_take(X.shape[0]):
                return few.predict
        return kept_trainer("predict", **network).predict

    def _mean_outputs(self, X):
        """Return the mean outputs of all networks, float64."""
        total, predict = np.zeros((X.shape[0], self._layout.layer_sizes[-1])), self._predictor(X)
        for flat in self._params:
            total += predict(flat, X)
        return total / len(self._params)

    @property
    def members_(self) -> list[TabularMember]:
        """The networks."""
        check_is_fitted(self)
        layout = self._layout
        return [
            TabularMember(layout.weights(flat), layout.biases(flat), layout.scale(flat), *best)
            for flat, best in zip(self._params, self._best, strict=True)
        ]

    @property
    def feature_importances_(self) -> np.ndarray:
        """Importance of each column, computed when it is first asked for.

        By how much the loss of the rows held out rises when the column is permuted among them: each network
        predicts the rows that it was not trained on, once for each column (with ``X_val``: those rows). Of
        probabilities the log-loss, calibrated; of numbers the loss in units of the scaled targets, so with
        ``loss='squared_error'`` about by how much R2 falls. Columns that hold
        the same information are all low.

        Until then the estimator keeps the encoded training rows. A pickle or a file does not hold them: ask
        before, and the importances are saved.
        """
        check_is_fitted(self)
        if "_importances" not in vars(self):
            kept = vars(self).get("_kept")
            if kept is None:
                raise AttributeError(
                    "feature_importances_ are computed from the training rows, which a saved model does not "
                    "hold: ask for them before it is saved, or use sklearn.inspection.permutation_importance"
                )
            known = np.flatnonzero(
                ~np.isnan(kept.mean([np.zeros((len(rows), 1)) for rows in kept.rows])[:, 0])
            )
            labels = kept.take(known)
            self._importances = permutation_importance(
                kept,
                self.encoder_.source_columns_,
                self.n_features_in_,
                lambda number, X: self._predictor(X)(self._params[number], X),
                lambda outputs: self._loss_of(labels, outputs[known]),
                np.random.RandomState(self._seed),
            )
            del self._kept
        return self._importances


def _for_rows(n_rows):
    """Return how many networks ``'auto'`` is for so many rows, and the units of their layers."""
    return _MANY if n_rows < _FEW_ROWS else _LARGE


def _n_folds(n_rows, n_members):
    """Return how many folds ``'auto'`` is for so many rows and networks.

    Where rows are few, a network that is trained on nine tenths of them predicts better than on four fifths.
    """
    return min(max(n_members, 5), _MOST_FOLDS) if n_rows < _FEW_ROWS else 5


def _strata(strata, rows):
    """Return strata in which the parts of a row, neighbours in ``rows``, are one of their own.

    So these are dealt to different folds.
    """
    is_next = rows[1:] == rows[:-1]
    has_parts = np.append(False, is_next) | np.append(is_next, False)
    row = np.where(has_parts, np.cumsum(np.append(True, ~is_next)), 0)
    return np.unique(np.column_stack([strata, row]), axis=0, return_inverse=True)[1].reshape(-1)


def _checked_weights(sample_weight, labels):
    """Return the weights of rows as an array, or None."""
    weights = validation.check_sample_weight(sample_weight, labels)
    if weights is not None and weights.min() < 0:
        raise ValueError(f"sample_weight has the negative number {weights.min()}; weights are 0 or more")
    return weights
