"""The bound stepper for arrays in CUDA memory: `Stepper` with kernel launches."""

import numpy as np

from fastopt.kernels.cuda import api as cuda
from fastopt.kernels.cuda import elementwise
from fastopt.rules.quantized_state import Reduced
from fastopt.rules.tensorwise import TensorRule
from fastopt.stepping import arrays, cuda_arrays
from fastopt.stepping.bound_parameters import BoundParameters
from fastopt.stepping.param_groups import to_list
from fastopt.stepping.parameters import Param
from fastopt.stepping.stepper import Stepper

#: Uploads of changed gradient addresses that may be under way before a step waits for the oldest.
_UPLOADS = 16


class DeviceParam(Param):
    """One bound array in CUDA memory, and its slots there."""

    __slots__ = ()

    def open(self):
        """Return the view of the user's array, after checking that it can be updated."""
        array = cuda_arrays.view(self.given, self.name)
        arrays.check_param(array, self.name)
        return array

    def take(self, array):
        """Update the array in this memory from now on."""
        self.array, self.data, self.nbytes, self.guard = array, array.data, array.nbytes, None

    def allocate(self, rule, h, kept=()):
        """Allocate the slots as `Param` does, then move them to the GPU."""
        if isinstance(rule, TensorRule):
            refuse(self.group.optimizer, "looks at whole arrays")
        if isinstance(rule, Reduced):
            refuse(self.group.optimizer, f"with state_dtype={rule.state_dtype!r} keeps codes of its state")
        super().allocate(rule, h, kept)
        if len(rule.slots):
            rows = np.zeros((len(rule.slots), self.stride), self.array.dtype)
            for row, slot in zip(rows, self.slots, strict=True):
                row[: slot.size] = slot
            with cuda.on_device(self.array.ordinal):
                self.slots, self.start = cuda.to_device(rows)

    def begin_anew(self, rule, h):
        """Reset the slots to their first values."""
        self.allocate(rule, h)

    def read(self):
        """Return a copy of the slots in CPU memory, after waiting for the GPU."""
        if not len(self.slots):
            return super().read()
        with cuda.on_device(self.array.ordinal):
            return [row[: self.array.size].copy() for row in cuda.to_host(self.slots)]

    @property
    def state_nbytes(self):
        """Bytes of the slots."""
        return self.nbytes * len(self.slots)

    @staticmethod
    def open_saved(x, name):
        """Return a slot of a saved state, in CUDA or CPU memory, as an ndarray."""
        if cuda_arrays.is_on_gpu(x):
            x = x.cpu() if arrays.is_torch(x) else cuda.to_host(x)
        return arrays.view(x, name)


class DeviceParameters(BoundParameters):
    """`BoundParameters` in CUDA memory, whose kernels are launched on the gradients' stream."""

    make_param = DeviceParam

    def __init__(self, optimizer, n_threads, run):
        super().__init__(optimizer, n_threads, run)
        self._stream = None

    def _index(self):
        self._ordinal = _one_device(self.params)
        with cuda.on_device(self._ordinal):
            self._addresses = _Addresses(len(self.params))
        super()._index()

    def _point(self, bucket):
        for p in bucket.members:
            self.table[p.index, 1] = p.data

    def _queue_work(self):
        with cuda.on_device(self._ordinal):
            self.work = LaunchQueue(self.active, self.table[:, 2], self._addresses, self._ordinal)

    def _grad_address(self, x, index, p):
        given, name = p.given, f"grads[{index}]"
        if arrays.is_torch(x) and arrays.is_torch(given):  # in its quickest form, for nearly every gradient
            same = x.device == given.device and x.dtype is given.dtype and x.shape == given.shape
            if same and x.stride() == given.stride():
                return x.data_ptr()
        gradient = cuda_arrays.view(x, name, p.name)
        arrays.check_grad(gradient, p.array, name, p.name)
        if gradient.ordinal is not None and self._ordinal is not None and gradient.ordinal != self._ordinal:
            raise ValueError(f"{name} is on cuda:{gradient.ordinal} but {p.name} on cuda:{self._ordinal}")
        return gradient.data

    def accept(self, grads):
        """Check the gradients, and choose the stream of the first one's owner; see `BoundParameters`."""
        if any(type(g) is tuple for g in grads):
            refuse(self.optimizer, "takes the rows (indices, values) of a gradient")
        super().accept(grads)
        gradient = next((g for g in grads if g is not None), None)
        if gradient is not None:
            self._stream = cuda_arrays.stream(gradient)
        self.work.stream = cuda.stream(self._stream)


class DeviceStepper(Stepper):
    """Updates bound arrays in CUDA memory in place; made by `Optimizer.bind`.

    As `Stepper`. ``step`` queues its launches on the stream of the first gradient (torch's current stream,
    else the ``stream`` of its ``__cuda_array_interface__``, else the default one), where all are expected to
    be made, and returns: nothing is copied to the host and nothing waits. One launch updates all arrays of a
    group and dtype. What reads or replaces the state waits for the GPU: ``state_dict``, ``load_state_dict``,
    a hyper-parameter that brings new slots, and a step that skips other gradients than the last one.

    ``state_dict`` gives torch tensors on their GPU for torch parameters and NumPy arrays for all others.
    """

    _bound_parameters = DeviceParameters

    def __init__(self, optimizer, groups, n_threads, run):
        if n_threads is not None:
            raise ValueError(f"n_threads={n_threads!r} is for arrays in CPU memory; leave it out on a GPU")
        reason = cuda.problem()
        if reason:
            kind = next(arrays.kind(p) for group in groups for p in to_list(group["params"]))
            raise cuda.DeviceError(f"params[0] is in CUDA memory ({kind}), but {reason}")
        super().__init__(optimizer, groups, None, run)

    def _switch(self, to_training):
        if self.bound.optimizer.has_modes and to_training != self._is_training:
            refuse(self.bound.optimizer, "has weights for evaluation beside those of training, to move to")


class LaunchQueue:
    """The launches of one step, fixed until the arrays, the rules or the absent gradients change.

    Parameters
    ----------
    buckets : list of ElementwiseBucket
        Those that step. Their rows of constants travel as arguments of the launch, so that nothing has to
        wait until the last step's have been read.
    gradients : ndarray of int64
        The address of each parameter's gradient; read at every run.
    addresses : _Addresses
        Their copy in device memory.
    ordinal : int or None
        The GPU.
    """

    def __init__(self, buckets, gradients, addresses, ordinal):
        self.stream = None
        self._gradients, self._addresses, self._ordinal = gradients, addresses, ordinal
        self._one, self._many = [], []
        for bucket in buckets:
            members = [p for p in bucket.members if p.array.size]
            rule, dtype = bucket.rule, bucket.row.dtype
            if len(members) == 1:
                blocks = elementwise.grid(members[0].array.size, dtype, ordinal)
                self._one.append((elementwise.kernel("one", rule, dtype), blocks, members[0], bucket))
            elif members:
                chunks = elementwise.chunk_table([_span(p) for p in members], dtype.itemsize)
                blocks = min(len(chunks), elementwise.BLOCKS * cuda.n_processors(ordinal))
                kernel = elementwise.kernel("many", rule, dtype)
                self._many.append((kernel, blocks, cuda.to_device(chunks), len(chunks), bucket))

    def run(self):
        """Launch everything on `stream`."""
        threads, stream = elementwise.THREADS, self.stream
        with cuda.on_device(self._ordinal):
            for kernel, blocks, p, bucket in self._one:
                _, w, s, stride, n = _span(p)
                launch = cuda.launcher(kernel, blocks, threads, stream)
                launch(w, int(self._gradients[p.index]), s, stride, n, tuple(bucket.row))
            if self._many:
                self._addresses.update(self._gradients, stream)
            for kernel, blocks, (_, chunks), n_chunks, bucket in self._many:
                launch = cuda.launcher(kernel, blocks, threads, stream)
                launch(chunks, n_chunks, self._addresses.address, tuple(bucket.row))


def refuse(optimizer, why):
    """Raise TypeError: something needs arrays in CPU memory."""
    name = type(optimizer).__name__
    raise TypeError(f"{name} {why}, which is not done on a GPU; bind arrays in CPU memory")


def refuse_on_gpu(optimizer, groups):
    """Raise TypeError if an array is on a GPU, for an optimizer whose rule needs whole arrays."""
    if any(cuda_arrays.is_on_gpu(p) for group in groups for p in to_list(group.get("params", ()))):
        refuse(optimizer, "looks at whole arrays")


def _span(p):
    """Return what a kernel needs of a parameter: its index, addresses, stride and size."""
    stride = p.stride if len(p.slots) else 0
    return p.index, p.data, p.start if stride else 0, stride, p.array.size


class _Addresses:
    """A device copy of the gradients' addresses, updated without waiting for the GPU.

    The driver may read pinned memory long after the call, so each upload has its own, used again `_UPLOADS`
    uploads later.
    """

    def __init__(self, n):
        self._copy, self.address = cuda.to_device(np.zeros(n, np.int64))
        self._known = np.zeros(n, np.int64)
        pinned = cuda.module().pinned_array((_UPLOADS, n), np.int64)
        self._buffers = [(row, cuda.event()) for row in pinned]

    def update(self, addresses, stream):
        """Queue a copy of the addresses to the device, if they have changed."""
        if np.array_equal(addresses, self._known):
            return
        buffer, event = self._buffers.pop(0)
        event.synchronize()
        buffer[:] = self._known[:] = addresses
        self._copy.copy_to_device(buffer, stream=stream)
        event.record(stream)
        self._buffers.append((buffer, event))


def _one_device(params):
    """Return the GPU that holds all parameters, or None if unknown; ValueError if they differ."""
    first, *others = [p for p in params if p.array.ordinal is not None] or [None]
    for p in others:
        if p.array.ordinal != first.array.ordinal:
            where = f"{p.name} is on cuda:{p.array.ordinal} but {first.name} on cuda:{first.array.ordinal}"
            raise ValueError(f"{where}; bind the arrays of each GPU separately")
    return first.array.ordinal if first else None
