"""scikit-learn's own test_mlp.py, run against fastopt's classes.

The installed file is read, compiled and run at run time, with the two class names bound to ours; nothing
of it is copied here. Its fixtures and parametrizations apply as they stand.
"""

import importlib.util
import types
from pathlib import Path

import pytest

import fastopt.neural_network

_SPEC = importlib.util.find_spec("sklearn.neural_network.tests.test_mlp")
if _SPEC is None:
    pytest.skip("this build of scikit-learn comes without its tests", allow_module_level=True)


def _upstream():
    """Execute the installed test module with our classes in the place of scikit-learn's."""
    source = Path(_SPEC.origin).read_text(encoding="utf-8")
    imported = "from sklearn.neural_network import MLPClassifier, MLPRegressor"
    assert source.count(imported) == 1
    module = types.ModuleType("upstream_test_mlp")
    module.__file__ = _SPEC.origin
    ours = source.replace(imported, "from fastopt.neural_network import MLPClassifier, MLPRegressor")
    exec(compile(ours, _SPEC.origin, "exec"), module.__dict__)
    return module


_MODULE = _upstream()
globals().update({name: value for name, value in vars(_MODULE).items() if name.startswith("test_")})


@pytest.fixture
def global_random_seed():
    # scikit-learn's conftest provides this one; 42 is its default seed.
    return 42


def test_the_upstream_module_tests_our_classes():
    assert _MODULE.MLPClassifier is fastopt.neural_network.MLPClassifier
    assert _MODULE.MLPRegressor is fastopt.neural_network.MLPRegressor
    assert sum(name.startswith("test_") for name in vars(_MODULE)) >= 40
