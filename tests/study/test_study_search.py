import pytest
from reference.small_study import SOLVERS, iris, network, small_study

from fastopt.study.contenders import make_contenders
from fastopt.study.search import count_fits, grid, halving
from fastopt.study.training_run import Budget

RATES = [0.001 * 2**i for i in range(9)]


def rigged(best_rate, calls):
    """Return an `evaluate` whose scores peak at `best_rate`; it notes what it was asked for."""

    def evaluate(tasks):
        calls.append(tasks)
        return [{"diverged": False, "score": [-abs(task.config.lr - best_rate)]} for task in tasks]

    return evaluate


def contenders():
    return make_contenders(network(), SOLVERS, lr=RATES)


@pytest.mark.parametrize("search", [grid, halving])
def test_a_search_finds_the_peak(search):
    chosen = search(contenders(), [0, 1], Budget(27), rigged(0.008, []))
    assert {label: config.lr for label, config in chosen.items()} == {"momentum": 0.008, "adam": 0.008}


def test_halving_gives_the_survivors_of_each_optimizer_three_times_the_budget():
    calls = []
    halving(contenders(), [0], Budget(27), rigged(0.008, calls), factor=3)
    rungs = [(len(tasks), {task.budget.max_epochs for task in tasks}) for tasks in calls]
    assert rungs == [(18, {3}), (6, {9}), (2, {27})]


def test_the_announced_number_of_fits_is_the_number_made():
    for factor in (2, 3, 4):
        calls = []
        halving(contenders(), [0, 1], Budget(27), rigged(0.008, calls), factor=factor)
        assert sum(map(len, calls)) == count_fits("halving", contenders(), 2, factor=factor)


def test_a_configuration_that_diverges_with_one_seed_is_not_chosen():
    def evaluate(tasks):
        return [
            {
                "diverged": t.config.lr == RATES[3] and t.seed == 1,
                "score": [1.0 if t.config.lr == RATES[3] else 0.5],
            }
            for t in tasks
        ]

    assert grid(contenders(), [0, 1], Budget(1), evaluate)["adam"].lr == RATES[0]


def test_a_study_with_halving_compares_what_halving_chose():
    study = small_study(search="halving", lr=RATES, max_epochs=4).fit(*iris())
    tuning = study.results_[study.results_["phase"] == "tuning"]
    assert set(tuning["n_epochs"]) == {1, 2, 4}
    for label, chosen in study.best_params_.items():
        mine = tuning[(tuning["optimizer"] == label) & (tuning["n_epochs"] == 4)]
        assert chosen["lr"] == mine.sort_values("accuracy", ascending=False, kind="stable")["lr"].iloc[0]


def test_optuna_tunes_every_optimizer_with_the_same_number_of_trials():
    pytest.importorskip("optuna")
    study = small_study(search="optuna", n_trials=4).fit(*iris())
    tuning = study.results_[study.results_["phase"] == "tuning"]
    assert tuning.groupby("optimizer").size().to_dict() == {"adam": 4, "momentum": 4}
    assert tuning["lr"].between(0.003, 0.03).all()


def test_the_users_own_optuna_study_can_drive_the_fits():
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    objective = small_study().objective(*iris(), label="adam")
    own = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    own.optimize(objective, n_trials=3)
    assert len(own.trials) == 3
    assert 0 <= own.best_value <= 1
