"""The error function and its complement as branch-free arithmetic that LLVM vectorises.

For x >= 0, erfc(x) = e**(-x**2) w P(w) with w = 1 / (1 + 0.3 x), where w P(w) is the scaled complement, which
varies so slowly that a polynomial has it. Coefficients: Chebyshev's expansion for x in [0, 10] (float32) and
[0, 27] (float64), beyond which erfc(x) is no normal number, by mpmath 1.3 with 50 digits; what is left out
adds up to 1.5e-8 and 4e-17. Near 0, erf is its Taylor series.
"""

import math

import numpy as np
from numba import njit

from fastopt.engine.cpu.vector_math import INLINED_JIT, exp, of_either_precision

#: Where Taylor's series takes over: from there on 1 - erfc(x) loses no digits.
_NEAR = 0.5


def _make_scaled(real, end, slope, factor, coefficients):
    """Build ``factor`` times the scaled complement of ``slope / 0.3`` times a number that is not negative.

    The polynomial's variable runs from -1 to 1 for results up to ``end``.
    """
    one, slope = real(1), real(slope)
    last = 1 / (1 + 0.3 * end)
    scale, shift = real(2 / (1 - last)), real((1 + last) / (1 - last))
    # Every third power by itself, because LLVM unrolls no loop over twenty constants.
    parts = (tuple(real(factor * c) for c in coefficients[i::3]) for i in range(3))
    (lead0, *rest0), (lead1, *rest1), (lead2, *rest2) = parts
    rest0, rest1, rest2 = tuple(rest0), tuple(rest1), tuple(rest2)

    @njit(**INLINED_JIT)
    def scaled(x):
        w = one / (one + slope * x)
        t = w * scale - shift
        cube, sum0, sum1, sum2 = t * t * t, lead0, lead1, lead2
        for c in rest0:  # tuples of constants: unrolled
            sum0 = sum0 * cube + c
        for c in rest1:
            sum1 = sum1 * cube + c
        for c in rest2:
            sum2 = sum2 * cube + c
        return ((sum0 * t + sum1) * t + sum2) * w

    return scaled


#: Type, end and coefficients of the polynomial.
_SINGLE = (
    np.float32, 10.0,
    (-5.036517914e-05, -1.68852499e-04, 5.428231319e-04, 6.221532749e-03, 2.730999647e-02,
     8.004736917e-02, 1.758464369e-01, 3.016179561e-01, 4.086330882e-01),
)  # fmt: skip
_DOUBLE = (
    np.float64, 27.0,
    (-2.109730002464788e-10, 3.6453862118078215e-10, 2.4550701118087422e-09, -5.5103481775948936e-09,
     -1.8605605045319616e-08, 5.5097958736303574e-08, 1.4202921861263469e-07, -4.8810529507185103e-07,
     -1.3595962962993133e-06, 3.9517331575088818e-06, 1.6662935274596882e-05, -2.0745953104902387e-05,
     -2.2279002826123813e-04, -2.8567889466606599e-04, 2.0106647943759952e-03, 1.2957388132061827e-02,
     4.3280086390592491e-02, 1.0319960243673684e-01, 1.919941700544463e-01, 2.8913460434254545e-01,
     3.5793375613857276e-01),
)  # fmt: skip


def _make_erfc(real, end, coefficients):
    zero, two, scaled = real(0), real(2), _make_scaled(real, end, 0.3, 1.0, coefficients)

    @njit(**INLINED_JIT)
    def erfc(x):
        tail = exp(-(x * x)) * scaled(abs(x))
        return tail if x >= zero else two - tail

    return erfc


def _make_normal_tail(real, end, coefficients):
    half, scaled = real(0.5), _make_scaled(real, end, 0.3 * math.sqrt(0.5), 0.5, coefficients)

    @njit(**INLINED_JIT)
    def normal_tail(x):
        return exp(-half * (x * x)) * scaled(x)

    return normal_tail


#: 1 - erf(x). Where it is small, the rounding of x**2 shows: by x**2 units in the last place at most.
erfc = of_either_precision("erfc", _make_erfc(*_SINGLE), _make_erfc(*_DOUBLE))
#: The probability of a normal number beyond x, which is not negative: erfc(x / sqrt(2)) / 2.
normal_tail = of_either_precision("normal_tail", _make_normal_tail(*_SINGLE), _make_normal_tail(*_DOUBLE))


def _make_erf(real, n_terms):
    one, near = real(1), real(_NEAR)
    series = [2 / math.sqrt(math.pi) * (-1) ** k / (math.factorial(k) * (2 * k + 1)) for k in range(n_terms)]
    lead, *rest = (real(c) for c in reversed(series))
    rest = tuple(rest)

    @njit(**INLINED_JIT)
    def erf(x):
        square, series = x * x, lead
        for c in rest:
            series = series * square + c
        far = one - erfc(abs(x))
        far = far if x > 0 else -far
        return x * series if abs(x) < near else far

    return erf


#: The error function.
erf = of_either_precision("erf", _make_erf(np.float32, 7), _make_erf(np.float64, 13))
