import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from fastopt import EMA, SAM, SGD, Adam, Clip, Prodigy
from fastopt._parameters import suggestion
from fastopt.schedules import cosine
from fastopt.study import recommended_grid
from fastopt.study.contenders import (
    DEFAULT_LEARNING_RATES,
    describe,
    make_contenders,
    named_optimizer,
    network_of,
)


class Network(MLPClassifier):
    """A network that carries an optimizer object, without the engine."""


def test_the_storys_names_are_settings_of_sgd():
    assert named_optimizer("gradient descent") == ("Gradient descent", SGD())
    assert named_optimizer("Gradient-Descent") == ("Gradient descent", SGD())
    assert named_optimizer("momentum") == ("Momentum", SGD(momentum=0.9))
    assert named_optimizer("nesterov") == ("Nesterov", SGD(momentum=0.9, nesterov=True))


def test_a_misspelt_optimizer_gets_a_suggestion():
    with pytest.raises(ValueError, match=r"optimizer 'adma' is not one of .* Did you mean 'adam'\?"):
        named_optimizer("adma")


@pytest.mark.parametrize("typed", ["adamm", "adma", "Adam "])
def test_the_likeliest_name_is_suggested(typed):
    # By difflib's ratio: 8/9 for 'adam', 8/10 for 'radam'. 'adma' has the very letters of 'adam'.
    assert suggestion(typed, ["radam", "adamax", "adamw", "nadam", "adam", "adan"]) == " Did you mean 'adam'?"


def test_everyone_gets_the_recommended_grid_of_as_many_rates_unless_told_otherwise():
    contenders = make_contenders(Network(), [SGD(), Adam()])
    grids = [[config.lr for config in contender.configs] for contender in contenders]
    assert grids == [list(recommended_grid("sgd")), list(recommended_grid("adam"))]
    assert len(grids[0]) == len(grids[1])


def test_an_optimizer_of_ones_own_gets_the_default_grid():
    class Own(SGD):
        pass

    (contender,) = make_contenders(Network(), [Own()])
    assert [config.lr for config in contender.configs] == list(DEFAULT_LEARNING_RATES)


def test_a_mapping_gives_each_label_its_own_rates():
    contenders = make_contenders(Network(), [SGD(), Adam()], lr={"Adam": 0.001})
    assert [len(c.configs) for c in contenders] == [len(recommended_grid("sgd")), 1]


def test_learning_rates_and_batch_sizes_are_crossed():
    (contender,) = make_contenders(Network(), [Adam()], lr=[0.1, 0.01], batch_size=[16, 32, 64])
    assert len(contender.configs) == 6
    assert {(c.lr, c.batch_size) for c in contender.configs} >= {(0.01, 16), (0.1, 64)}


def test_the_values_of_a_configuration_reach_the_network():
    (contender,) = make_contenders(Network(), [Adam(betas=(0.8, 0.9))], lr=0.02, batch_size=48)
    network = contender.network_for(contender.configs[0], seed=1)
    assert network.solver == Adam(lr=0.02, betas=(0.8, 0.9))
    assert network.batch_size == 48


@pytest.mark.parametrize(
    ("solver", "parameter"),
    [
        (Clip(Adam(), norm=1.0), "solver__optimizer__lr"),
        (SAM(Clip(EMA(Adam()), norm=1.0)), "solver__optimizer__optimizer__optimizer__lr"),
        (EMA(Clip(Adam(lr=cosine(0.1)), value=1.0)), "solver__optimizer__optimizer__lr__value"),
        (EMA(Prodigy()), "solver__optimizer__lr"),
    ],
)
def test_rates_reach_an_optimizer_in_wrappers_and_a_schedule_keeps_its_shape(solver, parameter):
    (contender,) = make_contenders(Network(), {"wrapped": solver}, lr=[0.1, 0.02])
    assert [config.lr for config in contender.configs] == [0.02, 0.1]
    network = contender.network_for(contender.configs[0], seed=0)
    assert network.get_params()[parameter] == 0.02
    assert type(network.solver) is type(solver)


def test_the_users_optimizer_is_not_changed():
    mine = Adam(lr=0.5)
    (contender,) = make_contenders(Network(), [mine], lr=0.02)
    contender.network_for(contender.configs[0], seed=1)
    assert mine.lr == 0.5


def test_two_objects_of_one_class_are_told_apart_by_their_values():
    labels = [c.label for c in make_contenders(Network(), [SGD(), SGD(momentum=0.9)])]
    assert labels == [repr(SGD()), repr(SGD(momentum=0.9))]


def test_the_same_label_twice_is_refused():
    with pytest.raises(ValueError, match=r"two optimizers are called 'Adam'.*mapping"):
        make_contenders(Network(), ["adam", Adam(lr=0.1)])


@pytest.mark.parametrize("bad", [0, -0.1, float("inf"), float("nan"), True, "fast"])
def test_a_learning_rate_that_cannot_be_is_named(bad):
    with pytest.raises(ValueError, match=r"lr.*is not"):
        make_contenders(Network(), [Adam()], lr=[bad] if not isinstance(bad, str) else {"Adam": bad})


@pytest.mark.parametrize("bad", [0, -3, 2.5])
def test_a_batch_size_that_cannot_be_is_named(bad):
    with pytest.raises(ValueError, match=r"batch_size=.*is not a whole number"):
        make_contenders(Network(), [Adam()], batch_size=bad)


def test_rates_for_an_unknown_label_are_refused():
    with pytest.raises(ValueError, match=r"lr has the key 'adam'.*Labels: 'Adam'"):
        make_contenders(Network(), [Adam()], lr={"adam": 0.1})


def test_a_class_instead_of_an_object_is_refused():
    with pytest.raises(TypeError, match=r"is not a name or an optimizer object|optimizer 'Adam' is"):
        make_contenders(Network(), {"Adam": Adam})


def test_an_empty_list_of_optimizers_is_refused():
    with pytest.raises(ValueError, match="optimizers is empty"):
        make_contenders(Network(), [])


@pytest.mark.parametrize("estimator", [LogisticRegression(), MLPClassifier(solver="lbfgs")])
def test_what_cannot_be_watched_by_epoch_is_refused(estimator):
    with pytest.raises(TypeError, match=r"has no partial_fit.*epoch by epoch"):
        network_of(estimator)


def test_a_description_holds_no_address_that_another_process_would_not_have():
    steps = make_pipeline(
        FunctionTransformer(np.log1p), FunctionTransformer(lambda X: X * 2), Network(solver=Adam())
    )
    assert "0x" not in describe(steps)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Network(alpha=0.1), Network(alpha=0.2)),
        (Network(solver=Adam()), Network(solver=Adam(betas=(0.8, 0.999)))),
        (PCA(random_state=0), PCA(random_state=1)),
        (make_pipeline(StandardScaler(), PCA()), make_pipeline(PCA(), StandardScaler())),
        (FunctionTransformer(lambda X: X * 2), FunctionTransformer(lambda X: X * 3)),
    ],
)
def test_what_changes_the_numbers_changes_the_description(one, other):
    assert describe(one) != describe(other)


def test_what_does_not_is_left_out_of_it():
    assert describe(Network(verbose=True)) == describe(Network())


def test_a_random_state_of_the_users_does_not_tell_fits_apart():
    contenders = [
        make_contenders(Network(random_state=s), [Adam()])[0] for s in (None, 7, np.random.RandomState(0))
    ]
    assert len({contender.specification() for contender in contenders}) == 1
