"""The one door to ``numba.cuda``: everything of it that the library uses is named here.

Nothing is imported until a GPU is asked for: numba.cuda takes a second. ``NUMBA_ENABLE_CUDASIM=1``, set
before Numba is imported, gives the simulator, which needs neither a GPU nor numba-cuda.
"""

import functools
import math
import types as python_types
from importlib.util import find_spec

import numpy as np
from numba.core import config

from fastopt.kernels.binding import typed_literals

#: Whether kernels run in Numba's simulator, thread by thread in Python.
SIMULATED = bool(config.ENABLE_CUDASIM)

_EXTRA = 'pip install "fastopt[cuda12]" or "fastopt[cuda13]", after the CUDA version of your driver'


class DeviceError(RuntimeError):
    """The GPU that was asked for cannot be used; the message says why and what to install."""


@functools.cache
def module():
    """Return ``numba.cuda``, the only import of it in the library."""
    from numba import cuda

    return cuda


def problem():
    """Return why no GPU can be used, as a sentence, or None if one can."""
    if SIMULATED:
        return None
    if find_spec("numba_cuda") is None:
        return f"the package numba-cuda is not installed: {_EXTRA}"
    if not module().is_available():
        return f"no usable GPU was found ({module().cuda_error() or 'the driver lists none'})"
    return None


def require(device="cuda"):
    """Raise DeviceError unless a GPU can be used."""
    reason = problem()
    if reason:
        raise DeviceError(f"device={device!r} was asked for, but {reason}. device='cpu' needs no GPU.")


class _Math:
    """`math` for the simulator: float32 stays float32, as it does on the device."""

    def __getattr__(self, name):
        return getattr(np, {"copysign": "copysign", "fabs": "abs", "pow": "power"}.get(name, name))


def device_function(function, scalar):
    """Return a pure function of scalars (a rule, or a helper of one) as a device function for ``scalar``.

    Its float literals become of that type, as in `binding.compile_scalar`; the functions that it calls are
    made device functions likewise. Inlined in Numba's own representation, so that no driver is needed to
    compile what calls it.
    """
    names = dict(function.__globals__)
    for name in function.__code__.co_names:
        if isinstance(names.get(name), python_types.FunctionType):
            names[name] = device_function(names[name], scalar)
        elif SIMULATED and names.get(name) is math:
            names[name] = _Math()
    copy = typed_literals(function, scalar, names)
    return module().jit(device=True, inline="always")(copy)
