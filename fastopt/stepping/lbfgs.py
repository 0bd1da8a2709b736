"""The stepper of L-BFGS, which evaluates a closure several times a step."""

import contextlib
from collections.abc import Mapping

import numpy as np

from fastopt._parameters import plain
from fastopt.kernels.blas_threads import single_threaded
from fastopt.kernels.interrupts import HeldInterrupt
from fastopt.rules.lbfgs import Trial, direction, strong_wolfe
from fastopt.stepping import arrays
from fastopt.stepping.param_groups import to_list
from fastopt.stepping.state_dict import (
    dump_groups,
    export,
    group_values,
    keys_of,
    parts,
    real,
    whole_number,
)
from fastopt.stepping.stepper import Stepper, call, real_number


class LBFGSStepper(Stepper):
    """A `Stepper` whose steps evaluate a closure; made by `LBFGS.bind`."""

    def __init__(self, optimizer, groups, n_threads, run):
        super().__init__(optimizer, groups, n_threads, run)
        if len(self.bound.groups) > 1:
            raise ValueError("LBFGS has one direction for all parameters: pass one group")
        if len({p.array.dtype for p in self.bound.params}) > 1:
            raise TypeError("LBFGS has one direction for all parameters: pass arrays of one dtype")
        self._state = {"func_evals": 0, "n_iter": 0}
        self._pairs = []

    @property
    def nbytes(self):
        """Bytes of state, without the parameters."""
        vectors = [a for pair in self._pairs for a in pair[:2]]
        vectors += [a for a in self._state.values() if isinstance(a, np.ndarray)]
        return sum(a.nbytes for a in vectors)

    def add_param_group(self, group):
        """Raise TypeError: L-BFGS has one group only."""
        raise ValueError("LBFGS has one direction for all parameters, and so one group")

    def step(self, grads=None, *, closure=None, grad_scale=1.0):
        """Make up to ``max_iter`` iterations.

        Parameters
        ----------
        grads : None
            The closure gives the gradients.
        closure : callable
            ``closure()`` returns ``(loss, gradients)`` at the present weights; the gradients as in
            `Stepper.step`, None for zeros.
        grad_scale : float
            Multiplies loss and gradients.

        Returns
        -------
        float
            The loss before the step.

        Raises
        ------
        TypeError, ValueError
            If ``grads`` is given, or a gradient does not fit its parameter. As after Ctrl-C, the iterations
            that were complete are kept, that in progress is undone, and the step is not counted.
        """
        if grads is not None or closure is None:
            raise TypeError("LBFGS takes no gradients, but a closure that evaluates them: step(closure=f)")
        self.bound.refresh()
        h = self.bound.groups[0].current()
        grad_scale = real_number(grad_scale, "grad_scale")
        scale = -grad_scale if h["maximize"] else grad_scale
        losses = []  # as the closure gave them: a loss times `grad_scale` could not be divided by one of 0
        with single_threaded():  # the bits of a long product depend on BLAS's threads
            self._iterate(h, lambda: self._evaluate(closure, scale, losses))
        self.bound.progress.step += 1
        return losses[0]

    def _evaluate(self, closure, scale, losses):
        """Return the scaled loss and the scaled gradient as one vector; append the loss to ``losses``."""
        loss, grads = call(closure)
        grads = to_list(grads)
        self.bound.accept(grads)
        flat = [
            np.zeros(p.array.size, p.array.dtype)
            if g is None
            else arrays.view(g, p.name).ravel(arrays.order_of(p.array))
            for p, g in zip(self.bound.params, grads, strict=True)
        ]
        self._state["func_evals"] += 1
        losses.append(loss)
        return scale * losses[-1], np.concatenate(flat) * flat[0].dtype.type(scale)

    def _move(self, vector, t):
        """Add ``t`` times a vector to the weights."""
        first = 0
        for p in self.bound.params:
            part = vector[first : first + p.array.size]
            p.array += vector.dtype.type(t) * part.reshape(p.array.shape, order=arrays.order_of(p.array))
            first += p.array.size
        self.bound.mark_changed()

    def _iterate(self, h, evaluate):
        """Make the iterations of one step, until one of the tolerances ends it."""
        state = self._state
        (loss, g), n_evals = evaluate(), 1
        if np.abs(g).max(initial=0.0) <= h["tolerance_grad"]:
            return
        most = h["max_iter"] * 5 // 4 if h["max_eval"] is None else h["max_eval"]
        for i in range(1, h["max_iter"] + 1):
            with self._whole_or_undone() as here:
                d = self._direction(g, h["history_size"])
                state["prev_flat_grad"], state["prev_loss"] = g, loss
                t = h["lr"] * (min(1.0, 1.0 / float(np.abs(g).sum())) if state["n_iter"] == 1 else 1.0)
                state["d"], state["t"] = d, t
                slope = float(g @ d)
                if slope > -h["tolerance_change"]:
                    break
                if h["line_search_fn"]:
                    start = Trial(0.0, loss, slope, g)
                    (t, loss, _, g), n = self._search(
                        evaluate, start, d, t, h["tolerance_change"], most - n_evals, here
                    )
                    n_evals += n
                    state["t"] = t
                self._move(d, t)
                if not h["line_search_fn"] and i < h["max_iter"]:
                    loss, g = evaluate()
                    n_evals += 1
            if self._is_over(h, g, d, t, loss, n_evals, most):
                break

    @contextlib.contextmanager
    def _whole_or_undone(self):
        """Undo an iteration that Ctrl-C or an error in the closure ends; yields copies of the weights."""
        here, state, pairs = self._weights(), dict(self._state), list(self._pairs)
        try:
            yield here
        except BaseException:
            with HeldInterrupt():
                self._restore(here)
                self._state.update(state)
                for key in self._state.keys() - state.keys():
                    del self._state[key]
                self._pairs = pairs
                self.bound.mark_changed()
            raise

    def _weights(self):
        return [p.array.copy(order="K") for p in self.bound.params]

    def _restore(self, weights):
        for p, before in zip(self.bound.params, weights, strict=True):
            p.array[...] = before

    def _direction(self, g, history_size):
        """Store the changes since the last iteration; return the quasi-Newton direction."""
        state = self._state
        state["n_iter"] += 1
        if state["n_iter"] == 1:
            state["H_diag"] = 1.0
            return -g
        y, s = g - state["prev_flat_grad"], state["d"] * g.dtype.type(state["t"])
        product = float(y @ s)
        if product > 1e-10:
            del self._pairs[: max(0, len(self._pairs) + 1 - history_size)]
            self._pairs.append((y, s, 1.0 / product))
            with np.errstate(divide="ignore"):  # a square may be 0 where the product is not
                state["H_diag"] = float(np.divide(product, y @ y))
        return direction(g, self._pairs, state["H_diag"])

    def _search(self, evaluate, start, d, t, tolerance, most, here):
        """Search along ``d`` from the present weights ``here``, and restore these."""

        def trial(t):
            self._move(d, t)
            loss, g = evaluate()
            self._restore(here)
            return Trial(t, loss, float(g @ d), g)

        return strong_wolfe(trial, start, t, float(np.abs(d).max()), tolerance, most)

    def _is_over(self, h, g, d, t, loss, n_evals, most):
        change = h["tolerance_change"]
        return (
            n_evals >= most
            or np.abs(g).max() <= h["tolerance_grad"]
            or np.abs(d * g.dtype.type(t)).max() <= change
            or abs(loss - self._state["prev_loss"]) < change
        )

    def state_dict(self):
        """Return a copy of the state, in torch's layout: all of it belongs to the first parameter."""
        groups = dump_groups(self.bound.groups)
        step = {"step": self.bound.progress.step} if self.bound.is_scheduled else {}
        if not self._state["n_iter"]:
            return {"state": {}, "param_groups": groups, **step}
        own = {key: self._export(value) for key, value in self._state.items()}
        for key, column in zip(("old_dirs", "old_stps", "ro"), self._columns(), strict=True):
            own[key] = [self._export(value) for value in column]
        return {"state": {0: own}, "param_groups": groups, **step}

    def _columns(self):
        return zip(*self._pairs, strict=True) if self._pairs else ([], [], [])

    def _export(self, value):
        return export(value, self.bound.params[0].given) if isinstance(value, np.ndarray) else plain(value)

    def load_state_dict(self, state_dict):
        """Load a copy of a state, from `state_dict` or from ``torch.optim.LBFGS``; see `Stepper`."""
        groups, states = parts(state_dict)
        if len(groups) != 1:
            raise ValueError(f"the state_dict has {len(groups)} parameter groups, not 1")
        group = self.bound.groups[0]
        values = group_values(group, groups[0])
        first = keys_of(group, self.bound.params, groups[0])[0]
        wrong = [key for key in states if str(key) != str(first)]
        if wrong:
            raise ValueError(
                f"the state_dict has state of {wrong}; that of LBFGS belongs to the first parameter"
            )
        own = next(iter(states.values()), {"func_evals": 0, "n_iter": 0})
        if not isinstance(own, Mapping):
            raise ValueError(f"state[0] of the state_dict is a dict, not {type(own).__name__}")
        n_iter = whole_number(own.get("n_iter", 0), "state[0]['n_iter']")
        missing = [key for key in _NUMBERS + _VECTORS if key not in own and (n_iter or key in _COUNTS)]
        if missing:
            raise ValueError(f"state[0] of the state_dict lacks {missing}, which LBFGS needs")
        state = {key: self._import(own[key], key) for key in (_NUMBERS + _VECTORS if n_iter else _COUNTS)}
        n_steps = whole_number(state_dict.get("step", 0), "state_dict['step']")
        pairs = self._import_pairs(own)
        self.bound.groups[0].values.update(values)
        self._state, self._pairs = state, pairs
        self.bound.progress.step = n_steps

    def _import_pairs(self, own):
        columns = [own.get(key) for key in ("old_dirs", "old_stps", "ro")]
        columns = [[] if column is None else column for column in columns]
        if not all(isinstance(c, (list, tuple)) and len(c) == len(columns[0]) for c in columns):
            raise ValueError(
                "state[0] of the state_dict must have lists of one length: old_dirs, old_stps, ro"
            )
        return [
            (self._import(y, "d"), self._import(s, "d"), real(rho, "state[0]['ro']"))
            for y, s, rho in zip(*columns, strict=True)
        ]

    def _import(self, value, key):
        if key not in _VECTORS:
            return (whole_number if key in _COUNTS else real)(value, f"state[0][{key!r}]")
        vector = np.array(arrays.view(value, f"state[0][{key!r}]"))
        size, dtype = sum(p.array.size for p in self.bound.params), self.bound.params[0].array.dtype
        if vector.shape != (size,):
            raise ValueError(f"state[0][{key!r}] has shape {vector.shape}, not {(size,)}")
        if vector.dtype != dtype:
            raise TypeError(f"state[0][{key!r}] has dtype {vector.dtype}, not {dtype}; state is never cast")
        return vector


_COUNTS = ("func_evals", "n_iter")
_NUMBERS = (*_COUNTS, "t", "H_diag", "prev_loss")

_VECTORS = ("d", "prev_flat_grad")
