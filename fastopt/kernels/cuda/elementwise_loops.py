"""Templates of the CUDA kernels that update arrays, which `elementwise` binds to a rule.

Everything but the constants of a step is an integer: addresses, sizes, strides in elements. What is bound
is in `elementwise.names`. Loops are written with ``while``: a ``range`` with a step begins with a division.
"""


def grid_stride(w, g, s, stride, n, first, step, c):
    """Update ``n`` elements as thread ``first`` of ``step``: in 128-bit accesses, then the remainder.

    Where an address is not aligned everything is left over, so memory of any alignment is updated, by
    this one kernel and with the same bits.
    """
    is_aligned = (w | g | s | stride * itemsize) & (wide - 1) == 0
    n_groups = n // lanes if is_aligned else 0
    i = first
    while i < n_groups:
        write_wide(w, s, stride, i, elements(read_wide(w, g, s, stride, i), c))
        i += step
    i = n_groups * lanes + first
    while i < n:
        write(w, s, stride, i, element(read(w, g, s, stride, i), c))
        i += step


def one(w, g, s, stride, n, c):
    """Update one array with the constants ``c``; the whole grid strides over it."""
    grid_stride(w, g, s, stride, n, cuda.grid(1), cuda.gridsize(1), c)


def many(chunks, n_chunks, gradients, c):
    """Update many arrays with the constants ``c``; each block processes chunks in a grid-stride loop.

    A row of ``chunks`` is ``[array, byte offset in the gradient, w, s, stride, n]`` with ``w`` and ``s`` at
    the chunk's first element; ``gradients`` holds the address of each array's gradient.
    """
    chunk = cuda.blockIdx.x
    while chunk < n_chunks:
        array, offset, w, s, stride, n = read_chunk(chunks + 48 * chunk)
        g = read_address(gradients + 8 * array)[0] + offset
        grid_stride(w, g, s, stride, n, cuda.threadIdx.x, cuda.blockDim.x, c)
        chunk += cuda.gridDim.x


def planned(w, g, s, stride, n_decay, n, rows, spared, step):
    """Update one flat vector; the step's number, from 0, is read from the address ``step``.

    Row ``step`` of ``rows`` holds the constants of the first ``n_decay`` elements, that of ``spared`` those
    of the rest, which weight decay spares. No argument changes from step to step, so a CUDA graph can
    replay the launch; whoever replays it counts the step, after it.
    """
    at = read_address(step)[0] * (3 + n_constants) * itemsize
    lo, hi, row = 0, n_decay, rows
    while lo < n:
        begin = lo * itemsize
        c = read_constants(row + at)
        grid_stride(w + begin, g + begin, s + begin, stride, hi - lo, cuda.grid(1), cuda.gridsize(1), c)
        lo, hi, row = hi, n, spared
