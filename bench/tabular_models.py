"""The models of `bench_tabular`: each fitted with its defaults on one thread to a table with categories.

A model is a function of a case and a seed that returns a function ``(X) -> predictions`` and the classes of
its columns. What a library does not take as it is, a table's words or missing values, is prepared here as its
documentation advises; the seconds of that count.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import warnings

import numpy as np
import pandas as pd
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import LabelEncoder, StandardScaler


def _words(frame):
    return [name for name in frame if isinstance(frame[name].dtype, pd.CategoricalDtype)]


class _Filled:
    """Missing categories as a level of their own, missing numbers as the training rows' median."""

    def __init__(self, case, as_category=True, numbers=True):
        self._words, self._as_category = _words(case.X), as_category
        kept = [name for name in case.X if name not in self._words] if numbers else []
        self._medians = case.X[kept].median()

    def __call__(self, frame):
        frame = frame.fillna(self._medians) if len(self._medians) else frame.copy()
        for name in self._words:
            words = frame[name].astype(object)
            words = words.where(words.notna(), "(missing)").astype(str)
            frame[name] = words.astype("category") if self._as_category else words
        return frame


def _of_estimator(estimator, case, prepare=lambda frame: frame):
    """Fit to labels 0, 1, ... without gaps; return how to predict, and what the columns stand for."""
    if not case.is_classification:
        estimator.fit(prepare(case.X), case.y)
        return lambda X: np.asarray(estimator.predict(prepare(X))).reshape(len(X)), None
    labels = LabelEncoder().fit(case.y)
    estimator.fit(prepare(case.X), labels.transform(case.y))
    return lambda X: np.asarray(estimator.predict_proba(prepare(X))), labels.classes_


def fit_tabular(case, seed, **settings):
    """Fit `fastopt.TabularMLPClassifier` or `fastopt.TabularMLPRegressor`."""
    import fastopt

    cls = fastopt.TabularMLPClassifier if case.is_classification else fastopt.TabularMLPRegressor
    return _of_estimator(cls(n_jobs=1, random_state=seed, **settings), case)


def fit_mlp(case, seed):
    """Fit `fastopt.MLPClassifier` or `fastopt.MLPRegressor` to standardised columns and target."""
    import fastopt
    from fastopt.datasets.preparation import of_table

    prepare = of_table()
    if case.is_classification:
        return _of_estimator(make_pipeline(prepare, fastopt.MLPClassifier(n_jobs=1, random_state=seed)), case)
    network = TransformedTargetRegressor(
        make_pipeline(prepare, fastopt.MLPRegressor(n_jobs=1, random_state=seed)),
        transformer=StandardScaler(),
    )
    return _of_estimator(network, case)


def fit_realmlp(case, seed):
    """Fit pytabkit's RealMLP_TD_S, which holds a fifth of the rows out to choose its epoch."""
    from pytabkit import RealMLP_TD_S_Classifier, RealMLP_TD_S_Regressor

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    cls = RealMLP_TD_S_Classifier if case.is_classification else RealMLP_TD_S_Regressor
    network = cls(n_cv=1, val_fraction=0.2, n_threads=1, random_state=seed, device="cpu")
    return _of_estimator(network, case, _Filled(case))


def fit_hist_gradient_boosting(case, seed):
    """Fit scikit-learn's histogram gradient boosting."""
    cls = HistGradientBoostingClassifier if case.is_classification else HistGradientBoostingRegressor
    return _of_estimator(cls(random_state=seed), case)


def fit_lightgbm(case, seed):
    """Fit LightGBM."""
    import lightgbm

    cls = lightgbm.LGBMClassifier if case.is_classification else lightgbm.LGBMRegressor
    names = {name: f"c{i}" for i, name in enumerate(case.X)}  # LightGBM refuses ":" and the like in names

    def prepare(frame):
        return frame.rename(columns=names)

    return _of_estimator(cls(random_state=seed, n_jobs=1, verbose=-1), case, prepare)


def fit_xgboost(case, seed):
    """Fit XGBoost."""
    import xgboost

    cls = xgboost.XGBClassifier if case.is_classification else xgboost.XGBRegressor
    names = {name: f"c{i}" for i, name in enumerate(case.X)}  # XGBoost refuses "[", "]" and "<" in names

    def prepare(frame):
        return frame.rename(columns=names)

    return _of_estimator(cls(random_state=seed, n_jobs=1, enable_categorical=True), case, prepare)


def fit_catboost(case, seed):
    """Fit CatBoost."""
    import catboost

    cls = catboost.CatBoostClassifier if case.is_classification else catboost.CatBoostRegressor
    settings = {"cat_features": _words(case.X), "thread_count": 1, "allow_writing_files": False}
    model = cls(random_seed=seed, verbose=False, **settings)
    return _of_estimator(model, case, _Filled(case, as_category=False, numbers=False))


#: What each model is called, how it is fitted, and the package that it needs beside the usual ones.
MODELS = {
    "TabularMLP": (fit_tabular, "numba"),
    "RealMLP_TD_S": (fit_realmlp, "pytabkit"),
    "CatBoost": (fit_catboost, "catboost"),
    "HistGradientBoosting": (fit_hist_gradient_boosting, "sklearn"),
    "LightGBM": (fit_lightgbm, "lightgbm"),
    "XGBoost": (fit_xgboost, "xgboost"),
    "MLP": (fit_mlp, "numba"),
}


def installed():
    """Return the models whose packages are there."""
    return [name for name, (_, package) in MODELS.items() if importlib.util.find_spec(package)]


@contextlib.contextmanager
def quiet():
    """Hold back what libraries print and warn of."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        with contextlib.redirect_stderr(io.StringIO()):
            yield
