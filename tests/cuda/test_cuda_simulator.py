"""The CUDA kernels, run thread by thread in Numba's simulator, which must be on before Numba is imported."""

import os
import subprocess
import sys
from pathlib import Path

SIMULATED = Path(__file__).parent / "simulated"


def test_the_simulated_suite_passes():
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(SIMULATED)],
        env={key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
        | {"NUMBA_ENABLE_CUDASIM": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5_000:]
