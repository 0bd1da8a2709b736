"""Nested cross-validation against scikit-learn's: a search within `cross_validate`, which was executed."""

from collections import Counter
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import sklearn
from reference.small_study import iris, small_study
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    PredefinedSplit,
    StratifiedKFold,
    cross_validate,
)
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

GROUPS = np.arange(150) % 15
ADAM = {"adam": {"solver": "adam"}}


def nested(cv, **options):
    settings = {"n_seeds": None, "n_tuning_seeds": 3, "nested": True, "max_epochs": 1, **options}
    return small_study(ADAM, cv=cv, **settings)


class Recorder(ClassifierMixin, BaseEstimator):
    """Keeps which rows it was trained and judged on; X is the number of each row."""

    seen: ClassVar[list] = []

    def __init__(self, c=0):
        self.c = c

    def fit(self, X, y):
        self.classes_, self.rows_ = np.unique(y), tuple(X[:, 0])
        return self

    def predict(self, X):
        Recorder.seen.append((self.rows_, tuple(X[:, 0])))
        return np.zeros(len(X), int)


@pytest.mark.parametrize(
    ("cv", "groups"),
    [(KFold(3, shuffle=True, random_state=1), None), (StratifiedKFold(3), None), (GroupKFold(3), GROUPS)],
    ids=["shuffled", "stratified", "groups"],
)
def test_the_rows_of_all_fits_are_those_of_a_search_within_cross_validate(cv, groups):
    rows, y = np.arange(150)[:, None], iris()[1]
    Recorder.seen.clear()
    search = GridSearchCV(Recorder(), {"c": [0]}, cv=cv)
    with sklearn.config_context(enable_metadata_routing=groups is not None):
        cross_validate(search, rows, y, cv=cv, params=None if groups is None else {"groups": groups})
    study = nested(cv).fit(*iris(), groups=groups)
    splits = study._experiment.splits
    mine = [
        tuple(map(tuple, splits.rows(seed, is_tuning=phase == "tuning")))
        for phase, seed in study.results_[["phase", "seed"]].drop_duplicates().itertuples(index=False)
    ]
    assert len(mine) == 3 * (3 + 1)
    assert Counter(mine) == Counter(Recorder.seen)


def test_each_split_chooses_as_scikit_learn_does_and_is_scored_with_its_choice():
    # scikit-learn's own networks, trained by hand on the rows of its own splitters with the study's seeds.
    X, y = iris()
    cv, rates = KFold(3, shuffle=True, random_state=0), [0.001, 0.1, 0.003]
    study = nested(cv, lr=rates, max_epochs=4).fit(X, y)

    def score(train, val, rate, seed):
        scaler = StandardScaler().fit(X[train])
        network = MLPClassifier((8,), learning_rate_init=rate, random_state=np.random.RandomState(seed))
        for _ in range(4):
            network.partial_fit(scaler.transform(X[train]), y[train], classes=[0, 1, 2])
        return network.score(scaler.transform(X[val]), y[val])

    compared = study.results_[study.results_["phase"] == "comparison"].set_index("seed")
    tuned = study.results_[study.results_["phase"] == "tuning"]
    for seed, (train, val) in enumerate(cv.split(X)):
        inner = list(cv.split(train))
        seeds = [s for s in tuned["seed"].unique() if s % 3 == seed]  # 100,002, the first, is a multiple of 3
        assert len(seeds) == len(inner) == 3
        means = {}
        for rate in rates:
            # The study takes the inner splits in turn, beginning at another for each outer one.
            order = [inner[(seed + s // 3) % 3] for s in seeds]
            means[rate] = np.mean(
                [score(train[a], train[b], rate, s) for (a, b), s in zip(order, seeds, strict=True)]
            )
        assert compared.loc[seed, "lr"] == max(sorted(rates), key=means.get)
        assert compared.loc[seed, "accuracy"] == score(train, val, compared.loc[seed, "lr"], seed)


@pytest.mark.parametrize(
    ("cv", "groups"), [(None, None), (None, GROUPS), (4, GROUPS), (PredefinedSplit(GROUPS % 4), None)]
)
def test_no_row_that_judges_a_split_has_a_say_in_its_choice(cv, groups):
    study = nested(cv, n_seeds=4).fit(*iris(), groups=groups)
    experiment = study._experiment
    for number, seed in enumerate(experiment.seeds):
        judged = experiment.splits.rows(seed)[1]
        for inner in experiment._inner_seeds(number):
            train, val = experiment.splits.rows(inner, is_tuning=True)
            assert not np.intersect1d(judged, np.concatenate([train, val])).size
            if groups is not None:
                assert not np.intersect1d(groups[train], groups[val]).size
    tuned = study.results_[study.results_["phase"] == "tuning"]["seed"].unique()
    assert len(tuned) == len(set(tuned)) == 4 * 3
    assert not set(tuned) & set(experiment.seeds)


def test_without_nesting_a_choice_sees_rows_that_judge_other_splits_and_says_so():
    study = small_study(ADAM, n_seeds=3).fit(*iris())
    assert any("slightly optimistic" in note for note in study.notes_)
    assert not any("slightly optimistic" in note for note in nested(3).fit(*iris()).notes_)


def test_the_count_is_told_before_and_a_stopped_study_goes_on(tmp_path):
    study = nested(3, store=tmp_path)
    assert study.plan(*iris()) == 3 * 2 * 3 + 3
    study.fit(*iris())
    assert len(study.results_) == 21
    again = nested(3, store=tmp_path).fit(*iris())
    assert again.n_read_ == 21
    pd.testing.assert_frame_equal(again.results_, study.results_)
    parallel = nested(3, n_jobs=2, backend="threading").fit(*iris())
    assert parallel.results_["accuracy"].tolist() == study.results_["accuracy"].tolist()


def test_random_splits_of_a_nested_study_are_not_taken_for_those_of_another(tmp_path):
    small_study(ADAM, store=tmp_path).fit(*iris())
    again = nested(None, n_seeds=3, store=tmp_path, max_epochs=3).fit(*iris())
    assert again.n_read_ == 0


def test_the_most_frequent_choice_is_shown_and_used():
    study = nested(KFold(5, shuffle=True, random_state=0), lr=[0.001, 0.01, 0.03, 0.1], max_epochs=3)
    X, y = iris()
    study.fit(X, np.random.default_rng(0).permutation(y))  # nothing to learn: each split chooses by chance
    rates = study.results_[study.results_["phase"] == "comparison"]["lr"]
    most = rates.value_counts().max()
    assert rates.nunique() > 1
    assert (rates == study.best_params_["adam"]["lr"]).sum() == most
    assert study.summary_["lr"][0] == study.best_params_["adam"]["lr"]
    assert study.configured("adam")[-1].learning_rate_init == study.best_params_["adam"]["lr"]
    assert any("The choices differ for adam" in note for note in study.notes_)


@pytest.mark.parametrize(
    ("options", "rows", "message"),
    [
        ({"lr": 0.01}, (), "nested=True has nothing to choose"),
        ({"n_seeds": 2, "cv": None}, iris(), "X_val makes one for all"),
        ({"nested": "yes"}, (), "nested='yes' is not True or False"),
    ],
)
def test_nesting_that_has_no_meaning_is_refused(options, rows, message):
    with pytest.raises(ValueError, match=message):
        nested(3).set_params(**options).plan(*iris(), *rows)
