"""Methods that treat a weight matrix as a matrix; the products are BLAS's."""

import functools
import math

import numpy as np
from scipy.linalg import lapack

from fastopt.rules.tensorwise import sweep, tensor_rule


@sweep("b u", sums=1)
def _muon_momentum(g, b, u, *, d, mu):
    b = b + d * (g - b)
    u = g + mu * (b - g)
    return b, u, u * u


@sweep("w")
def _muon_step(w, u, *, lr):
    return w - lr * u


def _muon_rate(shape, h, i):
    """Return the factor by which Muon scales the learning rate for a matrix of this shape."""
    fan_out, fan_in = shape if h["layout"] == "oi" else shape[::-1]
    if h["adjust_lr_fn"] == "match_rms_adamw":
        return 0.2 * max(fan_out, fan_in) ** 0.5
    return max(1.0, fan_out / max(fan_in, 1)) ** 0.5


@sweep("u other")
def _normalized(u, other, *, norm):
    u = u / norm
    return u, u


def _rounds(x, members):
    """Prepare the products of two Newton-Schulz iterations: from ``other`` to ``u``, and back."""
    spaces = [[x.matrices(letter)[i] for i in members] for letter in ("other", "u")]
    spaces = [[m.T if m.shape[0] > m.shape[1] else m for m in space] for space in spaces]
    sides = [(len(m), len(m)) for m in spaces[0]]
    grams, polynomials = (
        [x.buffer((name, i), side, x.dtypes[i]) for i, side in zip(members, sides, strict=True)]
        for name in ("gram", "polynomial")
    )
    transposed = [gram.T for gram in grams]
    square = x.products(grams, transposed, polynomials, start=grams, is_symmetric=True)
    return [
        (
            x.products(source, [m.T for m in source], grams, is_symmetric=True),
            square,
            x.products(polynomials, source, target),
        )
        for source, target in (spaces, spaces[::-1])
    ]


def _orthogonalize(x, h, norms):
    """Replace each matrix ``u`` by one with the same singular vectors and singular values near 1.

    Newton and Schulz's iteration with a quintic: ``a X + (b A + c A A) X`` with ``A = X X.T``.
    """
    x.sweep(_normalized, norm=np.maximum(norms, h["eps"]))
    for n in np.unique(h["ns_steps"]).astype(int):
        members = tuple(np.flatnonzero((h["ns_steps"] == n) & (x.sizes > 0)).tolist())
        if not members:
            continue
        rounds = x.prepared(("orthogonalize", members), functools.partial(_rounds, x, members))
        a, b, c = (k[list(members)] for k in h["ns_coefficients"])
        rounds[0][1].scale(alpha=c, beta=b, shift=a)  # which both rounds share
        for k in range(n):
            for product in rounds[(n - 1 - k) % 2]:  # the last one ends in u
                product.run()


def _muon_directions(x, h):
    """Update the momenta and write their orthogonalised directions to ``u``."""
    ahead = h["momentum"] if h["nesterov"] else 1.0
    (square,) = x.sweep(_muon_momentum, d=1.0 - h["momentum"], mu=ahead)
    _orthogonalize(x, h, np.sqrt(square))


@tensor_rule("muon", slots={"b": "momentum_buffer"}, work="u other", uses_blas=True)
def muon(x, h):
    """Jordan et al. (2024), as implemented in torch, in the array's own precision."""
    _muon_directions(x, h)
    x.sweep(_muon_step, lr=h["lr"] * [_muon_rate(shape, h, i) for i, shape in enumerate(x.shapes)])


#: Added to the root of each output's second moment, as in the authors' code.
_NORMUON_EPS = 1e-10


def _output_squares(u):
    return u * u


def _normuon_step(w, u, v, *, lr, eps):
    return w - lr * (u / (math.sqrt(v) + eps))


def _register_normuon(layout, kind):
    """Register NorMuon's rule for matrices whose outputs are rows (``kind='row'``) or columns."""
    squares = sweep(**{f"{kind}_sums": 1})(_output_squares)
    step = sweep("w", **{f"{kind}s": "v"})(_normuon_step)

    @tensor_rule(
        f"normuon_{layout}",
        slots={"b": "momentum_buffer", "v": "second_momentum_buffer"},
        kinds={"second_momentum_buffer": kind},
        work="u other",
        uses_blas=True,
    )
    def normuon(x, h):
        """Li et al. (2025), algorithm 1: Muon, normalised by a second moment of each output."""
        _muon_directions(x, h)
        _, rows, columns = x.sweep(squares)
        rate = h["lr"] * [_muon_rate(shape, h, i) for i, shape in enumerate(x.shapes)]
        outputs = [one[0] for one in (rows if kind == "row" else columns)]
        new = [
            b2 * v + (1.0 - b2) * square / max(size / max(len(v), 1), 1)
            for v, square, b2, size in zip(x.values("v"), outputs, h["beta2"], x.sizes, strict=True)
        ]
        x.assign("v", new)
        kept = []  # what keeps each norm
        for v, square, dtype in zip(x.values("v"), outputs, x.dtypes, strict=True):
            evened = (square / (np.sqrt(v) + _NORMUON_EPS) ** 2).sum()
            kept.append(np.sqrt(square.sum() / np.maximum(evened, np.finfo(dtype).tiny)))
        x.sweep(step, lr=rate * x.array(kept), eps=_NORMUON_EPS)


_register_normuon("oi", "row")
_register_normuon("io", "column")


@sweep("u")
def _take_gradient(w, g, u):
    return g


_SIDES = {"left": "left", "right": "right", "left_root": "left", "right_root": "right"}


def _sided(x, members, *letters):
    """Return for each letter a list of that array of the tensors numbered ``members``."""
    return [[x.matrices(letter)[i] for i in members] for letter in letters]


def _transposed(matrices):
    return [m.T for m in matrices]


def _sandwich(x, left, inner, right, out, middle):
    """Prepare the two products of ``out = left @ inner @ right``."""
    return x.products(left, inner, middle), x.products(middle, right, out)


def _grams(x, u, left, right):
    """Prepare the products that add ``u @ u.T`` to ``left`` and ``u.T @ u`` to ``right``."""
    across = _transposed(u)
    return x.products([*u, *across], [*across, *u], [*left, *right], is_symmetric=True)


def _shampoo_step(x, members):
    u, middle, left, right, left_root, right_root = _sided(x, members, "u", "other", *_SIDES)
    return _grams(x, u, left, right), *_sandwich(x, left_root, u, right_root, u, middle)


def _eigh(matrix):
    """Return the eigenvalues, ascending, and eigenvectors, in the matrix's own precision.

    NaN or infinity anywhere, which LAPACK refuses, makes all of them NaN, as arithmetic would.
    """
    values, vectors, failed = (lapack.ssyevd if matrix.itemsize == 4 else lapack.dsyevd)(matrix)
    if failed and not np.isfinite(matrix).all():
        values[...] = vectors[...] = np.nan
    elif failed:
        raise np.linalg.LinAlgError("the eigenvalues of the gradients' products did not converge")
    return values, vectors


def _half_root(matrix, order, least, factor):
    """Find ``factor @ factor.T = matrix ** (-1 / order)``; eigenvalues below ``least`` are raised to it."""
    values, vectors = _eigh(matrix)
    np.multiply(vectors, np.maximum(values, least) ** (-0.5 / order), out=factor)


def _root_products(x, due):
    left, right, left_root, right_root = _sided(x, due, *_SIDES)
    sums = [*left, *right]
    factors = [np.empty_like(one) for one in sums]
    product = x.products(factors, _transposed(factors), [*left_root, *right_root], is_symmetric=True)
    return sums, factors, product


def _begin_sides(x, fresh, eps):
    """Set the sums of the tensors numbered ``fresh`` to multiples of the identity."""
    for letter in ("left", "right"):
        for side, least in zip(*_sided(x, fresh, letter), eps[list(fresh)], strict=True):
            side.flat[:: len(side) + 1] = least


def _take_roots(x, due, root, eps):
    """Recompute the preconditioners' inverse roots of the tensors numbered ``due``."""
    sums, factors, product = x.prepared(("roots", due), functools.partial(_root_products, x, due))
    orders, least = ([*values[list(due)]] * 2 for values in (root, eps))
    x.map(_half_root, sums, orders, least, factors)
    product.run()


@tensor_rule("shampoo", slots={k: k for k in _SIDES}, kinds=_SIDES, work="u other", uses_blas=True)
def shampoo(x, h):
    """Gupta, Koren & Singer (2018), algorithm 1."""
    members = tuple(np.flatnonzero(x.sizes).tolist())
    x.sweep(_take_gradient)
    fresh = tuple(i for i in range(len(x.sizes)) if x.t[i] == 1)
    if fresh:
        x.call(functools.partial(_begin_sides, x, fresh), h["eps"])
    if members:
        grams, *directions = x.prepared(("shampoo", members), functools.partial(_shampoo_step, x, members))
        grams.scale(beta=1.0)
        grams.run()
        due = tuple(i for i in members if (x.t[i] - 1) % h["update_freq"][i] == 0)
        if due:
            x.call(functools.partial(_take_roots, x, due), h["root"], h["eps"])
        for product in directions:
            product.run()
    x.sweep(_muon_step, lr=h["lr"])


@sweep("m v other")
def _soap_moments(m, v, other, *, d1, b2, d2, eps, first):
    p = m if first else other
    m = m + d1 * (p - m)
    v = v if first else b2 * v + d2 * p * p
    return m, v, m * 0.0 if first else m / (math.sqrt(v) + eps)


@sweep("w")
def _soap_step(w, u, *, lr, keep):
    return keep * (w - lr * u)


_BASES = {"GG_left": "left", "GG_right": "right", "Q_left": "left", "Q_right": "right"}


def _soap_products(x, members):
    """Prepare SOAP's products: gradient into the eigenbasis, Gram matrices, update out of the basis."""
    u, other, middle, left, right, q_left, q_right = _sided(x, members, "u", "other", "middle", *_BASES)
    return (
        _sandwich(x, _transposed(q_left), u, q_right, other, middle),
        _grams(x, u, left, right),
        _sandwich(x, q_left, other, _transposed(q_right), u, middle),
    )


def _soap_turn(x, due):
    """Prepare the products before and after a change of basis, and list ``gram @ basis``, bases and ``v``."""
    m, other, middle, left, right, q_left, q_right = _sided(x, due, "m", "other", "middle", *_BASES)
    (v,) = _sided(x, due, "v")
    turned = [np.empty_like(q) for q in (*q_left, *q_right)]
    return (
        (
            *_sandwich(x, q_left, m, _transposed(q_right), other, middle),
            x.products([*left, *right], [*q_left, *q_right], turned),
        ),
        _sandwich(x, _transposed(q_left), other, q_right, m, middle),
        (turned, [*q_left, *q_right], v),
    )


def _better_basis(basis, turned):
    """Update an eigenbasis by a power iteration with QR; return the order that sorted its vectors."""
    order = np.argsort(-np.einsum("ij,ij->j", basis, turned), kind="stable")
    basis[...] = _orthonormal(turned[:, order])
    return order


def _orthonormal(matrix):
    """Return the factor Q of a square matrix's QR decomposition; overwrites the matrix.

    As ``scipy.linalg.qr``, whose checks take longer than the decomposition of a small matrix.
    """
    factor, generate, space = _householder(len(matrix), matrix.dtype.char)
    reflectors, scales, _, failed = factor(matrix, lwork=space, overwrite_a=True)
    q, _, failed_too = generate(reflectors, scales, lwork=space, overwrite_a=True)
    if failed or failed_too:
        raise ValueError("LAPACK refused a matrix to be orthogonalised")
    return q


@functools.cache
def _householder(n, kind):
    """Return LAPACK's two routines for square matrices of order ``n``, and the workspace that they prefer."""
    factor, generate = (lapack.sgeqrf, lapack.sorgqr) if kind == "f" else (lapack.dgeqrf, lapack.dorgqr)
    empty = np.empty((n, n), kind, order="F")
    spaces = factor(empty, lwork=-1)[2][0], generate(empty, np.empty(n, kind), lwork=-1)[1][0]
    return factor, generate, int(max(spaces))


def _first_basis(gram, basis):
    basis[...] = _eigh(gram)[1][:, ::-1]


def _first_bases(x, fresh):
    left, right, q_left, q_right = _sided(x, fresh, *_BASES)
    x.map(_first_basis, [*left, *right], [*q_left, *q_right])


def _turn_bases(x, due):
    before, after, (turned, bases, v) = x.prepared(("turn", due), functools.partial(_soap_turn, x, due))
    for product in before:
        product.run()
    orders = x.map(_better_basis, bases, turned)
    for second, rows, columns in zip(v, orders, orders[len(due) :], strict=False):
        second[...] = second[np.ix_(rows, columns)]
    for product in after:
        product.run()


@tensor_rule(
    "soap",
    slots={"m": "exp_avg", "v": "exp_avg_sq", **{k: k for k in _BASES}},
    kinds=_BASES,
    work="u other middle",
    uses_blas=True,
)
def soap(x, h):
    """Vyas et al. (2024), algorithm 3, as in the authors' code: Adam in Shampoo's eigenbasis."""
    members = tuple(np.flatnonzero(x.sizes).tolist())
    b1, b2 = h["betas"]
    x.sweep(_take_gradient)
    if members:
        into, grams, out = x.prepared(("soap", members), functools.partial(_soap_products, x, members))
        for product in into:
            product.run()
        decay = b2[list(members)]
        grams.scale(alpha=np.tile(1.0 - decay, 2), beta=np.tile(decay, 2))
        grams.run()
        x.sweep(_soap_moments, d1=1.0 - b1, b2=b2, d2=1.0 - b2, eps=h["eps"], first=x.t == 1)
        for product in out:
            product.run()
        fresh = tuple(i for i in members if x.t[i] == 1)
        if fresh:
            x.call(functools.partial(_first_bases, x, fresh))
        due = tuple(i for i in members if x.t[i] > 1 and (x.t[i] - 1) % h["precondition_frequency"][i] == 0)
        if due:
            x.call(functools.partial(_turn_bases, x, due))
    t = np.maximum(x.t - 1, 1)  # the first step only builds the basis
    keep = np.where(x.t > 1, 1.0 - h["lr"] * h["weight_decay"], 1.0)
    x.sweep(_soap_step, lr=h["lr"] * np.sqrt(1.0 - b2**t) / (1.0 - b1**t), keep=keep)
