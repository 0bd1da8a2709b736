"""Models whose pickles are kept in ``tests/estimators/data``, one folder for each state version.

``python tests/reference/saved_models.py`` writes those of the present version, once: a file that has been
committed stays as it is, because it stands for the files that users have.
"""

import pickle
import warnings
from pathlib import Path

import numpy as np

from fastopt import EMA, AdamW, MLPClassifier, MLPRegressor, Muon
from fastopt.persistence import STATE_VERSION
from fastopt.schedules import cosine

FOLDER = Path(__file__).parents[1] / "estimators" / "data" / f"state-version-{STATE_VERSION}"

_RS = np.random.RandomState(0)
X = _RS.standard_normal((60, 4))
LABELS = np.array(["no", "perhaps", "yes"])[np.digitize(X[:, 0] + X[:, 1], [-0.5, 0.5])]
NUMBERS = X[:, 0] - X[:, 1] * X[:, 2]

_SHAPE = {"hidden_layer_sizes": (5, 3), "batch_size": 20, "max_iter": 6, "random_state": 0, "tol": 0.0}


def make(name):
    """Return the model ``name`` before its fit, and its targets."""
    return {
        # one flat state, a schedule that reacts, an early-stopping history
        "adam-regressor": lambda: (
            MLPRegressor(learning_rate="plateau", early_stopping=True, learning_rate_init=0.01, **_SHAPE),
            NUMBERS,
        ),
        # scikit-learn's rule between epochs
        "sgd-classifier": lambda: (
            MLPClassifier(solver="sgd", learning_rate="adaptive", learning_rate_init=0.05, **_SHAPE),
            LABELS,
        ),
        # a wrapper around a layer-by-layer state, and a schedule
        "averaged-classifier": lambda: (
            MLPClassifier(solver=EMA(AdamW(lr=cosine(0.02))), activation="tanh", **_SHAPE),
            LABELS,
        ),
        # matrices, and clipping, which the estimator wraps around
        "muon-regressor": lambda: (
            MLPRegressor(solver=Muon(lr=0.01, momentum=0.9), clip_norm=1.0, **_SHAPE),
            NUMBERS,
        ),
        "lbfgs-classifier": lambda: (MLPClassifier(solver="lbfgs", **_SHAPE), LABELS),
    }[name]()


NAMES = "adam-regressor sgd-classifier averaged-classifier muon-regressor lbfgs-classifier".split()


def fitted(name):
    """Return the model ``name`` after its fit."""
    model, targets = make(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(X.astype(np.float32) if name == "muon-regressor" else X, targets)


def numbers(value):
    """Return every number of a model, by its path: what a pickle must give back, told without pickling."""
    found = {}

    def walk(path, value):
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{path}.{key}", inner)
        elif isinstance(value, (list, tuple)):
            for i, inner in enumerate(value):
                walk(f"{path}.{i}", inner)
        elif path.endswith("._history"):  # without the seconds
            found[path] = np.array(value).reshape(-1, 5)[:, :4]
        elif isinstance(value, np.dtype):
            found[path] = value.str
        elif isinstance(value, np.ufunc):  # saved by name; NumPy adds attributes when they are asked for
            found[path] = value.__name__
        elif isinstance(value, (np.ndarray, np.generic, int, float, str)) or value is None:
            found[path] = value
        else:
            found[path] = type(value).__name__
            walk(path, value.__getstate__() if hasattr(value, "__getstate__") else vars(value))

    walk("", value)
    return found


def write():
    FOLDER.mkdir(parents=True)
    for name in NAMES:
        model = fitted(name)
        (FOLDER / f"{name}.pickle").write_bytes(pickle.dumps((model, numbers(model)), protocol=4))


if __name__ == "__main__":
    write()
