"""What a machine without a GPU sees: nothing imported, nothing required, and errors that say what to do."""

import re
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import fastopt
from fastopt.kernels.cuda import api as cuda
from fastopt.stepping import cuda_arrays

PACKAGE = Path(fastopt.__file__).parent


def test_numba_cuda_is_imported_in_one_place_only():
    imports = re.compile(
        r"^\s*(from numba import .*\bcuda\b|from numba\.cuda|import numba\.cuda|.*numba_cuda\b.*import)", re.M
    )
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if imports.search(path.read_text("utf-8"))
    }
    assert found == {"kernels/cuda/api.py"}


def test_a_step_on_the_cpu_imports_no_cuda():
    code = """
import sys, numpy as np, fastopt
fastopt.Adam().bind(np.ones(3)).step(np.ones(3))
print([name for name in sys.modules if name.startswith(("numba.cuda", "numba_cuda"))])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


class OnDevice:
    """An array of a library that we do not have, on a GPU that we do not have."""

    def __init__(self, array, **changes):
        self.array, self.changes = array, changes

    @property
    def __cuda_array_interface__(self):
        return self.array.__array_interface__ | self.changes


@pytest.mark.skipif(cuda.problem() is None, reason="there is a GPU here")
def test_an_array_on_a_gpu_that_cannot_be_used_says_why():
    with pytest.raises(
        cuda.DeviceError, match=r"params\[0\] is in CUDA memory \(test_cuda_api.OnDevice\), but"
    ):
        fastopt.SGD().bind(OnDevice(np.ones(3)))


def test_without_numba_cuda_the_error_names_the_extra(monkeypatch):
    monkeypatch.setattr(cuda, "find_spec", lambda name: None)
    with pytest.raises(
        cuda.DeviceError, match=r'device=.cuda:1. was asked for.*pip install "fastopt\[cuda12\]"'
    ):
        cuda.require("cuda:1")


def test_without_a_driver_the_error_gives_its_reason(monkeypatch):
    monkeypatch.setattr(cuda, "find_spec", lambda name: object())
    absent = types.SimpleNamespace(is_available=lambda: False, cuda_error=lambda: "libcuda.so was not found")
    monkeypatch.setattr(cuda, "module", lambda: absent)
    with pytest.raises(cuda.DeviceError, match=r"no usable GPU was found \(libcuda.so was not found\)"):
        cuda.require()


def test_a_gradient_on_a_gpu_is_refused_for_a_parameter_in_cpu_memory():
    with pytest.raises(TypeError, match=r"grads\[0\] is in CUDA memory .* params\[0\] is in CPU memory"):
        fastopt.SGD().bind(np.ones(3)).step(OnDevice(np.ones(3)))


@pytest.mark.parametrize(
    "array",
    [
        np.ones((3, 4)),
        np.ones((3, 4), np.float32, order="F"),
        np.ones((4, 4))[:, ::2],
        np.ones((4, 4))[::-1],
        np.ones((1, 4, 1)).T,
        np.ones((0, 3)),
        np.array(1.0),
        np.ones((6, 1))[::2],
    ],
)
def test_an_interface_is_read_as_numpy_reads_its_own(array):
    seen = cuda_arrays.DeviceView(OnDevice(array), "w")
    for name in ("dtype", "shape", "size", "nbytes", "itemsize"):
        assert getattr(seen, name) == getattr(array, name), name
    assert seen.strides == array.strides or array.flags.c_contiguous  # of which an interface tells no strides
    assert seen.data == array.ctypes.data
    for name in ("c_contiguous", "f_contiguous", "writeable"):
        assert getattr(seen.flags, name) == getattr(array.flags, name), name


def test_a_read_only_or_masked_interface_is_told():
    array = np.ones(3)
    read_only = OnDevice(array, data=(array.ctypes.data, True))
    assert not cuda_arrays.DeviceView(read_only, "w").flags.writeable
    with pytest.raises(TypeError, match="w is a masked array"):
        cuda_arrays.DeviceView(OnDevice(array, mask=OnDevice(np.ones(3, bool))), "w")


def test_the_stream_is_the_one_that_the_interface_names():
    assert cuda_arrays.stream(OnDevice(np.ones(3), stream=7)) == 7
    assert cuda_arrays.stream(OnDevice(np.ones(3))) is None
