"""scikit-learn's own tests of callbacks, run with our regressor in the place of their iterative estimator.

The installed files are read, compiled and run at run time; nothing of them is copied here. Where they expect
the name "iteration 3" of a task, ours are called "epoch".
"""

import importlib.util
import inspect
import types
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import make_regression

from fastopt import MLPRegressor

pytest.importorskip("sklearn.callback", reason="scikit-learn has callbacks from version 1.9 on")
_NAMES = ("callback_context", "callback_support", "pickle", "progressbar", "scoring_monitor")
_SPECS = {name: importlib.util.find_spec(f"sklearn.callback.tests.test_{name}") for name in _NAMES}
if None in _SPECS.values():
    pytest.skip("this build of scikit-learn comes without its tests", allow_module_level=True)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
#: Left out because each starts an interpreter of its own, for some seconds.
_SLOW = ("progressbar_outside_main_module", "callbacks_refit_after_load_in_fresh_process")


class MaxIterEstimator(MLPRegressor):
    """Our regressor behind the interface of scikit-learn's double, which can be fitted without data."""

    def __init__(self, max_iter=20, computation_intensity=0.001):
        super().__init__(hidden_layer_sizes=(3,), max_iter=max_iter, n_iter_no_change=np.inf, random_state=0)
        self.computation_intensity = computation_intensity

    def fit(self, X=None, y=None, *, sample_weight=None):
        if X is None:  # upstream's scoring tests take this table where they pass one
            X, y = make_regression(n_samples=100, n_features=2, random_state=0)
        return super().fit(X, y, sample_weight)


def _upstream(spec):
    """Execute an installed test module with our estimator in the place of scikit-learn's double."""
    source = Path(spec.origin).read_text(encoding="utf-8")
    # A mark that a plugin of theirs defines. No line may go: `inspect.getsource` counts those of the file.
    source = source.replace("@pytest.mark.thread_unsafe\n", "\n")
    source = source.replace('f"iteration {i}"', '"epoch"').replace(
        'startswith("iteration")', '__eq__("epoch")'
    )
    module = types.ModuleType(f"upstream_{spec.name.rpartition('.')[2]}")
    module.__file__ = spec.origin
    exec(compile(source, spec.origin, "exec"), module.__dict__)
    module.MaxIterEstimator = MaxIterEstimator
    return module


def _tests_of_the_double(module):
    """Yield the names and tests that fit the double, alone or inside scikit-learn's meta-estimators."""
    for name, test in vars(module).items():
        slow = any(part in name for part in _SLOW)
        if name.startswith("test_") and not slow and "MaxIterEstimator" in inspect.getsource(test):
            yield name, test


for _name, _spec in _SPECS.items():
    for _test_name, _test in _tests_of_the_double(_upstream(_spec)):
        globals()[f"test_{_name}_{_test_name.removeprefix('test_')}"] = _test


def test_the_upstream_modules_have_these_tests():
    """So that a renamed double cannot leave this file without tests: 1.9.1 has 42 of them."""
    found = [name for name in globals() if name.startswith(tuple(f"test_{name}_" for name in _NAMES))]
    assert len(found) >= 30
