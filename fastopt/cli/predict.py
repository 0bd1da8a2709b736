"""``predict``: a model from its file, applied to a new table."""

from __future__ import annotations

import argparse
from pathlib import Path

from .._extras import require
from .arguments import SettingsError, share


def add_arguments(parser):
    """Add the arguments of ``predict``; return the function that runs it."""
    add = parser.add_argument
    add("model", type=Path, metavar="MODEL", help="a file that fastopt fit has written")
    add("file", metavar="FILE", help="a table with the columns of the one that the model was fitted to")
    add(
        "--out",
        type=Path,
        default=Path("predictions.csv"),
        metavar="FILE",
        help="a .csv file (predictions.csv)",
    )
    add("--coverage", type=share, metavar="P", help="of the intervals of numbers (0.9)")
    add("--encoding", metavar="NAME", help="of a text file, such as latin-1")
    parser.formatter_class = argparse.HelpFormatter
    return run


def run(arguments):
    """Write the predictions of a model for a table."""
    for module in ("rich", "pandas", "narwhals"):
        require(module, "fastopt predict")
    require("safetensors", "fastopt predict", extra="files")
    from ..datasets import model_tables
    from . import model_output
    from .model_file import load_model

    if arguments.out.suffix.lower() != ".csv":
        raise SettingsError(f"--out {arguments.out}: predictions are written as .csv.")
    if not arguments.model.exists():
        raise SettingsError(f"there is no file {str(arguments.model)!r}.")
    try:
        model, form = load_model(arguments.model)
    except ValueError as problem:
        raise SettingsError(str(problem).splitlines()[0]) from problem
    if arguments.coverage is not None and hasattr(model, "classes_"):
        raise SettingsError(f"--coverage is of intervals of numbers, and {form.target!r} has classes.")
    data = model_tables.load_new(arguments.file, form, encoding=arguments.encoding)
    try:
        found = _predictions(model, data, form.target, arguments.coverage or 0.9)
    except (ValueError, TypeError) as problem:
        raise SettingsError(f"{arguments.file} does not fit: {str(problem).splitlines()[0]}") from problem
    found.to_csv(arguments.out, index=False)
    model_output.say_predictions(model, data, form.target, found, arguments.out)
    return 0


def _predictions(model, data, target, coverage):
    """Return a frame: columns that name the rows, the prediction, and its probabilities or interval."""
    frame = data.others.copy()
    if hasattr(model, "classes_"):
        probabilities = model.predict_proba(data.X)
        columns = {target: model.classes_[probabilities.argmax(axis=1)]}
        columns |= {f"{target}={name}": probabilities[:, j] for j, name in enumerate(model.classes_)}
    else:
        bounds = model.predict_interval(data.X, coverage)
        columns = {
            target: model.predict(data.X),
            f"{target} from": bounds[:, 0],
            f"{target} to": bounds[:, 1],
        }
    for name, values in columns.items():
        frame[name] = values
    return frame
