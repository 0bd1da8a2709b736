"""In a notebook a fitted estimator shows its loss curve within scikit-learn's own representation."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import sklearn
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_html_repr

from fastopt import Adam, MLPClassifier, TabularMLPClassifier
from fastopt.neural_network.loss_curve import curve_svg

X, y = load_iris(return_X_y=True)
HAS_ATTRIBUTES = hasattr(sklearn.base.BaseEstimator, "_get_fitted_attr_html")  # from scikit-learn 1.9 on


def network(**options):
    options = {"max_iter": 5, "tol": 0.0, "n_iter_no_change": 100, "random_state": 0, **options}
    return MLPClassifier((4,), **options)


def html(estimator):
    return estimator._repr_mimebundle_()["text/html"]


def curves(text):
    """Return the SVGs of a page that are curves; scikit-learn has icons of its own."""
    return re.findall(r'<svg role="img" aria-label="[^"]*epoch.*?</svg>', text, re.DOTALL)


def lines(svg):
    """Return for each line of an SVG the points that it goes through, by pieces."""
    paths = [path.get("d") for path in ElementTree.fromstring(svg)]
    pieces = [[piece for piece in path.split("M") if piece] for path in paths]
    return [
        [np.array(re.findall(r"[\d.]+ [\d.]+", piece)).reshape(-1, 1) for piece in path] for path in pieces
    ]


def coordinates(piece):
    return np.array([text.split() for text in piece[:, 0]], float)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("solver", ["adam", "lbfgs", Adam(lr=0.01)])
def test_a_fitted_network_shows_its_losses_once(solver):
    (svg,) = curves(html(network(solver=solver).fit(X, y)))
    ElementTree.fromstring(svg)


def test_an_unfitted_network_is_shown_as_scikit_learn_shows_it():
    def without_numbers(text):
        return re.sub(r"sk-(container|estimator)-id-\d+", "", text)

    assert without_numbers(html(network())) == without_numbers(estimator_html_repr(network()))


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_all_that_scikit_learn_shows_of_a_fitted_network_is_there():
    text = html(network().fit(X, y))
    assert "sk-container" in text
    assert "n_iter_no_change" in text
    assert not HAS_ATTRIBUTES or "intercepts_" in text


@pytest.mark.skipif(not HAS_ATTRIBUTES, reason="scikit-learn below 1.9 shows nothing fitted")
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_within_a_pipeline_and_a_search_it_is_with_the_network():
    pipeline = make_pipeline(StandardScaler(), network())
    assert len(curves(html(pipeline.fit(X, y)))) == 1
    search = GridSearchCV(network(), {"alpha": [0.0, 0.1]}, cv=2).fit(X, y)
    assert len(curves(html(search))) == 1  # of best_estimator_


def test_estimators_of_tables_have_one_too():
    model = TabularMLPClassifier(hidden_layer_sizes=(4,), max_iter=6, n_members=2, n_cv=2, random_state=0)
    (svg,) = curves(html(model.fit(X, y)))
    assert "validation loss" in svg


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_without_a_history_there_is_no_curve():
    """The members of an ensemble have theirs."""
    ensemble = network(n_members=2).fit(X, y)
    assert "sk-container" in html(ensemble)
    assert curves(html(ensemble)) == []
    assert len(curves(html(ensemble.members_[0]))) == 1


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_display_text_and_repr_are_as_ever():
    fitted = network().fit(X, y)
    with sklearn.config_context(display="text"):
        assert fitted._repr_mimebundle_() == {"text/plain": repr(fitted)}
    assert "svg" not in repr(fitted)
    assert repr(fitted) == repr(network())


def test_names_cannot_bring_html_of_their_own():
    hostile = network(activation="<script>alert(1)</script>")
    assert "<script>alert" not in html(hostile)


def test_heights_are_logarithms_and_places_are_epochs():
    (((piece,),)) = lines(curve_svg([100.0, 10.0, 1.0], width=106, height=46))
    # Within a margin of 3 pixels; one decimal is written.
    np.testing.assert_allclose(coordinates(piece), [[3, 3], [53, 23], [103, 43]], atol=0.05)


def test_losses_that_are_not_positive_have_a_linear_scale():
    ((piece,),) = lines(curve_svg([1.0, 0.0, -1.0], width=106, height=46))
    np.testing.assert_allclose(coordinates(piece)[:, 1], [3, 23, 43], atol=0.05)


def test_gaps_stay_gaps_and_both_lines_share_a_scale():
    training, validated = lines(curve_svg([8.0, 4.0, np.nan, 2.0, 1.0], [np.inf, 2.0, 1.0, 1.0, 1.0]))
    assert [len(piece) for piece in training] == [2, 2]
    assert [len(piece) for piece in validated] == [4]
    assert coordinates(training[1])[-1, 1] == coordinates(validated[0])[-1, 1]


@pytest.mark.parametrize("curve", [[], [np.nan], [np.inf, np.nan]])
def test_nothing_to_draw_is_no_picture(curve):
    assert curve_svg(curve) == ""


@pytest.mark.parametrize(
    "curve", [[0.5], [1.0, 1.0], [0.0], [5e-324, 1e308], [-1e308, 1e308], [np.nan, 2.0, np.nan]]
)
def test_any_numbers_lie_within_the_picture(curve):
    for piece in lines(curve_svg(curve, width=100, height=50))[0]:
        points = coordinates(piece)
        assert np.isfinite(points).all()
        assert (points >= 0).all()
        assert (points <= [100, 50]).all()


def test_a_long_history_is_a_small_picture_that_ends_where_it_ends():
    long = np.geomspace(1e3, 1e-3, 100_001)
    svg = curve_svg(long)
    ((piece,),) = lines(svg)
    assert len(svg) < 5000
    np.testing.assert_allclose(coordinates(piece)[[0, -1]], [[3, 3], [177, 37]], atol=0.05)
