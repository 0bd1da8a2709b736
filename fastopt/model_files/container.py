"""The file format: named arrays and a JSON document in one safetensors file, with versions and a checksum.

Any reader of safetensors shows the arrays. The file's metadata say by which fastopt and in which version of
the format it was written, what it holds, and the SHA-256 of everything in it: a file that was damaged is
refused. Whoever changes a file on purpose can adapt the checksum, so readers must check the values as well.
"""

import contextlib
import errno
import hashlib
import json
import os
import re
import stat
import uuid
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastopt import __version__
from fastopt._extras import require

#: Version of the format. It changes when an earlier fastopt could not read, or would misread, a new file.
FORMAT_VERSION = 1

#: What a file may hold arrays of, in the machine's byte order.
DTYPES = frozenset(
    map(np.dtype, "bool int8 uint8 int16 uint16 int32 uint32 int64 uint64 float16 float32 float64".split())
)
#: The format's name in the metadata, by which its files are told from other safetensors files.
_FORMAT = "fastopt"
_METADATA = frozenset(("format", "format_version", "fastopt_version", "kind", "content", "sha256"))


def write(
    path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], content: dict[str, Any], kind: str
) -> None:
    """Write arrays and a JSON document to a file: at every moment the old one or the new one is there.

    The file is written beside ``path``, flushed to the disk and then renamed.

    Parameters
    ----------
    path : path-like
        An existing file is replaced; of a symbolic link, the file that it points to.
    arrays : mapping of str to ndarray
        Of the types in `DTYPES` and any layout; they are stored in C order.
    content : dict
        What `json` gives back as it was: dicts with keys of str, lists, str, int, finite float, bool, None.
    kind : str
        What the file holds, such as ``'model'``; `read` has to be told the same.

    Raises
    ------
    TypeError
        If an array has another type, or ``content`` is not JSON.
    ValueError
        If ``content`` has a number that is not finite, or the names and the content exceed the 100 MB that
        safetensors allows, or ``path`` is a folder or a device.
    OSError
        If the disk refuses; the old file is unchanged.
    MissingExtraError
        If safetensors is not installed.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> from fastopt.model_files.container import read, write
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "squares.safetensors")
    ...     write(path, {"x": np.arange(4) ** 2}, {"unit": "m2"}, kind="measurement")
    ...     read(path, kind="measurement")
    ({'x': array([0, 1, 4, 9])}, {'unit': 'm2'})
    """
    safetensors, formats = _libraries()
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    if json.loads(text) != content:
        raise TypeError("content must consist of dicts with keys of str, lists and plain values, as JSON has")
    stored = {name: _storable(array, name) for name, array in arrays.items()}
    metadata = {
        "format": _FORMAT,
        "format_version": str(FORMAT_VERSION),
        "fastopt_version": __version__,
        "kind": kind,
        "content": text,
    }
    metadata["sha256"] = _checksum(metadata, stored)
    try:
        data = formats.save(stored, metadata)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{os.fspath(path)} cannot be written: {error}") from error
    replace_file(os.path.realpath(path), data)


def read(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read a file that `write` has written, and check that it is undamaged.

    Never allocates more for the arrays than the file has bytes, whatever it says of their shapes.

    Parameters
    ----------
    path : path-like
    kind : str
        As it was written.

    Returns
    -------
    arrays : dict of str to ndarray
        New, writeable, in C order.
    content : dict

    Raises
    ------
    ValueError
        If the file is damaged, of another kind, from a later version of the format, or not of this format;
        the message names it.
    OSError
        If it cannot be opened.
    MissingExtraError
        If safetensors is not installed.
    """
    safetensors, _ = _libraries()
    name = os.fspath(path)
    with open(
        path, "rb"
    ) as file:  # for the system's own errors; safetensors' name neither the file nor errno
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError(f"{name} is no regular file.")
    with _refusing_damage(name):
        # Not memory-mapped: a file that another process cuts short would end this one.
        opened = safetensors.safe_open(path, "numpy", backend="pread")
    with opened:
        metadata = opened.metadata() or {}
        _check_origin(metadata, name, kind)
        with _refusing_damage(name):
            # Of types that NumPy lacks, too, once another library has brought ml_dtypes.
            arrays = {
                key: _storable(opened.get_tensor(key), key)
                for key in opened.keys()  # noqa: SIM118  it is no dict
            }
    if metadata["sha256"] != _checksum(metadata, arrays):
        raise ValueError(
            f"{name} is damaged: its content does not have the checksum that was stored with it."
        )
    with _refusing_damage(name):
        content = json.loads(metadata["content"])
    if not isinstance(content, dict):
        raise ValueError(f"{name} is damaged: its content is no JSON object.")
    return arrays, content


@contextlib.contextmanager
def _refusing_damage(name):
    """Raise a ValueError that names the file in place of what safetensors, NumPy and JSON raise."""
    safetensors, _ = _libraries()
    try:
        yield
    except (safetensors.SafetensorError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{name} is damaged, or no file of fastopt's: {error}") from error


def _check_origin(metadata, name, kind):
    if metadata.get("format") != _FORMAT:
        raise ValueError(f"{name} is a safetensors file that fastopt did not write: it holds no {kind}.")
    version = metadata.get("format_version")
    if version != str(FORMAT_VERSION):
        writer = metadata.get("fastopt_version")
        raise ValueError(
            f"{name} was written by fastopt {writer} in version {version} of the file format, but fastopt "
            f"{__version__} reads version {FORMAT_VERSION}. Load it with fastopt {writer} or later."
        )
    if metadata.keys() != _METADATA:
        raise ValueError(f"{name} is damaged: its metadata are {sorted(metadata)}, not {sorted(_METADATA)}.")
    if metadata["kind"] != kind:
        raise ValueError(f"{name} holds a {metadata['kind']}, not a {kind}.")


def _libraries():
    return [require(name, "a model file", "files") for name in ("safetensors", "safetensors.numpy")]


def _storable(array, name):
    """Return an array in C order, which safetensors takes for granted."""
    array = np.asarray(array, order="C")
    if array.dtype not in DTYPES or not array.dtype.isnative:
        raise TypeError(f"array {name!r} has dtype {array.dtype}; a file holds {sorted(map(str, DTYPES))}")
    return array


def _checksum(metadata, arrays):
    """Return the SHA-256 of the metadata (but itself) and of the arrays' names, types, shapes and bytes."""
    names = sorted(arrays)
    described = [[name, arrays[name].dtype.name, list(arrays[name].shape)] for name in names]
    own = {key: value for key, value in metadata.items() if key != "sha256"}
    digest = hashlib.sha256(json.dumps([own, described], sort_keys=True).encode())
    for name in names:
        digest.update(arrays[name].reshape(-1).view(np.uint8))
    return digest.hexdigest()


def remove_leftovers(path: str | os.PathLike[str]) -> None:
    """Remove what killed writers of a file have left beside it; call it only where nobody writes the file."""
    folder, base = os.path.split(os.path.realpath(path))
    for name in os.listdir(folder):
        if re.fullmatch(re.escape(f".{base}.") + r"[0-9a-f]{8}\.tmp", name):
            os.unlink(os.path.join(folder, name))


def replace_file(path: str, data: bytes) -> None:
    """Write a file aside, on the disk before it takes the old one's place.

    Raises
    ------
    ValueError
        If the path is a folder or a device.
    OSError
        If the disk refuses; the old file is unchanged.
    """
    folder, base = os.path.split(path)
    aside = os.path.join(folder, f".{base}.{uuid.uuid4().hex[:8]}.tmp")
    old = os.stat(path).st_mode if os.path.exists(path) else None
    if old is not None and not stat.S_ISREG(old):  # a rename would remove /dev/null itself
        raise ValueError(f"{path} is no regular file, and cannot be replaced by one.")
    try:
        with open(aside, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if old is not None:
            os.chmod(aside, stat.S_IMODE(old))
        os.replace(aside, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(aside)
        if isinstance(error, OSError):  # which names the file aside, or none
            raise OSError(error.errno, error.strerror, path) from error
        raise
    _sync_folder(folder)


def _sync_folder(folder):
    """Flush the new name to the disk; Windows and some network file systems have no such call."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP, errno.EACCES):
            raise
    finally:
        os.close(handle)
