"""What ``docs/from-keras.md`` says of Keras' callbacks, against what Keras did when it was executed."""

import json
from pathlib import Path

import numpy as np
import pytest

from fastopt import MLPClassifier

PEERS = json.loads(Path(__file__).with_name("peer_values.json").read_text())


@pytest.mark.parametrize("patience", [2, 3, 10])
def test_early_stopping_has_a_patience_less_by_one(patience):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 3)), np.arange(40) % 2
    # With a rate this small no score ever changes.
    clf = MLPClassifier((2,), learning_rate_init=1e-300, early_stopping=True, n_iter_no_change=patience - 1)
    clf.fit(X, y)
    assert len(set(clf.validation_scores_)) == 1
    assert clf.n_iter_ == PEERS["early_stopping"][str(patience)]


def test_the_validation_split_of_keras_is_the_last_rows():
    assert PEERS["validation_split"] == np.arange(20).reshape(10, 2)[-2:].tolist()
