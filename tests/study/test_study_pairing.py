"""Every contender sees the same split, the same initial weights and the same batch order."""

import numpy as np
import pandas as pd
import pytest
from reference.small_study import iris, small_study
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline

from fastopt.study import OptimizerStudy
from fastopt.study.splits import Splits


def test_one_optimizer_under_two_labels_gives_the_same_curves():
    twins = {"one": {"solver": "adam"}, "other": {"solver": "adam"}}
    curves = small_study(twins).fit(*iris()).curves_
    one, other = (curves[curves["optimizer"] == label] for label in twins)
    np.testing.assert_array_equal(one[["loss", "accuracy"]], other[["loss", "accuracy"]])


def test_a_fit_is_the_one_that_scikit_learn_makes_from_the_same_split_and_seed():
    X, y = iris()
    study = OptimizerStudy(
        MLPClassifier((8,)), {"adam": {"solver": "adam"}}, lr=0.01, n_seeds=2, max_epochs=4
    )
    study.fit(X, y)
    for seed in (0, 1):
        X_train, X_val, y_train, y_val = train_test_split(X, y, test_size=0.2, random_state=seed, stratify=y)
        network = MLPClassifier((8,), learning_rate_init=0.01, random_state=np.random.RandomState(seed))
        scores = []
        for _ in range(4):
            network.partial_fit(X_train, y_train, classes=np.unique(y))
            scores.append(network.score(X_val, y_val))
        mine = study.curves_[study.curves_["seed"] == seed]
        assert mine["accuracy"].tolist() == scores
        assert mine["loss"].tolist() == network.loss_curve_


def test_tuning_and_comparison_never_share_a_seed():
    results = small_study().fit(*iris()).results_
    seeds = results.groupby("phase")["seed"].agg(set)
    assert not seeds["tuning"] & seeds["comparison"]


class RowsSeen(TransformerMixin, BaseEstimator):
    """Scales by the number of rows it was fitted on."""

    def fit(self, X, y=None):
        self.n_ = len(X)
        return self

    def transform(self, X):
        return X * 0 + self.n_


def test_preprocessing_is_fitted_on_training_rows_only():
    X, y = iris()
    preprocessor = make_pipeline(RowsSeen(), MLPClassifier())
    split = Splits(preprocessor, X, y, validation_fraction=0.2, is_classification=True).get(3)
    assert (split.X_train == 120).all()
    assert (split.X_val == 120).all()


def test_fixed_validation_rows_are_hidden_from_tuning():
    X, y = iris()
    X_val, y_val = X[::3] + 1000, y[::3]
    splits = Splits(None, X, y, X_val, y_val, validation_fraction=0.25, is_classification=True)
    assert splits.get(1).X_val is X_val
    assert splits.get(1, is_tuning=True).X_val.max() < 1000


def test_a_class_with_one_member_does_not_stop_the_split():
    X, y = iris()
    y = np.where(np.arange(len(y)) == 7, 9, y)
    split = Splits(None, X, y, validation_fraction=0.25, is_classification=True).get(0)
    assert len(split.y_val) == 38


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_workers_give_the_same_numbers(backend):
    columns = ["optimizer", "seed", "phase", "loss", "accuracy", "recall_macro"]
    alone = small_study().fit(*iris()).results_[columns]
    workers = small_study(n_jobs=2, backend=backend).fit(*iris()).results_[columns]
    pd.testing.assert_frame_equal(alone, workers, check_exact=True)
