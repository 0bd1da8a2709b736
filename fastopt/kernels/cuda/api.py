"""All uses of ``numba.cuda`` in the library, in one module.

Nothing is imported until a GPU is asked for: numba.cuda takes a second. ``NUMBA_ENABLE_CUDASIM=1``, set
before Numba is imported, gives the simulator, which needs neither a GPU nor numba-cuda.
"""

import contextlib
import functools
import math
import types as python_types
import warnings
from importlib.util import find_spec

import numpy as np
from numba.core import config

from fastopt.kernels.binding import global_names, replacement, typed_literals
from fastopt.rules import bits

#: Whether kernels run in Numba's simulator, thread by thread in Python.
SIMULATED = bool(config.ENABLE_CUDASIM)

_EXTRA = 'pip install "fastopt[cuda12]" or "fastopt[cuda13]", after the CUDA version of your driver'


class DeviceError(RuntimeError):
    """The GPU that was asked for cannot be used; the message says why and what to install."""


@functools.cache
def module():
    """Import and return ``numba.cuda``, the only import of it in the library."""
    from numba import cuda

    return cuda


def problem():
    """Return a sentence that says why no GPU can be used, or None if one can."""
    if SIMULATED:
        return None
    if find_spec("numba_cuda") is None:
        return f"the package numba-cuda is not installed: {_EXTRA}"
    if module().is_available():
        return None
    reason = " ".join(str(module().cuda_error() or "the driver lists none").split())
    return f"no usable GPU was found ({reason})"


def require(device="cuda"):
    """Raise DeviceError unless a GPU can be used."""
    reason = problem()
    if reason:
        raise DeviceError(f"device={device!r} was asked for, but {reason}. device='cpu' needs no GPU.")


def names():
    """Return the names of the GPUs by device: ``{'cuda:0': name, ...}``."""
    if SIMULATED:
        return {"cuda:0": "Numba's simulator"}
    found = {f"cuda:{gpu.id}": gpu.name for gpu in module().gpus}
    return {key: name.decode() if isinstance(name, bytes) else name for key, name in found.items()}


class _Math:
    """`math` for the simulator, in the precision of the argument: float32 stays float32, as on a device."""

    def __getattr__(self, name):
        if hasattr(np, name):
            return getattr(np, name)
        function = getattr(math, name)
        return lambda x, *rest: type(x)(function(x, *rest))


def device_function(function, scalar, replaced=()):
    """Return a pure function of scalars (a rule, or a helper of one) as a device function for ``scalar``.

    Its float literals become of that type, and pairs in ``replaced`` are as in `binding.compile_scalar`; the
    functions that it calls are made device functions likewise. Inlined in Numba's own representation, so that
    no driver is needed to compile what calls it. In the simulator it stays a plain function.
    """
    names = dict(function.__globals__)
    for name in names.keys() & global_names(function):
        value = names[name] = replacement(names[name], replaced)
        if getattr(value, "__module__", None) == bits.__name__ and not SIMULATED:
            names[name] = getattr(module().libdevice, value.__name__)
        elif isinstance(value, python_types.FunctionType):
            names[name] = device_function(value, scalar, replaced)
        elif SIMULATED and value is math:
            names[name] = _Math()
        elif SIMULATED and getattr(value, "__module__", None) == "math":
            names[name] = getattr(_Math(), name)
    copy = typed_literals(function, scalar, names)
    return copy if SIMULATED else inlined(copy)


def inlined(function):
    """Return a device function that Numba inlines where it is called."""
    return function if SIMULATED else module().jit(device=True, inline="always")(function)


def kernel(function, bounds):
    """Return a kernel that is compiled at its first launch.

    ``bounds`` is the most threads of a block, or that and the fewest blocks on a multiprocessor.
    """
    return module().jit(function) if SIMULATED else module().jit(function, launch_bounds=bounds)


def configured(kernel, grid, block, stream):
    """Return a callable that launches a kernel with a fixed grid, block and stream.

    Parameters
    ----------
    kernel : kernel
    grid, block : int or tuple of int
        Blocks, and threads of a block.
    stream : stream
        Or a graph builder, which records the launch.
    """
    with warnings.catch_warnings():
        # Numba warns of grids that leave a GPU idle; those of small arrays do, and a user cannot change them.
        warnings.filterwarnings("ignore", "Grid size")
        return kernel[grid, block, stream]


_configured_once = functools.lru_cache(1024)(configured)


def launcher(kernel, grid, block, stream):
    """As `configured`, kept for later launches with the same arguments."""
    # The simulator's kernels are configured in place, one launch at a time.
    return (configured if SIMULATED else _configured_once)(kernel, grid, block, stream)


def intrinsic(function):
    """Return Numba's intrinsic for the CUDA target, from a typing function; not in the simulator."""
    from numba.cuda.extending import intrinsic

    return intrinsic(function)


def has_interface(x):
    """Tell whether ``x`` is an array in CUDA memory, or one of the simulator's."""
    if SIMULATED:
        return getattr(x, "__cuda_ndarray__", False)
    return hasattr(x, "__cuda_array_interface__")


def interface(x):
    """Return an array's ``__cuda_array_interface__``: its address, shape, strides, type and stream."""
    return x.__array_interface__ if SIMULATED else x.__cuda_array_interface__


@functools.cache
def stream(handle):
    """Return the stream that a ``__cuda_array_interface__`` names (None, 1, 2 or a ``cudaStream_t``)."""
    cuda = module()
    if SIMULATED:
        return 0
    if not handle:  # an object, because Numba takes 0 for a wish to wait for each copy
        return cuda.default_stream()
    if handle in (1, 2):
        return cuda.legacy_default_stream() if handle == 1 else cuda.per_thread_default_stream()
    return cuda.external_stream(handle)


def on_device(ordinal):
    """Return a context manager that makes GPU ``ordinal`` the current one; None changes nothing."""
    if SIMULATED or ordinal is None or len(module().gpus) == 1:
        return contextlib.nullcontext()
    return module().gpus[ordinal]


def event():
    """Return a CUDA event without timing."""
    return module().event() if SIMULATED else module().event(timing=False)


def to_host(x):
    """Return a copy of a CUDA array in CPU memory, after waiting for the work on it."""
    module().synchronize()
    return x.copy_to_host() if hasattr(x, "copy_to_host") else module().as_cuda_array(x).copy_to_host()


def to_device(array):
    """Return a copy of an ndarray in CUDA memory, and its address, after the copy is complete."""
    copy = module().to_device(array)
    module().synchronize()  # a copy on the default stream need not be done before other streams read it
    return copy, interface(copy)["data"][0]


@functools.cache
def n_processors(ordinal=None):
    """Return the number of multiprocessors of a GPU; 1 for the simulator."""
    if SIMULATED:
        return 1
    with on_device(ordinal):
        return module().get_current_device().MULTIPROCESSOR_COUNT
