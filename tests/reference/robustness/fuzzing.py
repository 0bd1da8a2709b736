"""The targets of fuzzing, and how many examples of one are tried."""

import dataclasses
from collections.abc import Callable

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from fastopt._parameters import safe_repr

from . import fuzz_estimators, fuzz_files, fuzz_steps


@dataclasses.dataclass
class Target:
    """What is fuzzed: a function of ``is_long`` that returns a strategy, and the check of one case."""

    cases: Callable
    check: Callable


class Case:
    """A case that Hypothesis prints by `repr`: its own printer asks dataclasses for attributes they lack."""

    def __init__(self, values):
        self.values = values

    def __repr__(self):
        return safe_repr(self.values)


@st.composite
def one_case(draw, cases):
    """Draw a `Case`; by ``map`` its printer would look inside."""
    return Case(draw(cases))


TARGETS = {
    "optimizers": Target(fuzz_steps.optimizer_cases, fuzz_steps.check_optimizer),
    "arrays": Target(fuzz_steps.array_cases, fuzz_steps.check_arrays),
    "states": Target(fuzz_steps.state_cases, fuzz_steps.check_state),
    "parameters": Target(fuzz_estimators.parameter_cases, fuzz_estimators.check_parameters),
    "rows": Target(fuzz_estimators.row_cases, fuzz_estimators.check_rows),
    "tables": Target(fuzz_files.table_cases, fuzz_files.check_table),
    "commands": Target(fuzz_files.command_cases, fuzz_files.check_command),
}


def fuzz(name, n, number, *, is_long=False, shrinks=True):
    """Try ``n`` cases of a target, drawn by the seed ``number``; return how many were tried.

    Raises
    ------
    AssertionError
        With the smallest failing case as a note.
    """
    target, tried = TARGETS[name], 0

    def check(case):
        nonlocal tried
        tried += 1
        target.check(case.values)

    phases = [Phase.generate, *([Phase.shrink] if shrinks else [])]
    options = settings(
        max_examples=n, deadline=None, database=None, phases=phases,
        suppress_health_check=list(HealthCheck), print_blob=False,
    )  # fmt: skip
    seed(number)(options(given(one_case(target.cases(is_long)))(check)))()
    return tried
