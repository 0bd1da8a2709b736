"""scikit-learn's searches under joblib's Dask backend, and fastopt's networks in them."""

import joblib
import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV, cross_val_score

from fastopt import MLPClassifier

pytest.importorskip("distributed")


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_searches_give_the_numbers_of_one_process(cluster):
    X, y = load_iris(return_X_y=True)
    network = MLPClassifier((8,), random_state=0, max_iter=5, n_jobs=1)
    search = GridSearchCV(network, {"learning_rate_init": [0.001, 0.01, 0.1]}, cv=3)
    alone = search.fit(X, y).cv_results_["mean_test_score"].copy()
    scores = cross_val_score(network, X, y, cv=3)
    with cluster.as_current(), joblib.parallel_config("dask", scatter=[X, y]):
        spread = search.fit(X, y)
        np.testing.assert_array_equal(cross_val_score(network, X, y, cv=3), scores)
    np.testing.assert_array_equal(spread.cv_results_["mean_test_score"], alone)
    assert spread.best_params_ == {"learning_rate_init": 0.1}
