"""Validation of a study's parameters and scorers before training."""

from __future__ import annotations

import inspect
import warnings
from numbers import Integral, Real

import numpy as np
from sklearn.base import is_classifier
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.metrics import check_scoring, get_scorer_names

from .._parameters import suggestion
from ..neural_network import MLPRegressor
from . import search as searches


def check_parameters(study):
    """Raise ValueError for a parameter of `study` that is out of range."""
    for name in ("n_seeds", "n_tuning_seeds", "n_trials", "max_epochs", "max_samples"):
        value = getattr(study, name)
        if value is None and name not in ("n_tuning_seeds", "n_trials"):
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
    _check_workers(study)
    if not isinstance(study.nested, bool | np.bool_):
        raise ValueError(f"nested={study.nested!r} is not True or False.")
    for name in ("confidence", "validation_fraction"):
        if not 0 < getattr(study, name) < 1:
            raise ValueError(f"{name}={getattr(study, name)!r} is not between 0 and 1.")
    for name, allowed in (("search", searches.SEARCHES), ("backend", ("loky", "threading", "dask"))):
        if getattr(study, name) not in allowed:
            raise ValueError(
                f"{name}={getattr(study, name)!r} is not one of {', '.join(map(repr, allowed))}."
            )


def _check_workers(study):
    if study.client is not None and study.backend == "threading":
        raise ValueError("client is of a Dask cluster, and backend='threading' of this process: give one.")
    if study.n_jobs is not None and (study.backend == "dask" or study.client is not None):
        raise ValueError(
            f"n_jobs={study.n_jobs!r} has no effect on a Dask cluster, which has as many workers as it was "
            "started with: leave it out."
        )


def default_scoring(network):
    """Return the scorer that a study goes by if none is given, and the metrics beside it."""
    if is_classifier(network):
        return "accuracy", ("recall_macro",)
    if not isinstance(network, MLPRegressor):
        return "r2", ()
    network._validate_params()  # the score depends on them
    # Of a regressor of several quantiles, whose predictions r2 cannot score.
    name = network._default_score_name()
    return (d2_pinball_score if name == "d2_pinball_score" else "r2"), ()


def d2_pinball_score(estimator, X, y, sample_weight=None):
    """Return a network's own score, the mean over its quantiles."""
    return estimator.score(X, y, sample_weight)


def check_scorer(network, scoring, y, *, is_weighted=False):
    """Raise ValueError if `scoring` is no scorer, or does not suit the target `y` or weighted rows."""
    if isinstance(scoring, str) and scoring not in get_scorer_names():
        raise ValueError(
            f"scoring={scoring!r} is not a scorer of scikit-learn (sklearn.metrics.get_scorer_names)."
            f"{suggestion(scoring, get_scorer_names())}"
        )
    scorer = check_scoring(network, scoring=scoring)
    if is_weighted:
        takes = inspect.signature(getattr(scorer, "_score_func", scorer)).parameters
        if "sample_weight" not in takes and not any(p.kind is p.VAR_KEYWORD for p in takes.values()):
            raise ValueError(f"scoring={scoring!r} takes no sample_weight, and the rows have weights.")
    y = np.asarray(y)
    if isinstance(scoring, str) and y.ndim == 1:
        _try_scorer(scorer, scoring, y, is_classifier(network))


def _try_scorer(scorer, name, y, is_classification):
    """Score a trivial model, so that an unsuitable scorer fails at once."""
    model = DummyClassifier() if is_classification else DummyRegressor()
    nothing = np.zeros((len(y), 1))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scorer(model.fit(nothing, y), nothing, y)
    except (ValueError, TypeError, AttributeError) as problem:
        reason = str(problem).splitlines()[0].replace(type(model).__name__, "the network")
        others = [f"{name}_{how}" for how in ("macro", "weighted", "ovr")]
        others = [repr(other) for other in others if is_classification and other in get_scorer_names()]
        kind = f"classes {', '.join(map(str, np.unique(y)[:5]))}" if is_classification else "a quantity"
        hint = f" For any classes: {' or '.join(others)}." if others else ""
        raise ValueError(f"scoring={name!r} does not suit this target ({kind}): {reason}{hint}") from problem
