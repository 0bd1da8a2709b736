"""The importance of each column of a table: what is lost when its values are permuted."""

from collections.abc import Callable

import numpy as np
import scipy.sparse

from fastopt.neural_network.validation import Rows
from fastopt.tabular.held_out import HeldOut


def permutation_importance(
    held_out: HeldOut,
    sources: np.ndarray,
    n_sources: int,
    predict: Callable[[int, Rows], np.ndarray],
    loss: Callable[[np.ndarray], float],
    random_state: np.random.RandomState,
) -> np.ndarray:
    """Return by how much the loss of rows held out rises when a column of the table is permuted.

    Of each network the rows that it was not trained on are permuted among themselves (Breiman, 2001; Fisher,
    Rudin & Dominici, 2019), one time for each column. What is predicted for a row is the mean over the
    networks that it was held out of.

    Parameters
    ----------
    held_out : HeldOut
    sources : ndarray of int, shape (n_inputs,)
        Of which column of the table each input is made: they are permuted together.
    n_sources : int
        Columns of the table.
    predict : callable
        Takes the number of a network and its rows of inputs, and returns the outputs.
    loss : callable
        Takes the mean outputs of all rows.
    random_state : RandomState
        Advanced.

    Returns
    -------
    ndarray of shape (n_sources,)
        0 for columns of which no input is made.
    """
    orders = [random_state.permutation(len(rows)) for rows in held_out.rows]
    inputs = [held_out.X[rows] for rows in held_out.rows]
    basis = loss(held_out.mean([predict(j, own) for j, own in enumerate(inputs)]))
    importances = np.zeros(n_sources)
    for source in range(n_sources):
        places = np.flatnonzero(sources == source)
        if len(places):
            outputs = [
                predict(j, _permuted(own, places, order))
                for j, (own, order) in enumerate(zip(inputs, orders, strict=True))
            ]
            importances[source] = loss(held_out.mean(outputs)) - basis
    return importances


def _permuted(X, places, order):
    """Return inputs with those at some places taken from the rows in another order."""
    if isinstance(X, np.ndarray):
        permuted = X.copy()
        permuted[:, places] = X[order][:, places]
        return permuted
    # What the entries at these places change by, spread over a matrix that is empty everywhere else.
    own, n_places = X[:, places], len(places)
    spread = scipy.sparse.csr_array(
        (np.ones(n_places, X.dtype), (np.arange(n_places), places)), shape=(n_places, X.shape[1])
    )
    return type(X)(X + (own[order] - own) @ spread)
