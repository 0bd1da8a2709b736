"""Adam for gradients that are given for some rows alone."""

from typing import ClassVar

from fastopt.optimizers.base import Optimizer, optimizer
from fastopt.rules import adam as _rules  # noqa: F401  registers the rules


@optimizer("sparseadam")
class SparseAdam(Optimizer):
    """Adam that updates, and whose moments decay in, only the rows that have a gradient.

    As ``torch.optim.SparseAdam``, defaults included: epsilon stands beside the uncorrected root. A gradient
    is a tuple ``(indices, values)`` of row numbers, shape (k,), and of their gradients, shape ``(k,
    *parameter.shape[1:])``; rows that are named twice are added up. An array is a gradient of all rows, where
    torch refuses one; so the estimators use it. A torch tensor ``g`` is ``(g.coalesce().indices()[0],
    g.coalesce().values())``.

    Parameters
    ----------
    lr : float
        Learning rate.
    betas : tuple of two floats
        Decay of the averages of the gradient and of its square.
    eps : float
        Added to the root of the second moment.
    maximize : bool
        Ascend instead of descend.

    References
    ----------
    Kingma & Ba (2015), "Adam: A Method for Stochastic Optimization", algorithm 1, on the rows in question.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import SparseAdam
    >>> w = np.ones((1000, 2))
    >>> rows = np.array([3, 998])
    >>> SparseAdam(lr=0.25).bind(w).step([(rows, np.array([[3.0, -0.1], [1.0, 0.5]]))])
    >>> w[rows].round(5)
    array([[0.75, 1.25],
           [0.75, 0.75]])
    """

    takes_rows: ClassVar[bool] = True
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
