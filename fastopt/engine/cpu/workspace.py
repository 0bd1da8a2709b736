"""The workspace of a training run: its buffers, and the division into row blocks and weight tiles."""

import ctypes
from itertools import pairwise

import numpy as np

from fastopt.engine.cpu import compilation
from fastopt.engine.cpu.context import (
    BIAS,
    COMPRESS,
    CONTEXT,
    CSR,
    DENSE,
    END,
    IN_PARTS,
    LAYER,
    LINE,
    MAX_CONSTANTS,
    SLOPES,
    WHOLE,
    YIELD,
)
from fastopt.engine.cpu.inputs import GROUP, WORD
from fastopt.engine.cpu.layer_products import IN_REGISTERS
from fastopt.engine.cpu.work_sharing import CLOSED, LEADER, NEXT_TILE, OVER, STOP, give_way_address
from fastopt.kernels import aligned_memory
from fastopt.kernels.gemm import gemm_address
from fastopt.kernels.simd_gemm import COPY_BYTES
from fastopt.rules.activations import ACTIVATIONS

#: Rows that go through the network together; fewer make the products inefficient, more leave threads
#: without work.
BLOCK_ROWS = 64
#: Weights whose gradient is formed and applied while it is in the L2 cache.
TILE = 32768
#: Tiles a network is cut into at the least, if they keep this many weights each.
MIN_TILES, MIN_TILE = 8, 2048
#: Rows of a tile come in whole dozens, because the products' blocks are of 4 and 6 rows, or 6 and 8.
TILE_ROWS = 12
#: Elements after the last that products may read, a vector.
_SLACK = 16


def block_rows(n_rows):
    """Return the rows of a block: a multiple of 4 near ``BLOCK_ROWS``; blocks are one or an even number."""
    return 4 * -(-n_rows // (4 * max(1, 2 * round(n_rows / (2 * BLOCK_ROWS)))))


def tile_rows(layout, layer, inputs):
    """Return the rows of a layer's tiles: for CSR inputs a power of two, so that a shift finds the tile."""
    n_in, n_out = layout.shapes[layer]
    target = min(TILE, max(MIN_TILE, layout.n_decay // MIN_TILES))
    rows = -(-n_in // max(1, round(n_in * n_out / target)))
    if layer == 0 and inputs == CSR:
        return 1 << max(0, rows.bit_length() - 1)
    return -(-rows // TILE_ROWS) * TILE_ROWS


def cut_tiles(layout, inputs):
    """Return tiles as (layer, first row, last row, number); `BIAS` or `SLOPES` is a vector's first row."""
    tiles = []
    for layer, (n_in, _) in enumerate(layout.shapes):
        rows = tile_rows(layout, layer, inputs)
        firsts = range(0, n_in, rows)
        if not (layer == 0 and inputs == CSR):
            firsts = firsts[: max(1, round(n_in / rows))]  # a short last tile joins the one before
        tiles += [(layer, *ends) for ends in pairwise([*firsts, n_in])]
    tiles += [(layer, BIAS, 0) for layer in range(len(layout.shapes))]
    tiles += [(layer, SLOPES, 0) for layer, has in enumerate(layout.has_slopes) if has]
    return np.array([(*tile, number) for number, tile in enumerate(tiles)], dtype=np.int64)


def share_tiles(tiles, layout, inputs, n_workers):
    """Assign tiles of about equal total cost to each worker; return them by worker, and their starts.

    A worker's costly tiles come first, so that little is left to wait for. A weight of a first layer whose
    zeros are left out costs half as much as others: on MNIST, batches of 128, 1.8 of 4 ns with its update.
    """
    costs = [
        (last - first) * layout.shapes[layer][1] / (1 if layer or inputs == DENSE else 2)
        for layer, first, last, _ in tiles
    ]
    shares, loads = [[] for _ in range(n_workers)], [0.0] * n_workers
    for number in sorted(range(len(tiles)), key=lambda i: -costs[i]):
        worker = loads.index(min(loads))
        shares[worker].append(number)
        loads[worker] += costs[number]
    bounds = np.cumsum([0, *map(len, shares)])
    return tiles[[number for share in shares for number in share]], bounds


#: Fields for this batch's constants of each group of parameters: of weights, and of vectors.
_CONSTANTS = ("weight_constants", "bias_constants")
#: Place of each field in the record.
_AT = {name: i for i, name in enumerate(CONTEXT.names)}
_BEGIN = slice(_AT["first_batch"], _AT["stopped_at"] + 1)


def _address(array):
    if array.flags.carray and array.size:  # the quick way: several addresses are taken for each prediction
        return ctypes.addressof(ctypes.c_byte.from_buffer(array))
    return array.__array_interface__["data"][0]


def _padded(sizes):
    """Round sizes up to whole cache lines."""
    return -(-np.asarray(sizes, np.int64) // 16) * 16


class Workspace:
    """The context record of a run, with the arrays whose addresses it holds.

    Parameters
    ----------
    layout : Layout
    dtype : dtype
    routines : Addresses
        Of the network's routines for this dtype; see `compilation.routine_addresses`.
    activations : tuple of Activation
        One for each hidden layer.
    capacity : int
        Rows of the largest batch.
    inputs, block_entries : int
        As `choose_inputs` returned them.
    n_workers : int
    drops : tuple of bool, optional
        Whether there is dropout of the inputs, and of the outputs of each hidden layer.
    """

    def __init__(
        self, layout, dtype, routines, activations, capacity, inputs, block_entries, n_workers, drops=()
    ):
        self.context = np.zeros(1, CONTEXT)
        self._fields = self.context.view(np.int64)  # every field is one; a record's item is slow to set
        self.address = self.context.ctypes.data
        self._arrays, self._params_at = {}, None
        self._layout, self.capacity = layout, capacity
        rows = block_rows(capacity)
        n_blocks = -(-capacity // rows)
        self._counters = np.full((NEXT_TILE + n_workers, LINE // 8), CLOSED, np.int64)
        self._result, self._alpha = np.zeros(3), np.zeros(1)
        self.set(
            n_layers=len(layout.shapes), n_features=layout.layer_sizes[0], capacity=capacity,
            block_rows=rows, n_workers=n_workers, itemsize=dtype.itemsize, inputs=inputs,
            give_way=give_way_address(), gemm=gemm_address(dtype.itemsize), **routines.network,
        )  # fmt: skip
        self.point(
            one=np.ones(1, dtype), batch_weight=np.zeros(1),
            zeros=np.zeros(max(layout.layer_sizes), dtype),
            copies=aligned_memory.empty(n_workers * COPY_BYTES, np.uint8),
            counters=self._counters, result=self._result, alpha=self._alpha,
            transposed_for=np.zeros((n_workers, LINE // 8), np.int64),
            block_losses=np.zeros(n_blocks),
        )  # fmt: skip
        # A worker may look for work before the leader has begun the first batch.
        self.set(stop_at=self._fields[_AT["counters"]] + OVER * LINE)
        #: Whether a right-hand matrix, weights or the batch's deltas, is too large for the registers.
        self.calls_blas = any(
            max(n_in, capacity) * n_out * dtype.itemsize > IN_REGISTERS for n_in, n_out in layout.shapes
        )
        if self.calls_blas:
            self.set(repeat=compilation.routine("repeat", dtype.name).address)
        self._place_tiles(dtype, inputs, n_workers)
        self._place_inputs(dtype, inputs, rows, n_blocks, block_entries, n_workers)
        if inputs == CSR and drops and drops[0]:
            self.point(entry_dropped=np.empty(n_blocks * block_entries + 1, dtype))
        self._place_layers(capacity, dtype, n_workers, activations, drops)
        self._place_scale(dtype)
        self._place_groups(None)
        self._place_activations(activations, routines.hidden)

    def _place_tiles(self, dtype, inputs, n_workers):
        """Divide the weights into tiles; allocate the gradient of one tile for each worker."""
        layout = self._layout
        tiles, bounds = share_tiles(cut_tiles(layout, inputs), layout, inputs, n_workers)
        largest = max((last - first) * layout.shapes[layer][1] for layer, first, last, _ in tiles)
        if layout.scales_inputs:  # a tile of the first layer has the gradient of its rows' scale, too
            largest += max(last - first for layer, first, last, _ in tiles if layer == 0)
        size = int(_padded(max(largest, *layout.layer_sizes[1:])))
        self.set(n_tiles=len(tiles), buffer_stride=size * dtype.itemsize)
        self.point(
            tiles=tiles, tile_bounds=bounds, tile_squares=np.zeros(len(tiles)),
            buffers=aligned_memory.empty((n_workers, size), dtype),
            cleared=np.zeros((n_workers, size if inputs == CSR else 1), dtype),
        )  # fmt: skip

    def _place_inputs(self, dtype, inputs, rows, n_blocks, block_entries, n_workers):
        """Allocate buffers of gathered rows with their marks, or of sorted CSR entries."""
        n_features = self._layout.layer_sizes[0]
        if inputs == CSR:
            rows_of_tile = tile_rows(self._layout, 0, inputs)
            n_tiles, shift = -(-n_features // rows_of_tile), rows_of_tile.bit_length() - 1
            self.set(input_shift=shift, n_input_tiles=n_tiles, block_entries=block_entries)
            self.point(
                entry_start=np.empty((n_blocks, n_tiles + 2), np.int64),
                entry_column=np.empty(n_blocks * block_entries + 1, np.int32),
                entry_row=np.empty(n_blocks * block_entries + 1, np.int32),
                entry_value=np.empty(n_blocks * block_entries + 1, dtype),
            )
            return
        self.point(gathered=aligned_memory.empty((self.capacity, n_features), dtype))
        if inputs == COMPRESS:
            n_words = -(-n_features // WORD)
            length = max(rows * n_features, n_blocks * rows)
            self.set(list_length=length)
            self.point(
                row_bits=np.empty((n_blocks * rows, n_words), np.uint64),
                group_bits=np.empty((n_blocks, -(-rows // WORD), n_words * WORD // GROUP), np.uint64),
                lists=np.empty((n_workers, length), np.int32),
                list_starts=np.empty((n_workers, rows + 1), np.int64),
            )

    def _place_layers(self, capacity, dtype, n_workers, activations, drops):
        """Allocate the layers' outputs, deltas and transposed weights, and fill their records."""
        layout, itemsize = self._layout, dtype.itemsize
        shapes = np.array(layout.shapes, np.int64)
        sizes = _padded(capacity * shapes[:, 1])
        at = np.concatenate([[0], np.cumsum(sizes)]) * itemsize
        self._outputs = aligned_memory.empty(sizes.sum(), dtype)
        drops_source = np.array([bool(one) for one in drops] or [False] * len(shapes))
        drops = np.append(drops_source[1:], False)
        keeps_input = np.array([*(one.keeps_input for one in activations), False])
        # A derivative by the outputs is by those before dropout; the ReLU's is the same by those after it.
        is_relu = np.array([*(one is ACTIVATIONS["relu"] for one in activations), False])
        keeps_outputs = drops & ~keeps_input & ~is_relu
        keeps = keeps_input | keeps_outputs
        self._pre_activations = np.empty(sizes.sum(), dtype) if keeps.any() else self._outputs
        self._deltas = aligned_memory.empty(sizes.sum() + _SLACK, dtype)
        layers = self._layers = np.zeros(len(shapes), LAYER)
        layers["n_in"], layers["n_out"] = shapes.T
        layers["source_stride"], layers["target_stride"] = shapes.T * itemsize
        layers["weights_at"], layers["bias_at"] = layout.weights_at, layout.biases_at
        layers["slopes_at"] = layout.slopes_at
        outputs, kept = _address(self._outputs), _address(self._pre_activations)
        layers["target"], layers["delta"] = outputs + at[:-1], _address(self._deltas) + at[:-1]
        layers["pre_activations"] = np.where(keeps, kept, outputs) + at[:-1]
        layers["undropped"] = np.where(keeps_outputs, kept, outputs) + at[:-1]
        layers["drops_source"], layers["drops"] = drops_source, drops
        for name, before in (
            ("source", "target"), ("source_delta", "delta"), ("source_points", "pre_activations")
        ):  # fmt: skip
            layers[name][1:] = layers[before][:-1]
        n_weights = shapes.prod(axis=1)
        is_kept = (n_weights * itemsize <= IN_REGISTERS) & (shapes[:, 1] > 1)
        is_kept[0] = False  # nothing goes back through the first layer
        room = _padded(n_weights) * is_kept
        layers["transposed_at"] = np.where(is_kept, (np.cumsum(room) - room) * itemsize, -1)
        self.set(transposed_stride=room.sum() * itemsize)
        self.point(layers=layers, transposed=aligned_memory.empty(n_workers * room.sum() + _SLACK, dtype))

    def _place_scale(self, dtype):
        """Allocate the first layer's weights times the input scale, if there is one."""
        if self._layout.scales_inputs:
            for name in ("scale_rows", "scale_gradient"):
                self.set(**{name: compilation.routine(name, dtype.name).address})
            size = int(np.prod(self._layout.shapes[0])) + _SLACK
            self.point(scaled_weights=aligned_memory.empty(size, dtype))

    def _place_groups(self, factors):
        """Point the layers to the constants of their groups, which differ in the learning rate's factor."""
        n_layers = len(self._layout.shapes)
        if factors is not None and {len(factors.weights), len(factors.biases)} != {n_layers}:
            raise ValueError(f"{factors!r} is not for the {n_layers} layers of {self._layout!r}")
        self._factors = factors
        n_groups = 1 if factors is None else len(factors.groups)
        dtype = self._arrays["zeros"].dtype
        rows = {name: np.zeros((n_groups, MAX_CONSTANTS), dtype) for name in _CONSTANTS}
        self.set(n_groups=n_groups)
        self.point(**rows)

        def addresses(name, numbers):
            return _address(rows[name]) + np.asarray(numbers, np.int64) * rows[name].strides[0]

        weights, biases, slopes, scale = (
            factors.numbers if factors else ([0] * n_layers, [0] * n_layers, 0, 0)
        )
        self._layers["weight_constants"] = addresses("weight_constants", weights)
        self._layers["bias_constants"] = addresses("bias_constants", biases)
        self._layers["slope_constants"] = addresses("bias_constants", slopes)
        self.set(scale_constants=int(addresses("bias_constants", scale)))

    def _place_activations(self, activations, routines):
        """Write the activations' routines to the records of the hidden layers and of those that follow."""
        layers = self._layers
        for number, (activation, addresses) in enumerate(zip(activations, routines, strict=True)):
            layers["activate"][number] = addresses["activate"]
            layers["rectifies"][number] = activation is ACTIVATIONS["relu"]
            layers["source_backpropagate"][number + 1] = addresses["backpropagate"]

    def set(self, **values):
        """Set integer fields of the record."""
        for name, value in values.items():
            self._fields[_AT[name]] = value

    def point(self, **arrays):
        """Set address fields of the record, and keep the arrays alive."""
        for name, array in arrays.items():
            if self._arrays.get(name) is not array:
                self._arrays[name] = array
                self._fields[_AT[name]] = _address(array)

    def forget(self, *names):
        """Drop the references to arrays, so that a kept workspace keeps no data alive."""
        for name in names:
            self._arrays.pop(name, None)

    def begin(self, first, last, batch_size, n_samples, n_workers, resumes=False):
        """Set the batches to run, the first of them from the start or within; reset the counters."""
        self._fields[_BEGIN] = first, last, batch_size, n_samples, n_workers == 1, YIELD if resumes else END
        self._counters[LEADER, 0] = self._counters[OVER, 0] = self._counters[STOP, 0] = 0
        if first == 0 and not resumes:
            self._result.fill(0)  # an interrupted run may have left some

    def stop(self):
        """Stop a run: workers finish what they have taken, or the step of a program, and take no more."""
        self._counters[STOP, 0] = 1

    @property
    def batch_at(self):
        """The batch in which the last run ended."""
        return int(self._fields[_AT["batch_at"]])

    def point_to_update(self, update, kernel, alpha):
        """Set the optimizer's state, the address of its kernel, and the penalty."""
        if update.rate_factors is not self._factors:
            self._place_groups(update.rate_factors)
        self.point(state=update.state)
        self.set(stride=update.state.shape[1], update=kernel, penalized=alpha > 0)
        self._alpha[0] = alpha

    def point_to_program(self, program, alpha):
        """Set the optimizer's program, where it expects the gradient, and the penalty."""
        if self._factors is not None:
            self._place_groups(None)
        in_parts = program.edge > 0 and self._tiles_begin_at(program.edge)
        if in_parts:
            firsts = self._layout.firsts
            self.point(state=np.array([program.header, *firsts], np.int64))
            self.set(stride=len(firsts), in_parts=IN_PARTS)
        else:
            self.point(state=program.gradient)
            self.set(in_parts=WHOLE)
        dtype = self._arrays["zeros"].dtype
        self.set(program=program.header, penalty=program.penalty_at)
        self.set(**compilation.program_addresses(dtype.name, in_parts))
        self._alpha[0] = alpha

    def _tiles_begin_at(self, edge):
        """Tell whether all tiles begin at multiples of so many elements of their layer's weights."""
        tiles = self._arrays["tiles"]
        widths = np.array(self._layout.shapes)[tiles[:, 0], 1]
        return bool((np.maximum(tiles[:, 1], 0) * widths % edge == 0).all())

    def point_to_constants(self, rows):
        """Set the update's constants, one row for each batch."""
        self.point(constants=rows)
        self.set(n_constants=rows.shape[1])

    def take_dropout(self, dropout, first, count):
        """Take the keys and thresholds of ``count`` batches from the ``first`` on, if there is dropout."""
        if dropout is not None:
            self.point_to_dropout(dropout.rows(count), first)
            dropout.advance(count)

    def point_to_dropout(self, rows, first=0):
        """Set the keys and thresholds of dropout, one row for each batch from the ``first`` on."""
        self._arrays["dropout"] = rows
        self.set(dropout=_address(rows) - first * rows.strides[0], dropout_stride=rows.strides[0])

    def take_result(self):
        """Return the sums of losses and of weights since the last call."""
        loss, weight, _ = self._result.tolist()
        self._result.fill(0)
        return loss, weight

    def point_to_params(self, params):
        """Set the addresses of weights, biases and slopes."""
        self.point(params=params)
        self._place_params(int(self._fields[_AT["params"]]), params.itemsize)

    def _place_params(self, base, itemsize):
        if base != self._params_at:
            self._params_at = self._fields[_AT["params"]] = base
            self._layers["weights"] = base + self._layout.weights_at * itemsize
            if self._layout.scales_inputs:
                self._layers["weights"][0] = self._fields[_AT["scaled_weights"]]
                self.set(input_scale=base + self._layout.scale_at * itemsize)
            self._layers["bias"] = base + self._layout.biases_at * itemsize
            self._layers["slopes"] = base + self._layout.slopes_at * itemsize
            self._layers["source_slopes"][1:] = self._layers["slopes"][:-1]

    def aim(self, x, params, out):
        """Set the addresses for one prediction of dense rows; the caller keeps the arrays alive."""
        fields = self._fields
        fields[_AT["x"]], fields[_AT["out"]] = _address(x), _address(out)
        self._place_params(_address(params), params.itemsize)

    def point_to_inputs(self, x, inputs):
        """Set the addresses of the rows of ``x``."""
        if inputs != CSR:
            self.point(x=x)
        elif self._arrays.get("data") is not x.data:
            self.point(indptr=x.indptr.astype(np.int64, copy=False), indices=x.indices, data=x.data)


def choose_inputs(x, batch_size):
    """Decide how to read ``x``: as CSR, as dense rows, or as dense rows whose zeros are skipped.

    Of at most 1,024 dense rows, evenly spaced, the share of non-zeros decides: below it leaving out the zeros
    wins (``bench/README.md``). The answer is the same for any number of threads.

    Returns
    -------
    inputs : int
    share : float
        Of the elements that are read.
    block_entries : int
        Most elements of a block of CSR rows, however they are shuffled.
    """
    if not isinstance(x, np.ndarray):
        sizes, rows = np.diff(x.indptr), block_rows(batch_size)
        share = x.nnz / max(1, x.shape[0] * x.shape[1])
        if len(sizes) > rows:
            sizes = np.partition(sizes, len(sizes) - rows)[-rows:]
        return CSR, share, int(sizes.sum(dtype=np.int64))
    n, n_features = x.shape
    if n_features < SPARSE_MIN_FEATURES:
        return DENSE, 1.0, 0
    sample = x[:: max(1, n // 1024)]
    share = np.count_nonzero(sample) / sample.size
    return (COMPRESS, share, 0) if share <= SPARSE_SHARE else (DENSE, 1.0, 0)


#: Dense inputs with fewer non-zeros than this share are read without their zeros ...
SPARSE_SHARE = 0.3
#: ... if they have at least this many features: below, the whole product is as quick.
SPARSE_MIN_FEATURES = 64
