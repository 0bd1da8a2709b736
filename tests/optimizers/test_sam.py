"""SAM and ASAM: against the papers' steps in NumPy, in the bound stepper and in the estimators."""

import pickle

import numpy as np
import pytest
from reference import wrapper_oracles as by_hand
from reference.problems import distance
from sklearn.base import clone
from sklearn.datasets import load_digits, make_classification

import fastopt
from fastopt import (
    ASAM,
    EMA,
    LAMB,
    LBFGS,
    SAM,
    SGD,
    Adam,
    AdamW,
    AdaptiveClip,
    Cautious,
    Centralize,
    Clip,
    GradientNoise,
    Lion,
    Lookahead,
    Mechanic,
    MLPClassifier,
    MultiSteps,
    Muon,
    PolyakSGD,
    ScheduleFreeSGD,
    SkipNonFinite,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# As the parity tests of single optimizers: float64 roundings of some steps.
ROUNDING = 1e-12

OPTIMIZERS = {
    "adam": Adam(lr=0.05),
    "sgd": SGD(lr=0.05),
    "momentum": SGD(lr=0.05, momentum=0.9),
    "maximize": SGD(lr=0.01, maximize=True),
    "lion": Lion(lr=0.01),
    "lamb": LAMB(lr=0.01),
    "muon": Muon(lr=0.02),
    "mechanic": Mechanic(base="sgd", lr=0.1),
    "schedulefree": ScheduleFreeSGD(lr=0.05),
    "polyak": PolyakSGD(),
    "lbfgs": LBFGS(lr=0.1, max_iter=2),
}

WRAPPERS = {
    "SAM": (lambda o: SAM(o, rho=0.3), {"rho": 0.3}),
    "ASAM": (lambda o: ASAM(o, rho=0.5, eta=0.1), {"rho": 0.5, "eta": 0.1}),
    "ASAM, biases": (lambda o: ASAM(o, rho=0.5, biases=True), {"rho": 0.5, "eta": 0.01, "biases": True}),
}


def start(dtype=np.float64):
    rng = np.random.default_rng(0)
    shapes = (((4, 3), "C"), ((3, 5), "F"), ((5,), "C"), ((), "C"))
    return [np.asarray(rng.normal(size=shape), dtype, order=order) for shape, order in shapes]


def bowl(params, sign=1.0, none=False):
    """Return a closure: a loss whose curvature differs from place to place, and its gradients."""

    def closure():
        loss = sum(float((0.5 * w**2 + 0.1 * w**4).sum()) for w in params)
        grads = [np.asarray(sign * (w + 0.4 * w**3)) for w in params]
        return sign * loss, [*grads[:2], None, grads[3]] if none else grads

    return closure


@pytest.mark.parametrize("of", OPTIMIZERS)
@pytest.mark.parametrize("name", WRAPPERS)
def test_a_step_goes_by_the_gradient_uphill(name, of):
    make, settings = WRAPPERS[name]
    ours, theirs = start(), start()
    # Who climbs looks for the worst point below: the same as descending the negative loss.
    sign = -1.0 if of == "maximize" else 1.0
    stepper, plain = make(OPTIMIZERS[of]).bind(ours), OPTIMIZERS[of].bind(theirs)
    downhill = bowl(theirs, 1.0)
    uphill = by_hand.sam(downhill, theirs, **settings)
    for _ in range(8):
        loss = stepper.step(closure=bowl(ours, sign))
        assert loss == pytest.approx(sign * downhill()[0], rel=1e-9)
        if of == "maximize":
            _, grads = uphill()
            plain.step([np.asarray(-g) for g in grads])
        else:
            plain.step(closure=uphill)
    # Muon, Mechanic and L-BFGS enlarge roundings by products of matrices and ratios of sums.
    assert distance(ours, theirs) < (1e-9 if of in ("muon", "mechanic", "lbfgs") else ROUNDING)


def test_parameters_without_gradient_stay_where_they_are():
    ours, theirs = start(), start()
    stepper, plain = SAM(Adam(lr=0.1), rho=0.3).bind(ours), Adam(lr=0.1).bind(theirs)
    for _ in range(5):
        stepper.step(closure=bowl(ours, none=True))
        plain.step(closure=by_hand.sam(bowl(theirs, none=True), theirs, 0.3))
    assert distance(ours, theirs) < ROUNDING
    np.testing.assert_array_equal(ours[2], start()[2])


def test_what_changes_gradients_is_inside_and_what_averages_weights_anywhere():
    ours, theirs, averages = start(), start(), []
    stepper = EMA(
        SAM(Lookahead(Clip(MultiSteps(Adam(lr=0.1), n=2), norm=0.5), k=3), rho=0.3), decay=0.5
    ).bind(ours)
    made = by_hand.lookahead(Adam(lr=0.1).bind(theirs).step, theirs, 3)
    made = by_hand.ema(made, theirs, averages, 0.5)
    step = by_hand.clip(by_hand.multi_steps(made, theirs, 2), theirs, norm=0.5)
    for _ in range(9):
        stepper.step(closure=bowl(ours))
        step(by_hand.sam(bowl(theirs), theirs, 0.3)()[1])
    assert distance(ours, theirs) < ROUNDING
    stepper.eval()
    assert distance(ours, averages) < ROUNDING


@pytest.mark.parametrize("wrapper", [EMA, Lookahead])
def test_averages_outside_see_every_step(wrapper):
    ours, theirs = start(), start()
    one, two = wrapper(SAM(Adam(lr=0.1))).bind(ours), SAM(wrapper(Adam(lr=0.1))).bind(theirs)
    for _ in range(6):
        one.step(closure=bowl(ours))
        two.step(closure=bowl(theirs))
    for stepper in (one, two):
        stepper.eval()
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", WRAPPERS)
def test_the_weights_come_back_to_the_bit(name, dtype):
    tiny = np.finfo(dtype).tiny  # less is subnormal, and zero for a step; squares do not overflow
    w = np.array([1.0, -0.0, tiny, -tiny, -3.7e-8, 1e18], dtype).reshape(2, 3)
    kept, seen = w.tobytes(), []

    def closure():
        seen.append(w.copy())
        return 1.0, [np.ones((2, 3), dtype)]

    WRAPPERS[name][0](SGD(lr=0.0)).bind(w).step(closure=closure)
    assert w.tobytes() == kept
    assert seen[0].tobytes() == kept
    assert len(seen) == 2
    assert (seen[1] != seen[0]).any()


def test_a_closure_that_fails_leaves_the_weights():
    w, calls = np.ones(3), []

    def closure():
        calls.append(1)
        if len(calls) == 2:
            raise ZeroDivisionError
        return 1.0, [np.ones(3)]

    stepper = SAM(Adam()).bind(w)
    with pytest.raises(ZeroDivisionError):
        stepper.step(closure=closure)
    np.testing.assert_array_equal(w, np.ones(3))
    assert stepper.state_dict()["state"] == {}


def test_a_scale_of_the_gradients_changes_no_direction():
    """As under loss scaling: the gradients are 1000 times too long and are multiplied by a thousandth."""
    ours, theirs = start(), start()

    def scaled():
        loss, grads = bowl(ours)()
        return loss, [np.asarray(1000 * g) for g in grads]

    stepper, plain = SAM(SGD(lr=0.1), rho=0.3).bind(ours), SAM(SGD(lr=0.1), rho=0.3).bind(theirs)
    for _ in range(5):
        stepper.step(closure=scaled, grad_scale=1e-3)
        plain.step(closure=bowl(theirs))
    assert distance(ours, theirs) < ROUNDING


def test_not_a_number_is_left_to_those_inside():
    w = np.ones(2)
    stepper = SAM(SkipNonFinite(SGD(lr=1.0))).bind(w)
    stepper.step(closure=lambda: (np.nan, [np.array([np.nan, 1.0])]))
    np.testing.assert_array_equal(w, np.ones(2))
    assert stepper.n_skipped == 1
    SAM(SGD(lr=1.0)).bind(w).step(closure=lambda: (np.nan, [np.array([np.nan, 1.0])]))
    assert np.isnan(w[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", WRAPPERS)
def test_the_bits_do_not_depend_on_the_number_of_threads(name, dtype):
    ends = []
    for n_threads in (1, 2):
        rng = np.random.default_rng(0)
        params = [rng.normal(size=shape).astype(dtype) for shape in ((700, 300), (67,))]
        stepper = WRAPPERS[name][0](Adam()).bind(params, n_threads=n_threads)
        for _ in range(2):
            stepper.step(closure=lambda params=params: (1.0, [np.sin(p) for p in params]))
        ends.append(params)
    for a, b in zip(*ends, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_state_dict_goes_on_where_it_was_saved(name):
    make = WRAPPERS[name][0]
    whole, params = start(), start()
    one, half = make(Adam(lr=0.1)).bind(whole), make(Adam(lr=0.1)).bind(params)
    for _ in range(3):
        half.step(closure=bowl(params))
    again = make(Adam(lr=0.1)).bind(params)
    again.load_state_dict(pickle.loads(pickle.dumps(half.state_dict())))
    for k in range(6):
        one.step(closure=bowl(whole))
        if k >= 3:
            again.step(closure=bowl(params))
    for a, b in zip(whole, params, strict=True):
        np.testing.assert_array_equal(a, b)
    assert again.nbytes == Adam().bind(params).nbytes


def test_what_does_not_fit_is_refused():
    stepper = SAM(Adam()).bind(np.ones(2))
    with pytest.raises(TypeError, match=r"evaluates two gradients: step\(closure=f\)"):
        stepper.step(np.ones(2))
    with pytest.raises(TypeError, match="needs gradients or a closure"):
        stepper.step()
    for make in (Clip, MultiSteps, SkipNonFinite, Cautious, Centralize, AdaptiveClip, GradientNoise):
        with pytest.raises(
            TypeError, match=rf"{make.__name__} works on gradients, .*put SAM around {make.__name__}"
        ):
            make(EMA(SAM(Adam()))).bind(np.ones(2))
    with pytest.raises(ValueError, match=r"SAM\(rho=-1.0\): rho must be a finite number >= 0"):
        SAM(Adam(), rho=-1.0).bind(np.ones(2))
    with pytest.raises(ValueError, match="eta must be"):
        ASAM(Adam(), eta=np.inf).bind(np.ones(2))
    with pytest.raises(TypeError, match="biases must be True or False"):
        ASAM(Adam(), biases=2).bind(np.ones(2))
    sparse, rows = SAM(fastopt.SparseAdam()).bind(np.ones((4, 2))), (np.array([1]), np.ones((1, 2)))
    with pytest.raises(TypeError, match="needs whole gradients"):
        sparse.step(closure=lambda: (1.0, [rows]))


@pytest.mark.parametrize("wrapper", [SAM(Adam(lr=0.1), rho=0.1), ASAM(SGD(), eta=0.0, biases=True)])
def test_a_wrapper_is_a_value(wrapper):
    assert (
        eval(repr(wrapper), vars(fastopt)) == wrapper == clone(wrapper) == pickle.loads(pickle.dumps(wrapper))
    )


# Estimators

X, Y = make_classification(n_samples=100, n_features=6, random_state=0)
SMALL = {"hidden_layer_sizes": (5,), "random_state": 0, "batch_size": 20, "tol": 0, "shuffle": False}


def network(params, rows, labels, alpha):
    """Return a closure of a logistic loss behind one relu layer, with scikit-learn's penalty."""

    def closure():
        W1, W2, b1, b2 = params
        hidden = np.maximum(rows @ W1 + b1, 0)
        output = 1 / (1 + np.exp(-(hidden @ W2 + b2)))[:, 0]
        n = len(rows)
        delta = (output - labels)[:, None] / n
        back = (delta @ W2.T) * (hidden > 0)
        loss = -np.mean(labels * np.log(output) + (1 - labels) * np.log(1 - output))
        loss += 0.5 * alpha / n * sum((W * W).sum() for W in (W1, W2))
        grads = [rows.T @ back + alpha / n * W1, hidden.T @ delta + alpha / n * W2, back.sum(0), delta.sum(0)]
        return loss, grads

    return closure


@pytest.mark.parametrize("of", ["adam", "lamb", "muon", "lbfgs"])
@pytest.mark.parametrize("name", ["SAM", "ASAM"])
def test_an_estimator_takes_both_gradients_of_each_batch(name, of):
    make, settings = WRAPPERS[name]
    optimizer = OPTIMIZERS[of]
    if of == "muon":
        optimizer = Muon(lr=0.02, weight_decay=0.0)  # the estimator spares biases
    common = SMALL | {"alpha": 0.5, "max_iter": 3}
    first = MLPClassifier(**common | {"max_iter": 1, "solver": SGD(lr=1e-300)}).fit(X, Y)
    params = [np.array(p) for p in (*first.coefs_, *first.intercepts_)]
    plain = optimizer.bind(params)
    for _ in range(3):
        for k in range(0, 100, 20):
            closure = network(params, X[k : k + 20], Y[k : k + 20], 0.5)
            plain.step(closure=by_hand.sam(closure, params, **settings))
    clf = MLPClassifier(solver=make(optimizer), **common).fit(X, Y)
    for ours, theirs in zip((*clf.coefs_, *clf.intercepts_), params, strict=True):
        # 15 steps with another order of summation.
        np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-11)


DIGITS, LABELS = load_digits(return_X_y=True)
DIGITS = (DIGITS[:600] / 16).astype(np.float32)


@pytest.mark.parametrize(
    "solver",
    [
        SAM(Adam(lr=0.01)),
        SAM(SGD(lr=0.1, momentum=0.9)),
        SAM(Muon(lr=0.02)),
        ASAM(Adam(lr=0.01)),
        EMA(SAM(Clip(Adam(lr=0.01), norm=1.0)), decay=0.9),
        Cautious(AdamW(lr=0.01)),
        Cautious(Lion(lr=0.001)),
        Cautious(Muon(lr=0.02)),
        Centralize(Adam(lr=0.01)),
        AdaptiveClip(SGD(lr=0.5, momentum=0.9), clipping=0.05),
        GradientNoise(Adam(lr=0.01), eta=1e-4),
        Cautious(Centralize(GradientNoise(ScheduleFreeSGD(lr=1.0), eta=1e-4))),
    ],
    ids=repr,
)
def test_digits_are_learned_the_same_for_any_number_of_threads(solver):
    settings = {"hidden_layer_sizes": (40,), "max_iter": 20, "random_state": 0, "solver": solver}
    scores = []
    for n_jobs in (1, 2):
        clf = MLPClassifier(batch_size=50, n_jobs=n_jobs, **settings).fit(DIGITS, LABELS[:600])
        scores.append([*clf.loss_curve_, clf.score(DIGITS, LABELS[:600])])
    assert scores[0] == scores[1]
    # Adam alone knows all of the rows that it was trained on; Lion at this rate 98 %.
    assert scores[0][-1] > 0.97
