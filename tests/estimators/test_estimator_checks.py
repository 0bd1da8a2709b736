"""scikit-learn's estimator checks: none is expected to fail."""

import warnings
from importlib.metadata import version

import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import (
    check_dataframe_column_names_consistency,
    check_param_validation,
    estimator_checks_generator,
    parametrize_with_checks,
)

from fastopt import MLPClassifier, MLPRegressor

ESTIMATORS = [MLPClassifier(), MLPRegressor()]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn_check_passes(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_every_parameter_is_validated_in_fit(estimator):
    check_param_validation(type(estimator).__name__, estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_column_names_are_checked_between_fit_and_predict(estimator):
    pytest.importorskip("pandas")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        check_dataframe_column_names_consistency(type(estimator).__name__, estimator)


@pytest.mark.skipif(not version("scikit-learn").startswith("1.9."), reason="the counts are those of 1.9")
@pytest.mark.parametrize(("estimator", "count"), [(MLPClassifier(), 68), (MLPRegressor(), 60)])
def test_as_many_checks_apply_as_to_scikit_learns_own(estimator, count):
    # One more of the classifier than of scikit-learn's, because of class_weight. The tags decide which checks
    # run: a tag that hides a capability would hide its checks.
    assert len(list(estimator_checks_generator(estimator))) == count
