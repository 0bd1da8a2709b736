"""cuBLAS for the products of large layers, where it is installed.

Called by address through ``ctypes``; ``cuda.pathfinder``, which comes with numba-cuda, finds the library of
a wheel, of conda or of the system. Single precision is single: TF32 is off, as is cuBLAS's default.
"""

import ctypes
import functools
from typing import Any, NamedTuple

import numpy as np

from fastopt.kernels.cuda import api as cuda

#: Floating-point operations of a layer's product from which cuBLAS forms it, at the price of launches for
#: what the engine's own product does on the side. Not measured yet: four products of 512.
MIN_FLOPS = 1e9
#: Bytes that cuBLAS may work in. Its own allocation would not be allowed in a graph.
_WORKSPACE = 1 << 25


def find():
    """Return `Blas` for the current GPU, or None if cuBLAS is not installed."""
    return None if cuda.SIMULATED else _find(cuda.module().get_current_device().id)


@functools.cache
def _find(ordinal):
    from cuda.pathfinder import DynamicLibNotFoundError, load_nvidia_dynamic_lib

    try:
        library = ctypes.CDLL(load_nvidia_dynamic_lib("cublas").abs_path)
    except DynamicLibNotFoundError:
        return None
    return Blas(library)


class Blas:
    """A cuBLAS handle.

    Parameters
    ----------
    library : ctypes.CDLL

    Raises
    ------
    DeviceError
        If cuBLAS cannot be initialised.
    """

    def __init__(self, library):
        self._library = library
        self._handle = ctypes.c_void_p()
        self._call("cublasCreate_v2", ctypes.byref(self._handle))
        self._workspace = cuda.module().device_array(_WORKSPACE, np.uint8)

    def _call(self, name, *arguments):
        status = getattr(self._library, name)(*arguments)
        if status:
            raise cuda.DeviceError(f"{name} of cuBLAS failed with status {status}")

    def multiply(self, stream, dtype, a, b, out, m, n, k, transposed):
        """Compute the row-major product ``out = a @ b``; addresses, and sizes in elements.

        Parameters
        ----------
        stream : int
            Address of a stream, 0 for the default one.
        dtype : dtype
        a, b, out : int
            Addresses of matrices whose rows lie one after the other.
        m, n, k : int
            ``out`` is (m, n) and sums ``k`` products.
        transposed : {'', 'a', 'b'}
            Which factor is stored the other way round.
        """
        real = ctypes.c_float if dtype == np.float32 else ctypes.c_double
        self._call("cublasSetStream_v2", self._handle, ctypes.c_void_p(stream))
        # A new stream takes the workspace away.
        size = ctypes.c_size_t(_WORKSPACE)
        self._call("cublasSetWorkspace_v2", self._handle, _pointer(_address(self._workspace)), size)
        # To cuBLAS, whose matrices lie in columns, each of these is its transpose: out' = b' @ a'.
        self._call(
            "cublasSgemm_v2" if real is ctypes.c_float else "cublasDgemm_v2", self._handle,
            int(transposed == "b"), int(transposed == "a"), n, m, k,
            ctypes.byref(real(1)), _pointer(b), k if transposed == "b" else n,
            _pointer(a), m if transposed == "a" else k,
            ctypes.byref(real(0)), _pointer(out), n,
        )  # fmt: skip


def _pointer(address):
    return ctypes.c_void_p(address)


def _address(array):
    return cuda.interface(array)["data"][0]


class Product(NamedTuple):
    """A product with fixed arguments, launched like a kernel; see `Blas.multiply`.

    The factors and the result are device arrays; the result is written from ``out_at`` on, and so forth.
    """

    blas: Any
    a: Any
    a_at: int
    b: Any
    b_at: int
    out: Any
    out_at: int
    shape: tuple
    transposed: str

    def on(self, stream):
        """Launch on a stream, or add to a graph that is being recorded."""
        dtype = self.out.dtype
        places = [
            _address(array) + at * dtype.itemsize
            for array, at in ((self.a, self.a_at), (self.b, self.b_at), (self.out, self.out_at))
        ]
        handle = int(stream.stream.handle) if stream else 0
        self.blas.multiply(handle, dtype, *places, *self.shape, self.transposed)
