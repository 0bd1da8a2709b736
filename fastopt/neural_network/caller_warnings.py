"""Warnings whose location is the user's line, however deep in the library they arise."""

import sys
import warnings

from sklearn.exceptions import ConvergenceWarning
from sklearn.exceptions import InconsistentVersionWarning as _SklearnVersionWarning

_PASSED_OVER = ("fastopt", "sklearn", "joblib", "mlflow")  # its autologging wraps ``fit``


class InconsistentVersionWarning(_SklearnVersionWarning):
    """A pickle was written by another version of fastopt: scikit-learn's category, fastopt's versions."""

    def __str__(self) -> str:
        return (
            f"Trying to unpickle a {self.estimator_name} of fastopt {self.original_sklearn_version} with "
            f"fastopt {self.current_sklearn_version}: what it predicts or how it trains may differ. Between "
            "versions, keep models with fastopt.save."
        )


def warn(message: str | Warning, category: type[Warning] = UserWarning) -> None:
    """Warn with the location of the nearest caller outside these packages, the line that called ``fit``."""
    frame, depth = sys._getframe(), 0
    while frame and frame.f_globals.get("__name__", "").partition(".")[0] in _PASSED_OVER:
        frame, depth = frame.f_back, depth + 1
    warnings.warn(message, category, stacklevel=depth + 1)


def warn_interrupted() -> None:
    """Warn, in scikit-learn's words, that Ctrl-C ended the training."""
    warn("Training interrupted by user.")


def warn_of_version(estimator_name: str, original: str | None, current: str) -> None:
    """Warn, as scikit-learn does, if the version that wrote a pickle is not the present one."""
    if original != current:
        warn(
            InconsistentVersionWarning(
                estimator_name=estimator_name,
                current_sklearn_version=current,
                original_sklearn_version=original or "0.1.0 or earlier",
            )
        )


def warn_diverged(n_iter: int, loss: float) -> None:
    """Warn that training stopped because the loss was no longer finite."""
    warn(
        f"Stochastic Optimizer: the loss is {loss} after {n_iter} iteration(s), so training stopped there. "
        "Lower the learning rate, or scale the data.",
        ConvergenceWarning,
    )


def warn_not_converged(max_iter: int) -> None:
    """Warn, in scikit-learn's words, that ``max_iter`` ended the training."""
    warn(
        f"Stochastic Optimizer: Maximum iterations ({max_iter}) reached and the optimization "
        "hasn't converged yet.",
        ConvergenceWarning,
    )


def warn_out_of_time(max_time: float | None, n_iter: int) -> None:
    """Warn that ``max_time`` ended the training."""
    warn(
        f"Stopped after max_time={max_time!r} seconds in iteration {n_iter}, and the optimization hasn't "
        "converged yet.",
        ConvergenceWarning,
    )


def warn_without_score(name: str, restores: bool) -> None:
    """Warn that early stopping has had no score to go by."""
    left = "the fit leaves the weights with which it began" if restores else "the fit leaves the last weights"
    warn(
        f"The validation score {name!r} was NaN or -inf after every epoch, so {left}. Pass a scoring that is "
        "a number for the validation rows, or early_stopping=False."
    )
