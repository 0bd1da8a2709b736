"""The template of the loop over a chunk of an array, generated for a number of slots.

Each part is taken before the loop: an index that might be negative would keep LLVM from vectorising.
``rule``, ``n_constants``, ``prologue``, ``flush`` and ``tiny`` are bound by `fastopt.kernels.elementwise`;
slot ``k`` lies ``k * stride`` elements after the first.
"""

import functools
from collections.abc import Callable

from fastopt.kernels import templates
from fastopt.kernels.intrinsics import elements, tuple_at

#: Names to bind that do not depend on the rule.
NAMES = {"elements": elements, "tuple_at": tuple_at}


def prologue(w, g, c):
    """Scale or negate the gradient, add the coupled weight decay, and apply the decoupled one."""
    g = c[0] * g
    if c[1]:  # absent, it must not turn an infinite weight into NaN
        g = g + c[1] * w
    return c[2] * w, g


#: The loop stands twice, with coupled decay and without. LLVM takes the branch of `prologue` out of a loop by
#: itself only as long as the rule is short; left inside, it costs Adam 13 % of its speed in cache.
_LOOP = """
def loop(w, g, s, stride, c, lo, hi):
    w = elements(w, lo, hi)
    g = elements(g, lo, hi)
    {opened}
    head = tuple_at(c, 0, 3)
    k = tuple_at(c, 3, n_constants)
    if head[1]:
        {body}
    else:
        {body}
"""

_BODY = """
for i in range(w.shape[0]):
    p, d = prologue(w[i], g[i], head)
    {results} = rule({arguments}, *k)
    {written}
"""


@functools.cache
def loop(n_slots: int) -> Callable:
    """Return the template of the loop for rules with ``n_slots`` slots."""
    slots = range(n_slots)
    opened = [f"s{k} = elements(s, {k} * stride + lo, {k} * stride + hi)" for k in slots]
    body = templates.fill(
        _BODY,
        results=", ".join(["x", *(f"x{k}" for k in slots)]),
        arguments=", ".join(["p", "d", *(f"s{k}[i]" for k in slots)]),
        written=["w[i] = x", *(f"s{k}[i] = flush(x{k}, tiny)" for k in slots)],
    )
    text = templates.fill(_LOOP, opened=opened, body=body.strip().split("\n"))
    return templates.function(text, "loop")
