"""Steppers around a stepper: what `fastopt.optimizers.wrappers` bind."""

import dataclasses
from typing import ClassVar

import numpy as np

from fastopt.optimizers import arrays
from fastopt.optimizers.fused import Core
from fastopt.optimizers.requests import Caution, Stage
from fastopt.rules import wrapping


class WrappedStepper:
    """A stepper that does something before or after each step of another, and is used like it.

    What it does not define is that of the stepper inside: ``param_groups``, ``observe``, ...
    """

    kind: ClassVar[str]
    #: Attributes that belong to the state.
    counts: ClassVar[tuple] = ()

    def __init__(self, inner):
        self.inner = inner
        self.core = inner.core if isinstance(inner, WrappedStepper) else Core(inner)

    def __getattr__(self, name):
        if name == "inner":  # not yet made, as in copying
            raise AttributeError(name)
        return getattr(self.inner, name)

    @property
    def nbytes(self):
        """Bytes of state, without the parameters."""
        return self.inner.nbytes + sum(a.nbytes for a in self._kept())

    def _kept(self):
        """Return the arrays that belong to the state."""
        return ()

    def add_param_group(self, group):
        """Refuse: what is kept beside the arrays has begun with those that were bound."""
        raise TypeError(f"arrays cannot be added to a stepper of {self.kind}; bind all of them together")

    def step(self, grads=None, *, closure=None, grad_scale=1.0, loss=None, hessian=None):
        """Make one step, with what the wrappers do before and after it; arguments as `Stepper.step`."""
        call = self.core.call(grads, closure, grad_scale, {"loss": loss, "hessian": hessian}, self.kind)
        found = self.take(call)
        self.core.finish(call)
        return found

    def take(self, call):
        """Add what is to be done to a `fastopt.optimizers.requests.Call`, hand it on, return the loss."""
        self.ask(call)
        return self.pass_on(call)

    def ask(self, call):
        """Add what is to be done to a call."""

    def pass_on(self, call):
        """Hand a call to the stepper inside; return the loss that its closure found."""
        inner = self.inner
        return inner.take(call) if isinstance(inner, WrappedStepper) else self.core.step(call)

    def state_dict(self):
        """Return the state of the stepper inside, and under ``'wrappers'`` what is kept around it."""
        state = self.inner.state_dict()
        own = {"kind": self.kind, **{name: getattr(self, name) for name in self.counts}}
        own["arrays"] = [a.copy() for a in self._kept()]
        return state | {"wrappers": [*state.get("wrappers", ()), own]}

    def load_state_dict(self, state_dict):
        """Take over a copy of a state from `state_dict`; nothing changes if it does not fit."""
        *others, own = state_dict.get("wrappers") or [{}]
        self._check_own(own)
        self.inner.load_state_dict({**state_dict, "wrappers": others})
        for name in self.counts:
            setattr(self, name, own[name])
        for mine, saved in zip(self._kept(), own["arrays"], strict=True):
            mine[...] = saved

    def _check_own(self, own):
        if own.get("kind") != self.kind:
            raise ValueError(f"the state_dict is not of {self.kind} but of {own.get('kind', 'none')!r}")
        missing = [name for name in self.counts if name not in own]
        if missing:
            raise ValueError(f"the state_dict of {self.kind} lacks {missing}")
        mine = [(a.shape, a.dtype) for a in self._kept()]
        theirs = [(a.shape, a.dtype) for a in map(np.asarray, own["arrays"])]
        if mine != theirs:
            raise ValueError(f"the state_dict of {self.kind} has arrays {theirs}, not {mine}")

    def __reduce__(self):
        raise TypeError("a stepper is bound to arrays in memory and does not pickle; save its state_dict()")


class Averaging(WrappedStepper):
    """Keeps an average of the weights; `eval` exchanges it with the weights, `train` back."""

    kind, counts = "averages", ("count", "n_averaged", "is_averaged")

    def __init__(self, inner, decay, every, first):
        super().__init__(inner)
        self._decay, self._every, self._first = decay, every, first
        self.count, self.n_averaged, self.is_averaged = 0, 0, False
        self._averages = self.core.companions()
        self._begin, self._move = (Stage(s, {"a": self._averages}) for s in (wrapping.copy, wrapping.average))

    def _kept(self):
        return self._averages

    def take(self, call):
        """Step, then move the average on."""
        if self.is_averaged:
            raise RuntimeError("the weights are their average; call train() before step()")
        since = self.count + 1 - self._first
        is_due = since > 0 and since % self._every == 0
        if is_due:
            share = 1.0 / (self.n_averaged + 1) if self._decay is None else 1.0 - self._decay
            self._move.constants = {"share": share, "keep": 1.0 - share}
            call.after.append(self._move if self.n_averaged else self._begin)
        found = self.pass_on(call)
        self.count, self.n_averaged = self.count + 1, self.n_averaged + is_due
        return found

    def eval(self):
        """Put the average into the weights."""
        self.inner.eval()
        self._exchange(True)

    def train(self):
        """Put the weights of training back."""
        self._exchange(False)
        self.inner.train()

    def _exchange(self, to_average):
        if self.is_averaged == to_average or not self.n_averaged:
            return
        for other, p in zip(self._averages, self._params, strict=True):
            kept = other.copy()
            other[...] = p.array
            p.array[...] = kept
        self.is_averaged = to_average
        if self._torch:
            arrays.bump_versions(self._torch)


class LookingAhead(WrappedStepper):
    """Every k steps moves slow weights towards the fast ones, and these back to them."""

    kind, counts = "lookahead", ("count",)

    def __init__(self, inner, k, alpha):
        super().__init__(inner)
        self._k, self.count, self._slow = k, 0, self.core.companions()
        self._meet = Stage(wrapping.meet, {"a": self._slow})
        self._meet.constants = {"share": alpha, "keep": 1.0 - alpha}

    def _kept(self):
        return self._slow

    def take(self, call):
        """Step, and every k-th time meet the slow weights."""
        if (self.count + 1) % self._k == 0:
            call.after.append(self._meet)
        found = self.pass_on(call)
        self.count += 1
        return found


class Accumulating(WrappedStepper):
    """Steps with the mean of n gradients."""

    kind, counts = "accumulation", ("count", "loss", "present")

    def __init__(self, inner, n):
        super().__init__(inner)
        self._n, self.count, self.loss, self.present = n, 0, 0.0, ()
        self._means = self.core.companions()
        self._begin, self._move = (
            Stage(s, {"b": self._means}) for s in (wrapping.scale, wrapping.accumulate)
        )

    def _kept(self):
        return self._means

    def begin(self, run):
        """Let schedules go by another run; they count the steps that are made."""
        self.inner.begin(fewer_steps(run, self._n))

    def take(self, call):
        """Let gradients enter the mean; step with it when it is complete."""
        self.core.evaluate(call, self.kind)
        if "hessian" in call.options:
            raise TypeError("estimates of the Hessian are not accumulated; leave out hessian")
        active, loss = call.active, call.options.get("loss")
        if self.count and active != tuple(self.present):
            raise ValueError(
                "the gradients that are None must be the same in all that are accumulated into one step"
            )
        share = 1.0 / (self.count + 1)
        if self.count == 0:  # whatever the buffer holds, infinity or NaN
            self.present = active
            self.core.write(call, self._begin)
        else:
            self.core.write(call, self._move, share=share, keep=1.0 - share)
        self.loss += share * ((0.0 if loss is None else loss) - self.loss)
        self.count += 1
        if self.count < self._n:
            return call.found
        if loss is not None:
            call.options["loss"] = self.loss
        found = self.pass_on(call)
        self.count, self.loss = 0, 0.0
        return found


class Skipping(WrappedStepper):
    """Leaves out steps whose gradients are not finite."""

    kind, counts = "skipping", ("n_skipped",)

    def __init__(self, inner):
        super().__init__(inner)
        self.n_skipped = 0

    def take(self, call):
        """Step, unless a gradient has an element that is infinite or NaN."""
        self.core.evaluate(call, self.kind)
        if np.isfinite(self.core.norms(call)).all():
            return self.pass_on(call)
        self.n_skipped += 1
        return call.found


class Masking(WrappedStepper):
    """Lets an update go only where it agrees with the gradient."""

    kind = "caution"

    def __init__(self, inner, is_scaled):
        super().__init__(inner)
        self._caution = Caution(self.core, is_scaled)

    def ask(self, call):
        """Let the update be masked."""
        self.core.evaluate(call, self.kind)
        call.caution = self._caution


def fewer_steps(run, n):
    """Return the run of which only every n-th step is made."""
    counts = {name: getattr(run, name) for name in ("n_steps", "steps_per_epoch")}
    return dataclasses.replace(run, **{k: None if v is None else max(1, v // n) for k, v in counts.items()})
