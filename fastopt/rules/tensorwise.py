"""Tensor rules, the second protocol: optimizers that need whole arrays (a norm, a matrix product).

Such a rule is a function of the tensors and the hyper-parameters that alternates between *sweeps*, scalar
functions that a compiled kernel maps over all elements while it adds up what they return beside the new
values, and NumPy on a few numbers per tensor, computed from those sums: reduce, then apply.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from fastopt.rules.ranges import Range, check_declared
from fastopt.rules.registry import Slots

#: Every tensor rule by name.
TENSOR_RULES: dict[str, "TensorRule"] = {}

#: Shapes of a slot, from the shape of its parameter. ``row`` and ``column`` keep one number for each of them,
#: with all axes but the last counted as rows; ``stacked_column`` keeps those of each of the matrices that
#: the last two axes make; ``left`` and ``right`` are square matrices on either side.
SHAPES = {
    "full": lambda shape: shape,
    "row": lambda shape: (*shape[:-1], 1),
    "column": lambda shape: (*(1 for _ in shape[:-1]), shape[-1]),
    "stacked_column": lambda shape: (*shape[:-2], 1, shape[-1]),
    "left": lambda shape: (shape[0], shape[0]),
    "right": lambda shape: (shape[1], shape[1]),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Sweep:
    """A scalar function and what a kernel must know to map it over arrays; see `sweep`."""

    function: Callable[..., Any]
    writes: tuple[str, ...]
    sums: int = 0
    rows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    row_sums: int = 0
    column_sums: int = 0
    transposed: bool = False

    def __call__(self, *args: Any, **constants: Any) -> Any:
        """Evaluate the function in plain Python."""
        return self.function(*args, **constants)

    @functools.cached_property
    def operands(self) -> tuple[str, ...]:
        """Names of the arrays: the positional parameters except ``i``."""
        return tuple(name for name in self.arguments if name != "i")

    @functools.cached_property
    def arguments(self) -> tuple[str, ...]:
        """Names of all positional parameters."""
        return self._named(inspect.Parameter.POSITIONAL_OR_KEYWORD)

    @functools.cached_property
    def constants(self) -> tuple[str, ...]:
        """Names of the constants of a tensor: the keyword-only parameters."""
        return self._named(inspect.Parameter.KEYWORD_ONLY)

    def _named(self, kind):
        parameters = inspect.signature(self.function).parameters.values()
        return tuple(p.name for p in parameters if p.kind == kind)

    @property
    def is_matrix(self) -> bool:
        """Whether the kernel must distinguish rows and columns."""
        return bool(self.rows or self.columns or self.row_sums or self.column_sums)


def sweep(
    writes: str = "",
    *,
    sums: int = 0,
    rows: str = "",
    columns: str = "",
    row_sums: int = 0,
    column_sums: int = 0,
) -> Callable[[Callable[..., Any]], Sweep]:
    """Make a scalar function a sweep; use it as a decorator.

    The positional parameters name arrays: ``w`` the weight, ``g`` the gradient, ``i`` the element's number as
    it lies in memory, the others slots or temporaries of the rule. Keyword-only parameters are constants of a
    tensor. The function returns the new values of what it ``writes``, then terms to be added up: over the
    tensor, along each row, along each column. As in the first protocol ``g`` arrives scaled, negated under
    ``maximize`` and with the coupled decay added (if ``w`` is read too), and ``w`` arrives shrunk by the
    decoupled decay in the sweep that writes it.

    Parameters
    ----------
    writes : str
        Names of the arrays that are written, space-separated.
    sums, row_sums, column_sums : int
        How many terms follow. They are added up in float64, in chunks that depend on the shape alone.
    rows, columns : str
        Names of the arrays that have one element for each row, or column, instead of one for each weight.

    Returns
    -------
    callable
        The decorator; it returns a `Sweep`, which can be called like the plain function.

    Examples
    --------
    >>> from fastopt.rules.tensorwise import sweep
    >>> @sweep("m", sums=1)
    ... def average(g, m, *, d):
    ...     m = m + d * (g - m)
    ...     return m, m * m
    >>> average.operands, average.constants, average(1.0, 0.0, d=0.5)
    (('g', 'm'), ('d',), (0.5, 0.25))
    """
    names = tuple(writes.split())

    def decorate(function: Callable[..., Any]) -> Sweep:
        made = Sweep(
            function, names, sums, tuple(rows.split()), tuple(columns.split()), row_sums, column_sums,
        )  # fmt: skip
        unknown = {*names, *made.rows, *made.columns} - {*made.operands}
        if unknown:
            raise ValueError(f"sweep {function.__name__!r} has no array {sorted(unknown)}: {made.operands}")
        return made

    return decorate


@dataclasses.dataclass(frozen=True, eq=False)
class TensorRule(Slots):
    """One optimizer's mathematics in the second protocol; see `tensor_rule`."""

    name: str
    function: Callable[..., Any]
    letters: Mapping[str, str]
    kinds: Mapping[str, str]
    work: tuple[str, ...]
    scalars: Mapping[str, Any]
    shared: Mapping[str, Any]
    initial: Mapping[str, Any]
    uses_blas: bool = False
    defaults: Mapping[str, Any] | None = None
    ranges: Mapping[str, Range] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return TENSOR_RULES.__getitem__, (self.name,)

    @functools.cached_property
    def slots(self) -> tuple[str, ...]:
        """Names of the slots in the state, as in the first protocol."""
        return tuple(self.letters.values())

    @property
    def numbers(self) -> tuple[str, ...]:
        """Names of the state that is one number, per tensor or for all."""
        return (*self.scalars, *self.shared)

    def first_numbers(self, h: Mapping[str, Any]) -> tuple[float, ...]:
        """Return the first values of the state that is one number, per tensor or for all."""
        return tuple(self.first(h, {**self.scalars, **self.shared}, name) for name in self.numbers)

    def slot_shape(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of slot ``name`` for a parameter of ``shape``."""
        return SHAPES[self.kinds.get(name, "full")](shape)


def tensor_rule(
    name: str,
    *,
    slots: Mapping[str, str] | None = None,
    kinds: Mapping[str, str] | None = None,
    work: str = "",
    scalars: Mapping[str, Any] | None = None,
    shared: Mapping[str, Any] | None = None,
    initial: Mapping[str, Any] | None = None,
    uses_blas: bool = False,
    defaults: Mapping[str, Any] | None = None,
    ranges: Mapping[str, Range] | None = None,
) -> Callable[[Callable[..., Any]], TensorRule]:
    """Register an optimizer that looks at whole arrays, by the function of its step; use it as a decorator.

    The function takes ``x``, the tensors of a step (`fastopt.stepping.tensor_rules.Tensors`), and ``h``, the
    hyper-parameters, in which every number is a float64 array with one element per tensor: groups may differ.
    It calls ``x.sweep(function, constant=...)`` and uses NumPy on a few numbers per tensor in between.

    The training engine records what the function does with numbers that are not known yet, and repeats it
    compiled (`fastopt.stepping.tracing`). That takes NumPy's functions in place of ``float()`` and ``math``,
    state in ``x.scalars``, ``x.shared`` and slots alone, and ``x.call`` around what works on arrays directly.

    Parameters
    ----------
    name : str
        Lower case; the optimizer's name.
    slots : mapping
        The name of an array in the sweeps to its name in the state, torch's where torch has the optimizer.
    kinds : mapping
        Name of a slot in the state to a key of `SHAPES`, where it does not have the parameter's shape.
    work : str
        Names of temporary arrays, space-separated; not part of the state. `kinds` has their shapes, too.
    scalars : mapping
        State that is one number per tensor, ``x.scalars[name]``: name to its first value.
    shared : mapping
        State that is one number for all tensors, ``x.shared[name]``: name to its first value.
    initial : mapping
        Name of a slot in the state to its first value, if that is not 0. A string names a hyper-parameter.

    uses_blas : bool
        Whether the function calls BLAS or LAPACK, which then run in one thread, because their bits depend on
        how many they have; ``x.products`` multiplies on all threads.
    defaults : mapping, optional
        Hyper-parameters and their defaults; when given, `fastopt.get_optimizer` makes the optimizer.
    ranges : mapping, optional
        Which numbers the hyper-parameters may be, as in `register`.

    Returns
    -------
    callable
        The decorator; it returns a `TensorRule`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastopt
    >>> @fastopt.sweep(sums=1)
    ... def square(g):
    ...     return g * g
    >>> @fastopt.sweep("w")
    ... def descend(w, g, *, step):
    ...     return w - step * g
    >>> @fastopt.tensor_rule("unit_steps", defaults={"lr": 0.1})
    ... def unit_steps(x, h):
    ...     (squares,) = x.sweep(square)
    ...     x.sweep(descend, step=h["lr"] / np.sqrt(squares))
    >>> w = np.zeros(2)
    >>> fastopt.get_optimizer("unit_steps", lr=10.0).bind(w).step([np.array([3.0, 4.0])])
    >>> w
    array([-6., -8.])
    """

    def decorate(function: Callable[..., Any]) -> TensorRule:
        known = TENSOR_RULES.get(name)
        if known is not None and known.function.__module__ != function.__module__:
            raise ValueError(f"the name {name!r} is already registered, by {known.function.__module__}")
        made = TensorRule(
            name,
            function,
            slots or {},
            kinds or {},
            tuple(work.split()),
            scalars or {},
            shared or {},
            initial or {},
            uses_blas,
            defaults,
            ranges,
        )
        check_declared(name, made.defaults or {}, made.ranges or {})
        TENSOR_RULES[name] = made
        return made

    return decorate
