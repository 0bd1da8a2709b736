"""Steppers around a stepper: what `fastopt.optimizers.wrappers` bind."""

import dataclasses
import math
from typing import ClassVar

import numpy as np

from fastopt.kernels import drive, threads
from fastopt.kernels.sweeps import Pass
from fastopt.optimizers import arrays
from fastopt.optimizers.groups import listed
from fastopt.rules import wrapping


class Companions:
    """One array beside each bound parameter, of its shape, dtype and memory order, and sweeps over both."""

    def __init__(self, stepper):
        if not all(isinstance(p.array, np.ndarray) for p in stepper._params):
            raise TypeError("wrappers are for arrays in CPU memory; bind the optimizer inside on a GPU")
        self._stepper, self._passes = stepper, {}
        self.arrays = [np.array(p.array) for p in stepper._params]

    def sweep(self, sweep, active, grad_scale=1.0, **constants):
        """Map a sweep over the parameters numbered ``active``; ``b`` in it is the companion.

        Gradients are those that the stepper accepted last. Returns the sums, of shape (sums, len(active)).
        """
        stepper, params = self._stepper, [self._stepper._params[i] for i in active]
        key = sweep, active
        if key not in self._passes:
            moved = len(sweep.operands) * sum(p.nbytes for p in params)
            n_threads = 1 if moved < drive.PARALLEL_BYTES else stepper._n_threads or threads.n_available()
            one = Pass(
                sweep, [p.array.dtype for p in params], [(p.array.size, 1, False) for p in params], n_threads
            )
            places = {
                "w": [p.data for p in params],
                "b": [arrays.address(self.arrays[p.index]) for p in params],
                "g": 0,  # another place at every step
            }
            for column, letter in zip(one.operands.T, sweep.operands, strict=True):
                column[:] = places[letter]
            self._passes[key] = one
        one = self._passes[key]
        if "g" in sweep.operands:
            one.operands[:, sweep.operands.index("g")] = stepper._table[list(active), 2]
        return one.run((grad_scale, 0.0, 1.0), constants)


class WrappedStepper:
    """A stepper that does something before or after each step of another, and is used like it.

    What it does not define is that of the stepper inside: ``param_groups``, ``observe``, ...
    """

    kind: ClassVar[str]
    #: Attributes that belong to the state.
    counts: ClassVar[tuple] = ()

    def __init__(self, inner, companions=True):
        self.inner = inner
        self.companions = Companions(inner) if companions else None

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
        return self.companions.arrays if self.companions else ()

    def add_param_group(self, group):
        """Refuse: what is kept beside the arrays has begun with those that were bound."""
        raise TypeError(f"arrays cannot be added to a stepper of {self.kind}; bind all of them together")

    def _gradients(self, grads, loss, closure):
        """Return gradients, the loss if the optimizer wants it, and what `step` returns."""
        found = None
        if closure is not None:
            found, grads, loss = self._call(closure, grads, loss)
        return listed(grads), loss, found

    def _active(self, grads):
        """Accept gradients as `Stepper.step` does; return which are there."""
        if not self._same(grads):
            self._accept(grads)
        if self._rows:
            raise TypeError(f"{self.kind} needs whole gradients, not the rows (indices, values) of some")
        return tuple(p.index for p in self._params if p.index not in self._absent)

    def _all(self):
        return tuple(range(len(self._params)))

    def _tell_torch(self):
        """Note that the weights were changed where torch cannot see it."""
        if self._torch:
            arrays.bump_versions(self._torch)

    def _as_gradients(self, active):
        """Return the companions as a list of gradients."""
        present = frozenset(active)
        return [a if i in present else None for i, a in enumerate(self.companions.arrays)]

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

    def step(self, grads=None, **options):
        """Step, then move the average on."""
        if self.is_averaged:
            raise RuntimeError("the weights are their average; call train() before step()")
        found = self.inner.step(grads, **options)
        self.count += 1
        if self.count > self._first and (self.count - self._first) % self._every == 0:
            self._average()
        return found

    def _average(self):
        if self.n_averaged:
            share = 1.0 / (self.n_averaged + 1) if self._decay is None else 1.0 - self._decay
            self.companions.sweep(wrapping.average, self._all(), share=share, keep=1.0 - share)
        else:
            for average, p in zip(self.companions.arrays, self._params, strict=True):
                average[...] = p.array
        self.n_averaged += 1

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
        for other, p in zip(self.companions.arrays, self._params, strict=True):
            kept = other.copy()
            other[...] = p.array
            p.array[...] = kept
        self.is_averaged = to_average
        self._tell_torch()


class LookingAhead(WrappedStepper):
    """Every k steps moves slow weights towards the fast ones, and these back to them."""

    kind, counts = "lookahead", ("count",)

    def __init__(self, inner, k, alpha):
        super().__init__(inner)
        self._k, self._alpha, self.count = k, alpha, 0

    def step(self, grads=None, **options):
        """Step, and every k-th time meet the slow weights."""
        found = self.inner.step(grads, **options)
        self.count += 1
        if self.count % self._k == 0:
            slow = self.companions
            slow.sweep(wrapping.average, self._all(), share=self._alpha, keep=1.0 - self._alpha)
            for p, a in zip(self._params, slow.arrays, strict=True):
                p.array[...] = a
            self._tell_torch()
        return found


class Accumulating(WrappedStepper):
    """Steps with the mean of n gradients."""

    kind, counts = "accumulation", ("count", "loss", "present")

    def __init__(self, inner, n):
        super().__init__(inner)
        self._n, self.count, self.loss, self.present = n, 0, 0.0, ()

    def begin(self, run):
        """Let schedules go by another run; they count the steps that are made."""
        self.inner.begin(fewer_steps(run, self._n))

    def step(self, grads=None, *, grad_scale=1.0, loss=None, closure=None):
        """Add a gradient to the mean, and every n-th time step with it."""
        grads, loss, found = self._gradients(grads, loss, closure)
        active = self._active(grads)
        if self.count == 0:
            self.present = active
        elif active != tuple(self.present):
            raise ValueError(
                "the gradients that are None must be the same in all that are accumulated into one step"
            )
        share = 1.0 / (self.count + 1)
        if self.count == 0:  # whatever the buffer holds, infinity or NaN
            self.companions.sweep(wrapping.scale, active, grad_scale, factor=1.0)
        else:
            self.companions.sweep(wrapping.accumulate, active, grad_scale, share=share, keep=1.0 - share)
        self.loss += share * ((0.0 if loss is None else loss) - self.loss)
        self.count += 1
        if self.count == self._n:
            self.inner.step(self._as_gradients(active), **({} if loss is None else {"loss": self.loss}))
            self.count, self.loss = 0, 0.0
        return found


class Clipping(WrappedStepper):
    """Bounds the gradients of each step."""

    kind = "clipping"

    def __init__(self, inner, value, tensor_norm, norm):
        super().__init__(inner)
        self._value, self._tensor_norm, self._norm = value, tensor_norm, norm

    def _kept(self):
        return ()  # buffers, of which no step needs what the last one left

    def step(self, grads=None, *, grad_scale=1.0, loss=None, closure=None, **options):
        """Step with bounded gradients: first their values, then each array's norm, then that of all."""
        grads, loss, found = self._gradients(grads, loss, closure)
        active = self._active(grads)
        if self._value is not None:
            self.companions.sweep(wrapping.clamp, active, grad_scale, bound=self._value)
            grads, grad_scale = self._as_gradients(active), 1.0
        if self._tensor_norm is not None:
            factors = _factor(self._norms(grads, grad_scale), self._tensor_norm)
            self.companions.sweep(wrapping.scale, active, grad_scale, factor=factors)
            grads, grad_scale = self._as_gradients(active), 1.0
        if self._norm is not None and active:
            grad_scale *= float(_factor(np.linalg.norm(self._norms(grads, grad_scale)), self._norm))
        self.inner.step(grads, grad_scale=grad_scale, loss=loss, **options)
        return found

    def _norms(self, grads, grad_scale):
        (squares,) = self.companions.sweep(wrapping.square, self._active(grads), grad_scale)
        return np.sqrt(squares)


def _factor(norm, bound):
    # torch's, which spares a comparison with 0; a norm that is not finite makes the gradients NaN or 0.
    return np.minimum(1.0, bound / (norm + 1e-6))


class Skipping(WrappedStepper):
    """Leaves out steps whose gradients are not finite."""

    kind, counts = "skipping", ("n_skipped",)

    def __init__(self, inner):
        super().__init__(inner, companions=False)
        self.n_skipped, self._sums = 0, Companions(inner)

    def step(self, grads=None, *, grad_scale=1.0, loss=None, closure=None, **options):
        """Step, unless a gradient has an element that is infinite or NaN."""
        grads, loss, found = self._gradients(grads, loss, closure)
        (squares,) = self._sums.sweep(wrapping.square, self._active(grads), grad_scale)
        if all(map(math.isfinite, squares)):
            self.inner.step(grads, grad_scale=grad_scale, loss=loss, **options)
        else:
            self.n_skipped += 1
        return found


def fewer_steps(run, n):
    """Return the run of which only every n-th step is made."""
    counts = {name: getattr(run, name) for name in ("n_steps", "steps_per_epoch")}
    return dataclasses.replace(run, **{k: None if v is None else max(1, v // n) for k, v in counts.items()})
