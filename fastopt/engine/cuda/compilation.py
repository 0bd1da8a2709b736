"""The engine's kernels, bound to a network's functions, an element type and an optimizer."""

import functools
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
from numba import from_dtype

from fastopt.engine.cuda import kernels
from fastopt.kernels.binding import bind
from fastopt.kernels.cuda import api as cuda
from fastopt.kernels.cuda import elementwise
from fastopt.rules import dropout, scalar_functions
from fastopt.rules.activations import Activation
from fastopt.rules.losses import Loss
from fastopt.rules.registry import Rule


class Tiles(NamedTuple):
    """The tile sizes of the products; see `fastopt.engine.cuda.kernels`.

    Attributes
    ----------
    block : int
        Threads along either side of a tile.
    micro : int
        Sums along either side that a thread keeps.
    depth : int
        Length of a slice in shared memory.
    """

    block: int
    micro: int
    depth: int

    @property
    def side(self):
        """Number of elements along a tile's side."""
        return self.block * self.micro

    @property
    def bounds(self):
        """Launch bounds: threads of a block, and the fewest blocks on a multiprocessor.

        Without the latter the assembler reaches for more blocks and spills.
        """
        return self.block**2, 2


#: For layers too small to occupy a GPU in large tiles; and for the rest, where a thread forms 16 products for
#: 8 loads. The simulator runs a thread of Python for each of a block's.
SMALL, LARGE = (Tiles(2, 2, 3), Tiles(2, 3, 2)) if cuda.SIMULATED else (Tiles(16, 2, 32), Tiles(16, 4, 16))


def _collect(w, g, total, unused):
    return w, total + g


#: Not an optimizer: adds a step's gradient to a slot, so that gradients come from the same kernels as steps.
COLLECT = Rule("collect", _collect, ("gradient",), lambda h, t: (0.0,), {}, {})


def _learn(rule, scalar):
    """Return the device function that updates one parameter: ``learn(w, g, state, stride, place, ...) -> w``.

    Written out for the rule's numbers of slots and constants, because Numba inlines no call with ``*args``.
    """
    slots = [f"state[uint64({k} * stride) + place]" for k in range(len(rule.slots))]
    constants = [f"constants[row, {3 + k}]" for k in range(rule.n_constants)]
    lines = [
        "def learn(w, g, state, stride, place, constants, row, is_weight):",
        "    l2 = constants[row, 1] if is_weight else zero",  # decay spares biases
        "    keep = constants[row, 2] if is_weight else one",
        f"    c = (constants[row, 0], l2, keep, {', '.join(constants)})",
        f"    new = element(({', '.join(['w', 'g', *slots])}), c)",
        *(f"    {slot} = new[{1 + k}]" for k, slot in enumerate(slots)),
        "    return new[0]",
    ]
    names = {
        "element": elementwise.element_update(rule, scalar),
        "zero": scalar(0),
        "one": scalar(1),
        "uint64": np.uint64,
    }
    exec("\n".join(lines), names)
    return cuda.inlined(names["learn"])


def _shared_names(dtype, tiles):
    """Return the names to bind that all kernels share, as a dict."""
    scalar = np.dtype(dtype).type
    names = {
        "cuda": cuda.module(),
        "uint64": np.uint64,
        "REAL": from_dtype(np.dtype(dtype)),
        "ZERO": scalar(0),
        "ONE": scalar(1),
        "BLOCK": tiles.block,
        "MICRO": tiles.micro,
        "SIDE": tiles.side,
        "PADDED": tiles.side + 1,  # an odd stride, so that a column lies in as many banks as a row
        "DEPTH": tiles.depth,
        "NEXT": kernels.NEXT,
        "NOW": kernels.NOW,
    }
    helpers = (
        kernels.load_rows,
        kernels.load_columns,
        kernels.clear,
        kernels.accumulate,
    )
    return names | {helper.__name__: cuda.inlined(bind(helper, helper, **names)) for helper in helpers}


def plain_layer_kernels(dtype: str, activation: Activation, tiles: Tiles) -> dict:
    """Return the kernels of hidden layers with an activation, by name, bound but not compiled.

    The last layer's are those of any of them: what is not theirs it does not execute.

    Parameters
    ----------
    dtype : {'float32', 'float64'}
    activation : Activation
    tiles : Tiles
    """
    activate, backpropagate = kernels.activate, kernels.backpropagate
    functions = {"value": activation.value, "backward": activation.backward}
    if activation.learns:
        activate, backpropagate = kernels.activate_with_slope, kernels.backpropagate_with_slope
        functions["parameter_backward"] = activation.parameter_backward
    functions = _device_functions(functions, dtype)
    names = {
        "KEEPS_INPUT": activation.keeps_input,
        "activate": cuda.inlined(bind(activate, activate, **functions)),
        "backpropagate": cuda.inlined(bind(backpropagate, backpropagate, **functions)),
    }
    templates = (kernels.forward, kernels.backward, kernels.conclude, kernels.descend)
    return _bound(templates, dtype, tiles, names)


def plain_output_kernels(dtype: str, output: Activation, loss: Loss, tiles: Tiles) -> dict:
    """Return the kernels of the last layer's outputs and of whole batches, by name, bound but not compiled.

    Parameters
    ----------
    dtype : {'float32', 'float64'}
    output : Activation
        Of the last layer.
    loss : Loss
    tiles : Tiles
    """
    row = loss.row_function(output)
    if row is not None:
        share, functions = kernels.share_of_row, {"row_loss": row}
    else:
        share = kernels.share_of_elements
        functions = {"element_loss": loss.value, "element_gradient": loss.output_gradient(output)}
    functions = _device_functions(functions, dtype)
    share_of_loss = cuda.inlined(next(iter(_bound((share,), dtype, tiles, functions).values())))
    templates = (kernels.output, kernels.gather, kernels.clear_rest)
    names = {
        "IS_NORMALIZED": output.is_normalized,
        "SEES_ROWS": row is not None,
        "share_of_loss": share_of_loss,
    }
    return _bound(templates, dtype, tiles, names | _device_functions({"finish": output.value}, dtype))


def plain_drop_kernel(dtype: str, tiles: Tiles) -> dict:
    """Return the kernel of dropout, by name, bound but not compiled."""
    names = "second_key", "bits_of", "dropped"
    functions = _device_functions({name: getattr(dropout, name) for name in names}, dtype)
    if cuda.SIMULATED:
        functions = {name: _quietly(function) for name, function in functions.items()}
    return _bound((kernels.drop,), dtype, tiles, {"uint32": np.uint32, "int32": np.int32} | functions)


def _quietly(function):
    """Return a function without NumPy's warnings of overflow, which compiled code does not have."""

    def called(*arguments):
        with np.errstate(over="ignore"):
            return function(*arguments)

    return called


def _device_functions(functions, dtype):
    """Return plain functions of scalars, by name, as device functions."""
    scalar = np.dtype(dtype).type
    replaced = ((scalar_functions.epsilon, _constant(scalar(np.finfo(dtype).eps))),)
    return {name: cuda.device_function(function, scalar, replaced) for name, function in functions.items()}


def _bound(templates, dtype, tiles, names):
    """Return templates bound to ``names`` and those that all kernels share."""
    names |= _shared_names(dtype, tiles)
    return {one.__name__: bind(one, one, f"_{dtype}", **names) for one in templates}


def _constant(value):
    """Return a plain function of one argument that returns ``value``."""
    return scalar_functions.with_globals(lambda x: CONSTANT, CONSTANT=value)  # noqa: F821  bound here


def plain_update_kernels(rule, dtype, tiles):
    """Return the kernels that update parameters by ``rule``, by name, bound but not compiled."""
    names = _shared_names(dtype, tiles) | {
        "learn": _learn(rule, np.dtype(dtype).type),
        "PENALTY": 3 + rule.n_constants,
    }
    templates = (kernels.update, kernels.update_slopes, kernels.apply)
    return {one.__name__: bind(one, one, f"_{rule.name}_{dtype}", **names) for one in templates}


@functools.cache
def layer_kernels(dtype: str, tiles: Tiles, activation: Activation):
    """Return the kernels of `plain_layer_kernels` as attributes, compiled at their first launch."""
    return _launchable(plain_layer_kernels(dtype, activation, tiles), tiles)


@functools.cache
def output_kernels(dtype: str, tiles: Tiles, output: Activation, loss: Loss):
    """Return the kernels of `plain_output_kernels` as attributes, compiled at their first launch."""
    return _launchable(plain_output_kernels(dtype, output, loss, tiles), tiles)


@functools.cache
def drop_kernel(dtype: str, tiles: Tiles):
    """Return the kernel of dropout, compiled at its first launch."""
    return _launchable(plain_drop_kernel(dtype, tiles), tiles).drop


@functools.cache
def update_kernels(rule: Rule, dtype: str, tiles: Tiles):
    """Return the kernels of `plain_update_kernels` as attributes, compiled at their first launch."""
    return _launchable(plain_update_kernels(rule, dtype, tiles), tiles)


def _launchable(plain, tiles):
    return SimpleNamespace(**{name: cuda.kernel(kernel, tiles.bounds) for name, kernel in plain.items()})
