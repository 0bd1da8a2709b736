"""What a study takes from the landscape: grids, a warning of rates that worked nowhere, and a sentence."""

import itertools
import warnings

import numpy as np
import pytest
from reference.small_study import iris, small_study
from sklearn.neural_network import MLPClassifier

import fastopt
from fastopt import ASAM, EMA, SAM, SGD, Adam, AdamW, Clip, Lion, Lookahead
from fastopt.study import UnusualRateWarning, landscape, recommended_grid
from fastopt.study.contenders import make_contenders


@pytest.mark.parametrize("name", [*fastopt.list_optimizers(), "momentum", "nesterov"])
def test_every_optimizer_has_six_rates_half_a_decade_apart(name):
    grid = recommended_grid(name)
    assert len(grid) == 6
    steps = [b / a for a, b in itertools.pairwise(grid)]
    # 1, 3, 10: factors of 3 and 10/3 in turn.
    assert all(2.9 < step < 3.4 for step in steps)


def test_the_grid_holds_a_rate_that_has_worked():
    for name, found in landscape._of_optimizers().items():
        low, high = found["worked"]
        assert any(low <= rate <= high for rate in found["grid"]), name


def test_optimizers_are_known_by_what_they_do():
    of = {
        "sgd": SGD(), "momentum": SGD(momentum=0.8), "nesterov": SGD(momentum=0.9, nesterov=True),
        "lion": Lion(weight_decay=0.1), "sam(adam)": ASAM(Adam()), "sam(momentum)": SAM(SGD(momentum=0.9)),
        "lookahead(adam)": Lookahead(Adam()), "ema(adam)": EMA(Adam()), "adamw": Clip(AdamW(), norm=1.0),
    }  # fmt: skip
    for name, optimizer in of.items():
        assert landscape.name_of(optimizer) == name
        assert recommended_grid(optimizer) == recommended_grid(name)


def test_an_unknown_optimizer_is_refused_with_a_suggestion():
    class Own(SGD):
        pass

    with pytest.raises(ValueError, match=r"'adma' is not in the landscape.*Did you mean 'adam'"):
        recommended_grid("adma")
    with pytest.raises(ValueError, match=r"Own\(.*is not in the landscape"):
        recommended_grid(Own())


def test_rates_that_worked_nowhere_are_warned_of_once_for_all_optimizers():
    low, high = landscape._of_optimizers()["adam"]["worked"]
    rates = {"slow": low / 1000, "fine": [low / 1000, low, high * 1000], "fast": high * 1000}
    contenders = make_contenders(MLPClassifier(), dict.fromkeys(rates, Adam()), lr=rates)
    with pytest.warns(UnusualRateWarning) as caught:
        landscape.warn_of_rates(contenders)
    (message,) = [str(one.message) for one in caught]
    assert f"slow at {low / 1000:g} (worked: {low:g} to {high:g})" in message
    assert "fast at" in message
    assert "fine" not in message


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_scikit_learns_networks_are_warned_of_as_ours(solver):
    with pytest.warns(UnusualRateWarning, match="it at 1e-09") as caught:
        small_study({"it": {"solver": solver}}, lr=1e-9).fit(*iris())
    (warning,) = [one for one in caught if one.category is UnusualRateWarning]
    assert warning.filename == __file__


def test_a_plain_fit_and_the_default_grid_warn_of_nothing():
    X, y = iris()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnusualRateWarning)
        fastopt.MLPClassifier((4,), solver="lion", learning_rate_init=1e-9, max_iter=1).fit(X, y)
        small_study({"momentum": {"solver": "sgd"}, "adam": {"solver": "adam"}}, lr=None, max_epochs=1).fit(
            X, y
        )


def test_the_place_in_the_landscape_counts_sets_of_these_contenders_alone():
    contenders = make_contenders(MLPClassifier(), ["adam", "rprop", "acprop"])
    losses = np.array([landscape._of_optimizers()[name]["losses"] for name in ("adam", "rprop", "acprop")])
    firsts = (losses.argmin(axis=0) == 0).sum()
    (sentence,) = landscape.place(contenders, "Adam")
    assert f"of these 3 Adam was first on {firsts} of {losses.shape[1]} data sets" in sentence
    (other,) = landscape.place(contenders, "AcProp")
    assert f"Adam on {firsts}" in other


def test_an_optimizer_that_is_there_at_a_fixed_rate_too_counts_as_the_one_tuned():
    rates = {"fixed": 0.001, "tuned": None}
    contenders = make_contenders(MLPClassifier(), {"fixed": Adam(), "tuned": Adam(), "sgd": SGD()}, lr=rates)
    (sentence,) = landscape.place(contenders, "sgd")
    assert "tuned on" in sentence
    assert "of these 2 " in sentence
    assert landscape.place(contenders, "fixed") == []


def test_contenders_that_the_landscape_lacks_have_no_place():
    class Own(SGD):
        pass

    contenders = make_contenders(MLPClassifier(), [Own(), Adam()])
    assert landscape.place(contenders, "Own") == []
    assert landscape.place(contenders, "Adam") == []


def test_the_verdict_says_where_a_study_stands():
    study = small_study().fit(*iris())
    assert any(sentence.startswith("In the landscape, of these 2 ") for sentence in study.verdict_)
