"""The trainer on a GPU. Tested in Numba's simulator; not yet run on hardware."""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fastopt.engine import validation
from fastopt.engine.cuda.compilation import COLLECT
from fastopt.engine.cuda.data import Data
from fastopt.engine.cuda.network import Network, complete
from fastopt.engine.layout import Layout
from fastopt.engine.monotonic_clock import is_past
from fastopt.engine.objective import loss_parameters, penalize, resolve_functions
from fastopt.engine.validation import Rows
from fastopt.kernels.cuda import api as cuda

if TYPE_CHECKING:
    from fastopt.stepping.dropout import DropoutState
    from fastopt.stepping.flat_state import FlatState
    from fastopt.stepping.layerwise_state import LayerwiseState

#: Most rows of a batch in prediction, and for the gradient of all rows.
_MAX_ROWS = 8 if cuda.SIMULATED else 16_384
#: Share of the free device memory that data may take.
_SHARE = 0.8


def free_bytes():
    """Return how many bytes of the current device's memory are free."""
    return int(min(cuda.module().current_context().get_memory_info().free, 1 << 60))


def data_bytes():
    """Return how many bytes of the current device's memory data may take."""
    return int(_SHARE * free_bytes())


class Trainer:
    """`fastopt.engine.Trainer` on a GPU: the same methods, arguments and results, up to rounding.

    Parameters
    ----------
    layout, activation, out_activation, loss, dtype
        As of `fastopt.engine.Trainer`.
    n_threads : int, optional
        Not used.
    loss_parameter
        As of `fastopt.engine.Trainer`.
    device : str
        ``'cuda:N'``; which GPU.
    data_bytes : int, optional
        The most memory on the GPU for data, which else streams through it in blocks of whole batches; four
        fifths of what is free by default.

    Notes
    -----
    ``X``, ``Y`` and ``sample_weight`` are moved when a call has another array than the last one; they must
    not change in between. Sparse ``X`` is dense on the device. Parameters and the optimizer's state are moved
    to the device at the beginning of a call and back at its end, also when Ctrl-C ends it, so that the host's
    arrays hold the truth between calls. Every run gives the same bits.

    Raises
    ------
    DeviceError
        If the GPU cannot be used; the message says what is missing.
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
        device: str = "cuda:0",
        data_bytes: int | None = None,
    ) -> None:
        if layout.scales_inputs:
            raise ValueError(
                f"the training engine on {device!r} has no learnt scale of the inputs; train with "
                "device='cpu', or without input_scale"
            )
        cuda.require(device)
        self.layout: Layout = layout
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self._functions = resolve_functions(activation, out_activation, loss, layout)
        self._loss_parameters = loss_parameters(
            self._functions.loss, loss_parameter, layout.layer_sizes[-1], self.dtype
        )
        self._ordinal = int(device.partition(":")[2] or 0)
        self._data_bytes = data_bytes
        self._bound = None
        self.n_visited: int = 0

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
        until: float | None = None,
        dropout: "DropoutState | None" = None,
    ) -> float:
        """Train for one epoch on the rows ``X[order]`` in batches; see `fastopt.engine.Trainer.train`.

        Raises
        ------
        ValueError
            If an argument does not fit.
        KeyboardInterrupt
            On Ctrl-C; ``params`` and ``update`` stand at the last batch done.

        Notes
        -----
        An optimizer that needs whole gradients (norms, matrices, global scalars) gets each batch's from the
        device and takes its step on the host.
        """
        validation.check(self.layout, self.dtype, params, X, Y, order, sample_weight)
        n_visits = X.shape[0] if order is None else order.shape[0]
        if not n_visits:
            raise ValueError("X has no rows to train on")
        batch_size = min(batch_size, n_visits)
        starts = np.arange(0, n_visits, batch_size)
        n_rows = np.minimum(batch_size, n_visits - starts)
        weight = n_rows.astype(np.float64)
        if sample_weight is not None:
            visited = sample_weight if order is None else sample_weight[order]
            weight = np.add.reduceat(visited, starts, dtype=np.float64)
        is_elementwise = hasattr(type(update), "address")
        if is_elementwise and update.rate_factors is not None:
            raise ValueError(
                "the training engine on a GPU has no learning rate for each layer; train with device='cpu', "
                "or without factors of the learning rate"
            )
        with cuda.on_device(self._ordinal):
            rule = update.rule if is_elementwise else COLLECT
            drops = () if dropout is None else dropout.drops
            network, data = self._bind(X, Y, sample_weight, n_visits, batch_size, rule, drops)
            run = self._run_all if is_elementwise else self._train_by_gradient
            losses = run(network, data, params, update, order, weight, n_rows, alpha, until, dropout)
            if not is_elementwise:
                return losses
            penalty = network.squares.copy_to_host().sum(dtype=np.float64)
        means = np.divide(losses, weight, out=np.zeros_like(weight), where=weight != 0)
        return float(means @ n_rows + penalty)

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
        """Return the mean loss of all rows and its gradient; see `fastopt.engine.Trainer`."""
        validation.check(self.layout, self.dtype, params, X, Y, None, sample_weight)
        n = X.shape[0]
        batch_size = min(_MAX_ROWS, n)
        n_rows = np.minimum(batch_size, n - np.arange(0, n, batch_size))
        collector = _Collector(self.layout.size, self.dtype)
        with cuda.on_device(self._ordinal):
            network, data = self._bind(X, Y, sample_weight, n, batch_size, COLLECT)
            # Sums, not means: as if each batch weighed 1.
            losses = self._run_all(network, data, params, collector, None, np.ones(len(n_rows)), n_rows, 0.0)
        gradient = np.empty(self.layout.size, self.dtype) if out is None else out
        gradient[:] = collector.state[0]
        weight = float(n if sample_weight is None else sample_weight.sum(dtype=np.float64))
        loss = penalize(self.layout, params, gradient, alpha, weight, losses.sum())
        return loss, gradient

    def predict(self, params: np.ndarray, X: Rows, *, keep: bool = False) -> np.ndarray:
        """Return the outputs of the last layer; see `fastopt.engine.Trainer.predict`."""
        return self._forward(params, X, None, None, keep)[0]

    def evaluate(
        self,
        params: np.ndarray,
        X: Rows,
        Y: np.ndarray,
        *,
        sample_weight: np.ndarray | None = None,
        keep: bool = False,
    ) -> tuple[np.ndarray, float]:
        """Return the outputs of the last layer and their mean loss; see `fastopt.engine.Trainer.evaluate`."""
        out, loss = self._forward(params, X, Y, sample_weight, keep)
        weight = X.shape[0] if sample_weight is None else sample_weight.sum(dtype=np.float64)
        return out, float(loss / weight)

    def _forward(self, params, X, Y, sample_weight, keep):
        """Return the outputs of the last layer and, where there are targets, the sum of the losses."""
        validation.check(self.layout, self.dtype, params, X, Y, None, sample_weight)
        n, n_outputs, loss = X.shape[0], self.layout.layer_sizes[-1], 0.0
        out = np.empty((n, n_outputs), self.dtype)
        if not n:
            return out, loss
        size = min(_MAX_ROWS, n)
        with cuda.on_device(self._ordinal):
            network, data = self._bind(X, Y, sample_weight, n, size, None)
            network.params.copy_to_device(params)
            for lo, hi in data.blocks(None, n):
                for first in range(lo, hi, size):
                    last = min(first + size, hi)
                    network.prepare(np.array([[first - lo, last - first]]))
                    network.run(1)
                    part = network.outputs[: (last - first) * n_outputs].copy_to_host()
                    out[first:last] = part.reshape(-1, n_outputs)
                if Y is not None:
                    loss += network.loss(network.losses[: hi - lo].copy_to_host())
        if not keep:
            self.forget()
        return out, loss

    def forget(self) -> None:
        """Release what the last call put on the device."""
        self._bound = None

    def _bind(self, X, Y, sample_weight, n_visits, batch_size, rule, drops=()):
        """Return the network and the data on the device; those of the last call if they are the same."""
        key = X, Y, sample_weight, rule, n_visits, batch_size, drops
        if self._bound is not None:
            known = self._bound[0]
            if all(a is b for a, b in zip(key[:4], known[:4], strict=True)) and key[4:] == known[4:]:
                return self._bound[1:]
        self._bound = None  # frees its memory first
        described = self.layout, self._functions, self._loss_parameters, self.dtype
        network = Network(*described, batch_size, rule, drops)
        n_bytes = data_bytes() if self._data_bytes is None else self._data_bytes
        data = Data(X, Y, sample_weight, n_visits, batch_size, n_bytes)
        network.attach(data)
        self._bound = key, network, data
        return network, data

    def _run_all(self, network, data, params, update, order, weight, n_rows, alpha, until=None, dropout=None):
        """Run every batch once, or as many as there is time for, and return the sum of each batch's losses.

        ``params`` are written unless gradients are collected, ``update`` always.
        """
        n_visits, batch_size = int(n_rows.sum()), network.capacity
        losses = np.zeros(n_visits, self.dtype)
        network.params.copy_to_device(params)
        if update.state.size:
            network.state.copy_to_device(update.state.reshape(-1))
        network.begin()
        try:
            for lo, hi in data.blocks(order, n_visits):
                for first, last in network.slices(lo // batch_size, -(-hi // batch_size)):
                    part = slice(first, last)
                    starts = np.arange(first, last) * batch_size - lo
                    # A batch that weighs nothing is left out by having no rows.
                    sizes = np.where(weight[part] != 0, n_rows[part], 0)
                    rows = update.constants(last - first)
                    constants = complete(rows, weight[part], n_rows[part], alpha)
                    masks = None if dropout is None else dropout.rows(last - first)
                    network.prepare(np.column_stack([starts, sizes]), constants, masks)
                    network.train(update, last - first, dropout)
                    self.n_visited = min(last * batch_size, n_visits)
                    if is_past(until):
                        break
                hi = min(hi, self.n_visited)
                losses[lo:hi] = network.losses[: hi - lo].copy_to_host()
                if is_past(until):
                    break
        finally:
            if network.rule is not COLLECT:
                network.params.copy_to_host(params)
            if update.state.size:
                network.state.copy_to_host(update.state.reshape(-1))
        starts = np.arange(0, n_visits, batch_size)
        sums = np.array([network.loss(losses[start : start + batch_size]) for start in starts])
        sums[weight == 0] = 0.0
        return sums

    def _train_by_gradient(self, network, data, params, update, order, weight, n_rows, alpha, until, dropout):
        """Train with an optimizer whose step the host takes, batch by batch; return the sum of the losses."""
        n_visits, batch_size, total = int(n_rows.sum()), network.capacity, 0.0
        collector = _Collector(self.layout.size, self.dtype)
        gradient = np.zeros(self.layout.size, self.dtype)

        def evaluate(start, n, weight, masks):
            collector.state[:] = 0
            network.params.copy_to_device(params)
            network.state.copy_to_device(collector.state[0])
            constants = complete(collector.constants(1), np.ones(1), np.array([n]), 0.0)
            network.prepare(np.array([[start, n]]), constants, masks)
            network.run(1)
            network.state.copy_to_host(gradient)
            losses = network.loss(network.losses[start : start + n].copy_to_host())
            penalty = alpha if update.takes_penalty else 0.0
            return penalize(self.layout, params, gradient, penalty, weight, losses)

        for lo, hi in data.blocks(order, n_visits):
            for batch in range(lo // batch_size, -(-hi // batch_size)):
                if batch and is_past(until):
                    return total
                self.n_visited = min((batch + 1) * batch_size, n_visits)
                masks = None
                if dropout is not None:
                    masks = dropout.rows(1)
                    dropout.advance(1)
                if weight[batch] == 0:
                    continue
                start, n = batch * batch_size - lo, int(n_rows[batch])
                again = functools.partial(evaluate, start, n, float(weight[batch]), masks)
                loss = again()
                total += loss * n
                update.apply(
                    params, gradient, self.layout, loss, again,
                    weight=float(weight[batch]), ends_epoch=batch == len(n_rows) - 1,
                )  # fmt: skip
        return total


class _Collector:
    """Stands in for an optimizer where `Trainer._run_all` adds up gradients (`COLLECT`)."""

    def __init__(self, size, dtype):
        self.state = np.zeros((1, size), dtype)

    def constants(self, n_steps):
        return np.tile(np.array([1.0, 0.0, 1.0, 0.0], self.state.dtype), (n_steps, 1))

    def advance(self, n_steps):
        pass
