"""The kernels of a training step: one for each layer forward and backward, the loss, and the update.

Templates: ``compilation.py`` binds the free names. Every matrix product is cut into square tiles of ``SIDE``
elements. A block of ``BLOCK * BLOCK`` threads forms a tile from slices of ``DEPTH`` that it brings to shared
memory; a thread keeps ``MICRO * MICRO`` sums, ``BLOCK`` rows and columns apart, so that neighbours read and
write neighbours. Blocks take tile after tile.

Everything that changes from step to step stands in device memory: ``cells`` holds the number of the batch,
and row ``batch`` of ``batches`` its first row and number of rows. So a step is the same launches with the
same arguments, which a CUDA graph replays. ``cells[NEXT]`` is read up to the loss, which copies it to
``cells[NOW]``; the launches after it read that, and the last one counts. No launch writes a cell that its
other blocks read.

Sums are formed in an order that depends on the shapes alone, and nothing is added atomically: the same bits
in every run.

A signed index might count from the end, which Numba checks at every access, so indices are made unsigned;
`while`, because a `range` with a step divides.

The kernels from `gather` on take the place of the products' other work where cuBLAS forms these. It is given
whole batches: rows that a batch does not have are finite, and their gradients 0.
"""

#: Places in ``cells``.
NEXT, NOW = 0, 1


def load_rows(tile, source, at, stride, rows, start, first, n_rows, k, n_columns, thread):
    """Fill ``tile[depth, across]``: ``SIDE`` rows of a matrix across, its columns from ``k`` in depth.

    The matrix begins at ``source[at]``, with ``stride`` elements a row. With ``start >= 0`` its rows are
    those of the batch, picked by ``rows[start:]``. What lies outside is 0.
    """
    e = thread
    while e < SIDE * DEPTH:
        across, depth = e // DEPTH, e % DEPTH
        row, column = first + across, k + depth
        value = ZERO
        if row < n_rows and column < n_columns:
            if start >= 0:
                row = rows[uint64(start + row)]
            value = source[uint64(at + row * stride + column)]
        tile[uint64(depth), uint64(across)] = value
        e += BLOCK * BLOCK


def load_columns(tile, source, at, stride, rows, start, first, n_columns, k, n_rows, thread, ones):
    """Fill ``tile[depth, across]``: ``SIDE`` columns of a matrix across, its rows from ``k`` in depth.

    As `load_rows`; with ``ones`` the matrix has one column more, of ones.
    """
    e = thread
    while e < SIDE * DEPTH:
        depth, across = e // SIDE, e % SIDE
        row, column = k + depth, first + across
        value = ZERO
        if row < n_rows:
            if column < n_columns:
                if start >= 0:
                    row = rows[uint64(start + row)]
                value = source[uint64(at + row * stride + column)]
            elif ones and column == n_columns:
                value = ONE
        tile[uint64(depth), uint64(across)] = value
        e += BLOCK * BLOCK


def clear(sums):
    """Set a thread's accumulators to 0."""
    for u in range(MICRO):
        for v in range(MICRO):
            sums[u, v] = ZERO


def accumulate(sums, left, right, y, x):
    """Add the products of one slice in shared memory to a thread's accumulators."""
    for k in range(DEPTH):
        for u in range(MICRO):
            a = left[uint64(k), uint64(y + u * BLOCK)]
            for v in range(MICRO):
                sums[u, v] += a * right[uint64(k), uint64(x + v * BLOCK)]


def activate(z, params, slope_at):
    """Return the output for a pre-activation."""
    return value(z)


def activate_with_slope(z, params, slope_at):
    """As `activate`, of a unit that has learnt the parameter at ``slope_at``."""
    return value(z, params[slope_at])


def backpropagate(delta, deltas, points, place, params, slope_at):
    """Write the gradient at a pre-activation, given that at the output and what the derivative takes."""
    deltas[place] = backward(delta, points[place])


def backpropagate_with_slope(delta, deltas, points, place, params, slope_at):
    """As `backpropagate`; replace the pre-activation, needed no more, by the row's gradient of the slope."""
    z, slope = points[place], params[slope_at]
    deltas[place] = backward(delta, z, slope)
    points[place] = parameter_backward(delta, z, slope)


def forward(
    params, weights_at, bias_at, slopes_at, n_in, n_out, source, source_at, is_first, target, target_at,
    is_last, inputs,
    rows, batches, cells,
):  # fmt: skip
    """Compute one layer's outputs ``activate(source @ weights + bias)``; the last layer's are not activated.

    Of the first layer the source is the data, whose rows ``rows`` picks. With `KEEPS_INPUT` the
    pre-activations go to ``inputs``.
    """
    left = cuda.shared.array((DEPTH, PADDED), REAL)
    right = cuda.shared.array((DEPTH, PADDED), REAL)
    sums = cuda.local.array((MICRO, MICRO), REAL)
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    thread = y * BLOCK + x
    batch = cells[NEXT]
    n_rows = batches[batch, 1]
    start = batches[batch, 0] if is_first else -1
    across = (n_out + SIDE - 1) // SIDE
    n_tiles = across * ((n_rows + SIDE - 1) // SIDE)
    tile = cuda.blockIdx.x
    while tile < n_tiles:
        row, column = tile // across * SIDE, tile % across * SIDE
        clear(sums)
        k = 0
        while k < n_in:
            load_rows(left, source, source_at, n_in, rows, start, row, n_rows, k, n_in, thread)
            load_columns(right, params, weights_at, n_out, rows, -1, column, n_out, k, n_in, thread, False)
            cuda.syncthreads()
            accumulate(sums, left, right, y, x)
            cuda.syncthreads()
            k += DEPTH
        for u in range(MICRO):
            for v in range(MICRO):
                i, j = row + y + u * BLOCK, column + x + v * BLOCK
                if i < n_rows and j < n_out:
                    z = sums[u, v] + params[uint64(bias_at + j)]
                    place = uint64(target_at + i * n_out + j)
                    if KEEPS_INPUT:
                        inputs[place] = z
                    target[place] = z if is_last else activate(z, params, uint64(slopes_at + j))
        tile += cuda.gridDim.x


def output(
    outputs, at, n_out, y, w, weighted, loss_parameters, deltas, losses, is_training,
    rows, batches, cells,
):  # fmt: skip
    """Turn the last pre-activations into outputs; in training also compute each row's loss and gradient.

    Each row is shared by ``BLOCK`` threads. ``losses`` has a place for every row of the data, in the order of
    visit. ``share_of_loss`` is `share_of_elements`, or `share_of_row` where a loss sees whole rows.
    """
    parts = cuda.shared.array((BLOCK, PADDED), REAL)
    lane, line = cuda.threadIdx.x, cuda.threadIdx.y
    batch = cells[NEXT]
    start, n_rows = batches[batch, 0], batches[batch, 1]
    for first in range(cuda.blockIdx.x * BLOCK, n_rows, cuda.gridDim.x * BLOCK):
        # Threads beyond the last row repeat it, so that all of a block meet at the barriers.
        row = min(first + line, n_rows - 1)
        is_inside = first + line < n_rows
        z = at + row * n_out
        scale, top = ONE, ZERO
        if IS_NORMALIZED:
            top = outputs[z]
            for j in range(lane, n_out, BLOCK):
                top = max(top, outputs[z + j])
            parts[line, lane] = top
            cuda.syncthreads()
            for k in range(BLOCK):
                top = max(top, parts[line, k])
            cuda.syncthreads()
            total = ZERO
            for j in range(lane, n_out, BLOCK):
                total += finish(outputs[z + j] - top)
            parts[line, lane] = total
            cuda.syncthreads()
            total = ZERO
            for k in range(BLOCK):
                total += parts[line, k]
            cuda.syncthreads()
            scale = ONE / total
        source = rows[start + row]
        weight = w[source] if weighted else ONE
        for j in range(lane, n_out, BLOCK):
            if is_inside:
                p = finish(outputs[z + j] - top) * scale if IS_NORMALIZED else finish(outputs[z + j])
                outputs[z + j] = p
        if is_training:
            if SEES_ROWS:
                cuda.syncthreads()  # other threads have written outputs
            parts[line, lane] = share_of_loss(
                outputs, deltas, z, y, source * n_out, loss_parameters, n_out, weight, lane, is_inside
            )
            cuda.syncthreads()
            if lane == 0 and is_inside:
                loss = ZERO
                for k in range(BLOCK):
                    loss += parts[line, k]
                losses[start + row] = loss * weight
            cuda.syncthreads()
    if is_training and cuda.blockIdx.x == 0 and lane == 0 and line == 0:
        cells[NOW] = batch


def share_of_elements(outputs, deltas, z, y, target, loss_parameters, n_out, weight, lane, is_inside):
    """Write the gradient at a thread's share of a row's outputs, and return the sum of their losses.

    Outputs and gradients of the row begin at ``z``, targets at ``target``.
    """
    loss = ZERO
    if is_inside:
        for j in range(lane, n_out, BLOCK):
            loss += element_loss(outputs[z + j], y[target + j])
            deltas[z + j] = element_gradient(outputs[z + j], y[target + j]) * weight
    return loss


def share_of_row(outputs, deltas, z, y, target, loss_parameters, n_out, weight, lane, is_inside):
    """Do what `share_of_elements` does for a loss of whole rows: the first thread does all of it."""
    loss = ZERO
    if is_inside and lane == 0:
        loss = row_loss(
            outputs[z : z + n_out], y[target : target + n_out], deltas[z : z + n_out], loss_parameters
        )
        for j in range(n_out):
            deltas[z + j] *= weight
    return loss


def backward(
    params, weights_at, slopes_at, n_in, n_out, deltas, at, points, source_at,
    rows, batches, cells,
):  # fmt: skip
    """Compute the gradient at the previous layer's pre-activations: ``deltas @ weights.T`` times the slope.

    ``points`` is what the activation's derivative takes: all layers' outputs, or their pre-activations.
    ``slopes_at`` is where the previous layer's learnt slopes begin.
    """
    left = cuda.shared.array((DEPTH, PADDED), REAL)
    right = cuda.shared.array((DEPTH, PADDED), REAL)
    sums = cuda.local.array((MICRO, MICRO), REAL)
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    thread = y * BLOCK + x
    n_rows = batches[cells[NOW], 1]
    across = (n_in + SIDE - 1) // SIDE
    n_tiles = across * ((n_rows + SIDE - 1) // SIDE)
    tile = cuda.blockIdx.x
    while tile < n_tiles:
        row, column = tile // across * SIDE, tile % across * SIDE
        clear(sums)
        k = 0
        while k < n_out:
            load_rows(left, deltas, at, n_out, rows, -1, row, n_rows, k, n_out, thread)
            load_rows(right, params, weights_at, n_out, rows, -1, column, n_in, k, n_out, thread)
            cuda.syncthreads()
            accumulate(sums, left, right, y, x)
            cuda.syncthreads()
            k += DEPTH
        for u in range(MICRO):
            for v in range(MICRO):
                i, j = row + y + u * BLOCK, column + x + v * BLOCK
                if i < n_rows and j < n_in:
                    place = uint64(source_at + i * n_in + j)
                    backpropagate(sums[u, v], deltas, points, place, params, uint64(slopes_at + j))
        tile += cuda.gridDim.x


def update(
    params, state, stride, constants, data, activations, deltas, layers, tiles, squares,
    rows, batches, cells,
):  # fmt: skip
    """Compute the gradient of each tile of all layers, and apply the optimizer's rule at once.

    A layer's gradient has one row more than its weights, that of the biases: the batch's sum. A row of
    ``layers`` is ``[n_in, n_out, weights, bias, source, deltas]``, the last four places in flat vectors, of
    the source -1 where it is the data, whose rows ``rows`` picks; a
    row of ``tiles`` is ``[layer, row, column]``. The last column of ``constants`` is what a squared weight
    adds to the loss; ``squares`` collects it for each thread of each tile.
    """
    left = cuda.shared.array((DEPTH, PADDED), REAL)
    right = cuda.shared.array((DEPTH, PADDED), REAL)
    sums = cuda.local.array((MICRO, MICRO), REAL)
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    thread = y * BLOCK + x
    batch = cells[NOW]
    start, n_rows = batches[batch, 0], batches[batch, 1]
    # A batch without rows, whose samples weigh nothing, teaches nothing.
    n_tiles = tiles.shape[0] if n_rows > 0 else 0
    tile = cuda.blockIdx.x
    while tile < n_tiles:
        number, row, column = tiles[tile, 0], tiles[tile, 1], tiles[tile, 2]
        n_in, n_out = layers[number, 0], layers[number, 1]
        weights_at, bias_at, deltas_at = layers[number, 2], layers[number, 3], layers[number, 5]
        source, source_at, picked = activations, layers[number, 4], -1
        if source_at < 0:
            source, source_at, picked = data, 0, start
        clear(sums)
        k = 0
        while k < n_rows:
            load_columns(left, source, source_at, n_in, rows, picked, row, n_in, k, n_rows, thread, True)
            load_columns(right, deltas, deltas_at, n_out, rows, -1, column, n_out, k, n_rows, thread, False)
            cuda.syncthreads()
            accumulate(sums, left, right, y, x)
            cuda.syncthreads()
            k += DEPTH
        squared = ZERO
        for u in range(MICRO):
            for v in range(MICRO):
                i, j = row + y + u * BLOCK, column + x + v * BLOCK
                if i <= n_in and j < n_out:
                    is_weight = i < n_in
                    place = uint64(weights_at + i * n_out + j if is_weight else bias_at + j)
                    weight = params[place]
                    if is_weight:
                        squared += weight * weight
                    params[place] = learn(
                        weight, sums[u, v], state, stride, place, constants, batch, is_weight
                    )
        squares[tile * BLOCK * BLOCK + thread] += squared * constants[batch, PENALTY]
        tile += cuda.gridDim.x
    if cuda.blockIdx.x == 0 and thread == 0:
        cells[NEXT] = batch + 1


def update_slopes(
    params, state, stride, constants, gradients, at, n_units, slopes_at, batches, cells,
):  # fmt: skip
    """Sum the rows of a layer's ``gradients``, which `backpropagate_with_slope` wrote, and update its slopes.

    Threads along a block's second side sum every ``BLOCK``-th row.
    """
    parts = cuda.shared.array((BLOCK, BLOCK), REAL)
    lane, line = cuda.threadIdx.x, cuda.threadIdx.y
    batch = cells[NOW]
    n_rows = batches[batch, 1]
    first = cuda.blockIdx.x * BLOCK
    while first < n_units and n_rows > 0:
        unit = first + lane
        total = ZERO
        row = line
        while row < n_rows and unit < n_units:
            total += gradients[uint64(at + row * n_units + unit)]
            row += BLOCK
        parts[line, lane] = total
        cuda.syncthreads()
        if line == 0 and unit < n_units:
            total = ZERO
            for k in range(BLOCK):
                total += parts[k, lane]
            place = uint64(slopes_at + unit)
            params[place] = learn(params[place], total, state, stride, place, constants, batch, False)
        cuda.syncthreads()
        first += cuda.gridDim.x * BLOCK


def drop(values, at, width, kept, keeps, number, dropout, scales, goes_back, rows, batches, cells):
    """Write a layer's outputs, or their gradients, after dropout; with ``keeps`` copy to ``kept`` before.

    Layer ``number`` of a batch has its key and threshold in ``dropout``, and its scale in ``scales``.
    """
    batch = cells[NOW] if goes_back else cells[NEXT]
    key, threshold = uint32(dropout[batch, 2 * number]), int32(dropout[batch, 2 * number + 1])
    second, scale = second_key(key), scales[batch, number]
    e = cuda.grid(1)
    while e < batches[batch, 1] * width:
        place = uint64(at + e)
        x = values[place]
        if keeps:
            kept[place] = x
        values[place] = dropped(x, bits_of(key, second, e), threshold, scale)
        e += cuda.gridsize(1)


def gather(data, n_in, target, target_at, capacity, rows, batches, cells):
    """Copy the batch's rows, padded with zeros to ``capacity`` rows, for dropout or a product by cuBLAS."""
    batch = cells[NEXT]
    start, n_rows = batches[batch, 0], batches[batch, 1]
    e = cuda.grid(1)
    while e < capacity * n_in:
        row, column = e // n_in, e % n_in
        value = ZERO
        if row < n_rows:
            value = data[uint64(rows[uint64(start + row)] * n_in + column)]
        target[uint64(target_at + e)] = value
        e += cuda.gridsize(1)


def conclude(params, bias_at, slopes_at, n_out, target, target_at, is_last, inputs, capacity):
    """Turn a product by cuBLAS into a layer's outputs, as `forward` does."""
    e = cuda.grid(1)
    while e < capacity * n_out:
        place = uint64(target_at + e)
        unit = e % n_out
        z = target[place] + params[uint64(bias_at + unit)]
        if KEEPS_INPUT:
            inputs[place] = z
        target[place] = z if is_last else activate(z, params, uint64(slopes_at + unit))
        e += cuda.gridsize(1)


def descend(params, slopes_at, width, deltas, points, at, n):
    """Multiply gradients computed by cuBLAS by the slope, as `backward` does."""
    e = cuda.grid(1)
    while e < n:
        place = uint64(at + e)
        backpropagate(deltas[place], deltas, points, place, params, uint64(slopes_at + e % width))
        e += cuda.gridsize(1)


def clear_rest(deltas, at, width, capacity, batches, cells):
    """Set gradients beyond the batch's rows to 0, so that cuBLAS may sum all rows."""
    e = batches[cells[NOW], 1] * width + cuda.grid(1)
    while e < capacity * width:
        deltas[uint64(at + e)] = ZERO
        e += cuda.gridsize(1)


def apply(params, state, stride, constants, gradient, at, n, squares, squares_at, batches, cells):
    """Apply the optimizer's rule to the weights of a layer whose gradient cuBLAS computed."""
    batch = cells[NOW]
    squared = ZERO
    e = cuda.grid(1)
    while e < n and batches[batch, 1] > 0:
        place = uint64(at + e)
        weight = params[place]
        squared += weight * weight
        params[place] = learn(weight, gradient[uint64(e)], state, stride, place, constants, batch, True)
        e += cuda.gridsize(1)
    squares[uint64(squares_at + cuda.grid(1))] += squared * constants[batch, PENALTY]
