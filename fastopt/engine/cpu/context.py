"""The context record: all addresses and sizes of a run, which compiled code reads.

Arrays stand in the record as addresses; `vector` of ``kernels/intrinsics.py`` turns one back into an array.
So do the routines, which know the element type: whatever calls them through the record is compiled once for
all (see ``compilation.py``).
"""

import numpy as np
from numba import njit

from fastopt.engine.cpu.vector_math import INNER_JIT
from fastopt.kernels.intrinsics import Record, record_at, vector
from fastopt.kernels.tape import Op

#: Routines, C functions of integers that are compiled for each element type (see ``compilation.py``): those
#: that every network needs, ...
DENSE_ROUTINES = "multiply transpose dots sum_rows sum_of_squares gather set_constants".split()
#: ... those for weighted rows, for layers that BLAS multiplies, and for a learnt scale of the inputs, ...
RARE_ROUTINES = "sum_weights repeat scale_rows scale_gradient".split()
#: ... those for inputs that are read by their non-zeros, ...
SPARSE_ROUTINES = "mark marked_forward marked_gradient csr_forward csr_gradient sort_entries".split()
#: ... and those of its last layer and its loss. Those of a hidden layer stand in its own record.
OUTPUT_ROUTINES = "output loss".split()
_ADDRESSES = (
    # the network
    "layers params "
    # the data: dense rows or CSR, targets, weights, and the order in which rows are visited; what the loss
    # takes for each output
    "x indptr indices data y sample_weight order loss_parameters "
    # the batch: gathered rows; where they are not zero, by row and by group of columns; lists made of these,
    # a buffer a worker; CSR elements by tile
    "gathered row_bits group_bits lists list_starts entry_start entry_column entry_row entry_value "
    # dropout: its routines; the keys and thresholds of the first batch; CSR elements after dropout
    "drop drop_entries dropout entry_dropped "
    # workspaces: constants; copies of columns, transposed weights and a tile's gradient, a buffer a worker
    "zeros one copies transposed buffers cleared "
    # the first layer's weights times the input scale, and the address of that; 0 where there is none
    "scaled_weights input_scale "
    # the update: state slots, constants of each batch, and those of this one for each group of parameters,
    # for weights and for vectors; those of the input scale
    "state constants weight_constants bias_constants scale_constants alpha batch_weight "
    # the optimizer's program, the functions that execute it, and the kernel that it runs now
    "program advance begin_program follow share_tasks task_routine task_arguments penalty stop_at "
    # the work: tiles and which worker begins with which, shared counters, partial sums, the whole gradient,
    # predictions, the sums of losses and weights
    "tiles tile_bounds counters transposed_for block_losses tile_squares gradient out result"
).split()
_INTEGERS = (
    "n_layers n_features capacity block_rows n_blocks n_tiles n_workers "
    "list_length block_entries input_shift n_input_tiles buffer_stride transposed_stride "
    "first_batch last_batch batch_size n_samples alone stopped_at n_constants n_groups step start n_rows "
    "leader batch_at first_task last_task task_workers "
    "inputs mode has_order has_weight penalized in_parts "
    "stride update gemm give_way itemsize dropout_stride"
).split()
#: A layer: its shape; addresses of its weights, bias, inputs (``source``), pre-activations, outputs
#: (``target``) and of the gradients at inputs and outputs; address of what the derivative of the layer before
#: takes; bytes from one row to the next; places in the flat vector; bytes into a worker's buffer of
#: transposed weights, -1 where there are none; of a hidden layer, its activation's routine, whether that is
#: the ReLU, which products apply, and what it has learnt (``slopes``); the routine of the derivative of the
#: layer before, and its slopes; where outputs are before dropout, if anywhere else; whether there is dropout
#: of inputs, and of outputs; addresses of the constants of its weights, bias and slopes.
_LAYER = (
    "n_in n_out weights bias source pre_activations target source_delta delta source_points "
    "source_stride target_stride weights_at bias_at slopes_at transposed_at "
    "activate rectifies slopes source_backpropagate source_slopes undropped drops_source drops "
    "weight_constants bias_constants slope_constants"
).split()
#: A tile: a layer, rows ``first:last`` of its weights, and its number where partial sums are added up, the
#: same for any number of workers.
TILE_COLUMNS = 4
#: In place of a tile's first row: all of the layer's bias, or of its slopes.
BIAS, SLOPES = -1, -2
#: Width of the widest row of constants that an update kernel may take.
MAX_CONSTANTS = 64
#: Bytes of a cache line.
LINE = 64

_ROUTINES = DENSE_ROUTINES + RARE_ROUTINES + SPARSE_ROUTINES + OUTPUT_ROUTINES
CONTEXT = np.dtype([(name, np.int64) for name in _ROUTINES + _ADDRESSES + _INTEGERS])
CONTEXT_TYPE = Record("Context", CONTEXT)
LAYER = np.dtype([(name, np.int64) for name in _LAYER])
LAYER_TYPE = Record("Layer", LAYER)
_LAYER_BYTES = LAYER.itemsize
#: Number of the first layer. Numba compiles a function anew for each literal integer, not so for NumPy's.
FIRST_LAYER = np.int64(0)

# How inputs are read (``inputs``): dense rows whole; dense rows whose zeros are left out; CSR.
DENSE, COMPRESS, CSR = 0, 1, 2
# What a run is for (``mode``): update the parameters tile by tile, add to a whole gradient, stop after the
# forward pass, or after the loss that follows it.
TRAIN, GRADIENT, PREDICT, SCORE = 0, 1, 2, 3
# Why a program has stopped (``stopped_at``), as `fastopt.kernels.tape` numbers it: it is at its end; to run a
# kernel, or one that can run part by part; to evaluate loss and gradient at the present weights; to call
# Python.
END, RUN, RUN_BY_PARTS, EVALUATE, YIELD = map(int, (Op.END, Op.RUN, Op.RUN_BY_PARTS, Op.EVALUATE, Op.YIELD))
# Whether a program's first kernel runs tile by tile (``in_parts``), and has begun to for this batch.
WHOLE, IN_PARTS, BEGUN = 0, 1, 2


@njit(**INNER_JIT)
def record(address):
    """Return the record of type `CONTEXT` at ``address``."""
    return record_at(address, CONTEXT_TYPE)


@njit(**INNER_JIT)
def row_number(c, i):
    """Return the index in the data of row ``i`` of the current batch."""
    at = c.start + i
    if c.has_order:
        return vector(c.order, np.int64, at + 1)[at]
    return at


@njit(**INNER_JIT)
def first_row(c, block):
    """Return the first row of a block of the current batch, or the number of rows for that after the last.

    Blocks are even shares, rounded to the fours of rows that products take: 52, 48, 52, 48 of 200.
    """
    row = (block * c.n_rows // c.n_blocks + 3) // 4 * 4
    return row if row < c.n_rows else c.n_rows


@njit(**INNER_JIT)
def layer_record(c, number):
    """Return the record of layer ``number``."""
    return record_at(c.layers + number * _LAYER_BYTES, LAYER_TYPE)


@njit(**INNER_JIT)
def fill(address, kind, n, value):
    """Write ``value`` to the ``n`` elements of the scalar type ``kind`` that begin at ``address``."""
    out = vector(address, kind, n)
    for i in range(n):
        out[i] = value
