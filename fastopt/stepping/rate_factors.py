"""A learning rate for each layer: factors of the optimizer's rate."""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from fastopt.persistence import Persistent
from fastopt.schedules import Schedule

#: A number for all layers, one for each, or 1 / sqrt(fan_in).
Factors = float | str | Sequence[float]


@dataclasses.dataclass(frozen=True)
class RateFactors(Persistent):
    """Factors of the learning rate for each block of a network's parameters, as torch's groups with own lr.

    The rate is multiplied before anything is computed from it: decoupled weight decay, ``lr * weight_decay``,
    follows the factor.

    Attributes
    ----------
    weights, biases : tuple of float
        Of each layer.
    slopes, input_scale : float
        Of what activations learn, and of the scale of the inputs.

    Examples
    --------
    >>> from fastopt.stepping.rate_factors import RateFactors
    >>> RateFactors.of_layers([4, 100, 2], weights="fan_in", biases=0.1)
    RateFactors(weights=(0.5, 0.1), biases=(0.1, 0.1), slopes=1.0, input_scale=1.0)
    """

    weights: tuple[float, ...]
    biases: tuple[float, ...]
    slopes: float = 1.0
    input_scale: float = 1.0

    @classmethod
    def of_layers(
        cls,
        layer_sizes: Sequence[int],
        *,
        weights: Factors = 1.0,
        biases: Factors = 1.0,
        slopes: float = 1.0,
        input_scale: float = 1.0,
    ) -> "RateFactors":
        """Return the factors of a network.

        Parameters
        ----------
        layer_sizes : sequence of int
            Units per layer, inputs first, outputs last.
        weights, biases : float, 'fan_in' or sequence of float
            One factor for all layers, 1 / sqrt(fan_in), or one for each layer.
        slopes, input_scale : float

        Raises
        ------
        TypeError, ValueError
            If a factor is no finite number of at least 0, or there are more or fewer than layers.
        """
        fans = tuple(map(int, layer_sizes[:-1]))
        by_layer = _by_layer("weights", weights, fans), _by_layer("biases", biases, fans)
        return cls(*by_layer, _factor("slopes", slopes), _factor("input_scale", input_scale))

    def _check_restored(self) -> None:
        for name, values in (("weights", self.weights), ("biases", self.biases)):
            for value in values:
                _factor(name, value)
        _factor("slopes", self.slopes)
        _factor("input_scale", self.input_scale)

    def arrays(self, weights: list[Any], biases: list[Any], slopes: list[Any], scale: Any) -> list[Any]:
        """Return the groups of arrays: whether they are weights, the factor of their rate, and the arrays.

        Neighbours with the same factor are a group; the order of the arrays stays. Arrays that are None are
        left out.
        """
        vectors = [*zip(self.biases, biases, strict=True), *((self.slopes, one) for one in slopes)]
        vectors = [(False, *one) for one in (*vectors, (self.input_scale, scale)) if one[1] is not None]
        found = [(True, *one) for one in zip(self.weights, weights, strict=True)] + vectors
        grouped = itertools.groupby(found, key=lambda one: one[:2])
        return [(*key, [array for *_, array in members]) for key, members in grouped]

    @property
    def groups(self) -> tuple[float, ...]:
        """The distinct factors: parameters with the same are a group."""
        return tuple(dict.fromkeys((*self.weights, *self.biases, self.slopes, self.input_scale)))

    @property
    def differ(self) -> bool:
        """Whether any factor is not 1."""
        return self.groups != (1.0,)

    @property
    def numbers(self) -> tuple[list[int], list[int], int, int]:
        """The number of the group of each layer's weights and biases, of the slopes and the input scale."""
        at = self.groups.index
        return [*map(at, self.weights)], [*map(at, self.biases)], at(self.slopes), at(self.input_scale)


#: The hyper-parameters that are learning rates: of all arrays, or of those that are no matrices.
_RATES = ("lr", "fallback_lr", "lr_1d")


def scaled(h: Mapping[str, Any], factor: float) -> Mapping[str, Any]:
    """Return hyper-parameters with every learning rate, a number, array or schedule, times ``factor``."""
    if factor == 1.0:
        return h
    return {name: v * factor if name in _RATES and v is not None else v for name, v in h.items()}


def check_rates(optimizer: Any, factors: RateFactors | None) -> None:
    """Raise ValueError if an optimizer, not a wrapper, has no learning rate that factors could multiply."""
    if factors is None or not factors.differ:
        return
    h = optimizer.get_params(deep=False)
    if "lr" in getattr(optimizer.rule_for(h, (2, 2)), "initial", {}).values():
        raise ValueError(
            f"{optimizer!r} adapts a step size for each parameter, which only begins at lr: it takes no "
            "factors of the learning rate for each layer"
        )
    if optimizer.needs == "closure":
        raise ValueError(
            f"{type(optimizer).__name__} moves all parameters along one direction: it takes no learning rate "
            "for each layer; leave out the factors, or choose another optimizer"
        )
    if not isinstance(h.get("lr"), (Real, Schedule)):
        raise ValueError(
            f"{optimizer!r} has no lr, which factors for each layer could multiply; leave them out, or give "
            "it one if it takes it"
        )


def _by_layer(name, value, fans):
    """Return a factor for each layer."""
    if isinstance(value, str):
        if value != "fan_in":
            raise ValueError(
                f"{name}={value!r} must be a number, one for each layer, or 'fan_in' (1 / sqrt(fan_in))"
            )
        return tuple(1.0 / math.sqrt(n) for n in fans)
    is_one = not isinstance(value, Sequence) and not getattr(value, "ndim", 0)
    if is_one:
        return (_factor(name, value),) * len(fans)
    factors = tuple(_factor(name, one) for one in value)
    if len(factors) != len(fans):
        raise ValueError(
            f"{name}={value!r} has {len(factors)} numbers for {len(fans)} "
            "layers; pass one for each layer, or one for all"
        )
    return factors


def _factor(name, value):
    """Return a factor as a float, after a check."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be numbers, not {type(value).__name__} ({value!r})")
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{name} must be finite and at least 0, not {value!r}")
    return float(value)
