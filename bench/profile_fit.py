"""Where the microseconds of a training step go, routine by routine, on one thread.

    python bench/profile_fit.py [S1 S2 ...] [--data mnist.npz]

The loop over batches calls everything that computes by address, so each routine is replaced by one that reads
the processor's clock around it. Nothing of the engine changes; a call costs a few nanoseconds more.
"""

import argparse
import ctypes
import functools
import time
import warnings

import numpy as np
from fit_cases import CASES
from llvmlite import ir
from numba import carray, cfunc, types
from numba.extending import intrinsic

import fastopt
from fastopt.engine.cpu import compilation
from fastopt.kernels.intrinsics import call, pointer
from fastopt.stepping.flat_state import FlatState

#: The zeros from which sums on the way back start.
_zero_row = np.zeros(1 << 16)
#: Cycles and calls by routine, in the order of ``_names``: room for those of all cases.
_counts = np.zeros((256, 2), np.int64)
_names = []
_kept = []


@intrinsic
def cycles(typingctx):
    """Return the processor's clock."""

    def codegen(context, builder, signature, args):
        kind = ir.FunctionType(ir.IntType(64), ())
        return builder.call(builder.module.declare_intrinsic("llvm.readcyclecounter", (), kind), ())

    return types.int64(), codegen


def timed(name, address, n_arguments):
    """Return the address of a routine that calls the one at ``address`` and counts its cycles."""
    names = [f"a{i}" for i in range(n_arguments)]
    # Products are told apart by their strides: gradients read their left matrix by columns, a row of biases
    # or zeros starts the sums of the way forward and back.
    place = len(_names)
    if name == "multiply":
        _names.extend(["products forward", "products back", "products gradient"])
        which = f"(2 if a4 == 1 or a0 == 1 else (a9 == {_zero_row.ctypes.data}))"
    else:
        _names.append(name)
        which = "0"
    assert len(_names) <= len(_counts)
    code = f"""
def routine({", ".join(names)}):
    start = cycles()
    call({address}, ({", ".join(names)},))
    counts = carray(pointer({_counts.ctypes.data}, int64), {_counts.size})
    at = 2 * ({place} + {which})
    counts[at] += cycles() - start
    counts[at + 1] += 1
"""
    space = {"cycles": cycles, "call": call, "carray": carray, "pointer": pointer, "int64": np.int64}
    exec(code, space)
    compiled = cfunc(types.void(*[types.int64] * n_arguments))(space["routine"])
    _kept.append(compiled)
    return compiled.address


def instrument():
    """Make the engine call timed routines, and use one row of zeros that ``timed`` can recognise."""
    from fastopt.engine.cpu import workspace

    original, point, address = (
        compilation.routine_addresses, workspace.Workspace.point, FlatState.address.fget
    )  # fmt: skip
    kernels = {}

    @functools.cache
    def routine_addresses(*kind):
        def timed_all(plain):
            return {name: timed(name, at, compilation.n_arguments(name)) for name, at in plain.items()}

        network, hidden = original(*kind)
        return compilation.Addresses(timed_all(network), tuple(map(timed_all, hidden)))

    def update(self):
        plain = address(self)
        if plain not in kernels:
            kernels[plain] = timed("update", plain, 7)
        return kernels[plain]

    def point_to(self, **arrays):
        if "zeros" in arrays:
            arrays["zeros"] = _zero_row.view(arrays["zeros"].dtype)
        point(self, **arrays)

    compilation.routine_addresses, workspace.Workspace.point = routine_addresses, point_to
    FlatState.address = property(update)


def clock_rate():
    """Return the cycles of the processor's clock in a second."""
    read = cfunc(types.void(types.int64))(_read_clock)
    call_read = ctypes.CFUNCTYPE(None, ctypes.c_int64)(read.address)
    at = np.zeros(1, np.int64)
    call_read(at.ctypes.data)
    first, start = at[0], time.perf_counter()
    time.sleep(0.2)
    call_read(at.ctypes.data)
    return (at[0] - first) / (time.perf_counter() - start)


def _read_clock(at):
    carray(pointer(at, np.int64), 1)[0] = cycles()


def profile(case, data):
    """Print the microseconds of a step by routine."""
    X, y = case.load(data)
    network = case.network(fastopt, n_jobs=1)
    network.fit(X, y)
    n_steps = case.epochs * -(-X.shape[0] // case.batch_size)
    best = np.inf
    for _ in range(5):
        _counts[:] = 0
        start = time.perf_counter()
        network.fit(X, y)
        seconds = time.perf_counter() - start
        if seconds < best:
            best, counts = seconds, _counts.copy()
    rate = clock_rate()
    print(f"{case.name}: {case.what}; {best / n_steps * 1e6:.2f} us a step, on one thread")
    spent = 0.0
    for name, (n_cycles, n_calls) in zip(_names, counts, strict=False):
        if n_calls:
            microseconds = n_cycles / rate / n_steps * 1e6
            spent += microseconds
            print(f"  {name:>18} {microseconds:9.2f} us {n_calls / n_steps:7.1f} calls")
    print(f"  {'the rest':>18} {best / n_steps * 1e6 - spent:9.2f} us: the loop, and fit around it")


def main():
    """Profile the cases."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(CASES)}")
    parser.add_argument("--data", help="MNIST as .npz with X_train, y_train, X_test, y_test")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    instrument()
    for name in options.cases or CASES:
        profile(CASES[name], options.data)


if __name__ == "__main__":
    main()
