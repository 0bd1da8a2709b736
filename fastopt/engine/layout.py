"""The layout of a network's parameters in one flat vector."""

import math
from collections.abc import Sequence
from itertools import pairwise, zip_longest
from typing import Any

import numpy as np
import numpy.typing as npt

from fastopt.persistence import Persistent

#: Every block starts on a multiple of this many elements: 64 bytes for float32, so that no two tiles
#: that different threads write share a cache line, and 128-bit CUDA accesses are aligned.
ALIGNMENT = 16


class Layout(Persistent):
    """The flat layout of a fully connected network: all weights, biases, slopes, then the input scale.

    ``[W1 | W2 | ... | pad][b1 | b2 | ... | pad][s1 | s2 | ... | pad][scale | pad]``: weights come first, so
    that whatever decays is a prefix. Slopes are what activations with a learnt parameter learn, one number
    for each unit; a network without such activations has none. The input scale is one factor for each input
    column, ``(x * scale) @ W1 + b1``. The same layout serves parameters, gradients and each state slot of an
    optimizer.

    Parameters
    ----------
    layer_sizes : sequence of int
        Units per layer, inputs first, outputs last; at least two.
    has_slopes : sequence of bool, optional
        Of each hidden layer, whether its activation learns a parameter; none by default.
    scales_inputs : bool, optional
        Whether the network multiplies its inputs by a learnt scale, one factor for each column.

    Attributes
    ----------
    layer_sizes : tuple of int
    has_slopes : tuple of bool
        Empty if no layer has slopes.
    scales_inputs : bool
    size : int
        Length of the flat vector, padding included.
    n_decay : int
        Length of the prefix that holds the weights.
    weights_at, biases_at, slopes_at : ndarray of int64, shape (n_layers - 1,)
        Offset of each layer's block; a layer without slopes has an empty one.
    scale_at : int
        Offset of the input scale; ``size`` if there is none.

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
    has_slopes: tuple[bool, ...]
    scales_inputs: bool
    shapes: tuple[tuple[int, int], ...]
    size: int
    n_decay: int
    weights_at: npt.NDArray[np.int64]
    biases_at: npt.NDArray[np.int64]
    slopes_at: npt.NDArray[np.int64]
    scale_at: int

    _state_names = ("layer_sizes", "has_slopes", "scales_inputs")
    _may_lack = ("has_slopes", "scales_inputs")

    def __init__(
        self, layer_sizes: Sequence[int], has_slopes: Sequence[bool] = (), scales_inputs: bool = False
    ) -> None:
        self.layer_sizes = tuple(int(n) for n in layer_sizes)
        if len(self.layer_sizes) < 2 or min(self.layer_sizes) < 1:
            raise ValueError(f"layer_sizes={list(layer_sizes)} needs two or more entries, each at least 1.")
        self.shapes = tuple(pairwise(self.layer_sizes))
        self.has_slopes = tuple(map(bool, has_slopes)) if any(has_slopes) else ()
        if self.has_slopes and len(self.has_slopes) != len(self.shapes) - 1:
            raise ValueError(
                f"has_slopes={list(has_slopes)} needs an entry for each of the {len(self.shapes) - 1} hidden "
                f"layers of {list(self.layer_sizes)}."
            )
        vectors = [shape[1:] for shape in self.shapes]
        slopes = [shape if has else (0,) for shape, has in zip_longest(vectors, self.has_slopes)]
        self.weights_at, self.n_decay = self._place(self.shapes, 0)
        self.biases_at, slopes_begin = self._place(vectors, self.n_decay)
        self.slopes_at, self.scale_at = self._place(slopes, slopes_begin)
        self.scales_inputs = bool(scales_inputs)
        scale = [self.layer_sizes[:1]] if self.scales_inputs else []
        self.size = self._place(scale, self.scale_at)[1]
        self._key = self.layer_sizes, self.has_slopes, self.scales_inputs
        self._hash = hash(self._key)  # layouts are keys of what is kept between calls

    def __getstate__(self) -> dict[str, Any]:
        state = {name: getattr(self, name) for name in self._state_names}
        return {name: value for name, value in state.items() if value or name == "layer_sizes"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)

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

    def slopes(self, flat: np.ndarray) -> list[np.ndarray | None]:
        """Return the slopes of each hidden layer, views of ``flat`` of shape ``(fan_out,)`` or None."""
        hidden = zip_longest(self.slopes_at[:-1], self.layer_sizes[1:-1], self.has_slopes)
        return [flat[at : at + n] if has else None for at, n, has in hidden]

    def scale(self, flat: np.ndarray) -> np.ndarray | None:
        """Return the input scale, a view of ``flat`` of shape ``(n_features,)``, or None if there is none."""
        return flat[self.scale_at : self.scale_at + self.layer_sizes[0]] if self.scales_inputs else None

    def vectors(self, flat: np.ndarray) -> list[np.ndarray]:
        """Return all vectors, which weight decay spares: biases, the slopes there are, the input scale."""
        found = [*self.slopes(flat), self.scale(flat)]
        return self.biases(flat) + [vector for vector in found if vector is not None]

    def arrays(self, flat: np.ndarray) -> list[np.ndarray]:
        """Return all parameters: weights, then `vectors`."""
        return self.weights(flat) + self.vectors(flat)

    @property
    def firsts(self) -> list[int]:
        """Where each of `arrays` begins, in their order, which is ascending."""
        slopes = [at for at, has in zip(self.slopes_at, self.has_slopes, strict=False) if has]
        return [*self.weights_at, *self.biases_at, *slopes, *[self.scale_at] * self.scales_inputs]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Layout) and self._key == other._key

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        slopes = f", has_slopes={list(self.has_slopes)}" if self.has_slopes else ""
        scale = ", scales_inputs=True" if self.scales_inputs else ""
        return f"Layout({list(self.layer_sizes)}{slopes}{scale})"
