"""The estimators inside scikit-learn's machinery, in threads and processes, and under Ctrl-C."""

import _thread
import threading
import warnings

import numpy as np
import pytest
import scipy.sparse
import sklearn
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_iris
from sklearn.ensemble import BaggingClassifier
from sklearn.exceptions import DataConversionWarning
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_validate
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from fastopt import MLPClassifier, MLPRegressor

X, Y = load_iris(return_X_y=True)
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
SMALL = {"hidden_layer_sizes": (8,), "max_iter": 30, "random_state": 0, "learning_rate_init": 0.02}


def test_a_pipeline_fits_and_sets_parameters():
    pipe = make_pipeline(StandardScaler(), MLPClassifier(**SMALL))
    assert pipe.set_params(mlpclassifier__alpha=0.01).fit(X, Y).score(X, Y) > 0.9
    assert clone(pipe).get_params()["mlpclassifier__alpha"] == 0.01


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_a_grid_search_in_parallel_gives_the_serial_scores(backend):
    from joblib import parallel_config

    grid = {"alpha": [1e-4, 1.0], "solver": ["adam", "sgd"]}
    serial = GridSearchCV(MLPClassifier(**SMALL), grid, cv=2).fit(X, Y)
    with parallel_config(backend=backend):
        parallel = GridSearchCV(MLPClassifier(**SMALL), grid, cv=2, n_jobs=2).fit(X, Y)
    np.testing.assert_array_equal(
        parallel.cv_results_["mean_test_score"], serial.cv_results_["mean_test_score"]
    )
    np.testing.assert_array_equal(parallel.best_estimator_.coefs_[0], serial.best_estimator_.coefs_[0])


def test_fits_in_two_threads_give_the_numbers_of_one():
    rs = np.random.RandomState(0)
    data = rs.standard_normal((400, 40))
    labels = rs.randint(3, size=400)
    # One network wide enough for several threads of its own, one for the serial path.
    estimators = [MLPClassifier((n, 30), max_iter=8, random_state=n) for n in (200, 10)] * 2
    expected = [clone(e).fit(data, labels).predict_proba(data) for e in estimators]
    results = [None] * len(estimators)

    def fit(i):
        results[i] = clone(estimators[i]).fit(data, labels).predict_proba(data)

    workers = [threading.Thread(target=fit, args=(i,)) for i in range(len(estimators))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for actual, wanted in zip(results, expected, strict=True):
        np.testing.assert_array_equal(actual, wanted)


def test_one_model_predicts_in_several_threads_at_once():
    rs = np.random.RandomState(0)
    data = rs.standard_normal((3000, 30))
    reg = MLPRegressor(hidden_layer_sizes=(40,), max_iter=3, random_state=0).fit(data, data[:, 0])
    expected = reg.predict(data)
    wrong = []

    def predict():
        for _ in range(20):
            if not np.array_equal(reg.predict(data), expected):
                wrong.append(threading.get_ident())

    workers = [threading.Thread(target=predict) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


class Interrupt:
    """A stream that behaves as a user who presses Ctrl-C once the text ``when`` has been printed."""

    def __init__(self, when):
        self.when, self.text = when, ""

    def write(self, text):
        self.text += text
        if self.when in self.text:
            self.when = "never again"
            _thread.interrupt_main()

    def flush(self):
        pass


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("settings", [{}, {"early_stopping": True}, {"solver": "sgd"}])
def test_ctrl_c_returns_a_usable_model(settings, monkeypatch):
    monkeypatch.setattr("sys.stdout", Interrupt("Iteration 3, "))
    clf = MLPClassifier(**SMALL | {"max_iter": 10_000, "tol": 0.0, "verbose": True} | settings)
    with pytest.warns(UserWarning, match=r"^Training interrupted by user\.$"):
        assert clf.fit(X, Y) is clf
    assert 3 <= clf.n_iter_ <= 4
    assert len(clf.loss_curve_) == clf.n_iter_
    assert clf.predict(X).shape == Y.shape
    clf.set_params(verbose=False, early_stopping=False).partial_fit(X, Y)


def test_ctrl_c_in_lbfgs_keeps_the_last_iterate(monkeypatch):
    from fastopt.engine import devices

    class Pressed(devices.Trainer):
        calls = 0

        def loss_and_gradient(self, *args, **kwargs):
            Pressed.calls += 1
            if Pressed.calls == 9:
                raise KeyboardInterrupt
            return super().loss_and_gradient(*args, **kwargs)

    monkeypatch.setattr(devices, "Trainer", Pressed)
    clf = MLPClassifier(**SMALL | {"solver": "lbfgs"})
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        clf.fit(X, Y)
    assert 0 < clf.n_iter_ < 9
    whole = MLPClassifier(**SMALL | {"solver": "lbfgs", "max_iter": clf.n_iter_}).fit(X, Y)
    np.testing.assert_array_equal(clf.coefs_[0], whole.coefs_[0])
    assert clf.loss_ == whole.loss_


def test_sample_weights_are_routed_through_a_pipeline_and_a_search():
    weight = np.random.RandomState(0).uniform(0.1, 1, len(Y))
    with sklearn.config_context(enable_metadata_routing=True):
        clf = MLPClassifier(**SMALL).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipe = Pipeline([("scale", scaler), ("mlp", clf)]).fit(X, Y, sample_weight=weight)
        search = GridSearchCV(clf, {"alpha": [1e-4]}, cv=2).fit(X, Y, sample_weight=weight)
    for data, routed in ((StandardScaler().fit_transform(X), pipe[-1]), (X, search.best_estimator_)):
        expected = MLPClassifier(**SMALL).fit(data, Y, weight)
        np.testing.assert_array_equal(routed.coefs_[0], expected.coefs_[0])


def test_partial_fit_takes_scikit_learns_routing_requests():
    with sklearn.config_context(enable_metadata_routing=True):
        clf = MLPClassifier().set_partial_fit_request(classes=True, sample_weight=True)
        reg = MLPRegressor().set_partial_fit_request(sample_weight=True)
    assert clf.get_metadata_routing().partial_fit.requests == {"classes": True, "sample_weight": True}
    assert reg.get_metadata_routing().partial_fit.requests == {"sample_weight": True}


def test_set_output_leaves_predictions_arrays():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcd"))
    pipe = (
        make_pipeline(StandardScaler(), MLPClassifier(**SMALL)).set_output(transform="pandas").fit(frame, Y)
    )
    assert isinstance(pipe.predict(frame), np.ndarray)
    assert list(pipe[-1].feature_names_in_) == list("abcd")


def test_other_feature_names_are_refused_and_missing_ones_warned_of():
    pandas = pytest.importorskip("pandas")
    clf = MLPClassifier(**SMALL).fit(pandas.DataFrame(X, columns=list("abcd")), Y)
    with pytest.raises(ValueError, match="feature names should match"):
        clf.predict(pandas.DataFrame(X, columns=list("abce")))
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        clf.predict(X)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (X[:, :3], "X has 3 features, but MLPClassifier is expecting 4 features"),
        (X[0], "Expected 2D array, got 1D array instead"),
        (X[:0], r"Found array with 0 sample\(s\)"),
        (np.where(X > 5, np.nan, X), "Input X contains NaN"),
        (np.where(X > 5, -np.inf, X), "Input X contains infinity"),
        (X.astype(complex), "Complex data not supported"),
        (np.full(X.shape, "a"), "could not convert string to float|dtype='numeric' is not compatible"),
    ],
)
def test_what_scikit_learn_refuses_to_predict_is_refused_in_its_words(bad, message):
    clf = MLPClassifier(**SMALL).fit(X, Y)
    with pytest.raises(ValueError, match=message):
        clf.predict_proba(bad)


def test_sums_that_overflow_are_not_taken_for_infinity():
    reg = MLPRegressor(hidden_layer_sizes=(), max_iter=1, random_state=0).fit(X.astype(np.float32), Y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(reg.predict(np.full((4, 4), 1e38, np.float32) * np.float32(0.01))).all()
        assert reg.predict(np.full((400, 4), 3e38, np.float32) * np.eye(400, 4, dtype=np.float32)).shape == (
            400,
        )


@pytest.mark.parametrize(
    "make",
    [
        np.asfortranarray,
        lambda a: a[::-1],
        lambda a: np.repeat(a, 2, axis=1)[:, ::2],
        lambda a: a.tolist(),
        lambda a: a.astype(">f8"),
        lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),  # read-only
    ],
    ids=["fortran", "reversed", "strided", "list", "big-endian", "read-only"],
)
def test_any_memory_layout_gives_the_same_model(make):
    data = make(X)
    plain = np.array(data, dtype=np.float64, order="C")
    expected, actual = MLPClassifier(**SMALL).fit(plain, Y), MLPClassifier(**SMALL).fit(data, Y)
    np.testing.assert_array_equal(actual.coefs_[0], expected.coefs_[0])
    np.testing.assert_array_equal(actual.predict_proba(data), expected.predict_proba(plain))


def test_sparse_rows_with_64_bit_indices_are_read():
    rows = scipy.sparse.csr_array(np.where(X > 3, X, 0.0))
    wide = rows.copy()
    wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    settings = SMALL | {"early_stopping": True}
    expected, actual = MLPClassifier(**settings).fit(rows, Y), MLPClassifier(**settings).fit(wide, Y)
    np.testing.assert_array_equal(actual.coefs_[0], expected.coefs_[0])
    np.testing.assert_array_equal(actual.predict_proba(wide), expected.predict_proba(rows))
    assert wide.indices.dtype == np.int64


def test_a_column_of_targets_is_warned_of():
    for estimator in (MLPClassifier(**SMALL), MLPRegressor(**SMALL)):
        with pytest.warns(DataConversionWarning, match="A column-vector y was passed"):
            estimator.fit(X, Y.reshape(-1, 1))


def test_meta_estimators_accept_ours():
    clf = MLPClassifier(**SMALL)
    assert BaggingClassifier(clf, n_estimators=2, random_state=0).fit(X, Y).score(X, Y) > 0.8
    assert OneVsRestClassifier(clf).fit(X, Y).predict_proba(X).shape == (150, 3)
    assert CalibratedClassifierCV(clf, cv=2).fit(X, Y).predict_proba(X).shape == (150, 3)
    assert cross_val_predict(clf, X, Y, cv=2, method="predict_proba").shape == (150, 3)
    assert set(cross_validate(clf, X, Y, cv=2)) == {"fit_time", "score_time", "test_score"}
    target = TransformedTargetRegressor(MLPRegressor(**SMALL), func=np.log1p, inverse_func=np.expm1)
    assert target.fit(X, Y.astype(float)).predict(X).shape == (150,)


def test_reprs_show_only_what_was_changed():
    assert repr(MLPClassifier(alpha=0.1)) == "MLPClassifier(alpha=0.1)"
    assert repr(MLPRegressor("poisson", n_jobs=2)) == "MLPRegressor(loss='poisson', n_jobs=2)"
    assert "MLPClassifier" in MLPClassifier(**SMALL).fit(X, Y)._repr_html_()


def test_signatures_begin_as_scikit_learns():
    import inspect

    import sklearn.neural_network as sk

    for ours, theirs in ((MLPClassifier, sk.MLPClassifier), (MLPRegressor, sk.MLPRegressor)):
        mine, reference = (list(inspect.signature(c).parameters.values()) for c in (ours, theirs))
        assert [(p.name, p.default, p.kind) for p in mine[: len(reference)]] == [
            (p.name, p.default, p.kind) for p in reference
        ]
        assert all(p.kind is p.KEYWORD_ONLY for p in mine[len(reference) :])
        public = {name for name in dir(theirs) if not name.startswith("_")}
        assert public <= set(dir(ours))
        for name in ("fit", "partial_fit", "predict"):
            mine, reference = (
                list(inspect.signature(getattr(c, name)).parameters.values()) for c in (ours, theirs)
            )
            if name != "predict":
                mine[2] = check_optional_y(mine[2])
            assert [(p.name, p.default, p.kind) for p in mine[: len(reference)]] == [
                (p.name, p.default, p.kind) for p in reference
            ]
            assert all(p.default is not p.empty for p in mine[len(reference) :])


def check_optional_y(y):
    """Return the parameter as scikit-learn has it: with ours, a `BlockSource` brings the targets."""
    assert (y.name, y.default) == ("y", None)
    return y.replace(default=y.empty)
