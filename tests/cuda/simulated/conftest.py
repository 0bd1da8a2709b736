"""Tests for Numba's CUDA simulator: collected only where it is switched on, before Numba is imported.

``tests/cuda/test_cuda_simulator.py`` runs them in a process of their own; alone:
``NUMBA_ENABLE_CUDASIM=1 python -m pytest tests/cuda/simulated``.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

if os.environ.get("NUMBA_ENABLE_CUDASIM") != "1":
    collect_ignore_glob = ["*"]
else:
    import numpy as np
    from numba.cuda.simulator import kernelapi
    from numba.np.numpy_support import as_dtype

    def _shared_array(self, shape, dtype):
        """Find a shared array by the line that asks for it, in one uninterrupted step.

        The simulator looks it up and then enters it; two threads that meet there get an array each and share
        nothing, which fails one run in some hundreds. It also formats a traceback for the line.
        """
        frame = sys._getframe(1)
        place = frame.f_code.co_filename, frame.f_lineno
        return self._allocations.setdefault(place, np.empty(shape, as_dtype(dtype)))

    kernelapi.FakeCUDAShared.array = _shared_array
    sys.setswitchinterval(1e-4)  # simulated threads wait for each other at every barrier
