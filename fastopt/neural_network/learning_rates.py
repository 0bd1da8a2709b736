"""What ``learning_rate``, ``warmup`` and ``learning_rate_factors`` make of the optimizer's ``lr``."""

from numbers import Real
from typing import TYPE_CHECKING, Any

from sklearn.base import clone
from sklearn.utils._param_validation import InvalidParameterError

import fastopt.schedules as schedules
from fastopt._parameters import suggestion
from fastopt.engine import Layout
from fastopt.optimizers import Optimizer
from fastopt.optimizers.wrappers import Wrapper
from fastopt.schedules import Schedule
from fastopt.stepping.rate_factors import RateFactors, check_rates

if TYPE_CHECKING:
    from fastopt.neural_network._base import BaseMLP

#: scikit-learn's rules, which act between epochs and for ``solver='sgd'`` only.
RULES = ("constant", "invscaling", "adaptive")
#: The parts of a network that ``learning_rate_factors`` may name.
_PARTS = ("weights", "biases", "input_scale")


def check_learning_rate(rate: object, owner: str) -> None:
    """Raise unless ``rate`` is a known name, a schedule or a function.

    Parameters
    ----------
    rate : str, Schedule or callable
    owner : str
        Name of the estimator's class, for the message.

    Raises
    ------
    InvalidParameterError
        A ValueError and a TypeError, as scikit-learn raises for other parameters.
    """
    if isinstance(rate, str) and rate in RULES:
        return
    names, hint = sorted({*RULES, *schedules.list_schedules()}), ""
    if isinstance(rate, str):
        if rate in names:
            return
        hint = suggestion(rate, names)
    elif isinstance(rate, type):
        hint = f" Did you mean {rate.__name__}(...)?" if issubclass(rate, Schedule) else ""
    elif callable(rate):
        return
    elif isinstance(rate, Real):
        hint = f" Did you mean learning_rate_init={rate!r}?"
    raise InvalidParameterError(
        f"The 'learning_rate' parameter of {owner} must be a str among {{{', '.join(map(repr, names))}}}, a "
        f"schedule such as fastopt.schedules.cosine() or a callable. Got {rate!r} instead.{hint}"
    )


def is_scikit_sgd(solver: str | Optimizer) -> bool:
    """Whether ``solver`` is scikit-learn's 'sgd', the only one with 'invscaling' and 'adaptive'."""
    return isinstance(solver, str) and solver.lower() == "sgd"


def with_schedule(optimizer: Optimizer, estimator: "BaseMLP") -> Optimizer:
    """Return the optimizer with the estimator's schedule as its ``lr``; itself if there is none.

    Raises
    ------
    ValueError
        If the arguments contradict each other.
    """
    if isinstance(optimizer, Wrapper):
        return clone(optimizer).set_params(optimizer=with_schedule(optimizer.optimizer, estimator))
    rate, share = estimator.learning_rate, estimator.warmup
    is_rule = isinstance(rate, str) and rate in RULES
    if is_rule and not share:
        return optimizer
    lr = optimizer.get_params(deep=False).get("lr")
    if lr is None:
        raise ValueError(f"learning_rate={rate!r}, warmup={share!r}: {optimizer!r} has no lr to change")
    if is_rule and rate != "constant" and is_scikit_sgd(estimator.solver):
        raise ValueError(f"warmup={share!r} does not go with learning_rate={rate!r}; use a schedule")
    if isinstance(lr, Schedule) and not is_rule:
        raise ValueError(
            f"learning_rate={rate!r} is given beside {optimizer!r}, whose lr is a schedule already; leave "
            "learning_rate='constant', or give lr a number"
        )
    if is_rule:
        rate = lr if isinstance(lr, Schedule) else schedules.constant()
    elif isinstance(rate, str):
        rate = schedules.get_schedule(rate)
    elif not isinstance(rate, Schedule):
        rate = schedules.function(rate, None, unit="run")
    if share:
        rate = schedules.warmup(rate, share, unit="run")
    return clone(optimizer).set_params(lr=rate.based_on(lr))


def rate_factors(
    given: str | dict[str, Any] | None, layout: Layout, optimizer: Optimizer
) -> RateFactors | None:
    """Return the factors that ``learning_rate_factors`` gives a network's layers.

    Parameters
    ----------
    given : None, 'fan_in' or dict
    layout : Layout
    optimizer : Optimizer

    Raises
    ------
    TypeError, ValueError
        If it names something else, a scale that the network does not have, or holds what is no factor, or
        the optimizer has no learning rate for each layer.
    """
    if given is None:
        return None
    parts = {"weights": given} if isinstance(given, str) else given
    unknown = [name for name in parts if name not in _PARTS]
    if unknown:
        raise ValueError(
            f"learning_rate_factors={given!r} has {unknown[0]!r}; it takes {', '.join(map(repr, _PARTS))}."
            f"{suggestion(str(unknown[0]), _PARTS)}"
        )
    if "input_scale" in parts and not layout.scales_inputs:
        raise ValueError(
            f"learning_rate_factors={given!r}: the network has no scale of its inputs; set input_scale=True, "
            "or leave 'input_scale' out"
        )
    if isinstance(optimizer, Wrapper):
        optimizer.check_own()  # there may be no optimizer inside
    try:
        factors = RateFactors.of_layers(layout.layer_sizes, **parts)
        check_rates(optimizer.innermost, factors)
    except (TypeError, ValueError) as error:
        raise type(error)(f"learning_rate_factors={given!r}: {error}") from error
    return factors
