"""State in 16 and 8 bits: the codes, their rounding, and the optimizers that keep them."""

import pickle
import warnings

import numpy as np
import pytest
from numba import njit
from reference.peers import needs_torch, torch
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

import fastopt
from fastopt.kernels import quantization
from fastopt.optimizers.base import OPTIMIZERS, MomentOptimizer
from fastopt.rules import randomness
from fastopt.rules.quantized_state import step_key

STATE_DTYPES = ("bfloat16", "int8")
UNSIGNED = ("exp_avg_sq", "max_exp_avg_sq", "exp_avg_var", "exp_inf", "square_avg")


def settings():
    """Return an optimizer of every rule that keeps moments, as functions of ``state_dtype``."""
    more = {
        "sgd": [{"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}],
        "adam": [{}, {"amsgrad": True}, {"eps_root": 1e-8}],
        "rmsprop": [{}, {"momentum": 0.9}],
    }
    return [
        pytest.param(name, options, id=" ".join([name, *options]))
        for name, cls in sorted(OPTIMIZERS.items())
        if issubclass(cls, MomentOptimizer)
        for options in more.get(name, [{}])
    ]


def decode(state, name):
    """Return a slot of a saved state in float64, by the formulas in the documentation of the codes."""
    codes = state[name]
    if codes.dtype == np.uint16:
        return (codes.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    assert codes.dtype == np.uint8
    flat = codes.ravel().astype(np.int64)
    scales = np.repeat(state[f"{name}_scale"].astype(np.int64), 256)[: flat.size]
    is_unsigned = name in UNSIGNED
    first = 8 * scales - 8 * (31 if is_unsigned else 15)
    size = flat if is_unsigned else flat & 127
    numbers = [((part << 20).astype(np.uint32)).view(np.float32) for part in (size + first, first)]
    found = np.float64(numbers[0]) - np.float64(numbers[1])
    return np.where(flat > size, -found, found).reshape(codes.shape)


def bfloat16(x, random):
    return np.float32(
        [quantization.decode_bfloat16(quantization.encode_bfloat16(x, np.uint32(r))) for r in random]
    )


def eight_bits(x, largest, random, kind):
    scale = quantization.scale_of(quantization.magnitude(np.float32(largest)))
    low = np.int32(getattr(quantization, f"low_{kind}")(scale))
    encode, back = getattr(quantization, f"encode_{kind}"), getattr(quantization, f"decode_{kind}")
    code = np.int8 if kind == "signed" else np.uint8
    return np.float32([back(code(encode(np.float32(x), low, np.uint32(r))), low) for r in random])


@pytest.mark.parametrize("x", [1.0, -1.0, 0.3, -7e-30, 1.9999, 3e38, 0.0])
def test_bfloat16_is_a_neighbour_and_right_on_the_average(x):
    x = np.float32(x)
    found = bfloat16(x, range(65536))
    towards_zero = (x.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    step = np.spacing(np.abs(towards_zero), dtype=np.float32).astype(np.float64) * 65536
    assert set(np.abs(np.float64(found) - towards_zero)) <= {0.0, step}
    # Every random number once: the average is exact, up to the rounding of a mean of float64.
    assert np.float64(found).mean() == pytest.approx(np.float64(x), rel=1e-12)


@pytest.mark.parametrize("bits", [0x7F800000, 0xFF800000, 0x7FC00000, 0xFFC00000, 0x7FFFFFFF, 0xFFFFFFFF])
def test_infinity_and_any_nan_survive_in_both(bits):
    x = np.uint32(bits).view(np.float32)
    for found in (bfloat16(x, (0, 65535)), eight_bits(x, x, (0, (1 << 20) - 1), "signed")):
        assert (np.isnan(found) == np.isnan(x)).all()
        if np.isinf(x):
            assert (found == x).all() or np.isnan(found).all() or np.isinf(found).all()


@pytest.mark.parametrize("kind", ["signed", "unsigned"])
@pytest.mark.parametrize("share", [1.0, 0.7, 0.1, 1e-3, 3e-5, 1e-7])
@pytest.mark.parametrize("largest", [1.0, 1.874, 3e-9, 2e20])
def test_eight_bits_are_near_and_right_on_the_average(share, largest, kind):
    x = np.float32(share * largest)
    found = np.float64(eight_bits(x, largest, range(8, 1 << 20, 64), kind))
    # Three bits of mantissa: a step is at most an eighth; near 0 it is that of the lowest binade.
    binades = 16 if kind == "signed" else 32
    step = max(x / 8, largest * 2.0 ** -(binades + 1)) * 1.0001
    assert np.abs(found - x).max() <= step
    # A sample of equally spaced random numbers: right to a 16384th of a step.
    assert abs(found.mean() - x) <= step / 8192
    if kind == "signed":
        np.testing.assert_array_equal(found, -eight_bits(-x, largest, range(8, 1 << 20, 64), kind))


@pytest.mark.parametrize("kind", ["signed", "unsigned"])
def test_eight_bits_keep_zero_and_an_unsigned_code_of_more_is_more(kind):
    assert (eight_bits(0.0, 1.0, (0, 77, (1 << 20) - 1), kind) == 0).all()
    if kind == "unsigned":
        assert (eight_bits(1e-30, 1.0, (0, 77, (1 << 20) - 1), kind) > 0).all()


@njit
def random_words(n, key):
    words, counter = np.empty(n, np.uint32), quantization.counter_at(0, key)
    for i in range(n):
        words[i] = quantization.mix(counter)
        counter = quantization.count(counter)
    return words


def test_the_hash_is_that_of_the_rules():
    x = np.random.default_rng(0).integers(0, 2**32, 1000, np.uint32)
    np.testing.assert_array_equal(njit(lambda x: [quantization.mix(one) for one in x])(x), randomness.mix(x))


def test_the_random_numbers_are_uniform_and_unrelated():
    n = 1 << 16
    rows = []
    for t in (1, 2, 3, 1000, 1001):
        words = random_words(n, np.uint32(step_key(t) << 8))
        rows += [words & 0xFFFF, words >> 16]
    rows = np.float64(rows)
    for row in rows:
        counts = np.histogram(row, 64, (0, 65536))[0]
        # Chi-square with 63 degrees of freedom: mean 63, deviation 11.2; five of those.
        assert abs(((counts - n / 64) ** 2 / (n / 64)).sum() - 63) < 56
    correlation = np.corrcoef(rows) - np.eye(len(rows))
    assert np.abs(correlation).max() < 5 / np.sqrt(n)  # five deviations of a correlation of n pairs
    for lag in (1, 2, 16, 256):
        assert max(abs(np.corrcoef(row[:-lag], row[lag:])[0, 1]) for row in rows) < 5 / np.sqrt(n)


@pytest.mark.parametrize("state_dtype", STATE_DTYPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "options"), settings())
def test_the_first_step_is_that_of_the_full_state_and_later_ones_stay_near(name, options, dtype, state_dtype):
    rng = np.random.default_rng(0)
    start = rng.standard_normal((37, 23)).astype(dtype)
    direction = rng.standard_normal((37, 23))
    full, few = start.copy(), start.copy()
    exact = fastopt.get_optimizer(name, **options).bind(full)
    stepper = fastopt.get_optimizer(name, state_dtype=state_dtype, **options).bind(few)
    for t in range(60):
        gradient = (direction + 0.3 * rng.standard_normal((37, 23))).astype(dtype)
        exact.step(gradient)
        stepper.step(gradient)
        if t == 0 and name != "yogi":  # whose state begins with a number that has to be rounded
            np.testing.assert_array_equal(few, full)
    moved = np.linalg.norm(full - start)
    # Unbiased errors of 2^-9 or 2^-4 of each moment average out over 60 steps.
    assert np.linalg.norm(few - full) < {"bfloat16": 0.01, "int8": 0.08}[state_dtype] * moved
    state, saved = exact.state_dict()["state"][0], stepper.state_dict()["state"][0]
    for slot in state:
        if np.ndim(state[slot]):
            error = np.linalg.norm(decode(saved, slot) - state[slot]) / np.linalg.norm(state[slot])
            assert error < {"bfloat16": 0.02, "int8": 0.2}[state_dtype], slot


@pytest.mark.parametrize("state_dtype", STATE_DTYPES)
def test_a_slow_average_moves_although_a_step_is_less_than_half_a_code(state_dtype):
    """With rounding to nearest, v at beta2 = 0.999 stands still; see shared/reference, 4.4."""
    n, steps = 4096, 400
    w = np.zeros(n, np.float32)
    stepper = fastopt.Adam(state_dtype=state_dtype).bind(w)
    # One element of each block stays large, so that the scale does not move with the others.
    large = np.arange(n) % 256 == 0
    for size in (1.0, 0.5):
        for _ in range(steps):
            stepper.step(np.where(large, 2.0, size).astype(np.float32))
    v = decode(stepper.state_dict()["state"][0], "exp_avg_sq")[~large]
    share = 0.999**steps
    expected = (1 - share) * share * 1.0 + (1 - share) * 0.25
    # The mean of 4080 averages, each with a deviation below a third of itself.
    assert v.mean() == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("state_dtype", STATE_DTYPES)
@pytest.mark.parametrize("name", ["adam", "lion", "momentum", "ademamix"])
def test_bits_do_not_depend_on_threads(name, state_dtype):
    rng = np.random.default_rng(1)
    start = rng.standard_normal(300_001).astype(np.float32)
    gradients = rng.standard_normal((3, start.size)).astype(np.float32)
    ends = []
    for n_threads in (1, 2):
        w = start.copy()
        stepper = fastopt.get_optimizer(name, state_dtype=state_dtype).bind(w, n_threads=n_threads)
        for gradient in gradients:
            stepper.step(gradient)
        ends.append((w, *(v for v in stepper.state_dict()["state"][0].values() if np.ndim(v))))
    for one, two in zip(*ends, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("state_dtype", STATE_DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (255,), (256,), (257,), (3, 200)])
def test_arrays_of_any_shape(shape, state_dtype):
    rng = np.random.default_rng(2)
    w, full = (np.array(np.ones(shape), np.float32, order="F") for _ in range(2))
    steppers = [fastopt.Adam(state_dtype=kept).bind(a) for a, kept in ((w, state_dtype), (full, None))]
    for _ in range(3):
        gradient = np.array(rng.standard_normal(shape), np.float32, order="F")
        for stepper in steppers:
            stepper.step(gradient)
    # Three steps of 1e-3; a moment is off by a sixteenth or less.
    np.testing.assert_allclose(w, full, rtol=0, atol=5e-4)
    saved = steppers[0].state_dict()["state"][0]
    assert saved["exp_avg"].shape == shape


@pytest.mark.parametrize(("state_dtype", "most"), [("bfloat16", 0.5), ("int8", 0.2511)])
def test_state_takes_half_and_a_quarter_of_the_memory(state_dtype, most):
    sizes = [
        fastopt.Adam(state_dtype=d).bind(np.zeros((512, 512), np.float32)).nbytes for d in (None, state_dtype)
    ]
    assert sizes[1] / sizes[0] <= most


@pytest.mark.parametrize("state_dtype", STATE_DTYPES)
@pytest.mark.parametrize("name", ["adam", "momentum"])
def test_a_saved_state_goes_on_with_the_same_bits(name, state_dtype):
    rng = np.random.default_rng(3)
    w = rng.standard_normal((40, 33)).astype(np.float32)
    gradients = rng.standard_normal((6, 40, 33)).astype(np.float32)
    optimizer = fastopt.get_optimizer(name, state_dtype=state_dtype)
    stepper = optimizer.bind(w)
    for gradient in gradients[:3]:
        stepper.step(gradient)
    other = w.copy()
    resumed = optimizer.bind(other)
    resumed.load_state_dict(pickle.loads(pickle.dumps(stepper.state_dict())))
    for gradient in gradients[3:]:
        stepper.step(gradient)
        resumed.step(gradient)
    np.testing.assert_array_equal(w, other)


def test_state_is_never_cast():
    w = np.ones(5, np.float32)
    saved = {}
    for state_dtype in (None, *STATE_DTYPES):
        stepper = fastopt.Adam(state_dtype=state_dtype).bind(w)
        stepper.step(np.ones(5, np.float32))
        saved[state_dtype] = stepper.state_dict()
    stepper = fastopt.Adam(state_dtype="int8").bind(w)
    with pytest.raises(ValueError, match=r"state_dtype='int8', not 'bfloat16': state is never cast"):
        stepper.load_state_dict(saved["bfloat16"])
    del saved[None]["param_groups"][0]["state_dtype"]  # as torch saves it
    with pytest.raises(ValueError, match="lacks"):
        stepper.load_state_dict(saved[None])
    with pytest.raises(
        TypeError, match=r"float32 but params\[0\] needs codes of uint16; state is never cast"
    ):
        fastopt.Adam(state_dtype="bfloat16").bind(w).load_state_dict(saved[None])
    stepper.param_groups[0]["state_dtype"] = None
    with pytest.raises(ValueError, match="bind an optimizer with that state_dtype"):
        stepper.step(np.ones(5, np.float32))


@needs_torch
@pytest.mark.parametrize("state_dtype", STATE_DTYPES)
def test_torch_parameters_get_torch_tensors(state_dtype):
    tensor = torch.nn.Parameter(torch.ones(300))
    stepper = fastopt.Adam(state_dtype=state_dtype).bind([tensor])
    stepper.step([torch.full((300,), 0.5)])
    state = stepper.state_dict()["state"][0]
    assert state["exp_avg"].dtype == {"bfloat16": torch.bfloat16, "int8": torch.uint8}[state_dtype]
    if state_dtype == "bfloat16":
        # A tenth of 0.5, to the step of bfloat16.
        torch.testing.assert_close(state["exp_avg"].float(), torch.full((300,), 0.05), rtol=2**-7, atol=0)
    again = fastopt.Adam(state_dtype=state_dtype).bind([tensor])
    again.load_state_dict(stepper.state_dict())
    for slot, value in again.state_dict()["state"][0].items():
        assert slot == "step" or torch.equal(value, state[slot])


@pytest.mark.parametrize(
    ("optimizer", "words"),
    [
        (fastopt.SGD(state_dtype="int8"), "'sgd' keeps no state: leave it out"),
        (fastopt.RMSprop(centered=True, state_dtype="int8"), "'rmsprop_centered' keeps .*'grad_avg'"),
        (fastopt.Adam(state_dtype="float16"), r"state_dtype must be None or 'bfloat16' or 'int8'"),
    ],
)
def test_what_cannot_be_reduced_is_refused(optimizer, words):
    with pytest.raises(ValueError, match=words):
        optimizer.bind(np.ones(3))


def test_optimizers_with_other_state_do_not_have_the_option():
    with pytest.raises(TypeError, match="state_dtype"):
        fastopt.Adagrad(state_dtype="int8")


def test_groups_may_differ_and_a_missing_gradient_leaves_its_parameter_alone():
    a, b, c = (np.ones(300, np.float32) for _ in range(3))
    stepper = fastopt.Adam().bind([{"params": [a], "state_dtype": "int8"}, {"params": [b]}])
    stepper.add_param_group({"params": c, "state_dtype": "bfloat16"})
    stepper.step([np.ones(300, np.float32), None, np.ones(300, np.float32)])
    np.testing.assert_allclose(a, 0.999, rtol=1e-6)  # a first step of Adam is lr, to the rounding of eps
    np.testing.assert_array_equal(c, a)
    assert (b == 1).all()
    assert set(stepper.state_dict()["state"]) == {0, 2}


@pytest.mark.parametrize("state_dtype", STATE_DTYPES)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_spoils_its_own_weight(bad, state_dtype):
    w = np.ones(600, np.float32)
    stepper = fastopt.Adam(state_dtype=state_dtype).bind(w)
    gradient = np.ones(600, np.float32)
    stepper.step(gradient)
    gradient[300] = bad
    for _ in range(3):
        stepper.step(gradient)
    assert np.isnan(w[300])
    assert np.isfinite(np.delete(w, 300)).all()
    # In 8 bits the others of its block lose their moments, and stand almost still; other blocks go on.
    assert (w[:256] < 0.9965).all()
    assert (w[512:] < 0.9965).all()


@pytest.mark.parametrize("state_dtype", STATE_DTYPES)
def test_an_initial_value_is_the_nearest_code(state_dtype):
    stepper = fastopt.Yogi(
        lr=0.0, initial_accumulator_value=3e-3, betas=(0.0, 0.0), state_dtype=state_dtype
    ).bind(np.ones(10, np.float32))
    slots = stepper.bound.params[0].slots
    names = ["exp_avg", "exp_avg_sq"] + ["exp_avg_scale", "exp_avg_sq_scale"] * (state_dtype == "int8")
    state = dict(zip(names, slots, strict=True))
    for name in names[:2]:  # half a step: 2^-9, or a sixteenth
        np.testing.assert_allclose(
            decode(state, name), 3e-3, rtol={"bfloat16": 2**-8, "int8": 1 / 15}[state_dtype]
        )


@pytest.mark.parametrize("state_dtype", STATE_DTYPES)
def test_a_rule_of_ones_own_with_moments_has_it_too(state_dtype):
    @fastopt.register(
        "own_moments", slots=("exp_avg",), constants=lambda h, t: (h["lr"],), defaults={"lr": 0.5}
    )
    def own_moments(w, g, m, lr):
        m = 0.5 * (m + g)
        return w - lr * m, m

    w = np.zeros(3)
    stepper = fastopt.get_optimizer("own_moments", state_dtype=state_dtype).bind(w)
    stepper.step(np.ones(3))
    np.testing.assert_array_equal(w, -0.25)
    assert decode(stepper.state_dict()["state"][0], "exp_avg") == pytest.approx(0.5, rel=2**-7)


@pytest.mark.parametrize("state_dtype", STATE_DTYPES)
@pytest.mark.parametrize("name", ["adam", "lion", "momentum"])
def test_a_network_learns_as_with_the_full_state(name, state_dtype):
    X, y = load_digits(return_X_y=True)
    X = X.astype(np.float32) / 16
    optimizer, losses = fastopt.get_optimizer(name), []
    for kept in (None, state_dtype):
        optimizer.set_params(lr={"adam": 1e-3, "lion": 1e-3, "momentum": 0.05}[name], state_dtype=kept)
        network = fastopt.MLPClassifier((40,), solver=optimizer, max_iter=8, batch_size=50, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            network.fit(X, y)
        losses.append(network.loss_curve_)
    # Other seeds change these losses by 3 to 10 %.
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.03)
    assert (pickle.loads(pickle.dumps(network)).predict(X) == y).mean() > 0.9
