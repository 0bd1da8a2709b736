"""Methods for matrices; their cases are in ``test_tensor_rules.py``, because each has shapes of its own."""

import numpy as np
import scipy.linalg
from reference.catalogue_oracles.common import each, norm


def quintic(u, coefficients, n_steps, eps):
    """Newton-Schulz through the singular values, on which it acts as an odd polynomial."""
    a, b, c = coefficients
    left, s, right = np.linalg.svd(u, full_matrices=False)
    s = s / max(np.sqrt((s**2).sum()), eps)
    for _ in range(n_steps):
        s = a * s + b * s**3 + c * s**5
    return (left * s) @ right


@each
def muon(p, grads, lr, mu, wd, nesterov, scale, coefficients=(3.4445, -4.775, 2.0315)):
    b = np.zeros_like(p)
    for g in grads:
        b = mu * b + (1 - mu) * g
        u = (1 - mu) * g + mu * b if nesterov else b
        p = p * (1 - lr * wd) - lr * scale(*p.shape) * quintic(u, coefficients, 5, 1e-7)
    return p


@each
def normuon(p, grads, lr, mu, wd, b2, scale, axis):
    b, v = np.zeros_like(p), 0.0
    for g in grads:
        b = mu * b + (1 - mu) * g
        o = quintic((1 - mu) * g + mu * b, (3.4445, -4.775, 2.0315), 5, 1e-7)
        v = b2 * v + (1 - b2) * (o**2).mean(axis=axis, keepdims=True)
        n = o / (np.sqrt(v) + 1e-10)
        p = p * (1 - lr * wd) - lr * scale(*p.shape) * n * norm(o) / norm(n)
    return p


@each
def shampoo(p, grads, lr, eps, root, wd):
    """The powers by SciPy's Schur method."""
    left, right = (eps * np.eye(n) for n in p.shape)
    for g in grads:
        g = g + wd * p
        left, right = left + g @ g.T, right + g.T @ g
        roots = [scipy.linalg.fractional_matrix_power(m, -1 / root) for m in (left, right)]
        p = p - lr * roots[0] @ g @ roots[1]
    return p


@each
def soap(p, grads, lr, b1, b2, eps, wd, every):
    """The authors' code in outline: moments of the gradient in a slowly turning basis."""
    m = v = np.zeros_like(p)
    grams = bases = None
    for step, g in enumerate(grads):
        outer = [g @ g.T, g.T @ g]
        if step == 0:
            grams = [(1 - b2) * o for o in outer]
            bases = [np.linalg.eigh(gram)[1][:, ::-1] for gram in grams]
            continue
        q, r = bases
        turned = q.T @ g @ r
        m = b1 * m + (1 - b1) * turned
        v = b2 * v + (1 - b2) * turned**2
        rate = lr * np.sqrt(1 - b2**step) / (1 - b1**step)
        p = p - rate * q @ (m / (np.sqrt(v) + eps)) @ r.T
        p = p - lr * wd * p
        back = q @ m @ r.T
        grams = [b2 * gram + (1 - b2) * o for gram, o in zip(grams, outer, strict=True)]
        if step % every == 0:
            orders = [
                np.argsort(-np.diag(basis.T @ gram @ basis)) for gram, basis in zip(grams, bases, strict=True)
            ]
            v = v[np.ix_(*orders)]
            bases = [
                np.linalg.qr(gram @ basis[:, order])[0]
                for gram, basis, order in zip(grams, bases, orders, strict=True)
            ]
        m = bases[0].T @ back @ bases[1]
    return p
