"""Every wrapper around optimizers of every kind, against its mathematics in NumPy around a plain stepper."""

import numpy as np
import pytest
from reference import wrapper_oracles as by_hand
from reference.problems import distance

import fastopt
from fastopt import (
    EMA,
    LAMB,
    SGD,
    SWA,
    Adam,
    AdamW,
    AdaptiveClip,
    Cautious,
    Centralize,
    Clip,
    GradientNoise,
    Lion,
    Lookahead,
    MaxNorm,
    Mechanic,
    MultiSteps,
    Muon,
    ScheduleFreeSGD,
    SkipNonFinite,
)

# As the parity tests of single optimizers: float64 roundings of some steps.
ROUNDING = 1e-12

# Muon goes through products of matrices and Mechanic by ratios of sums, which enlarge roundings.
TOLERANCES = {"muon": 1e-10, "mechanic": 1e-10}

#: Rules that see one weight at a time, with and without state; some that look at whole arrays, alone and
#: beside others; one with modes; one that steps another optimizer.
OPTIMIZERS = {
    "adam": Adam(lr=0.1),
    "sgd": SGD(lr=0.1),
    "momentum": SGD(lr=0.1, momentum=0.9),
    "lion": Lion(lr=0.01),
    "schedulefree": ScheduleFreeSGD(lr=0.1),
    "lamb": LAMB(lr=0.01),
    "muon": Muon(lr=0.02, weight_decay=0.0),
    "mechanic": Mechanic(base="sgd", lr=0.1),
}

#: The wrapper and its oracle.
WRAPPERS = {
    "Clip": (
        lambda o: Clip(o, norm=2.0, value=0.5, tensor_norm=1.5),
        lambda step, params: by_hand.clip(step, params, norm=2.0, value=0.5, tensor_norm=1.5),
    ),
    "AdaptiveClip": (lambda o: AdaptiveClip(o, clipping=0.1), lambda *a: by_hand.adaptive_clip(*a, 0.1)),
    "AdaptiveClip oi": (
        lambda o: AdaptiveClip(o, clipping=0.1, eps=0.5, layout="oi"),
        lambda *a: by_hand.adaptive_clip(*a, 0.1, 0.5, "oi"),
    ),
    "Centralize": (Centralize, by_hand.centralize),
    "Centralize oi": (lambda o: Centralize(o, layout="oi"), lambda *a: by_hand.centralize(*a, "oi")),
    "GradientNoise": (lambda o: GradientNoise(o, eta=0.3, seed=7), lambda *a: by_hand.noise(*a, 0.3, seed=7)),
    "SkipNonFinite": (SkipNonFinite, by_hand.skip_non_finite),
    "MultiSteps": (lambda o: MultiSteps(o, n=3), lambda *a: by_hand.multi_steps(*a, 3)),
    "Lookahead": (lambda o: Lookahead(o, k=2, alpha=0.3), lambda *a: by_hand.lookahead(*a, 2, 0.3)),
    "MaxNorm": (lambda o: MaxNorm(o, 1.5), lambda *a: by_hand.max_norm(*a, 1.5)),
    "MaxNorm oi": (lambda o: MaxNorm(o, 1.5, "oi"), lambda *a: by_hand.max_norm(*a, 1.5, "oi")),
    "Cautious": (Cautious, by_hand.cautious),
    "Cautious, not scaled": (lambda o: Cautious(o, scale=False), lambda *a: by_hand.cautious(*a, False)),
    "many": (
        lambda o: Lookahead(
            Centralize(AdaptiveClip(Clip(GradientNoise(Cautious(o), eta=0.1), norm=1.0), layout="oi")), k=3
        ),
        lambda step, params: by_hand.lookahead(
            by_hand.centralize(
                by_hand.adaptive_clip(
                    by_hand.clip(
                        by_hand.noise(by_hand.cautious(step, params), params, 0.1), params, norm=1.0
                    ),
                    params,
                    layout="oi",
                ),
                params,
            ),
            params,
            3,
        ),
    ),
}

SHAPES = (
    ((6, 5), "C"),
    ((5, 4), "F"),
    ((67,), "C"),
    ((), "C"),
    ((2, 3, 4), "C"),
    ((3, 2, 2), "F"),
    ((1, 9), "C"),
)


def problem(n_steps=12, shapes=SHAPES, dtype=np.float64, none=()):
    """Return arrays in both memory orders, and their gradients; steps in ``none`` leave out the third."""
    rng = np.random.default_rng(3)

    def draw():
        return [np.asarray(rng.normal(size=shape), dtype, order=order) for shape, order in shapes]

    params, steps = draw(), [draw() for _ in range(n_steps)]
    for t in none:
        steps[t][2] = None
    return params, steps


def compare(wrapped, oracle, optimizer, none=(), tolerance=ROUNDING):
    """Check that a wrapped optimizer does what the oracle does around the plain one."""
    params, steps = problem(none=none)
    expected = [p.copy(order="K") for p in params]
    step = oracle(optimizer.bind(expected).step, expected)
    stepper = wrapped.bind(params)
    for grads in steps:
        stepper.step(grads)
        step(grads)
    assert distance(params, expected) < tolerance
    return stepper


@pytest.mark.parametrize("of", OPTIMIZERS)
@pytest.mark.parametrize("name", WRAPPERS)
def test_a_wrapper_does_what_is_written_out_around_the_plain_optimizer(name, of):
    make, oracle = WRAPPERS[name]
    # Lion goes by signs, Muon through products of matrices, Mechanic by ratios of sums: from roundings of
    # gradients of order 1 come differences of some hundred roundings.
    compare(
        make(OPTIMIZERS[of]),
        oracle,
        OPTIMIZERS[of],
        tolerance=TOLERANCES.get(of, ROUNDING),
    )


@pytest.mark.parametrize("name", [name for name in WRAPPERS if name != "MultiSteps"])
@pytest.mark.parametrize("of", ["adam", "lamb"])
def test_a_parameter_without_gradient_takes_no_step(name, of):
    make, oracle = WRAPPERS[name]
    compare(make(OPTIMIZERS[of]), oracle, OPTIMIZERS[of], none=(0, 4, 5))


@pytest.mark.parametrize("of", OPTIMIZERS)
@pytest.mark.parametrize(
    ("make", "oracle"),
    [(lambda o: EMA(o, decay=0.8), lambda *a: by_hand.ema(*a, 0.8)), (SWA, by_hand.swa)],
    ids=["EMA", "SWA"],
)
def test_the_average_is_that_of_the_weights(make, oracle, of):
    averages = []
    stepper = compare(
        make(OPTIMIZERS[of]),
        lambda step, params: oracle(step, params, averages),
        OPTIMIZERS[of],
        none=(3,),
        tolerance=TOLERANCES.get(of, ROUNDING),
    )
    stepper.eval()
    assert distance([p.array for p in stepper.bound.params], averages) < 1e-10


def test_averages_and_slow_weights_nest_in_their_order():
    averages = []
    compare(
        EMA(Lookahead(Adam(lr=0.1), k=2), decay=0.5),
        lambda step, params: by_hand.ema(by_hand.lookahead(step, params, 2), params, averages, 0.5),
        Adam(lr=0.1),
    )
    inside = []
    stepper = compare(
        Lookahead(EMA(Adam(lr=0.1), decay=0.5), k=2),
        lambda step, params: by_hand.lookahead(by_hand.ema(step, params, inside, 0.5), params, 2),
        Adam(lr=0.1),
    )
    stepper.eval()
    assert distance([p.array for p in stepper.bound.params], inside) < ROUNDING
    assert distance(averages, inside) > 0.01


def test_an_average_counts_the_steps_that_are_made():
    averages = []
    stepper = compare(
        EMA(MultiSteps(Adam(lr=0.1), n=3), decay=0.5),
        lambda step, params: by_hand.multi_steps(by_hand.ema(step, params, averages, 0.5), params, 3),
        Adam(lr=0.1),
    )
    stepper.eval()
    assert distance([p.array for p in stepper.bound.params], averages) < ROUNDING


@pytest.mark.parametrize("of", ["adam", "lamb"])
@pytest.mark.parametrize("name", WRAPPERS)
def test_groups_have_their_own_hyper_parameters(name, of):
    make, oracle = WRAPPERS[name]
    params, steps = problem(8)
    expected = [p.copy(order="K") for p in params]

    def groups(arrays):
        return [{"params": arrays[:3], "lr": 0.01}, {"params": arrays[3:]}]

    step = oracle(OPTIMIZERS[of].bind(groups(expected)).step, expected)
    stepper = make(OPTIMIZERS[of]).bind(groups(params))
    for grads in steps:
        stepper.step(grads)
        step(grads)
    assert distance(params, expected) < ROUNDING


@pytest.mark.parametrize(
    ("optimizer", "how"),
    [
        (AdamW(lr=0.1, weight_decay=0.3), {"keep": 1 - 0.1 * 0.3}),
        (Adam(lr=0.1, weight_decay=0.3), {"l2": 0.3}),
        (SGD(lr=0.1, momentum=0.9, weight_decay=0.3, maximize=True), {"l2": 0.3, "sign": -1.0}),
    ],
    ids=["decoupled", "coupled", "maximize"],
)
@pytest.mark.parametrize("scale", [True, False])
def test_caution_spares_the_decoupled_decay_and_sees_the_coupled_one(optimizer, how, scale):
    compare(Cautious(optimizer, scale=scale), lambda *a: by_hand.cautious(*a, scale, **how), optimizer)


def test_the_least_share_of_a_cautious_step_is_a_thousandth():
    """10,000 weights with momentum, of which one goes on: 1 / 1e-3, not 10,000."""
    w, first = np.zeros(10_000), np.ones(10_000)
    stepper = Cautious(SGD(lr=1.0, momentum=0.5)).bind(w)
    stepper.step(first)
    second = -0.25 * first  # less than the momentum, so the step goes up although the gradient goes down
    second[0] = 1.0
    stepper.step(second)
    assert w[0] == -1.0 - 1000 * 1.5
    np.testing.assert_array_equal(w[1:], -1.0)


@pytest.mark.parametrize("of", ["adam", "lamb"])
@pytest.mark.parametrize("name", [name for name in WRAPPERS if name != "SkipNonFinite"])
def test_not_a_number_is_not_hidden(name, of):
    params, steps = problem(3)
    steps[1][0][2, 1] = np.nan
    stepper = WRAPPERS[name][0](OPTIMIZERS[of]).bind(params)
    with np.errstate(invalid="ignore"):
        for grads in steps:
            stepper.step(grads)
    assert np.isnan(params[0][2, 1])


@pytest.mark.parametrize("of", ["adam", "lamb", "muon"])
@pytest.mark.parametrize("name", WRAPPERS)
def test_arrays_without_elements_are_updated_too(name, of):
    shapes = (((0, 3), "C"), ((3, 0), "F"), ((0,), "C"))
    params, steps = problem(3, shapes)
    stepper = WRAPPERS[name][0](OPTIMIZERS[of]).bind([*params, np.ones(2)])
    for grads in steps:
        stepper.step([*grads, np.ones(2)])
    stepper = WRAPPERS[name][0](OPTIMIZERS[of]).bind(params)
    for grads in steps:
        stepper.step(grads)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", WRAPPERS)
def test_the_bits_depend_neither_on_threads_nor_on_how_memory_is_cut(name, dtype):
    shapes = (((700, 300), "C"), ((1000, 130), "F"), ((70_001,), "C"), ((3, 5), "C"))
    ends = []
    for n_threads in (1, 2):
        params, steps = problem(3, shapes, dtype)
        stepper = WRAPPERS[name][0](Adam(lr=0.1)).bind(params, n_threads=n_threads)
        for grads in steps:
            stepper.step(grads)
        ends.append(params)
    for a, b in zip(*ends, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", [name for name in WRAPPERS if name != "GradientNoise"])
def test_rows_that_are_longer_than_a_chunk_are_the_same_rows(name):
    make, oracle = WRAPPERS[name]
    params, steps = problem(3, (((3, 1300), "C"), ((1100, 2), "F"), ((520, 3), "C"), ((2, 513), "C")))
    expected = [p.copy(order="K") for p in params]
    step = oracle(Adam(lr=0.1).bind(expected).step, expected)
    stepper = make(Adam(lr=0.1)).bind(params)
    for grads in steps:
        stepper.step(grads)
        step(grads)
    assert distance(params, expected) < ROUNDING


@pytest.mark.parametrize("state_dtype", ["bfloat16", "int8"])
@pytest.mark.parametrize("name", WRAPPERS)
def test_state_in_fewer_bits_is_stepped_as_without_the_wrapper(name, state_dtype):
    """The codes of a block share a scale: they come out otherwise if a chunk ends within it."""
    make, oracle = WRAPPERS[name]
    shapes = (((70, 33), "C"), ((1001, 3), "F"), ((5, 700), "C"), ((1000,), "C"), ((), "C"))
    optimizer = Adam(lr=0.1, state_dtype=state_dtype)
    params, steps = problem(6, shapes)
    expected = [p.copy(order="K") for p in params]
    step = oracle(optimizer.bind(expected).step, expected)
    stepper = make(optimizer).bind(params)
    for grads in steps:
        stepper.step(grads)
        step(grads)
    # A gradient that is one rounding off may tip a code over to the next, which moves one weight visibly.
    wrong = [abs(a - b) > 1e-9 for a, b in zip(params, expected, strict=True)]
    assert np.mean(np.concatenate([w.ravel() for w in wrong])) < 1e-3


@pytest.mark.parametrize("name", WRAPPERS)
def test_float32_is_float64_up_to_its_roundings(name):
    ends = []
    for dtype in (np.float32, np.float64):
        params, steps = problem(5, dtype=np.float32)
        params, *steps = [[a.astype(dtype) for a in arrays] for arrays in (params, *steps)]
        stepper = WRAPPERS[name][0](SGD(lr=0.1, momentum=0.9)).bind(params)
        for grads in steps:
            stepper.step(grads)
        ends.append(params)
    # Five steps with weights of order 1, and cautious steps up to ten times longer.
    assert distance(*ends) < 1e-5


def test_one_reading_of_the_gradients_serves_all_that_need_their_norms(monkeypatch):
    params, steps = problem(2)
    stepper = SkipNonFinite(Clip(Clip(Adam(), tensor_norm=1.0), norm=1.0)).bind(params)
    runs = []
    reduce = type(stepper.fused).reduce
    monkeypatch.setattr(type(stepper.fused), "reduce", lambda *a, **k: runs.append(1) or reduce(*a, **k))
    stepper.step(steps[0])
    assert len(runs) == 1


def test_a_closure_is_fused_as_gradients_are(monkeypatch):
    params, steps = problem(2)
    stepper = EMA(Lookahead(Adam(), k=1)).bind(params)
    apart = []
    monkeypatch.setattr(type(stepper.fused), "finish", lambda self, request: apart.append(len(request.after)))
    stepper.step(closure=lambda: (1.0, steps[0]))
    stepper.step(steps[1])
    assert apart == [0, 0]


def test_norms_are_read_again_once_the_gradients_have_changed():
    compare(
        SkipNonFinite(Clip(Centralize(Clip(Adam(lr=0.1), norm=0.5)), value=0.3, norm=3.0)),
        lambda step, params: by_hand.clip(
            by_hand.centralize(by_hand.clip(step, params, norm=0.5), params), params, value=0.3, norm=3.0
        ),
        Adam(lr=0.1),
    )


def test_a_refused_step_leaves_no_trace():
    params, steps = problem(4)
    stepper = EMA(Lookahead(GradientNoise(Clip(Adam(lr=0.1), norm=1.0)), k=1)).bind(params)
    stepper.step(steps[0])
    kept = [p.copy() for p in params]
    with pytest.raises(ValueError, match="has shape"):
        stepper.step([np.ones((2, 2)), *steps[1][1:]])
    with pytest.raises(TypeError, match="needs gradients or a closure"):
        stepper.step()
    with pytest.raises(TypeError, match="grad_scale must be a number"):
        stepper.step(steps[1], grad_scale="2")
    stepper.param_groups[0]["lr"] = -1.0
    with pytest.raises(ValueError, match="lr"):
        stepper.step(steps[1])
    stepper.param_groups[0]["lr"] = 0.1
    for a, b in zip(params, kept, strict=True):
        np.testing.assert_array_equal(a, b)
    other, steps = problem(4)
    fresh = EMA(Lookahead(GradientNoise(Clip(Adam(lr=0.1), norm=1.0)), k=1)).bind(other)
    for grads in steps[:2]:
        fresh.step(grads)
    stepper.step(steps[1])
    for a, b in zip(params, other, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_changed_rule_and_a_loaded_state_are_what_is_stepped():
    """Momentum that is switched on brings other kernels, and loading a state other slots."""
    optimizer, wrapped = SGD(lr=0.1), Clip(SGD(lr=0.1), value=0.3)
    params, steps = problem(9)
    expected = [p.copy(order="K") for p in params]
    plain, stepper = optimizer.bind(expected), wrapped.bind(params)
    step = by_hand.clip(plain.step, expected, value=0.3)
    for t, grads in enumerate(steps):
        if t == 3:
            plain.param_groups[0]["momentum"] = stepper.param_groups[0]["momentum"] = 0.9
        if t == 6:
            stepper.load_state_dict(stepper.state_dict())
        stepper.step(grads)
        step(grads)
    assert distance(params, expected) < ROUNDING


def test_noise_has_its_variance_and_is_another_each_time():
    n = 40_000
    a, b, c = (np.zeros(n) for _ in range(3))
    stepper = GradientNoise(SGD(lr=1.0), eta=0.3, gamma=0.55).bind([a, b])
    other = GradientNoise(SGD(lr=1.0), eta=0.3, gamma=0.55, seed=1).bind([c])
    zeros, last = np.zeros(n), np.zeros(n)
    for t in range(3):
        stepper.step([zeros, zeros])
        other.step([zeros])
        drawn, last = a - last, a.copy()
        # The variance of n draws is off by sqrt(2 / n) = 0.7 %, the mean by 1 / sqrt(n) of it; four each.
        assert drawn.var() == pytest.approx(0.3 / (1 + t) ** 0.55, rel=0.03)
        assert abs(drawn.mean()) < 4 * (0.3 / n) ** 0.5
    for one, two in ((a, b), (a, c)):
        assert abs(np.corrcoef(one, two)[0, 1]) < 4 / n**0.5


@pytest.mark.parametrize("make", [AdaptiveClip, Centralize, Cautious, GradientNoise])
def test_rows_of_gradients_are_refused(make):
    stepper = make(fastopt.SparseAdam()).bind(np.ones((4, 2)))
    with pytest.raises(TypeError, match="needs whole gradients"):
        stepper.step([(np.array([1]), np.ones((1, 2)))])


@pytest.mark.parametrize(
    ("wrapper", "words"),
    [
        (
            AdaptiveClip(Adam(), clipping=0.0),
            r"AdaptiveClip\(clipping=0.0\): clipping must be a finite number > 0",
        ),
        (AdaptiveClip(Adam(), layout="hwio"), "layout must be 'io' or 'oi'"),
        (Centralize(Adam(), layout=None), "layout must be 'io' or 'oi'"),
        (GradientNoise(Adam(), seed=2**32), "seed must be a whole number in"),
        (GradientNoise(Adam(), eta=-1.0), "eta must be a finite number >= 0"),
        (Cautious(Adam(), scale=1), "scale must be True or False"),
        (Centralize(fastopt.LBFGS()), "Centralize works on gradients, but LBFGS takes a closure"),
    ],
)
def test_a_value_out_of_range_is_refused(wrapper, words):
    with pytest.raises((TypeError, ValueError), match=words):
        wrapper.bind(np.ones((2, 2)))
