"""Patience: how many epochs without improvement training goes on."""


def observe(score: float, best: float, n_bad: int, tol: float) -> tuple[float, int]:
    """Return the best score and the number of bad epochs in a row, counted as scikit-learn does.

    An epoch is bad unless it improves on the best score so far by more than ``tol``.

    Parameters
    ----------
    score : float
        Of the epoch; the greater, the better. NaN is neither bad nor an improvement.
    best : float
        Of the epochs before; minus infinity before the first.
    n_bad : int
        Bad epochs in a row so far.
    tol : float

    Returns
    -------
    best : float
    n_bad : int

    Examples
    --------
    >>> from fastopt.rules.patience import observe
    >>> observe(0.90, 0.85, 3, 0.1), observe(0.99, 0.85, 3, 0.1)
    ((0.9, 4), (0.99, 0))
    """
    n_bad = n_bad + 1 if score < best + tol else 0
    return (score if score > best else best), n_bad
