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
        np.matmul(gram, gram, out=polynomial)
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


@tensor_rule("muon", slots={"b": "momentum_buffer"}, work="u")
def muon(x, h):
    """Jordan et al. (2024), as torch writes it, in the array's own precision."""
    _muon_direction(x, h)
    x.sweep(_muon_step, lr=h["lr"] * [_muon_rate(shape, h, i) for i, shape in enumerate(x.shapes)])
