"""Checks of arrays in CUDA memory that an optimizer is to update, without copying one."""

import math
import sys
from types import SimpleNamespace

import numpy as np

from fastopt.kernels.cuda import api as cuda
from fastopt.stepping import arrays


def is_on_gpu(x):
    """Tell whether ``x`` is an array in CUDA memory."""
    if type(x) is np.ndarray:
        return False
    return x.device.type == "cuda" if arrays.is_torch(x) else cuda.has_interface(x)


class DeviceView:
    """An array in CUDA memory: its address, and what the checks of `arrays` read of an ndarray.

    Attributes
    ----------
    data : int
        Address of the first element.
    ordinal : int or None
        The GPU, where the owner tells.
    """

    def __init__(self, x, name):
        try:
            given = cuda.interface(x.detach() if arrays.is_torch(x) else x)
            self.dtype = np.dtype(given["typestr"])
        except (AttributeError, RuntimeError, TypeError) as error:  # sparse, quantized, bfloat16
            raise TypeError(f"{name} ({arrays.kind(x)}) does not share its CUDA memory: {error}") from error
        if given.get("mask") is not None:
            raise TypeError(f"{name} is a masked array, whose mask an update would ignore")
        self.data, is_read_only = given["data"]
        self.shape, self.itemsize = tuple(given["shape"]), self.dtype.itemsize
        self.size = math.prod(self.shape)
        self.nbytes = self.size * self.itemsize
        self.strides = given.get("strides") or _strides(self.shape, self.itemsize)
        self.flags = SimpleNamespace(
            writeable=not is_read_only,
            c_contiguous=_is_contiguous(self.shape, self.strides, self.itemsize),
            f_contiguous=_is_contiguous(self.shape[::-1], self.strides[::-1], self.itemsize),
        )
        device = getattr(x, "device", None)  # torch's or CuPy's; Numba's arrays do not tell
        self.ordinal = getattr(device, "index" if arrays.is_torch(x) else "id", None)


def stream(x):
    """Return the ``cudaStream_t`` on which the owner of ``x`` queues its work, or None if unknown."""
    if arrays.is_torch(x):
        return sys.modules["torch"].cuda.current_stream(x.device).cuda_stream
    return cuda.interface(x).get("stream")


def _strides(shape, itemsize):
    """Return the strides of a C-contiguous array."""
    return tuple(itemsize * math.prod(shape[k + 1 :]) for k in range(len(shape)))


def _is_contiguous(shape, strides, itemsize):
    if 0 in shape:
        return True
    expected = _strides(shape, itemsize)
    return all(n == 1 or s == e for n, s, e in zip(shape, strides, expected, strict=True))


def view(x, name, like="params[0]"):
    """Return the view of an array in CUDA memory.

    Parameters
    ----------
    x : array
        What the user passed.
    name : str
        What to call it in a message.
    like : str
        What to call the array in CUDA memory beside which it stands.

    Returns
    -------
    DeviceView

    Raises
    ------
    TypeError
        If it is not in CUDA memory, or neither float32 nor float64.
    """
    if not is_on_gpu(x):
        raise TypeError(f"{name} ({arrays.kind(x)}) is not in CUDA memory, but {like} is; {arrays.APART}")
    device_view = DeviceView(x, name)
    arrays.check_native(device_view.dtype, name)
    return device_view
