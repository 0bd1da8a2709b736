"""The registry has all rules for whoever reads it, not only where the optimizers were imported before."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_registry_is_complete_without_the_optimizers():
    """A fresh process, because this one has imported the optimizers; `warmup` compiled no rule in one."""
    code = """
import sys
from fastopt.engine import warmup
from fastopt.rules.registry import RULES
from fastopt.rules.tensorwise import TENSOR_RULES
assert not any(name.startswith("fastopt.optimizers") for name in sys.modules)
before = set(RULES), set(TENSOR_RULES)
import fastopt.optimizers
assert before == (set(RULES), set(TENSOR_RULES)), (set(RULES) ^ before[0], set(TENSOR_RULES) ^ before[1])
print("adam" in RULES, "lamb" in TENSOR_RULES)
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "True True\n", done.stderr
