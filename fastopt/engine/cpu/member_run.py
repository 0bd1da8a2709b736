"""One run of `members.MemberTrainer`: what it prepares and records for each network, and who watches it."""

from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import numpy as np

from fastopt.engine import monotonic_clock
from fastopt.engine.cpu import compilation
from fastopt.engine.cpu.context import SCORE, TRAIN
from fastopt.engine.cpu.several_epochs import MAX_STEPS, EpochLoop, Patience
from fastopt.engine.cpu.trainer import MAX_ROWS, PROGRAM

#: Operations of a run below which it is over before anyone could press Ctrl-C.
_SHORT_FLOPS = 2e9
#: Seconds between two looks for Ctrl-C, and between two reports of progress.
_LOOK, _REPORT = 0.05, 0.25
#: Training goes on whatever the loss is, as long as it is finite.
_NO_PATIENCE = Patience(np.inf, 0.0, np.inf, 0)


class MemberRun:
    """A call of `MemberTrainer.train` for one member."""

    def __init__(self, member, trainers, n_epochs, batch_size, alpha, keep_outputs):
        self.member, self.n_left, self.n_done = member, 0 if member.has_ended else n_epochs, 0
        self.loop: Any = None  # an `EpochLoop` while the epochs of `begin` run
        self._n_samples = len(member.rows)
        if not self._n_samples:
            raise ValueError("a member has no rows to train on")
        self._batch_size = min(batch_size, self._n_samples)
        self._n_batches = -(-self._n_samples // self._batch_size)
        self._kernel, self._program = kernel_or_program(trainers[0], member)
        drops = () if member.dropout is None else member.dropout.drops
        mode = TRAIN if self._program is None else PROGRAM
        runner = trainers[0]._prepare(
            mode,
            member.params,
            member.X,
            self._batch_size,
            member.Y,
            member.rows,
            member.sample_weight,
            drops,
        )
        self._workspace, self._validation, self._alpha = runner.workspace, None, alpha
        self.flops, self.calls_blas = runner.flops, runner.workspace.calls_blas
        self._flops_of_validation = 0.0
        if member.held_out is not None:
            self._prepare_validation(trainers[1])
        if keep_outputs:
            self._keep_outputs(n_epochs)
        elif self._validation is not None:
            self._outputs = np.empty((1, *self._best_outputs.shape), self._best_outputs.dtype)
        self._keeps = keep_outputs
        self._first_order = member.rows.copy() if member.shuffles_anew else None

    def _prepare_validation(self, trainer):
        member = self.member
        X, Y, weight = member.validation_data()
        if not len(member.held_out):
            raise ValueError("held_out has no rows; None stands for no validation")
        if member.update.optimizer.innermost.has_modes:
            raise ValueError(
                f"{member.update.optimizer!r} is validated at an average of its parameters, which Python "
                "computes between epochs: train such members one by one with Trainer, or without held_out"
            )
        rows = min(MAX_ROWS, len(member.held_out))
        runner = trainer._prepare(SCORE, member.params, X, rows, Y, member.held_out, weight)
        if weight is not None and not weight[member.held_out].sum() > 0:
            raise ValueError("the weights of the rows held out sum to 0, so they have no mean loss")
        self._validation = runner.workspace
        self.calls_blas |= runner.workspace.calls_blas
        # A third of what training takes for as many rows: no backward pass.
        self._flops_of_validation = runner.flops / rows * len(member.held_out) / 3
        shape = len(member.held_out), trainer.layout.layer_sizes[-1]
        self._best_outputs = np.empty(shape, trainer.dtype)
        self._best_params = np.empty_like(member.params)
        if member.best_epoch is not None:
            self._best_outputs[...], self._best_params[...] = member.best_outputs, member.best_params

    def _keep_outputs(self, n_epochs):
        """Make room for the outputs of more epochs behind those that there are."""
        member = self.member
        if self._validation is None:
            raise ValueError("keep_outputs=True needs rows held_out, whose outputs are kept")
        before = np.empty((0, *self._best_outputs.shape)) if member.outputs is None else member.outputs
        self._outputs = np.empty(
            (len(before) + n_epochs, *self._best_outputs.shape), self._best_outputs.dtype
        )
        self._outputs[: len(before)] = before
        self._n_before = len(before)

    @property
    def flops_planned(self):
        """Operations, about, of the epochs that `begin` prepared."""
        return self._n_epochs * (self._n_batches * self.flops + self._flops_of_validation)

    def begin(self, record):
        """Write the record of the next epochs, as many as have their constants computed at once."""
        member, workspace = self.member, self._workspace
        self._n_epochs = n_epochs = min(self.n_left, max(1, MAX_STEPS // self._n_batches))
        n_steps = n_epochs * self._n_batches
        if self._program is None:
            workspace.point_to_update(member.update, self._kernel, self._alpha)
            workspace.point_to_constants(member.update.constants(n_steps))
        else:
            workspace.point_to_program(self._program, self._alpha)
            self._program.feed(n_steps)
        if member.dropout is not None:
            workspace.point_to_dropout(member.dropout.rows(n_steps))
        workspace.begin(0, self._n_batches, self._batch_size, self._n_samples, 1)
        self.loop = loop = EpochLoop(
            record, workspace.address, n_epochs, self._n_batches, member.random_state,
            member.patience or _NO_PATIENCE,
        )  # fmt: skip
        if self._first_order is not None:
            loop.set(first_order=self._first_order.ctypes.data)
        if self._validation is not None:
            self._begin_validation(loop, self._validation, n_epochs)

    def _begin_validation(self, loop, workspace, n_epochs):
        member, outputs = self.member, self._outputs
        size = workspace.capacity
        workspace.begin(0, -(-len(member.held_out) // size), size, len(member.held_out), 1)
        self._validation_losses = np.empty(n_epochs)
        first = outputs[self._n_before + self.n_done :] if self._keeps else outputs
        loop.set(
            score=workspace.address, validation_losses=self._validation_losses.ctypes.data,
            outputs=first.ctypes.data, outputs_bytes=self._best_outputs.nbytes,
            outputs_step=self._best_outputs.nbytes if self._keeps else 0,
            params_bytes=member.params.nbytes, best_params=self._best_params.ctypes.data,
            best_outputs=self._best_outputs.ctypes.data, best_score=member.best_loss, best_epoch=-1,
        )  # fmt: skip

    def stop_validating(self):
        """Let a validation that is under way end now; its epoch is not recorded."""
        if self._validation is not None:
            self._validation.stop()

    def end(self):
        """Record the epochs done, and count the batches done, of which some may be of an epoch not whole."""
        member, loop, record = self.member, self.loop, self.loop.record[0]
        n_steps, n_done, n_before = int(record["n_batches_done"]), loop.n_done, len(member.losses)
        self.loop = None
        if self._program is None:
            member.update.advance(n_steps)
        if member.dropout is not None:
            member.dropout.advance(n_steps)
        member.losses.extend(loop.losses())
        member.ends.extend(loop.ends())
        member.seconds.extend(loop.seconds())
        if member.patience is not None:
            member.patience = member.patience._replace(best=float(record["best"]), n_bad=int(record["n_bad"]))
        self.n_done += n_done
        self.n_left = 0 if member.has_ended else self.n_left - n_done
        if self._validation is not None:
            self._record_validation(record, n_done, n_before)

    def _record_validation(self, record, n_done, n_before):
        member = self.member
        member.validation_losses.extend(self._validation_losses[:n_done].tolist())
        if record["best_epoch"] >= 0:
            member.best_loss = float(record["best_score"])
            member.best_epoch = n_before + int(record["best_epoch"])
            member.best_params, member.best_outputs = self._best_params, self._best_outputs
        if self._keeps:
            member.outputs = self._outputs[: self._n_before + self.n_done]


class Watch:
    """Watches a run in another thread, as this one is the one that hears Ctrl-C."""

    def __init__(self, runs, interrupt, until, tick):
        self._runs, self._interrupt, self._until, self._tick = runs, interrupt, until, tick
        self._reported = monotonic_clock.now()

    def has_ended(self):
        """Whether it is time to end."""
        return self._interrupt.was_pressed or monotonic_clock.is_past(self._until)

    def run(self, flops, end, *arguments):
        """Run members, and call ``end`` when it is time to."""
        if flops < _SHORT_FLOPS:
            compilation.run_members(*arguments)
            self._report()
            return
        with ThreadPoolExecutor(1) as executor:
            future = executor.submit(compilation.run_members, *arguments)
            try:
                while not future.done():
                    wait([future], timeout=_LOOK)
                    if self.has_ended():
                        end()
                    self._report()
            except BaseException:  # of `tick`
                end()
                raise
        future.result()

    def _report(self):
        now = monotonic_clock.now()
        if self._tick is not None and now - self._reported > _REPORT:
            self._reported = now
            self._tick(sum(run.n_done + (run.loop.n_done if run.loop else 0) for run in self._runs))


def kernel_or_program(trainer, member):
    """Return the address of the optimizer's kernel or, if it has none, its program; ValueError if neither."""
    kernel = getattr(member.update, "address", None)
    if kernel is not None:
        return kernel, None
    program = trainer._program(member.params, member.update)
    if program is None or program.calls_python:
        raise ValueError(
            f"{member.update.optimizer!r} calls Python between batches: train such members one by one, with "
            "Trainer"
        )
    return None, program
