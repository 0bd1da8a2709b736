"""The loops over one chunk of one array: templates with free names, bound to a rule by ``kernels.cpu``.

Each slice is taken before the loop: an index that might be negative would keep LLVM from vectorising.
``rule``, ``n_constants``, ``prologue``, ``flush`` and ``tiny`` are bound;
slot ``k`` lies ``k * stride`` elements after the first.
"""

from numba import carray
from numba.np.unsafe.ndarray import to_fixed_tuple

#: Names to bind that do not depend on the rule.
NAMES = {"carray": carray, "to_fixed_tuple": to_fixed_tuple}


def prologue(w, g, c):
    """Scale or negate the gradient, add the coupled decay, apply the decoupled one."""
    g = c[0] * g
    if c[1]:  # absent, it must not turn an infinite weight into NaN
        g = g + c[1] * w
    return c[2] * w, g


def flush(x, tiny):
    """Return 0 for a slot below ``tiny``: decaying towards 0 it would become subnormal and stay so."""
    return 0.0 if abs(x) < tiny else x


def loop0(w, g, s, stride, c, lo, hi):
    """Update a stateless chunk."""
    w = carray(w, hi)[lo:]
    g = carray(g, hi)[lo:]
    head = to_fixed_tuple(carray(c, 3), 3)
    k = to_fixed_tuple(carray(c, 3 + n_constants)[3:], n_constants)
    for i in range(w.shape[0]):
        p, d = prologue(w[i], g[i], head)
        w[i] = rule(p, d, *k)


def loop1(w, g, s, stride, c, lo, hi):
    """Update a chunk with one slot."""
    w = carray(w, hi)[lo:]
    g = carray(g, hi)[lo:]
    s0 = carray(s, hi)[lo:]
    head = to_fixed_tuple(carray(c, 3), 3)
    k = to_fixed_tuple(carray(c, 3 + n_constants)[3:], n_constants)
    for i in range(w.shape[0]):
        p, d = prologue(w[i], g[i], head)
        w[i], x0 = rule(p, d, s0[i], *k)
        s0[i] = flush(x0, tiny)


def loop2(w, g, s, stride, c, lo, hi):
    """Update a chunk with two slots."""
    w = carray(w, hi)[lo:]
    g = carray(g, hi)[lo:]
    s = carray(s, stride + hi)
    s0 = s[lo:hi]
    s1 = s[stride + lo : stride + hi]
    head = to_fixed_tuple(carray(c, 3), 3)
    k = to_fixed_tuple(carray(c, 3 + n_constants)[3:], n_constants)
    for i in range(w.shape[0]):
        p, d = prologue(w[i], g[i], head)
        w[i], x0, x1 = rule(p, d, s0[i], s1[i], *k)
        s0[i] = flush(x0, tiny)
        s1[i] = flush(x1, tiny)


def loop3(w, g, s, stride, c, lo, hi):
    """Update a chunk with three slots."""
    w = carray(w, hi)[lo:]
    g = carray(g, hi)[lo:]
    s = carray(s, 2 * stride + hi)
    s0 = s[lo:hi]
    s1 = s[stride + lo : stride + hi]
    s2 = s[2 * stride + lo : 2 * stride + hi]
    head = to_fixed_tuple(carray(c, 3), 3)
    k = to_fixed_tuple(carray(c, 3 + n_constants)[3:], n_constants)
    for i in range(w.shape[0]):
        p, d = prologue(w[i], g[i], head)
        w[i], x0, x1, x2 = rule(p, d, s0[i], s1[i], s2[i], *k)
        s0[i] = flush(x0, tiny)
        s1[i] = flush(x1, tiny)
        s2[i] = flush(x2, tiny)


def loop4(w, g, s, stride, c, lo, hi):
    """Update a chunk with four slots."""
    w = carray(w, hi)[lo:]
    g = carray(g, hi)[lo:]
    s = carray(s, 3 * stride + hi)
    s0 = s[lo:hi]
    s1 = s[stride + lo : stride + hi]
    s2 = s[2 * stride + lo : 2 * stride + hi]
    s3 = s[3 * stride + lo : 3 * stride + hi]
    head = to_fixed_tuple(carray(c, 3), 3)
    k = to_fixed_tuple(carray(c, 3 + n_constants)[3:], n_constants)
    for i in range(w.shape[0]):
        p, d = prologue(w[i], g[i], head)
        w[i], x0, x1, x2, x3 = rule(p, d, s0[i], s1[i], s2[i], s3[i], *k)
        s0[i] = flush(x0, tiny)
        s1[i] = flush(x1, tiny)
        s2[i] = flush(x2, tiny)
        s3[i] = flush(x3, tiny)


def loop5(w, g, s, stride, c, lo, hi):
    """Update a chunk with five slots."""
    w = carray(w, hi)[lo:]
    g = carray(g, hi)[lo:]
    s = carray(s, 4 * stride + hi)
    s0 = s[lo:hi]
    s1 = s[stride + lo : stride + hi]
    s2 = s[2 * stride + lo : 2 * stride + hi]
    s3 = s[3 * stride + lo : 3 * stride + hi]
    s4 = s[4 * stride + lo : 4 * stride + hi]
    head = to_fixed_tuple(carray(c, 3), 3)
    k = to_fixed_tuple(carray(c, 3 + n_constants)[3:], n_constants)
    for i in range(w.shape[0]):
        p, d = prologue(w[i], g[i], head)
        w[i], x0, x1, x2, x3, x4 = rule(p, d, s0[i], s1[i], s2[i], s3[i], s4[i], *k)
        s0[i] = flush(x0, tiny)
        s1[i] = flush(x1, tiny)
        s2[i] = flush(x2, tiny)
        s3[i] = flush(x3, tiny)
        s4[i] = flush(x4, tiny)


#: The loop for each number of slots.
LOOPS = (loop0, loop1, loop2, loop3, loop4, loop5)
