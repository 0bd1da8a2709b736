"""docs/landscape.md: every sentence and table from the results, none typed by hand."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import landscape_cases as cases
import landscape_recommend
import landscape_sentences as sentences
import landscape_work
from landscape_fits import KEPT
from landscape_tables import CONFIDENCE, GOOD_SHARE, MOST, SHIFT, Landscape

if TYPE_CHECKING:
    from collections.abc import Iterable

    from landscape_tables import Gain

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "landscape.md"
PERCENT = f"{100 * CONFIDENCE:.0f} %"
#: Contenders in the first table.
_SHOWN = 25


def write(results: Path) -> None:
    """Write the page, its pictures, and the package's learning rates.

    Parameters
    ----------
    results : Path
        The compressed lines.
    """
    import landscape_pictures

    found = Landscape(results)
    landscape_recommend.package_file().write_text(landscape_recommend.text(found), "utf-8")
    PAGE.write_text(text(found), "utf-8")
    landscape_pictures.draw(found, PAGE.parent / "images")


def text(found: Landscape) -> str:
    """Return the page."""
    parts = [
        _head(found), _winners(found), _rates(found), _schedules(found), _sizes(found), _batches(found),
        _decay(found), _speed(found), _method(found), _LIMITS,
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def table(headings: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """Return a Markdown table."""
    headings = list(headings)
    lines = [headings, ["---"] * len(headings), *([str(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _bullets(lines):
    options = {"subsequent_indent": "  ", "break_long_words": False, "break_on_hyphens": False}
    return "\n".join(textwrap.fill(f"- {line}", 150, **options) for line in lines)


def _head(found):
    about = found.about
    n_sets, n_contenders = found.main.ranks.shape
    return f"""# Landscape

Every optimizer of fastopt, with forms of SGD, wrappers and states in 8 bits, {n_contenders} in all, on
{n_sets} data sets, each at its own best learning rate: {about["fits"]:,} networks, which took
{about["seconds"] / 60:.0f} minutes of one processor core. Figures, tables and sentences of this page are made
from [the results](../bench/results/landscape.jsonl.xz) by `python bench/bench_landscape.py --page`.

In short, with {PERCENT} intervals over data sets:

{_bullets(sentences.all_of(found))}"""


def _winners(found):
    ranks, gains, level = found.main.mean_ranks, found.against(), found.level.sum()
    errors, cost = found.error_differences(), found.cost

    def row(place, name):
        gain = "1" if name == "adam" else gains[name].times()
        error = "0" if name == "adam" else errors[name]
        return (
            place, name, f"{ranks[name]:.1f}", found.firsts[name], level[name], gain, error,
            f"{cost[name]:.1f}",
        )  # fmt: skip

    rows = [row(place, name) for place, name in enumerate(ranks.index[:_SHOWN], 1)]
    last = [f"`{name}` ({gains[name].times(bounds=False)})" for name in ranks.index[_SHOWN:]]
    headings = (
        "", "optimizer", "mean rank", "first on", "level with the first on", "test loss / Adam's",
        "error - Adam's, points", "time / Adam's",
    )  # fmt: skip
    group, ranks_of_sets = found.main.groups()[0], found.main.ranks
    return f"""## Who wins, and what is noise

{table(headings, rows)}

The others, in order, with their loss over Adam's: {", ".join(last)}.

*Mean rank* is by test loss, of {len(ranks)}. *Level with the first*: the {PERCENT} interval of the paired
difference over {len(cases.SEEDS)} seeds holds 0. The ratio of losses is a geometric mean over data sets of
(loss + {SHIFT}) / (Adam's + {SHIFT}), bold where its interval leaves out 1; the error is that of the
classification sets.

![Mean ranks over data sets](images/landscape-ranks.png)

Friedman's test over {len(ranks_of_sets)} sets: p = {found.main.friedman_p_value:.0e}. Nemenyi's critical
difference is {found.main.critical_difference:.1f} ranks: the {len(group)} from `{group[0]}` to `{group[-1]}`
are not told apart from each other.

![Test loss by data set and optimizer](images/landscape-map.png)"""


def _rates(found):
    rates = found.rates
    order = [name for name in found.main.mean_ranks.index if name in rates.index]
    rows = []
    for name in order:
        own = rates.loc[name]
        of = landscape_recommend.of_contender(found.good[found.good["contender"] == name])
        default = default_rate(name)
        rows.append((
            name, f"{default:g}", f"{own['usual']:g}", f"{of['grid'][0]:g} to {of['grid'][-1]:g}",
            f"{own['decades']:.1f} ({own['low']:.1f} to {own['high']:.1f})", f"{own['off']:.2f}",
        ))  # fmt: skip
    headings = (
        "optimizer", "default", "most often best", "recommended grid", "good range, decades",
        "loss at 10 times off",
    )  # fmt: skip
    return f"""## Learning rates

{table(headings, rows)}

A rate is *good* if it keeps {100 * GOOD_SHARE:.0f} % of what the best rate gains over a constant guess; the
range counts half a decade for each good rate of the grid, mean over data sets. *10 times off*: the median
over sets of the loss at a rate ten times larger or smaller, the better of the two, over that of the best
rate. `fastopt.study.recommended_grid` returns the recommended grids; `OptimizerStudy` and `fastopt
compare` choose from them by default.

![Loss by learning rate](images/landscape-rates.png)

Grey: a data set. Blue: their median."""


def default_rate(name: str) -> float:
    """Return the rate that an optimizer has by default."""
    made = next(one for one in cases.contenders() if one.name == name).make(None)
    while hasattr(made, "optimizer"):
        made = made.optimizer
    return made.lr


def _gain_rows(gains: dict[str, Gain]):
    ordered = sorted(gains.items(), key=lambda item: item[1].ratio)
    return [(name, gain.times(), f"{gain.wins} of {gain.n}") for name, gain in ordered]


def _schedules(found):
    gains = found.schedule_gains()
    if not gains:
        return ""
    return f"""## A schedule

Cosine annealing to 0 over the run, with rates chosen anew, against a constant rate:

{table(("optimizer", "loss / with a constant rate", "better on"), _gain_rows(gains))}"""


def _sizes(found):
    by_size = found.size_scores()
    if len(by_size) < 2:
        return ""
    rows = sentences.size_rows(found)
    if not rows:
        return ""
    headings = ("hidden layers", "sets", "optimizers", "rank correlation with the middle size", "first there")
    return f"""## Other sizes

{table(headings, rows)}

The correlation is Kendall's tau of mean ranks of the same optimizers on the same sets."""


def _batches(found):
    rows, n = [], len(found.fits)
    gains = {size: found.factor_gains("batch", "batch", size, None) for size in landscape_work.BATCHES}
    names = sorted(set().union(*gains.values())) if n else []
    for name in names:
        cells = [gains[size][name].times() if name in gains[size] else "" for size in landscape_work.BATCHES]
        rows.append((name, *cells))
    if not rows:
        return ""
    n_sets = max(gain.n for of in gains.values() for gain in of.values())
    headings = ("optimizer", *(f"loss at {size} / at {cases.BATCH}" for size in landscape_work.BATCHES))
    return f"""## Batch size

With rates chosen anew and as many epochs, on up to {n_sets} sets:

{table(headings, rows)}"""


def _decay(found):
    decays = [decay for decay in landscape_work.DECAYS if decay]
    gains = {decay: found.factor_gains("decay", "weight_decay", decay, 0.0) for decay in decays}
    names = [name for name in landscape_work.DECAYED if any(name in of for of in gains.values())]
    if not names:
        return ""
    n_sets = max(gain.n for of in gains.values() for gain in of.values())
    rows = [(name, *(gains[d][name].times() if name in gains[d] else "" for d in decays)) for name in names]
    headings = ("optimizer", *(f"loss with decay {decay:g} / without" for decay in decays))
    return f"""## Weight decay

With rates chosen anew, on up to {n_sets} sets. `adamw` and `lion` decouple it, `momentum` adds it to the
gradient:

{table(headings, rows)}"""


def _speed(found):
    to, cost = found.to_target, found.cost
    to = to[to["reached"] >= 0.9].sort_values("time").head(15)
    rows = [
        (name, f"{row.epochs:g}", f"{cost[name]:.2f}", f"{row.time:.2f}", f"{row.reached:.0%}")
        for name, row in zip(to.index, to.itertuples(), strict=True)
    ]
    headings = (
        "optimizer", "epochs to the target", "time of an epoch / Adam's", "time to the target",
        "fits that reach it",
    )  # fmt: skip
    seconds = found.units[(found.units["contender"] == "adam") & (found.units["stage"] == "main")]
    median = seconds["training_seconds"].median()
    after = f"{', '.join(map(str, KEPT[:-1]))} and {KEPT[-1]}"
    return f"""## Speed

The target on a data set is the loss with which Adam ends, plus a tenth of what it gains over a constant
guess. Its time is in units of all {cases.EPOCHS} epochs of Adam, {1000 * median:.0f} ms in the median;
the 15 quickest of those that reach it with 90 % of the fits:

{table(headings, rows)}

Rates were chosen for the last loss, not for speed. Losses are measured after {after} epochs.

![Test loss over the time of a fit](images/landscape-speed.png)"""


def _method(found):
    facts, used = found.about["sets"], set(found.units["table"])
    rows = [
        (name, f["task"], f["training_rows"], f["test_rows"], f["inputs"], f["outputs"])
        for name, f in facts.items()
        if name in used
    ]
    settings = "; ".join(f"`{name}`: {why}" for name, why in cases.SETTINGS.items())
    layers = ", ".join(f"{layers} ({name})" for name, layers in cases.SIZES.items())
    return f"""## What was run

Networks of ReLU with hidden layers {layers}, scikit-learn's initial
weights, float32, no L2 penalty, batches of {cases.BATCH} and {cases.EPOCHS} epochs; figures are of the middle
size at a constant rate where nothing else is said. Wrappers stand around `adam`, `adamw` or `momentum`
(SGD with 0.9); `ema` has a decay of 0.99. Other settings are the optimizers' defaults, but for {settings}.

{_grids(found)}

**Pairing.** A seed gives everybody the same training rows, initial weights and order of batches. Losses are
those of `MLPClassifier` and `MLPRegressor` bit for bit, and Adam's those of torch to 1e-14 in float64
(`python bench/bench_landscape.py --verify --data DATA`).

**Data.** Up to {cases.MOST_TRAINING:,} rows to train and {cases.MOST_TEST:,} to test. Numbers and regression
targets are standardised, missing ones filled with the median, categories one-hot, all learnt without the test
rows. The loss is the log loss, or half the squared error. MNIST is 6,000 of its images with each 2 x 2 pixels
averaged.

{table(("data set", "task", "rows to train", "to test", "inputs", "outputs"), rows)}

A loss counts as {MOST:g} times that of a constant guess at most, also where training diverged. Of the
comparisons {_lost(found)}.

{table(("what", "size", "schedule", "optimizers", "data sets", "pairs"), _coverage(found))}"""


def _grids(found):
    low, high = (10 ** (step / 2) for step in (cases.STEPS[0], cases.STEPS[-1]))
    centres = sorted((name, cases.rate_at(at)) for name, at in cases.CENTRES.items() if name in registered())
    moved = ", ".join(f"`{name}` {rate:g}" for name, rate in centres)
    extended = sum(len(record["tuning"]) > len(cases.STEPS) for record in found.records)
    return f"""**Rates.** Everybody has {len(cases.STEPS)} rates, half a decade apart, from {low:.2g} to
{math.floor(high)} times the default rate rounded to half a decade (parameter-free ones multiply their
rate by as much), tuned with {len(cases.TUNING_SEEDS)} seeds on validation rows: the least mean loss after
the last epoch. Another centre has {moved}, with their variants. Where the best rate was the first or last
of the grid, two more were tried beyond it, at most twice ({extended} of {len(found.records):,} times).
With the rate chosen, {len(cases.SEEDS)} other seeds are compared on test rows that took no part."""


def registered() -> set[str]:
    """Return the names that the table of centres names apart from variants."""
    return {one.name for one in cases.contenders() if one.kind == "optimizer"}


def _lost(found):
    """Say how many fits of the comparisons have the loss that counts at most, and whose."""
    fits = found.fits
    is_lost = fits["loss"] >= MOST * fits["table"].map(found.guess)
    whose = fits[is_lost]["contender"].value_counts().sort_index()
    names = f" ({', '.join(f'`{name}` {n}' for name, n in whose.items())})" if len(whose) else ""
    return f"{whose.sum()} of {len(fits):,} fits are such{names}"


def _coverage(found):
    names = {"main": "everything by default", "batch": "batch size", "decay": "weight decay"}
    of = found.units.groupby(["stage", "size", "schedule"], sort=False)
    counts = of.agg(optimizers=("contender", "nunique"), sets=("table", "nunique"), pairs=("table", "size"))
    return [
        (names[stage], size, schedule, *row)
        for (stage, size, schedule), row in zip(counts.index, counts.to_numpy().tolist(), strict=True)
    ]


_LIMITS = """## What it does not show

- Small networks on small tables, for 30 epochs of at most 1,000 rows. Nothing here speaks of convolutions,
  transformers, large batches or long runs; optimizers made for those are not refuted by a low place.
- One rate is chosen for each optimizer and set; momenta, epsilon and the like stay at their defaults.
- The test loss punishes confident errors. Where rows are few, an optimizer that fits slower can have the
  lower loss with as many errors.
- Intervals over data sets speak of sets like these. Those with losses near 0 weigh little, by the shift.
- Times are of one core of a machine that was busy with other work; they compare optimizers within this
  library, whose small fits take milliseconds.
- The grid is half a decade wide: an optimizer with a narrow good range can lose a few percent by that."""
