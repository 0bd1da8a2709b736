"""The registries of rules: complete without an import of the optimizers, and open to a user's own rules."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

import fastopt
from fastopt.optimizers.base import OPTIMIZERS
from fastopt.rules.tensorwise import TENSOR_RULES

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
from fastopt.rules.tensorwise import TENSOR_RULES
assert before == (set(RULES), set(TENSOR_RULES)), (set(RULES) ^ before[0], set(TENSOR_RULES) ^ before[1])
print("adam" in RULES, "lamb" in TENSOR_RULES)
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "True True\n", done.stderr


def test_one_can_register_a_tensor_rule_of_ones_own():
    @fastopt.sweep(sums=1)
    def square(g):
        return g * g

    @fastopt.sweep("w")
    def descend(w, g, *, step):
        return w - step * g

    @fastopt.tensor_rule("normalized", defaults={"lr": 0.1})
    def normalized(x, h):
        (squares,) = x.sweep(square)
        x.sweep(descend, step=h["lr"] / np.sqrt(squares))

    w = np.zeros(2)
    fastopt.get_optimizer("normalized", lr=1.0).bind(w).step(np.array([3.0, 4.0]))
    np.testing.assert_allclose(w, [-0.6, -0.8])
    del TENSOR_RULES["normalized"], OPTIMIZERS["normalized"]
