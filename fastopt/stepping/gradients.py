"""The gradients of a step: checked against their parameters, and their addresses for the kernels."""

import weakref
from bisect import bisect_right
from collections.abc import Callable, Mapping

import numpy as np

from fastopt.stepping import arrays
from fastopt.stepping.parameters import Param
from fastopt.stepping.sparse_gradients import Rows


class Gradients:
    """The gradients of the next step.

    Checking a gradient takes longer than a small update, so the gradients that were accepted last are known
    by their identities, for as long as they all live, and are not checked again.

    Parameters
    ----------
    params : list of Param
    addresses : ndarray of int64
        Where the kernels read each gradient's address; written by `accept`, 0 for none.
    takes_rows : bool
        Whether a gradient may be a tuple ``(indices, values)`` of some rows.
    address_of : callable
        ``address_of(gradient, index, param)`` checks a gradient and returns its address.

    Attributes
    ----------
    absent : frozenset of int
        Parameters without a gradient.
    rows : list of Rows
        Gradients that are given for some rows.
    """

    def __init__(self, params: list[Param], addresses: np.ndarray, takes_rows: bool, address_of: Callable):
        self._params, self._addresses = params, addresses
        self._takes_rows, self._address_of = takes_rows, address_of
        self._spans = sorted((p.data, p.data + p.nbytes, p.index) for p in params if p.array.size)
        self._starts, self._ends = [start for start, _, _ in self._spans], [end for _, end, _ in self._spans]
        self.absent, self.rows = frozenset(), []
        self._seen, self._guards = [], []  # the accepted ones: ids, weak references
        self._gone = [None]  # those of the references whose gradient has been freed
        self._scalars = []
        self._watched = ()  # gradients of other libraries, whose memory may move: (index, address)

    def are_those_accepted(self, grads: list) -> bool:
        """Tell whether these are the same gradients as in the last `accept`, at the same addresses."""
        if self._gone or list(map(id, grads)) != self._seen:
            return False
        return not self._watched or all(grads[i].data_ptr() == data for i, data in self._watched)

    def accept(self, grads: list) -> bool:
        """Check gradients and store their addresses for the next step.

        Parameters
        ----------
        grads : list of array, None or tuple
            One for each parameter.

        Returns
        -------
        bool
            Whether other parameters than before have a gradient, or have it for all their elements.

        Raises
        ------
        TypeError, ValueError
            If one does not fit its parameter; nothing is changed then.
        """
        if len(grads) != len(self._params):
            advice = "pass one for each, or None"
            if grads and isinstance(grads[0], Mapping):
                advice = "pass the values of the dict as a list, in the order of the parameters"
            raise ValueError(f"{len(grads)} gradients for {len(self._params)} parameters; {advice}")
        found, absent, watched, rows, scalars = [], set(), [], [], []
        for p, gradient in zip(self._params, grads, strict=True):
            found.append(0)
            if gradient is None:
                absent.add(p.index)
            elif type(gradient) is tuple and self._takes_rows:
                rows.append(Rows(p, gradient, f"grads[{p.index}]"))
            else:
                if isinstance(gradient, np.generic):  # what operations on a 0-d array return
                    gradient = np.asarray(gradient)
                    scalars.append(gradient)
                found[-1] = self._check(p, gradient)
                if type(gradient) is not np.ndarray and arrays.is_torch(gradient):
                    watched.append((p.index, found[-1]))
        self._addresses[:] = found
        is_other = absent != self.absent or {r.p.index for r in rows} != {r.p.index for r in self.rows}
        self.absent, self.rows, self._watched = frozenset(absent), rows, tuple(watched)
        self._scalars = scalars  # kept alive: the kernels read them by address
        self._remember(grads)
        return is_other

    def forget(self) -> None:
        """Check and store whatever is accepted next, as a program has stored other addresses."""
        self._gone = [None]

    def _remember(self, grads):
        gone = []  # `append` is no Python function, in which Ctrl-C could be raised and the call lost
        try:
            self._guards = [weakref.ref(g, gone.append) for g in grads if g is not None]
        except TypeError:  # an object without weak references is checked again at every step
            gone.append(None)
        self._seen, self._gone = list(map(id, grads)), gone

    def _check(self, p, gradient):
        data = self._address_of(gradient, p.index, p)
        after = bisect_right(self._starts, data)
        if (after == 0 or self._ends[after - 1] <= data) and (
            after == len(self._starts) or data + p.nbytes <= self._starts[after]
        ):
            return data
        for start, end, index in self._spans[max(after - 1, 0) : after + 1]:
            if start < data + p.nbytes and data < end:
                raise ValueError(
                    f"grads[{p.index}] overlaps {self._params[index].name}, which the step changes"
                )
        return data
