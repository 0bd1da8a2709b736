"""The ranges of a study's parameters, and the sentences that refuse a value outside."""

from __future__ import annotations

from numbers import Integral, Real

from sklearn.metrics import check_scoring, get_scorer_names

from .._parameters import suggestion
from . import search as searches


def check_parameters(study):
    """Raise ValueError for a parameter of `study` that is out of range."""
    for name in ("n_seeds", "n_tuning_seeds", "n_trials", "max_epochs", "max_samples"):
        value = getattr(study, name)
        if value is None and name.startswith("max"):
            continue
        if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name}={value!r} is not a whole number of at least 1.")
    if not isinstance(study.random_state, Integral) or not 0 <= study.random_state < 2**31:
        raise ValueError(
            f"random_state={study.random_state!r} is not a whole number from 0 to 2**31 - 1. A study has "
            "to be repeatable, so None and generators are not taken."
        )
    if study.max_seconds is not None and not (isinstance(study.max_seconds, Real) and study.max_seconds > 0):
        raise ValueError(f"max_seconds={study.max_seconds!r} is not a positive number.")
    if not isinstance(study.halving_factor, Integral) or study.halving_factor < 2:
        raise ValueError(f"halving_factor={study.halving_factor!r} is not a whole number of at least 2.")
    if study.n_jobs is not None and (not isinstance(study.n_jobs, Integral) or study.n_jobs == 0):
        raise ValueError(f"n_jobs={study.n_jobs!r} is not None, a number of workers, or -1 for all.")
    for name in ("confidence", "validation_fraction"):
        if not 0 < getattr(study, name) < 1:
            raise ValueError(f"{name}={getattr(study, name)!r} is not between 0 and 1.")
    for name, allowed in (("search", searches.SEARCHES), ("backend", ("loky", "threading"))):
        if getattr(study, name) not in allowed:
            raise ValueError(
                f"{name}={getattr(study, name)!r} is not one of {', '.join(map(repr, allowed))}."
            )


def check_scorer(network, scoring):
    """Raise ValueError if `scoring` is not a scorer; the message suggests the nearest name."""
    if isinstance(scoring, str) and scoring not in get_scorer_names():
        hint = suggestion(scoring, get_scorer_names())
        raise ValueError(
            f"scoring={scoring!r} is not a scorer of scikit-learn (sklearn.metrics.get_scorer_names).{hint}"
        )
    check_scoring(network, scoring=scoring)
