"""What all tests share: a marker for each folder, and a Ctrl-C that arrives.

``python -m pytest -m engine`` runs what ``python -m pytest tests/engine`` does; markers can be combined:
``-m "kernels or stepping"``. pyproject.toml registers them: a folder without its marker is an error.
"""

import signal
from pathlib import Path

import pytest

TESTS = Path(__file__).parent


def pytest_collection_modifyitems(items):
    for item in items:
        if TESTS in item.path.parents:
            item.add_marker(item.path.relative_to(TESTS).parts[0])


@pytest.fixture
def ctrl_c():
    """Return a function that presses Ctrl-C in this process, and let it raise KeyboardInterrupt.

    A process that a shell started in the background inherits an ignored SIGINT, under which Python installs
    no handler and nothing would happen.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: signal.raise_signal(signal.SIGINT)
    signal.signal(signal.SIGINT, before)
