"""The fitted state: live views of one host vector, through every kind of copy."""

import copy
import pickle

import joblib
import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError

from fastopt import MLPClassifier, MLPRegressor

X, Y = load_iris(return_X_y=True)
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def fitted(**settings):
    return MLPClassifier((6, 5), max_iter=20, random_state=0, **settings).fit(X, Y)


def through_joblib(clf, tmp_path, mmap_mode=None):
    joblib.dump(clf, tmp_path / "model.joblib")
    return joblib.load(tmp_path / "model.joblib", mmap_mode=mmap_mode)


COPIES = {
    "itself": lambda clf, _: clf,
    "pickle": lambda clf, _: pickle.loads(pickle.dumps(clf)),
    "deepcopy": lambda clf, _: copy.deepcopy(clf),
    "joblib": through_joblib,
}


@pytest.mark.parametrize("via", COPIES)
def test_writing_to_coefs_changes_predictions(via, tmp_path):
    clf = COPIES[via](fitted(), tmp_path)
    before = clf.predict_proba(X)
    clf.coefs_[-1][...] = 0.0
    clf.intercepts_[-1][...] = 0.0
    np.testing.assert_allclose(clf.predict_proba(X), 1 / 3, rtol=1e-15)
    assert not np.allclose(before, 1 / 3)


@pytest.mark.parametrize("via", COPIES)
def test_training_goes_on_in_the_very_arrays_that_coefs_shows(via, tmp_path):
    original = fitted()
    clf = COPIES[via](original, tmp_path)
    views = clf.coefs_ + clf.intercepts_
    before = [v.copy() for v in views]
    clf.partial_fit(X, Y)
    for view, old, new in zip(views, before, clf.coefs_ + clf.intercepts_, strict=True):
        np.testing.assert_array_equal(view, new)
        assert np.shares_memory(view, new)
        assert not np.array_equal(view, old)


@pytest.mark.parametrize("via", COPIES)
def test_a_copy_continues_training_with_the_same_numbers(via, tmp_path):
    expected = fitted().partial_fit(X, Y).partial_fit(X, Y)
    actual = COPIES[via](fitted().partial_fit(X, Y), tmp_path).partial_fit(X, Y)
    np.testing.assert_array_equal(actual.coefs_[0], expected.coefs_[0])


def test_a_read_only_memory_map_predicts_and_trains_on_a_copy(tmp_path):
    clf = fitted()
    mapped = through_joblib(clf, tmp_path, mmap_mode="r")
    assert not mapped.coefs_[0].flags.writeable
    np.testing.assert_array_equal(mapped.predict_proba(X), clf.predict_proba(X))
    mapped.partial_fit(X, Y)
    np.testing.assert_array_equal(mapped.coefs_[0], clf.partial_fit(X, Y).coefs_[0])


def test_an_item_of_coefs_can_be_replaced():
    clf = fitted()
    clf.coefs_[0] = np.zeros((4, 6))
    clf.intercepts_[:] = [np.ones(6), np.ones(5), np.ones(3)]
    assert (clf.coefs_[0] == 0).all()
    assert (clf.intercepts_[2] == 1).all()
    hidden = np.maximum(np.ones(6) @ clf.coefs_[1] + 1, 0)
    z = hidden @ clf.coefs_[2] + 1
    np.testing.assert_allclose(clf.predict_proba(X[:1])[0], np.exp(z) / np.exp(z).sum(), rtol=1e-12)


def test_an_item_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"item 0 has shape \(4, 6\), got \(6, 4\)"):
        fitted().coefs_[0] = np.zeros((6, 4))


def test_the_list_of_layers_cannot_change_its_length():
    clf = fitted()
    for change in (lambda: clf.coefs_.append(np.zeros((3, 3))), lambda: clf.coefs_.pop()):
        with pytest.raises(TypeError, match="number of layers is fixed"):
            change()


def test_whole_lists_of_other_sizes_make_another_network():
    clf = fitted()
    pruned = [clf.coefs_[0][:, :3], clf.coefs_[1][:3], clf.coefs_[2]]
    biases = [clf.intercepts_[0][:3], *clf.intercepts_[1:]]
    expected = (
        np.maximum(np.maximum(X @ pruned[0] + biases[0], 0) @ pruned[1] + biases[1], 0) @ pruned[2]
        + biases[2]
    )
    clf.coefs_ = pruned
    clf.intercepts_ = biases
    np.testing.assert_array_equal(clf.predict(X), expected.argmax(axis=1))
    clf.partial_fit(X, Y)
    assert [w.shape for w in clf.coefs_] == [(4, 3), (3, 5), (5, 3)]


def test_lists_that_form_no_network_are_refused_when_used():
    clf = fitted()
    clf.coefs_ = [np.zeros((4, 2)), np.zeros((3, 3))]
    with pytest.raises(ValueError, match=r"coefs_ with shapes \[\(4, 2\), \(3, 3\)\].*do not form a network"):
        clf.predict(X)


def test_assigning_another_dtype_changes_the_networks():
    clf = MLPClassifier((6,), max_iter=2, random_state=0).fit(X.astype(np.float32), Y)
    clf.coefs_ = [w.astype(np.float64) for w in clf.coefs_]
    assert clf.predict_proba(X.astype(np.float32)).dtype == np.float64


def test_coefs_is_a_list_and_its_copies_are_plain_lists():
    clf = fitted()
    assert isinstance(clf.coefs_, list)
    for copied in (copy.deepcopy(clf.coefs_), pickle.loads(pickle.dumps(clf.coefs_))):
        assert type(copied) is list
        np.testing.assert_array_equal(copied[0], clf.coefs_[0])
        assert not np.shares_memory(copied[0], clf.coefs_[0])
    assert type(clf.coefs_ + clf.intercepts_) is list


def test_the_state_holds_nothing_but_numbers_and_names():
    # What pickle has to import shows what the file depends on: no compiled code, no dispatcher.
    import pickletools

    strings = {
        str(arg) for _, arg, _ in pickletools.genops(pickle.dumps(fitted(), protocol=4)) if arg is not None
    }
    assert not [s for s in strings if "numba" in s or "ctypes" in s]


def test_a_clone_of_a_fitted_estimator_is_not_fitted():
    from sklearn.base import clone

    twin = clone(fitted())
    assert not hasattr(twin, "coefs_")
    with pytest.raises(NotFittedError):
        twin.predict(X)


def test_an_estimator_is_unfitted_until_it_has_parameters():
    reg = MLPRegressor()
    for use in (lambda: reg.predict(X), lambda: reg.coefs_):
        with pytest.raises((NotFittedError, AttributeError)):
            use()
    with pytest.raises(ValueError, match="NaN"):
        reg.fit(X * np.nan, Y)
    with pytest.raises(NotFittedError):
        reg.predict(X)


def test_prediction_leaves_the_state_alone():
    clf = fitted()
    before = pickle.dumps(clf)
    clf.predict(X), clf.predict_proba(X[:1]), clf.score(X, Y)
    assert pickle.dumps(clf) == before
