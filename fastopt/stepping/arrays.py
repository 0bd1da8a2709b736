"""Checks of the arrays that an optimizer is to update, without copying one, and their error messages."""

import itertools
import sys

import numpy as np

from fastopt.kernels import code_cache
from fastopt.kernels.cuda import api as cuda
from fastopt.kernels.elementwise import DTYPES

_NATIVE = frozenset(map(np.dtype, DTYPES))

_KINDS = "a NumPy array, a torch CPU tensor, or anything with __array_interface__ or __dlpack__ in CPU memory"

#: What to do about arrays on different devices.
APART = "bind the arrays of one device together and pass their gradients there"


def check_dtype(dtype):
    """Return ``dtype`` as a NumPy dtype, or raise TypeError unless it is float32 or float64."""
    dtype = np.dtype(dtype)
    if dtype not in _NATIVE:
        raise TypeError(
            f"dtype {dtype} is not supported; use one of {', '.join(DTYPES)} in native byte order"
        )
    return dtype


def is_torch(x):
    """Tell whether ``x`` is a torch tensor, without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and (type(x) is torch.Tensor or isinstance(x, torch.Tensor))


@code_cache.jit()
def _data(flat):
    return flat.ctypes.data


def address(array):
    """Return the address of a contiguous ndarray's first element (`ctypes.data` takes six times as long)."""
    return _data(array.ravel("K"))


def order_of(array):
    """Return the order in which a contiguous array lies in memory, 'C' or 'F'."""
    return "C" if array.flags.c_contiguous else "F"


def view(x, name):
    """Return ``x``'s memory as an ndarray.

    Parameters
    ----------
    x : array
        What the user passed.
    name : str
        What to call it in a message, such as ``'params[2]'``.

    Returns
    -------
    ndarray
        Shares memory with ``x``.

    Raises
    ------
    TypeError
        If it is no array in CPU memory, or neither float32 nor float64 in native byte order.
    """
    array = x if type(x) is np.ndarray else _share(x, name)
    check_native(array.dtype, name)
    return array


def codes(x, name):
    """Return the quantized values of a saved state as an ndarray; torch's bfloat16 as uint16."""
    torch = sys.modules.get("torch")
    if is_torch(x) and x.dtype == torch.bfloat16:
        x = x.view(torch.int16).numpy().view(np.uint16)
    return _share(x, name)


def check_native(dtype, name):
    """Raise TypeError unless an array of ``dtype`` can be updated."""
    if dtype not in _NATIVE:
        raise TypeError(
            f"{name} has dtype {dtype}; only {' and '.join(DTYPES)} in native byte order are updated"
        )


def _share(x, name):
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array, whose mask an update would ignore; pass its .data")
    if isinstance(x, np.ndarray):
        return x
    if is_torch(x):
        return _share_torch(x, name)
    if cuda.has_interface(x):
        raise TypeError(f"{name} is in CUDA memory ({kind(x)}), but params[0] is in CPU memory; {APART}")
    try:
        if hasattr(x, "__array_interface__") and not isinstance(x, np.generic):
            array = np.asarray(x)
            if array.__array_interface__["data"] == x.__array_interface__["data"]:
                return array
        elif hasattr(x, "__dlpack__"):
            return np.from_dlpack(x)
    except (BufferError, RuntimeError, ValueError) as error:
        raise TypeError(f"{name} ({kind(x)}) does not share its memory: {error}") from error
    raise TypeError(f"{name} is {kind(x)}, not an array that can be changed in place: pass {_KINDS}")


def _share_torch(x, name):
    if x.device.type != "cpu":
        raise TypeError(f"{name} is a torch tensor on {x.device}, but params[0] is in CPU memory; {APART}")
    try:
        return x.detach().numpy()
    except (TypeError, RuntimeError) as error:  # bfloat16, sparse, quantized
        advice = f"pass a dense one of {' or '.join(DTYPES)}"
        raise TypeError(f"{name} is a torch tensor that NumPy cannot share; {advice}: {error}") from error


def kind(x):
    """Return the name of an object's class, for a message."""
    cls = type(x)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def check_param(array, name):
    """Raise ValueError unless ``array`` is contiguous, writable and laid out for an update in place."""
    if not array.flags.writeable:
        raise ValueError(f"{name} is read-only, so it cannot be updated in place; pass a writeable array")
    if not (array.flags.c_contiguous or array.flags.f_contiguous):
        raise ValueError(
            f"{name} is strided (shape {array.shape}, strides {array.strides}); "
            f"pass a C- or F-contiguous array"
        )


def grad_address(x, index, param):
    """Return the address of a gradient's first element, after checking that it fits its parameter.

    Parameters
    ----------
    x : array
        What the user passed.
    index : int
        Its place, for a message.
    param : Param
        Its parameter.

    Raises
    ------
    TypeError, ValueError
        As `view` and `check_grad`.
    """
    like = param.array
    # First the checks below in their quickest form, for what nearly every gradient is.
    if type(x) is np.ndarray:
        if x.dtype is like.dtype and x.shape == like.shape and x.strides == like.strides:
            return address(x)
    elif (
        is_torch(x)
        and x.is_cpu
        and x.dtype.is_floating_point
        and x.element_size() == like.itemsize  # float32 and float64 are the only ones of their sizes
        and x.shape == like.shape
        and like.flags.c_contiguous
        and x.is_contiguous()
    ):
        return x.data_ptr()
    name = f"grads[{index}]"
    array = view(x, name)
    check_grad(array, like, name, param.name)
    return address(array)


def check_grad(array, param, name, param_name):
    """Raise unless gradient ``array`` lies in memory as its parameter does; TypeError for another dtype."""
    if array.dtype != param.dtype:
        raise TypeError(
            f"{name} has dtype {array.dtype} but {param_name} has {param.dtype}; convert the gradient to that"
        )
    if array.shape != param.shape:
        raise ValueError(
            f"{name} has shape {array.shape} but {param_name} has {param.shape}; give it that shape"
        )
    if not (
        (array.flags.c_contiguous and param.flags.c_contiguous)
        or (array.flags.f_contiguous and param.flags.f_contiguous)
    ):
        order = "C" if param.flags.c_contiguous else "F"
        raise ValueError(
            f"{name} has strides {array.strides} but {param_name} has {param.strides}; pass "
            f"np.asarray(gradient, order='{order}')"
        )


def check_disjoint(params):
    """Raise ValueError if two parameters share memory; an element would be updated twice."""
    spans = sorted((p.data, p.data + p.nbytes, p.index) for p in params if p.array.size)
    for (_, end, i), (start, _, j) in itertools.pairwise(spans):
        if start < end:
            one, two = (params[k] for k in sorted((i, j)))
            same = one.data == two.data and one.nbytes == two.nbytes
            how = "is the same memory as" if same else "overlaps"
            raise ValueError(f"{two.name} {how} {one.name}; each parameter may be bound once")


def bump_versions(tensors):
    """Increase the tensors' version counters, so that torch's autograd raises for a graph built before."""
    increment = sys.modules["torch"].autograd.graph.increment_version
    try:
        increment(tensors)
    except TypeError:  # of versions of torch that take one at a time
        for tensor in tensors:
            increment(tensor)
