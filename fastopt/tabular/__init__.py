"""Tables as they are: columns of every kind made into numbers, and bags of small networks trained on them."""

from fastopt.tabular.classifier import TabularMLPClassifier
from fastopt.tabular.columns import TableEncoder
from fastopt.tabular.estimator import TabularMember
from fastopt.tabular.regressor import TabularMLPRegressor

__all__ = ["TableEncoder", "TabularMLPClassifier", "TabularMLPRegressor", "TabularMember"]
