"""Methods compared over several data sets: ranks, Friedman's test, and what may be said of each pair.

The unit is the data set: one score for each method and set, such as a mean over seeds. Procedures are those
of Demšar (2006), "Statistical comparisons of classifiers over multiple data sets", JMLR 7, and of Benavoli
et al. (2017), "Time for a change", JMLR 18.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy import stats

from .._extras import require
from .statistics import bayesian_signed_rank, holm

if TYPE_CHECKING:
    import pandas as pd

#: Scores that differ later than this are equal: means of the same numbers in another order.
_SIGNIFICANT_BITS = 40
_MISSING = ("raise", "last", "drop")
_TESTS = ("nemenyi", "wilcoxon")


@dataclass(frozen=True, eq=False)
class SetComparison:
    """What `compare_over_sets` found.

    Attributes
    ----------
    scores : DataFrame of shape (n_sets, n_methods)
        The scores that were compared.
    higher_is_better : bool
    confidence : float
    ranks : DataFrame of shape (n_sets, n_methods)
        Rank of each method on each set, from 1 for the best; equal scores share their mean rank.
    mean_ranks : Series of shape (n_methods,)
        Mean over the sets, best first.
    friedman_statistic, friedman_p_value : float
        Of the hypothesis that all methods are alike; NaN with two methods, for which the test is not made.
    critical_difference : float
        Nemenyi's: mean ranks at least so far apart differ at level ``1 - confidence``.
    pairwise : DataFrame
        One row for each pair, in the order of mean ranks. Columns: ``better`` and ``worse`` (by mean rank),
        ``rank_difference``, ``wins``, ``ties`` and ``losses`` (sets on which the first is better, equal,
        worse), ``median_difference`` (how much better it scores), ``nemenyi_p`` (adjusted for all pairs by
        itself), ``wilcoxon_p`` (of the signed-rank test, Holm-adjusted over the pairs). Where a region of
        practical equivalence was given also ``p_better``, ``p_equal``, ``p_worse``: probabilities of
        Bayes' signed-rank test.
    """

    scores: pd.DataFrame
    higher_is_better: bool
    confidence: float
    ranks: pd.DataFrame
    mean_ranks: pd.Series
    friedman_statistic: float
    friedman_p_value: float
    critical_difference: float
    pairwise: pd.DataFrame

    @property
    def is_one_group(self) -> bool:
        """Whether Friedman's test finds no difference at all, so that no pair is looked at."""
        return self.friedman_p_value >= 1 - self.confidence

    def groups(self, test: Literal["nemenyi", "wilcoxon"] = "nemenyi") -> list[tuple[Any, ...]]:
        """Return the longest runs of methods, in the order of mean ranks, of which no two differ.

        Parameters
        ----------
        test : {'nemenyi', 'wilcoxon'}, default='nemenyi'
            Which p-values of `pairwise` decide. Those of Nemenyi depend on the other methods compared (see
            Benavoli et al. 2016, JMLR 17); those of Wilcoxon's test only through Holm's adjustment.

        Returns
        -------
        list of tuple
            Of at least two names each; runs may overlap. One run of all if Friedman's test finds nothing.
        """
        if test not in _TESTS:
            raise ValueError(f"test={test!r} is not one of {', '.join(map(repr, _TESTS))}.")
        names = list(self.mean_ranks.index)
        if self.is_one_group:
            return [tuple(names)]
        differ = np.zeros((len(names), len(names)), dtype=bool)
        pairs = itertools.combinations(range(len(names)), 2)  # the order of the rows
        for (i, j), p in zip(pairs, self.pairwise[f"{test}_p"], strict=True):
            differ[i, j] = p < 1 - self.confidence
        found, last = [], 0
        for start in range(len(names)):
            end = start + 1
            while end < len(names) and not differ[start : end + 1, start : end + 1].any():
                end += 1
            if end - start > 1 and end > last:
                found.append(tuple(names[start:end]))
            last = max(last, end)
        return found


def compare_over_sets(
    scores: pd.DataFrame | Any,
    *,
    higher_is_better: bool = True,
    confidence: float = 0.95,
    rope: float | None = None,
    missing: Literal["raise", "last", "drop"] = "raise",
    random_state: int = 0,
) -> SetComparison:
    """Compare methods over data sets: Friedman's test, Nemenyi's and Wilcoxon's for pairs, and Bayes'.

    Parameters
    ----------
    scores : DataFrame or array-like of shape (n_sets, n_methods)
        One score for each data set (row) and method (column).
    higher_is_better : bool, default=True
        Whether a larger score is better; False for losses and errors.
    confidence : float, default=0.95
        One minus the level of the tests.
    rope : float, optional
        Region of practical equivalence: scores that differ by less are as good as equal, such as 0.01 of an
        accuracy. With it, the probabilities of Bayes' signed-rank test are added; 0 is allowed.
    missing : {'raise', 'last', 'drop'}, default='raise'
        What a missing score (NaN) means: an error; a method that failed, which ranks last on this set and is
        worse by more than any other difference; or that the set is left out.
    random_state : int, default=0
        Of the random draws of Bayes' test.

    Returns
    -------
    SetComparison

    Raises
    ------
    ValueError
        For fewer than two sets or methods, missing or infinite scores, names that occur twice.

    Notes
    -----
    Friedman's test by `scipy.stats.friedmanchisquare`, Nemenyi's by `scipy.stats.studentized_range`,
    Wilcoxon's by `scipy.stats.wilcoxon`, sets without a difference split between the sides as Demšar does.
    With five sets or fewer no pair can reach p < 0.05 in Wilcoxon's test, and Holm's adjustment of many pairs
    needs more sets.

    Examples
    --------
    >>> import pandas as pd
    >>> from fastopt.study import compare_over_sets
    >>> scores = pd.DataFrame({
    ...     "sgd": [0.91, 0.80, 0.75, 0.93, 0.66, 0.88],
    ...     "adam": [0.93, 0.84, 0.79, 0.95, 0.71, 0.90],
    ...     "lion": [0.92, 0.85, 0.78, 0.94, 0.70, 0.91],
    ... })
    >>> found = compare_over_sets(scores, rope=0.005)
    >>> found.mean_ranks.round(2).to_dict()
    {'adam': 1.33, 'lion': 1.67, 'sgd': 3.0}
    >>> found.groups()
    [('adam', 'lion'), ('lion', 'sgd')]
    >>> found.pairwise.loc[1, ["better", "worse", "wins"]].to_list() == ["adam", "sgd", 6]
    True
    """
    _check_options(confidence, rope, missing)
    scores = _checked(scores, missing)
    values = _comparable(scores, higher_is_better)
    pandas = require("pandas", "a comparison over data sets")
    ranks = pandas.DataFrame(stats.rankdata(-values, axis=1), index=scores.index, columns=scores.columns)
    mean_ranks = ranks.mean().sort_values(kind="stable")
    statistic, p_value = _friedman(values)
    n_sets, n_methods = values.shape
    standard_error = math.sqrt(n_methods * (n_methods + 1) / (6 * n_sets))
    studentized = stats.studentized_range(n_methods, np.inf)
    order = [scores.columns.get_loc(name) for name in mean_ranks.index]
    pairwise = _pairwise(values[:, order], mean_ranks, rope, random_state)
    distances = pairwise["rank_difference"] / standard_error * math.sqrt(2)
    pairwise.insert(6, "nemenyi_p", studentized.sf(distances))
    pairwise["wilcoxon_p"] = holm(pairwise["wilcoxon_p"])
    return SetComparison(
        scores=scores,
        higher_is_better=higher_is_better,
        confidence=confidence,
        ranks=ranks,
        mean_ranks=mean_ranks,
        friedman_statistic=statistic,
        friedman_p_value=p_value,
        critical_difference=float(studentized.ppf(confidence) / math.sqrt(2) * standard_error),
        pairwise=pairwise,
    )


def _check_options(confidence, rope, missing):
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence!r} is not between 0 and 1.")
    if rope is not None and not 0 <= rope < math.inf:
        raise ValueError(f"rope={rope!r} is not a number of at least 0, or None.")
    if missing not in _MISSING:
        raise ValueError(f"missing={missing!r} is not one of {', '.join(map(repr, _MISSING))}.")


def _checked(scores, missing):
    """Return the scores as a DataFrame of float64 that can be compared, or say why not."""
    scores = _frame(scores)
    for names, what in ((scores.columns, "column"), (scores.index, "row")):
        if not names.is_unique:
            raise ValueError(f"the {what} {names[names.duplicated()][0]!r} occurs twice in scores.")
    try:
        if any(kind.kind == "c" for kind in scores.dtypes):
            raise TypeError("complex numbers have no order.")
        scores = scores.astype(float)
    except (TypeError, ValueError) as problem:
        raise ValueError(f"scores hold something other than numbers: {problem}") from problem
    if np.isinf(scores.to_numpy()).any():
        raise ValueError(f"the score of {_first(np.isinf(scores))} is infinite: give NaN for a failure.")
    if missing == "raise" and scores.isna().any(axis=None):
        raise ValueError(
            f"the score of {_first(scores.isna())} is missing. missing='last' ranks it behind all others, "
            "missing='drop' leaves such sets out."
        )
    if missing == "drop":
        scores = scores.dropna()
    if scores.shape[0] < 2 or scores.shape[1] < 2:
        left = " whose scores are all there" if missing == "drop" else ""
        raise ValueError(
            f"scores have {scores.shape[0]} sets (rows){left} and {scores.shape[1]} methods (columns): a "
            "comparison over sets needs two of each or more."
        )
    return scores


def _frame(scores):
    """Return a table of any kind as a DataFrame of pandas."""
    pandas = require("pandas", "a comparison over data sets")
    if hasattr(scores, "__arrow_c_stream__") and not isinstance(scores, pandas.DataFrame):
        frame = require("narwhals", "a table of polars or pyarrow").from_native(scores, eager_only=True)
        return pandas.DataFrame({name: frame[name].to_numpy() for name in frame.columns})
    try:
        return pandas.DataFrame(scores)
    except (TypeError, ValueError) as problem:
        raise ValueError(f"scores={scores!r} is no table of sets (rows) by methods (columns).") from problem


def _first(is_wrong):
    row, column = np.argwhere(is_wrong.to_numpy())[0]
    return f"{is_wrong.columns[column]!r} on {is_wrong.index[row]!r}"


def _comparable(scores, higher_is_better):
    """Return scores of which more is better, equal where they differ by rounding, -inf for failures."""
    values = scores.to_numpy(copy=True) * (1 if higher_is_better else -1)
    values[np.isnan(values)] = -np.inf
    fraction, exponent = np.frexp(values)
    return np.ldexp(np.round(fraction * 2.0**_SIGNIFICANT_BITS) / 2.0**_SIGNIFICANT_BITS, exponent)


def _friedman(values):
    if values.shape[1] < 3:
        return math.nan, math.nan
    if (values == values[:, :1]).all():  # no set has a difference: SciPy divides by zero
        return 0.0, 1.0
    found = stats.friedmanchisquare(*values.T)
    return float(found.statistic), float(found.pvalue)


def _pairwise(values, mean_ranks, rope, random_state):
    """Return the pairs of methods, the columns of `values` in the order of their mean ranks."""
    rows, differences = [], []
    for i, j in itertools.combinations(range(values.shape[1]), 2):
        difference = _differences(values[:, i], values[:, j])
        row = {
            "better": mean_ranks.index[i],
            "worse": mean_ranks.index[j],
            "rank_difference": mean_ranks.iloc[j] - mean_ranks.iloc[i],
            "wins": int((difference > 0).sum()),
            "ties": int((difference == 0).sum()),
            "losses": int((difference < 0).sum()),
            "median_difference": float(np.median(difference)),
            "wilcoxon_p": _wilcoxon(difference),
        }
        rows.append(row)
        differences.append(difference)
    frame = require("pandas", "a comparison over data sets").DataFrame(rows)
    if rope is not None:
        bayes = bayesian_signed_rank(np.transpose(differences), rope=rope, random_state=random_state)
        frame[["p_better", "p_equal", "p_worse"]] = bayes
    return frame


def _differences(a, b):
    with np.errstate(invalid="ignore", over="ignore"):
        difference = a - b
    return np.where(np.isnan(difference), 0.0, difference)  # both failed


def _wilcoxon(difference):
    if not difference.any():  # some versions of SciPy divide by zero
        return 1.0
    return float(stats.wilcoxon(difference, zero_method="zsplit").pvalue)
