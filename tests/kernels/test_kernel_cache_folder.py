"""Where nothing is writable but a temporary folder, as in hardened containers, kernels still compile."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

#: Numba looks for a folder through these classes, in this order; the first one is NUMBA_CACHE_DIR's.
SETUP = """
    import warnings
    from numba.core import caching
    caching.CacheImpl._locator_classes = caching.CacheImpl._locator_classes[:1]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        import numpy as np, fastopt
        w = np.zeros(3)
        fastopt.SGD(lr=1.0).bind(w).step(np.ones(3))
    print(w[0])
    print([str(w.message) for w in caught if "for this process only" in str(w.message)])
"""
CHECK = """
    import os
    folder = os.environ["NUMBA_CACHE_DIR"]
    print(folder, any(name.endswith(".nbc") for _, _, names in os.walk(folder) for name in names))
"""


def python(code, **environment):
    inherited = {key: value for key, value in os.environ.items() if key != "NUMBA_CACHE_DIR"}
    inherited["PYTHONPATH"] = os.pathsep.join([str(ROOT), *sys.path])
    lines = code.strip("\n").splitlines()
    code = "\n".join(line.removeprefix("    ") for line in lines)
    done = subprocess.run(
        [sys.executable, "-c", code], env=inherited | environment, capture_output=True, text=True, check=False
    )
    return done.stdout.splitlines(), done.stderr


def test_without_a_writable_folder_kernels_are_kept_for_the_process_and_a_warning_says_what_to_set(tmp_path):
    lines, errors = python(SETUP + CHECK, TMPDIR=str(tmp_path), TEMP=str(tmp_path), TMP=str(tmp_path))
    assert len(lines) == 3, errors
    assert lines[0] == "-1.0"
    assert lines[1].count("Set NUMBA_CACHE_DIR to a folder that is") == 1
    folder, has_kernels = lines[2].split()
    assert Path(folder).parent == tmp_path
    assert has_kernels == "True"
    assert list(tmp_path.iterdir()) == []  # removed at the end


def test_with_a_writable_folder_it_is_silent(tmp_path):
    lines, errors = python(SETUP, NUMBA_CACHE_DIR=str(tmp_path))
    assert lines == ["-1.0", "[]"], errors


def test_without_even_a_temporary_folder_a_sentence_says_what_to_set():
    refuse = "    import tempfile\n    def refuse(**_): raise OSError\n    tempfile.mkdtemp = refuse\n"
    lines, errors = python(refuse + SETUP.strip("\n"))
    assert lines == []
    assert "RuntimeError: fastopt has no place for its compiled kernels." in errors
