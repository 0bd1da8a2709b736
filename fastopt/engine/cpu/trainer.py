"""The trainer on the CPU."""

import math
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fastopt.engine import validation
from fastopt.engine.cpu import compilation
from fastopt.engine.cpu.batch_runner import BatchRunner
from fastopt.engine.cpu.context import DENSE, GRADIENT, PREDICT, SCORE, TRAIN, WHOLE
from fastopt.engine.cpu.thread_count import thread_chooser
from fastopt.engine.cpu.workspace import Workspace, choose_inputs
from fastopt.engine.layout import Layout
from fastopt.engine.monotonic_clock import is_past
from fastopt.engine.objective import loss_parameters, penalize, resolve_functions
from fastopt.engine.validation import Rows
from fastopt.kernels import threading_layer

if TYPE_CHECKING:
    from fastopt.stepping.dropout import DropoutState
    from fastopt.stepping.flat_state import FlatState
    from fastopt.stepping.layerwise_state import LayerwiseState

#: Most rows of a batch in prediction, and for the gradient of all rows.
MAX_ROWS = 1024
#: Floating-point operations of a batch below which a second thread is not even tried.
_PARALLEL_FLOPS = 1e6
#: In place of a mode of `context`: TRAIN with an optimizer's program.
PROGRAM = "program"
#: Arrays of a call, which a workspace keeps alive until it forgets them.
_ARGUMENTS = "x indptr indices data y order sample_weight out params state gradient".split()


class Trainer:
    """Training, prediction and gradients of a fully connected network on flat vectors.

    Parameters
    ----------
    layout : Layout
        Shapes of the layers, and where each lies in the flat vectors.
    activation : str or sequence of str
        Of the hidden layers, or one for each: 'identity', 'relu', 'tanh', 'logistic' or what
        `fastopt.register_activation` added.
    out_activation : {'identity', 'softmax', 'logistic', 'exp', 'softplus', 'tanh'}
        Of the last layer.
    loss : str
        'squared_error', 'log_loss', another of `fastopt.rules.losses` or what `fastopt.register_loss` added.
        The softmax goes with losses that were registered with it only.
    dtype : {numpy.float32, numpy.float64}
        Of every array that is passed; arithmetic is done in it.
    n_threads : int, optional
        Most threads to use; ``None`` is Numba's current number. Results do not depend on it.
    loss_parameter : float or sequence of float, optional
        What the loss takes as its parameter: one number, or one for each output; by default its own default.

    Attributes
    ----------
    n_visited : int
        Rows that the last call of ``train`` trained on.

    Notes
    -----
    Arrays are read and written where they are, so each has to be C-contiguous and of ``dtype``; ``X`` may be
    CSR with int32 indices. What does not fit is refused with a ValueError that names it. ``order`` is checked
    when it is first passed; whoever changes it in place keeps it within the rows of ``X``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import SGD
    >>> from fastopt.engine import Layout, Trainer
    >>> layout = Layout([1, 1])
    >>> trainer = Trainer(layout, activation="relu", out_activation="identity", loss="squared_error",
    ...                   dtype=np.float64)
    >>> params = np.zeros(layout.size)
    >>> X = np.array([[1.0], [2.0], [3.0]])
    >>> update = SGD(lr=0.1).flat(layout.size, layout.n_decay, np.float64)
    >>> for _ in range(200):
    ...     loss = trainer.train(params, X, 2 * X, update, batch_size=3, alpha=0.0)
    >>> trainer.predict(params, X).round(1).ravel()
    array([2., 4., 6.])
    """

    def __init__(
        self,
        layout: Layout,
        *,
        activation: str | Sequence[str],
        out_activation: str,
        loss: str,
        dtype: npt.DTypeLike,
        n_threads: int | None = None,
        loss_parameter: float | Sequence[float] | None = None,
    ) -> None:
        self.layout: Layout = layout
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.n_threads: int | None = threading_layer.resolve(n_threads)
        self.n_visited: int = 0
        self._functions = resolve_functions(activation, out_activation, loss, layout)
        self._loss_parameters = loss_parameters(
            self._functions.loss, loss_parameter, layout.layer_sizes[-1], self.dtype
        )
        self._shape, self._runners = None, {}
        self._chosen = self._last = None
        self._dtype_name = self.dtype.name  # slow to look up

    def train(
        self,
        params: np.ndarray,
        X: Rows,
        Y: np.ndarray,
        update: "FlatState | LayerwiseState",
        *,
        batch_size: int,
        alpha: float,
        order: np.ndarray | None = None,
        sample_weight: np.ndarray | None = None,
        dropout: "DropoutState | None" = None,
        until: float | None = None,
    ) -> float:
        """Train for one epoch on the rows ``X[order]`` in batches, updating ``params`` in place.

        Parameters
        ----------
        params : ndarray of shape (layout.size,)
            Written.
        X : ndarray or CSR matrix of shape (n_samples, n_features)
        Y : ndarray of shape (n_samples, n_outputs)
            Targets; one column per class for 'log_loss'.
        update : FlatState or LayerwiseState
            The optimizer; its state is written and its steps advance by the number of batches.
        batch_size : int
        alpha : float
            L2 penalty on the weights, divided by the weight of the batch as scikit-learn does.
        order : ndarray of int64, optional
            Which rows, in which order; all of them in their own order by default.
        sample_weight : ndarray of shape (n_samples,), optional
        dropout : DropoutState, optional
            Which units are dropped in each batch; it advances by the number of batches.
        until : float, optional
            Time on the clock of `fastopt.engine.monotonic_clock`, after which no more batches begin than
            those that are run at once, a tenth of a second's or so. `n_visited` then says how many rows were
            trained on.

        Returns
        -------
        float
            Sum over the batches of mean loss (penalty included) times rows.

        Raises
        ------
        KeyboardInterrupt
            On Ctrl-C, between batches; ``params`` and ``update`` stand at the last batch done. A batch of
            more than a few tenths of a second is left part way: what it has updated by then stays so.
        """
        n_samples = X.shape[0] if order is None else order.shape[0]
        if not n_samples:
            raise ValueError("X has no rows to train on")
        batch_size = min(batch_size, n_samples)
        n_batches = -(-n_samples // batch_size)
        address = getattr(update, "address", None)
        program = None if address is not None else self._program(params, update)
        mode = TRAIN if address is not None else GRADIENT if program is None else PROGRAM
        drops = () if dropout is None else dropout.drops
        runner = self._prepare(mode, params, X, batch_size, Y, order, sample_weight, drops)
        if mode == PROGRAM:
            return self._train_by_program(runner, program, n_samples, batch_size, alpha, dropout, until)
        if mode == GRADIENT:
            return self._train_by_gradient(
                runner, params, update, n_samples, batch_size, alpha, dropout, until
            )
        workspace = runner.workspace
        workspace.point_to_update(update, address, alpha)
        first = 0
        while first < n_batches:
            n_workers, count = runner.plan(n_batches - first)
            workspace.point_to_constants(update.constants(count))
            workspace.take_dropout(dropout, first, count)
            update.advance(count)  # first, because Ctrl-C during the run is raised on its return
            runner.run(first, first + count, batch_size, n_samples, n_workers)
            first += count
            if is_past(until):
                break
        self.n_visited = min(first * batch_size, n_samples)
        return workspace.take_result()[0]

    def _program(self, params, update):
        """Return the program of an optimizer that needs whole gradients, or None if it has none."""
        make = getattr(update, "program", None)
        if make is None:
            return None
        validation.require(
            "params", params, (self.layout.size,), self.dtype
        )  # before anything is bound to it
        update.n_threads = self.n_threads
        return make(params, self.layout)

    def _train_by_program(self, runner, program, n_samples, batch_size, alpha, dropout, until):
        """Train with an optimizer that needs whole gradients, without Python between batches."""
        workspace = runner.workspace
        workspace.point_to_program(program, alpha)
        first, n_batches = 0, -(-n_samples // batch_size)
        while first < n_batches:
            n_workers, count = runner.plan(n_batches - first)
            last = first + program.feed(count)
            workspace.take_dropout(dropout, first, last - first)
            runner.run_program(program, first, last, batch_size, n_samples, n_workers)
            first = last
            if is_past(until):
                break
        self.n_visited = min(first * batch_size, n_samples)
        return workspace.take_result()[0]

    def _train_by_gradient(self, runner, params, update, n_samples, batch_size, alpha, dropout, until):
        """Train with an optimizer that needs whole gradients: norms, matrices, global scalars."""
        gradient = np.zeros(self.layout.size, self.dtype)
        total = 0.0
        runner.workspace.set(penalized=False)
        runner.workspace.point(gradient=gradient)
        update.n_threads = self.n_threads

        def evaluate(batch):
            gradient[:] = 0
            n_workers, _ = runner.plan(1)
            runner.run(batch, batch + 1, batch_size, n_samples, n_workers)
            loss, weight = runner.workspace.take_result()
            if weight == 0:
                return 0.0, weight
            penalty = alpha if update.takes_penalty else 0.0
            return penalize(self.layout, params, gradient, penalty, weight, loss), weight

        n_batches = -(-n_samples // batch_size)
        for batch in range(n_batches):
            if batch and is_past(until):
                break
            self.n_visited = min((batch + 1) * batch_size, n_samples)
            runner.workspace.take_dropout(dropout, batch, 1)
            loss, weight = evaluate(batch)
            if weight == 0:
                continue  # no row counts
            total += loss * min(batch_size, n_samples - batch * batch_size)
            update.apply(
                params, gradient, self.layout, loss, lambda batch=batch: evaluate(batch)[0],
                weight=weight, ends_epoch=batch == n_batches - 1,
            )  # fmt: skip
        return total

    def loss_and_gradient(
        self,
        params: np.ndarray,
        X: Rows,
        Y: np.ndarray,
        *,
        alpha: float,
        sample_weight: np.ndarray | None = None,
        out: np.ndarray | None = None,
    ) -> tuple[float, np.ndarray]:
        """Return the mean loss of all rows, penalty included, and its gradient.

        Parameters
        ----------
        params, X, Y, alpha, sample_weight
            As in ``train``; nothing of them is written.
        out : ndarray of shape (layout.size,), optional
            Where to write the gradient.

        Returns
        -------
        loss : float
        gradient : ndarray of shape (layout.size,)
            In the flat layout; padding is zero.
        """
        gradient = np.zeros(self.layout.size, self.dtype) if out is None else out
        gradient[:] = 0
        n_samples = X.shape[0]
        runner = self._prepare(GRADIENT, params, X, min(MAX_ROWS, n_samples), Y, None, sample_weight)
        runner.workspace.point(gradient=gradient)
        runner.workspace.set(penalized=False)
        loss, weight = runner.run_all(n_samples)
        return penalize(self.layout, params, gradient, alpha, weight, loss), gradient

    def predict(self, params: np.ndarray, X: Rows, *, keep: bool = False) -> np.ndarray:
        """Return the outputs of the last layer, an ndarray of shape (n_samples, n_outputs).

        Parameters
        ----------
        params, X
            As in ``train``; nothing of them is written.
        keep : bool
            Whether to keep what was prepared for ``X`` for a next call, before which the numbers in it must
            not change.
        """
        n_samples = X.shape[0]
        out = np.empty((n_samples, self.layout.layer_sizes[-1]), self.dtype)
        if not n_samples:
            return out
        runner = self._prepare(PREDICT, params, X, min(MAX_ROWS, n_samples), None, None, None)
        runner.workspace.point(out=out)
        runner.run_all(n_samples)
        if not keep:
            self.forget()
        return out

    def evaluate(
        self,
        params: np.ndarray,
        X: Rows,
        Y: np.ndarray,
        *,
        sample_weight: np.ndarray | None = None,
        keep: bool = False,
    ) -> tuple[np.ndarray, float]:
        """Return the outputs of the last layer and their mean loss, without penalty, from one forward pass.

        Parameters
        ----------
        params, X, Y, sample_weight
            As in ``train``; nothing of them is written. At least one row, whose weights do not sum to 0.
        keep : bool
            As in ``predict``.

        Returns
        -------
        outputs : ndarray of shape (n_samples, n_outputs)
        loss : float
        """
        n_samples = X.shape[0]
        out = np.empty((n_samples, self.layout.layer_sizes[-1]), self.dtype)
        runner = self._prepare(SCORE, params, X, min(MAX_ROWS, n_samples), Y, None, sample_weight)
        runner.workspace.point(out=out)
        loss, weight = runner.run_all(n_samples)
        if not keep:
            self.forget()
        return out, loss / weight

    def forget(self) -> None:
        """Release the arrays of the last call and what was derived from them; keep the buffers."""
        for runner in self._runners.values():
            runner.workspace.forget(*_ARGUMENTS)
        self._chosen = self._last = None

    def _prepare(self, mode, params, X, batch_size, Y, order, sample_weight, drops=()):
        """Return the batch runner for these arguments; that of the last call if they are the same."""
        arguments = (mode, params, X, batch_size, Y, order, sample_weight, drops)
        if self._last is None or not all(map(operator.is_, arguments, self._last[0])):
            self._last = arguments, self._point(*arguments)
        runner = self._last[1]
        if not isinstance(X, np.ndarray):
            self._last = None  # a sparse matrix may get other arrays
        return runner

    def _point(self, mode, params, X, batch_size, Y, order, sample_weight, drops):
        validation.check(self.layout, self.dtype, params, X, Y, order, sample_weight)
        if self._chosen is None or self._chosen[0] is not X or self._chosen[1] != batch_size:
            self._chosen = X, batch_size, *choose_inputs(X, batch_size)
        inputs, share, block_entries = self._chosen[2:]
        left_out = (1.0 - share) * math.prod(self.layout.shapes[0])
        flops = 6.0 * batch_size * (self.layout.n_decay - left_out) + 50.0 * self.layout.size
        n_workers = 1
        if flops >= _PARALLEL_FLOPS:
            n_workers = self.n_threads or threading_layer.n_available()
        shape = (batch_size, inputs, block_entries, n_workers, drops)
        if shape != self._shape:  # the last workspace does not fit
            self._shape, self._runners = shape, {}
        if mode not in self._runners:
            self._runners[mode] = self._make_runner(mode, shape, flops)
        runner = self._runners[mode]
        workspace = runner.workspace
        workspace.point_to_inputs(X, inputs)
        workspace.point_to_params(params)
        if mode != PROGRAM:
            workspace.set(program=0, in_parts=WHOLE)  # all modes share a workspace
        if mode == TRAIN:
            workspace.set(set_constants=compilation.routine("set_constants", self._dtype_name).address)
        workspace.set(
            mode=TRAIN if mode == PROGRAM else mode,
            has_order=order is not None,
            has_weight=sample_weight is not None,
        )
        if sample_weight is not None:
            workspace.set(sum_weights=compilation.routine("sum_weights", self._dtype_name).address)
        for name, array in (("y", Y), ("order", order), ("sample_weight", sample_weight)):
            if array is not None:
                workspace.point(**{name: array})
        return runner

    def _make_runner(self, mode, shape, flops):
        _, inputs, _, n_workers, drops = shape
        routines = compilation.routine_addresses(self._dtype_name, inputs != DENSE, self._functions)
        if n_workers > 1:
            compilation.prepare(True)
        chooser = thread_chooser((self.layout, self._dtype_name, mode, shape), n_workers, flops)
        for other in self._runners.values():
            return BatchRunner(other.workspace, chooser, flops)
        workspace = Workspace(self.layout, self.dtype, routines, self._functions.activations, *shape)
        workspace.point(loss_parameters=self._loss_parameters)
        if drops:
            workspace.set(**compilation.dropout_addresses(self._dtype_name))
        return BatchRunner(workspace, chooser, flops)
