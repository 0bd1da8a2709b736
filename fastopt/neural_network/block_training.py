"""Training on a `BlockSource`: the same loop over epochs, in each of which the rows are read from disk."""

import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from fastopt.data import BlockSource, block_order
from fastopt.engine.monotonic_clock import is_past
from fastopt.neural_network.block_buffers import BlockBuffers, Conversion
from fastopt.neural_network.data import Data
from fastopt.neural_network.epochs import MiniBatchTraining
from fastopt.neural_network.validation_sets import ValidationSet
from fastopt.optimizers.wrappers import MultiSteps, Wrapper

if TYPE_CHECKING:
    from fastopt.engine import Trainer
    from fastopt.neural_network._base import BaseMLP


class BlockTraining(MiniBatchTraining):
    """One call of ``fit`` or ``partial_fit`` on rows that are read from disk.

    An epoch deals the blocks to buffers and trains on one buffer after another. Rows that are left over from
    whole mini-batches begin the next buffer, so that an epoch has as many steps as one in memory.

    Parameters
    ----------
    estimator : BaseMLP
    source : BlockSource
    convert : callable
        From X, targets and weights of the source to what the engine reads.
    **call
        As `MiniBatchTraining` takes it.
    """

    may_run_ahead = False
    _in_order = ()

    def __init__(self, estimator: "BaseMLP", source: BlockSource, convert: Conversion, **call: Any) -> None:
        self.source, self._convert = source, convert
        self.blocks: np.ndarray = np.arange(source.n_blocks)
        super().__init__(estimator, Data(source, None, None), **call)

    def _choose_rows(self):
        return int(self.source.block_rows[self.blocks].sum())

    def _split(self):
        estimator, n_blocks = self.estimator, self.source.n_blocks
        fraction = estimator.validation_fraction
        held_out = block_order.spread(n_blocks, fraction, estimator._random_state)
        if not 0 < len(held_out) < n_blocks:
            raise ValueError(
                f"validation_fraction={fraction} of the {n_blocks} blocks of this source is {len(held_out)} "
                "blocks, and whole blocks are held out of those to train on. Pass X_val and y_val, or make "
                "the blocks smaller: block_rows=... of .npy files, smaller row groups of Parquet."
            )
        self.hold_out(held_out)

    def hold_out(self, rows: np.ndarray) -> None:
        """Measure these blocks after each epoch, and train on the others."""
        self.validation_set = BlockValidationSet(self.estimator, self.source, rows, self._convert)
        self.blocks = np.setdiff1d(np.arange(self.source.n_blocks), rows)
        self.n_rows = self._choose_rows()

    def _run_epoch_by_epoch(self, network, checkpoint):
        n_rows = self.source.block_rows[self.blocks]
        self._n_buffers = block_order.n_buffers(self.n_rows, self.source.buffer_rows)
        self._unit = self.batch_rows() * _batches_per_step(self.solver.update.optimizer)
        if self.estimator.shuffle:
            largest = block_order.most_rows(n_rows, self._n_buffers)
        else:
            self._in_order = block_order.in_file_order(self.blocks, n_rows, self.source.buffer_rows)
            largest = max(int(self.source.block_rows[part].sum()) for part in self._in_order)
        sizes = {"n_spare": self._unit - 1, "n_rows": largest, "dtype": self.estimator._params.dtype}
        with BlockBuffers(self.source, self._convert, **sizes) as self._buffers:
            super()._run_epoch_by_epoch(network, checkpoint)

    def _train_rows(self, trainer):
        shuffles, total, n_visited = self.estimator.shuffle, 0.0, 0
        parts, draws = self._dealt(self.estimator._random_state)
        for number, (buffer, leave) in enumerate(self._buffers.filled(parts, self._next_part), 1):
            order = draws.permutation(buffer.n_rows) if shuffles else np.arange(buffer.n_rows)
            n_now = buffer.n_rows
            if number < len(parts):
                n_now -= n_now % self._unit
                leave(order[n_now:])
            if n_now == 0:
                continue
            data, visited = (buffer.data(), order[:n_now]) if shuffles else (buffer.data(n_now), None)
            total += self._train_on(trainer, data, visited)
            n_visited += trainer.n_visited
            if is_past(self.until):
                break
        return total, n_visited

    def _dealt(self, random_state):
        """Deal an epoch's blocks to buffers; return them and the generator of its other draws.

        `random_state` is advanced by one draw for an epoch, whatever the epoch needs.
        """
        if not self.estimator.shuffle:
            return self._in_order, None
        draws = np.random.RandomState(random_state.randint(2**32, dtype=np.uint32))
        return [part for part in block_order.deal(self.blocks, self._n_buffers, draws) if len(part)], draws

    def _next_part(self):
        """Return what the next epoch begins with, if nothing else draws before it does; None without one."""
        estimator = self.estimator
        if self.incremental or estimator.n_iter_ + 1 >= estimator.max_iter:
            return None
        return self._dealt(copy.deepcopy(estimator._random_state))[0][0]


class BlockValidationSet(ValidationSet):
    """Blocks whose loss and score are measured after each epoch; their rows stay on disk.

    Targets and outputs of all their rows are held in memory, because a score may need all at once.

    Parameters
    ----------
    estimator : BaseMLP
    source : BlockSource
    blocks : ndarray of int64
    convert : callable
        From X, targets and weights of the source to what the engine reads.
    """

    def __init__(
        self, estimator: "BaseMLP", source: BlockSource, blocks: np.ndarray, convert: Conversion
    ) -> None:
        if estimator.scoring not in (None, "loss"):
            raise ValueError(
                f"scoring={estimator.scoring!r} needs the validation rows in memory, and those of held-out "
                "blocks stay on disk. Pass X_val and y_val, or set scoring=None or 'loss'."
            )
        self._source, self._convert = source, convert
        self._blocks = blocks.tolist()
        self._X = np.empty((int(source.block_rows[blocks].max()), source.shape[1]), estimator._params.dtype)
        super().__init__(estimator, self._joined(), blocks)

    def _joined(self):
        """Return targets and weights of all blocks, without their rows."""
        parts = []
        for X, y, weight in self._read():
            data = self._convert(X, y, weight)
            parts.append((data.scored_targets, data.sample_weight, data.weight_scale))
        targets, weights, scales = zip(*parts, strict=True)
        if weights[0] is None:
            return Data(self._source, np.concatenate(targets), None)
        weights = [weight / scale for weight, scale in zip(weights, scales, strict=True)]
        return Data(self._source, np.concatenate(targets), np.concatenate(weights))

    def _read(self):
        for block in self._blocks:
            X = self._X[: self._source.block_rows[block]]
            yield X, *self._source.read_block(block, X)

    def _evaluate(self, estimator: "BaseMLP", trainer: "Trainer") -> tuple[np.ndarray, float]:
        data, outputs, first = self.data, [], 0
        total = total_weight = 0.0
        for X, _, _ in self._read():
            rows = slice(first, first + len(X))
            weight = None if data.sample_weight is None else data.sample_weight[rows]
            first, n = rows.stop, len(X) if weight is None else float(weight.sum(dtype=np.float64))
            if n == 0:  # there is no mean loss
                outputs.append(trainer.predict(estimator._params, X))
                continue
            part, loss = trainer.evaluate(estimator._params, X, data.targets[rows], sample_weight=weight)
            outputs.append(part)
            total, total_weight = total + loss * n, total_weight + n
        return np.concatenate(outputs), total / total_weight


def _batches_per_step(optimizer):
    """Return how many batches `MultiSteps` puts together: only whole steps end at the end of a buffer."""
    n = 1
    while isinstance(optimizer, Wrapper):
        if isinstance(optimizer, MultiSteps):
            n *= optimizer.n
        optimizer = optimizer.optimizer
    return n
