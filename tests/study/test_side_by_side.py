"""Tuning fits side by side: the oracle is the same study with every fit by itself."""

import numpy as np
import pandas as pd
import pytest
import sklearn.neural_network
from sklearn.datasets import make_classification, make_regression

from fastopt import LAMB, SGD, AdamW, Clip, MLPClassifier, MLPRegressor, ScheduleFreeAdamW
from fastopt.engine import MemberTrainer
from fastopt.schedules import cosine
from fastopt.study import OptimizerStudy, executor, side_by_side, training_run

X, LABELS = make_classification(240, 10, n_informative=6, n_classes=3, random_state=0)
Y = make_regression(240, 10, noise=5.0, random_state=0)[1] / 100
TIMES = ["seconds", "seconds_per_epoch", "fit_seconds"]

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def run(estimator, y, optimizers, **options):
    weight = options.pop("sample_weight", None)
    options = {"lr": [0.001, 0.03], "n_seeds": 2, "n_tuning_seeds": 2, "max_epochs": 5} | options
    return OptimizerStudy(estimator, optimizers, **options).fit(X, y, sample_weight=weight)


def assert_same_numbers(monkeypatch, n_trained, *arguments, **options):
    """Compare with fits by themselves; ``n_trained`` networks were trained side by side."""
    trained, train = [], MemberTrainer.train

    def counted(self, members, **kwargs):
        trained.extend(members)
        train(self, members, **kwargs)

    monkeypatch.setattr(MemberTrainer, "train", counted)
    found = run(*arguments, **options)
    assert len(trained) == n_trained
    monkeypatch.setattr(side_by_side, "is_possible", lambda task: False)
    expected = run(*arguments, **options)
    assert len(trained) == n_trained
    for name in ("results_", "curves_"):
        one, other = (
            getattr(s, name).drop(columns=TIMES, errors="ignore").sort_values(list(getattr(s, name))[:6])
            for s in (found, expected)
        )
        pd.testing.assert_frame_equal(
            one.reset_index(drop=True), other.reset_index(drop=True), check_exact=True
        )
    assert found.best_params_ == expected.best_params_
    tuning = found.results_[found.results_["phase"] == "tuning"]
    assert (tuning["fit_seconds"] > 0).tolist() == (~tuning["diverged"]).tolist()


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_of_optimizers_of_every_kind(monkeypatch, n_jobs):
    """One diverges; one is validated at an average, and one has a schedule: these go by themselves."""
    optimizers = {
        "momentum": SGD(momentum=0.9),
        "adamw": AdamW(weight_decay=0.1),
        "layers": LAMB(),
        "clipped": Clip(SGD(), norm=0.1),
        "averages": ScheduleFreeAdamW(),
        "schedule": AdamW(lr=cosine(0.01, 5)),
    }
    network = MLPClassifier((8, 8), batch_size=16, random_state=0)
    options = {"lr": [0.03, 1e30], "backend": "threading", "n_jobs": n_jobs}
    # The greater rate fails in the first epoch, but not for LAMB, whose steps go by the norms of the weights.
    assert_same_numbers(monkeypatch, 10, network, LABELS, optimizers, **options)


def test_of_networks_with_dropout_weights_and_other_batches(monkeypatch):
    weight = np.random.RandomState(0).uniform(0.5, 2, 240)
    network = MLPClassifier((8,), dropout=0.2, class_weight="balanced", label_smoothing=0.1)
    options = {"batch_size": [16, 50], "sample_weight": weight}
    assert_same_numbers(monkeypatch, 16, network, LABELS, ["momentum", "adam"], **options)


def test_of_numbers_in_float32_by_halving_and_in_samples(monkeypatch):
    monkeypatch.setattr("test_side_by_side.X", X.astype("f"))
    network = MLPRegressor(hidden_layer_sizes=(8,), shuffle=False)
    options = {"search": "halving", "lr": [0.001, 0.01, 0.03], "max_epochs": 6, "max_samples": 900}
    assert_same_numbers(monkeypatch, 8, network, Y, ["adam"], **options)


def test_what_needs_python_between_epochs_goes_by_itself(monkeypatch):
    for network, options in (
        (MLPClassifier((8,)), {"max_seconds": 5.0}),
        (MLPClassifier((8,), restore_best_weights=True), {}),
        (MLPClassifier((8,), max_time=100.0), {}),
        (sklearn.neural_network.MLPClassifier((8,)), {}),
    ):
        optimizers = {"adam": {"solver": "adam"}, "momentum": {"solver": "sgd"}}
        with monkeypatch.context() as patch:
            assert_same_numbers(patch, 0, network, LABELS, optimizers, max_epochs=2, **options)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_keeps_what_was_measured(monkeypatch, ctrl_c):
    def pressed(run, *arguments):
        if len(recorded) == 3:
            ctrl_c()
        recorded.append(run.number)
        return record(run, *arguments)

    recorded, record = [], side_by_side._record
    monkeypatch.setattr(side_by_side, "_record", pressed)
    with pytest.warns(UserWarning, match="3 fits are done"):
        study = run(MLPClassifier((8,)), LABELS, ["adam", "momentum"])
    assert study.interrupted_
    assert len(study.results_) == 3


def test_a_budget_is_spent_after_the_epochs_that_it_tells():
    for budget in (
        training_run.Budget(7),
        training_run.Budget(7, 250),
        training_run.Budget(None, 1000),
        training_run.Budget(2, 1000),
    ):
        n = budget.n_epochs(100)
        assert budget.is_spent(n, 100 * n, 0.0)
        assert not budget.is_spent(n - 1, 100 * (n - 1), 0.0)
    assert training_run.Budget(7, None, 1.0).n_epochs(100) is None


def test_no_more_fits_than_ctrl_c_may_lose_are_made_at_a_time(monkeypatch):
    sizes, fit = [], side_by_side.fit_side_by_side
    monkeypatch.setattr(
        executor.side_by_side,
        "fit_side_by_side",
        lambda some, *a: (sizes.append(len(some)), fit(some, *a))[1],
    )
    run(MLPClassifier((4,)), LABELS, ["adam", "momentum"], lr=[0.001, 0.01, 0.1], max_epochs=2)
    assert sizes == [8, 4]
