"""A network in GPU memory, and the launches that train it or predict with it."""

import math

import numpy as np

from fastopt.engine.cuda import compilation, cublas
from fastopt.engine.cuda.cublas import Product
from fastopt.kernels.cuda import api as cuda
from fastopt.kernels.cuda.graph import Launch, Replay
from fastopt.rules.activations import ACTIVATIONS
from fastopt.rules.dropout import scale_of

#: Batches whose constants lie on the device at a time.
MAX_BATCHES = 16 if cuda.SIMULATED else 1024
#: Floating-point operations after which to wait for the GPU and look for Ctrl-C: a few tenths of a second.
_SLICE_FLOPS = 5e11
#: Most blocks of a launch; they take tile after tile. The simulator runs them one by one.
_BLOCKS = 2 if cuda.SIMULATED else 1 << 20


class Network:
    """Device memory for one network and batches of up to ``capacity`` rows.

    Parameters
    ----------
    layout : Layout
    functions : Functions
    loss_parameters : ndarray
        As `fastopt.engine.objective.loss_parameters` returns them.
    dtype : dtype
    capacity : int
    rule : Rule, optional
        The optimizer's, or `compilation.COLLECT`; none for prediction.
    drops : tuple of bool, optional
        Whether there is dropout of the inputs, and of the outputs of each hidden layer.

    Attributes
    ----------
    params, state, outputs, losses, squares : device arrays
        Flat: the parameters; the optimizer's slots, one after the other; the last layer's outputs; each row's
        loss; and what the penalty adds to the loss, in parts.
    """

    def __init__(self, layout, functions, loss_parameters, dtype, capacity, rule=None, drops=()):
        self.layout, self.rule, self.dtype, self.capacity = layout, rule, np.dtype(dtype), capacity
        self._loss_scale = 1.0 / layout.layer_sizes[-1] if functions.loss.is_mean else 1.0
        self.tiles = _choose_tiles(layout, capacity)
        # The last layer's kernels are those of the layer before.
        used = [*functions.activations, (ACTIVATIONS["identity"], *functions.activations)[-1]]
        self._kernels = [compilation.layer_kernels(self.dtype.name, self.tiles, one) for one in used]
        self._output_kernels = compilation.output_kernels(
            self.dtype.name, self.tiles, functions.output, functions.loss
        )
        to_device, device_array = cuda.module().to_device, cuda.module().device_array
        widths = np.array(layout.layer_sizes[1:], np.int64)
        self._at = np.cumsum(capacity * widths) - capacity * widths
        self._n_units = int(capacity * widths.sum())
        self.params = device_array(layout.size, self.dtype)
        self._blas = cublas.find()
        #: Layers whose products cuBLAS forms.
        self._is_wide = [
            self._blas is not None and 2.0 * capacity * n_in * n_out >= cublas.MIN_FLOPS
            for n_in, n_out in layout.shapes
        ]
        self._drops = drops or (False,) * len(layout.shapes)
        #: Whether a batch's inputs are copied, to behind the layers' outputs.
        self._gathers = self._is_wide[0] or self._drops[0]
        n_gathered = capacity * layout.layer_sizes[0] if self._gathers else 0
        # Zeros, because cuBLAS sums over rows that no batch may have written.
        self._activations = to_device(np.zeros(self._n_units + n_gathered, self.dtype))
        #: Of which layers the derivative takes the outputs before dropout; the ReLU's is the same after it.
        self._keeps_outputs = [
            drops and not (one.keeps_input or one is ACTIVATIONS["relu"])
            for one, drops in zip(used, (*self._drops[1:], False), strict=True)
        ]
        keeps = [one.keeps_input or other for one, other in zip(used, self._keeps_outputs, strict=True)]
        kept = to_device(np.zeros(self._n_units, self.dtype)) if any(keeps) else self._activations
        #: What the derivative of each layer's activation takes.
        self._points = [kept if keep else self._activations for keep in keeps]
        # An array of no elements has no address.
        self._loss_parameters = to_device(np.append(loss_parameters, self.dtype.type(0)))
        self.outputs = self._activations[int(self._at[-1]) : self._n_units]
        self._batches = to_device(np.zeros((MAX_BATCHES, 2), np.int64))
        self._cells = to_device(np.zeros(2, np.int64))
        if rule is None:
            return
        if any(self._drops):
            self._drop_kernel = compilation.drop_kernel(self.dtype.name, self.tiles)
            self._dropout = to_device(np.zeros((MAX_BATCHES, 2 * len(self._drops)), np.int64))
            self._scales = to_device(np.zeros((MAX_BATCHES, len(self._drops)), self.dtype))
        self._updates = compilation.update_kernels(rule, self.dtype.name, self.tiles)
        self._deltas = device_array(self._n_units, self.dtype)
        wide = np.array(layout.shapes)[self._is_wide]
        self._gradient = device_array(int(wide.prod(axis=1).max(initial=1)), self.dtype)
        self.state = device_array(max(1, len(rule.slots) * layout.size), self.dtype)
        self._constants = to_device(np.zeros((MAX_BATCHES, 4 + rule.n_constants), self.dtype))
        self._layers = to_device(
            np.column_stack([
                np.array(layout.shapes, np.int64),
                layout.weights_at,
                layout.biases_at,
                np.append(self._n_units if self._gathers else -1, self._at[:-1]),
                self._at,
            ])
        )  # fmt: skip
        tiles = _cut(layout, self.tiles.side, self._is_wide)
        self._tiles = to_device(tiles)
        #: Where the squares of a wide layer's weights go: after those of the tiles, a place for each thread.
        self._squares_at = [len(tiles) * self.tiles.block**2]
        for (n_in, n_out), is_wide in zip(layout.shapes, self._is_wide, strict=True):
            self._squares_at.append(self._squares_at[-1] + is_wide * self._n_threads(n_in * n_out))
        self._no_squares = np.zeros(self._squares_at[-1], self.dtype)
        self.squares = to_device(self._no_squares)

    def attach(self, data):
        """Prepare the launches that read ``data``."""
        self._data = data
        self._place = data.rows, self._batches, self._cells
        if self.rule is None and not data.has_targets:
            unused = self._activations
            self._replay = Replay([*self._forward(), self._output(unused, unused, False)])
            return
        self.losses = cuda.module().device_array(data.capacity, self.dtype)
        if self.rule is None:  # the loss writes its gradient, too
            deltas = cuda.module().device_array(self._n_units, self.dtype)
            self._replay = Replay([*self._forward(), self._output(self.losses, deltas, True)])
            return
        self._replay = Replay(
            [
                *self._forward(),
                self._output(self.losses, self._deltas, True),
                *self._backward(),
                *self._update_slopes(),
                *self._apply(),
                self._update(),
            ]
        )

    def begin(self):
        """Reset the sum of penalties."""
        self.squares.copy_to_device(self._no_squares)

    def prepare(self, batches, constants=None, dropout=None):
        """Set the next batches: their rows and constants.

        Parameters
        ----------
        batches : ndarray of int64, shape (n, 2)
            First row, among those of ``data.rows``, and number of rows; at most `MAX_BATCHES`.
        constants : ndarray of shape (n, 4 + n_constants), optional
            As `kernels.update` reads them.
        dropout : ndarray of int64, shape (n, layers, 2), optional
            The keys and thresholds of dropout.
        """
        self._batches[: len(batches)].copy_to_device(batches)
        self._cells.copy_to_device(np.zeros(2, np.int64))
        if constants is not None:
            self._constants[: len(constants)].copy_to_device(constants)
        if dropout is not None:
            self._dropout[: len(dropout)].copy_to_device(dropout.reshape(len(dropout), -1))
            scales = scale_of(dropout[:, :, 1]).astype(self.dtype)
            self._scales[: len(dropout)].copy_to_device(scales)

    def run(self, n_batches):
        """Run a number of batches and wait for them."""
        self._replay.run(n_batches)
        cuda.module().synchronize()

    def train(self, update, n_batches, dropout=None):
        """Run prepared batches, and count them in the optimizer and in dropout, also after Ctrl-C."""
        try:
            self.run(n_batches)
        except KeyboardInterrupt:
            n_batches = int(self._cells.copy_to_host()[0])
            raise
        finally:
            update.advance(n_batches)
            if dropout is not None:
                dropout.advance(n_batches)

    def slices(self, first, last):
        """Split batches into slices short enough for Ctrl-C and for the tables on the device."""
        flops = 6.0 * self.capacity * self.layout.n_decay
        step = min(MAX_BATCHES, max(1, int(_SLICE_FLOPS / flops)))
        return [(at, min(at + step, last)) for at in range(first, last, step)]

    def loss(self, losses):
        """Return the sum of rows' losses, each divided by the number of outputs if the loss is a mean."""
        return losses.sum(dtype=np.float64) * self._loss_scale

    def _launch(self, kernel, n_tiles, *arguments):
        block = self.tiles.block
        return Launch(kernel, min(max(1, n_tiles), _BLOCKS), (block, block), arguments)

    def _each(self, kernel, n, *arguments):
        """Return a launch of a kernel in which threads stride over ``n`` elements."""
        threads = self.tiles.block**2
        return Launch(kernel, self._n_threads(n) // threads, threads, arguments)

    def _n_threads(self, n):
        threads = self.tiles.block**2
        return min(-(-n // threads), _BLOCKS, 2048) * threads

    def _n_tiles(self, width):
        """Return the number of tiles of a batch's product that is ``width`` columns wide."""
        return -(-self.capacity // self.tiles.side) * -(-width // self.tiles.side)

    def _forward(self):
        last = len(self.layout.shapes) - 1
        for number, (n_in, n_out) in enumerate(self.layout.shapes):
            layout = self.layout
            weights_at, *vectors_at = (
                int(at[number]) for at in (layout.weights_at, layout.biases_at, layout.slopes_at)
            )
            target = self._activations, int(self._at[number]), int(number == last)
            if number == 0 and self._gathers:
                yield self._each(
                    self._output_kernels.gather, self.capacity * n_in,
                    self._data.x, n_in, self._activations, self._n_units, self.capacity, *self._place,
                )  # fmt: skip
                yield from self._drop(0, self._activations, self._n_units)
            if self._is_wide[number]:
                shape = self.capacity, n_out, n_in
                factors = *self._source(number), self.params, weights_at
                yield Product(self._blas, *factors, *target[:2], shape, "")
                yield self._each(
                    self._kernels[number].conclude, self.capacity * n_out,
                    self.params, *vectors_at, n_out, *target, self._points[number], self.capacity,
                )  # fmt: skip
            else:
                is_data = number == 0 and not self._gathers
                source = (self._data.x, 0) if is_data else self._source(number)
                yield self._launch(
                    self._kernels[number].forward, self._n_tiles(n_out),
                    self.params, weights_at, *vectors_at, n_in, n_out, *source, int(is_data), *target,
                    self._points[number], *self._place,
                )  # fmt: skip
            if number < last:
                yield from self._drop(number + 1, *target[:2], kept=self._points[number])

    def _source(self, number):
        """Return where a layer's inputs are: an array, and an offset in it."""
        return self._activations, int(self._at[number - 1]) if number else self._n_units

    def _drop(self, number, values, at, kept=None, goes_back=False):
        """Yield the launch of dropout for the inputs of layer ``number``, if there is any."""
        if not self._drops[number]:
            return
        width = self.layout.layer_sizes[number]
        keeps = kept is not None and self._keeps_outputs[number - 1]
        yield self._each(
            self._drop_kernel, self.capacity * width,
            values, at, width, kept if keeps else values, int(keeps), number,
            self._dropout, self._scales, int(goes_back), *self._place,
        )  # fmt: skip

    def _output(self, losses, deltas, is_training):
        data = self._data
        return self._launch(
            self._output_kernels.output, -(-self.capacity // self.tiles.block),
            self._activations, int(self._at[-1]), self.layout.layer_sizes[-1],
            data.y, data.w, int(data.is_weighted), self._loss_parameters, deltas, losses, int(is_training),
            *self._place,
        )  # fmt: skip

    def _backward(self):
        for number in range(len(self.layout.shapes) - 1, 0, -1):
            n_in, n_out = self.layout.shapes[number]
            weights_at, slopes_at = (
                int(self.layout.weights_at[number]),
                int(self.layout.slopes_at[number - 1]),
            )
            at, source_at = int(self._at[number]), int(self._at[number - 1])
            kernels, points = self._kernels[number - 1], self._points[number - 1]
            if self._is_wide[number]:
                shape = self.capacity, n_in, n_out
                factors = self._deltas, at, self.params, weights_at
                yield Product(self._blas, *factors, self._deltas, source_at, shape, "b")
                n = self.capacity * n_in
                slopes = self.params, slopes_at, n_in
                yield self._each(kernels.descend, n, *slopes, self._deltas, points, source_at, n)
            else:
                yield self._launch(
                    kernels.backward, self._n_tiles(n_in),
                    self.params, weights_at, slopes_at, n_in, n_out, self._deltas, at, points, source_at,
                    *self._place,
                )  # fmt: skip
            yield from self._drop(number, self._deltas, source_at, goes_back=True)
            if any(
                self.layout.has_slopes[number - 1 : number]
            ):  # whose gradients stand in place of the points
                yield from self._drop(number, points, source_at, goes_back=True)

    def _update_slopes(self):
        """Yield the launches that update the slopes of layers that have some."""
        for number, has in enumerate(self.layout.has_slopes):
            n = self.layout.layer_sizes[number + 1]
            if has:
                yield self._launch(
                    self._updates.update_slopes, -(-n // self.tiles.block),
                    self.params, self.state, self.layout.size, self._constants, self._points[number],
                    int(self._at[number]), n, int(self.layout.slopes_at[number]), self._batches, self._cells,
                )  # fmt: skip

    def _apply(self):
        """Yield the launches that update the layers whose products cuBLAS computes."""
        for number, (n_in, n_out) in enumerate(self.layout.shapes):
            if not self._is_wide[number]:
                continue
            at, n = int(self._at[number]), n_in * n_out
            yield self._each(
                self._output_kernels.clear_rest, self.capacity * n_out,
                self._deltas, at, n_out, self.capacity, self._batches, self._cells,
            )  # fmt: skip
            shape, factors = (n_in, n_out, self.capacity), (*self._source(number), self._deltas, at)
            yield Product(self._blas, *factors, self._gradient, 0, shape, "a")
            yield self._each(
                self._updates.apply, n,
                self.params, self.state, self.layout.size, self._constants, self._gradient,
                int(self.layout.weights_at[number]), n, self.squares, self._squares_at[number],
                self._batches, self._cells,
            )  # fmt: skip

    def _update(self):
        return self._launch(
            self._updates.update, len(self._tiles),
            self.params, self.state, self.layout.size, self._constants, self._data.x,
            self._activations, self._deltas, self._layers, self._tiles, self.squares, *self._place,
        )  # fmt: skip


def complete(rows, weight, n_rows, alpha):
    """Return batches' constants with the scale of the mean gradient and scikit-learn's penalty.

    Parameters
    ----------
    rows : ndarray of shape (n, 3 + n_constants)
        Of `FlatState.constants`.
    weight, n_rows : ndarray of shape (n,)
        Sum of each batch's weights, and its rows.
    alpha : float

    Returns
    -------
    ndarray of shape (n, 4 + n_constants)
        The last column is what a squared weight adds to the loss.
    """
    weight = np.where(weight != 0, weight, math.inf)
    constants = np.empty((len(rows), rows.shape[1] + 1), rows.dtype)
    constants[:, :-1] = rows
    constants[:, 0] = rows[:, 0] / weight
    constants[:, 1] = rows[:, 1] + alpha / weight
    constants[:, -1] = 0.5 * alpha * n_rows / weight
    return constants


def _choose_tiles(layout, capacity):
    """Return the large tiles if with them the widest layer occupies every multiprocessor."""
    side = compilation.LARGE.side
    n_tiles = -(-capacity // side) * max(-(-n_out // side) for _, n_out in layout.shapes)
    return compilation.LARGE if n_tiles >= cuda.n_processors() else compilation.SMALL


def _cut(layout, side, is_wide):
    """Return the tiles of all layers' gradients, biases included: rows of ``[layer, row, column]``.

    Of a wide layer's gradient only the biases' row, which is the last.
    """
    return np.array(
        [
            (number, row, column)
            for number, (n_in, n_out) in enumerate(layout.shapes)
            for row in range(n_in if is_wide[number] else 0, n_in + 1, side)
            for column in range(0, n_out, side)
        ],
        np.int64,
    )
