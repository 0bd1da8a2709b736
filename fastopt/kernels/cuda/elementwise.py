"""Update kernels for a GPU, made from the same scalar rules as `fastopt.kernels.elementwise`.

Three forms of one loop (`elementwise_loops`): over one array, over a list of arrays in one launch, and over
a flat vector with constants that wait in device memory, for CUDA graphs. float32 is read and written four
elements at a time, float64 two, wherever the addresses allow.
"""

import functools

import numpy as np
from numba import from_dtype, types

from fastopt.kernels import elementwise_loops as cpu_loops
from fastopt.kernels import subnormals
from fastopt.kernels.binding import bind
from fastopt.kernels.cuda import api as cuda
from fastopt.kernels.cuda import elementwise_loops, memory

#: Threads of a block. The simulator runs each as a thread of Python, so few.
THREADS = 8 if cuda.SIMULATED else 256

#: The most threads of a block, and the fewest blocks that a multiprocessor must hold. Not told, the assembler
#: aims at five blocks and spills for some rules; three leave each thread 80 registers.
BOUNDS = THREADS, 3

#: The most blocks of a launch for each multiprocessor; the rest of the work is strided over.
BLOCKS = 2 if cuda.SIMULATED else 16

#: Elements of a chunk of `elementwise_loops.many`: four rounds of a block in wide float32 accesses. A
#: multiple of the lanes, so that every chunk of an aligned array is aligned.
CHUNK = 64 if cuda.SIMULATED else 4096


def element_update(rule, scalar):
    """Return the update of one element, ``element((w, g, *slots), constants) -> (w, *slots)``.

    Written out for the rule's numbers of slots and constants, because Numba inlines no call with ``*args``.
    """
    n_slots = len(rule.slots)
    slots = [f"s{k}" for k in range(n_slots)]
    given = [f"x[{2 + k}]" for k in range(n_slots)] + [f"c[{3 + k}]" for k in range(rule.n_constants)]
    source = f"""def element(x, c):
        w, g = prologue(x[0], x[1], c)
        {", ".join(["w", *slots])} = rule(w, g, {", ".join(given)})
        return ({", ".join(["w", *(f"flush({slot}, tiny)" for slot in slots)])},)"""
    names = {
        "prologue": cuda.device_function(cpu_loops.prologue, scalar),
        "flush": cuda.device_function(subnormals.zero_if_tiny, scalar),
        "rule": cuda.device_function(rule.function, scalar),
        "tiny": scalar(subnormals.TINY[np.dtype(scalar).name]),
    }
    exec(source, names)
    return cuda.inlined(names["element"])


def _elements(element, lanes):
    """Return the update of ``lanes`` consecutive elements, which takes and returns a tuple of them."""
    names = {"element": element}
    exec(f"def elements(x, c): return ({''.join(f'element(x[{k}], c), ' for k in range(lanes))})", names)
    return cuda.inlined(names["elements"])


def names(rule, dtype, **changes):
    """Return the names to bind to a template of `elementwise_loops`, as a dict; ``changes`` replaces some."""
    dtype = np.dtype(dtype)
    lanes = memory.WIDE // dtype.itemsize
    read, write = memory.accesses(dtype, len(rule.slots), 1)
    read_wide, write_wide = memory.accesses(dtype, len(rule.slots), lanes)
    element = element_update(rule, dtype.type)
    bound = {
        "cuda": cuda.module(),
        "element": element,
        "elements": _elements(element, lanes),
        "read": read,
        "write": write,
        "read_wide": read_wide,
        "write_wide": write_wide,
        "read_chunk": memory.row_reader(np.int64, 6),
        "read_address": memory.row_reader(np.int64, 1),
        "read_constants": memory.row_reader(dtype, 3 + rule.n_constants),
        "lanes": lanes,
        "wide": memory.WIDE,
        "itemsize": dtype.itemsize,
        "n_constants": rule.n_constants,
        "grid_stride": elementwise_loops.grid_stride,
        **changes,
    }
    bound["grid_stride"] = cuda.inlined(bind(bound["grid_stride"], rule.function, **bound))
    return bound


def plain_kernel(form, rule, dtype, **changes):
    """Return a template of `elementwise_loops` bound to a rule, not compiled, and its signature.

    Parameters
    ----------
    form : {'one', 'many', 'planned'}
    rule : Rule
    dtype : dtype
    **changes
        See `names`; for tests that plant a fault.

    Returns
    -------
    function, Signature
    """
    dtype = np.dtype(dtype)
    template = getattr(elementwise_loops, form)
    kernel = bind(template, rule.function, f"_{dtype.name}", **names(rule, dtype, **changes))
    n_integers = template.__code__.co_argcount - (form != "planned")
    constants = types.UniTuple(from_dtype(dtype), 3 + rule.n_constants)
    signature = types.void(*[types.int64] * n_integers, *([] if form == "planned" else [constants]))
    return kernel, signature


@functools.cache
def kernel(form, rule, dtype):
    """Return a launchable kernel, compiled at its first launch; see `plain_kernel`."""
    return cuda.kernel(plain_kernel(form, rule, dtype)[0], BOUNDS)


def grid(n, dtype, ordinal=None):
    """Return the number of blocks for an array of ``n`` elements."""
    elements = THREADS * memory.WIDE // np.dtype(dtype).itemsize
    return min(-(-n // elements), BLOCKS * cuda.n_processors(ordinal))


def chunk_table(arrays, itemsize):
    """Return the chunks of arrays as the table that `elementwise_loops.many` reads.

    Parameters
    ----------
    arrays : list of (index, w, s, stride, n)
        The gradient's index, addresses, and sizes in elements.
    itemsize : int

    Returns
    -------
    ndarray of int64, shape (n_chunks, 6)
    """
    rows = [
        (index, lo * itemsize, w + lo * itemsize, s + lo * itemsize, stride, min(CHUNK, n - lo))
        for index, w, s, stride, n in arrays
        for lo in range(0, n, CHUNK)
    ]
    return np.array(rows, np.int64).reshape(-1, 6)
