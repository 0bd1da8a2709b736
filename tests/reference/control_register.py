"""The processor's floating-point control register, read and set through the C library."""

import contextlib
import ctypes
import platform
import sys

import pytest

#: Where ``fenv_t`` has the register's 32 bits, and the bits that flush subnormal numbers.
_PLACES = {
    ("linux", "x86_64"): (28, 0x8040),  # glibc: the x87 environment, then MXCSR
    ("darwin", "x86_64"): (4, 0x8040),
    ("linux", "aarch64"): (0, 1 << 24),  # FPCR, then FPSR
    ("darwin", "arm64"): (8, 1 << 24),
}
_PLACE = _PLACES.get((sys.platform, platform.machine().lower()))
_libm = ctypes.CDLL(None) if _PLACE and sys.platform == "darwin" else _PLACE and ctypes.CDLL("libm.so.6")

needs_register = pytest.mark.skipif(_PLACE is None, reason="not known where fenv_t has the register")


def _environment():
    buffer = ctypes.create_string_buffer(64)
    _libm.fegetenv(buffer)
    return buffer, ctypes.c_uint32.from_buffer(buffer, _PLACE[0])


#: Status flags that arithmetic raises, in the same register on x86-64 alone.
_STATUS = 0x3F if _PLACE and _PLACE[1] == 0x8040 else 0


def control_bits():
    """Return the control register of the calling thread, without status flags."""
    return _environment()[1].value & ~_STATUS


@contextlib.contextmanager
def flushing():
    """Let the calling thread take subnormal numbers as zero within the block."""
    before, _ = _environment()
    changed, register = _environment()
    register.value |= _PLACE[1]
    _libm.fesetenv(changed)
    try:
        yield
    finally:
        _libm.fesetenv(before)
