"""Splits of one's own: folds, groups, weights, and pipelines that resample."""

import joblib
import numpy as np
import pytest
from reference.small_study import SOLVERS, iris, small_study
from sklearn.base import BaseEstimator
from sklearn.model_selection import (
    GroupKFold,
    GroupShuffleSplit,
    KFold,
    PredefinedSplit,
    RepeatedKFold,
    StratifiedKFold,
    TimeSeriesSplit,
)
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from fastopt import MLPRegressor
from fastopt.study import OptimizerStudy, range_test
from fastopt.study.splits import Splits

ADAM = {"adam": {"solver": "adam"}}
GROUPS = np.arange(150) % 30


def splits(cv=None, **options):
    X, y = iris()
    return Splits(None, X, y, validation_fraction=0.2, is_classification=True, cv=cv, **options)


def test_each_seed_takes_its_own_fold_of_scikit_learns_splitter():
    X, y = iris()
    study = small_study(ADAM, lr=0.01, n_seeds=None, cv=KFold(5, shuffle=True, random_state=3)).fit(X, y)
    assert study.results_["seed"].tolist() == [0, 1, 2, 3, 4]
    for seed, (train, val) in enumerate(KFold(5, shuffle=True, random_state=3).split(X)):
        mine_train, mine_val = study._experiment.splits.rows(seed)
        np.testing.assert_array_equal(mine_train, train)
        np.testing.assert_array_equal(mine_val, val)
    assert study._experiment.splits.val_to_train == pytest.approx(30 / 120)


def test_a_number_of_folds_means_what_it_means_in_scikit_learn():
    X, y = iris()
    mine = [splits(5).rows(seed)[1] for seed in range(5)]
    for rows, (_, val) in zip(mine, StratifiedKFold(5).split(X, y), strict=True):
        np.testing.assert_array_equal(rows, val)


@pytest.mark.parametrize(
    "cv", [5, TimeSeriesSplit(4), PredefinedSplit(np.arange(150) % 4), list(KFold(3).split(np.zeros(150)))]
)
def test_tuning_never_sees_the_rows_that_judge_in_its_split(cv):
    made = splits(cv)
    for seed in range(4):
        _, judged = made.rows(seed)
        train, val = made.rows(seed, is_tuning=True)
        assert len(val) > 0
        assert not np.intersect1d(judged, np.concatenate([train, val])).size
        assert not np.intersect1d(train, val).size
        if isinstance(cv, TimeSeriesSplit):
            assert train.max() < val.min() < judged.min()


@pytest.mark.parametrize("cv", [None, 5, GroupKFold(4), GroupShuffleSplit(4, random_state=0)])
def test_rows_of_a_group_stay_on_one_side(cv):
    made = splits(cv, groups=GROUPS)
    for seed in range(4):
        for is_tuning in (False, True):
            train, val = made.rows(seed, is_tuning=is_tuning)
            assert not np.intersect1d(GROUPS[train], GROUPS[val]).size
    assert 0.1 < made.val_to_train < 0.6


def test_grouped_rows_that_repeat_do_not_leak():
    # 40 subjects of 10 almost equal rows, with labels by lot: only who has seen a subject knows its label.
    rng = np.random.default_rng(0)
    subject = np.repeat(np.arange(40), 10)
    X = rng.normal(size=(40, 5))[subject] + 0.01 * rng.normal(size=(400, 5))
    y = rng.permutation(np.arange(40) % 2)[subject]
    settings = {"lr": 0.01, "n_seeds": 5, "max_epochs": 60, "metrics": ()}
    study = OptimizerStudy(MLPClassifier((64,), batch_size=20), ADAM, **settings)
    leaky = study.fit(X, y).summary_["accuracy"][0]
    honest = study.fit(X, y, groups=subject).summary_["accuracy"][0]
    assert leaky > 0.95
    assert honest < 0.75  # chance is 0.5; 5 splits of 8 subjects have a standard error of 0.08


def test_a_splitter_that_tears_groups_apart_is_refused():
    with (
        pytest.warns(UserWarning, match="groups parameter is ignored"),
        pytest.raises(ValueError, match=r"cv=KFold.* puts rows of group .* on both sides"),
    ):
        splits(KFold(5, shuffle=True, random_state=0), groups=GROUPS)


def test_more_seeds_than_splits_are_refused_and_repeats_are_taken():
    with pytest.raises(ValueError, match="n_seeds=6 and cv gives 5 splits"):
        small_study(cv=5, n_seeds=6).plan(*iris())
    with pytest.raises(ValueError, match="X_val fixes those that validate"):
        small_study(cv=5).plan(*iris(), *iris())
    repeated = RepeatedKFold(n_splits=5, n_repeats=2, random_state=0)
    assert small_study(ADAM, lr=0.01, n_seeds=None, cv=repeated).plan(*iris()) == 10


def test_other_folds_groups_and_weights_are_other_studies_in_the_store():
    made = [splits(), splits(5), splits(4), splits(groups=GROUPS), splits(sample_weight=np.ones(150))]
    assert len({one.fingerprint() for one in made}) == 5
    assert splits(5).fingerprint() == splits(5).fingerprint()
    assert joblib.hash(splits(5).rows(2)) == joblib.hash(splits(5).rows(2))


def test_weights_reach_the_training_and_the_scores():
    X, y = iris()
    weight = np.where(y == 2, 0.0, 1.0)
    study = small_study(ADAM, lr=0.01, n_seeds=2, max_epochs=4).fit(X, y, sample_weight=weight)
    for seed in (0, 1):
        train, val = study._experiment.splits.rows(seed)
        scaler = StandardScaler().fit(X[train])
        network = MLPClassifier((8,), learning_rate_init=0.01, random_state=np.random.RandomState(seed))
        for _ in range(4):
            network.partial_fit(scaler.transform(X[train]), y[train], weight[train], classes=[0, 1, 2])
        row = study.results_[study.results_["seed"] == seed].iloc[0]
        assert row["loss"] == network.loss_
        assert row["accuracy"] == network.score(scaler.transform(X[val]), y[val], weight[val])


def test_weights_and_a_scorer_that_takes_none_are_refused():
    rng = np.random.default_rng(0)
    study = OptimizerStudy(
        MLPRegressor(hidden_layer_sizes=(4,)), ["adam"], scoring="neg_max_error", n_seeds=2
    )
    with pytest.raises(ValueError, match="scoring='neg_max_error' takes no sample_weight"):
        study.plan(rng.normal(size=(50, 2)), rng.normal(size=50), sample_weight=np.ones(50))


class Halved(BaseEstimator):
    """A sampler as imbalanced-learn has them: keeps every second row, in training only."""

    def fit_resample(self, X, y):
        return X[::2], y[::2]


class ResamplingPipeline(Pipeline):
    """The part of imbalanced-learn's pipeline that matters here."""

    def _validate_steps(self):
        """Take samplers, which scikit-learn's pipeline refuses."""

    def fit(self, X, y=None):
        for _, step in self.steps[:-1]:
            X, y = step.fit_resample(X, y) if hasattr(step, "fit_resample") else (step.fit_transform(X, y), y)
        self.steps[-1][1].fit(X, y)
        return self

    def predict(self, X):
        for _, step in self.steps[:-1]:
            X = X if hasattr(step, "fit_resample") else step.transform(X)
        return self.steps[-1][1].predict(X)


def resampling():
    return ResamplingPipeline(
        [("scale", StandardScaler()), ("halve", Halved()), ("net", MLPClassifier((8,)))]
    )


def test_a_pipeline_that_resamples_fits_itself_and_leaves_validation_rows_alone():
    study = OptimizerStudy(resampling(), ADAM, lr=0.01, n_seeds=2, max_epochs=2).fit(*iris())
    split = study._experiment.splits.get(0)
    assert (len(split.X_train), len(split.y_train)) == (60, 60)
    assert (len(split.X_val), len(split.y_val)) == (30, 30)
    assert study.curves_["samples"].max() == 120
    with pytest.raises(ValueError, match="a step of the pipeline resamples the rows"):
        OptimizerStudy(resampling(), ADAM, n_seeds=2).plan(*iris(), sample_weight=np.ones(150))


def test_imbalanced_learns_own_pipeline_works():
    imblearn = pytest.importorskip("imblearn")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 4))
    y = (np.arange(200) % 10 == 0).astype(int)
    steps = imblearn.pipeline.make_pipeline(
        StandardScaler(), imblearn.over_sampling.RandomOverSampler(), MLPClassifier((8,))
    )
    study = OptimizerStudy(steps, SOLVERS, lr=[0.003, 0.03], n_seeds=3, n_tuning_seeds=1, max_epochs=2)
    study.fit(X, y)
    split = study._experiment.splits.get(0)
    assert np.bincount(split.y_train).tolist() == [144, 144]
    assert np.bincount(split.y_val).tolist() == [36, 4]
    again = OptimizerStudy(**study.get_params(deep=False)).fit(X, y)  # the sampler's seed is the split's
    assert again.results_["loss"].tolist() == study.results_["loss"].tolist()


def test_the_range_test_resamples_too():
    from fastopt import MLPClassifier as Network

    pipeline = resampling().set_params(net=Network((8,), batch_size=25))
    assert range_test(pipeline, *iris(), random_state=0).suggestion > 0
