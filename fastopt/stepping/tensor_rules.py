"""Parameters updated by a tensor rule, their state, and the object that the rule works on."""

import concurrent.futures
import contextlib
import math
from numbers import Real

import numpy as np

from fastopt.kernels import recording, threading_layer, work_queue
from fastopt.kernels.blas_threads import single_threaded
from fastopt.kernels.maxima import Maxima
from fastopt.kernels.reductions import BoundSweep
from fastopt.kernels.tiled_gemm import Products
from fastopt.stepping.arrays import order_of
from fastopt.stepping.parameters import ParamState
from fastopt.stepping.recordable import stacked
from fastopt.stepping.tracing import Cell, TraceError

#: Elements from which `Tensors.map` starts threads: to factorise 100 x 100 takes 0.3 ms.
_MAP_SIZE = 20_000


class TensorRuleBucket:
    """All parameters of a stepper that one tensor rule updates together, across groups and dtypes.

    Parameters
    ----------
    members : list of ParamState
    n_threads : int or None
        As in `Optimizer.bind`.
    """

    def __init__(self, members, n_threads):
        self.params = [one.p for one in members]
        self.rule, self._n_threads = members[0].rule, n_threads
        self.t = np.array([one.t for one in members], np.int64)
        n_own = len(self.rule.scalars)
        own = np.array([one.numbers[:n_own] for one in members], np.float64).reshape(len(members), n_own).T
        self._scalars = dict(zip(self.rule.scalars, own.copy(), strict=True))
        oldest = max(members, key=lambda one: one.t)
        self._shared = dict(zip(self.rule.shared, oldest.numbers[n_own:], strict=True))
        self._tensors, self._active = None, ()
        self.refresh()

    def states(self):
        """Yield the `ParamState` of each parameter."""
        for i, p in enumerate(self.params):
            own = tuple(float(values[i]) for values in self._scalars.values())
            yield ParamState(p, self.rule, int(self.t[i]), (*own, *map(float, self._shared.values())))

    def cells(self):
        """Return the `fastopt.stepping.tracing.Cell` of each number, or array, that a step changes."""
        numbers = [Cell(values, name) for values in (self._scalars, self._shared) for name in values]
        return [Cell(self, "t"), *numbers]

    def refresh(self):
        """Apply the groups' present hyper-parameters."""
        self._flags = flags(self._spec(0).values)
        if self._tensors is not None:
            self._tensors.take(*gather(map(self._spec, self._tensors.active)))

    def is_outdated(self):
        """Tell whether a group's present values need another rule or another bucket."""
        specs = map(self._spec, range(len(self.params)))
        return any(one.rule is not self.rule or flags(one.values) != self._flags for one in specs)

    def _spec(self, i):
        p = self.params[i]
        return p.group.spec(p.array.shape)

    def prepare(self, absent):
        """Prepare a step of all parameters but the ``absent`` ones, with the present values."""
        self._active = tuple(i for i, p in enumerate(self.params) if p.index not in absent)
        if self._active and (self._tensors is None or self._tensors.active != self._active):
            params = [self.params[i] for i in self._active]
            self._tensors = Tensors(self._active, self.rule, params, self._n_threads, self)
            self.refresh()

    def step(self, table, grad_scale, loss):
        """Update the parameters that `prepare` was called for.

        Parameters
        ----------
        table : ndarray
            The stepper's, whose third column holds the gradients' addresses.
        grad_scale : float
        loss : float or None
        """
        if not self._active:
            return
        x, at = self._tensors, list(self._active)
        self.t[at] += 1
        scalars = {name: values[at] for name, values in self._scalars.items()}
        x.begin(self.t[at], table, grad_scale, scalars, self._shared, loss)
        with self.blas(), np.errstate(all="ignore"):  # as in compiled loops, which do not warn
            self.rule.function(x, x.h)
        for name, values in x.scalars.items():
            self._scalars[name][at] = values

    def blas(self):
        """Return the context in which the rule's BLAS runs."""
        return single_threaded() if self.rule.uses_blas else contextlib.nullcontext()


def gather(specs):
    """Return ``(prologue, values)`` of tensors, each number a float64 array with one element for each."""
    specs = list(specs)
    cls, first, _ = specs[0]
    values = {}
    for name, value in first.items():
        if name == "params":
            continue
        column = [spec.values[name] for spec in specs]
        if is_number(value):
            value = stacked(column)
        elif isinstance(value, tuple) and all(map(is_number, value)):
            value = tuple(map(stacked, zip(*column, strict=True)))
        values[name] = value
    return cls.prologue(values), values


def is_number(value):
    """Tell whether a value is a number, not a flag, a name or None."""
    return isinstance(value, Real) and not isinstance(value, (bool, np.bool_))


def flags(values):
    """Return the values that are no numbers, in which groups must agree to be updated together."""
    return tuple(
        (name, value)
        for name, value in values.items()
        if name != "params" and not is_number(value) and not isinstance(value, tuple)
    )


class Tensors:
    """The argument ``x`` of a tensor rule: the parameters of a step, with their state.

    Attributes
    ----------
    t : ndarray of int64
        Each tensor's step, from 1.
    sizes : ndarray of int64
        Elements of each tensor.
    places : ndarray of int64
        Each tensor's number among the bound parameters.
    shapes : list of tuple
    dtypes : list of dtype
    h : dict
        Hyper-parameters; a number is a float64 array with one element for each tensor.
    scalars : dict of ndarray
        State of one number for each tensor; assign new values to its keys.
    shared : dict of float
        State of one number for all tensors; likewise.
    loss : float or None
        What the caller passed.
    """

    def __init__(self, active, rule, params, n_threads, bucket):
        self.active, self._rule, self._params, self._bucket = active, rule, params, bucket
        self.shapes, self.dtypes = [p.array.shape for p in params], [p.array.dtype for p in params]
        self.sizes = np.array([p.array.size for p in params])
        self.places = np.array([p.index for p in params])
        moved = 4 * sum(p.nbytes for p in params)
        self._most_threads = n_threads or threading_layer.n_available()
        self._n_threads = 1 if moved < work_queue.PARALLEL_BYTES else self._most_threads
        self._passes, self._work, self._buffers, self._built = {}, {}, {}, {}

    def take(self, prologue, h):
        """Set the hyper-parameters."""
        self._prologue, self.h = prologue, h

    def begin(self, t, table, grad_scale, scalars, shared, loss):
        """Set what changes with each step."""
        self.t, self._table, self.scalars, self.shared, self.loss = t, table, scalars, shared, loss
        sign, l2, keep = self._prologue
        self._head = sign * grad_scale, l2, keep

    def sweep(self, sweep, **constants):
        """Map a sweep over all tensors.

        Parameters
        ----------
        sweep : Sweep
        **constants
            Numbers, or arrays of one element for each tensor.

        Returns
        -------
        ndarray of shape (sums, n_tensors)
            With a matrix sweep a tuple of it, a list of the sums along rows and a list of those along
            columns: for each tensor an ndarray of shape (row_sums, rows) and (column_sums, columns).
        """
        recorder = recording.current()
        if sweep not in self._passes:
            with recording.recorded_by(None):
                self._passes[sweep] = self._prepare(sweep)
        one = self._passes[sweep]
        if "g" in sweep.operands:
            addresses, column = self._table[self.places, 2], one.operands[:, sweep.operands.index("g")]
            if recorder is None:
                column[:] = addresses
            else:
                recorder.store(column, addresses)
        return one.run(self._head, constants)

    def _prepare(self, sweep):
        one = BoundSweep(sweep, self.dtypes, [_lying(p.array) for p in self._params], self._n_threads)
        for column, letter in zip(one.operands.T, sweep.operands, strict=True):
            if letter != "g":
                column[:] = [a.ctypes.data for a in self.arrays(letter)]
        return one

    def arrays(self, letter):
        """Return the array ``letter`` of each tensor, as one-dimensional memory.

        Raises
        ------
        TraceError
            If the step is being recorded, and this is neither inside `prepared` nor inside `call`.
        """
        _only_at_once("x.arrays and x.matrices give arrays whose values")
        return self._arrays(letter)

    def _arrays(self, letter):
        rule = self._rule
        if letter == "w":
            return [p.array.ravel("K") for p in self._params]
        if letter in rule.letters:
            k = rule.slots.index(rule.letters[letter])
            return [p.slots[k] for p in self._params]
        if letter not in self._work:
            sizes = [math.prod(rule.slot_shape(letter, shape)) for shape in self.shapes]
            self._work[letter] = [np.zeros(n, t) for n, t in zip(sizes, self.dtypes, strict=True)]
        return self._work[letter]

    def matrices(self, letter):
        """Return the array ``letter`` of each tensor in its own shape, as views."""
        rule = self._rule
        name = rule.letters.get(letter)
        shapes = self.shapes if name is None else [rule.slot_shape(name, shape) for shape in self.shapes]
        return [
            memory.reshape(shape, order=order_of(p.array))
            for memory, shape, p in zip(self.arrays(letter), shapes, self._params, strict=True)
        ]

    def products(self, left, right, out, **options):
        """Prepare products of lists of matrices, on as many threads as pay off; see `kernels.tiled_gemm`."""
        return Products(left, right, out, self._most_threads, **options)

    def write_largest(self, letter, *, rows, columns):
        """Write the largest elements of the arrays ``letter``, and 0 at least, to those of rows and columns.

        Parameters
        ----------
        letter : str
            Arrays in the shape of the parameters.
        rows, columns : str
            Arrays of the kinds ``row`` and ``column`` (`fastopt.rules.tensorwise.SHAPES`).
        """

        def build():
            lying = [_lying(p.array) for p in self._params]
            return Maxima(*map(self.arrays, (letter, rows, columns)), lying, self._n_threads)

        self.prepared(("largest", letter, rows, columns), build).run()

    def values(self, letter):
        """Return a float64 copy of the array ``letter`` of each tensor, as one-dimensional memory.

        For arrays of few elements, such as one for each row; `assign` writes new values.
        """
        recorder = recording.current()
        if recorder is None:
            return [array.astype(np.float64) for array in self._arrays(letter)]
        return [recorder.load(array) for array in self._arrays(letter)]

    def assign(self, letter, values):
        """Write to the array ``letter`` of each tensor; `values` then gives what was rounded to its dtype."""
        recorder = recording.current()
        for array, new in zip(self._arrays(letter), values, strict=True):
            if recorder is None:
                array[...] = new
            elif array.size:
                recorder.store(array, new)

    def call(self, function, *args, shape=None):
        """Call a function that works on the arrays themselves, such as one of LAPACK's.

        A step that is recorded leaves its program for the call, which takes some microseconds.

        Parameters
        ----------
        function : callable
            May use `arrays`, `matrices`, `buffer`, `products` and `map`, but of the numbers of a step
            (`t`, `h`, `scalars`, sums) only what it is given as ``args``.
        *args
            Numbers and arrays of them.
        shape : tuple of int, optional
            Of the array that the function returns; None if it returns nothing.

        Returns
        -------
        ndarray or None
        """
        recorder = recording.current()
        if recorder is None:
            return function(*args)

        def called(*args):
            with self._bucket.blas(), np.errstate(all="ignore"):
                return function(*args)

        return recorder.call(called, args, shape)

    def array(self, numbers):
        """Return numbers as a float64 array; use it for ``np.array``, which takes no recorded ones."""
        return stacked(numbers)

    def by_step(self, name, function, shape):
        """Return ``function(x.t)``, an array of numbers that nothing else determines.

        A recorded step takes them from a table, so that the function may use whole numbers as it likes.

        Parameters
        ----------
        name : str
            Tells the numbers from others of the rule.
        function : callable
            Takes an array of steps of shape ``(..., n_tensors)``, of many steps ahead at once; returns an
            array of shape ``(..., *shape)``.
        shape : tuple of int

        Returns
        -------
        ndarray
        """
        recorder = recording.current()
        if recorder is None:
            return function(self.t)
        bucket, at = self._bucket, list(self.active)

        def ahead(n):
            return function(bucket.t[at] + np.arange(1, n + 1)[:, None])

        return recorder.feed((bucket, name), ahead, shape, is_counted=True)

    def map(self, function, *columns):
        """Return a function's results for each row of lists of arrays, perhaps on several Python threads.

        For LAPACK, which lets other Python threads run.
        """
        n_threads = min(self._most_threads, len(columns[0]))
        if n_threads < 2 or sum(a.size for a in columns[0]) < _MAP_SIZE:
            return list(map(function, *columns))
        with concurrent.futures.ThreadPoolExecutor(n_threads) as pool:
            return list(pool.map(function, *columns))

    def prepared(self, key, build):
        """Return the result of ``build()``, computed at the first call with this key."""
        if key not in self._built:
            with recording.recorded_by(None):
                self._built[key] = build()
        return self._built[key]

    def buffer(self, name, shape, dtype):
        """Return an array for intermediate results, the same at every step."""
        _only_at_once("x.buffer gives an array whose values")
        key = name, shape, np.dtype(dtype)
        if key not in self._buffers:
            self._buffers[key] = np.empty(shape, dtype)
        return self._buffers[key]


def _only_at_once(what):
    if recording.current() is not None:
        raise TraceError(f"{what} are known only when the step runs; use them inside x.call or x.prepared")


def _lying(array):
    """Return the rows and columns of an array's memory, and whether they are transposed."""
    shape = array.shape or (1,)
    lead, last = math.prod(shape[:-1]), shape[-1]
    return (lead, last, False) if order_of(array) == "C" else (last, lead, True)
