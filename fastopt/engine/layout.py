"""The layout of a network's weights and biases in one flat vector."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from fastopt.persistence import Persistent

#: Every block starts on a multiple of this many elements: 64 bytes for float32, so that no two tiles
#: that different threads write share a cache line, and 128-bit CUDA accesses are aligned.
ALIGNMENT = 16


class Layout(Persistent):
    """The flat layout of a fully connected network: all weights, then all biases.

    ``[W1 | W2 | ... | pad][b1 | b2 | ... | pad]``: weights come first, so that whatever decays is a prefix.
    The same layout serves parameters, gradients and each state slot of an optimizer.

    Parameters
    ----------
    layer_sizes : sequence of int
        Units per layer, inputs first, outputs last; at least two.

    Attributes
    ----------
    layer_sizes : tuple of int
    size : int
        Length of the flat vector, padding included.
    n_decay : int
        Length of the prefix that holds the weights.
    weights_at, biases_at : ndarray of int64, shape (n_layers - 1,)
        Offset of each layer's block.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.engine import Layout
    >>> layout = Layout([4, 3, 2])
    >>> flat = np.zeros(layout.size)
    >>> [w.shape for w in layout.weights(flat)], [b.shape for b in layout.biases(flat)]
    ([(4, 3), (3, 2)], [(3,), (2,)])
    >>> layout.weights(flat)[0][...] = 1.0      # a view: writes through
    >>> float(flat.sum())
    12.0
    """

    layer_sizes: tuple[int, ...]
    shapes: tuple[tuple[int, int], ...]
    size: int
    n_decay: int
    weights_at: npt.NDArray[np.int64]
    biases_at: npt.NDArray[np.int64]

    _state_names = ("layer_sizes",)

    def __init__(self, layer_sizes: Sequence[int]) -> None:
        self.layer_sizes = tuple(int(n) for n in layer_sizes)
        if len(self.layer_sizes) < 2 or min(self.layer_sizes) < 1:
            raise ValueError(f"layer_sizes={list(layer_sizes)} needs two or more entries, each at least 1.")
        self.shapes = tuple(pairwise(self.layer_sizes))
        self.weights_at, self.n_decay = self._place(self.shapes, 0)
        self.biases_at, self.size = self._place([s[1:] for s in self.shapes], self.n_decay)

    def __getstate__(self) -> dict[str, Any]:
        return {"layer_sizes": self.layer_sizes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["layer_sizes"])

    @staticmethod
    def _place(shapes, at):
        offsets = []
        for shape in shapes:
            offsets.append(at)
            at += -(-math.prod(shape) // ALIGNMENT) * ALIGNMENT
        return np.array(offsets, dtype=np.int64), at

    def weights(self, flat: np.ndarray) -> list[np.ndarray]:
        """Return the weight matrices, views of ``flat`` with shapes ``(fan_in, fan_out)``."""
        return [
            flat[at : at + n * m].reshape(n, m)
            for at, (n, m) in zip(self.weights_at, self.shapes, strict=True)
        ]

    def biases(self, flat: np.ndarray) -> list[np.ndarray]:
        """Return the bias vectors, views of ``flat`` with shapes ``(fan_out,)``."""
        return [flat[at : at + m] for at, (_, m) in zip(self.biases_at, self.shapes, strict=True)]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Layout) and self.layer_sizes == other.layer_sizes

    def __hash__(self) -> int:
        return hash(self.layer_sizes)

    def __repr__(self) -> str:
        return f"Layout({list(self.layer_sizes)})"
