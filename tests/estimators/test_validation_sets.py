"""``fit(X, y, X_val=..., y_val=..., sample_weight_val=...)``: rows that are measured after each epoch."""

import contextlib

import numpy as np
import pytest
import scipy.sparse
import sklearn
from sklearn.datasets import load_iris, make_multilabel_classification
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from fastopt import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X, Y = load_iris(return_X_y=True)
ORDER = np.random.RandomState(0).permutation(150)
TRAIN, VAL = ORDER[:100], ORDER[100:]
WEIGHT = np.random.RandomState(1).uniform(0.2, 2, 150)
SMALL = {"hidden_layer_sizes": (4,), "max_iter": 6, "random_state": 0, "batch_size": 25, "tol": 0.0}
GIVEN = {"X_val": X[VAL], "y_val": Y[VAL]}
_, LABELS = make_multilabel_classification(n_samples=150, n_classes=3, random_state=0)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("convert", [np.asarray, scipy.sparse.csr_array, np.float32, list])
def test_the_last_measurements_are_those_of_the_fitted_network(convert, weighted):
    weight = WEIGHT[VAL] if weighted else None
    clf = MLPClassifier(**SMALL).fit(
        X[TRAIN], Y[TRAIN], X_val=convert(X[VAL]), y_val=Y[VAL], sample_weight_val=weight
    )
    # The network is of float64, whatever X_val is; float32 rounds the rows themselves.
    rtol = 1e-6 if convert is np.float32 else 1e-14
    expected = log_loss(Y[VAL], clf.predict_proba(X[VAL]), sample_weight=weight)
    assert clf.validation_loss_curve_[-1] == pytest.approx(expected, rel=rtol)
    assert clf.validation_scores_[-1] == pytest.approx(clf.score(X[VAL], Y[VAL], weight), rel=1e-15)


def test_a_monitored_set_changes_nothing_of_the_fit():
    plain = MLPClassifier(**SMALL).fit(X[TRAIN], Y[TRAIN])
    watched = MLPClassifier(**SMALL).fit(X[TRAIN], Y[TRAIN], **GIVEN)
    np.testing.assert_array_equal(watched._params, plain._params)
    assert watched.loss_curve_ == plain.loss_curve_
    assert (watched.best_loss_, watched.best_validation_score_) == (plain.best_loss_, None)


@pytest.mark.parametrize("kind", ["classes", "binary", "labels", "numbers", "two numbers"])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_same_rows_as_the_split_give_the_same_fit(kind, weighted):
    y = {"classes": Y, "binary": Y > 0, "labels": LABELS, "numbers": X[:, 0], "two numbers": X[:, :2]}[kind]
    cls = MLPRegressor if "numbers" in kind else MLPClassifier
    settings = SMALL | {"early_stopping": True, "shuffle": False, "max_iter": 20, "learning_rate_init": 0.05}
    weight = WEIGHT if weighted else None
    split = cls(**settings).fit(X, y, weight)
    # The rows that the estimator draws: after the initial weights, from the same generator.
    rows = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "fastopt.neural_network.validation.train_test_split",
            lambda *args, **kwargs: rows.append(train_test_split(*args, **kwargs)) or rows[0],
        )
        cls(**settings).fit(X, y, weight)
    (train, held_out), given = rows[0], {"X_val": X[rows[0][1]], "y_val": y[rows[0][1]]}
    if weighted:
        given["sample_weight_val"] = weight[held_out]
    ours = cls(**settings).fit(X[train], y[train], None if weight is None else weight[train], **given)
    np.testing.assert_array_equal(ours._params, split._params)
    assert ours.validation_scores_ == split.validation_scores_
    assert ours.validation_loss_curve_ == split.validation_loss_curve_
    assert ours.best_validation_score_ == split.best_validation_score_


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"X_val": X}, "X_val was passed without y_val"),
        ({"y_val": Y}, "y_val was passed without X_val"),
        ({"sample_weight_val": WEIGHT}, "sample_weight_val was passed without X_val and y_val"),
        ({"X_val": X[:, :3], "y_val": Y}, r"\(X_val, y_val\): X has 3 features, but MLPClassifier is expect"),
        ({"X_val": X, "y_val": Y[:9]}, r"\(X_val, y_val\): .*inconsistent numbers of samples"),
        ({"X_val": X * np.nan, "y_val": Y}, r"\(X_val, y_val\): Input X contains NaN"),
        ({"X_val": X, "y_val": Y + 1}, r"y_val has labels that y has not: \[3\]. y has \[0 1 2\]"),
        ({"X_val": X, "y_val": Y.astype(str)}, "y_val has labels that y has not"),
        ({"X_val": X, "y_val": LABELS}, r"y_val must be a column of labels.*\(150, 3\)"),
        ({"X_val": X, "y_val": Y, "sample_weight_val": WEIGHT[:9]}, "sample_weight.shape"),
        ({"X_val": X, "y_val": Y, "sample_weight_val": 0 * WEIGHT}, "at least one non-zero"),
    ],
)
def test_what_does_not_fit_is_refused_in_words_and_leaves_no_model(given, message):
    clf = MLPClassifier(**SMALL)
    with pytest.raises(ValueError, match=message):
        clf.fit(X, Y, **given)
    assert not hasattr(clf, "coefs_")


def test_targets_of_another_form_are_refused():
    with pytest.raises(ValueError, match="an indicator matrix of 3 labels"):
        MLPClassifier(**SMALL).fit(X, LABELS, X_val=X, y_val=LABELS[:, :2])
    with pytest.raises(ValueError, match="y_val stands for 1 outputs of the network, but y for 2"):
        MLPRegressor(**SMALL).fit(X, X[:, :2], X_val=X, y_val=Y)
    with pytest.raises(ValueError, match=r"\(X_val, y_val\): loss='poisson' needs y >= 0"):
        MLPRegressor("poisson", **SMALL).fit(X, Y, X_val=X, y_val=Y - 1.0)
    with pytest.raises(ValueError, match=r"\(X_val, y_val\): class_weight=.* leaves no row"):
        MLPClassifier(class_weight={0: 0, 1: 1, 2: 1}, **SMALL).fit(X, Y, X_val=X[Y == 0], y_val=Y[Y == 0])


def test_names_of_features_are_held_against_those_of_x():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=list("abcd"))
    clf = MLPClassifier(early_stopping=True, scoring="neg_log_loss", **SMALL)
    clf.fit(frame, Y)  # pytest makes warnings errors; scikit-learn #24846
    clf.fit(frame, Y, X_val=frame[::3], y_val=Y[::3])
    with pytest.raises(ValueError, match="feature names should match"):
        clf.fit(frame, Y, X_val=frame[["b", "a", "c", "d"]], y_val=Y)
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        clf.fit(frame, Y, X_val=X, y_val=Y)


@pytest.mark.parametrize("solver", ["lbfgs", "adam"])
def test_what_has_no_effect_beside_a_set_is_named(solver):
    with pytest.warns(
        UserWarning, match="validation_fraction=0.3.*X_val takes the place|early_stopping=True"
    ):
        MLPClassifier(solver=solver, early_stopping=True, validation_fraction=0.3, **SMALL).fit(X, Y, **GIVEN)
    with pytest.warns(UserWarning, match="scoring='loss' \\(of X_val or early_stopping=True only\\)"):
        MLPClassifier(solver=solver, scoring="loss", **SMALL).fit(X, Y)


@contextlib.contextmanager
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def test_a_pipeline_transforms_it_as_it_does_x():
    with routing():
        clf = MLPClassifier(**SMALL).set_fit_request(X_val=True, y_val=True, sample_weight_val=True)
        pipeline = Pipeline([("scale", StandardScaler()), ("mlp", clf)], transform_input=["X_val"])
        pipeline.fit(X[TRAIN], Y[TRAIN], **GIVEN, sample_weight_val=WEIGHT[VAL])
    scaler = StandardScaler().fit(X[TRAIN])
    by_hand = MLPClassifier(**SMALL).fit(
        scaler.transform(X[TRAIN]),
        Y[TRAIN],
        X_val=scaler.transform(X[VAL]),
        y_val=Y[VAL],
        sample_weight_val=WEIGHT[VAL],
    )
    assert pipeline[-1].validation_loss_curve_ == by_hand.validation_loss_curve_


def test_a_search_passes_it_on_to_the_pipelines_of_its_folds():
    with routing():
        clf = MLPClassifier(early_stopping=True, **SMALL).set_fit_request(X_val=True, y_val=True)
        pipeline = Pipeline([("scale", MinMaxScaler()), ("mlp", clf)], transform_input=["X_val"])
        search = GridSearchCV(pipeline, {"mlp__alpha": [1e-4, 1.0]}, cv=2, error_score="raise")
        search.fit(X[TRAIN], Y[TRAIN], **GIVEN)
    best = search.best_estimator_
    assert len(best[-1].validation_loss_curve_) == best[-1].n_iter_
    scores = best[-1].validation_scores_
    assert max(scores) == pytest.approx(best.score(X[VAL], Y[VAL]), rel=1e-15)


def test_plateaus_of_schedules_see_the_score_only_if_training_stops_by_it():
    import fastopt

    rate = fastopt.schedules.plateau(0.01, patience=0)
    rates = [
        MLPClassifier(learning_rate=rate, early_stopping=early, **SMALL).fit(X[TRAIN], Y[TRAIN], **given)
        for early, given in ((False, {}), (False, GIVEN), (True, GIVEN))
    ]
    plain, watched, stopped = (clf.history_["lr"].tolist() for clf in rates)
    assert plain == watched != stopped


def test_verbose_says_each_score(capsys):
    for solver in ("adam", "lbfgs"):
        clf = MLPClassifier(solver=solver, verbose=True, hidden_layer_sizes=(4,), max_iter=3, random_state=0)
        clf.fit(X, Y, **GIVEN)
        said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Validation score")]
        assert said == [f"Validation score: {score:f}" for score in clf.history_["val_score"]]


def test_a_checkpoint_knows_its_validation_set(tmp_path):
    pytest.importorskip("safetensors")
    settings = SMALL | {"checkpoint": tmp_path / "fit"}
    clf = MLPClassifier(**settings).fit(X[TRAIN], Y[TRAIN], **GIVEN)
    again = MLPClassifier(**settings).fit(X[TRAIN], Y[TRAIN], **GIVEN)
    for name, column in clf.history_.items():  # of a completed fit, the seconds as well
        np.testing.assert_array_equal(again.history_[name], column)
    with pytest.raises(ValueError, match="of another fit: y_val differs"):
        MLPClassifier(**settings).fit(X[TRAIN], Y[TRAIN], **GIVEN | {"y_val": Y[TRAIN][:50]})
    with pytest.raises(ValueError, match="X_val differs"):
        MLPClassifier(**settings).fit(X[TRAIN], Y[TRAIN])
