"""The estimators' losses: gradients by central differences, scikit-learn's linear models, files, refusals."""

import numpy as np
import pytest
import scipy.sparse
import sklearn.linear_model as linear
from reference import loss_cases
from reference.peers import needs_torch, torch
from sklearn.base import clone
from sklearn.metrics import d2_pinball_score, log_loss, mean_pinball_loss, r2_score
from sklearn.model_selection import GridSearchCV

import fastopt
from fastopt import MLPClassifier, MLPRegressor
from fastopt.rules.losses import CLASSIFICATION_LOSSES, REGRESSION_LOSSES

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RS = np.random.RandomState(0)
X = RS.standard_normal((120, 3))
#: Positive, with a spread that grows with the second feature.
Y = np.exp(0.5 * X[:, 0] + 0.3 * np.exp(0.5 * X[:, 1]) * RS.standard_normal(120))
LABELS = {
    "binary": (X[:, 0] > 0.2).astype(int),
    "multiclass": np.digitize(X[:, 0] + 0.3 * RS.standard_normal(120), [-0.5, 0.6]),
    "multilabel": (X[:, :2] + 0.3 * RS.standard_normal((120, 2)) > 0).astype(int),
}
EXACT = {"solver": "lbfgs", "max_iter": 2000, "max_fun": 10000, "tol": 1e-9, "alpha": 0.0, "random_state": 0}
#: SciPy's L-BFGS stops where the loss falls by less than 2e-9 of itself: so near is the place of the least.
PLACE = 5e-5

REGRESSORS = [
    *({"loss": loss} for loss in loss_cases.BUILT_IN if loss in REGRESSION_LOSSES),
    {"loss": "huber", "delta": 0.2},
    {"loss": "quantile", "quantile": [0.1, 0.5, 0.8]},
    *({"loss": "tweedie", "power": power} for power in (0, 1, 1.9, 2, 3)),
    {"loss": "poisson", "out_activation": "softplus"},
    {"loss": "absolute_error", "out_activation": "tanh"},
    {"loss": "huber", "out_activation": "logistic"},
    {"out_activation": "exp"},
]
CLASSIFIERS = [
    {"loss": "log_loss", "label_smoothing": 0.1},
    {"loss": "focal"},
    {"loss": "focal", "focal_gamma": 0.5, "label_smoothing": 0.2},
]


def assert_gradient_is_slope(model, rows, targets):
    """Compare the estimator's gradient with central differences of its loss, whose error is about 1e-10."""
    weight = np.random.RandomState(1).uniform(0.2, 2, len(targets))
    packed = np.concatenate([a.ravel() for a in model.coefs_ + model.intercepts_])
    packed += np.random.RandomState(2).uniform(-0.1, 0.1, packed.size)
    gradient = model._loss_grad_lbfgs(packed, rows, targets, weight, None, None, None, None)[1]

    def value(packed):
        return model._loss_grad_lbfgs(packed, rows, targets, weight, None, None, None, None)[0]

    slope = [(value(packed + h) - value(packed - h)) / 2e-5 for h in 1e-5 * np.eye(packed.size)]
    np.testing.assert_allclose(gradient, slope, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("layout", [np.asarray, scipy.sparse.csr_array], ids=["dense", "csr"])
@pytest.mark.parametrize("settings", REGRESSORS, ids=str)
def test_the_gradient_of_a_regressor_is_the_slope_of_its_loss(settings, layout):
    rows = layout(np.where(abs(X[:9]) > 0.3, X[:9], 0))
    model = MLPRegressor(hidden_layer_sizes=(4,), activation="tanh", max_iter=2, random_state=0, **settings)
    model.fit(rows, Y[:9])
    assert_gradient_is_slope(model, rows, np.repeat(Y[:9, None], model.n_outputs_, axis=1))


@pytest.mark.parametrize("layout", [np.asarray, scipy.sparse.csr_array], ids=["dense", "csr"])
@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("settings", CLASSIFIERS, ids=str)
def test_the_gradient_of_a_classifier_is_the_slope_of_its_loss(settings, kind, layout):
    rows, y = layout(np.where(abs(X[:20]) > 0.3, X[:20], 0)), LABELS[kind][:20]
    model = MLPClassifier((4,), activation="tanh", max_iter=2, random_state=0, **settings).fit(rows, y)
    targets = model._training_targets(model._label_binarizer.transform(y).astype(float))
    assert_gradient_is_slope(model, rows, targets)


@pytest.mark.parametrize(
    ("settings", "theirs"),
    [
        ({"loss": "gamma"}, linear.GammaRegressor(alpha=0, tol=1e-9, max_iter=1000)),
        ({"loss": "poisson"}, linear.PoissonRegressor(alpha=0, tol=1e-9, max_iter=1000)),
        *(
            (
                {"loss": "tweedie", "power": power},
                linear.TweedieRegressor(power=power, link="log", alpha=0, tol=1e-9, max_iter=1000),
            )
            for power in (0, 1.5, 2.5)
        ),
    ],
    ids=str,
)
def test_a_linear_model_of_a_deviance_is_scikit_learns(settings, theirs):
    weight = RS.uniform(0.5, 2, 120)
    model = MLPRegressor(hidden_layer_sizes=(), **settings, **EXACT).fit(X, Y, weight)
    theirs.fit(X, Y, weight)
    np.testing.assert_allclose(model.coefs_[0][:, 0], theirs.coef_, atol=10 * PLACE)
    np.testing.assert_allclose(model.predict(X), theirs.predict(X), rtol=20 * PLACE)


@pytest.mark.parametrize(
    "settings", [{"quantile": 0.3}, {"quantile": [0.2, 0.7]}, {"loss": "absolute_error"}]
)
def test_a_linear_model_of_quantiles_has_the_least_loss(settings):
    model = MLPRegressor(**{"loss": "quantile"} | settings, hidden_layer_sizes=(), **EXACT).fit(X, Y)
    predictions = model.predict(X).reshape(120, -1)
    for column, quantile in zip(predictions.T, np.atleast_1d(settings.get("quantile", 0.5)), strict=True):
        theirs = linear.QuantileRegressor(quantile=quantile, alpha=0).fit(X, Y)  # a linear program: the least
        best = d2_pinball_score(Y, theirs.predict(X), alpha=quantile)
        # L-BFGS stops at the kinks of the loss, near its least value.
        assert d2_pinball_score(Y, column, alpha=quantile) == pytest.approx(best, abs=5e-3)


def test_quantiles_have_their_shares_below_and_never_cross():
    rows, n = np.repeat(X, 10, axis=0), 1200
    y = np.exp(0.5 * rows[:, 0] + 0.5 * RS.standard_normal(n))
    settings = {"solver": "lbfgs", "random_state": 0, "max_iter": 300}
    model = MLPRegressor("quantile", (16,), quantile=[0.1, 0.5, 0.9], **settings).fit(rows, y)
    predictions = model.predict(rows)
    assert predictions.shape == (n, 3)
    # A hidden layer with 16 units follows some noise; without, shares would deviate by 1 in n.
    np.testing.assert_allclose((y[:, None] <= predictions).mean(axis=0), [0.1, 0.5, 0.9], atol=0.02)
    raw = model._outputs(rows)
    assert model.n_crossed_ == (np.diff(raw, axis=1) < 0).any(axis=1).sum()
    np.testing.assert_array_equal(predictions, np.sort(raw, axis=1))
    expected = np.mean(
        [d2_pinball_score(y, predictions[:, i], alpha=q) for i, q in enumerate((0.1, 0.5, 0.9))]
    )
    assert model.score(rows, y) == expected


def test_crossing_quantiles_are_counted_and_sorted():
    model = MLPRegressor("quantile", (2,), quantile=[0.2, 0.8], max_iter=1, random_state=0).fit(X, Y)
    model.coefs_[-1][...] = 0
    model.intercepts_[-1][...] = [3.0, 1.0]
    np.testing.assert_array_equal(model.predict(X[:2]), [[1, 3], [1, 3]])
    model.set_params(learning_rate_init=1e-9, alpha=0.0).partial_fit(X, Y)  # the outputs move by about 1e-9
    assert model.n_crossed_ == len(X)


def test_several_targets_have_quantiles_along_another_axis():
    targets = np.column_stack([Y, -3 * Y])
    model = MLPRegressor("quantile", (8,), quantile=[0.2, 0.5, 0.9], early_stopping=True, random_state=0)
    model.fit(X, targets)
    predictions = model.predict(X)
    assert predictions.shape == (120, 2, 3)
    single = MLPRegressor("quantile", (8,), quantile=[0.2, 0.5, 0.9], random_state=0, max_iter=3).fit(X, Y)
    assert single.predict(X).shape == (120, 3)
    scores = [d2_pinball_score(targets, predictions[..., i], alpha=q) for i, q in enumerate((0.2, 0.5, 0.9))]
    assert model.score(X, targets) == np.mean(scores)
    held_out = targets[:12]
    score = model._score_outputs(np.repeat(held_out, 3, axis=1), model._outputs(X[:12]), None)
    assert score == pytest.approx(model.score(X[:12], held_out), rel=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_gaussian_likelihood_finds_mean_and_deviation_of_groups(dtype):
    group = RS.randint(3, size=600)
    y = np.array([1.0, -2.0, 10.0])[group] + np.array([0.1, 1.0, 3.0])[group] * RS.standard_normal(600)
    rows = np.eye(3, dtype=dtype)[group]
    model = MLPRegressor("gaussian_nll", (), **EXACT).fit(rows, np.column_stack([y, 2 * y]))
    mean, std = model.predict(np.eye(3, dtype=dtype), return_std=True)
    assert mean.shape == std.shape == (3, 2)
    assert std.dtype == dtype
    expected = np.array([(y[group == g].mean(), y[group == g].std()) for g in range(3)])
    rtol = 5e-3 if dtype == np.float32 else 5 * PLACE
    np.testing.assert_allclose(mean, expected[:, :1] * [1, 2], rtol=rtol)
    np.testing.assert_allclose(std, expected[:, 1:] * [1, 2], rtol=rtol)
    predictions = model.predict(rows)
    np.testing.assert_array_equal(predictions, model.predict(rows, return_std=True)[0])
    assert model.score(rows, np.column_stack([y, 2 * y])) == r2_score(
        np.column_stack([y, 2 * y]), predictions
    )
    early = MLPRegressor("gaussian_nll", (4,), early_stopping=True, max_iter=4, random_state=0).fit(rows, y)
    assert early.predict(rows).shape == (600,)
    assert len(early.validation_scores_) == 4


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("exp", 0, np.inf), ("softplus", 0, np.inf), ("tanh", -1, 1), ("logistic", 0, 1)],
)
def test_an_output_activation_keeps_predictions_in_its_range(name, low, high):
    y = np.tanh(X[:, 0]) if name == "tanh" else 1 / (1 + np.exp(-X[:, 0]))
    model = MLPRegressor(
        hidden_layer_sizes=(8,), out_activation=name, solver="lbfgs", random_state=0, max_iter=500
    )
    predictions = model.fit(X, y).predict(10 * X)
    assert low <= predictions.min()
    assert predictions.max() <= high
    assert model.score(X, y) > 0.95
    assert model.out_activation_ == name


@needs_torch
@pytest.mark.parametrize("layout", [np.asarray, scipy.sparse.csr_array], ids=["dense", "csr"])
def test_smoothed_labels_of_several_classes_are_torchs(layout):
    rows, y, weight = layout(np.where(abs(X) > 0.3, X, 0)), LABELS["multiclass"], RS.uniform(0.5, 2, 120)
    settings = {"label_smoothing": 0.15, "solver": "lbfgs", "alpha": 0.0, "max_iter": 20, "random_state": 0}
    model = MLPClassifier((5,), **settings).fit(rows, y, weight)
    losses = torch.nn.functional.cross_entropy(
        torch.tensor(np.log(model.predict_proba(rows))),
        torch.tensor(y),
        label_smoothing=0.15,
        reduction="none",
    )
    assert model.loss_ == pytest.approx(np.average(losses.numpy(), weights=weight), rel=1e-12)


@pytest.mark.parametrize("kind", ["binary", "multilabel"])
def test_smoothed_labels_are_keras(kind):
    y = LABELS[kind]
    settings = {"label_smoothing": 0.2, "solver": "lbfgs", "alpha": 0.0, "max_iter": 20, "random_state": 0}
    model = MLPClassifier((5,), **settings).fit(X, y)
    p = model.predict_proba(X)[:, -y.reshape(120, -1).shape[1] :]
    smoothed = y.reshape(120, -1) * (1 - 0.2) + 0.5 * 0.2  # keras.losses.BinaryCrossentropy.call
    losses = -(smoothed * np.log(p) + (1 - smoothed) * np.log(1 - p)).sum(axis=1)
    assert model.loss_ == pytest.approx(losses.mean(), rel=1e-12)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_smoothed_labels_give_the_loss_that_keras_gave():
    # Two rows of three labels whose logits are the weights of a linear network, which does not learn.
    p, y = np.array([[0.9, 0.2, 0.6], [0.3, 0.05, 0.5]]), np.array([[1, 0, 1], [0, 0, 1]])
    settings = {"label_smoothing": 0.1, "alpha": 0.0, "max_iter": 1, "warm_start": True}
    model = MLPClassifier((), solver=fastopt.SGD(lr=0.0), **settings).fit(np.eye(2), y)
    model.coefs_[0][...], model.intercepts_[0][...] = np.log(p / (1 - p)), 0.0
    # keras.losses.BinaryCrossentropy(label_smoothing=0.1, reduction=None)(y, p) of Keras 3.15.1, on JAX:
    # means over labels, where ours are sums, in float32, hence seven digits.
    keras = np.array([0.3462596535682678, 0.43023407459259033])
    assert model.fit(np.eye(2), y).loss_ == pytest.approx(3 * keras.mean(), rel=2e-7)


@pytest.mark.parametrize("kind", LABELS)
def test_scores_are_those_of_true_labels(kind):
    settings = {"early_stopping": True, "max_iter": 30, "random_state": 0, "learning_rate_init": 0.02}
    model = MLPClassifier((8,), label_smoothing=0.3, restore_best_weights=False, **settings)
    model.fit(X, LABELS[kind])
    assert model.validation_scores_[-1] > 0.5
    plain = MLPClassifier((8,), restore_best_weights=False, **settings).fit(X, LABELS[kind])
    assert set(np.round(np.array(model.validation_scores_) * 12, 9)) <= set(range(13))  # of 12 rows
    assert abs(model.validation_scores_[0] - plain.validation_scores_[0]) < 0.5  # the same rows are held out


def test_validation_losses_are_those_of_true_labels():
    settings = {"max_iter": 3, "random_state": 0, "label_smoothing": 0.3, "restore_best_weights": False}
    y = LABELS["multiclass"]
    model = MLPClassifier((8,), **settings).fit(X, y, X_val=X[:50], y_val=y[:50])
    expected = log_loss(y[:50], model.predict_proba(X[:50]))
    assert model.validation_loss_curve_[-1] == pytest.approx(expected, rel=1e-12)
    # Rows that differ in nothing but their label: whichever are held out, half of them have each.
    same, y = np.ones((120, 1)), np.tile([0, 1], 60)
    model = MLPClassifier((8,), early_stopping=True, **settings).fit(same, y)
    expected = log_loss(y, model.predict_proba(same))
    assert model.validation_loss_curve_[-1] == pytest.approx(expected, rel=1e-12)


def test_the_validation_loss_of_quantiles_is_the_sum_of_scikit_learns():
    model = MLPRegressor("quantile", (8,), quantile=[0.2, 0.7], max_iter=3, random_state=0, scoring="loss")
    model.fit(X, Y, X_val=X[:50], y_val=Y[:50])
    outputs = model._outputs(X[:50])
    expected = sum(mean_pinball_loss(Y[:50], outputs[:, i], alpha=q) for i, q in enumerate((0.2, 0.7)))
    assert model.validation_loss_curve_[-1] == pytest.approx(expected, rel=1e-12)
    assert model.validation_scores_[-1] == pytest.approx(-expected, rel=1e-12)


@pytest.mark.parametrize("settings", CLASSIFIERS, ids=str)
def test_partial_fit_is_an_epoch_of_fit(settings):
    common = {"hidden_layer_sizes": (6,), "random_state": 0, "max_iter": 1, "shuffle": False} | settings
    y = LABELS["multiclass"]
    one = MLPClassifier(**common).fit(X, y)
    other = MLPClassifier(**common).partial_fit(X, y, classes=np.unique(y))
    np.testing.assert_array_equal(one.coefs_[0], other.coefs_[0])


@needs_torch
@pytest.mark.parametrize("kind", LABELS)
def test_the_focal_loss_is_that_of_the_paper(kind):
    model = MLPClassifier(
        (5,), loss="focal", focal_gamma=1.5, alpha=0.0, max_iter=5, solver="lbfgs", random_state=0
    )
    y = LABELS[kind]
    model.fit(X, y)
    p = model.predict_proba(X)
    p = p[np.arange(120), y] if kind != "multilabel" else np.where(y, p, 1 - p)
    assert model.loss_ == pytest.approx(
        (-((1 - p) ** 1.5) * np.log(p)).reshape(120, -1).sum(1).mean(), rel=1e-12
    )


def test_a_loss_of_ones_own_for_labels_trains_a_classifier():
    def value(p, y):
        return (p - y) * (p - y)

    def gradient(p, y):
        return 2.0 * (p - y)

    fastopt.register_loss("brier", value, gradient, output="logistic", targets="labels")
    assert "brier" in CLASSIFICATION_LOSSES
    model = MLPClassifier((8,), loss="brier", solver="lbfgs", alpha=0.0, random_state=0, max_iter=300)
    model.fit(X, LABELS["binary"])
    p = model.predict_proba(X)[:, 1]
    assert model.loss_ == pytest.approx(((p - LABELS["binary"]) ** 2).mean(), rel=1e-12)
    assert model.loss_ < 0.05
    with pytest.raises(ValueError, match="loss='brier' is registered with output='logistic', and multiclass"):
        clone(model).fit(X, LABELS["multiclass"])


@pytest.mark.parametrize(
    ("settings", "y", "message"),
    [
        ({"loss": "gamma"}, Y - Y.min(), "loss='gamma' needs y > 0, got a smallest value of 0.0"),
        ({"loss": "tweedie"}, -Y, r"loss='tweedie' with power=1.5 needs y >= 0"),
        ({"loss": "tweedie", "power": 2}, Y - Y.min(), r"loss='tweedie' with power=2 needs y > 0"),
        ({"loss": "tweedie", "power": 0.5}, Y, "'power' parameter of MLPRegressor must be a float in"),
        ({"loss": "huber", "delta": 0.0}, Y, "'delta' parameter of MLPRegressor must be a float in"),
        ({"loss": "quantile", "quantile": 1.0}, Y, "'quantile' parameter of MLPRegressor must be a float in"),
        ({"loss": "quantile", "quantile": [0.5, 0.1]}, Y, "must be one number, or a list of rising numbers"),
        ({"loss": "quantile", "quantile": []}, Y, "must be one number, or a list of rising numbers"),
        ({"loss": "quantile", "quantile": ["a"]}, Y, "must be one number, or a list of rising numbers"),
        ({"loss": "quantile", "quantile": [[0.1, 0.5]]}, Y, "must be one number, or a list of rising"),
        ({"loss": "quantile", "quantile": {0.1}}, Y, "must be one number, or a list of rising numbers"),
        ({"loss": "quantile", "quantile": [0.1, np.nan]}, Y, "quantile=nan must be a number > 0 and < 1"),
        ({"loss": "quantile", "quantile": [0.5, 1.5]}, Y, "quantile=1.5 must be a number > 0 and < 1"),
        ({"loss": "poisson", "out_activation": "identity"}, Y, "loss='poisson' needs positive outputs"),
        ({"loss": "gaussian_nll", "out_activation": "exp"}, Y, "loss='gaussian_nll' has no gradient for"),
        ({"out_activation": "softmax"}, Y, "'out_activation' parameter of MLPRegressor must be None or"),
    ],
    ids=str,
)  # fmt: skip
def test_what_does_not_fit_is_refused(settings, y, message):
    with pytest.raises(ValueError, match=message):
        MLPRegressor(max_iter=1, **settings).fit(X, y)


def test_a_deviation_is_predicted_by_the_gaussian_likelihood_only():
    model = MLPRegressor(max_iter=1).fit(X, Y)
    with pytest.raises(
        ValueError, match="return_std=True is of loss='gaussian_nll' only; loss='squared_error'"
    ):
        model.predict(X, return_std=True)


def test_other_outputs_need_another_network():
    model = MLPRegressor(max_iter=1, warm_start=True).fit(X, Y)
    with pytest.raises(
        ValueError, match="outputs are 'identity', but loss='poisson' with out_activation=None"
    ):
        model.set_params(loss="poisson").fit(X, Y)
    with pytest.raises(ValueError, match="y stands for 2 outputs"):
        model.set_params(loss="quantile", quantile=[0.1, 0.2]).fit(X, Y)
    with pytest.raises(
        ValueError, match=r"takes 2 outputs of the network for each target, and it has 1.*anew"
    ):
        model.predict(X)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (MLPRegressor(delta=2.0), r"delta=2.0 \(of loss='huber' only\)"),
        (MLPRegressor(quantile=[0.1, 0.2]), r"quantile=\[0.1, 0.2\] \(of loss='quantile' only\)"),
        (MLPRegressor(power=1.0, solver="lbfgs"), r"power=1.0 \(of loss='tweedie' only\)"),
        (MLPClassifier(focal_gamma=1.0), r"focal_gamma=1.0 \(of loss='focal' only\)"),
    ],
)
def test_a_parameter_of_another_loss_is_warned_of(model, words):
    with pytest.warns(UserWarning, match=f"have no effect here: {words}"):
        model.set_params(max_iter=1).fit(X, LABELS["binary"])


FITTED = [
    MLPRegressor("quantile", (4,), quantile=[0.1, 0.9], max_iter=3, random_state=0),
    MLPRegressor("gaussian_nll", (4,), max_iter=3, random_state=0),
    MLPRegressor("tweedie", (4,), power=1.2, out_activation="softplus", max_iter=3, random_state=0),
    MLPClassifier((4,), loss="focal", focal_gamma=1.0, label_smoothing=0.1, max_iter=3, random_state=0),
]


@pytest.mark.parametrize("model", FITTED, ids=lambda model: model.loss)
def test_files_keep_losses_and_checkpoints_know_them(model, tmp_path):
    y = LABELS["multiclass"] if isinstance(model, MLPClassifier) else Y
    model = clone(model).fit(X, y)
    fastopt.save(model, tmp_path / "model.safetensors")
    again = fastopt.load(tmp_path / "model.safetensors")
    assert again.get_params() == model.get_params()
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert getattr(again, "n_crossed_", None) == getattr(model, "n_crossed_", None)
    whole = clone(model).set_params(checkpoint=tmp_path / "fit.safetensors").fit(X, y)
    np.testing.assert_array_equal(whole.predict(X), model.predict(X))
    other = {"quantile": {"quantile": [0.2, 0.9]}, "focal": {"label_smoothing": 0.2}}
    change = other.get(model.loss, {"loss": "tweedie", "power": 1.3, "out_activation": "exp"})
    with pytest.raises(ValueError, match=r" was .* and is "):
        whole.set_params(**change).fit(X, y)


def test_a_file_whose_outputs_do_not_belong_to_its_quantiles_is_refused(tmp_path):
    model = clone(FITTED[0]).fit(X, Y).set_params(quantile=[0.1, 0.5, 0.9])
    with pytest.raises(ValueError, match="2 outputs do not belong to 3 for each target"):
        fastopt.save(model, tmp_path / "model.safetensors")


def test_a_search_tries_parameters_of_a_loss():
    grid = {"delta": [0.1, 1.0], "loss": ["huber"]}
    search = GridSearchCV(MLPRegressor(hidden_layer_sizes=(4,), max_iter=5, random_state=0), grid, cv=2)
    assert search.fit(X, Y).best_params_["loss"] == "huber"
    assert len(set(search.cv_results_["mean_test_score"])) == 2


def test_a_list_of_one_quantile_has_its_axis_too():
    for y, n_outputs in ((Y, ()), (np.column_stack([Y, -3 * Y]), (2,))):
        settings = {"hidden_layer_sizes": (4,), "early_stopping": True, "max_iter": 3, "random_state": 0}
        of_list = MLPRegressor("quantile", quantile=[0.3], **settings).fit(X, y)
        of_number = MLPRegressor("quantile", quantile=0.3, **settings).fit(X, y)
        assert of_list.predict(X).shape == (120, *n_outputs, 1)
        np.testing.assert_array_equal(of_list.predict(X)[..., 0], of_number.predict(X))
        assert of_list.score(X, y) == d2_pinball_score(y, of_number.predict(X), alpha=0.3)
    with pytest.raises(ValueError, match="scikit-learn has no loss='quantile'"):
        of_list.to_sklearn()


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (MLPRegressor("huber", (4,)), "loss='huber'.* loss='squared_error'"),
        (MLPRegressor("gamma", (4,)), "loss='gamma'.* loss='poisson'"),
        (MLPClassifier((4,), loss="focal"), "loss='focal'.* loss='log_loss'"),
        (MLPClassifier((4,), label_smoothing=0.1), "label_smoothing=0.1.* label_smoothing=0.0"),
    ],
    ids=str,
)
def test_what_only_changes_training_is_converted_with_a_warning(model, words):
    y = LABELS["multiclass"] if isinstance(model, MLPClassifier) else Y
    model = clone(model).set_params(max_iter=3, random_state=0).fit(X, y)
    with pytest.warns(UserWarning, match=words) as caught:
        converted = model.to_sklearn()
    assert len(caught) == 1
    np.testing.assert_allclose(converted.predict(X), model.predict(X), rtol=1e-12)


@pytest.mark.parametrize("model", FITTED[:3], ids=lambda model: model.loss)
def test_what_scikit_learn_cannot_predict_is_not_converted(model):
    with pytest.raises(ValueError, match=r"scikit-learn has no (loss|out_activation)="):
        clone(model).fit(X, Y).to_sklearn()
