"""A bag of networks: each trained on the rows outside one fold and validated on the rows of that fold."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastopt.engine import Layout, Member, MemberTrainer
from fastopt.neural_network.data import Data
from fastopt.neural_network.initialization import initialize
from fastopt.optimizers import AdamW
from fastopt.schedules import Run, cosine, coslog4, flat_cos
from fastopt.stepping.rate_factors import RateFactors
from fastopt.tabular.out_of_fold_outputs import OutOfFoldOutputs

#: Cycles of the learning rate, each twice as long as the one before.
N_CYCLES = 5
#: Factors of the learning rate, Holzmüller et al.'s (2024): weights as in the neural-tangent parametrisation.
_RATE_FACTORS = {"weights": "fan_in", "biases": 0.1, "input_scale": 6.0}


class Training(NamedTuple):
    """How the networks of a bag are trained.

    Attributes
    ----------
    learning_rate : float
        The peaks of the schedule.
    betas : tuple of two floats
    weight_decay : float
        Decoupled; constant for half of the epochs, then along a cosine to 0.
    max_iter : int
        Epochs of the whole schedule.
    batch_size : int
    """

    learning_rate: float
    betas: tuple[float, float]
    weight_decay: float
    max_iter: int
    batch_size: int

    def update(self, layout: Layout, n_rows: int) -> Any:
        """Return the optimizer's state for a network that is trained on so many rows."""
        n_batches = -(-n_rows // min(self.batch_size, n_rows))
        optimizer = AdamW(
            lr=coslog4(self.learning_rate, cycles=N_CYCLES),
            betas=self.betas,
            weight_decay=flat_cos(self.weight_decay),
        )
        run = Run(n_batches * self.max_iter, n_batches)
        factors = RateFactors.of_layers(layout.layer_sizes, **_RATE_FACTORS)
        return optimizer.flat(layout.size, layout.n_decay, np.float32, run, factors)


class Bag:
    """Networks of one shape, in training.

    Parameters
    ----------
    network : dict
        The arguments of `fastopt.engine.MemberTrainer`.
    training : Training
    data : Data
        Rows to train on, with targets before label smoothing as ``true_targets``.
    held_out : list of ndarray
        For each network the rows that it is not trained on: of ``data``, or of ``measured``.
    measured : Data, optional
        Rows for validation. Every network is then trained on all of ``data``.
    n_folds : int, optional
        Networks of which each row of ``data`` is held out of one; not with ``measured``.
    random_state : RandomState
        Draws a seed for each network, which draws its first parameters and then the order of the rows.
    """

    def __init__(
        self,
        network: dict[str, Any],
        training: Training,
        data: Data,
        held_out: Sequence[np.ndarray],
        measured: Data | None,
        n_folds: int | None,
        random_state: np.random.RandomState,
    ) -> None:
        self._training = training
        self._trainer = MemberTrainer(**network)
        scored = data if measured is None else measured
        weight = scored.sample_weight
        self._shares = np.array([len(rows) if weight is None else weight[rows].sum() for rows in held_out])
        seeds = random_state.randint(2**32, size=len(held_out), dtype=np.uint64)
        self.members: list[Member] = [
            self._new_member(network, data, rows, measured, np.random.RandomState(int(seed)))
            for rows, seed in zip(held_out, seeds, strict=True)
        ]
        self._n_outputs = network["layout"].layer_sizes[-1]
        self._out_of_fold = None
        if n_folds is not None:
            self._out_of_fold = OutOfFoldOutputs(self.members, self._shares, n_folds)

    def _new_member(self, network, data, held_out, measured, random_state):
        layout, every = network["layout"], np.arange(data.X.shape[0])
        rows = every if measured is not None else np.setdiff1d(every, held_out, assume_unique=True)
        params = initialize(layout, network["activation"], random_state, network["dtype"], "realmlp")
        validation = {"Y_val": data.scored_targets}
        if measured is not None:
            validation = {
                "X_val": measured.X,
                "Y_val": measured.targets,
                "weight_val": measured.sample_weight,
            }
        return Member(
            params=params,
            update=self._training.update(layout, len(rows)),
            X=data.X,
            Y=data.targets,
            rows=rows,
            random_state=random_state,
            sample_weight=data.sample_weight,
            held_out=held_out,
            **validation,
        )

    def train(
        self,
        n_epochs: int,
        until: float | None = None,
        tick: Callable[[int], Any] | None = None,
    ) -> None:
        """Train every network for some more epochs; see `fastopt.engine.MemberTrainer.train`."""
        options = {"batch_size": self._training.batch_size, "until": until}
        if self._out_of_fold is None:
            self._trainer.train(self.members, n_epochs=n_epochs, tick=tick, **options)
            return
        step = self._out_of_fold.epochs_at_once(self._n_outputs)
        for first in range(0, n_epochs, step):
            done = len(self.members) * first
            on_tick = None if tick is None else lambda n, done=done: tick(done + n)
            n = min(step, n_epochs - first)
            try:
                self._trainer.train(self.members, n_epochs=n, keep_outputs=True, tick=on_tick, **options)
            finally:
                self._out_of_fold.take()

    def held_out_outputs(self) -> list[np.ndarray]:
        """Return for each network outputs of the rows held out of it; see `OutOfFoldOutputs`.

        Of rows that are not of ``data``, they are those of its best epoch.
        """
        if self._out_of_fold is None:
            return [member.best_outputs for member in self.members]
        return self._out_of_fold.outputs()

    def losses(self) -> tuple[np.ndarray, np.ndarray]:
        """Return two curves over the epochs: the training loss, and the pooled loss of the rows held out.

        Both are means over the networks, the second by the weight of the rows that they are validated on.
        """
        lengths = [len(member.losses) for member in self.members]
        going_on = [n for n, member in zip(lengths, self.members, strict=True) if not member.has_diverged]
        n_epochs = min(going_on, default=max(lengths))
        training = np.array([_padded(member.losses, n_epochs) for member in self.members])
        held_out = np.array([_padded(member.validation_losses, n_epochs) for member in self.members])
        return training.mean(axis=0), (self._shares[:, None] * held_out).sum(axis=0) / self._shares.sum()

    def last_loss(self) -> float:
        """Return the pooled loss of the rows held out after the last epoch that all networks have done."""
        return float(self.losses()[1][-1]) if not self.lacks_epochs() else np.nan

    def lacks_epochs(self) -> bool:
        """Whether a network has not completed a single epoch."""
        return any(not member.losses for member in self.members)

    def has_diverged(self) -> bool:
        """Whether the loss of every network is no longer finite."""
        return all(member.has_diverged for member in self.members)

    def end_within(self, n_epochs: int) -> None:
        """Let the schedules end in so many epochs: one more cycle, in which the decay falls to 0."""
        for member in self.members:
            update, training = member.update, self._training
            update.hyper["lr"] = coslog4(training.learning_rate, cycles=1)
            update.hyper["weight_decay"] = cosine(training.weight_decay)
            n_batches = update.run.steps_per_epoch
            update.begin(Run(n_batches * n_epochs, n_batches, origin=update.t))


def _padded(losses, n_epochs):
    """Return losses as an array of some length, at the end NaN where training has diverged."""
    padded = np.full(n_epochs, np.nan)
    padded[: len(losses)] = losses[:n_epochs]
    return padded
