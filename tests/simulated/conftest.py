"""Tests for Numba's CUDA simulator: collected only where it is switched on, before Numba is imported.

``tests/test_cuda_simulator.py`` runs them in a process of their own; alone:
``NUMBA_ENABLE_CUDASIM=1 python -m pytest tests/simulated``.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

if os.environ.get("NUMBA_ENABLE_CUDASIM") != "1":
    collect_ignore_glob = ["*"]
