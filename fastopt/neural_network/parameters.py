"""A network's parameters: one flat vector, with views ``coefs_`` and ``intercepts_`` as in scikit-learn.

Activations with a learnt parameter add ``slopes_``, a learnt scale of the inputs ``input_scale_``.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from fastopt.engine import Layout
from fastopt.kernels import aligned_memory

#: The lists of arrays that make up a network.
_LISTS = ("coefs_", "intercepts_", "slopes_", "input_scale_")


class LayerViews(list[Any]):
    """A list of views of the flat vector; assigning an item copies into the vector.

    ``coefs_[0] = W`` must change the network, as it does in scikit-learn, where the list is the network.
    ``slopes_`` has None for a layer without slopes, which stays None. Copying or pickling gives a plain list.
    """

    def __setitem__(self, index, value):
        if isinstance(index, slice):
            for i, item in zip(range(*index.indices(len(self))), value, strict=True):
                self[i] = item
            return
        view = self[index]
        if view is None and value is not None:
            raise ValueError(f"item {index} is None: the activation of that hidden layer learns no slopes.")
        if view is None:
            return
        value = np.asarray(value)
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
    """Gives an estimator ``coefs_`` and its like, which are views of its flat vector.

    ``_params`` and ``_layout`` hold the network. Lists that a user assigns before there is a network, or
    whose shapes or dtype differ from it, wait in ``_loose`` (plain lists, writable item by item, as
    scikit-learn's) until the network is next used. There ``input_scale_`` is a list of one item.
    """

    _loose: dict[str, list[Any]]

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

    @property
    def slopes_(self) -> list[np.ndarray | None]:
        """What the activations learn, one per hidden layer, of shape (n_units,): a list of views.

        None in place of a layer whose activation learns nothing.
        """
        return self._layers("slopes_")

    @slopes_.setter
    def slopes_(self, layers: Sequence[npt.ArrayLike | None]) -> None:
        self._assign("slopes_", layers)

    @property
    def input_scale_(self) -> np.ndarray | None:
        """The learnt scale of the inputs, of shape (n_features,): a view; None if there is none."""
        return self._layers("input_scale_")[0]

    @input_scale_.setter
    def input_scale_(self, scale: npt.ArrayLike | None) -> None:
        self._assign("input_scale_", [scale])

    def _has(self, name):
        """Whether the estimator has ``coefs_``, or another of its lists."""
        state = self.__dict__
        return "_params" in state or "members_" in state or name in state.get("_loose", ())

    def _layers(self, name):
        state = self.__dict__
        if name in state.get("_loose", ()):
            return state["_loose"][name]
        if "_params" not in state:
            hint = f": see members_[0].{name}" if "members_" in state else ""
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{hint}")
        layout = self._layout
        if name == "input_scale_":
            return LayerViews([layout.scale(self._params)])
        views = {"coefs_": layout.weights, "intercepts_": layout.biases, "slopes_": layout.slopes}[name]
        return LayerViews(views(self._params))

    def _assign(self, name, layers):
        layers = list(layers)
        if "_params" in self.__dict__:
            views = self._layers(name)
            arrays = list(map(_as_array, layers))
            if list(map(_form, arrays)) == list(map(_form, views)):
                self._make_writable()
                self._layers(name)[:] = arrays
                return
            self._loose = {n: [v if v is None else v.copy() for v in self._layers(n)] for n in _LISTS}
            del self._params
        self.__dict__.setdefault("_loose", {})[name] = layers

    def _parameters(self):
        """Return the flat vector, after copying into it any arrays that the user assigned."""
        if "_loose" in self.__dict__:
            self._set_parameters(*flatten(*(self._loose.get(name, ()) for name in _LISTS)))
        return self._params

    def _set_parameters(self, layout, flat):
        self._layout, self._params = layout, flat
        self.__dict__.pop("_loose", None)

    def _make_writable(self):
        # A model loaded with joblib's mmap_mode="r" is trained on a copy; it still predicts from the file.
        if not self._params.flags.writeable:
            self._params = np.array(self._params)

    def __sklearn_is_fitted__(self) -> bool:
        state = self.__dict__
        is_there = "_params" in state or "members_" in state
        return is_there or {*_LISTS[:2]} <= state.get("_loose", {}).keys()


def _as_array(value):
    return None if value is None else np.asarray(value)


def _form(array):
    return None if array is None else (array.shape, array.dtype)


def flatten(
    weights: Sequence[npt.ArrayLike],
    biases: Sequence[npt.ArrayLike],
    slopes: Sequence[npt.ArrayLike | None] = (),
    scales: Sequence[npt.ArrayLike | None] = (),
) -> tuple[Layout, np.ndarray]:
    """Copy weight matrices, bias vectors, slopes and the scale of the inputs into one new vector.

    Parameters
    ----------
    weights : sequence of array-like of shape (fan_in, fan_out)
    biases : sequence of array-like of shape (fan_out,)
    slopes : sequence of None or array-like of shape (fan_out,)
        Of the hidden layers; none at all where no layer has any.
    scales : sequence of None or array-like of shape (n_features,)
        The scale of the inputs, if there is one.

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
    found = list(map(_as_array, slopes))
    learnt = [a for a in found if a is not None]
    fit = [a is None or a.shape == length for a, length in zip(found, lengths[:-1], strict=False)]
    if learnt and not (all(fit) and len(found) == len(lengths) - 1):
        raise ValueError(
            f"slopes_ with shapes {[None if a is None else a.shape for a in found]} do not belong to hidden "
            f"layers with intercepts_ of shapes {lengths[:-1]}: each takes None, or a slope for each unit."
        )
    scale = [np.asarray(a) for a in scales if a is not None]
    if any(a.shape != shapes[0][:1] for a in scale):
        raise ValueError(
            f"input_scale_ with shape {scale[0].shape} does not belong to coefs_ with shapes {shapes}: it "
            "takes a number for each input column."
        )
    sizes = [shapes[0][0], *(s[1] for s in shapes)]
    layout = Layout(sizes, [a is not None for a in found], bool(scale))
    arrays = weights + biases + learnt + scale
    dtype = np.float32 if all(a.dtype == np.float32 for a in arrays) else np.float64
    flat = aligned_memory.zeros(layout.size, dtype)
    for view, array in zip(layout.arrays(flat), arrays, strict=True):
        view[...] = array
    return layout, flat


def pack(layout: Layout, flat: np.ndarray) -> np.ndarray:
    """Return the parameters without padding, in scikit-learn's order: weights, biases, others."""
    return np.concatenate([a.ravel() for a in layout.arrays(flat)])


def unpack(layout: Layout, packed: np.ndarray) -> np.ndarray:
    """Return a new flat vector from one made by `pack`."""
    flat, at = aligned_memory.zeros(layout.size, packed.dtype), 0
    for view in layout.arrays(flat):
        view[...] = packed[at : at + view.size].reshape(view.shape)
        at += view.size
    return flat
