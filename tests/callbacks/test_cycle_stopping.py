"""`CycleStopping`: at which epochs cycles end, and which values end a fit there."""

import copy
import itertools
import pickle

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV

from fastopt import Adam, MLPClassifier, MultiSteps
from fastopt.callbacks import CycleStopping
from fastopt.schedules import constant, cosine_restarts, coslog4, linear, warmup

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.skipif(
        not hasattr(MLPClassifier, "set_callbacks"), reason="scikit-learn has callbacks from version 1.9 on"
    ),
]

X, Y = load_iris(return_X_y=True)
VALIDATION = {"X_val": X[1::2], "y_val": Y[1::2]}
#: Over 31 epochs the cycles end after these.
ENDS = [1, 3, 7, 15, 31]


def network(learning_rate=None, **kwargs):
    rate = coslog4(0.05, cycles=5) if learning_rate is None else learning_rate
    own = {"max_iter": 31, "random_state": 0, "batch_size": 25, "n_iter_no_change": np.inf} | kwargs
    return MLPClassifier((8,), learning_rate=rate, **own)


class Script:
    """A value for the end of each cycle, as a function of the network; it is asked then only."""

    def __init__(self, values, ends=ENDS):
        self.values, self.asked = dict(zip(ends, values, strict=True)), []

    def __call__(self, estimator):
        self.asked.append(estimator.n_iter_)
        return self.values[estimator.n_iter_]


@pytest.mark.parametrize(
    ("values", "options", "n_epochs"),
    [
        ([5, 4, 3, 2, 1], {}, 31),
        ([5, 4, 4.5, 2, 1], {}, 7),
        ([5, 4, 4, 3, 2], {}, 31),  # the same is not worse
        ([3, 4, 3.5, 3.6, 1], {}, 15),  # the second cycle is too early
        ([3, 4, 3.5, 3.6, 1], {"first": 2}, 3),
        ([3, 4, 5, 3.6, 1], {"first": 4}, 31),
        ([5, 4, 3.5, 2, 1], {"mode": "max"}, 7),
        ([5, 4, np.nan, 2, 1], {}, 7),
        ([5, np.nan, np.nan, 2, 1], {}, 31),
    ],
)
def test_a_cycle_that_makes_it_worse_ends_the_fit(values, options, n_epochs):
    script = Script(values)
    clf = network().set_callbacks(CycleStopping(script, **{"mode": "min"} | options)).fit(X, Y)
    assert clf.n_iter_ == n_epochs
    assert script.asked == [end for end in ENDS if end <= n_epochs]


@pytest.mark.parametrize(
    ("rate", "kwargs", "ends"),
    [
        (cosine_restarts(0.05, 4, 2.0, unit="epoch"), {}, [4, 12, 28]),
        (cosine_restarts(0.05, 5 * 6), {}, [5, 10, 15, 20, 25, 30]),  # an epoch has six batches
        (cosine_restarts(0.05, 5 * 6 + 1), {"max_iter": 12}, [6, 11]),  # 31 and 62 steps, within epochs
        (cosine_restarts(0.05, 0.25, unit="run"), {"max_iter": 10}, [3, 5, 8, 10]),
        (linear(1.0, 40, 0.5) * coslog4(0.05, cycles=3), {"max_iter": 14}, [2, 6, 14]),
        ("coslog4", {"max_iter": 15}, [1, 3, 7, 15]),
        ("constant", {"solver": MultiSteps(Adam(lr=coslog4(0.05, cycles=3)), 2), "max_iter": 14}, [2, 6, 14]),
    ],
    ids=str,
)
def test_cycles_end_at_the_right_epochs(rate, kwargs, ends):
    script = Script(range(len(ends)), ends)
    network(rate, **kwargs).set_callbacks(CycleStopping(script, mode="max")).fit(X, Y)
    assert script.asked == ends


def test_the_column_of_the_history_decides_by_default():
    """With a rate so high that a cycle does harm at some time."""
    clf = network(coslog4(0.5, cycles=5)).set_callbacks(CycleStopping())
    clf.fit(X[::2], Y[::2], **VALIDATION)
    losses = [clf.history_["val_loss"][end - 1] for end in ENDS if end <= clf.n_iter_]
    worse = [later > sooner for sooner, later in itertools.pairwise(losses)]
    assert clf.n_iter_ in ENDS
    assert not any(worse[1:-1])
    assert clf.n_iter_ == 31 or worse[-1]


def test_bits_are_those_of_a_fit_of_as_many_epochs():
    one = network().set_callbacks(CycleStopping(Script([5, 4, 4.5, 2, 1]), mode="min")).fit(X, Y)
    whole = network(coslog4(0.05, 31 * 6, cycles=5), max_iter=7).fit(X, Y)
    np.testing.assert_array_equal(one._params, whole._params)


def test_fits_of_a_search_stop_independently_and_copies_pickle():
    stop = CycleStopping("loss", first=2)
    search = GridSearchCV(network().set_callbacks(stop), {"alpha": [1e-4, 10.0]}, cv=2).fit(X, Y)
    assert search.best_estimator_.n_iter_ in ENDS
    for other in (copy.deepcopy(stop), pickle.loads(pickle.dumps(stop))):
        assert other.first == 2


@pytest.mark.parametrize("rate", [constant(0.1), "constant", warmup(coslog4(0.1, 100), 10)], ids=str)
def test_a_rate_without_cycles_is_refused(rate):
    with pytest.raises(ValueError, match="needs a learning rate in cycles, such as learning_rate='coslog4'"):
        network(rate).set_callbacks(CycleStopping("loss")).fit(X, Y)


@pytest.mark.filterwarnings("ignore:Parameters of MLPClassifier that have no effect")
def test_lbfgs_has_no_cycles():
    clf = network("constant", solver="lbfgs").set_callbacks(CycleStopping("loss"))
    with pytest.raises(ValueError, match="needs a learning rate in cycles"):
        clf.fit(X, Y)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"first": 1}, "first=1 of CycleStopping is no number of a cycle from 2 on"),
        ({"first": True}, "first=True"),
        ({"monitor": len}, "needs mode='min' or mode='max'"),
        ({"monitor": "val_los"}, "Did you mean 'val_loss'"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        CycleStopping(**arguments)


def test_nothing_validated_is_said():
    with pytest.raises(ValueError, match="CycleStopping watches 'val_loss', but nothing is validated"):
        network().set_callbacks(CycleStopping()).fit(X, Y)
