"""``fit``: a model of a table, its score, its file and its report."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import warnings
from pathlib import Path

from .._extras import require
from .arguments import SettingsError, count, seconds, seed


def add_arguments(parser):
    """Add the arguments of ``fit``; return the function that runs it."""
    add = parser.add_argument
    add("file", metavar="FILE", help="path or URL of a table: .csv, .tsv, .parquet, .feather, .xlsx, .zip")
    add("--target", metavar="COLUMN", help="column to predict")
    add("--task", choices=("classification", "regression"), help="what it is (default: by its values)")
    add("--time", type=seconds, metavar="S", help="seconds that training may take")
    add("--out", type=Path, metavar="FILE", help="where the model is written (default: FILE.fastopt)")
    add("--report", type=Path, metavar="FILE", help="where its report is written (default: FILE.html)")
    add("--baseline", choices=("hgb",), help="compare with HistGradientBoosting on the same folds")
    add("--weights", metavar="COLUMN", help="column with the weight of each row")
    add("--encoding", metavar="NAME", help="of a text file, such as latin-1 (default: UTF-8)")
    add("--seed", type=seed, default=0, metavar="N", help="of folds and weights (default: 0)")
    add("--jobs", type=count, metavar="N", help="threads (default: all)")
    parser.formatter_class = argparse.HelpFormatter  # defaults stand in the texts above
    return run


def run(arguments):
    """Fit a model to a table; write it and its report."""
    require("matplotlib", "fastopt fit").use("Agg")
    for module in ("rich", "pandas", "jinja2", "narwhals"):
        require(module, "fastopt fit")
    require("safetensors", "fastopt fit", extra="files")
    from ..datasets import model_tables
    from . import model_output

    out, report = _places(arguments)
    names = ("target", "task", "weights", "encoding")
    data = model_tables.load_training(arguments.file, **{name: getattr(arguments, name) for name in names})
    model_output.announce(data)
    model, caught = _fitted(arguments, data)
    others = _others(arguments, model, data, caught)
    told = "python -m fastopt " + shlex.join(sys.argv[1:] or ["fit", arguments.file])
    model_output.write_model(model, data, others, caught, out=out, report=report, command=told)
    return 0


def _places(arguments):
    """Return where the model and the report are written."""
    stem = Path(Path(arguments.file).name.partition(".")[0] or "model")
    out = arguments.out or stem.with_suffix(".fastopt")
    report = arguments.report or out.with_suffix(".html")
    if out == report or out.is_dir() or report.is_dir():
        raise SettingsError(f"--out {out} and --report {report} must be two files.")
    for place in (out, report):
        if not os.access(place.parent, os.W_OK):  # found out before the training, not after it
            raise SettingsError(f"{place} cannot be written: there is no such folder, or it is not yours.")
    return out, report


def _fitted(arguments, data):
    """Return the fitted model, and the messages of warnings."""
    from ..tabular import TabularMLPClassifier, TabularMLPRegressor

    kind = TabularMLPClassifier if data.task == "classification" else TabularMLPRegressor
    model = kind(max_time=arguments.time, n_jobs=arguments.jobs, random_state=arguments.seed, progress=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            model.fit(data.X, data.y, sample_weight=data.sample_weight)
        except (ValueError, TypeError) as problem:
            raise SettingsError(str(problem).splitlines()[0]) from problem
    return model, [str(w.message) for w in caught if issubclass(w.category, UserWarning)]


def _others(arguments, model, data, notes):
    """Return the out-of-fold predictions of the baselines that are asked for; note one that fails."""
    if arguments.baseline is None:
        return {}
    from ..tabular.baselines import gradient_boosting

    try:
        found = gradient_boosting(data.X, data.y, model, data.sample_weight, arguments.seed)
    except ValueError as problem:  # such as a class of one row
        notes.append(f"HistGradientBoosting could not be fitted: {str(problem).splitlines()[0]}")
        return {}
    return {"HistGradientBoosting": found}
