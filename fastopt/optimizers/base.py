"""The base class of optimizers: hyper-parameters, before any array is bound."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, TypeVar

import numpy.typing as npt

from fastopt._parameters import Parameters, dataclass_transform, suggestion
from fastopt.optimizers import validation
from fastopt.rules.quantized_state import Reduced, keeps_moments
from fastopt.rules.ranges import Range, check_declared
from fastopt.rules.registry import RULES, Rule
from fastopt.rules.tensorwise import TENSOR_RULES, TensorRule
from fastopt.schedules import Run
from fastopt.stepping import scheduling
from fastopt.stepping.cuda_arrays import is_on_gpu
from fastopt.stepping.cuda_stepper import DeviceStepper
from fastopt.stepping.flat_state import FlatState
from fastopt.stepping.layerwise_state import LayerwiseState
from fastopt.stepping.param_groups import rule_of, to_groups, to_list
from fastopt.stepping.rate_factors import RateFactors, check_rates
from fastopt.stepping.stepper import Stepper

#: Canonical name to class.
OPTIMIZERS: dict[str, type["Optimizer"]] = {}

#: Other names: alias to (canonical name, the hyper-parameters that it stands for).
ALIASES: dict[str, tuple[str, dict[str, Any]]] = {}

_C = TypeVar("_C", bound="Optimizer")


@dataclass_transform(eq_default=True)
def optimizer(name: str, **aliases: dict[str, Any]) -> Callable[[type[_C]], type[_C]]:
    """Turn a class with annotated fields into the optimizer ``name``; ``aliases`` name variants of it."""

    def decorate(cls: type[_C]) -> type[_C]:
        cls = dataclasses.dataclass(repr=False)(cls)
        cls.__init__ = _refusing_arrays(cls.__init__)
        cls.name = name
        check_declared(name, {field.name: field.default for field in dataclasses.fields(cls)}, cls.ranges)
        OPTIMIZERS[name] = cls
        for alias, settings in aliases.items():
            ALIASES[alias] = (name, settings)
        return cls

    return decorate


def _refusing_arrays(init: Callable[..., None]) -> Callable[..., None]:
    """Return an ``__init__`` that sends arrays, which torch's optimizers take first, to `Optimizer.bind`."""

    @functools.wraps(init)
    def checked(self, *args, **hyper_parameters):
        if args and _holds_arrays(args[0]):
            name = type(self).__name__
            raise TypeError(f"{name} takes numbers only; bind takes the arrays: {name}(...).bind(params)")
        init(self, *args, **hyper_parameters)

    return checked


def _holds_arrays(value: Any) -> bool:
    """Tell whether ``value`` is an array or a collection of arrays, and not a number or a pair of them."""
    if isinstance(value, tuple):
        return any(map(_holds_arrays, value))
    return isinstance(value, Iterable) and not isinstance(value, str) and getattr(value, "ndim", 1) > 0


@dataclasses.dataclass(repr=False)
class Optimizer(Parameters):
    """Base of all optimizers: hyper-parameters under scikit-learn's parameter protocol, without state.

    A subclass is a dataclass whose fields are the hyper-parameters. `rule` picks the scalar rule for their
    values. Values are checked by `bind`, as scikit-learn checks in ``fit``.
    """

    _family: ClassVar[str] = "optimizer"
    name: ClassVar[str]
    #: Whether weight decay shrinks the weights (AdamW) instead of joining the gradient (Adam).
    decoupled: ClassVar[bool] = False
    #: Ranges of hyper-parameters that are not in `fastopt.rules.ranges.RANGES`, or mean something else here.
    ranges: ClassVar[dict[str, Range]] = {}
    #: Whether weights are evaluated elsewhere than they are trained; `evaluation` says how they move.
    has_modes: ClassVar[bool] = False
    #: What a step needs beside the gradients: 'loss', 'closure'.
    needs: ClassVar[str | None] = None
    #: Whether a step may be given estimates of the Hessian's diagonal, which the slot ``hessian`` averages.
    takes_hessian: ClassVar[bool] = False
    #: Whether a gradient may be a tuple ``(indices, values)`` of some rows.
    takes_rows: ClassVar[bool] = False
    _always_shown: ClassVar[tuple[str, ...]] = ("lr",)

    _: dataclasses.KW_ONLY
    maximize: bool = False

    @classmethod
    def rule(cls, h: Mapping[str, Any]) -> Rule | TensorRule:
        """Return the rule that implements the optimizer with the hyper-parameters ``h``."""
        return RULES.get(cls.name) or TENSOR_RULES[cls.name]

    @classmethod
    def rule_for(cls, h: Mapping[str, Any], shape: tuple[int, ...]) -> Rule | TensorRule:
        """Return the rule for a parameter of ``shape``, if the rule depends on the shape."""
        return cls.rule(h)

    @classmethod
    def for_shape(
        cls, h: Mapping[str, Any], shape: tuple[int, ...]
    ) -> tuple[type["Optimizer"], Mapping[str, Any]]:
        """Return class and hyper-parameters for a parameter of ``shape``: its own, or its fallback's."""
        return cls, h

    @classmethod
    def evaluation(cls, h: Mapping[str, Any]) -> tuple[str, float, float]:
        """Return how weights move between training and evaluation, for an optimizer that `has_modes`.

        A slot, and the weights of its difference to the parameter in the step to evaluation and in that back.
        """
        raise NotImplementedError

    @classmethod
    def decays_in_rule(cls, h: Mapping[str, Any]) -> bool:
        """Whether the rule's constants depend on the decay, which spares biases."""
        return False

    @classmethod
    def prologue(cls, h: Mapping[str, Any]) -> tuple[float, float, float]:
        """Return ``(sign, l2, keep)``, which every kernel applies before its rule, in float64.

        The gradient is multiplied by ``sign``, ``l2`` times the weight is added to it (coupled decay), and
        the weight is multiplied by ``keep`` (decoupled decay).
        """
        decay = h.get("weight_decay", 0.0)
        sign = -1.0 if h.get("maximize") else 1.0
        if h.get("decoupled_weight_decay", cls.decoupled):
            return sign, 0.0, 1.0 - h["lr"] * decay
        return sign, decay, 1.0

    @classmethod
    def check(cls, h: Mapping[str, Any]) -> None:
        """Raise ValueError or TypeError if a hyper-parameter is out of range."""
        validation.check_values(cls, h)

    def bind(
        self,
        params: Any,
        *,
        n_threads: int | None = None,
        n_steps: int | None = None,
        steps_per_epoch: int | None = None,
    ) -> Stepper:
        """Bind arrays that are to be updated in place, and allocate their state.

        Parameters
        ----------
        params : array, list of arrays, or list of dict
            C- or F-contiguous, writeable float32 or float64 arrays, all in CPU memory or all on one GPU:
            NumPy arrays, torch tensors, or anything that exports its buffer through ``__array_interface__``,
            DLPack or ``__cuda_array_interface__`` (CuPy, Numba). Never copied. Or groups as in
            ``torch.optim``: ``[{'params': [...], 'lr': ...}, ...]``. With names, which ``state_dict`` keeps:
            a dict of name to array, or pairs as ``named_parameters()`` gives them.
        n_threads : int, optional
            The most threads a step may use in CPU memory; Numba's current number by default. The numbers do
            not depend on it.
        n_steps, steps_per_epoch : int, optional
            Length of the run and of an epoch, for schedules that count by them; see `fastopt.schedules`.

        Returns
        -------
        Stepper
            For arrays on a GPU a `DeviceStepper`, with the same methods.

        Raises
        ------
        TypeError
            If something is not such an array, or has another dtype, or is a collection without an order.
        ValueError
            If an array is strided, read-only, bound twice or overlaps another, or if a hyper-parameter is
            unknown or out of its range.
        DeviceError
            If the arrays are on a GPU that cannot be used here; the message says what to install.
        """
        return self.stepper(to_groups(params), n_threads, Run(n_steps, steps_per_epoch))

    def stepper(self, groups: list[dict[str, Any]], n_threads: int | None, run: Run) -> Stepper:
        """Return the stepper for groups of arrays and a `fastopt.schedules.Run`; see `bind`."""
        first = next((p for group in groups for p in to_list(group.get("params", ()))), None)
        make = DeviceStepper if is_on_gpu(first) else Stepper
        return make(self, groups, n_threads, run)

    @property
    def moves_weights(self) -> bool:
        """Whether evaluation may use other weights than training."""
        return self.has_modes

    @property
    def innermost(self) -> "Optimizer":
        """The optimizer inside all wrappers; the optimizer itself if it is not a wrapper."""
        return self

    def inner_run(self, run: Run) -> Run:
        """Return a run with its steps counted as the innermost optimizer makes them."""
        return run

    def flat(
        self,
        size: int,
        n_decay: int,
        dtype: npt.DTypeLike,
        run: Run | None = None,
        rate_factors: RateFactors | None = None,
    ) -> FlatState | LayerwiseState:
        """Return the state for one flat vector of parameters, which the training engine uses.

        Parameters
        ----------
        size : int
            Length of the vector.
        n_decay : int
            ``weight_decay`` applies to the first ``n_decay`` elements (the weights) only.
        dtype : dtype
            float32 or float64.
        run : fastopt.schedules.Run, optional
            Length of the run and of an epoch, for schedules that count by them.
        rate_factors : RateFactors, optional
            Factors of the learning rate for each layer; see `fastopt.stepping.rate_factors`.

        Returns
        -------
        FlatState or LayerwiseState
            The latter where the update needs whole gradients, layer by layer.

        Raises
        ------
        ValueError
            If a hyper-parameter is out of its range, or there are factors for an optimizer without ``lr``.
        """
        h, run = self.get_params(deep=False), run or Run()
        self.check(scheduling.at_step(self, h, run, 0))
        rule = rule_of(type(self), h, (2, 2))
        check_rates(self, rate_factors)
        whole = isinstance(rule, (TensorRule, Reduced)) or self.decays_in_rule(h)
        make = LayerwiseState if whole else FlatState
        return make(self, size, n_decay, dtype, run, rate_factors=rate_factors)


@dataclasses.dataclass(repr=False)
class MomentOptimizer(Optimizer):
    """Base of optimizers whose state is moments of the gradient, which can be stored in fewer bits.

    Parameters
    ----------
    state_dtype : {None, 'bfloat16', 'int8'}
        What the moments are kept in; None is the dtype of the parameters. See ``docs/reduced-state.md``.
    """

    _: dataclasses.KW_ONLY
    state_dtype: str | None = None


def list_optimizers() -> list[str]:
    """Return the canonical names of all optimizers, sorted.

    Examples
    --------
    >>> import fastopt
    >>> "adamw" in fastopt.list_optimizers()
    True
    """
    own = [name for name, rule in (RULES | TENSOR_RULES).items() if rule.defaults is not None]
    return sorted({*OPTIMIZERS, *own})


def get_optimizer(name: str, **params: Any) -> Optimizer:
    """Return an optimizer by name.

    Parameters
    ----------
    name : str
        A name of `list_optimizers`, or an alias such as ``'nesterov'``; case does not matter.
    **params
        Hyper-parameters.

    Returns
    -------
    Optimizer

    Raises
    ------
    ValueError
        If there is no such optimizer; the message suggests the nearest name.

    Examples
    --------
    >>> import fastopt
    >>> fastopt.get_optimizer("nesterov", lr=0.1)
    SGD(lr=0.1, momentum=0.9, nesterov=True)
    """
    key = str(name).lower()
    key, settings = ALIASES.get(key, (key, {}))
    rule = RULES.get(key) or TENSOR_RULES.get(key)
    if rule is not None and rule.defaults is not None:
        return _class_of(rule)(**settings | params)
    if key not in OPTIMIZERS:
        raise ValueError(_unknown(name))
    return OPTIMIZERS[key](**settings | params)


def _unknown(name: str) -> str:
    names = list_optimizers()
    hint = suggestion(name, [*names, *ALIASES])
    return f"optimizer {name!r} is not one of {', '.join(map(repr, names))}.{hint}"


def _class_of(rule):
    """Return the optimizer class for a rule that was registered with defaults, made at the first call."""
    cls = OPTIMIZERS.get(rule.name)
    if cls is None or cls._made_from is not rule:
        base = MomentOptimizer if keeps_moments(rule) else Optimizer
        fields = [(key, Any, dataclasses.field(default=value)) for key, value in rule.defaults.items()]
        cls = dataclasses.make_dataclass(
            rule.name, fields, bases=(base,), repr=False, namespace={"__doc__": rule.function.__doc__}
        )
        cls.name, cls.ranges, cls._made_from = rule.name, rule.ranges or {}, rule
        OPTIMIZERS[rule.name] = cls
    return cls
