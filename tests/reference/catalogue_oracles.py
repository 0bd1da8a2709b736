"""The catalogue as papers and authors write it: NumPy float64 on lists of arrays, nothing of fastopt.

Each takes the parameters, a list of lists of gradients and hyper-parameters, and returns the last parameters.
Elementwise methods are written for one array and lifted over the list.
"""

import functools

import numpy as np
import scipy.linalg
import scipy.special


def each(oracle):
    """Lift an oracle of one array over lists."""

    @functools.wraps(oracle)
    def lifted(params, steps, **h):
        columns = zip(*steps, strict=True)
        return [oracle(p.copy(), list(grads), **h) for p, grads in zip(params, columns, strict=True)]

    return lifted


@each
def adabelief(p, grads, lr, b1, b2, eps, eps_root, wd):
    m = s = np.zeros_like(p)
    for t, g in enumerate(grads, 1):
        m = b1 * m + (1 - b1) * g
        s = b2 * s + (1 - b2) * (g - m) ** 2 + eps_root
        p = p - lr * (m / (1 - b1**t) / (np.sqrt(s / (1 - b2**t)) + eps) + wd * p)
    return p


@each
def acprop(p, grads, lr, b1, b2, eps, eps_root):
    m = s = np.zeros_like(p)
    for t, g in enumerate(grads, 1):
        hat = np.ones_like(p) if t == 1 else s / (1 - b2 ** (t - 1))
        p = p - lr * g / (np.sqrt(hat) + eps)
        s = b2 * s + (1 - b2) * (g - m) ** 2 + eps_root
        m = b1 * m + (1 - b1) * g
    return p


@each
def yogi(p, grads, lr, b1, b2, eps, start):
    m = v = np.full_like(p, start)
    for t, g in enumerate(grads, 1):
        m = b1 * m + (1 - b1) * g
        v = v - (1 - b2) * np.sign(v - g**2) * g**2
        p = p - lr * m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps)
    return p


def sophia(params, steps, hessians, lr, b1, b2, rho, wd):
    """The authors' code, with their ``bs * h`` as one estimate; ``hessians`` maps steps to estimates."""
    p = [q.copy() for q in params]
    m, s = ([np.zeros_like(q) for q in p] for _ in range(2))
    for t, grads in enumerate(steps):
        if t in hessians:
            s = [b2 * a + (1 - b2) * e for a, e in zip(s, hessians[t], strict=True)]
        m = [b1 * a + (1 - b1) * g for a, g in zip(m, grads, strict=True)]
        p = [
            q * (1 - lr * wd) - lr * np.sign(a) * np.minimum(np.abs(a) / (rho * e + 1e-15), 1)
            for q, a, e in zip(p, m, s, strict=True)
        ]
    return p


@each
def adopt(p, grads, lr, b1, b2, eps, wd):
    m, v = np.zeros_like(p), None
    for t, g in enumerate(grads, 1):
        p = p * (1 - lr * wd)
        if t == 1:
            v = g**2
            continue
        u = np.clip(g / np.maximum(np.sqrt(v), eps), -((t - 1) ** 0.25), (t - 1) ** 0.25)
        m = b1 * m + (1 - b1) * u
        p = p - lr * m
        v = b2 * v + (1 - b2) * g**2
    return p


@each
def adan(p, grads, lr, b1, b2, b3, eps, wd, no_prox, optax=False):
    """sail-sg; with ``optax`` that library's mistake, (1 - b2) where b2 belongs."""
    m = v = n = np.zeros_like(p)
    before = grads[0]
    k = 1 - b2 if optax else b2
    for t, g in enumerate(grads, 1):
        d, before = g - before, g
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * d
        n = b3 * n + (1 - b3) * (g + k * d) ** 2
        u = (m / (1 - b1**t) + k * v / (1 - b2**t)) / (np.sqrt(n / (1 - b3**t)) + eps)
        p = p * (1 - lr * wd) - lr * u if no_prox else (p - lr * u) / (1 + lr * wd)
    return p


@each
def ademamix(p, grads, lr, b1, b2, b3, eps, wd, alpha, warmup=None):
    m = v = s = np.zeros_like(p)

    def half_life(b):
        return np.log(0.5) / np.log(b + 1e-8) - 1

    for t, g in enumerate(grads, 1):
        a, b = alpha, b3
        if warmup is not None:
            a = alpha * min(t / warmup, 1)
            if t < warmup:
                f = (1 - t / warmup) * half_life(b1) + t / warmup * half_life(b3)
                b = 0.5 ** (1 / (f + 1))
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        s = b * s + (1 - b) * g
        u = (m / (1 - b1**t) + a * s) / (np.sqrt(v / (1 - b2**t)) + eps)
        p = p - lr * (u + wd * p)
    return p


@each
def optimistic(p, grads, lr, a, b):
    before = grads[0]
    for g in grads:
        p = p - lr * ((a + b) * g - b * before)
        before = g
    return p


@each
def optimistic_adam(p, grads, lr, optimism, b1, b2, eps):
    m = v = np.zeros_like(p)
    before = None
    for t, g in enumerate(grads, 1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        u = m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps)
        before = u if before is None else before
        p = p - ((lr + optimism) * u - optimism * before)
        before = u
    return p


@each
def ftrl(p, grads, lr, n0, l1, l2, shrinkage, beta):
    n, z = np.full_like(p, n0), np.zeros_like(p)
    for g in grads:
        n1 = n + g**2
        z = z + g + 2 * shrinkage * p - (np.sqrt(n1) - np.sqrt(n)) / lr * p
        p = (np.clip(z, -l1, l1) - z) / (np.sqrt(n1) / lr + 2 * (l2 + beta / (2 * lr)))
        n = n1
    return p


@each
def cocob(p, grads, alpha, eps):
    start, largest = p, np.full_like(p, eps)
    total = reward = bet = np.zeros_like(p)
    for g in grads:
        largest = np.maximum(largest, np.abs(g))
        total = total + np.abs(g)
        reward = np.maximum(reward - g * (p - start), 0)
        bet = bet - g
        p = start + bet / (largest * np.maximum(total + largest, alpha * largest)) * (largest + reward)
    return p


@each
def madgrad(p, grads, lr, mu, eps):
    start = p
    q = s = np.zeros_like(p)
    for t, g in enumerate(grads, 1):
        weight = (lr + eps) * np.sqrt(t)
        q = q + weight * g**2
        s = s + weight * g
        p = (1 - mu) * (start - s / (np.cbrt(q) + eps)) + mu * p
    return p


def _schedule_free(p, grads, rate, beta, precondition, wd, r=0.0, warmup=0):
    """Defazio et al. (2024) with all three sequences: z steps, x averages, y is where gradients are."""
    z = x = y = p
    total = largest = 0.0
    for t, g in enumerate(grads, 1):
        lr = rate * min(1, t / warmup) if warmup else rate
        largest = max(largest, lr)
        weight = t**r * largest**2
        total += weight
        c = weight / total
        z = z - lr * (precondition(g, t) + wd * y)
        x = (1 - c) * x + c * z
        y = (1 - beta) * z + beta * x
    return x, y


@each
def schedule_free_sgd(p, grads, lr, beta, wd, r=0.0, warmup=0, evaluate=False):
    x, y = _schedule_free(p, grads, lr, beta, lambda g, t: g, wd, r, warmup)
    return x if evaluate else y


@each
def schedule_free_adamw(p, grads, lr, b1, b2, eps, wd, evaluate=False):
    v = np.zeros_like(p)

    def precondition(g, t):
        nonlocal v
        v = b2 * v + (1 - b2) * g**2
        return g / (np.sqrt(v / (1 - b2**t)) + eps)

    x, y = _schedule_free(p, grads, lr, b1, precondition, wd)
    return x if evaluate else y


@each
def schedule_free_radam(p, grads, lr, b1, b2, eps, wd, silent=True):
    """The authors' code, in its form without x, which a rate of 0 at first does not disturb."""
    z = y = p
    v, total, largest = np.zeros_like(p), 0.0, 0.0
    ri = 2 / (1 - b2) - 1
    for t, g in enumerate(grads, 1):
        v = b2 * v + (1 - b2) * g**2
        rt = ri - 2 * t * b2**t / (1 - b2**t)
        rect, u = 0.0 if silent else 1.0, g
        if rt > 4:
            rect = np.sqrt((rt - 4) * (rt - 2) * ri / ((ri - 4) * (ri - 2) * rt))
            u = g / (np.sqrt(v / (1 - b2**t)) + eps)
        u = u + wd * y
        rate = lr * rect
        largest = max(largest, rate)
        total += largest**2
        c = largest**2 / total if total else 0.0
        y = (1 - c) * y + c * z + rate * (b1 * (1 - c) - 1) * u
        z = z - rate * u
    return y


def noisy_sgd(params, steps, lr, eta, gamma, seed):
    """Python's own integers for the counter-based noise; the Gaussian is the quantile of half of them."""

    def mix(x):
        x ^= x >> 16
        x = x * 0x85EBCA6B % 2**32
        x ^= x >> 13
        x = x * 0xC2B2AE35 % 2**32
        return x ^ x >> 16

    def gauss(i, key):
        bits = mix((mix(i ^ key) + key) % 2**32)
        size = -scipy.special.ndtri((bits % 2**31 + 0.5) / 2**32)
        return size if bits >= 2**31 else -size

    p = [q.copy() for q in params]
    for t, grads in enumerate(steps, 1):
        for place, (q, g) in enumerate(zip(p, grads, strict=True)):
            key = 0
            for part in (seed, t, place):
                key = mix((key + part + 1) % 2**32)
            noise = np.reshape([gauss(i, key) for i in range(q.size)], q.shape)
            p[place] = q - lr * (g + np.sqrt(eta / t**gamma) * noise)
    return p


def norm(x):
    return np.sqrt((x**2).sum())


def ratio(top, bottom):
    return top / bottom if top > 0 and bottom > 0 else 1.0


@each
def lars(p, grads, lr, mu, wd, k, nesterov, timm=False, always_adapt=True):
    """optax; with ``timm`` that library's: the sum of norms, and the rate outside the buffer."""
    b = np.zeros_like(p)
    for g in grads:
        u = g + wd * p
        size = norm(g) + wd * norm(p) if timm else norm(u)
        adapts = norm(p) > 0 and norm(g if timm else u) > 0 and (wd > 0 or always_adapt)
        u = u * (k * norm(p) / size if adapts else 1.0)
        u = u if timm else lr * u
        b = u + mu * b
        p = p - (lr if timm else 1) * (u + mu * b if nesterov else b)
    return p


@each
def lamb(p, grads, lr, b1, b2, eps, wd, inside, always_adapt=True):
    m = v = np.zeros_like(p)
    for t, g in enumerate(grads, 1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        u = m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps)
        if inside:
            u = u + wd * p
        else:
            p = p - lr * wd * p
        p = p - lr * (ratio(norm(p), norm(u)) if wd > 0 or always_adapt else 1.0) * u
    return p


@each
def mars(p, grads, lr, b1, b2, eps, wd, gamma):
    m = v = before = np.zeros_like(p)
    for t, g in enumerate(grads, 1):
        c = g + gamma * b1 / (1 - b1) * (g - before)
        c = c / max(1, norm(c))
        m = b1 * m + (1 - b1) * c
        v = b2 * v + (1 - b2) * c**2
        p = p - lr * (m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps) + wd * p)
        before = g
    return p


@each
def novograd(p, grads, lr, b1, b2, eps, wd):
    m, v = np.zeros_like(p), None
    for t, g in enumerate(grads, 1):
        v = norm(g) ** 2 if v is None else b2 * v + (1 - b2) * norm(g) ** 2
        u = g / (np.sqrt(v) + eps) + wd * p
        m = u if t == 1 else b1 * m + u
        p = p - lr * m
    return p


@each
def fromage(p, grads, lr):
    c = 1 / np.sqrt(1 + lr**2)
    for g in grads:
        p = c * (p - lr * g * max(norm(p), 1e-6) / max(norm(g), 1e-6))
    return p


@each
def sm3(p, grads, lr, b, eps):
    """optax: one accumulator for each axis, each the size of that axis; a number is an axis of one."""
    shape, p = p.shape, np.atleast_1d(p)
    others = [tuple(j for j in range(p.ndim) if j != i) for i in range(p.ndim)]
    m, sums = np.zeros_like(p), [np.zeros_like(p).max(axis=axes, keepdims=True) for axes in others]
    for g in grads:
        a = g**2 + functools.reduce(np.minimum, sums)
        u = np.where(a > 0, g / np.sqrt(np.where(a > 0, a, 1) + eps), 0)
        m = b * m + (1 - b) * u
        sums = [a.max(axis=axes, keepdims=True) for axes in others]
        p = p - lr * m
    return p.reshape(shape)


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


def total(arrays):
    return sum(a.sum() for a in arrays)


def prodigy(
    params, steps, lr=1.0, b1=0.9, b2=0.999, eps=1e-8, wd=0.0, bias=False, d0=1e-6, growth=np.inf, coef=1.0
):
    """The authors' code, on all tensors."""
    b3 = np.sqrt(b2)
    start = [p.copy() for p in params]
    p = list(start)
    m, v, s = ([np.zeros_like(q) for q in p] for _ in range(3))
    d = d_max = d0
    numerator = 0.0
    for t, grads in enumerate(steps, 1):
        rate = d * lr * (np.sqrt(1 - b2**t) / (1 - b1**t) if bias else 1)
        numerator = b3 * numerator + d / d0 * rate * total(
            [g * (a - q) for g, a, q in zip(grads, start, p, strict=True)]
        )
        m = [b1 * x + d * (1 - b1) * g for x, g in zip(m, grads, strict=True)]
        v = [b2 * x + d**2 * (1 - b2) * g**2 for x, g in zip(v, grads, strict=True)]
        s = [b3 * x + d / d0 * rate * g for x, g in zip(s, grads, strict=True)]
        estimate = coef * numerator / total(map(np.abs, s))
        if d == d0:
            d = max(d, estimate)
        d_max = max(d_max, estimate)
        d = min(d_max, d * growth)
        p = [q * (1 - wd * rate) - rate * x / (np.sqrt(y) + d * eps) for q, x, y in zip(p, m, v, strict=True)]
    return p


def dadapt_adam(params, steps, b1=0.9, b2=0.999, eps=1e-8, wd=0.0, d0=1e-6):
    b3 = np.sqrt(b2)
    p = [q.copy() for q in params]
    m, v, s = ([np.zeros_like(q) for q in p] for _ in range(3))
    d, numerator = d0, 0.0
    for grads in steps:
        rate = d
        gained = rate * total([g * x / (np.sqrt(y) + eps) for g, x, y in zip(grads, s, v, strict=True)])
        m = [b1 * x + (1 - b1) * rate * g for x, g in zip(m, grads, strict=True)]
        v = [b2 * y + (1 - b2) * g**2 for y, g in zip(v, grads, strict=True)]
        s = [b3 * x + (1 - b3) * rate * g for x, g in zip(s, grads, strict=True)]
        numerator = b3 * numerator + (1 - b3) * gained
        d = max(d, numerator / ((1 - b3) * total(map(np.abs, s))))
        p = [q * (1 - wd * rate) - x / (np.sqrt(y) + eps) for q, x, y in zip(p, m, v, strict=True)]
    return p


def dog(params, steps, reps=1e-6, eps=1e-8, wd=0.0):
    p = [q.copy() for q in params]
    r, s = reps * (1 + np.sqrt(total(q**2 for q in params))), 0.0
    for grads in steps:
        grads = [g + wd * q for g, q in zip(grads, p, strict=True)]
        r = max(r, np.sqrt(total((q - a) ** 2 for q, a in zip(p, params, strict=True))))
        s += total(g**2 for g in grads)
        p = [q - r / np.sqrt(s + eps) * g for q, g in zip(p, grads, strict=True)]
    return p


def dowg(params, steps, square=1e-4, eps=1e-4):
    p, w = [q.copy() for q in params], 0.0
    for grads in steps:
        square = max(square, total((q - a) ** 2 for q, a in zip(p, params, strict=True)))
        w += square * total(g**2 for g in grads)
        p = [q - square / (np.sqrt(w) + eps) * g for q, g in zip(p, grads, strict=True)]
    return p


def mechanic(params, steps, base, wd=1e-2, eps=1e-8, s_init=1e-6):
    """Optax: ``mechanize``; ``base(p, grads)`` is where the other optimizer goes; it keeps its state."""
    betas = np.array([0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999])
    r, m, v = np.zeros(6), np.zeros(6), np.zeros(6)
    s = np.full(6, s_init)
    p = [q.copy() for q in params]
    for grads in steps:
        updates = [a - q for a, q in zip(base(p, grads), p, strict=True)]
        factor = wd * s.sum() * np.sqrt(total(g**2 for g in grads))
        factor /= np.sqrt(total(q**2 for q in p)) + eps
        back = [(a - q) / (s.sum() + eps) for a, q in zip(params, p, strict=True)]
        h = total((g + factor * q) * b for g, q, b in zip(grads, p, back, strict=True))
        clipped = np.clip(h, -m, m)
        m = np.maximum(betas * m, abs(h) + eps)
        v = betas**2 * v + h**2
        r = betas * r + clipped * s
        s = (s_init / 6 * m + np.maximum(r, 0)) / (np.sqrt(v) + eps)
        p = [a - s.sum() * (b - u) for a, b, u in zip(params, back, updates, strict=True)]
    return p


def polyak(params, steps, losses, lr):
    p = [q.copy() for q in params]
    for grads, loss in zip(steps, losses, strict=True):
        square = total(g**2 for g in grads)
        step = min(loss / square, lr) if square else 0.0
        p = [q - step * g for q, g in zip(p, grads, strict=True)]
    return p


def momo(params, steps, losses, lr, beta, wd, adam=None, adapt=False, bound=0.0):
    """The authors' ``Momo``, or with ``adam=(b2, eps)`` their ``MomoAdam``."""
    p = [q.copy() for q in params]
    m, v = ([np.zeros_like(q) for q in p] for _ in range(2))
    least, f, gamma, grow = bound, 0.0, 0.0, 1 + lr * wd
    for t, (grads, loss) in enumerate(zip(steps, losses, strict=True), 1):
        b = 0.0 if adam is None and t == 1 else beta
        correct = 1.0 if adam is None else 1 - beta**t
        f = b * f + (1 - b) * loss
        gamma = b * gamma + (1 - b) * total(g * q for g, q in zip(grads, p, strict=True))
        m = [b * x + (1 - b) * g for x, g in zip(m, grads, strict=True)]
        metric = [1.0] * len(p)
        if adam is not None:
            b2, eps = adam
            v = [b2 * y + (1 - b2) * g**2 for y, g in zip(v, grads, strict=True)]
            metric = [eps + np.sqrt(y / (1 - b2**t)) for y in v]
        square = total(x**2 / d for x, d in zip(m, metric, strict=True))
        inner = total(x * q for x, q in zip(m, p, strict=True))
        if adapt:
            cap = grow * (f - gamma) + inner
            if cap < grow * correct * bound:
                bound = max(cap / (2 * correct * grow), least)
        step = (
            min(lr / correct, max(grow * (f - correct * bound - gamma) + inner, 0) / square)
            if square
            else 0.0
        )
        p = [(q - step * x / d) / grow for q, x, d in zip(p, m, metric, strict=True)]
        if adapt:
            bound = max((f + inner - gamma - step * square / 2) / correct, least)
    return p
