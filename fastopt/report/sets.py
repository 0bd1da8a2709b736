"""The report of a study over data sets, on the page of all reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..study.training_run import scorer_name
from . import page
from .study import settings_of, summary_cells

if TYPE_CHECKING:
    from typing import Any

    from fastopt.study import StudyOverSets

_METHOD = (
    "Each data set has a study of its own: every optimizer chose its learning rate there, from the same "
    "number of trials, and was compared on new seeds. The mean scores are then compared, a data set being "
    "the unit: ranks on each set, Friedman's test, and tests of pairs (Demšar 2006)."
)

_SET_TEXT = "Score of the last epoch on rows not trained on, with the interval of its mean over seeds."


def contents(over: StudyOverSets) -> dict[str, Any]:
    """Return what the report's template needs of a fitted study over sets, without its frame."""
    pictures, problems = page.pictures(_drawings(over))
    return {
        "verdict": over.verdict_,
        "notes": [*over.notes_, *problems],
        "tables": _tables(over),
        "late_tables": _late_tables(over),
        "pictures": pictures,
        "settings": settings_of(over.study, rope=over.rope),
        "method": _METHOD,
        "work": f"{len(over.results_)} fits in {over.seconds_:.1f} s",
    }


def score_cells(over: StudyOverSets) -> tuple[list[str], list[list[tuple[str, Any]]]]:
    """Return ``(columns, rows)`` of the mean scores: one row for each set, and one of the mean ranks."""
    labels = list(over.comparison_.mean_ranks.index) if over.comparison_ else list(over.scores_)
    rows = [
        [(name, name), *(_number(scores[label]) for label in labels)]
        for name, scores in over.scores_.iterrows()
    ]
    if over.comparison_ is not None:
        ranks = over.comparison_.mean_ranks
        rows.append([("Mean rank", ""), *((f"{ranks[label]:.2f}", float(ranks[label])) for label in labels)])
    return ["Data set", *labels], rows


def _number(value):
    return (f"{value:.4f}", float(value)) if np.isfinite(value) else ("diverged", float("-inf"))


def _tables(over):
    text = "Means over the seeds of each set, best mean rank first. Intervals of single sets stand below."
    tables = [("Scores", text, *score_cells(over))] if len(over.scores_) else []
    if over.comparison_ is not None:
        best = over.comparison_.mean_ranks.index[0]
        text = (
            "Paired over data sets. By Nemenyi's test mean ranks differ that are at least "
            f"{over.comparison_.critical_difference:.2f} apart. P-values are adjusted for all pairs."
        )
        tables.append((f"{best} against each other one", text, *_pair_cells(over, best)))
    return tables


def _pair_cells(over, best):
    columns = ["Optimizer", "Mean rank", "Better, equal, worse on", "Median difference"]
    columns += ["p (Nemenyi)", "p (signed rank)"]
    columns += ["P(better)", "P(equal)"] if over.rope is not None else []
    pairs = over.comparison_.pairwise
    ranks = over.comparison_.mean_ranks
    rows = []
    for row in pairs[pairs["better"] == best].itertuples():
        counts = (f"{row.wins}, {row.ties}, {row.losses}", row.wins)
        figures = [(row.median_difference, ".4f"), (row.nemenyi_p, ".2g"), (row.wilcoxon_p, ".2g")]
        if over.rope is not None:
            figures += [(row.p_better, ".2f"), (row.p_equal, ".2f")]
        rank = (f"{ranks[row.worse]:.2f}", float(ranks[row.worse]))
        cells = [(format(value, form), float(value)) for value, form in figures]
        rows.append([(row.worse, row.worse), rank, counts, *cells])
    return columns, rows


def _late_tables(over):
    return [
        (str(name), _SET_TEXT, *summary_cells(study, scorer_name(study.scoring_)))
        for name, study in over.studies_.items()
        if not study.summary_.empty
    ]


def _drawings(over):
    from ..display import CriticalDifferenceDisplay, OptimizerDifferenceDisplay

    found = []
    if over.comparison_ is not None:
        n_rows = (len(over.comparison_.mean_ranks) + 1) // 2

        def ranks():
            axes = page.narrow_axes(0.24 * max(0, n_rows - 4))
            return CriticalDifferenceDisplay.from_study(over, ax=axes).figure_

        text = "A bar joins optimizers of which no two differ by more than chance explains."
        found.append(("Mean ranks over data sets", text, ranks))
    for name, study in over.studies_.items():
        if not study.comparisons_.empty:
            text = f"Paired differences on {name}. Filled: more than chance explains; hollow: within noise."
            found.append((str(name), text, lambda study=study: _narrow(OptimizerDifferenceDisplay, study)))
    return found


def _narrow(display, study):
    return display.from_study(study, ax=page.narrow_axes()).figure_
