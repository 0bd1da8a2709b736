"""Update kernels for state in 16 or 8 bits: decode, update and encode in one pass over memory.

Called like those of `fastopt.kernels.elementwise`. Codes of slot ``k`` start ``k * stride`` codes after the
first. With 8 bits the scales of all slots follow, each slot's on a cache line of its own, and a kernel works
on whole blocks: ``lo`` is a multiple of `BLOCK`. A block stays in the first-level cache while it is updated
and its largest elements are found, then it is encoded. Random numbers depend on the step and the element, so
the bits do not depend on how arrays are split into tasks.
"""

import numpy as np

from fastopt.kernels import quantization, templates
from fastopt.kernels.intrinsics import pointer, scratch, tuple_at, vector
from fastopt.kernels.quantization import DROPPED
from fastopt.rules.quantized_state import BLOCK, UNSIGNED

#: Bytes on whose multiples each slot begins.
LINE = 64

_UPDATE = """
def update(w, g, s, stride, c, lo, hi):
    head = tuple_at(pointer(c, real), 0, 3)
    k = tuple_at(pointer(c, real), 3, {own})
    key = uint32(uint32(vector(c, real, 4 + {own})[3 + {own}]) << uint32(8))
    counter = counter_at(lo, key)
    {body}
"""

_BFLOAT16 = """
a_w = vector(w, real, hi)[lo:]
a_g = vector(g, real, hi)[lo:]
{opened}
for i in range(hi - lo):
    p, d = prologue(a_w[i], a_g[i], head)
    {results} = rule(p, d, {decoded}, *k)
    a_w[i] = x
    {encoded}
    counter = count(counter)
"""

_INT8 = """
{buffers}
scales = s + {n} * stride
stride_of_scales = ((stride + BLOCK - 1) // BLOCK + LINE - 1) // LINE * LINE
for block in range(lo // BLOCK, (hi + BLOCK - 1) // BLOCK):
    at = block * BLOCK
    n = min(BLOCK, hi - at)
    a_w = vector(w + at * itemsize, real, n)
    a_g = vector(g + at * itemsize, real, n)
    {opened}
    for i in range(n):
        p, d = prologue(a_w[i], a_g[i], head)
        {results} = rule(p, d, {decoded}, *k)
        a_w[i] = x
        {kept}
    {rescaled}
    for i in range(n):
        {encoded}
        counter = count(counter)
"""


def _random(k, n_bits):
    """Return the source lines that generate random bits for slot ``k``, and their expression."""
    word, half = divmod(k, 2)
    counter = f"uint32(counter + uint32({word * 0x3C6EF372}))" if word else "counter"
    made = [f"r{word} = mix({counter})"] * (half == 0)
    return made, f"{('low_random', 'high_random')[half]}(r{word}, {n_bits})"


def _bfloat16(rule):
    opened, decoded, encoded = [], [], []
    for k in range(len(rule.moments)):
        made, random = _random(k, 16)
        opened += [f"q{k} = vector(s + {2 * k} * stride, uint16, hi)[lo:]"]
        decoded += [f"real(decode_bfloat16(q{k}[i]))"]
        encoded += [*made, f"q{k}[i] = encode_bfloat16(flush(float32(x{k}), tiny), {random})"]
    return _BFLOAT16, {"opened": opened, "decoded": ", ".join(decoded), "encoded": encoded}


def _int8(rule):
    buffers, opened, decoded, kept, rescaled, encoded = [], [], [], [], [], []
    for k, name in enumerate(rule.moments):
        kind, code = ("unsigned", "uint8") if name in UNSIGNED else ("signed", "int8")
        made, random = _random(k, DROPPED)
        buffers += [f"b{k} = scratch(float32, BLOCK)"]
        opened += [f"q{k} = vector(s + {k} * stride + at, {code}, n)"]
        opened += [f"e{k} = vector(scales + {k} * stride_of_scales + block, uint8, 1)"]
        opened += [f"f{k}, m{k} = low_{kind}(e{k}[0]), int32(0)"]
        decoded += [f"real(decode_{kind}(q{k}[i], f{k}))"]
        kept += [f"b{k}[i] = float32(x{k})", f"m{k} = max(m{k}, magnitude(float32(x{k})))"]
        rescaled += [f"e{k}[0] = uint8(scale_of(m{k}))", f"f{k} = low_{kind}(e{k}[0])"]
        encoded += [*made, f"q{k}[i] = encode_{kind}(b{k}[i], f{k}, {random})"]
    parts = {"buffers": buffers, "kept": kept, "rescaled": rescaled, "n": len(rule.moments)}
    return _INT8, parts | {"opened": opened, "decoded": ", ".join(decoded), "encoded": encoded}


def template(rule):
    """Return the template of the update kernel of a `Reduced` rule."""
    text, parts = {"bfloat16": _bfloat16, "int8": _int8}[rule.state_dtype](rule)
    results = ", ".join(["x", *(f"x{k}" for k in range(len(rule.moments)))])
    body = templates.fill(text, results=results, **parts).strip().split("\n")
    return templates.function(templates.fill(_UPDATE, body=body, own=rule.n_constants - 1), "update")


def first_codes(rule, name, value):
    """Return the first value of slot ``name`` of a `Reduced` rule whose moment begins at ``value``."""
    value = np.float32(value)
    if rule.state_dtype == "bfloat16":
        return quantization.encode_bfloat16(value, np.uint32(1 << 15))
    moment = rule.moment(name)
    scale = quantization.scale_of(quantization.magnitude(value))
    if name != moment:
        return scale
    half = np.uint32(1 << (DROPPED - 1))
    if moment in UNSIGNED:
        return quantization.encode_unsigned(value, quantization.low_unsigned(scale), half)
    return quantization.encode_signed(value, quantization.low_signed(scale), half) & 0xFF


def names(scalar):
    """Return the names to bind that depend only on the parameter's dtype."""
    return {
        **{name: value for name, value in vars(quantization).items() if not name.startswith("_")},
        **{name: getattr(np, name) for name in ("float32", "int32", "int8", "uint8", "uint16", "uint32")},
        "BLOCK": BLOCK,
        "LINE": LINE,
        "itemsize": np.dtype(scalar).itemsize,
        "pointer": pointer,
        "range": range,
        "real": scalar,
        "scratch": scratch,
        "tuple_at": tuple_at,
        "vector": vector,
    }
