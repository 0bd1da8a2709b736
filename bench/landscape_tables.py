"""The landscape's results as tables, and what may be said of them."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import landscape_cases as cases
import numpy as np
import pandas as pd
from landscape_fits import KEPT, tuned_loss
from landscape_work import records
from scipy import stats

from fastopt.study import compare_over_sets, mean_interval

if TYPE_CHECKING:
    from pathlib import Path

    from fastopt.study import SetComparison

#: A rate is good if it keeps so much of what the best rate gains over a constant guess.
GOOD_SHARE = 0.95
CONFIDENCE = 0.95
#: Added to losses before their ratio is taken, so that those near 0 do not speak loudest.
SHIFT = 0.01
#: The most that a loss counts, also of a fit that diverged, in losses of a constant guess.
MOST = 10.0


def shifted(above: pd.Series, below: pd.Series) -> pd.Series:
    """Return ratios of losses, to both of which `SHIFT` has been added."""
    return (above + SHIFT) / (below + SHIFT)


@dataclass(frozen=True)
class Gain:
    """A mean over data sets of a relative change, with its interval.

    Attributes
    ----------
    ratio, low, high : float
        Geometric mean of the ratios of losses, and the bounds of its interval over the sets.
    p_value : float
        Of Wilcoxon's signed-rank test over the sets.
    n : int
        Sets.
    wins : int
        Sets on which the ratio is below 1.
    """

    ratio: float
    low: float
    high: float
    p_value: float
    n: int
    wins: int

    @classmethod
    def of(cls, ratios: pd.Series) -> Gain:
        """Return the gain of ratios by data set."""
        logs = np.log(ratios.dropna())
        n, mean = len(logs), float(logs.mean())
        half = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * logs.std(ddof=1) / math.sqrt(n))
        p_value = float(stats.wilcoxon(logs).pvalue) if logs.any() else 1.0
        return cls(
            math.exp(mean), math.exp(mean - half), math.exp(mean + half), p_value, n, int((logs < 0).sum())
        )

    @property
    def is_noise(self) -> bool:
        """Whether the interval holds no change at all."""
        return self.low <= 1 <= self.high

    def times(self, *, bounds: bool = True) -> str:
        """Return the ratio with its interval as text, bold where that leaves out 1."""
        ratio = f"{self.ratio:.2f}"
        ratio = ratio if self.is_noise else f"**{ratio}**"
        return f"{ratio} ({self.low:.2f} to {self.high:.2f})" if bounds else ratio

    def percent(self) -> str:
        """Return the change in percent with its interval, as text."""
        change, low, high = (100 * (value - 1) for value in (self.ratio, self.low, self.high))
        return f"{change:+.1f} % ({low:+.1f} to {high:+.1f})"


class Landscape:
    """All results.

    Parameters
    ----------
    path : Path
        Of the compressed lines; beside it lies ``landscape.json``, which describes data and machine.
    """

    CONFIDENCE = CONFIDENCE

    def __init__(self, path: Path) -> None:
        self.about = json.loads(path.with_name("landscape.json").read_text())
        self.records = records(path)
        for record in self.records:
            record["weight_decay"] = -1.0 if record["weight_decay"] is None else record["weight_decay"]

    @cached_property
    def units(self) -> pd.DataFrame:
        """One row for each unit: key, rate chosen, seconds."""
        names = ("stage", "table", "size", "contender", "schedule", "batch", "weight_decay", "chosen")
        return pd.DataFrame(
            [{name: r[name] for name in (*names, "training_seconds", "seconds")} for r in self.records]
        )

    @cached_property
    def tuning(self) -> pd.DataFrame:
        """One row for each rate that was tried: its key, the rate, and its mean validation loss."""
        return pd.DataFrame([
            {**self._key(r), "lr": row[0], "loss": tuned_loss(row)}
            for r in self.records
            for row in r["tuning"]
        ])  # fmt: skip

    @cached_property
    def fits(self) -> pd.DataFrame:
        """One row for each fit of the comparison: its key, seed, final loss, score, a column per epoch."""
        return pd.DataFrame([
            {
                **self._key(r), "seed": fit["seed"], "score": fit["score"], "train": fit["train"],
                "loss": self._finite(r["table"], fit["curve"][-1]),
                **dict(zip(KEPT, fit["curve"], strict=True)),
            }
            for r in self.records
            for fit in r["comparison"]
        ])  # fmt: skip

    def _key(self, record):
        return {
            name: record[name]
            for name in ("stage", "table", "size", "contender", "schedule", "batch", "weight_decay")
        }

    def _finite(self, table, loss):
        """Return a loss, or the most that one counts."""
        most = MOST * self.guess[table]
        return most if loss is None else min(loss, most)

    @cached_property
    def guess(self) -> dict[str, float]:
        """The loss of a constant guess on the test rows of each data set."""
        return {name: facts["guess"] for name, facts in self.about["sets"].items()}

    # -- selections ------------------------------------------------------------------------------------

    def select(self, frame: pd.DataFrame, size: str = "middle", schedule: str = "constant") -> pd.DataFrame:
        """Return the rows of the main stage of one size and schedule."""
        of = (frame["stage"] == "main") & (frame["size"] == size) & (frame["schedule"] == schedule)
        return frame[of]

    def scores(self, size: str = "middle", schedule: str = "constant", value: str = "loss") -> pd.DataFrame:
        """Return means over seeds by data set (rows) and contender (columns), where all of both are there."""
        rows = self.select(self.fits, size, schedule)
        table = rows.pivot_table(
            index="table", columns="contender", values=value, aggfunc="mean", dropna=False
        )
        order = [name for name in cases.SETS if name in table.index]
        table = table.loc[order]
        complete = table.columns[table.notna().mean() > 0.5]
        return table[complete].dropna()

    @cached_property
    def main(self) -> SetComparison:
        """The comparison of everybody at the middle size and a constant rate."""
        return compare_over_sets(self.scores(), higher_is_better=False)

    @cached_property
    def firsts(self) -> pd.Series:
        """On how many sets each contender has the least loss."""
        return (self.main.ranks == self.main.ranks.min(axis=1).to_numpy()[:, None]).sum()

    @cached_property
    def level(self) -> pd.DataFrame:
        """Whether a contender's loss is within noise of the best one's on a data set: paired over seeds."""
        rows = self.select(self.fits)
        found = {}
        for table, best in self.main.scores.idxmin(axis=1).items():
            by_seed = rows[rows["table"] == table].pivot(index="seed", columns="contender", values="loss")
            differences = by_seed[self.main.scores.columns].sub(by_seed[best], axis=0)
            error = differences.std(ddof=1) / math.sqrt(len(by_seed))
            bound = stats.t.ppf((1 + CONFIDENCE) / 2, len(by_seed) - 1) * error
            found[table] = differences.mean() - bound <= 0
        return pd.DataFrame(found).T

    def against(self, base: str = "adam", **selection: str) -> dict[str, Gain]:
        """Return the `Gain` of each contender over another."""
        scores = self.scores(**selection)
        others = scores.drop(columns=base)
        return {name: Gain.of(shifted(others[name], scores[base])) for name in others}

    def error_differences(self) -> dict[str, str]:
        """Return the difference of each contender's error to Adam's on classification sets, as text."""
        errors = 100 * self.scores(value="score")
        errors = errors.loc[[n for n in errors.index if self.about["sets"][n]["task"] == "classification"]]
        found = {}
        for name in errors:
            interval = mean_interval(errors[name] - errors["adam"], confidence=CONFIDENCE)
            text = f"{interval.mean:+.2f} ± {interval.half_width:.2f}"
            found[name] = f"**{text}**" if interval.low > 0 or interval.high < 0 else text
        return found

    # -- learning rates --------------------------------------------------------------------------------

    @cached_property
    def good(self) -> pd.DataFrame:
        """One row for each rate tried in the main stage at a constant rate: whether it is good.

        Columns beside the key: ``share``, how much of the best rate's gain over a constant guess it keeps,
        and ``excess``, its loss relative to the best rate's.
        """
        rows = self.tuning
        rows = rows[(rows["stage"] == "main") & (rows["schedule"] == "constant")].copy()
        best = rows.groupby(["table", "size", "contender"])["loss"].transform("min")
        guess = rows["table"].map({n: facts["guess_validation"] for n, facts in self.about["sets"].items()})
        with np.errstate(invalid="ignore"):
            rows["share"] = (guess - rows["loss"]) / (guess - best)
            rows["excess"] = rows["loss"] / best - 1
        rows["is_best"] = rows["loss"] == best
        # Where even the best rate gains nothing, none is good.
        rows["is_good"] = (rows["share"] >= GOOD_SHARE) & (best < guess)
        return rows

    @cached_property
    def rates(self) -> pd.DataFrame:
        """One row for each contender, at the middle size.

        Columns: ``decades``, within which rates are good, the mean over data sets with the bounds ``low`` and
        ``high`` of its interval; ``usual``, the rate that is most often best; ``off``, the median factor of
        the shifted loss at a rate ten times too large or small, the better of the two.
        """
        rows = self.good[self.good["size"] == "middle"]
        return pd.DataFrame({name: self._rates_of(own) for name, own in rows.groupby("contender")}).T

    def _rates_of(self, rows):
        decades, best, off = [], [], []
        for _, own in rows.groupby("table"):
            own = own.sort_values("lr")
            place = int(own["loss"].argmin())
            best.append(own["lr"].iloc[place])
            # A rate stands for the half decade around it.
            decades.append(own["is_good"].sum() / 2)
            around = [i for i in (place - 2, place + 2) if 0 <= i < len(own)]
            losses = own["loss"].to_numpy()
            off.append((min(losses[i] for i in around) + SHIFT) / (losses[place] + SHIFT))
        mean, n = float(np.mean(decades)), len(decades)
        half = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * np.std(decades, ddof=1) / math.sqrt(n))
        usual = pd.Series(best).mode().median()
        return {
            "decades": mean, "low": mean - half, "high": mean + half, "off": float(np.median(off)),
            "usual": min(best, key=lambda rate: abs(math.log(rate / usual))),
        }  # fmt: skip

    def cost_of_rate(self, contender: str, rate: float) -> Gain:
        """Return what a fixed rate costs: its tuning loss over the best rate's, by data set."""
        rows = self.good[(self.good["size"] == "middle") & (self.good["contender"] == contender)]
        at = rows[np.isclose(rows["lr"], rate)].set_index("table")["loss"]
        most = MOST * pd.Series(self.guess).reindex(at.index)
        best = rows.groupby("table")["loss"].min()
        return Gain.of(shifted(at.clip(upper=most), best.reindex(at.index)))

    # -- one factor at a time --------------------------------------------------------------------------

    def schedule_gains(self) -> dict[str, Gain]:
        """Return what a cosine schedule changes, by contender: loss with it over loss without."""
        with_it, without = self.scores(schedule="cosine"), self.scores()
        return self._ratios(with_it, without)

    def size_scores(self) -> dict[str, pd.DataFrame]:
        """Return the scores of each size that was run."""
        sizes = [size for size in cases.SIZES if len(self.select(self.fits, size))]
        return {size: self.scores(size=size) for size in sizes}

    def factor_gains(self, stage: str, factor: str, value: float, base: float | None) -> dict[str, Gain]:
        """Return what another batch size or weight decay changes, by contender.

        Parameters
        ----------
        stage, factor : str
            Such as ``'batch'`` and ``'batch'``.
        value : float
        base : float or None
            The value that it is compared with; None is the main stage's.
        """

        def table(rows):
            return rows.pivot_table(index="table", columns="contender", values="loss", aggfunc="mean")

        rows = self.fits[self.fits["stage"] == stage]
        other = rows[rows[factor] == base] if base is not None else self.select(self.fits)
        return self._ratios(table(rows[rows[factor] == value]), table(other))

    def _ratios(self, above, below):
        """Return the gain of each contender for which there are 5 sets or more."""
        found = {}
        for name in above.columns.intersection(below.columns):
            ratios = shifted(above[name], below[name]).dropna()
            if len(ratios) >= 5:
                found[name] = Gain.of(ratios)
        return found

    # -- speed -----------------------------------------------------------------------------------------

    @cached_property
    def cost(self) -> pd.Series:
        """Processor time of a fit relative to Adam's, the median over data sets."""
        rows = self.select(self.units).pivot(index="table", columns="contender", values="training_seconds")
        return rows.div(rows["adam"], axis=0).median()

    @cached_property
    def to_target(self) -> pd.DataFrame:
        """Epochs and time to the loss that Adam ends with plus a tenth of its gain, by contender.

        ``epochs`` is the median over sets of medians over seeds, infinite where not reached; ``time`` the
        same in units of Adam's whole fit; ``reached`` the share of fits that got there.
        """
        rows = self.select(self.fits)
        adam = rows[rows["contender"] == "adam"].groupby("table")["loss"].mean()
        targets = {name: loss + 0.1 * (self.guess[name] - loss) for name, loss in adam.items()}
        curves = rows[list(KEPT)].to_numpy(float)
        target = rows["table"].map(targets).to_numpy()
        below = curves <= target[:, None]
        epochs = np.where(below.any(axis=1), np.array(KEPT)[below.argmax(axis=1)], np.inf)
        frame = rows.assign(epochs=epochs)[["table", "contender", "epochs"]]
        by_set = frame.groupby(["contender", "table"])["epochs"].median()
        relative = by_set / cases.EPOCHS * self.cost.reindex(by_set.index.get_level_values(0)).to_numpy()
        return pd.DataFrame({
            "epochs": by_set.groupby("contender").median(),
            "time": relative.groupby("contender").median(),
            "reached": frame.assign(done=np.isfinite(epochs)).groupby("contender")["done"].mean(),
        })  # fmt: skip
