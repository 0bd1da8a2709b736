"""`MultiSteps`: against optax and Keras as executed, and in estimators against batches of all its rows."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_classification

from fastopt import (
    EMA,
    SGD,
    SWA,
    Adam,
    AdamW,
    Lookahead,
    Mechanic,
    MLPClassifier,
    MLPRegressor,
    MultiSteps,
    SkipNonFinite,
)
from fastopt.optimizers.wrappers.skipping import SkipStepper
from fastopt.schedules import cosine, linear, plateau, step, warmup
from fastopt.stepping.layerwise_state import LayerwiseState

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
PEERS = json.loads((Path(__file__).parents[1] / "schedules" / "peer_values.json").read_text())
X, Y = make_classification(n_samples=300, n_features=6, random_state=0)
#: The same sums in another order, over some 100 steps.
ROUNDING = {"rtol": 1e-9, "atol": 1e-12}


# Bound to arrays


@pytest.mark.parametrize(
    ("library", "optimizer"), [("optax", SGD(lr=linear(1.0, 4), momentum=0.5)), ("keras", SGD(lr=1.0))]
)
def test_the_weight_goes_where_the_other_librarys_went(library, optimizer):
    """As executed by ``tests/schedules/peer_values.py``: ten gradients, three to a step, one left over."""
    w, path = np.zeros(1), []
    stepper = MultiSteps(optimizer, n=3).bind(w)
    for gradient in PEERS["accumulation"]["gradients"]:
        stepper.step(np.array([gradient]))
        path.append(w[0])
    np.testing.assert_allclose(path, PEERS["accumulation"][library], rtol=1e-14)


@pytest.mark.parametrize("steps_per_epoch", [1, 2, 3, 5, 8, 12])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 7])
def test_an_epoch_is_one_of_the_data(n, steps_per_epoch):
    """A step has the rate of the epoch in which it is made, as with ``scheduler.step()`` after each epoch."""
    w, expected = np.zeros(1), 0.0
    optimizer = MultiSteps(SGD(lr=step(1.0, 1, 0.5, unit="epoch")), n=n)
    stepper = optimizer.bind(w, steps_per_epoch=steps_per_epoch)
    for k in range(60):
        stepper.step(np.ones(1))
        if (k + 1) % n == 0:
            expected -= 0.5 ** (k // steps_per_epoch)
    assert w[0] == expected


def test_sixty_batches_of_twelve_epochs_leave_the_rate_of_the_twelfth():
    stepper = MultiSteps(SGD(lr=step(1.0, 1, 0.5, unit="epoch")), n=4).bind(np.zeros(1), steps_per_epoch=5)
    for _ in range(60):
        stepper.step(np.ones(1))
    assert stepper.current_values()[0]["lr"] == 0.5**12


@pytest.mark.parametrize("unit", ["step", "epoch", "run"])
def test_a_schedule_for_the_whole_run_ends_with_it(unit):
    optimizer = MultiSteps(SGD(lr=linear(1.0, unit=unit)), n=4)
    stepper = optimizer.bind(np.zeros(1), n_steps=60, steps_per_epoch=5)
    rates = []
    for _ in range(15):
        rates.append(stepper.current_values()[0]["lr"])
        for _ in range(4):
            stepper.step(np.ones(1))
    if unit == "epoch":  # that in which the step's last gradient comes
        np.testing.assert_allclose(rates, [1 - (4 * i + 3) // 5 / 12 for i in range(15)], rtol=1e-14)
    else:
        np.testing.assert_allclose(rates, [1 - i / 15 for i in range(15)], rtol=1e-14)
    assert stepper.current_values()[0]["lr"] == 0.0


def test_a_warm_up_in_epochs_ends_with_the_first_step_of_the_next_epoch():
    optimizer = MultiSteps(SGD(lr=warmup(linear(1.0, 4), 2, unit="epoch")), n=4)
    stepper = optimizer.bind(np.zeros(1), n_steps=60, steps_per_epoch=5)
    rates = []
    for _ in range(6):
        rates.append(stepper.current_values()[0]["lr"])
        for _ in range(4):
            stepper.step(np.ones(1))
    # Steps are made by batches 3, 7, 11, 15, ... of epochs 0, 1, 2, 3.
    assert rates == [0.0, 0.5, 1.0, 0.75, 0.5, 0.25]


@pytest.mark.parametrize(
    "average",
    [
        lambda optimizer: EMA(optimizer, decay=0.5),
        lambda optimizer: EMA(optimizer, decay=0.5, every=2, first=1),
        SWA,
        lambda optimizer: Lookahead(optimizer, k=2, alpha=0.25),
    ],
)
def test_averages_around_it_follow_the_steps_that_are_made(average):
    rng = np.random.default_rng(0)
    gradients = rng.normal(size=(14, 5))
    outside, inside = np.zeros(5), np.zeros(5)
    steppers = (
        average(MultiSteps(Adam(lr=0.1), 3)).bind(outside),
        MultiSteps(average(Adam(lr=0.1)), 3).bind(inside),
    )
    for gradient in gradients:
        for stepper in steppers:
            stepper.step(gradient)
        np.testing.assert_array_equal(outside, inside)
    for stepper in steppers:
        stepper.eval()
    np.testing.assert_array_equal(outside, inside)


def test_an_average_does_not_move_where_a_step_is_skipped():
    outside, alone = np.zeros(1), np.zeros(1)
    skipping = EMA(SkipNonFinite(SGD(lr=1.0)), decay=0.5).bind(outside)
    plain = EMA(SGD(lr=1.0), decay=0.5).bind(alone)
    for gradient in (1.0, np.nan, 2.0, np.inf, np.nan):
        skipping.step(np.array([gradient]))
        if np.isfinite(gradient):
            plain.step(np.array([gradient]))
    skipping.eval()
    plain.eval()
    assert outside[0] == alone[0] == -2.0


@pytest.mark.parametrize("outside", [True, False])
@pytest.mark.parametrize("n", [1, 3, 4])
def test_a_skipped_step_delays_no_epoch(n, outside):
    """A step has the rate of the epoch of the data in which it is made; also after a state is loaded."""

    def bind(w):
        inner = SGD(lr=step(1.0, 1, 0.5, unit="epoch"))
        optimizer = SkipNonFinite(MultiSteps(inner, n)) if outside else MultiSteps(SkipNonFinite(inner), n)
        return optimizer.bind(w, steps_per_epoch=5)

    w, expected, gathered = np.zeros(1), 0.0, []
    stepper = bind(w)
    for k in range(60):
        gradient = np.nan if k % 7 in (0, 3) else 1.0
        stepper.step(np.array([gradient]))
        if np.isfinite(gradient) or not outside:
            gathered.append(gradient)
        if len(gathered) == n:
            if np.isfinite(gathered).all():
                expected -= 0.5 ** (k // 5)
            gathered.clear()
        if k % 11 == 0:
            state, stepper = stepper.state_dict(), bind(w)
            stepper.load_state_dict(state)
    assert stepper.n_skipped > 0
    assert w[0] == expected


@pytest.mark.parametrize(
    ("wrap", "calls_per_epoch"),
    [
        (SkipNonFinite, 5),
        (lambda optimizer: SkipNonFinite(MultiSteps(optimizer, 2)), 5),
        (lambda optimizer: MultiSteps(SkipNonFinite(optimizer), 2), 3),
        (lambda optimizer: SkipNonFinite(Mechanic(base="sgd", lr=optimizer.lr)), 5),
    ],
)
@pytest.mark.parametrize("calls_fit", [True, False])
def test_a_step_skipped_in_an_estimator_delays_no_epoch(wrap, calls_per_epoch, calls_fit, monkeypatch):
    """300 rows in five batches; the test decides which gradients count as not finite."""
    seen = []

    def is_finite(stepper, request):
        inside = getattr(stepper.inner, "_base", stepper)  # the optimizer that Mechanic scales
        seen.append(inside.current_values()[0]["lr"])
        return len(seen) % 7 not in (1, 4)

    monkeypatch.setattr(SkipStepper, "_is_finite", is_finite)
    monkeypatch.setattr(LayerwiseState, "program", lambda *args: None)  # the test is not to be recorded
    solver = wrap(SGD(lr=step(1e-3, 1, 0.5, unit="epoch")))
    clf = MLPClassifier((8,), solver=solver, batch_size=64, random_state=0, max_iter=8)
    if calls_fit:
        clf.fit(X, Y)
        assert seen == [1e-3 * 0.5 ** (k // calls_per_epoch) for k in range(8 * calls_per_epoch)]
    else:
        for epoch in range(8):
            clf.partial_fit(X, Y, classes=[0, 1])
            if not isinstance(solver, MultiSteps) and not isinstance(solver.optimizer, MultiSteps):
                assert seen[-5:] == [1e-3 * 0.5**epoch] * 5
    assert clf._optimizer.learning_rate == 1e-3 * 0.5**8


def test_what_has_been_gathered_goes_with_the_state():
    w, other = np.zeros(2), np.zeros(2)
    optimizer = MultiSteps(Adam(lr=0.1), n=3)
    stepper = optimizer.bind(w)
    for k in range(5):
        stepper.step(np.array([1.0, k]))
    other[:] = w
    again = optimizer.bind(other)
    again.load_state_dict(stepper.state_dict())
    assert again.pending == stepper.pending == 2 / 3
    for s in (stepper, again):
        s.step(np.array([-4.0, 2.0]))
    np.testing.assert_array_equal(w, other)


def test_the_last_step_of_an_epoch_is_that_of_hugging_faces_trainer():
    """transformers 5.24.0 with torch 2.13.0, executed: five batches an epoch, three to a step, two epochs.

    ``Trainer`` with ``gradient_accumulation_steps=3``, batches of 2 of the rows 1 to 10, the loss
    ``(w * x).mean()`` and ``SGD(lr=1.0)`` from 0; the weight after each step.
    """
    w, path = np.zeros(1), []
    stepper = MultiSteps(SGD(lr=1.0), n=3).bind(w)
    for k, mean in enumerate([1.5, 3.5, 5.5, 7.5, 9.5] * 2):
        stepper.step_batch(lambda mean=mean: (0.0, np.array([mean])), weight=2.0, ends_epoch=k % 5 == 4)
        if stepper.pending == 0:
            path.append(w[0])
    assert path == [-3.5, -12.0, -15.5, -24.0]


# In estimators: n batches of b rows are one of n * b


CASES = {
    "more than an epoch has": (Adam(lr=0.01), 50, {}),
    "unequal batches": (SGD(lr=0.1), 2, {"batch_size": 40}),
    "penalty": (SGD(lr=0.1), 4, {"batch_size": 17, "alpha": 2.0}),
    "a schedule over the run": (AdamW(lr=cosine(0.01)), 3, {"batch_size": 32, "alpha": 0.1}),
    "a schedule in epochs": (SGD(lr=step(0.5, 3, 0.5, unit="epoch"), momentum=0.9), 3, {"batch_size": 32}),
    "a warm-up": (Adam(lr=0.05), 3, {"batch_size": 32, "warmup": 0.3, "learning_rate": "onecycle"}),
    "an average": (EMA(SGD(lr=0.1), decay=0.9), 4, {"batch_size": 32, "alpha": 1.0}),
    "early stopping": (Adam(lr=0.05), 3, {"batch_size": 32, "early_stopping": True, "n_iter_no_change": 3}),
    "a plateau": (SGD(lr=plateau(0.3, 0.5, 1, 0.01)), 3, {"batch_size": 32}),
}


@pytest.mark.parametrize("case", CASES)
def test_training_is_that_with_larger_batches(case):
    optimizer, n, settings = CASES[case]
    settings = {"max_iter": 15, "random_state": 0, "tol": 1e-6} | settings
    large = min(settings.get("batch_size", 200) * n, 270 if "early_stopping" in settings else 300)
    ours = MLPClassifier((8,), solver=MultiSteps(optimizer, n), **settings).fit(X, Y)
    theirs = MLPClassifier((8,), solver=clone(optimizer), **settings | {"batch_size": large}).fit(X, Y)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, **ROUNDING)
    for a, b in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        np.testing.assert_allclose(a, b, **ROUNDING)
    assert ours._optimizer.learning_rate == theirs._optimizer.learning_rate
    assert ours._optimizer.update.t == theirs._optimizer.update.t


def test_gradients_count_by_the_weights_of_their_rows():
    weights = np.random.default_rng(0).integers(0, 4, 300).astype(float)
    settings = {"max_iter": 10, "random_state": 0, "alpha": 1.0, "shuffle": False}
    ours = MLPRegressor(
        hidden_layer_sizes=(8,), solver=MultiSteps(SGD(lr=0.05), 3), batch_size=25, **settings
    )
    theirs = MLPRegressor(hidden_layer_sizes=(8,), solver=SGD(lr=0.05), batch_size=75, **settings)
    ours.fit(X, Y, sample_weight=weights)
    theirs.fit(X, Y, sample_weight=weights)
    for a, b in zip(ours.coefs_, theirs.coefs_, strict=True):
        np.testing.assert_allclose(a, b, **ROUNDING)


def test_no_fit_ends_without_a_step():
    """Two batches an epoch and 50 gradients a step: one step an epoch, with both."""
    clf = MLPClassifier((8,), solver=MultiSteps(Adam(lr=0.1), n=50), max_iter=20, random_state=0).fit(X, Y)
    assert clf._optimizer.update.t == clf.n_iter_ == 20
    assert clf.loss_ < 0.5 * clf.loss_curve_[0]


# partial_fit: gradients wait for the next call


def test_calls_of_partial_fit_make_a_step_together():
    settings = {"random_state": 0, "alpha": 1.0, "shuffle": False, "batch_size": 300}
    ours = MLPClassifier((8,), solver=MultiSteps(SGD(lr=0.1), 3), **settings)
    theirs = MLPClassifier((8,), solver=SGD(lr=0.1), **settings)
    for first in (0, 100, 200):
        start = None
        for lo, hi in ((0, 10), (10, 40), (40, 100)):
            rows = slice(first + lo, first + hi)
            ours = pickle.loads(pickle.dumps(ours.partial_fit(X[rows], Y[rows], classes=[0, 1])))
            if hi < 100:
                start = ours.coefs_[0].copy() if start is None else start
                np.testing.assert_array_equal(ours.coefs_[0], start)
        theirs.partial_fit(X[first : first + 100], Y[first : first + 100], classes=[0, 1])
        np.testing.assert_allclose(ours.coefs_[0], theirs.coefs_[0], **ROUNDING)
    assert ours._optimizer.update.t == 3


def test_calls_of_partial_fit_are_epochs():
    """The next step is made when the gradients that it lacks have come, in calls like the last one."""
    sizes = (3, 5, 1, 1, 1, 6)
    rate = step(1e-3, 1, 0.5, unit="epoch")
    clf = MLPClassifier((8,), solver=MultiSteps(SGD(lr=rate), 4), batch_size=20, random_state=0)
    for call, n_batches in enumerate(sizes, start=1):
        clf.partial_fit(X[: 20 * n_batches], Y[: 20 * n_batches], classes=[0, 1])
        clf = pickle.loads(pickle.dumps(clf))
        clf._optimizer.go_on(clf._optimizer.update.run)  # what the next call does first
        n_steps, gathered = divmod(sum(sizes[:call]), 4)
        assert clf._optimizer.update.t == n_steps
        assert clf._optimizer.learning_rate == 1e-3 * 0.5 ** (call + (4 - gathered - 1) // n_batches)


def test_a_fit_and_then_partial_fit_go_on_in_the_schedule():
    rate = step(1e-3, 1, 0.5, unit="epoch")
    settings = {"batch_size": 64, "random_state": 0, "max_iter": 3}
    clf = MLPClassifier((8,), solver=MultiSteps(SGD(lr=rate), 3), **settings).fit(X, Y)
    assert clf._optimizer.update.t == 3 * 2  # five batches an epoch: of three and of two gradients
    clf.partial_fit(X[:64], Y[:64])
    assert clf._optimizer.update.t == 6
    clf.partial_fit(X[:128], Y[:128])
    assert clf._optimizer.update.t == 7
    clf._optimizer.go_on(clf._optimizer.update.run)
    # Five epochs are over, and the next three gradients end in the second of two more.
    assert clf._optimizer.learning_rate == 1e-3 * 0.5**6


def test_after_a_fit_without_schedules_too_gradients_wait_for_the_next_call():
    clf = MLPClassifier((8,), solver=MultiSteps(SGD(lr=0.1), 3), batch_size=64, random_state=0, max_iter=3)
    clf.fit(X, Y)
    before = clf.coefs_[0].copy()
    for n_steps in (6, 6, 7):
        clf.partial_fit(X[:64], Y[:64])
        assert clf._optimizer.update.t == n_steps
        assert np.array_equal(clf.coefs_[0], before) == (n_steps == 6)
