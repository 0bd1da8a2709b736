"""The optimizer step under pytest-benchmark: ``pytest bench``."""

import pytest
from bench_step import CASES, peer_calls, rule_call

from fastopt.rules.registry import RULES

LIBRARIES = ("fastopt", "torch fused", "torch default")


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("case", CASES)
def test_adam(benchmark, case, library):
    pytest.importorskip("torch")
    benchmark.group = f"Adam, {case}"
    benchmark(peer_calls(CASES[case])[LIBRARIES.index(library)])


@pytest.mark.parametrize("n", [20_000, 10_000_000])
@pytest.mark.parametrize("rule", RULES)
def test_rule(benchmark, rule, n):
    benchmark.group = f"rules, {n:,} parameters"
    benchmark(rule_call(rule, n))
