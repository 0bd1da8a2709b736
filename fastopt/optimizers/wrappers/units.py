"""Units of a weight array: all weights that lead to one output, a column or row of a matrix."""

import math

import numpy as np

from fastopt.optimizers import validation
from fastopt.stepping.arrays import order_of


def check_layout(wrapper):
    """Raise ValueError unless a wrapper's ``layout`` is 'io' or 'oi'."""
    allowed = validation.CHOICES["layout"]
    if wrapper.layout not in allowed:
        name = type(wrapper).__name__
        raise ValueError(
            f"{name}(layout={wrapper.layout!r}): layout must be {' or '.join(map(repr, allowed))}"
        )


def units_of(params, layout):
    """Return where the units of each array with two axes or more lie in memory, by parameter index.

    Each value is (rows, columns, is_row): the memory as a matrix, and whether a unit is one of its rows.
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
    """Allocate an array with one element for each unit, for the parameters that have units."""
    n_units = {i: rows if is_row else columns for i, (rows, columns, is_row) in units.items()}
    return {i: np.zeros(n, fused.params[i].array.dtype) for i, n in n_units.items()}
