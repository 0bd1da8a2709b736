"""Odd values, and what is expected of a call that gets one: it works, or it says what is wrong."""

import contextlib
import io
import math
import warnings
from decimal import Decimal
from fractions import Fraction

import numpy as np
import scipy.sparse
from hypothesis import strategies as st

import fastopt
from fastopt import schedules

#: Parts of sentences of Python, NumPy and Numba that a user cannot act on.
RAW = (
    "object has no attribute|unsupported operand|not supported between|object is not iterable|"
    "not subscriptable|must be real number|only length-1|only 0-dim|only size-1|cannot convert float|"
    "can't convert complex|truth value of an|unhashable type|is not callable|not enough values|"
    "too many values|out of bounds|"
    "list index|Failed in|too large to convert|math domain|ufunc '|cannot be interpreted as an integer|"
    "an integer is required|maximum recursion|bad operand type|not a valid|"
    "cannot be broadcast|could not be broadcast|operands could not|inhomogeneous|argument must be|"
    "int() argument|float() argument|invalid literal|Cannot interpret|data type '"
).split("|")


class Unusable(AssertionError):
    """An error without a usable message, or of a class that says nothing."""


def works_or_explains(call, *, raw=RAW, also=()):
    """Call a function; return its result, or None where it has refused in words.

    Parameters
    ----------
    call : callable
    raw : list of str
        Parts of messages that do not count as words.
    also : tuple of exceptions
        Allowed beside ValueError and TypeError.
    """
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return call()
    except (ValueError, TypeError, *also) as error:
        text = str(error)
        if len(text) < 12 or any(part in text for part in raw):
            raise Unusable(f"{type(error).__name__}: {text}") from error
    except MemoryError:  # an honest answer to a width of a million million
        pass
    except Exception as error:
        raise Unusable(f"{type(error).__name__}: {error}") from error
    return None


def same(a, b):
    """Tell whether two values are equal bit for bit, whatever they are."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        if a.dtype == object:
            return a.shape == b.shape and all(map(same, a.ravel(), b.ravel()))
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if scipy.sparse.issparse(a):
        return type(a) is type(b) and all(
            same(getattr(a, name), getattr(b, name))
            for name in ("data", "indices", "indptr")
            if hasattr(a, name)
        )
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)) and type(a) is type(b):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (math.isnan(a) and math.isnan(b))
    return a is b or type(a) is type(b)


#: Values for a number: some allowed, most not.
NUMBERS = st.sampled_from(
    [
        0.0, 0.5, 1, 2, -1, -0.5, 1e-300, 1e300, 1e-3, 10**400, -(10**400), math.nan, math.inf, -math.inf,
        True,
        False, None, "0.1", "", "auto", b"x", [], (), {}, (0.9,), (0.9, 0.99), [0.9, 0.999], (0.9, "a"),
        (0.5, 0.9, 0.99), (math.nan, 2.0), np.float32(0.1), np.int64(3), np.array(0.1), np.array([0.1, 0.2]),
        np.array(["a"]), 1 + 2j, Fraction(1, 3), Decimal("0.1"), object, object(), len, {"a": 1}, {0.1},
        2**63, 2**31, -(2**63), range(3), schedules.step(0.1, 3), schedules.cosine(1.0), fastopt.SGD(),
    ]
)  # fmt: skip


def _arrays():
    rng = np.random.default_rng(0)
    base = rng.normal(size=(4, 3))
    frozen = base.copy()
    frozen.flags.writeable = False
    return [
        base, base.astype("f"), np.asfortranarray(base), base[0], base[:0], np.zeros(()), np.zeros((2, 0, 3)),
        rng.normal(size=(2, 2, 2)), rng.normal(size=70).astype("f"), base[::2], base[:, 1:], base.T[1:],
        frozen,
        base.astype(int), base.astype(bool), base.astype(complex), base.astype("f2"), base.astype(">f8"),
        base.astype(object), base.astype("U8"), base.astype("g"), np.ma.masked_array(base), base.tolist(),
        np.zeros(3, "M8[s]"), np.array([{}, None]), np.full((4, 3), np.nan), np.full((4, 3), np.inf),
        base * 1e300,
        None, 1.0, 3, "abc", [], [base], (), object(), scipy.sparse.csr_array(base), np.matrix(base),
        b"bytes",
        np.recarray((2,), dtype=[("a", float)]), memoryview(base), [None, base], {"a": base}, iter([1.0]),
    ]  # fmt: skip


#: Things to bind, or to give as gradients.
ARRAYS = st.integers(0, len(_arrays()) - 1).map(lambda i: _arrays()[i])
