"""What all tests share: a marker for each folder, and a Ctrl-C that arrives.

``python -m pytest -m engine`` runs what ``python -m pytest tests/engine`` does; markers can be combined:
``-m "kernels or stepping"``. pyproject.toml registers them: a folder without its marker is an error.
"""

import signal
from pathlib import Path

import pytest

from fastopt.optimizers.base import OPTIMIZERS
from fastopt.rules.activations import ACTIVATIONS
from fastopt.rules.losses import CLASSIFICATION_LOSSES, LOSSES, REGRESSION_LOSSES
from fastopt.rules.registry import RULES
from fastopt.rules.tensorwise import TENSOR_RULES

TESTS = Path(__file__).parent

#: The registries as the library has them: read before any test module registers functions of its own.
FUNCTIONS = (ACTIVATIONS, LOSSES, REGRESSION_LOSSES, CLASSIFICATION_LOSSES)
BUILT_IN = [(registry, dict(registry)) for registry in FUNCTIONS]
REGISTRIES = (*FUNCTIONS, RULES, TENSOR_RULES, OPTIMIZERS)


def pytest_collection_modifyitems(items):
    for item in items:
        if TESTS in item.path.parents:
            item.add_marker(item.path.relative_to(TESTS).parts[0])


@pytest.fixture(autouse=True)
def registries(request):
    """Show the activations and losses of tests to tests of the engine alone; forget what a test registers."""
    sees_own = request.path.relative_to(TESTS).parts[0] in ("engine", "cuda")
    before = [dict(registry) for registry in REGISTRIES]
    if not sees_own:
        for registry, built_in in BUILT_IN:
            registry.clear()
            registry.update(built_in)
    yield
    for registry, known in zip(REGISTRIES, before, strict=True):
        registry.clear()
        registry.update(known)


@pytest.fixture
def ctrl_c():
    """Return a function that presses Ctrl-C in this process, and let it raise KeyboardInterrupt.

    A process that a shell started in the background inherits an ignored SIGINT, under which Python installs
    no handler and nothing would happen.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: signal.raise_signal(signal.SIGINT)
    signal.signal(signal.SIGINT, before)
