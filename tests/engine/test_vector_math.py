"""Functions of `math` that vectorise, and the logistic function compiled from its plain form.

Against NumPy in a wider type, and the error function against mpmath's digits.
"""

import re

import numpy as np
import pytest
from numba import njit
from reference.control_register import flushing, needs_register

from fastopt.engine.cpu.compiled_math import IN_PLACE_OF
from fastopt.engine.cpu.vector_erf import erf, erfc, normal_tail
from fastopt.engine.cpu.vector_math import ENGINE_JIT, INNER_JIT, bounded_exp, exp, expm1, log, log1p, tanh
from fastopt.engine.cpu.vector_trigonometry import cos, sin
from fastopt.kernels import subnormals
from fastopt.kernels.binding import compile_scalar
from fastopt.rules import activation_functions

DTYPES = [np.float32, np.float64]


def over_arrays(function):
    @njit(**ENGINE_JIT)
    def apply(x, out):
        for i in range(x.shape[0]):
            out[i] = function(x[i])

    return apply


def logistic_over_arrays():
    """Return the logistic function for either type, as the engine compiles it."""
    by_type = {
        real: over_arrays(compile_scalar(activation_functions.logistic, real, INNER_JIT, IN_PLACE_OF))
        for real in DTYPES
    }
    return lambda x, out: by_type[x.dtype.type](x, out)


COMPILED = {
    "exp": over_arrays(exp),
    "bounded_exp": over_arrays(bounded_exp),
    "log": over_arrays(log),
    "tanh": over_arrays(tanh),
    "expm1": over_arrays(expm1),
    "log1p": over_arrays(log1p),
    "sin": over_arrays(sin),
    "cos": over_arrays(cos),
    "erf": over_arrays(erf),
    "erfc": over_arrays(erfc),
    "normal_tail": over_arrays(normal_tail),
    "logistic": logistic_over_arrays(),
}
WIDE = {
    "exp": np.exp,
    "bounded_exp": np.exp,
    "log": np.log,
    "tanh": np.tanh,
    "expm1": np.expm1,
    "log1p": np.log1p,
    "sin": np.sin,
    "cos": np.cos,
    "logistic": lambda x: 1 / (1 + np.exp(-x)),
}


def call(name, values, dtype):
    x = np.asarray(values, dtype)
    out = np.full_like(x, -7)  # a value that none of them returns
    COMPILED[name](x, out)
    return out


def errors_in_ulp(name, x):
    wide = WIDE[name](x.astype(np.float64 if x.dtype == np.float32 else np.longdouble))
    return np.abs((call(name, x, x.dtype) - wide) / np.spacing(np.abs(wide).astype(x.dtype))).astype(float)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("exp", -87, 88),
        ("bounded_exp", -87, 87),
        ("tanh", -20, 20),
        ("logistic", -80, 40),
        ("expm1", -50, 80),
        ("log1p", -0.9, 1e6),
        ("sin", -1e5, 1e5),
        ("cos", -1e5, 1e5),
    ],
)
def test_errors_stay_within_a_few_units_in_the_last_place(name, low, high, dtype):
    rs = np.random.RandomState(0)
    x = np.concatenate([rs.uniform(low, high, 100_000), rs.uniform(-1, 1, 100_000)]).astype(dtype)
    x = x[x > -0.9] if name == "log1p" else x
    # The modules promise 2; a quotient of exponentials may round once or twice more.
    assert errors_in_ulp(name, x).max() <= (3 if name in ("tanh", "logistic") else 2)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["expm1", "log1p", "sin"])
def test_what_is_near_zero_keeps_its_relative_accuracy(name, dtype):
    x = np.logspace(-30, -1, 1000).astype(dtype)
    assert errors_in_ulp(name, np.concatenate([x, -x])).max() <= 2


@pytest.mark.parametrize("dtype", DTYPES)
def test_sines_of_whole_quarter_turns_are_what_rounding_the_angle_left(dtype):
    x = (np.arange(-40_000, 40_000) * (np.pi / 2)).astype(dtype)
    # Within 1e-7 or 1e-11 of a zero: all of it has to come from the digits of pi / 2 beyond the first part.
    assert max(errors_in_ulp("sin", x).max(), errors_in_ulp("cos", x).max()) <= 2


@pytest.mark.parametrize("dtype", DTYPES)
def test_angles_further_apart_than_quarter_turns_count_as_zero(dtype):
    x = np.array([2.0**51, -1e30, np.finfo(dtype).max], dtype)
    np.testing.assert_array_equal(call("sin", x, dtype), 0)
    np.testing.assert_array_equal(call("cos", x, dtype), 1)
    assert np.isnan([call(name, [np.inf, -np.inf], dtype) for name in ("sin", "cos")]).all()


#: (x, erf(x), erfc(x)) by mpmath 1.3.0: ``mp.dps = 30; nstr(erf(mpf(x)), 20)``.
ERROR_FUNCTION = np.array([
    (0.0009765625, 0.0011019324300718147042, 0.9988980675699281853),
    (0.125, 0.14031620480133381739, 0.85968379519866618261),
    (0.375, 0.40411690943482229832, 0.59588309056517770168),
    (0.4375, 0.46389813574993297302, 0.53610186425006702698),
    (0.53125, 0.54752844539954463766, 0.45247155460045536234),
    (0.75, 0.7111556336535151316, 0.2888443663464848684),
    (1.0, 0.84270079294971486934, 0.15729920705028513066),
    (1.5, 0.96610514647531072707, 0.033894853524689272933),
    (2.25, 0.9985372834133188483, 0.0014627165866811516979),
    (3.0, 0.99997790950300141456, 0.000022090496998585441373),
    (4.5, 0.99999999980338395585, 1.9661604415428874763e-10),
    (6.0, 0.99999999999999997848, 2.1519736712498913117e-17),
    (8.75, 1.0, 3.5971157286470720157e-35),
    (12.5, 1.0, 6.2319427819799110061e-70),
    (20.25, 1.0, 2.2729564178807836709e-180),
    (26.0, 1.0, 5.6631924088561428465e-296),
])  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_error_function_is_mpmaths(dtype):
    x, ours, rest = ERROR_FUNCTION.T
    assert (x.astype(dtype) == x).all()
    eps = np.finfo(dtype).eps
    signs = np.concatenate([x, -x])
    np.testing.assert_allclose(call("erf", signs, dtype), np.concatenate([ours, -ours]), rtol=4 * eps, atol=0)
    np.testing.assert_allclose(call("erfc", -x, dtype), 1 + ours, rtol=4 * eps, atol=0)
    is_normal = rest > np.finfo(dtype).tiny
    off = np.abs(call("erfc", x, dtype) / rest - 1)[is_normal] / eps
    assert (off <= 4 + (x**2)[is_normal]).all()  # the rounding of the square
    assert (call("erfc", x, dtype)[~is_normal] <= np.finfo(dtype).tiny).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_normal_tail_is_half_the_complement(dtype):
    x = np.linspace(0, 12, 20_001).astype(dtype)
    wide = (x.astype(np.longdouble) * np.sqrt(np.longdouble(0.5))).astype(np.float64)
    expected = 0.5 * call("erfc", wide, np.float64)
    # The exponential takes the rounding of its argument, the expectation that of ``wide``.
    rtol = (4 + x.max() ** 2 / 2) * np.finfo(dtype).eps + 2 * x.max() ** 2 * np.finfo(np.float64).eps
    np.testing.assert_allclose(call("normal_tail", x, dtype), expected, rtol=rtol, atol=np.finfo(dtype).tiny)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_two_forms_of_the_error_function_meet(dtype):
    x = np.linspace(0.49, 0.51, 2001).astype(dtype)
    up = call("erf", x, dtype)
    np.testing.assert_array_equal(call("erf", -x, dtype), -up)
    assert (np.diff(up) >= -4 * np.spacing(up[:-1])).all()
    np.testing.assert_allclose(up + call("erfc", x, dtype), 1, rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_is_accurate_near_one_and_over_the_whole_normal_range(dtype):
    rs = np.random.RandomState(0)
    size = np.log10(np.finfo(dtype).max)
    x = np.concatenate([rs.uniform(0.5, 2, 100_000), 10 ** rs.uniform(-size + 2, size - 1, 100_000)])
    near_one = 1 + np.arange(-50, 50) * float(np.finfo(dtype).eps)
    assert errors_in_ulp("log", np.concatenate([x, near_one]).astype(dtype)).max() <= 2
    assert np.isnan(call("log", [np.nan], dtype)).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_tanh_keeps_its_relative_accuracy_near_zero(dtype):
    x = np.logspace(-30, -1, 1000).astype(dtype)
    assert errors_in_ulp("tanh", np.concatenate([x, -x])).max() <= 2


@pytest.mark.parametrize("dtype", DTYPES)
def test_tanh_is_odd_and_does_not_jump_where_its_two_forms_meet(dtype):
    x = np.linspace(0.62, 0.63, 2001).astype(dtype)
    up, down = call("tanh", x, dtype), call("tanh", -x, dtype)
    np.testing.assert_array_equal(up, -down)
    assert (np.diff(up) >= -2 * np.spacing(up[:-1])).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("name", "expected"), [("bounded_exp", [0, np.inf]), ("tanh", [-1, 1]), ("logistic", [0, 1])]
)
def test_infinities_saturate_at_the_ends_of_the_normal_range(name, expected, dtype):
    low, high = call(name, [-np.inf, np.inf], dtype)
    if name == "bounded_exp":  # clamped to the normal range, so that no loop ever meets a subnormal
        assert 0 < low < 10 * np.finfo(dtype).tiny
        assert np.finfo(dtype).max / 10 < high < np.inf
    else:
        np.testing.assert_allclose([low, high], expected, atol=10 * np.finfo(dtype).tiny, rtol=0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_overflows_to_infinity_and_underflows_to_zero(dtype):
    top = float(np.log(np.finfo(dtype).max))
    bottom = float(np.log(np.finfo(dtype).tiny))
    beyond = [top + 0.1, top + 10, 1e30, np.inf]
    np.testing.assert_array_equal(call("exp", beyond, dtype), np.inf)
    np.testing.assert_array_equal(call("exp", [bottom - 1, bottom - 10, -1e30, -np.inf], dtype), 0)
    # Up to sqrt(1/2) of the largest number: from there on the result is infinite, too.
    x = np.linspace(top - 5, top - 0.36, 1000).astype(dtype)
    assert errors_in_ulp("exp", x).max() <= 2
    x = np.linspace(bottom + 0.01, bottom + 5, 1000).astype(dtype)
    assert errors_in_ulp("exp", x).max() <= 2


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_of_zero_negative_infinite_and_subnormal_numbers_is_numpys(dtype):
    tiny = np.finfo(dtype).tiny
    ends = np.array([0.0, -0.0, np.inf, -1.0, -np.inf, -tiny, np.finfo(dtype).max, tiny], dtype)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(call("log", ends, dtype), np.log(ends), rtol=2 * np.finfo(dtype).eps)
    subnormal = (tiny * np.array([0.5, 0.3, 1e-3, float(np.finfo(dtype).eps)])).astype(dtype)
    assert errors_in_ulp("log", subnormal).max() <= 2


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", COMPILED)
def test_nan_passes_through(name, dtype):
    out = call(name, [0.5, np.nan, 0.25], dtype)
    np.testing.assert_array_equal(np.isnan(out), [False, True, False])


@pytest.mark.parametrize("name", sorted(COMPILED.keys() - {"logistic"}))
def test_float32_stays_float32_and_the_loop_is_vectorised(name):
    compiled = COMPILED[name]
    call(name, [0.0], np.float32)
    (ir,) = [text for signature, text in compiled.inspect_llvm().items() if "float32" in str(signature[0])]
    assert re.search(r"fmul (contract )?<\d+ x float>", ir)
    assert not re.search(r"f(mul|add|sub|div) (contract )?(<\d+ x )?double", ir)


def test_plain_python_is_told_where_exp_works():
    for function in (exp, bounded_exp, log, expm1, erf, erfc, normal_tail, sin, cos):
        with pytest.raises(NotImplementedError, match="compiled code only"):
            function(1.0)


@needs_register
@pytest.mark.skipif(not subnormals.HAS_MODE, reason="this processor has no such mode")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["exp", "bounded_exp", "tanh", "logistic", "log"])
def test_flushing_changes_subnormal_operands_and_results_alone(name, dtype):
    """2**k is made of bits, so exp has to say itself where its results end: as the mode does."""
    info = np.finfo(dtype)
    bottom = np.log(float(info.tiny))
    x = np.concatenate([np.linspace(bottom - 3, bottom + 3, 10_001), -np.logspace(-40, 3, 1000)])
    x = np.abs(x) if name == "log" else np.concatenate([x, -x])
    x = x.astype(dtype)
    x = x[np.abs(x) >= info.tiny]
    plain = call(name, x, dtype)
    with flushing():
        flushed = call(name, x, dtype)
    np.testing.assert_array_equal(flushed, np.where(np.abs(plain) < info.tiny, 0, plain))
    if name == "exp":  # zero below the smallest normal number, and only there
        exact = np.exp(x.astype(np.longdouble))
        assert (flushed[exact > info.tiny * (1 + 4 * info.eps)] > 0).all()
        assert (flushed[exact < info.tiny * (1 - 4 * info.eps)] == 0).all()
    if name == "log":
        with flushing():
            logarithms = call(name, np.array([info.tiny / 2, -info.tiny / 2], dtype), dtype)
        np.testing.assert_array_equal(logarithms, -np.inf)
