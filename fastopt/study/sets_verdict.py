"""The findings of a study over data sets in sentences, and notes of caution."""

from __future__ import annotations

import math

from .training_run import scorer_name
from .verdict import listed

#: Below this number of sets the p-value of Friedman's test is rough (Demšar 2006).
_FEW_SETS = 10
#: Of so many optimizers behind the best, the next ones, the probabilities are said in words.
_MOST_NAMED = 5


def verdict(over):
    """Return the findings of a fitted `StudyOverSets` as sentences, the most important first."""
    found = over.comparison_
    if found is None:
        return ["No comparison over sets: it needs two optimizers and two data sets whose study has ended."]
    best, rank = found.mean_ranks.index[0], found.mean_ranks.iloc[0]
    n_sets, n_methods = found.ranks.shape
    level = list(found.mean_ranks.index[found.mean_ranks == rank])
    whole = f"best mean rank over {n_sets} data sets, {rank:.2f} of {n_methods}"
    n_first = over.summary_["n_first"].iloc[0]
    how_often = "all" if n_first == n_sets else n_first
    sentences = [f"{best} has the {whole}; it is first on {how_often} of them."]
    if len(level) > 1:
        sentences = [f"{listed(level)} share the {whole}."]
    sentences += _difference(found, best)
    if over.rope is not None:
        sentences += _probabilities(found, best, over.rope)
    return sentences


def _difference(found, best):
    """Say which optimizers are behind the best by more than chance explains."""
    p_value, level = found.friedman_p_value, f"{found.confidence:.0%}"
    if found.is_one_group:
        return [
            f"Friedman's test finds no difference (p = {p_value:.2g}): these sets do not tell the optimizers "
            "apart."
        ]
    sentences = []
    if math.isfinite(p_value):
        sentences.append(f"Friedman's test: the optimizers are not all alike (p = {p_value:.2g}).")
    mine = found.pairwise[found.pairwise["better"] == best]
    differ = mine["nemenyi_p"] < 1 - found.confidence
    behind, tied = list(mine["worse"][differ]), list(mine["worse"][~differ])
    test = f"Nemenyi's test, {level}: {found.critical_difference:.2f} ranks"
    if behind:
        sentences.append(f"Behind {best} by more than chance explains ({test}): {listed(behind)}.")
    if tied:
        sentences.append(f"Within noise of {best}{'' if behind else f' ({test})'}: {listed(tied)}.")
    return sentences


def _probabilities(found, best, rope):
    mine = found.pairwise[found.pairwise["better"] == best]
    each = [
        f"better than {row.worse} with {row.p_better:.2f}, practically equal with {row.p_equal:.2f}"
        for row in mine.head(_MOST_NAMED).itertuples()
    ]
    start = f"Probabilities over data sets like these, differences below {rope:g} being none: {best} is"
    return [f"{start} {listed(each)}."]


def notes(over):
    """Return notes of caution about the results."""
    found, studies = [], over.studies_
    if over.interrupted_:
        found.append("The study was interrupted: sets that it had not finished are left out.")
    if over.comparison_ is None:
        return found
    n_sets = len(over.scores_)
    found += _few_sets(n_sets, len(over.comparison_.pairwise), over.study.confidence)
    metrics = sorted({scorer_name(study.scoring_) for study in studies.values()})
    if len(metrics) > 1:
        found.append(
            f"The sets are judged by {listed(metrics)}: ranks can be compared over them, differences cannot."
        )
    for label in over.scores_:
        failed = list(over.scores_.index[over.scores_[label].isna()])
        if failed:
            found.append(f"{label} diverged with every seed on {listed(failed)}, and ranks last there.")
        elif n_diverged := over.summary_.set_index("optimizer")["n_diverged"][label]:
            found.append(f"{label} diverged in {n_diverged} fits; its scores are means of the others.")
    found.append(
        "Each set counts the same, whatever its size. What to be careful about on each stands with its study."
    )
    return found


def _few_sets(n_sets, n_pairs, confidence):
    """Warn of what so few sets cannot show."""
    if n_sets >= _FEW_SETS:
        return []
    words = f"Only {n_sets} data sets: the p-value of Friedman's test is rough"
    if (
        n_pairs * 0.5 ** (n_sets - 1) >= 1 - confidence
    ):  # the least p-value of the signed-rank test, after Holm
        words += ", and signed-rank tests cannot tell any pair apart"
    return [f"{words}. Ten or more are better."]
