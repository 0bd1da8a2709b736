"""Folds of a repeated, stratified cross-validation."""

import numpy as np


def repeated_folds(
    strata: np.ndarray, n_folds: int, n_repeats: int, random_state: np.random.RandomState
) -> np.ndarray:
    """Assign each row to a fold, once in each repeat.

    The rows of each stratum are dealt to the folds in turn, from where those of the stratum before ended. So
    folds differ by at most one row in size and in the number of rows of each stratum, however few these are;
    scikit-learn's ``StratifiedKFold`` warns of strata with fewer rows than folds, and refuses if all are so.

    Parameters
    ----------
    strata : ndarray of int, shape (n_samples,)
        Of each row, such as the number of its class.
    n_folds : int
        At most ``n_samples``.
    n_repeats : int
    random_state : RandomState
        Advanced by a permutation of the rows for each repeat.

    Returns
    -------
    ndarray of int8 or int64, shape (n_repeats, n_samples)
        Numbers of folds, from 0.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.tabular.folds import repeated_folds
    >>> repeated_folds(np.array([0, 0, 0, 1, 1, 1]), 3, 1, np.random.RandomState(0))
    array([[2, 1, 0, 1, 2, 0]], dtype=int8)
    """
    n_samples = len(strata)
    folds = np.empty((n_repeats, n_samples), np.int8 if n_folds < 128 else np.int64)
    for fold in folds:
        drawn = random_state.permutation(n_samples)
        fold[drawn[np.argsort(strata[drawn], kind="stable")]] = np.arange(n_samples) % n_folds
    return folds
