"""Methods that treat a weight matrix as a matrix; the products are BLAS's."""

import numpy as np

from fastopt.rules.tensorwise import sweep, tensor_rule


def orthogonalize(u, norm, coefficients, n_steps, eps, buffer):
    """Return a matrix with the singular vectors of ``u`` and singular values near 1.

    Newton and Schulz's iteration with a quintic, on the shorter side.

    Parameters
    ----------
    u : ndarray of shape (rows, columns)
        Overwritten.
    norm : float
        Its Frobenius norm.
    coefficients : tuple of three floats
        Of the odd polynomial.
    n_steps : int
    eps : float
        Least divisor.
    buffer : callable
        ``buffer(name, shape, dtype)`` returns an array for intermediate results.

    Returns
    -------
    ndarray of shape (rows, columns)
        A view of ``u`` or of a buffer.
    """
    a, b, c = (u.dtype.type(k) for k in coefficients)
    is_tall = u.shape[0] > u.shape[1]
    x = u.T if is_tall else u
    side = (len(x), len(x))
    gram, polynomial = buffer("gram", side, u.dtype), buffer("polynomial", side, u.dtype)
    other = buffer("other", u.shape, u.dtype)
    other = other.T if is_tall else other
    x /= u.dtype.type(max(norm, eps))
    for _ in range(n_steps):
        np.matmul(x, x.T, out=gram)
        np.matmul(gram, gram.T, out=polynomial)  # symmetric: of a matrix and its transpose BLAS does half
        polynomial *= c
        gram *= b
        polynomial += gram
        polynomial.flat[:: len(x) + 1] += a  # a x + (b A + c A^2) x in one product
        np.matmul(polynomial, x, out=other)
        x, other = other, x
    return x.T if is_tall else x


@sweep("b u", sums=1)
def _muon_momentum(g, b, u, *, d, mu):
    b = b + d * (g - b)
    u = g + mu * (b - g)
    return b, u, u * u


@sweep("w")
def _muon_step(w, u, *, lr):
    return w - lr * u


def _muon_rate(shape, h, i):
    """Return the factor of the learning rate that suits the shape of a matrix."""
    fan_out, fan_in = shape if h["layout"] == "oi" else shape[::-1]
    if h["adjust_lr_fn"] == "match_rms_adamw":
        return 0.2 * max(fan_out, fan_in) ** 0.5
    return max(1.0, fan_out / max(fan_in, 1)) ** 0.5


def _muon_direction(x, h):
    """Update the momenta; leave the orthogonalised directions in ``u`` and return them."""
    ahead = h["momentum"] if h["nesterov"] else 1.0
    (square,) = x.sweep(_muon_momentum, d=1.0 - h["momentum"], mu=ahead)
    coefficients = np.array(h["ns_coefficients"]).T
    directions = []
    for i, u in enumerate(x.matrices("u")):
        if u.size:
            found = orthogonalize(
                u, square[i] ** 0.5, coefficients[i], int(h["ns_steps"][i]), h["eps"][i], x.buffer
            )
            if found is not u and not np.shares_memory(found, u):
                u[...] = found
        directions.append(u)
    return directions


@tensor_rule("muon", slots={"b": "momentum_buffer"}, work="u", uses_blas=True)
def muon(x, h):
    """Jordan et al. (2024), as torch writes it, in the array's own precision."""
    _muon_direction(x, h)
    x.sweep(_muon_step, lr=h["lr"] * [_muon_rate(shape, h, i) for i, shape in enumerate(x.shapes)])


def _normuon(x, h):
    """Li et al. (2025), algorithm 1: Muon whose directions are evened out over the outputs."""
    axis = 1 if h["layout"] == "oi" else 0
    for i, (u, v) in enumerate(zip(_muon_direction(x, h), x.matrices("v"), strict=True)):
        if u.size:
            length = np.linalg.norm(u)
            square = np.multiply(u, u, out=x.buffer("square", u.shape, u.dtype))
            v += (1.0 - h["beta2"][i]) * (square.mean(axis=axis, keepdims=True) - v)
            u /= np.sqrt(v) + u.dtype.type(1e-10)
            u *= length / max(np.linalg.norm(u), np.finfo(u.dtype).tiny)
    x.sweep(_muon_step, lr=h["lr"] * [_muon_rate(shape, h, i) for i, shape in enumerate(x.shapes)])


for _layout, _kind in (("oi", "row"), ("io", "column")):
    tensor_rule(
        f"normuon_{_layout}",
        slots={"b": "momentum_buffer", "v": "second_momentum_buffer"},
        kinds={"second_momentum_buffer": _kind},
        work="u",
        uses_blas=True,
    )(_normuon)


@sweep("u")
def _take_gradient(w, g, u):
    return g


def _inverse_root(matrix, order, least):
    """Return ``matrix ** (-1 / order)`` of a symmetric matrix with eigenvalues of at least ``least``."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.maximum(values, least) ** (-1.0 / order)) @ vectors.T


_SIDES = {"left": "left", "right": "right", "left_root": "left", "right_root": "right"}


@tensor_rule("shampoo", slots={k: k for k in _SIDES}, kinds=_SIDES, work="u", uses_blas=True)
def shampoo(x, h):
    """Gupta, Koren & Singer (2018), algorithm 1."""
    x.sweep(_take_gradient)
    arrays = [x.matrices(name) for name in ("u", *_SIDES)]
    for i, (u, left, right, left_root, right_root) in enumerate(zip(*arrays, strict=True)):
        if x.t[i] == 1:
            for side in (left, right):
                side.flat[:: len(side) + 1] = h["eps"][i]
        left += u @ u.T
        right += u.T @ u
        if u.size and (x.t[i] - 1) % h["update_freq"][i] == 0:
            for side, root in ((left, left_root), (right, right_root)):
                root[...] = _inverse_root(side, h["root"][i], h["eps"][i])
        u[...] = left_root @ u @ right_root
    x.sweep(_muon_step, lr=h["lr"])


@sweep("w")
def _soap_step(w, u, *, lr, keep):
    return keep * (w - lr * u)


_BASES = {"GG_left": "left", "GG_right": "right", "Q_left": "left", "Q_right": "right"}


def _turn(gram, basis):
    """Return a better eigenbasis from one power iteration, and the order of the eigenvalues before it."""
    order = np.argsort(-np.einsum("ij,ij->j", basis, gram @ basis), kind="stable")
    return np.linalg.qr(gram @ basis[:, order])[0], order


def _soap_direction(u, m, v, bases, t, b1, b2, eps, frequency):
    """Replace a gradient by SOAP's direction; update moments and bases."""
    left, right, q_left, q_right = bases
    gradient = u.copy()
    if t > 1:
        projected = q_left.T @ u @ q_right
        m += (1.0 - b1) * (projected - m)
        v += (1.0 - b2) * (projected * projected - v)
        u[...] = q_left @ (m / (np.sqrt(v) + eps)) @ q_right.T
        m[...] = q_left @ m @ q_right.T  # the basis may change below
    left += (1.0 - b2) * (gradient @ gradient.T - left)
    right += (1.0 - b2) * (gradient.T @ gradient - right)
    if t == 1:
        for gram, basis in ((left, q_left), (right, q_right)):
            basis[...] = np.linalg.eigh(gram)[1][:, ::-1]
        u[...] = 0.0
        return
    if (t - 1) % frequency == 0:
        q_left[...], rows = _turn(left, q_left)
        q_right[...], columns = _turn(right, q_right)
        v[...] = v[rows][:, columns]
    m[...] = q_left.T @ m @ q_right


@tensor_rule(
    "soap",
    slots={"m": "exp_avg", "v": "exp_avg_sq", **{k: k for k in _BASES}},
    kinds=_BASES,
    work="u",
    uses_blas=True,
)
def soap(x, h):
    """Vyas et al. (2024), algorithm 3, as the authors' code has it: Adam in Shampoo's eigenbasis."""
    x.sweep(_take_gradient)
    b1, b2 = h["betas"]
    arrays = [x.matrices(name) for name in ("u", "m", "v", *_BASES)]
    for i, (u, m, v, *bases) in enumerate(zip(*arrays, strict=True)):
        if u.size:
            _soap_direction(u, m, v, bases, x.t[i], b1[i], b2[i], h["eps"][i], h["precondition_frequency"][i])
    t = np.maximum(x.t - 1, 1)  # the first step only builds the basis
    keep = np.where(x.t > 1, 1.0 - h["lr"] * h["weight_decay"], 1.0)
    x.sweep(_soap_step, lr=h["lr"] * np.sqrt(1.0 - b2**t) / (1.0 - b1**t), keep=keep)
