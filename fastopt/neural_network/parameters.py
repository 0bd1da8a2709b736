"""A network's parameters: one flat vector, with views ``coefs_`` and ``intercepts_`` as in scikit-learn."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from fastopt.engine import Layout
from fastopt.kernels import aligned_memory


class LayerViews(list[np.ndarray]):
    """A list of views of the flat vector; assigning an item copies into the vector.

    ``coefs_[0] = W`` must change the network, as it does in scikit-learn, where the list is the network.
    Copying or pickling gives a plain list.
    """

    def __setitem__(self, index, value):
        if isinstance(index, slice):
            for i, item in zip(range(*index.indices(len(self))), value, strict=True):
                self[i] = item
            return
        view, value = self[index], np.asarray(value)
        if value.shape != view.shape:
            raise ValueError(
                f"item {index} has shape {view.shape}, got {value.shape}. To change the network's sizes, "
                "assign whole lists to coefs_ and intercepts_."
            )
        np.copyto(view, value, casting="same_kind")

    def __reduce_ex__(self, protocol):
        return list, ([*self],)

    def _refuse(self, *args, **kwargs):
        raise TypeError(
            "the number of layers is fixed here; assign whole lists to coefs_ and intercepts_ instead."
        )

    append = extend = insert = pop = remove = clear = sort = reverse = _refuse
    __delitem__ = __iadd__ = __imul__ = _refuse


class FlatParameters:
    """Gives an estimator ``coefs_`` and ``intercepts_`` that are views of its flat vector.

    ``_params`` and ``_layout`` hold the network. Lists that a user assigns before there is a network, or
    whose shapes or dtype differ from it, wait in ``_loose`` (plain lists, writable item by item, as
    scikit-learn's) until the network is next used.
    """

    @property
    def coefs_(self) -> list[np.ndarray]:
        """Weight matrices, one per layer, of shape (fan_in, fan_out): a list of views."""
        return self._layers("coefs_")

    @coefs_.setter
    def coefs_(self, layers: Sequence[npt.ArrayLike]) -> None:
        self._assign("coefs_", layers)

    @property
    def intercepts_(self) -> list[np.ndarray]:
        """Bias vectors, one per layer, of shape (fan_out,): a list of views."""
        return self._layers("intercepts_")

    @intercepts_.setter
    def intercepts_(self, layers: Sequence[npt.ArrayLike]) -> None:
        self._assign("intercepts_", layers)

    def _has(self, name):
        """Whether the estimator has ``coefs_`` or ``intercepts_``."""
        return "_params" in self.__dict__ or name in self.__dict__.get("_loose", ())

    def _layers(self, name):
        state = self.__dict__
        if name in state.get("_loose", ()):
            return state["_loose"][name]
        if "_params" not in state:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        views = self._layout.weights if name == "coefs_" else self._layout.biases
        return LayerViews(views(self._params))

    def _assign(self, name, layers):
        layers = list(layers)
        if "_params" in self.__dict__:
            views = self._layers(name)
            arrays = [np.asarray(a) for a in layers]
            if [(a.shape, a.dtype) for a in arrays] == [(v.shape, v.dtype) for v in views]:
                self._make_writable()
                self._layers(name)[:] = arrays
                return
            self._loose = {n: [v.copy() for v in self._layers(n)] for n in ("coefs_", "intercepts_")}
            del self._params
        self.__dict__.setdefault("_loose", {})[name] = layers

    def _parameters(self):
        """Return the flat vector, after copying into it any arrays that the user assigned."""
        if "_loose" in self.__dict__:
            self._set_parameters(*flatten(self._loose.get("coefs_", ()), self._loose.get("intercepts_", ())))
        return self._params

    def _set_parameters(self, layout, flat):
        self._layout, self._params = layout, flat
        self.__dict__.pop("_loose", None)

    def _make_writable(self):
        # A model loaded with joblib's mmap_mode="r" is trained on a copy; it still predicts from the file.
        if not self._params.flags.writeable:
            self._params = np.array(self._params)

    def __sklearn_is_fitted__(self) -> bool:
        return "_params" in self.__dict__ or len(self.__dict__.get("_loose", ())) == 2


def flatten(weights: Sequence[npt.ArrayLike], biases: Sequence[npt.ArrayLike]) -> tuple[Layout, np.ndarray]:
    """Copy weight matrices and bias vectors into one new vector.

    Parameters
    ----------
    weights : sequence of array-like of shape (fan_in, fan_out)
    biases : sequence of array-like of shape (fan_out,)

    Returns
    -------
    layout : Layout
    flat : ndarray of shape (layout.size,)
        float32 if every array is, otherwise float64.

    Raises
    ------
    ValueError
        If the shapes do not form a network.
    """
    weights, biases = [np.asarray(w) for w in weights], [np.asarray(b) for b in biases]
    shapes, lengths = [w.shape for w in weights], [b.shape for b in biases]
    chained = (
        all(len(s) == 2 for s in shapes)
        and all(a[1] == b[0] for a, b in pairwise(shapes))
        and lengths == [s[1:] for s in shapes]
    )
    if not shapes or not chained:
        raise ValueError(
            f"coefs_ with shapes {shapes} and intercepts_ with shapes {lengths} do not form a network: each "
            "layer takes weights of shape (fan_in, fan_out) and biases of shape (fan_out,)."
        )
    layout = Layout([shapes[0][0], *(s[1] for s in shapes)])
    dtype = np.float32 if all(a.dtype == np.float32 for a in weights + biases) else np.float64
    flat = aligned_memory.zeros(layout.size, dtype)
    for views, arrays in ((layout.weights(flat), weights), (layout.biases(flat), biases)):
        for view, array in zip(views, arrays, strict=True):
            view[...] = array
    return layout, flat


def pack(layout: Layout, flat: np.ndarray) -> np.ndarray:
    """Return the parameters without padding, in the order of scikit-learn's vector: weights, then biases."""
    return np.concatenate([a.ravel() for a in layout.weights(flat) + layout.biases(flat)])


def unpack(layout: Layout, packed: np.ndarray) -> np.ndarray:
    """Return a new flat vector from one made by `pack`."""
    flat, at = aligned_memory.zeros(layout.size, packed.dtype), 0
    for view in layout.weights(flat) + layout.biases(flat):
        view[...] = packed[at : at + view.size].reshape(view.shape)
        at += view.size
    return flat
