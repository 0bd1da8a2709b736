"""The landscape in sentences that a student can use, each with its figure and its interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

import landscape_cases as cases
import landscape_work
import numpy as np
from landscape_tables import Gain, shifted
from scipy import stats

from fastopt.study import compare_over_sets

if TYPE_CHECKING:
    from landscape_tables import Landscape


def all_of(found: Landscape) -> list[str]:
    """Return all sentences that the results have figures for."""
    return [sentence for make in _SENTENCES for sentence in make(found)]


def _first(found):
    ranks = found.main.mean_ranks
    best, n_sets = ranks.index[0], len(found.main.ranks)
    gain, most = found.against().get(best), found.firsts.max()
    names = ", ".join(f"`{name}`" for name in found.firsts.index[found.firsts == most])
    against = f", its loss {gain.percent()} against Adam's" if gain else ""
    return [
        f"**There is no best optimizer.** `{best}` has the best mean rank, {ranks.iloc[0]:.1f} of "
        f"{len(ranks)}{against}; but the most data sets on which anybody is first are {most} of {n_sets} "
        f"({names})."
    ]


def _noise(found):
    level = found.level.sum(axis=1)
    low, high = np.percentile(level, [25, 75])
    adam = int(found.level["adam"].sum())
    return [
        f"**Much of the order is noise.** On the median data set {level.median():.0f} of "
        f"{found.level.shape[1]} optimizers (quartiles {low:.0f} and {high:.0f}) are within noise of the "
        f"first one, by {len(cases.SEEDS)} paired seeds; Adam is on {adam} of {len(level)}."
    ]


def _rate_or_optimizer(found):
    scores = found.scores()
    to_median = Gain.of(shifted(scores.median(axis=1), scores.min(axis=1)))
    off = 100 * (found.rates.loc[list(scores.columns), "off"].astype(float) - 1)
    low, high = off.quantile([0.25, 0.75])
    return [
        f"**The rate matters as much as the optimizer.** A rate ten times off, the better way, costs "
        f"{off.median():.0f} % of the loss with the median optimizer (quartiles {low:.0f} and {high:.0f} %; "
        f"Adam {off['adam']:.0f} %); the median optimizer in place of a set's best costs "
        f"{to_median.percent()}, both at their best rates."
    ]


def _default(found):
    adam, sgd = found.cost_of_rate("adam", 0.001), found.cost_of_rate("sgd", 0.001)
    rows = found.good[(found.good["size"] == "middle") & (found.good["contender"] == "adam")]
    at = rows[np.isclose(rows["lr"], 0.001)]
    return [
        f"**Defaults.** Adam at 0.001 costs {adam.percent()} against its best rate, and is good on "
        f"{int(at['is_good'].sum())} of {len(at)} sets; gradient descent at torch's 0.001 costs "
        f"{sgd.percent()}."
    ]


def _plain(found):
    gains = found.against()
    parts = [f"`{name}` {gains[name].percent()}" for name in ("momentum", "nesterov", "sgd") if name in gains]
    return [f"**Momentum, tuned, against Adam, tuned**, by test loss: {', '.join(parts)}."]


def _kinds(found):
    scores, tasks = found.scores(), {name: facts["task"] for name, facts in found.about["sets"].items()}
    parts = []
    for task in ("classification", "regression"):
        own = scores.loc[[name for name in scores.index if tasks[name] == task]]
        ranks = own.rank(axis=1).mean().sort_values()
        shown = ", ".join(f"`{name}` {rank:.1f}" for name, rank in ranks.head(4).items())
        first = ranks.index[0]
        gain = Gain.of(shifted(own[first], own["adam"])).percent()
        ranked = f"{shown}, Adam {ranks['adam']:.1f}"
        parts.append(f"on {len(own)} sets of {task} {ranked} (loss of `{first}` against Adam's {gain})")
    return [f"**The task matters.** Best mean ranks {'; '.join(parts)}."]


def _matrices(found):
    gains = found.against()
    parts = [
        f"`{name}` {gains[name].percent()} in {found.cost[name]:.0f} times its time"
        for name in ("muon", "normuon", "soap", "shampoo", "lbfgs")
        if name in gains
    ]
    return [f"**Matrices and curvature**, against Adam: {'; '.join(parts)}."] if parts else []


def _signs(found):
    gains = found.against()
    parts = [f"`{name}` {gains[name].percent()}" for name in ("lion", "signum", "signsgd") if name in gains]
    return [f"**Steps by signs**, at a constant rate, against Adam: {', '.join(parts)}."]


def _eight_bits(found):
    scores = found.scores()
    parts = []
    for name in ("adam", "momentum", "lion"):
        if f"{name}, 8 bits" in scores:
            gain = Gain.of(shifted(scores[f"{name}, 8 bits"], scores[name]))
            parts.append(f"`{name}` {gain.percent()}")
    return [f"**State in 8 bits** changes the loss by: {', '.join(parts)}."] if parts else []


def _against_base(found, wrapper):
    scores, parts = found.scores(), []
    for base in ("adam", "momentum"):
        name = f"{wrapper}({base})"
        if name in scores:
            gain = Gain.of(shifted(scores[name], scores[base]))
            parts.append(f"{gain.percent()} around `{base}`, better on {gain.wins} of {gain.n}")
    return parts


def _sam(found):
    parts = _against_base(found, "sam")
    cost = found.cost["sam(adam)"]
    change = f"**SAM** changes the loss by {'; '.join(parts)}"
    return [f"{change}. For as many epochs it takes {cost:.1f} times as long as Adam."]


def _averages(found):
    ema, lookahead = "; ".join(_against_base(found, "ema")), "; ".join(_against_base(found, "lookahead"))
    return [f"**Averages of weights.** An exponential average: {ema}. Lookahead: {lookahead}."]


def _schedule(found):
    gains = found.schedule_gains()
    if not gains:
        return []
    median = 100 * (np.median([gain.ratio for gain in gains.values()]) - 1)
    certain = sorted(name for name, gain in gains.items() if gain.high < 1)
    names = f" ({', '.join(f'`{name}`' for name in certain)})" if certain else ""
    adam = f"; Adam's by {gains['adam'].percent()}" if "adam" in gains else ""
    return [
        f"**A cosine schedule** changes the loss by {median:+.1f} % in the median of {len(gains)} "
        f"optimizers{adam}. The interval is below 0 for {len(certain)}{names}."
    ]


def _batch(found):
    parts = []
    for size in landscape_work.BATCHES:
        gains = found.factor_gains("batch", "batch", size, None)
        if "adam" in gains:
            median = 100 * (np.median([gain.ratio for gain in gains.values()]) - 1)
            parts.append(
                f"{size} rows {median:+.1f} % in the median of {len(gains)} optimizers, Adam "
                f"{gains['adam'].percent()}"
            )
    opening = f"**Batches**, against those of {cases.BATCH} with as many epochs and the rate chosen anew"
    return [f"{opening}: {'; '.join(parts)}."] if parts else []


def _decay(found):
    gains = found.factor_gains("decay", "weight_decay", 0.1, 0.0)
    parts = [f"`{name}` {gain.percent()}" for name, gain in gains.items()]
    return [f"**Weight decay** of 0.1 changes the loss by: {', '.join(parts)}."] if parts else []


def _free(found):
    parts = []
    for name in ("prodigy", "dog", "dowg", "dadaptadam", "cocob", "mechanic", "momo"):
        rows = found.good[found.good["contender"] == name]
        if np.isclose(rows["lr"], 1.0).any():
            parts.append(f"`{name}` {found.cost_of_rate(name, 1.0).percent()}")
    opening = "**Parameter-free methods have a rate, too.** At their own 1.0, against their best"
    return [f"{opening}: {', '.join(parts)}."]


_SENTENCES = (
    _first, _noise, _rate_or_optimizer, _kinds, _default, _plain, _matrices, _signs, _eight_bits,
    _sam, _averages, _schedule, _batch, _decay, _free,
)  # fmt: skip


def size_rows(found: Landscape) -> list[tuple[object, ...]]:
    """Return rows on the other sizes: what ran, and how the order compares with the middle size's."""
    middle, rows = found.scores(), []
    for size, layers in cases.SIZES.items():
        if size == "middle":
            continue
        other = found.scores(size=size)
        names, tables = other.columns.intersection(middle.columns), other.index.intersection(middle.index)
        if len(names) < 5 or len(tables) < 5:
            continue
        ranks = [
            compare_over_sets(scores.loc[tables, names], higher_is_better=False).mean_ranks
            for scores in (middle, other)
        ]
        tau = stats.kendalltau(ranks[0].reindex(names), ranks[1].reindex(names)).statistic
        rows.append((layers, len(tables), len(names), f"{tau:.2f}", ranks[1].index[0]))
    return rows
