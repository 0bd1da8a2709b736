"""scikit-learn's estimator checks: none is expected to fail."""

import pytest
from sklearn.utils.estimator_checks import check_param_validation, parametrize_with_checks

from fastopt import TabularMLPClassifier, TabularMLPRegressor

#: Of the defaults but for the number of epochs, and of networks.
QUICK = {"max_iter": 62, "n_members": 5}
ESTIMATORS = [TabularMLPClassifier(**QUICK), TabularMLPRegressor(**QUICK)]


@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn_check_passes(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_every_parameter_is_validated_in_fit(estimator):
    check_param_validation(type(estimator).__name__, estimator)
