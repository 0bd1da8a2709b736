"""The disk cache of compiled kernels, which may be damaged, full or read-only without harm to a fit.

Numba's own cache ends the process where a file is cut, a disk full or no folder writable, and its files say
nothing by which a flipped bit in machine code could be noticed. Here each kernel is one file with a checksum;
what does not match is compiled again. Only the functions decorated here use it: Numba is not changed for
others.
"""

import contextlib
import errno
import functools
import hashlib
import inspect
import os
import pickle
import sys
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path

import llvmlite
import numba
from numba import config
from numba.core.caching import Cache
from numba.core.ccallback import CFunc
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps
from numba.core.sigutils import normalize_signature
from numba.core.typing import Signature

from fastopt._collection import paused
from fastopt.kernels import cache_folders
from fastopt.kernels.compilers import QuickCompiler

_PACKAGE = Path(__file__).parents[1]
_DIGEST_SIZE = hashlib.sha256().digest_size

#: A folder that fails so is passed over without a word, as read-only folders are common.
_NOT_WRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EEXIST}

_has_warned = False


def jit(signature: Signature | None = None, **options) -> Callable:
    """Decorate a function as `numba.njit` does, and keep its machine code on disk.

    Parameters
    ----------
    signature : Signature, optional
        Compile for this one at once, and for no other.
    **options
        Of `numba.njit`.
    """

    def decorate(function):
        compiled = numba.njit(**options)(function)
        if not config.DISABLE_JIT:
            compiled._cache = KernelCache(function, "Python", options)
            if signature is not None:
                with paused():
                    compiled.compile(signature)
                compiled.disable_compile()
        return compiled

    return decorate


def cfunc(signature: Signature, **options) -> Callable:
    """Decorate a function as `numba.cfunc` does, and keep its machine code on disk."""

    def decorate(function):
        arguments = normalize_signature(signature)
        compiled = CFunc(function, arguments, locals={}, options=options, pipeline_class=QuickCompiler)
        compiled._cache = KernelCache(function, "C", options)
        with paused():
            compiled.compile()
        return compiled

    return decorate


class KernelCache(Cache):
    """The compiled forms of one function on disk, in Numba's interface of a cache.

    A file holds ``checksum, identity, pickled result``. Its name says the function, its signature, options,
    the version of Python and the processor. The identity is a digest of these, of the source file and of the
    versions of Numba and llvmlite: a file with another one is out of date, and overwritten. The checksum is
    of all that follows it.

    Parameters
    ----------
    function : function
        Without a source, as from `exec`, or in a module that cannot be imported it is not cached.
    kind : str
        For whom it is compiled, ``'Python'`` or ``'C'``: the one has no entry for the other.
    options : dict
        Of the compiler.
    """

    def __init__(self, function, kind, options):
        self._py_func, self._name = function, repr(function)
        home, stamp = _source(function)
        self._made_from = numba.__version__, llvmlite.__version__, stamp
        self._readable = f"{home}.{function.__qualname__}".replace("<", "").replace(">", "")
        abi = f"{sys.implementation.cache_tag}{getattr(sys, 'abiflags', '')}"
        options = sorted((k, sorted(v) if isinstance(v, set) else v) for k, v in options.items())
        self._place = self._readable, function.__code__.co_firstlineno, abi, kind, options
        self._enabled = stamp is not None and function.__module__ in sys.modules

    @property
    def cache_path(self):
        """The first folder that is looked into."""
        return next(cache_folders.folders()).path

    def flush(self):
        """Do nothing: a file that is out of date is overwritten."""

    def _name_and_identity(self, signature, codegen):
        key = self._place, self._index_key(signature, codegen)
        name = f"{self._readable[:100]}.{_sha256(repr(key).encode()).hex()[:16]}.nbc"
        return name, _sha256(repr((key, self._made_from)).encode())

    def _load_overload(self, sig, target_context):
        if not self._enabled:
            return None
        name, identity = self._name_and_identity(sig, target_context.codegen())
        for folder in cache_folders.folders():
            path = os.path.join(folder.path, name)
            content = _read(path) if folder.is_trusted() else None
            if content is None:
                continue
            checksum, rest = content[:_DIGEST_SIZE], content[_DIGEST_SIZE:]
            if checksum != _sha256(rest):
                _drop(path, "its checksum is wrong")
            elif rest[:_DIGEST_SIZE] == identity:
                try:
                    return CompileResult._rebuild(target_context, *pickle.loads(rest[_DIGEST_SIZE:]))
                except Exception as error:  # a class or a module that it refers to is no longer there
                    _drop(path, f"{type(error).__name__}: {error}")
        return None

    def _save_overload(self, sig, data):
        if not self._enabled:
            return
        if data.library.has_dynamic_globals:
            warnings.warn(
                f"the compiled code of {self._py_func.__qualname__!r} cannot be kept on disk, because it "
                "uses ctypes pointers or large arrays that are globals; every process compiles it again",
                numba.NumbaWarning,
                stacklevel=2,
            )
            return
        name, identity = self._name_and_identity(sig, data.codegen)
        rest = identity + dumps(data._reduce())
        _write(name, _sha256(rest) + rest)


def _sha256(content):
    return hashlib.sha256(content).digest()


def _source(function):
    """Return a name for the file of a function, and a stamp that changes with it; the stamp may be None.

    The files of the package have names that do not depend on where it is installed, so that a cache can be
    moved with it.
    """
    path = Path(inspect.getfile(function))
    stamp = _file_stamp(path)
    if stamp is None:  # typed into a notebook or an interpreter: its lines may be remembered
        try:
            return "interactive", _sha256("".join(inspect.getsourcelines(function)[0]).encode())
        except OSError:
            return "interactive", None
    if path.is_relative_to(_PACKAGE):
        return ".".join(path.relative_to(_PACKAGE.parent).with_suffix("").parts), stamp
    folder = _sha256(os.path.abspath(path.parent).encode()).hex()[:8]
    return f"{path.stem}_{folder}", stamp


@functools.cache
def _file_stamp(path):
    try:
        return _sha256(path.read_bytes())
    except OSError:
        return None


def _read(path):
    """Return the content of a file, or None if there is none or it is another user's secret."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return None


def _drop(path, reason):
    """Remove a damaged file, where that is allowed, and name it in a warning."""
    with contextlib.suppress(OSError):
        os.unlink(path)
    message = f"the compiled kernel in {path} is damaged ({reason}); it is compiled again"
    warnings.warn(message, RuntimeWarning, stacklevel=2)


def _write(name, content):
    """Write a file into the first folder that takes it; a warning says once what is wrong with the others."""
    failures, kept = [], None
    for folder in cache_folders.folders():
        try:
            folder.prepare()
            _write_whole(os.path.join(folder.path, name), content)
        except OSError as error:
            failures.append((folder, error))
        else:
            kept = folder
            break
    if kept is None or any(error.errno not in _NOT_WRITABLE for _, error in failures):
        _warn_once(failures, kept)


def _write_whole(path, content):
    """Write a file so that other processes find all of it or nothing."""
    aside = f"{path}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        with open(aside, "wb") as file:
            file.write(content)
        os.replace(aside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(aside)
        raise


def _warn_once(failures, kept):
    global _has_warned
    if _has_warned:
        return
    _has_warned = True
    tried = ", ".join(f"{folder.path} ({error.strerror or error})" for folder, error in failures)
    instead = f"they are kept in {kept.path}" if kept else "every process compiles them again"
    warnings.warn(
        f"fastopt cannot keep compiled kernels in {tried}; {instead}. Set NUMBA_CACHE_DIR to a folder that "
        "is writable and has room for 20 MB, and fill it with `python -m fastopt warmup`.",
        RuntimeWarning,
        stacklevel=2,
    )
