"""The stepper inside wrappers: runs the update and the wrappers' stages in one pass over memory.

All stages of a `fastopt.stepping.fusion_stages.StepRequest`, and the update, run chunk by chunk while the
chunk is in cache (loop fusion). Rules that look at whole arrays cannot be fused; for them each stage is a
pass over memory of its own, and changed gradients are written to a buffer.
"""

import functools
from numbers import Real

import numpy as np

from fastopt.kernels import fused_chunks, recording
from fastopt.rules import wrappers
from fastopt.stepping import arrays
from fastopt.stepping.fusion_stages import Stage, StepRequest
from fastopt.stepping.param_groups import to_list
from fastopt.stepping.recordable import copy_arrays, stacked
from fastopt.stepping.stepper import Stepper, evaluate, real_number, refuse_both
from fastopt.stepping.tracing import Traced

#: Fused loops that are kept, for gradients that are now here, now None.
_LOOPS = 64


class FusedStepper:
    """Runs the stages of wrappers fused with the update of the stepper inside them.

    Parameters
    ----------
    stepper : Stepper

    Attributes
    ----------
    params : list of Param
    is_recordable : bool
        Whether steps can be made by a program (`fastopt.stepping.recorded_steps`).
    """

    def __init__(self, stepper: Stepper):
        self._stepper, self._bound = stepper, stepper.bound
        self.params = self._bound.params
        if not all(isinstance(p.array, np.ndarray) for p in self.params):
            raise TypeError("wrappers are for arrays in CPU memory; bind the optimizer inside on a GPU")
        self._loops, self._table = {}, None
        self.is_recordable: bool = type(stepper) is Stepper
        self._buckets = self._members = None
        self._square, self._scale, self._buffers = Stage(wrappers.square), Stage(wrappers.scale), None

    def copies(self):
        """Return a copy of each parameter, of the same dtype and memory order."""
        return [np.array(p.array) for p in self.params]

    def request(self, grads, closure, grad_scale, options, kind):
        """Return the `StepRequest` for these arguments of ``step``."""
        grad_scale = real_number(grad_scale, "grad_scale")
        options = {name: value for name, value in options.items() if value is not None}
        if closure is None and grads is None:
            raise TypeError(
                f"a step of {kind} needs gradients or a closure; pass [None] to skip a single parameter"
            )
        if closure is not None:
            refuse_both(grads, options.get("loss"))
        return StepRequest(None if grads is None else to_list(grads), closure, grad_scale, options)

    def accept(self, request: StepRequest, kind: str) -> None:
        """Evaluate a request's closure, check the gradients, and note which parameters have one."""
        self._evaluate(request)
        if request.active is None:
            request.active = self._accept(request.grads)
            if self._bound.gradients.rows:
                raise TypeError(f"{kind} needs whole gradients, not the rows (indices, values) of some")

    def _evaluate(self, request):
        """Evaluate the closure of a request, if that has not been done."""
        if request.closure is not None:
            request.found, grads, loss = evaluate(request.closure, self._bound.optimizer)
            request.closure, request.grads = None, to_list(grads)
            if loss is not None:
                request.options["loss"] = loss
        request.interrupt.hold()  # before any wrapper changes its state

    def _accept(self, grads):
        """Check gradients; return the indices of the parameters that have one."""
        self._bound.accept(grads)
        return self._with_gradient()

    def _with_gradient(self):
        absent = self._bound.gradients.absent
        return tuple(p.index for p in self.params if p.index not in absent)

    def add(self, request, stage, **constants):
        """Add a stage that changes the gradients before the update."""
        self._meet(request, stage)
        stage.constants, stage.scale = constants, request.scale
        if stage.members is None:
            request.scale = 1.0
        elif type(request.scale) is not float or request.scale != 1.0:
            concerned = np.isin(np.arange(len(self.params)), list(stage.members))
            request.scale = np.where(concerned, 1.0, request.scale)
        request.before.append(stage)
        request.forget_norms()

    def _meet(self, request, stage):
        """Write changed gradients to a buffer if earlier stages see them as a matrix of another shape."""
        for other in request.before:
            if any(other.units[i][:2] != stage.units[i][:2] for i in other.units.keys() & stage.units.keys()):
                self._write_out(request)
                break

    def norms(self, request):
        """Return the L2 norm of each gradient after the stages so far, 0 for one that is None."""
        if request.known_norms() is None:
            (squares,) = self.reduce(request, self._square)
            request.norms = np.sqrt(squares)
        return request.norms

    def reduce(self, request, stage, **constants):
        """Run a stage that only computes sums; return them, of shape (sums, parameters).

        Of a sweep that adds up by units a dict of an ndarray (sums, units) for each parameter.
        """
        self._meet(request, stage)
        if not self._concerns(stage, request.active):
            return {} if stage.sweep.is_matrix else np.zeros((stage.sweep.sums, len(self.params)))
        stage.constants, stage.scale = constants, request.scale
        prepared, members = self._run([*request.before, stage], request.active)[-1]
        if stage.sweep.is_matrix:
            return dict(zip(members, prepared.collect()[2], strict=True))
        return self._spread(prepared.collect(), members)

    def _spread(self, sums, members):
        places = np.zeros(len(self.params), int)
        places[list(members)] = np.arange(len(members))
        is_member = np.isin(np.arange(len(places)), list(members))
        return np.where(is_member, sums[:, places], 0.0)

    def reduce_weights(self, stage):
        """Run a stage that sums over the weights as they are now; return what `reduce` does."""
        prepared, members = self._run([stage], ())[-1]
        return dict(zip(members, prepared.collect()[2], strict=True)) if members else {}

    def change_weights(self, stage):
        """Run a stage that changes the weights as they are now."""
        self._run([stage], ())
        self.mark_changed()

    def apply(self, request, stage, **constants):
        """Run a stage now, on the gradients after the stages so far."""
        if self._concerns(stage, request.active):
            stage.constants, stage.scale = constants, request.scale
            self._run([*request.before, stage], request.active)

    def write(self, request, stage, **constants):
        """Run a stage that writes the gradients to its own arrays, which the request then uses."""
        self.apply(request, stage, **constants)
        present = frozenset(request.active)
        request.grads = [a if i in present else None for i, a in enumerate(stage.arrays["b"])]
        request.before, request.scale, request.active = [], 1.0, None
        request.forget_norms()

    def _write_out(self, request):
        if self._buffers is None:
            self._buffers = Stage(wrappers.scale, {"b": self.copies()})
        self.write(request, self._buffers)
        request.active = self._accept(request.grads)

    def step(self, request: StepRequest) -> float | None:
        """Make the step, fused with the request's stages where possible; return the closure's loss."""
        stepper, bound = self._stepper, self._bound
        if bound.optimizer.needs == "closure" and request.closure is not None:
            return stepper.step(closure=request.closure, grad_scale=request.scale, **request.options)
        self._evaluate(request)
        if request.active is None:
            bound.refresh()  # a changed flag may bring a tensor rule
        has_rows = any(type(g) is tuple for g in request.grads)
        if type(stepper) is not Stepper or bound.tensorwise or has_rows:
            self._step_apart(request)
        elif request.before or request.after or request.mask or not isinstance(request.scale, Real):
            scale = self._even(request)
            if request.mask:  # with the values of this step, which is counted before it runs
                request.mask.stage.head = self._prologue(scale)
            run = functools.partial(self._run_fused, request)
            stepper.update(request.grads, scale, **request.options, run=run)
        else:
            stepper.update(request.grads, request.scale, **request.options)
        return request.found

    def _even(self, request):
        """Return one scale for all gradients, adding a stage that applies the scales if they differ."""
        if isinstance(request.scale, Real):
            return request.scale
        is_known = not isinstance(request.scale, Traced)
        values = {request.scale[i] for i in request.active} if is_known else ()
        if len(values) > 1 or not is_known:
            self.add(request, self._scale)
            return 1.0
        return float(values.pop()) if values else 1.0

    def _step_apart(self, request):
        """Make the step without fusion, with changed gradients from a buffer."""
        stepper, mask = self._stepper, request.mask
        if request.before or not isinstance(request.scale, Real):
            self._write_out(request)
        step = stepper.update if type(stepper) is Stepper else stepper.step
        if mask is None:
            step(request.grads, grad_scale=request.scale, **request.options)
            return
        stage, new, old = mask.apart()
        stage.head = self._prologue(request.scale)
        weights = [p.array for p in self.params]
        copy_arrays(old, weights)
        step(request.grads, grad_scale=request.scale, **request.options)
        active = self._with_gradient()
        for i in active:
            copy_arrays([new[i], weights[i]], [weights[i], old[i]])
        self._run_masked([stage], active, mask, [])

    def _run_masked(self, wanted, active, mask, after):
        """Run stages that end in a mask, then those that follow it."""
        if not active:
            return
        if not mask.stage.sweep.sums:  # nothing of all elements must be known first
            self._run([*wanted, *after], active)
            return
        prepared, members = self._run(wanted, active)[-1]
        (counts,) = self._spread(prepared.collect(), members)
        self._run([*mask.lengthen(counts), *after], active)

    def _prologue(self, scale):
        """Return what kernels apply first to each parameter: `Optimizer.prologue`, times the scale."""
        specs = [p.group.spec(p.array.shape) for p in self.params]
        sign, l2, keep = (
            stacked(column) for column in zip(*(c.prologue(h) for c, h, _ in specs), strict=True)
        )
        return sign * scale, l2, keep

    def _run_fused(self, request):
        """Run the update of the parameters that take the step, fused with the request's stages."""
        if self._buckets is not self._bound.active:
            self._buckets = self._bound.active
            self._members = tuple(p.index for bucket in self._buckets for p in bucket.members)
        active = self._members
        after, mask = request.after[::-1], request.mask
        if mask is None:
            self._run([*request.before, fused_chunks.UPDATE, *after], active)
        else:
            wanted = [*request.before, mask.set_aside, fused_chunks.UPDATE, mask.stage]
            self._run_masked(wanted, active, mask, after)
        request.after.clear()

    def finish(self, request):
        """Run stages after the update that were not fused with it, as with a tensor rule."""
        if request.after:
            self._run(request.after[::-1], ())
            request.after.clear()
            self.mark_changed()

    def follow_storage(self) -> None:
        """Update torch parameters where their data is now; see `BoundParameters`."""
        self._bound.follow_storage()

    def mark_changed(self) -> None:
        """Increase the version counters of torch parameters, for torch's autograd."""
        self._bound.mark_changed()

    def _concerns(self, stage, active):
        """Return the indices of the parameters that a stage applies to."""
        members = range(len(self.params)) if stage.members is None else stage.members
        if not stage.is_of_step:
            return list(members)
        present = frozenset(active)
        return [i for i in members if i in present]

    def _run(self, stages, active):
        """Run stages in one loop; return for each its sweep's arguments and its parameters."""
        if self._table is not self._bound.table:  # into which the loops point
            self._loops, self._table = {}, self._bound.table
        key = (*stages, active)
        if key not in self._loops:
            if len(self._loops) == _LOOPS:
                self._loops.clear()
            with recording.recorded_by(None):
                self._loops[key] = _build(self._bound, stages, self._concerned(stages, active))
        loop, found = self._loops[key]
        for stage, (arguments, members) in zip(stages, found, strict=True):
            if arguments is not None:
                stage.fill(arguments, members)
        loop.run()
        return found

    def _concerned(self, stages, active):
        return [active if s is fused_chunks.UPDATE else self._concerns(s, active) for s in stages]


def _build(bound, stages, concerned):
    """Build the loop that fuses stages; return it, and for each stage its arguments and its parameters.

    Parameters
    ----------
    bound : BoundParameters
    stages : list of Stage or UPDATE
    concerned : list of sequence of int
        For each stage the parameters that it concerns.
    """
    params = bound.params
    indices = sorted(set().union(*concerned))
    place = {i: k for k, i in enumerate(indices)}
    gradient = dict.fromkeys(indices, fused_chunks.GRADIENT)  # where each gradient is, stage by stage
    is_apart, steps, n_bytes = False, [], 0  # whether the update changes copies of the weights
    for stage, members in zip(stages, concerned, strict=True):
        places = [place[i] for i in members]
        if stage is fused_chunks.UPDATE:
            weights = {i: fused_chunks.KEPT if is_apart else params[i].data for i in members}
            steps.append((stage, places, [(weights[i], gradient[i]) for i in members], ()))
            n_bytes += sum(3 * params[i].nbytes + 2 * params[i].state_nbytes for i in members)
            continue
        letters, writes = stage.sweep.operands, stage.sweep.writes
        operands = [[_operand(stage, x, params[i], gradient[i]) for x in letters] for i in members]
        if "b" in writes and "b" not in stage.arrays:
            gradient |= {i: _other(gradient[i]) for i in members}
        is_apart = is_apart or "v" in writes
        swapped = [stage.units[i][2] if stage.units else False for i in members]
        steps.append((stage.sweep, places, operands, swapped))
        n_outside = len({*letters} - {"b", "v"}) + len(writes)
        n_bytes += n_outside * sum(params[i].nbytes for i in members)
    n_threads = fused_chunks.n_threads(n_bytes, bound.n_threads)
    loop = fused_chunks.FusedLoop(_layouts(bound, stages, indices), steps, n_threads)
    return loop, list(zip(loop.sweeps, concerned, strict=True))


def _layouts(bound, stages, indices):
    """Return the memory layout of parameters, as `fused_chunks` takes it."""
    units = {}
    for stage in stages:
        units |= {} if stage is fused_chunks.UPDATE else stage.units
    rows = bound.table.ctypes.data + bound.table.strides[0] * np.arange(len(bound.params))
    return [
        (p.array.dtype, *units.get(p.index, (p.array.size, 1))[:2], p.edge, rows[p.index])
        for p in (bound.params[i] for i in indices)
    ]


def _operand(stage, letter, p, gradient):
    if letter in stage.arrays:
        return arrays.address(stage.arrays[letter][p.index])
    if letter == "b":
        return _other(gradient)
    return {"w": p.data, "g": gradient, "v": fused_chunks.KEPT}[letter]


def _other(gradient):
    return fused_chunks.SECOND if gradient == fused_chunks.FIRST else fused_chunks.FIRST
