"""Buffers of one training run, and how its work is cut into blocks of rows and tiles of weights."""

import ctypes

import numpy as np

from fastopt.engine.activations import ACTIVATIONS, LOSSES, OUTPUTS
from fastopt.engine.context import COMPRESS, CONTEXT, CSR, DENSE, LAYER
from fastopt.engine.passes import SMALL_TRANSPOSE
from fastopt.engine.primitives import gemm_address

#: Rows that go through the network together; fewer make the products inefficient (a call packs the weights
#: anew), more leave threads without work.
BLOCK_ROWS = 64
#: Weights whose gradient is formed and applied while it is in the L2 cache.
TILE = 32768
#: Tiles a network is cut into at the least, if they keep this many weights each.
MIN_TILES, MIN_TILE = 8, 2048
#: Width of the widest row of constants that an update kernel may take.
MAX_CONSTANTS = 64


def block_rows(n_rows):
    """Return the rows of a block: an even number of blocks near ``BLOCK_ROWS``, or one; whole fours."""
    return 4 * -(-n_rows // (4 * max(1, 2 * round(n_rows / (2 * BLOCK_ROWS)))))


def cut_tiles(layout):
    """Return the tiles (layer, first row, last row), costly ones first; a first row of -1 is the bias."""
    target = min(TILE, max(MIN_TILE, layout.n_decay // MIN_TILES))
    tiles = []
    for layer, (n_in, n_out) in enumerate(layout.shapes):
        rows = -(-n_in // max(1, round(n_in * n_out / target)))
        tiles += [(layer, first, min(first + rows, n_in)) for first in range(0, n_in, rows)]
    tiles.sort(key=lambda tile: -(tile[2] - tile[1]) * layout.shapes[tile[0]][1])
    tiles += [(layer, -1, 0) for layer in range(len(layout.shapes))]
    return np.array(tiles, dtype=np.int64)


#: Place of each field in the record.
_AT = {name: i for i, name in enumerate(CONTEXT.names)}


def _address(array):
    if array.flags.carray and array.size:  # the quick way: several addresses are taken for each prediction
        return ctypes.addressof(ctypes.c_byte.from_buffer(array))
    return array.__array_interface__["data"][0]


class Workspace:
    """The record that the compiled passes read, with the arrays that its addresses point to.

    Parameters
    ----------
    layout : Layout
    dtype : dtype
    capacity : int
        Rows of the largest batch.
    entries_per_row : int
        Most non-zero inputs of a row, for inputs that are read by their non-zeros; 0 where they are not.
    n_workers : int
    """

    def __init__(self, layout, names, dtype, capacity, entries_per_row, n_workers):
        self.context = np.zeros(1, CONTEXT)
        self._fields = self.context.view(np.int64)  # every field is one; a record's item is slow to set
        self._arrays, self._params_at = {}, None
        self._layout, self.capacity = layout, capacity
        self.no_constants = np.zeros((1, 3), dtype)  # for passes that update nothing
        rows = block_rows(capacity)
        n_blocks = -(-capacity // rows)
        tiles = cut_tiles(layout)
        largest = max((last - first) * layout.shapes[layer][1] for layer, first, last in tiles)
        buffer_size = -(-max(largest, *layout.layer_sizes[1:], SMALL_TRANSPOSE) // 16) * 16
        self.set(
            n_layers=len(layout.shapes), n_features=layout.layer_sizes[0], capacity=capacity,
            block_rows=rows, block_entries=rows * entries_per_row, n_tiles=len(tiles),
            buffer_stride=buffer_size * dtype.itemsize, itemsize=dtype.itemsize,
            gemm=gemm_address(dtype.itemsize), activation=ACTIVATIONS[names["activation"]],
            out_activation=OUTPUTS[names["out_activation"]], loss=LOSSES[names["loss"]],
        )  # fmt: skip
        self.point(
            row_weight=np.empty(capacity, dtype), one=np.ones(1, dtype), tiles=tiles,
            zeros=np.zeros(max(layout.layer_sizes), dtype), buffers=np.empty((n_workers, buffer_size), dtype),
            counters=np.zeros(2, np.int64), block_losses=np.zeros(n_blocks),
            tile_squares=np.zeros(len(tiles)), weight_constants=np.zeros(MAX_CONSTANTS, dtype),
            bias_constants=np.zeros(MAX_CONSTANTS, dtype),
        )  # fmt: skip
        if entries_per_row:
            self._place_lists(n_blocks, rows, rows * entries_per_row, dtype)
        else:
            self.point(gathered=np.empty((capacity, layout.layer_sizes[0]), dtype))
        self._place_layers(capacity, dtype)

    def _place_lists(self, n_blocks, rows, entries, dtype):
        """Make room for the lists of non-zero inputs."""
        self.point(
            row_start=np.empty((n_blocks, rows + 1), np.int64),
            row_index=np.empty(n_blocks * entries + 1, np.int32),
            row_value=np.empty(n_blocks * entries + 1, dtype),
            column_start=np.empty((n_blocks, self._layout.layer_sizes[0] + 2), np.int32),
            column_row=np.empty(n_blocks * entries + 1, np.int32),
            column_value=np.empty(n_blocks * entries + 1, dtype),
        )

    def _place_layers(self, capacity, dtype):
        """Make room for the layers' outputs and deltas, and describe the layers."""
        layout, itemsize = self._layout, dtype.itemsize
        shapes = np.array(layout.shapes, np.int64)
        sizes = -(-capacity * shapes[:, 1] // 16) * 16
        at = np.concatenate([[0], np.cumsum(sizes)]) * itemsize
        self._outputs = np.empty(sizes.sum(), dtype)
        self._deltas = np.empty(sizes.sum(), dtype)
        layers = self._layers = np.zeros(len(shapes), LAYER)
        layers["n_in"], layers["n_out"] = shapes.T
        layers["source_stride"], layers["target_stride"] = shapes.T * itemsize
        layers["nbytes"] = shapes.prod(axis=1) * itemsize
        layers["weights_at"], layers["bias_at"] = layout.weights_at, layout.biases_at
        layers["target"] = _address(self._outputs) + at[:-1]
        layers["delta"] = _address(self._deltas) + at[:-1]
        layers["source"][1:], layers["source_delta"][1:] = layers["target"][:-1], layers["delta"][:-1]
        self.point(layers=layers)

    def set(self, **values):
        """Set integers of the record."""
        for name, value in values.items():
            self._fields[_AT[name]] = value

    def point(self, **arrays):
        """Set addresses of the record and keep the arrays alive."""
        for name, array in arrays.items():
            if self._arrays.get(name) is not array:
                self._arrays[name] = array
                self._fields[_AT[name]] = _address(array)

    def forget(self, *names):
        """Let go of arrays, so that a kept workspace keeps no data alive."""
        for name in names:
            self._arrays.pop(name, None)

    def take_no_more(self):
        """Count all blocks and tiles as taken: a batch under way ends with those that are in hand."""
        self._arrays["counters"][:] = 1 << 62

    def point_to_params(self, params):
        """Set where the weights and biases are."""
        self.point(params=params)
        base, itemsize = int(self._fields[_AT["params"]]), params.itemsize
        if base != self._params_at:
            self._params_at = base
            self._layers["weights"] = base + self._layout.weights_at * itemsize
            self._layers["bias"] = base + self._layout.biases_at * itemsize

    def point_to_inputs(self, x, inputs):
        """Set where the rows of ``x`` are."""
        self.set(inputs=inputs)
        if inputs != CSR:
            self.point(x=x)
        elif self._arrays.get("data") is not x.data:
            self.point(indptr=x.indptr.astype(np.int64, copy=False), indices=x.indices, data=x.data)


def choose_inputs(x):
    """Decide how to read ``x``: CSR as it is, dense rows whole, or dense rows without their zeros.

    Returns
    -------
    inputs, entries_per_row : int
        Of at most 1,024 rows, evenly spaced, the share of non-zeros decides: below it the lists win
        (``bench/README.md``), and it is the same for any number of threads.
    """
    if not isinstance(x, np.ndarray):
        return CSR, max(1, int(np.diff(x.indptr).max(initial=0)))
    n, n_features = x.shape
    if n_features < SPARSE_MIN_FEATURES:
        return DENSE, 0
    sample = x[:: max(1, n // 1024)]
    if np.count_nonzero(sample) <= SPARSE_SHARE * sample.size:
        return COMPRESS, n_features
    return DENSE, 0


#: Dense inputs with fewer non-zeros than this share are read without their zeros ...
SPARSE_SHARE = 0.3
#: ... if they have at least this many features: below, a BLAS call is as quick.
SPARSE_MIN_FEATURES = 64
