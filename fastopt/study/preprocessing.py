"""Preprocessing steps of a pipeline before the network, fitted by the pipeline itself."""

from __future__ import annotations

from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import Pipeline


class _LastStep(BaseEstimator):
    """Stands in for the network: keeps what a pipeline trains it on, and predicts its input unchanged.

    So each kind of pipeline fits its steps in its own way, and one of imbalanced-learn resamples the training
    rows and leaves the others as they are.
    """

    def fit(self, X, y=None):
        self.rows_ = X, y
        return self

    def predict(self, X):
        return X


def pipeline_of(estimator):
    """Return `estimator` if it has steps before the network, else None."""
    return estimator if isinstance(estimator, Pipeline) and len(estimator.steps) > 1 else None


def changes_rows(pipeline):
    """Whether a step changes the number of rows, as the samplers of imbalanced-learn do."""
    return pipeline is not None and any(hasattr(step, "fit_resample") for _, step in pipeline.steps[:-1])


def prepared(pipeline, X_train, y_train, X_val, seed):
    """Fit the steps before the network on the training rows; return all rows preprocessed.

    Parameters
    ----------
    pipeline : Pipeline
        Not changed. Steps whose ``random_state`` is None get `seed`, so that the split repeats.
    X_train, y_train, X_val
        `X_val` may be None.
    seed : int

    Returns
    -------
    X_train, y_train, X_val
    """
    fitted = clone(pipeline).set_params(**{pipeline.steps[-1][0]: _LastStep()})
    is_seed = {name for name in fitted.get_params() if name.rpartition("__")[2] == "random_state"}
    fitted.set_params(**{name: seed for name in is_seed if fitted.get_params()[name] is None})
    fitted.fit(X_train, y_train)
    X_train, y_train = fitted.steps[-1][1].rows_
    return X_train, y_train, None if X_val is None else fitted.predict(X_val)
