"""`DaskMLPClassifier` and `DaskMLPRegressor`."""

from numbers import Integral, Real
from typing import Any, ClassVar, TypeVar

from sklearn.utils._param_validation import Interval, StrOptions

from fastopt.dask.fitting import TrainedInRounds
from fastopt.dask.partitions import is_collection
from fastopt.neural_network import MLPClassifier, MLPRegressor
from fastopt.neural_network._base import in_fit_context

_Self = TypeVar("_Self", bound="TrainedInRounds")

#: What is validated of the arguments that the estimators have beside those of `fastopt.MLPClassifier`.
_CONSTRAINTS = {
    "n_replicas": [None, Interval(Integral, 1, None, closed="left")],
    "local_steps": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    "outer_lr": [Interval(Real, 0, None, closed="neither")],
    "outer_momentum": [Interval(Real, 0, 1, closed="left")],
    "deal": [StrOptions({"static", "stream"})],
    "split_every": [Interval(Integral, 2, None, closed="left")],
    "max_round_retries": [Interval(Integral, 0, None, closed="left")],
}


class DaskMLPClassifier(TrainedInRounds, MLPClassifier):
    """A classifier that is trained on the workers of a Dask cluster, where its data stay.

    Local SGD: each of `n_replicas` copies of the network takes `local_steps` steps on its own partitions;
    then the copies are averaged, and the next round begins from there. A round is a graph of pure tasks: a
    worker that is lost during `fit`, or all of them, costs time and not one bit of the result.

    Parameters
    ----------
    hidden_layer_sizes, activation, **local
        Those of `fastopt.MLPClassifier`, with these differences. `n_iter_no_change` counts rounds, as does
        `checkpoint_every`; `early_stopping` needs ``X_val``; `n_jobs` is the threads of one task, by default
        as many as OMP_NUM_THREADS says on the worker, which Dask sets to 1. Not taken: ``solver='lbfgs'``,
        another device than the CPU, and learning rates that react to losses.
    n_replicas : int or None, default=None
        Copies of the network. Results depend on it, and not on the number of workers. ``None``: one for each
        worker there is when `fit` is called.
    local_steps : int or 'auto', default='auto'
        Steps between averages. ``'auto'``: a twentieth of the steps of a fit, from 25 to 500.
    outer_lr : float, default=1.0
        How far each round goes towards the average.
    outer_momentum : float, default=0.0
        Nesterov momentum over rounds. It has helped from 16 replicas on, and harmed with few.
    deal : {'static', 'stream'}, default='static'
        Whether each replica keeps its partitions in the memory of the workers, or reads in each round as many
        as it trains on.
    split_every : int, default=16
        How many results a task adds up. The last bits depend on it.
    max_round_retries : int, default=3
        How often a round is given to the cluster again after Dask has given it up.
    client : distributed.Client or None, default=None
        ``None``: the current one.

    Attributes
    ----------
    n_replicas_, local_steps_, n_rounds_ : int
        What was used, and how many rounds there were.
    loss_curve_ : list of float
        Mean loss of each round. `history_` and the validation curves have an entry for each round as well.

    See Also
    --------
    fastopt.MLPClassifier : The same network for data in memory; `to_local` makes one of a fitted estimator.

    Notes
    -----
    Bits are the same for any number and placement of workers, given `random_state`, `n_replicas`, the
    partitions, `split_every`, versions and make of processor. If the client or the scheduler
    dies, the fit is lost, or goes on from the last `checkpoint`.

    Examples
    --------
    >>> from fastopt.dask import DaskMLPClassifier
    >>> clf = DaskMLPClassifier((64,), learning_rate_init=0.01, n_replicas=4, random_state=0)
    >>> clf.fit(X, y).score(X_test, y_test)  # doctest: +SKIP
    """

    _in_memory = MLPClassifier
    _parameter_constraints: ClassVar[dict] = {**MLPClassifier._parameter_constraints, **_CONSTRAINTS}

    @in_fit_context
    def fit(
        self: _Self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        classes: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> _Self:
        """Fit the network to rows that stay on the cluster.

        Parameters
        ----------
        X : Dask Array or DataFrame of shape (n_samples, n_features)
        y : Dask Array or Series of shape (n_samples,) or Array of shape (n_samples, n_outputs)
            Labels, or an indicator matrix; partitioned as X is.
        sample_weight : Dask Array or Series of shape (n_samples,), default=None
        classes : array-like of shape (n_classes,), default=None
            Every label there is; otherwise a pass over y finds them.
        X_val, y_val, sample_weight_val : Dask collections, default=None
            Rows on which loss and score are measured after each round.

        Returns
        -------
        self : DaskMLPClassifier

        Raises
        ------
        TypeError
            If X, y or the weights are no Dask collections.
        ValueError
            If partitions are not aligned, or an argument is not supported here; the message says which.
        """
        return self._fit_in_rounds(X, y, sample_weight, (X_val, y_val, sample_weight_val), classes)

    def predict(self, X: Any) -> Any:
        """Predict labels: lazily for a Dask collection, at once for rows in memory.

        Parameters
        ----------
        X : Dask Array or DataFrame, or {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        Dask Array or ndarray of shape (n_samples,) or (n_samples, n_classes)
        """
        return self._predict_lazily("predict", X) if is_collection(X) else super().predict(X)

    def predict_proba(self, X: Any) -> Any:
        """Predict probabilities: lazily for a Dask collection, at once for rows in memory.

        Parameters
        ----------
        X : Dask Array or DataFrame, or {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        Dask Array or ndarray of shape (n_samples, n_classes)
        """
        return self._predict_lazily("predict_proba", X) if is_collection(X) else super().predict_proba(X)

    def predict_log_proba(self, X: Any) -> Any:
        """Return the logarithm of `predict_proba`.

        Parameters
        ----------
        X : Dask Array or DataFrame, or {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        Dask Array or ndarray of shape (n_samples, n_classes)
        """
        if is_collection(X):
            return self._predict_lazily("predict_log_proba", X)
        return super().predict_log_proba(X)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return the accuracy, from sums over partitions where the rows are on a cluster.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`, or rows in memory.

        Returns
        -------
        float
        """
        if is_collection(X):
            return self._score_on_cluster(X, y, sample_weight)
        return super().score(X, y, sample_weight)

    def _score_of(self, tally):
        return tally.accuracy


class DaskMLPRegressor(TrainedInRounds, MLPRegressor):
    """A regressor that is trained on the workers of a Dask cluster, where its data stay.

    The same training as `DaskMLPClassifier`'s, with the same guarantees.

    Parameters
    ----------
    loss, hidden_layer_sizes, activation, **local
        Those of `fastopt.MLPRegressor`, with the differences that `DaskMLPClassifier` lists.
    n_replicas, local_steps, outer_lr, outer_momentum, deal, split_every, max_round_retries, client
        See `DaskMLPClassifier`.

    Attributes
    ----------
    n_replicas_, local_steps_, n_rounds_ : int
        What was used, and how many rounds there were.
    loss_curve_ : list of float
        Mean loss of each round.

    See Also
    --------
    fastopt.MLPRegressor : The same network for data in memory; `to_local` makes one of a fitted estimator.

    Examples
    --------
    >>> from fastopt.dask import DaskMLPRegressor
    >>> regr = DaskMLPRegressor(hidden_layer_sizes=(64,), learning_rate_init=0.01, n_replicas=4)
    >>> regr.fit(X, y).predict(X_test)  # doctest: +SKIP
    """

    _in_memory = MLPRegressor
    _parameter_constraints: ClassVar[dict] = {**MLPRegressor._parameter_constraints, **_CONSTRAINTS}

    @in_fit_context
    def fit(
        self: _Self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> _Self:
        """Fit the network to rows that stay on the cluster; see `DaskMLPClassifier.fit`.

        Parameters
        ----------
        X, y, sample_weight, X_val, y_val, sample_weight_val
            Dask collections, partitioned alike.

        Returns
        -------
        self : DaskMLPRegressor
        """
        return self._fit_in_rounds(X, y, sample_weight, (X_val, y_val, sample_weight_val))

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Predict numbers: lazily for a Dask collection, at once for rows in memory.

        Parameters
        ----------
        X : Dask Array or DataFrame, or {array-like, sparse matrix} of shape (n_samples, n_features)
        return_std : bool, default=False
            As `fastopt.MLPRegressor.predict`, for rows in memory only.

        Returns
        -------
        Dask Array or ndarray, or a tuple of two ndarray
        """
        if not is_collection(X):
            return super().predict(X, return_std)
        if return_std:
            raise ValueError(
                "return_std=True is for rows in memory: X.map_partitions(to_local().predict, True)"
            )
        return self._predict_lazily("predict", X)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return R2, from sums over partitions where the rows are on a cluster.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`, or rows in memory.

        Returns
        -------
        float
        """
        if not is_collection(X):
            return super().score(X, y, sample_weight)
        if self._quantiles() is not None:
            raise ValueError(
                "the score of a list of quantiles takes all rows at once: to_local().score(X, y)"
            )
        return self._score_on_cluster(X, y, sample_weight)

    def _score_of(self, tally):
        return tally.r2
