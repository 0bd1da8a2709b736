"""A study small enough for tests: iris, a network of 8 units, scikit-learn's own solvers as contenders."""

from sklearn.datasets import load_iris
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastopt.study import OptimizerStudy

SOLVERS = {"momentum": {"solver": "sgd"}, "adam": {"solver": "adam"}}


def iris():
    return load_iris(return_X_y=True)


def network():
    return make_pipeline(StandardScaler(), MLPClassifier((8,)))


def small_study(optimizers=SOLVERS, **changes):
    settings = {"lr": [0.003, 0.03], "n_seeds": 3, "n_tuning_seeds": 1, "max_epochs": 3, **changes}
    return OptimizerStudy(network(), optimizers, **settings)
