"""Compilation of the engine: its routines, the worker function, and the entry point from Python.

The loop over batches with its forward and backward passes, which one worker executes (`batch_loop.work`), is
compiled once. What depends on the element type, the activations or the loss is a set of routines, each a C
function of integers that stands alone and is called by address: Numba would compile and optimise a function
again with every function that calls it.
"""

import contextlib
import functools
import inspect
import sys
import threading
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit, prange, types

from fastopt._collection import paused
from fastopt.engine.cpu import (
    activations,
    batch_loop,
    dropout,
    epoch_loop,
    inputs,
    layer_products,
    optimizer_program,
)
from fastopt.engine.cpu.compiled_math import IN_PLACE_OF
from fastopt.engine.cpu.context import DENSE_ROUTINES, RARE_ROUTINES, SPARSE_ROUTINES
from fastopt.engine.cpu.vector_math import ENGINE_JIT, INLINED_JIT, INNER_JIT
from fastopt.engine.objective import Functions
from fastopt.kernels import cache_folders, code_cache, elementwise, intrinsics, threading_layer
from fastopt.kernels.binding import bind, compile_c, compile_scalar, digest, fingerprint
from fastopt.kernels.subnormals import call_flushing
from fastopt.rules import dropout as dropout_rules
from fastopt.rules import patience, scalar_functions
from fastopt.rules.activations import ACTIVATIONS, OUTPUTS, Activation, chained
from fastopt.rules.losses import LOSSES, Loss
from fastopt.rules.registry import RULES

#: Of the folders whose code the engine calls; `fingerprint` covers the activations and losses.
_DIGEST = digest(__file__) + digest(intrinsics.__file__)
_TEMPLATES = {
    name: function
    for home in (layer_products, activations, inputs, batch_loop)
    for name, function in vars(home).items()
    if inspect.isfunction(function) and function.__module__ == home.__name__
}
#: Seconds of compiling after which to say so; loading from the disk cache takes a tenth of that.
_PATIENCE = 1.0

_announced = set()


def _announce(what):
    if what not in _announced:
        _announced.add(what)
        folder = cache_folders.writable_folder()
        kept = f"once; cached in {folder.path}" if folder else "for this process only"
        print(f"fastopt: compiling {what}, {kept}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def announced(what: str):
    """Print one line to stderr if the block takes more than a second, once for each ``what``."""
    timer = threading.Timer(_PATIENCE, _announce, (what,))
    timer.daemon = True
    timer.start()
    try:
        with paused():
            yield timer
    finally:
        timer.cancel()


def n_arguments(name: str) -> int:
    """Return the number of integer arguments of a routine."""
    return len(inspect.signature(_TEMPLATES[name]).parameters)


def _compile(template, suffix="", **names):
    """Compile a C function of integers from a template, with its file's globals and ``names``."""
    bound = bind(template, template, suffix, digest=_DIGEST, **template.__globals__ | names)
    n = len(inspect.signature(template).parameters)
    return compile_c(types.void(*[types.int64] * n), bound, **ENGINE_JIT)


@functools.cache
def routine(name: str, dtype: str):
    """Return a compiled routine that all networks use; its ``address`` is valid while the object lives."""
    return _compile(_TEMPLATES[name], f"_{dtype}", real=np.dtype(dtype).type)


def _compile_functions(template, dtype, functions, **names):
    """Compile a routine that calls scalar functions, given by the names that the template uses.

    ``names`` are constants of the template. Names and functions are told apart in the cache by their content.
    """
    scalar = np.dtype(dtype).type
    replaced = (*IN_PLACE_OF, (scalar_functions.epsilon, _constant(np.finfo(scalar).eps)))
    constants = "".join(f"_{name}_{value}" for name, value in names.items())
    suffix = f"_{dtype}{constants}_{fingerprint(*functions.values())}"
    compiled = {
        name: compile_scalar(function, scalar, INLINED_JIT, replaced) for name, function in functions.items()
    }
    if "value" in compiled and "gradient" in compiled:
        names["total"] = _sum_of_losses(compiled["value"], suffix)
    return _compile(template, suffix, real=scalar, **compiled, **names)


def _constant(value):
    """Return a compiled function of one argument that returns ``value``."""
    return njit(**INNER_JIT)(lambda x: value)


def _sum_of_losses(value, suffix):
    # Reassociation makes it sums of vectors, the same for the same length.
    options = INNER_JIT | {"fastmath": {"contract", "reassoc"}}
    return njit(**options)(bind(activations.total, activations.total, suffix, digest="", np=np, value=value))


@functools.cache
def activation_routines(activation: Activation, dtype: str) -> dict:
    """Return the compiled routines of a hidden activation, by name."""
    forward, functions = activations.activate, {"value": activation.value}
    backward, gradients = activations.backpropagate, {"backward": activation.backward}
    if activation.learns:
        forward, backward = activations.activate_learnt, activations.backpropagate_learnt
        gradients["parameter_backward"] = activation.parameter_backward
    elif activation.keeps_input:
        forward, functions["derivative"] = activations.activate_and_derive, activation.derivative
        gradients["backward"] = chained
    return {
        "activate": _compile_functions(forward, dtype, functions),
        "backpropagate": _compile_functions(backward, dtype, gradients),
    }


@functools.cache
def output_routine(output: Activation, dtype: str):
    """Return the compiled routine of the last layer's activation."""
    template = activations.normalized_output if output.is_normalized else activations.output
    return _compile_functions(template, dtype, {"value": output.value})


@functools.cache
def loss_routine(loss: Loss, output: Activation, dtype: str):
    """Return the compiled routine of a loss with the last layer's activation."""
    row = loss.row_function(output)
    if row is not None:
        return _compile_functions(activations.loss_of_rows, dtype, {"row": row}, is_mean=loss.is_mean)
    functions = {"value": loss.value, "gradient": loss.output_gradient(output)}
    return _compile_functions(activations.loss, dtype, functions, is_mean=loss.is_mean)


class Addresses(NamedTuple):
    """Addresses of a network's routines, by name: those of the context record, and of each hidden layer."""

    network: dict[str, int]
    hidden: tuple[dict[str, int], ...]


@functools.cache
def _dropout_routines(dtype):
    names = "scale_of second_key number low_bits high_bits bits_of dropped".split()
    functions = {name: getattr(dropout_rules, name) for name in names}
    constants = {"RUN": dropout_rules.RUN, "LANES": dropout_rules.LANES}
    with announced(f"dropout for {dtype}"):
        return {
            one.__name__: _compile_functions(one, dtype, functions, **constants)
            for one in (dropout.drop, dropout.drop_entries)
        }


def dropout_addresses(dtype: str) -> dict[str, int]:
    """Return the addresses of the routines of dropout, by their names in the context."""
    return _addresses(_dropout_routines(dtype))


@functools.cache
def routine_addresses(dtype: str, sparse: bool, functions: Functions) -> Addresses:
    """Return the addresses of all routines of a network, compiled or loaded from the cache.

    Parameters
    ----------
    dtype : {'float32', 'float64'}
    sparse : bool
        Whether inputs may be read by their non-zeros.
    functions : Functions
    """
    used = dict.fromkeys(one.name for one in (*functions.activations, functions.loss))
    with announced(f"the training engine for {dtype}, {' and '.join(used)}"):
        prepare(False)
        worker_address()
        names = DENSE_ROUTINES + (SPARSE_ROUTINES if sparse else [])
        routines = {name: routine(name, dtype) for name in names}
        routines["output"] = output_routine(functions.output, dtype)
        routines["loss"] = loss_routine(functions.loss, functions.output, dtype)
        hidden = [activation_routines(one, dtype) for one in functions.activations]
    return Addresses(_addresses(routines), tuple(map(_addresses, hidden)))


def _addresses(routines):
    return {name: compiled.address for name, compiled in routines.items()}


@functools.cache
def program_addresses(dtype: str, in_parts: bool) -> dict[str, int]:
    """Return the addresses of the routines that run an optimizer's program, by name."""
    with announced(f"what runs optimizers of whole gradients for {dtype}"):
        return optimizer_program.routine_addresses(dtype, in_parts)


@functools.cache
def _worker():
    return _compile(batch_loop.work)


@functools.cache
def worker_address() -> int:
    """Return the address of the worker function, `batch_loop.work` compiled: one for all networks."""
    return _worker().address


def _call_worker(worker, context, n_workers):
    call_flushing(worker, (context, 0))


def _call_workers(worker, context, n_workers):
    for number in prange(n_workers):
        call_flushing(worker, (context, number))


@functools.cache
def _entry_point(parallel):
    """Return the compiled function that Python calls: it works in this thread, or in a parallel region."""
    template = _call_workers if parallel else _call_worker
    bound = bind(template, template, digest=_DIGEST, call_flushing=call_flushing, prange=prange)
    signature = types.void(*[types.int64] * 3)
    return code_cache.jit(signature, parallel=parallel, nogil=True, **ENGINE_JIT)(bound)


@functools.cache
def prepare(parallel: bool) -> None:
    """Compile an entry point ahead of time, so that compilation is not measured."""
    with announced("what starts the threads"):
        threading_layer.prepare()
        _entry_point(parallel)


def run(context: int, n_workers: int) -> None:
    """Run the batches that a context record describes on ``n_workers`` threads.

    Parameters
    ----------
    context : int
        Address of a record of type `context.CONTEXT`.
    n_workers : int
    """
    with threading_layer.region(n_workers):
        _entry_point(n_workers > 1)(worker_address(), context, n_workers)


@functools.cache
def _epoch_runner(template=epoch_loop.run_epochs):
    with announced("the loop over epochs"):
        return _compile(template, f"_{fingerprint(patience.observe)}")


def alone():
    """Return the compiled function that calls a worker in this thread; `routine_addresses` prepares it."""
    return _entry_point(False)


def run_epochs(epochs: int) -> None:
    """Run the epochs that a record describes, in this thread.

    Parameters
    ----------
    epochs : int
        Address of a record of type `epoch_loop.EPOCHS`.
    """
    _entry_point(False)(_epoch_runner().address, epochs, 1)


def run_members(members: int, n_workers: int) -> None:
    """Train the networks that a record describes, on ``n_workers`` threads.

    Parameters
    ----------
    members : int
        Address of a record of type `epoch_loop.MEMBERS`.
    n_workers : int
    """
    runner = _epoch_runner(epoch_loop.run_members)
    with threading_layer.region(n_workers):
        _entry_point(n_workers > 1)(runner.address, members, n_workers)


def warmup(dtypes: Iterable[npt.DTypeLike] = ("float32", "float64")) -> None:
    """Compile the engine with all registered activations and losses, or load it from the cache.

    Covers the update kernels of all optimizers, what runs wrappers and rules of whole arrays, and all
    activations and losses, on the CPU.

    Parameters
    ----------
    dtypes : sequence of {'float32', 'float64'}

    Examples
    --------
    >>> from fastopt.engine import warmup
    >>> warmup(["float32"])
    """
    for parallel in (False, True):
        prepare(parallel)
    _epoch_runner()
    _epoch_runner(epoch_loop.run_members)
    for dtype in map(str, map(np.dtype, dtypes)):
        for loss in LOSSES.values():
            routine_addresses(dtype, True, Functions((), OUTPUTS[loss.output], loss))
        for activation in ACTIVATIONS.values():
            activation_routines(activation, dtype)
        for in_parts in (False, True):
            program_addresses(dtype, in_parts)
        dropout_addresses(dtype)
        for name in RARE_ROUTINES:
            routine(name, dtype)
        for rule in RULES.values():
            elementwise.update_kernel(rule, dtype)
