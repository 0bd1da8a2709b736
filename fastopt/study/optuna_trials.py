"""The fits of a study as trials of Optuna, for its plots, its dashboard and a search that goes on."""

from __future__ import annotations

import math
import warnings
from typing import Any

from sklearn.exceptions import NotFittedError

from .._extras import require
from .training_run import scorer_name

#: Which fits are taken where the caller does not say: the first phase of these that there is.
PHASES = ("tuning", "sweep", "comparison")


class OptunaTrials:
    """Gives a study `to_optuna`."""

    scoring_: Any
    _experiment: Any
    _fits: list[Any]

    def to_optuna(
        self,
        label: str | None = None,
        *,
        phase: str | None = None,
        study_name: str | None = None,
        storage: Any = None,
    ) -> Any:
        """Return the fits as a study of Optuna, with a trial for each.

        Its plots and its dashboard then show what has been measured; and with `label`, its search can go on
        from there: ``study.to_optuna("Adam").optimize(study.objective(X, y, "Adam"), n_trials=20)``.

        Parameters
        ----------
        label : str, optional
            Only the fits of this optimizer; otherwise of all, told apart by the parameter ``optimizer``.
        phase : {'tuning', 'sweep', 'comparison'}, optional
            Which fits; by default those that chose, or if nothing was tuned, those of the sweep or the
            comparison.
        study_name : str, optional
            As in `optuna.create_study`.
        storage : str or optuna.storages.BaseStorage, optional
            As in `optuna.create_study`: ``"sqlite:///study.db"`` for its dashboard.

        Returns
        -------
        optuna.Study
            To maximize the score. Parameters ``optimizer``, ``lr`` and ``batch_size``, the last where there
            are several; intermediate values are the scores on the validation rows, by epochs, as far as they
            were measured: of tuning, the last. User attributes ``seed``, ``phase``, ``n_epochs``,
            ``seconds``, ``diverged``, ``error``. Fits that diverged and those of the lower rungs of
            ``search='halving'`` are pruned trials.

        Raises
        ------
        NotFittedError
            If the study has not run.
        ValueError
            If there are no such fits.
        MissingExtraError
            If Optuna is not installed (extra ``optuna``).

        Examples
        --------
        >>> import optuna
        >>> from sklearn.datasets import load_iris
        >>> from fastopt import MLPClassifier
        >>> from fastopt.study import OptimizerStudy
        >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
        >>> study = OptimizerStudy(
        ...     MLPClassifier((8,)), ["adam", "lion"], lr=[0.003, 0.03], n_seeds=2, max_epochs=3
        ... )
        >>> trials = study.fit(*load_iris(return_X_y=True)).to_optuna().trials_dataframe()
        >>> trials.groupby("params_optimizer").size().to_dict()  # 2 rates on 3 seeds
        {'Adam': 6, 'Lion': 6}
        """
        if not hasattr(self, "results_"):
            raise NotFittedError(f"to_optuna is for a {type(self).__name__} that has run: call fit or sweep")
        optuna = require("optuna", "to_optuna", extra="optuna")
        experiment = self._experiment
        fits = _chosen(self._fits, label, phase)
        contenders = [c for c in experiment.contenders if label in (None, c.label)]
        distributions = _distributions(optuna, contenders, fits, with_label=label is None)
        study = optuna.create_study(direction="maximize", study_name=study_name, storage=storage)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names([scorer_name(self.scoring_)])
        study.add_trials([_trial(optuna, *fit, distributions, experiment.budget) for fit in fits])
        return study


def _chosen(history, label, phase):
    """Return the fits of one phase, and of one contender if it is named."""
    if phase not in (None, *PHASES):
        raise ValueError(f"phase={phase!r} is none of {', '.join(map(repr, PHASES))}")
    known = sorted({task.config.label for _, task, _ in history})
    if label is not None and label not in known:
        raise ValueError(f"label={label!r} has no fits in this study. Labels: {', '.join(map(repr, known))}.")
    fits = [fit for fit in history if label in (None, fit[1].config.label)]
    there = [name for name in PHASES if any(fit[0] == name for fit in fits)]
    if phase is None and there:
        phase = there[0]
    found = [fit for fit in fits if fit[0] == phase]
    if not found:
        of_whom = "" if label is None else f" of {label!r}"
        raise ValueError(f"there are no fits{of_whom} of the phase {phase!r}, only of {there}")
    return found


def _distributions(optuna, contenders, fits, *, with_label):
    """Return ``{parameter: distribution}``: rates between the ends of all grids, as `search.optuna` draws."""
    tried = [task.config for _, task, _ in fits]
    configs = [config for c in contenders for config in c.configs] + tried
    rates = [config.lr for config in configs if config.lr is not None]
    sizes = sorted({config.batch_size for config in configs if config.batch_size is not None})
    distributions = optuna.distributions
    found = {}
    if with_label:
        labels = list(dict.fromkeys(config.label for config in tried))
        found["optimizer"] = distributions.CategoricalDistribution(labels)
    if rates:
        found["lr"] = distributions.FloatDistribution(min(rates), max(rates), log=True)
    if len(sizes) > 1:
        found["batch_size"] = distributions.CategoricalDistribution(sizes)
    return found


def _trial(optuna, phase, task, record, distributions, full):
    """Return the trial of a fit: pruned if it diverged, or had a part of the budget only."""
    config, scores = task.config, record["score"]
    values = {"optimizer": config.label, "lr": config.lr, "batch_size": config.batch_size}
    params = {name: values[name] for name in distributions if values[name] is not None}
    curve = {step: score for step, score in enumerate(scores, 1) if math.isfinite(score)}
    ended_well = not record["diverged"] and bool(scores) and math.isfinite(scores[-1])
    is_complete = ended_well and task.budget == full
    attributes = {
        "seed": task.seed,
        "phase": phase,
        "n_epochs": len(scores),
        "seconds": float(sum(record["seconds"])),
        "diverged": bool(record["diverged"]),
        "error": record["error"],
    }
    states = optuna.trial.TrialState
    return optuna.trial.create_trial(
        state=states.COMPLETE if is_complete else states.PRUNED,
        value=float(scores[-1]) if ended_well else None,
        params=params,
        distributions={name: distributions[name] for name in params},
        user_attrs=attributes,
        intermediate_values=curve,
    )
