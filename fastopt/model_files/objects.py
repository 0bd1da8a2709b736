"""Objects of models as arrays and JSON, and back: values, optimizers, schedules and the state of training.

What may stand in a file is listed here and nowhere else: plain values, arrays, random states, and the classes
that `fastopt.persistence` knows by name. A file names none by its module, and nothing of it is executed.

In the JSON, what JSON itself has stands as it is. Everything else is an object with one key, its tag:

=============== ============================================================================
tag             value
=============== ============================================================================
``array``       ``[name]`` of the array, with its dtype where a file stores the bytes only
``objects``     ``[shape, items]`` of an array of objects, which are text, numbers or None
``tuple``       the items
``dict``        the entries; pairs of key and value where not all keys are text
``float``       ``'nan'``, ``'inf'`` or ``'-inf'``
``scalar``      ``[dtype, value]`` of a NumPy scalar
``dtype``       the name of a NumPy dtype
``RandomState`` the state of the Mersenne Twister
``object``      ``[kind, attributes]`` of a class of fastopt's
=============== ============================================================================
"""

import contextlib
import math
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from fastopt.model_files import container
from fastopt.persistence import (
    STATE_VERSION,
    Persistent,
    check_version,
    name_of,
    restore,
    state_of,
)

#: Types of arrays whose bytes are stored: text, dates, and numbers in the other byte order.
_AS_BYTES = re.compile(r"[<>](U\d+|[Mm]8(\[\d*[a-zA-Z]+\])?|[iuf][248])")
_LAST_CHARACTER = 0x10FFFF


def save_objects(path: str | os.PathLike[str], value: dict[str, Any], kind: str) -> None:
    """Write a dict of values to a file; `load_objects` gives it back.

    Parameters
    ----------
    path : path-like
        See `fastopt.model_files.container.write`.
    value : dict
        Of what the table of this module lists. Nothing in it is changed.
    kind : str
        What the file holds, such as ``'model'``.

    Raises
    ------
    TypeError
        If something in ``value`` cannot be stored, such as a function; the message names it.
    ValueError, OSError, MissingExtraError
        As `fastopt.model_files.container.write`.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> from fastopt import Adam
    >>> from fastopt.model_files.objects import load_objects, save_objects
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "it")
    ...     save_objects(path, {"solver": Adam(lr=0.5), "best": np.inf, "seen": np.arange(3)}, "example")
    ...     load_objects(path, "example")
    {'solver': Adam(lr=0.5), 'best': inf, 'seen': array([0, 1, 2])}
    """
    arrays, content = pack(value)
    container.write(path, arrays, content, kind)


def load_objects(path: str | os.PathLike[str], kind: str) -> dict[str, Any]:
    """Read a file that `save_objects` has written. Executes nothing of it.

    Parameters
    ----------
    path : path-like
    kind : str
        As it was written.

    Returns
    -------
    dict

    Raises
    ------
    ValueError
        If the file is damaged or of another origin, kind or version, or holds what does not exist here; the
        message names it.
    OSError, MissingExtraError
        As `fastopt.model_files.container.read`.
    """
    arrays, content = container.read(path, kind)
    with naming(path):
        return unpack(arrays, content)


@contextlib.contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn every error about the content of a file into a ValueError that names the file."""
    try:
        yield
    except Exception as error:  # an attacker's values may make Python raise anything
        raise ValueError(f"{os.fspath(path)} cannot be loaded: {error}") from error


def pack(value: dict[str, Any]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return a dict of values as named arrays and JSON; see `save_objects`."""
    writer = _Writer()
    try:
        encoded = writer.encode(value, "")
    except RecursionError:
        raise TypeError("what holds itself, or is nested too deeply, cannot be stored in a file") from None
    return writer.arrays, {"state_version": STATE_VERSION, "value": encoded}


def unpack(arrays: Mapping[str, np.ndarray], content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `pack` was given; raises ValueError, or what an attacker's values make Python raise."""
    check_version(content.get("state_version"))
    reader = _Reader(arrays)
    value = reader.decode(content.get("value"))
    if reader.unread or not isinstance(value, dict):
        raise ValueError(f"its content does not name the arrays {sorted(reader.unread)}")
    return value


class _Writer:
    """Encodes values, and names and gathers their arrays."""

    def __init__(self):
        self.arrays: dict[str, np.ndarray] = {}

    def encode(self, value, name):
        """Return a value as JSON; ``name`` is where it stands in the whole."""
        kind = type(value)
        if value is None or kind in (bool, int, str):
            return value
        if kind is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if kind is list:
            return self._items(value, name)
        if kind is tuple:
            return {"tuple": self._items(value, name)}
        if kind is dict:
            return {"dict": self._entries(value, name)}
        if isinstance(value, Persistent):
            state = state_of(value)
            entries = {key: self.encode(own, f"{name}.{key}") for key, own in state.items()}
            return {"object": [name_of(kind), entries]}
        return self._encode_numpy(value, name)

    def _items(self, value, name):
        return [self.encode(item, f"{name}.{i}") for i, item in enumerate(value)]

    def _entries(self, value, name):
        encoded = [[self.encode(k, name), self.encode(v, f"{name}.{k}")] for k, v in value.items()]
        return dict(encoded) if all(type(key) is str for key in value) else encoded

    def _encode_numpy(self, value, name):
        if isinstance(value, np.ndarray):
            return self._encode_array(value, name)
        if isinstance(value, np.generic) and (value.dtype in container.DTYPES or value.dtype.kind == "U"):
            dtype = "str" if value.dtype.kind == "U" else value.dtype.name
            return {"scalar": [dtype, self.encode(value.item(), name)]}
        if isinstance(value, np.dtype) and value in container.DTYPES:
            return {"dtype": value.name}
        if isinstance(value, np.random.RandomState):
            return {"RandomState": self._encode_random_state(value, name)}
        what = f"a {type(value).__name__}" if not callable(value) else "a function or class, which is code"
        raise TypeError(
            f"{name.lstrip('.')}={value!r} is {what}: a file without code cannot hold it. Replace it, or "
            "use pickle."
        )

    def _encode_array(self, array, name):
        if array.dtype == object:
            items = [self._encode_item(item, name) for item in array.ravel().tolist()]
            return {"objects": [list(array.shape), items]}
        stored, dtype = array, array.dtype
        if dtype not in container.DTYPES or not dtype.isnative:
            if not _AS_BYTES.fullmatch(dtype.str) or not dtype.itemsize:
                raise TypeError(f"{name.lstrip('.')} is an array of {dtype}, which a file cannot hold")
            stored = np.array(array, order="C")[..., np.newaxis].view(np.uint8)
        name = self._unused(name)
        self.arrays[name] = stored
        return {"array": [name] if stored is array else [name, dtype.str]}

    def _encode_item(self, item, name):
        if item is not None and type(item) not in (str, int, float, bool, np.str_):
            raise TypeError(f"{name.lstrip('.')} holds {item!r}, a {type(item).__name__}: no text or number")
        return self.encode(item, name)

    def _unused(self, name):
        name = name.lstrip(".").encode("ascii", "backslashreplace").decode()
        while name in self.arrays or name == "__metadata__":  # keys with a dot in them
            name += "_"
        return name

    def _encode_random_state(self, state, name):
        state = state.get_state(legacy=False)
        if state["bit_generator"] != "MT19937":
            raise TypeError(
                f"{name.lstrip('.')} draws from {state['bit_generator']}, and a file can hold a RandomState "
                "of MT19937, as RandomState(seed) makes it."
            )
        return [
            self.encode(state["state"]["key"], f"{name}.key"),
            int(state["state"]["pos"]),
            int(state["has_gauss"]),
            float(state["gauss"]),
        ]


class _Reader:
    """Decodes what `_Writer` has encoded. Whatever it is given may be an attacker's."""

    def __init__(self, arrays):
        self.unread = dict(arrays)

    def decode(self, encoded: Any) -> Any:
        """Return the value that was encoded."""
        if isinstance(encoded, list):
            return [self.decode(item) for item in encoded]
        if not isinstance(encoded, dict):
            return encoded
        ((tag, value),) = encoded.items() if len(encoded) == 1 else ((None, None),)
        if tag not in _DECODERS:
            raise ValueError(f"its content has {sorted(encoded)} where the name of a type is expected")
        return _DECODERS[tag](self, value)

    def _dict(self, entries):
        pairs = entries.items() if isinstance(entries, dict) else entries
        return {self.decode(key): self.decode(value) for key, value in pairs}

    def _tuple(self, items):
        return tuple(map(self.decode, items))

    def _float(self, text):
        if text not in ("nan", "inf", "-inf"):
            raise ValueError(f"{text!r} is none of the numbers that JSON does not have")
        return float(text)

    def _scalar(self, encoded):
        name, value = encoded
        value = self.decode(value)
        if name == "str":
            return np.str_(value)
        return _dtype(name).type(value)

    def _array(self, encoded):
        name, *stored_as = encoded
        array = self.unread.pop(name)  # one array is the state of one object
        return _from_bytes(array, *stored_as) if stored_as else array

    def _objects(self, encoded):
        shape, items = encoded
        if math.prod(shape) != len(items) or min(shape, default=0) < 0:
            raise ValueError(f"{len(items)} objects do not have the shape {shape}")
        array = np.empty(len(items), object)
        array[:] = [self.decode(item) for item in items]
        return array.reshape(shape)

    def _random_state(self, encoded):
        key, position, has_gauss, gauss = map(self.decode, encoded)
        is_key = isinstance(key, np.ndarray) and key.dtype == np.uint32 and key.shape == (624,)
        if not is_key or position not in range(625) or has_gauss not in (0, 1):
            raise ValueError("its random state is none of the Mersenne Twister")
        state = np.random.RandomState()
        state.set_state(("MT19937", key, position, has_gauss, float(gauss)))
        return state

    def _object(self, encoded):
        kind, entries = encoded
        return restore(kind, {str(key): self.decode(value) for key, value in entries.items()})


_DECODERS = {
    "array": _Reader._array,
    "objects": _Reader._objects,
    "tuple": _Reader._tuple,
    "dict": _Reader._dict,
    "float": _Reader._float,
    "scalar": _Reader._scalar,
    "dtype": lambda reader, name: _dtype(name),
    "RandomState": _Reader._random_state,
    "object": _Reader._object,
}


def _dtype(name):
    found = {dtype.name: dtype for dtype in container.DTYPES}.get(name)
    if found is None:
        raise ValueError(f"it has no dtype {name!r}")
    return found


def _from_bytes(array, name):
    """Return the array of a dtype whose bytes were stored."""
    if not _AS_BYTES.fullmatch(name):
        raise ValueError(f"an array of {name!r} cannot stand in a file")
    dtype = np.dtype(name)
    if array.dtype != np.uint8 or array.shape[-1:] != (dtype.itemsize,) or not dtype.itemsize:
        raise ValueError(f"{array.shape} bytes are no array of {name!r}")
    found = array.view(dtype)[..., 0]
    if dtype.kind == "U":
        codes = array.view(np.dtype("u4").newbyteorder(dtype.byteorder))
        if codes.size and codes.max() > _LAST_CHARACTER:
            raise ValueError("its text has codes beyond Unicode")
    return found
