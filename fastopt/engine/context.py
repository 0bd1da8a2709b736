"""What one training run needs, as one record that compiled tasks read through its address.

A task is compiled as a C function of two integers, the record's address and a worker's number, so that
one parallel driver serves every pass and every dtype and compiles once (see ``driver.py``). Arrays stand
in the record as addresses; ``vector`` turns one back into an array.
"""

import numpy as np
from numba import carray, from_dtype, njit

from fastopt.engine.functions import INNER_JIT
from fastopt.kernels.foreign import pointer

_ADDRESSES = (
    # the network
    "layers params "
    # the data: dense rows or CSR, targets, weights, and the order in which rows are visited
    "x indptr indices data y sample_weight order "
    # the batch: gathered rows; where they are not zero, by row and by group of columns; lists made of these,
    # a buffer a worker; CSR elements by tile
    "gathered row_bits group_bits lists list_starts entry_start entry_column entry_row entry_value "
    # workspaces: constants; transposed weights and a tile's gradient, a buffer a worker
    "row_weight zeros one transposed buffers cleared "
    # the update: state slots, and one row of constants each for weights and biases
    "state weight_constants bias_constants "
    # the work: tiles and which worker begins with which, shared counters, partial sums, the whole gradient,
    # predictions
    "tiles tile_bounds counters block_losses tile_squares gradient out"
).split()
_INTEGERS = (
    "n_layers n_features capacity block_rows n_blocks n_tiles n_workers "
    "list_length block_entries input_tile n_input_tiles buffer_stride transposed_stride "
    "start n_rows inputs mode has_order has_weight penalized activation out_activation loss "
    "stride update gemm in_registers itemsize"
).split()
#: A layer: its shape; addresses of its weights, bias, inputs (``source``), outputs (``target``) and of the
#: gradients at either; bytes from one row to the next; places in the flat vector; bytes into a worker's
#: buffer of transposed weights, -1 where there are none.
_LAYER = (
    "n_in n_out weights bias source target source_delta delta source_stride target_stride "
    "weights_at bias_at transposed_at"
).split()
#: A tile: rows ``first:last`` of a layer's weights (all of its bias where ``first`` is -1), and its number
#: where partial sums are added up, the same for any number of workers.
TILE_COLUMNS = 4
#: Bytes from one shared counter to the next: a cache line each.
COUNTER_BYTES = 64

CONTEXT = np.dtype([(name, np.int64) for name in _ADDRESSES + _INTEGERS])
CONTEXT_TYPE = from_dtype(CONTEXT)
LAYER = np.dtype([(name, np.int64) for name in _LAYER])
LAYER_TYPE = from_dtype(LAYER)
_LAYER_BYTES = LAYER.itemsize

# How inputs are read (``inputs``): dense rows through BLAS; dense rows whose zeros are left out; CSR.
DENSE, COMPRESS, CSR = 0, 1, 2
# What a pass is for (``mode``): update the parameters tile by tile, add to a whole gradient, or stop after
# the forward pass.
TRAIN, GRADIENT, PREDICT = 0, 1, 2


@njit(**INNER_JIT)
def vector(address, kind, n):
    """Return the ``n`` elements of the scalar type ``kind`` that begin at ``address``."""
    return carray(pointer(address, kind), n)


@njit(**INNER_JIT)
def matrix(address, kind, n, m):
    """Return the (n, m) C-contiguous matrix of the scalar type ``kind`` that begins at ``address``."""
    return carray(pointer(address, kind), (n, m))


@njit(**INNER_JIT)
def layer_record(c, number):
    """Return the record of layer ``number``."""
    return carray(pointer(c.layers + number * _LAYER_BYTES, LAYER_TYPE), 1)[0]


@njit(**INNER_JIT)
def fill(address, kind, n, value):
    """Write ``value`` to the ``n`` elements of the scalar type ``kind`` that begin at ``address``."""
    out = vector(address, kind, n)
    for i in range(n):
        out[i] = value
