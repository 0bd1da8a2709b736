"""The regressor."""

from typing import ClassVar

import numpy as np
from scipy.sparse import issparse
from sklearn.base import RegressorMixin, _fit_context
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import validate_data

from fastopt.neural_network import scoring
from fastopt.neural_network._base import BaseMLP
from fastopt.neural_network.docstrings import document


@document(score="R2")
class MLPRegressor(RegressorMixin, BaseMLP):
    """Multi-layer perceptron regressor, a drop-in for scikit-learn's.

    Minimizes half the squared error, or half the Poisson deviance, on fastopt's compiled engine. For the
    same arguments, data and ``random_state`` it computes what `sklearn.neural_network.MLPRegressor` computes,
    up to rounding; docs/differences.md lists every deliberate difference. y may have several columns.

    Parameters
    ----------
    loss : {'squared_error', 'poisson'}, default='squared_error'
        ``'poisson'`` predicts the exponential of the last layer and needs ``y >= 0``.
    {parameters}

    Attributes
    ----------
    {attributes}

    See Also
    --------
    MLPClassifier : The same network for labels.

    Examples
    --------
    >>> from fastopt import MLPRegressor
    >>> from sklearn.datasets import make_regression
    >>> from sklearn.model_selection import train_test_split
    >>> X, y = make_regression(n_samples=200, n_features=20, random_state=1)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=1)
    >>> regr = MLPRegressor(random_state=1, max_iter=2000, tol=0.1).fit(X_train, y_train)
    >>> round(regr.score(X_test, y_test), 2)
    0.98
    """

    _parameter_constraints: ClassVar[dict] = {
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions({"squared_error", "poisson"})],
    }

    def __init__(
        self,
        loss="squared_error",
        hidden_layer_sizes=(100,),
        activation="relu",
        *,
        solver="adam",
        alpha=0.0001,
        batch_size="auto",
        learning_rate="constant",
        learning_rate_init=0.001,
        power_t=0.5,
        max_iter=200,
        shuffle=True,
        random_state=None,
        tol=1e-4,
        verbose=False,
        warm_start=False,
        momentum=0.9,
        nesterovs_momentum=True,
        early_stopping=False,
        validation_fraction=0.1,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        n_iter_no_change=10,
        max_fun=15000,
        n_jobs=None,
        device="cpu",
        reset_optimizer=True,
        restore_best_weights="auto",
        warmup=0.0,
        clip_norm=None,
        clip_value=None,
        progress=False,
    ):
        super().__init__(
            hidden_layer_sizes,
            activation,
            solver=solver,
            alpha=alpha,
            batch_size=batch_size,
            learning_rate=learning_rate,
            learning_rate_init=learning_rate_init,
            power_t=power_t,
            max_iter=max_iter,
            shuffle=shuffle,
            random_state=random_state,
            tol=tol,
            verbose=verbose,
            warm_start=warm_start,
            momentum=momentum,
            nesterovs_momentum=nesterovs_momentum,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            n_iter_no_change=n_iter_no_change,
            max_fun=max_fun,
            n_jobs=n_jobs,
            device=device,
            reset_optimizer=reset_optimizer,
            restore_best_weights=restore_best_weights,
            warmup=warmup,
            clip_norm=clip_norm,
            clip_value=clip_value,
            progress=progress,
        )
        self.loss = loss

    def _validate_input(self, X, y, incremental, reset):
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse=["csr", "csc"],
            multi_output=True,
            y_numeric=True,
            dtype=(np.float64, np.float32),
            reset=reset,
        )
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if issparse(y) or y.dtype.kind not in "buif":
            raise ValueError(
                f"y must be a dense array of numbers, got {type(y).__name__} of dtype {y.dtype}."
            )
        if self.loss == "poisson" and y.min() < 0:
            raise ValueError(
                f"loss='poisson' needs y >= 0, got a smallest value of {y.min()}. For such targets use "
                "loss='squared_error'."
            )
        return X, y.reshape(len(y), -1)

    def _output_activation(self):
        return "exp" if self.loss == "poisson" else "identity"

    def _score_outputs(self, targets, outputs, sample_weight):
        return scoring.r2(targets, outputs, sample_weight)

    @available_if(lambda self: self._check_solver())
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None):
        """Train for one epoch on the given rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training data.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row in the loss.

        Returns
        -------
        self : MLPRegressor

        Raises
        ------
        AttributeError
            If the solver is ``'lbfgs'``.
        """
        return self._fit(X, y, sample_weight=sample_weight, incremental=True)

    def predict(self, X):
        """Predict targets.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
        """
        outputs = self._outputs(X)
        return outputs.ravel() if outputs.shape[1] == 1 else outputs

    def to_sklearn(self):
        """Return the equivalent fitted `sklearn.neural_network.MLPRegressor`; see `from_sklearn`."""
        from fastopt.neural_network.interop import to_sklearn

        return to_sklearn(self)
