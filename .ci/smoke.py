"""Try an installed fastopt, outside the repository and without any extra: ``python .ci/smoke.py [VERSION]``.

The release workflow runs it on the wheel and the sdist, the conda recipe on the package, before either is
published.
"""

import importlib.metadata
import sys
import tempfile
from pathlib import Path

import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_iris

import fastopt

HERE = Path(__file__).resolve().parents[1]


def main(version=None):
    """Check what a user does first; AssertionError if something is amiss."""
    installed = importlib.metadata.version("fastopt")
    assert fastopt.__version__ == installed, (fastopt.__version__, installed)
    assert version in (None, installed), f"version {installed} was built, and {version} is released"
    folder = Path(fastopt.__file__).resolve().parent
    assert folder != HERE / "fastopt", "this is the source, not what is installed"
    for name in ("py.typed", "templates/report.html.j2", "study/landscape.json"):
        assert (folder / name).is_file(), f"{name} is not in the package"

    X, y = load_iris(return_X_y=True)
    network = fastopt.MLPClassifier((16,), solver=fastopt.AdamW(lr=0.01), max_iter=100, random_state=0)
    score = network.fit(X, y).score(X, y)
    assert score > 0.9, score
    again = clone(network).set_params(n_jobs=1).fit(X, y)
    np.testing.assert_array_equal(network.predict_proba(X), again.predict_proba(X))

    weights = np.ones(3)
    fastopt.SGD(lr=0.5).bind(weights).step(np.ones(3))
    np.testing.assert_array_equal(weights, np.full(3, 0.5))

    with tempfile.TemporaryDirectory() as folder:
        try:
            fastopt.save(network, Path(folder, "model"))
        except ImportError as missing:  # no extra is installed, and the message says which one is lacking
            if "fastopt[files]" not in str(missing):
                raise
    print(f"fastopt {installed} from {Path(fastopt.__file__).parent}: accuracy {score:.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
