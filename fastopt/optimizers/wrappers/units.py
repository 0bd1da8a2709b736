"""Units of a weight matrix: the columns (or rows) that belong to one output."""

import math

import numpy as np

from fastopt.optimizers import validation
from fastopt.stepping.arrays import order_of


def check_layout(wrapper):
    """Raise ValueError unless a wrapper's layout is one of those that there are."""
    allowed = validation.CHOICES["layout"]
    if wrapper.layout not in allowed:
        name = type(wrapper).__name__
        raise ValueError(
            f"{name}(layout={wrapper.layout!r}): layout must be {' or '.join(map(repr, allowed))}"
        )


def units_of(params, layout):
    """Return how the units of arrays with at least two axes lie in memory, by the parameters' numbers.

    Rows and columns of the memory, and whether a unit is one of the rows; else it is a column.
    """
    found = {}
    for p in params:
        shape = p.array.shape
        if len(shape) < 2:
            continue
        n_units = shape[-1] if layout == "io" else shape[0]
        per_unit = math.prod(shape[:-1]) if layout == "io" else math.prod(shape[1:])
        # The last axis runs fastest in C order, the first one in Fortran order.
        is_row = (layout == "io") == (order_of(p.array) == "F")
        found[p.index] = (n_units, per_unit, True) if is_row else (per_unit, n_units, False)
    return found


def of_units(fused, units):
    """Return arrays of one element for each unit, for the parameters that have units."""
    n_units = {i: rows if is_row else columns for i, (rows, columns, is_row) in units.items()}
    return {i: np.zeros(n, fused.params[i].array.dtype) for i, n in n_units.items()}
