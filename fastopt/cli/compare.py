"""``compare`` and ``sweep``: a study from the command line."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

from .. import datasets
from . import presets
from .arguments import SettingsError, count, positive, reader, seconds, share
from .studies import OF_TABLES, check_targets, cluster, command_line, make_study, require_output, rows_of


def add_compare(parser):
    """Add the arguments of ``compare``; return the function that runs it."""
    _add_shared(parser, presets.COMPARE, presets.DEFAULTS)
    parser.add_argument(
        "--tuning-seeds", type=count, metavar="N", help="seeds on which learning rates are chosen"
    )
    parser.add_argument("--search", choices=("grid", "halving", "optuna"), help="how they are chosen")
    parser.add_argument(
        "--nested", action="store_true", help="choose anew for each seed, in its training rows"
    )
    parser.add_argument("--target-score", type=float, metavar="S", help="score whose first epoch is reported")
    parser.add_argument(
        "--rope",
        type=share,
        metavar="R",
        help="over several data sets: scores that differ by less are as good as equal, such as 0.01",
    )
    parser.add_argument("--no-yardstick", action="store_true", help="leave out scikit-learn's own network")
    return _compare


def add_sweep(parser):
    """Add the arguments of ``sweep``; return the function that runs it."""
    _add_shared(parser, presets.SWEEP, presets.SWEEP_DEFAULTS)
    return _sweep


def _add_shared(parser, of_presets, defaults):
    def shown(name):
        return " ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in defaults[name])

    # Defaults are filled in later, as they depend on the preset; so they are told here by hand.
    parser.formatter_class = argparse.HelpFormatter
    add = parser.add_argument
    add("--preset", choices=tuple(of_presets), help="one of the project's two experiments")
    add(
        "--dataset",
        nargs="+",
        metavar="NAME|FILE",
        help=f"{', '.join(datasets.list_datasets())}; path or URL of a .csv, .tsv, .parquet, .feather, "
        f".xlsx, .zip or .npz file ({defaults['dataset']})",
    )
    add("--target", nargs="+", metavar="COLUMN", help="column to predict, for a table")
    add("--task", choices=("classification", "regression"), help="what the target is (by its values)")
    add("--groups", metavar="COLUMN", help="column that says which rows belong on one side of a split")
    add("--weights", metavar="COLUMN", help="column with the weight of each row")
    add("--encoding", metavar="NAME", help="of a text file, such as latin-1 (UTF-8)")
    add("--data", metavar="FILE.npz", help="local MNIST, instead of a download")
    add("--optimizers", nargs="+", metavar="NAME", help="names, by spaces or commas")
    add(
        "--lr",
        nargs="+",
        type=_rates,
        metavar="LR",
        help="one learning rate for all, or several to choose from",
    )
    add("--batch-size", nargs="+", type=_sizes, metavar="N", help=f"one or several ({shown('batch_size')})")
    add("--hidden", nargs="+", type=_sizes, metavar="N", help=f"hidden layer sizes ({shown('hidden')})")
    add("--epochs", type=count, metavar="N", help=f"epochs of each fit ({defaults['epochs']})")
    add("--max-seconds", type=seconds, metavar="S", help="seconds of training of each fit, if sooner")
    add("--scoring", metavar="NAME", help="scikit-learn scorer that judges (accuracy, or r2)")
    add("--seeds", type=count, metavar="N", help=f"seeds that are compared ({defaults['seeds']})")
    add("--cv", type=count, metavar="N", help="N folds, one for each seed, instead of random splits")
    add("--jobs", type=int, metavar="N", help="parallel workers; times are then those of a busy machine")
    add("--dask", metavar="ADDRESS", help="Dask scheduler whose workers make the fits, as tcp://host:8786")
    add("--out", metavar="FOLDER", type=Path, default=Path("fastopt-results"), help="where files are written")
    add("--fresh", action="store_true", help="measure again what the folder already holds")


def _each(convert):
    return lambda text: [convert(part) for part in text.split(",") if part.strip()]


_rates = reader(_each(positive(float)), "a positive number, or several by commas")
_sizes = reader(_each(positive(int)), "a whole number of at least 1, or several by commas")


def _flat(parts):
    return None if parts is None else tuple(value for part in parts for value in part)


def _settings(arguments, defaults, of_presets):
    """Return the settings: defaults, overridden by the preset, overridden by what was typed."""
    typed = {
        "dataset": None if arguments.dataset is None else tuple(arguments.dataset),
        "hidden": _flat(arguments.hidden),
        "lr": _flat(arguments.lr),
        "batch_size": _flat(arguments.batch_size),
        "epochs": arguments.epochs,
        "seeds": arguments.seeds,
        "tuning_seeds": getattr(arguments, "tuning_seeds", None),
        "search": getattr(arguments, "search", None),
    }
    if arguments.optimizers is not None:
        names = [name.strip() for part in arguments.optimizers for name in part.split(",")]
        typed["optimizers"] = tuple(name for name in names if name)
    if typed["dataset"] is None and arguments.target is not None:
        raise SettingsError("--target names a column of a table: give the table with --dataset FILE.csv.")
    preset = of_presets.get(arguments.preset, {})
    return {**defaults, **preset, **{name: value for name, value in typed.items() if value is not None}}


def _compare(arguments):
    settings = _settings(arguments, presets.DEFAULTS, presets.COMPARE)
    if len(_several(settings["dataset"])) > 1:
        from .compare_sets import run

        return run(arguments, settings)
    if arguments.rope is not None:
        raise SettingsError("--rope is for several data sets: name more with --dataset.")
    return _run(arguments, settings, "compare")


def _sweep(arguments):
    return _run(arguments, _settings(arguments, presets.SWEEP_DEFAULTS, presets.SWEEP), "sweep")


def _several(dataset):
    return (dataset,) if isinstance(dataset, str) else dataset


def _run(arguments, settings, command):
    require_output(command)
    from . import output

    if len(_several(settings["dataset"])) > 1:
        raise SettingsError(f"{command} takes one data set; compare takes several.")
    (name,) = _several(settings["dataset"])
    check_targets(target := arguments.target or [None], 1)
    options = {option: getattr(arguments, option) for option in (*OF_TABLES, "data")}
    data = datasets.load(name, *target, **options)
    study = make_study(arguments, settings, data, with_yardstick=command == "compare")
    rows = rows_of(data)
    try:
        n_fits = study.plan(**rows, sweep=command == "sweep")
    except (ValueError, TypeError) as problem:  # a bad name or value: nothing has been trained yet
        raise SettingsError(str(problem)) from problem
    output.announce(data, study, settings, n_fits)
    with cluster(arguments) as client, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        study.set_params(client=client)
        try:
            (study.fit if command == "compare" else study.sweep)(**rows)
        except ValueError as problem:  # such as a scorer that the target does not suit
            raise SettingsError(str(problem).splitlines()[0]) from problem
    stem = "comparison" if command == "compare" else command
    output.write_study(study, arguments.out, data, stem, command_line(command), caught)
    return 130 if study.interrupted_ else 0
