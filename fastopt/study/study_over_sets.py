"""The study over several data sets: one study for each, and what holds over all of them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from numbers import Real
from typing import TYPE_CHECKING, Any, TypeVar

from sklearn.base import BaseEstimator, clone
from sklearn.utils import Bunch

from .._extras import require
from .._parameters import suggestion
from . import sets_verdict
from .fitted import FittedLater
from .notebook_view import NotebookView
from .optimizer_study import OptimizerStudy
from .progress import PartOfProgress, shown
from .set_comparison import SetComparison, compare_over_sets
from .training_run import scorer_name

if TYPE_CHECKING:
    import pandas as pd

_Self = TypeVar("_Self", bound="StudyOverSets")
_ROWS = ("X", "y", "X_val", "y_val", "groups", "sample_weight", "sample_weight_val")


class StudyOverSets(FittedLater, NotebookView, BaseEstimator):
    """Compare optimizers on several data sets.

    Each set has an `OptimizerStudy` of its own, tuning included. The mean scores of the sets are then
    compared, paired by set: mean ranks, Friedman's test, and tests of pairs, by `compare_over_sets`.

    Parameters
    ----------
    study : OptimizerStudy
        What is done on each set. It is cloned, not changed. With a `store`, all sets keep their fits in that
        folder, and a study that was stopped continues from it.
    rope : float, default=None
        Scores that differ by less are as good as equal, such as 0.01 of an accuracy. With it, the
        probabilities of Bayes' signed-rank test are added to ``comparison_.pairwise``.

    Attributes
    ----------
    studies_ : dict of str to OptimizerStudy
        The fitted study of each set.
    scores_ : DataFrame of shape (n_sets, n_optimizers)
        Mean score over the comparison seeds; NaN where all diverged, which ranks last. Sets whose study was
        interrupted are left out, and so are yardsticks.
    comparison_ : SetComparison or None
        Ranks and tests over sets; None with less than two whole sets or optimizers.
    summary_ : DataFrame
        One row per optimizer, best mean rank first: mean rank, number of sets on which it is first, lowest
        and highest learning rate that it chose, fits of the comparison that diverged.
    results_, curves_ : DataFrame
        Those of all studies, with a column ``dataset``.
    verdict_, notes_ : list of str
        What the numbers say, in words; and what to be careful about.
    interrupted_ : bool
        Whether Ctrl-C ended it early. What had been measured is kept.
    n_read_ : int
        Fits whose results came from the store.
    seconds_ : float

    See Also
    --------
    compare_over_sets : The same comparison of a table of scores.
    fastopt.display.CriticalDifferenceDisplay : Its picture.

    Examples
    --------
    >>> from sklearn.datasets import load_iris, load_wine
    >>> from sklearn.neural_network import MLPClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from fastopt.study import OptimizerStudy, StudyOverSets
    >>> study = OptimizerStudy(
    ...     make_pipeline(StandardScaler(), MLPClassifier((8,))),
    ...     {"momentum": {"solver": "sgd"}, "adam": {"solver": "adam"}},
    ...     lr=[0.003, 0.03], n_seeds=2, n_tuning_seeds=1, max_epochs=3,
    ... )
    >>> over = StudyOverSets(study).fit({"iris": load_iris(), "wine": load_wine(return_X_y=True)})
    >>> over.scores_.shape
    (2, 2)
    >>> sorted(over.summary_["optimizer"])
    ['adam', 'momentum']
    """

    studies_: dict[str, OptimizerStudy]
    scores_: pd.DataFrame
    comparison_: SetComparison | None
    summary_: pd.DataFrame
    results_: pd.DataFrame
    curves_: pd.DataFrame
    verdict_: list[str]
    notes_: list[str]
    interrupted_: bool
    n_read_: int
    seconds_: float

    def __init__(self, study: OptimizerStudy | Any, *, rope: float | None = None):
        self.study = study
        self.rope = rope

    def fit(self: _Self, sets: Mapping[str, Any]) -> _Self:
        """Run the study on each set, one after another.

        Parameters
        ----------
        sets : mapping from name to data
            A tuple ``(X, y)`` or ``(X, y, X_val, y_val)``, what ``load_iris()`` and its like return, or a
            mapping from arguments of `OptimizerStudy.fit` to values. Such a mapping may also hold parameters
            of the study that are this set's own, such as ``estimator`` (another preprocessing) or ``cv``.

        Returns
        -------
        self : StudyOverSets
            Also after Ctrl-C, with `interrupted_` set and a warning that says how to continue.

        Raises
        ------
        ValueError, TypeError
            If a set or a parameter cannot be used; nothing has been trained then.
        StoreError
            If a result cannot be written. What was measured is kept.
        """
        start = time.perf_counter()
        parts = self._parts(sets)
        self.studies_, self.interrupted_ = {}, False
        with shown(self.study.progress) as progress:
            progress.expect(sum(n_fits for _, _, n_fits in parts.values()))
            try:
                for name, (study, rows, _) in parts.items():
                    self._run(name, study, rows, progress)
                    if self.interrupted_:
                        break
            except KeyboardInterrupt:  # between two studies
                self.interrupted_ = True
            finally:
                self.seconds_ = time.perf_counter() - start
                self._tabulate()
        return self

    def plan(self, sets: Mapping[str, Any]) -> int:
        """Check everything and return the number of fits that `fit` would make.

        Raises
        ------
        ValueError, TypeError
            What `fit` would raise for these sets and parameters, before anything is trained.
        """
        return sum(n_fits for _, _, n_fits in self._parts(sets).values())

    def _parts(self, sets):
        """Return ``{name: (study, arguments of its fit, number of fits)}``, all checked."""
        if not isinstance(self.study, OptimizerStudy):
            raise TypeError(f"study={self.study!r} is not an OptimizerStudy.")
        if self.rope is not None and not (isinstance(self.rope, Real) and self.rope >= 0):
            raise ValueError(f"rope={self.rope!r} is not a number of at least 0, or None.")
        if not isinstance(sets, Mapping):
            raise TypeError(
                f"sets is a {type(sets).__name__}, and a mapping from names of data sets to (X, y) is wanted."
            )
        if len(sets) < 2:
            raise ValueError(f"sets has {len(sets)} data sets: a comparison over sets needs two or more.")
        parts, labels = {}, {}
        for name, data in sets.items():
            rows, own = _rows_and_parameters(name, data)
            study = clone(self.study).set_params(**own)
            with _of_set(name):
                experiment = study._checked(dict.fromkeys(_ROWS) | rows)
            parts[name] = study, rows, experiment.count()
            labels[name] = [c.label for c in experiment.contenders if not c.is_yardstick]
        first = next(iter(labels))
        for name, found in labels.items():
            if set(found) != set(labels[first]):
                raise ValueError(
                    f"data set {name!r} compares {', '.join(found)}, and {first!r} compares "
                    f"{', '.join(labels[first])}: the optimizers have to be the same."
                )
        return parts

    def _run(self, name, study, rows, progress):
        study.progress = PartOfProgress(progress, name)
        try:
            with _of_set(name):
                study.fit(**rows)
        finally:
            study.progress = self.study.progress
            if hasattr(study, "results_"):
                self.studies_[name] = study
                self.interrupted_ = study.interrupted_

    def _tabulate(self):
        """Set the fitted attributes from the studies that were made."""
        pandas = require("pandas", "a study")
        whole = {
            name: study
            for name, study in self.studies_.items()
            if not study.interrupted_ and not study.summary_.empty
        }
        self.scores_ = pandas.DataFrame({name: _scores(study) for name, study in whole.items()}).T
        self.scores_.index.name = "dataset"
        self.comparison_ = None
        if min(self.scores_.shape) > 1:
            options = {"confidence": self.study.confidence, "rope": self.rope, "missing": "last"}
            self.comparison_ = compare_over_sets(self.scores_, **options)
        self.results_ = _joined(self.studies_, "results_")
        self.curves_ = _joined(self.studies_, "curves_")
        self.n_read_ = sum(study.n_read_ for study in self.studies_.values())
        self.summary_ = _summary(self.comparison_, whole)
        self.verdict_, self.notes_ = sets_verdict.verdict(self), sets_verdict.notes(self)


@contextmanager
def _of_set(name: str) -> Iterator[None]:
    """Have errors name the data set that they are about."""
    try:
        yield
    except (ValueError, TypeError) as problem:
        kind = ValueError if isinstance(problem, ValueError) else TypeError
        raise kind(f"data set {name!r}: {problem}") from problem


def _rows_and_parameters(name, data):
    """Return the arguments of `OptimizerStudy.fit` for a set, and the parameters of its study."""
    if not isinstance(name, str | int):
        raise TypeError(f"{name!r} is no name of a data set: give a text.")
    if isinstance(data, Bunch):
        data = {"X": data["data"], "y": data["target"]}
    if isinstance(data, Mapping):
        rows = {key: value for key, value in data.items() if key in _ROWS}
        own = {key: value for key, value in data.items() if key not in _ROWS}
        allowed = [*_ROWS, *OptimizerStudy._get_param_names()]
        for key in own:
            if key not in allowed:
                raise ValueError(
                    f"data set {name!r}: {key!r} is no argument of OptimizerStudy.fit and no parameter of "
                    f"OptimizerStudy.{suggestion(key, allowed)}"
                )
    elif isinstance(data, tuple) and len(data) in (2, 4):
        rows, own = dict(zip(_ROWS, data, strict=False)), {}
    else:
        what = f"{len(data)} items" if isinstance(data, tuple | list) else f"a {type(data).__name__}"
        raise TypeError(
            f"data set {name!r} is {what}: give (X, y), (X, y, X_val, y_val) or a mapping of these names."
        )
    if "X" not in rows or "y" not in rows:
        raise ValueError(f"data set {name!r} has no {'X' if 'X' not in rows else 'y'}.")
    return rows, own


def _scores(study):
    """Return the mean score of each optimizer of a fitted study."""
    means = study.summary_.set_index("optimizer")[scorer_name(study.scoring_)]
    return means.reindex([label for label in study.labels_ if label not in study.yardsticks_])


def _joined(studies: Mapping[str, Any], table: str) -> Any:
    pandas = require("pandas", "a study")
    frames: Iterable[Any] = [getattr(study, table).assign(dataset=name) for name, study in studies.items()]
    frames = [frame for frame in frames if not frame.empty]
    if not frames:
        return pandas.DataFrame(columns=["dataset"])
    joined = pandas.concat(frames, ignore_index=True)
    return joined[["dataset", *(column for column in joined if column != "dataset")]]


def _summary(comparison, studies):
    pandas = require("pandas", "a study")
    if comparison is None:
        return pandas.DataFrame(columns=["optimizer", "mean_rank"])
    of_sets = pandas.concat([study.summary_.set_index("optimizer") for study in studies.values()])
    of_sets = of_sets[of_sets.index.isin(comparison.mean_ranks.index)]  # without yardsticks
    rates = of_sets["lr"].groupby(level=0)
    table = pandas.DataFrame(
        {
            "mean_rank": comparison.mean_ranks,
            "n_first": comparison.ranks.eq(comparison.ranks.min(axis=1), axis=0).sum(),
            "lr_lowest": rates.min(),
            "lr_highest": rates.max(),
            "n_diverged": of_sets["n_diverged"].groupby(level=0).sum(),
        }
    )
    return table.loc[comparison.mean_ranks.index].rename_axis("optimizer").reset_index()
