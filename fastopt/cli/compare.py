"""``compare`` and ``sweep``: a study from the command line."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import sys
import warnings
from pathlib import Path

from .. import datasets
from .._extras import require
from . import presets
from .arguments import SettingsError, count, positive, reader, seconds

#: How long to wait for a Dask scheduler.
_SECONDS_TO_CONNECT = 10


def add_compare(parser):
    """Add the arguments of ``compare``; return the function that runs it."""
    _add_shared(parser, presets.COMPARE, presets.DEFAULTS)
    parser.add_argument(
        "--tuning-seeds", type=count, metavar="N", help="seeds on which learning rates are chosen"
    )
    parser.add_argument("--search", choices=("grid", "halving", "optuna"), help="how they are chosen")
    parser.add_argument("--target-score", type=float, metavar="S", help="score whose first epoch is reported")
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
        metavar="NAME|FILE",
        help=f"{', '.join(datasets.list_datasets())}; a .csv, .tsv, .parquet, .feather, .xlsx or .npz file "
        f"({defaults['dataset']})",
    )
    add("--target", metavar="COLUMN", help="column to predict, for a table")
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
        "dataset": arguments.dataset,
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
    return _run(arguments, _settings(arguments, presets.DEFAULTS, presets.COMPARE), "compare")


def _sweep(arguments):
    return _run(arguments, _settings(arguments, presets.SWEEP_DEFAULTS, presets.SWEEP), "sweep")


def _run(arguments, settings, command):
    require("matplotlib", f"fastopt {command}").use("Agg")
    for module in ("rich", "pandas", "jinja2"):
        require(module, f"fastopt {command}")
    from . import output

    names = ("target", "data", "task", "groups", "weights", "encoding")
    data = datasets.load(settings["dataset"], **{name: getattr(arguments, name) for name in names})
    study = _make_study(arguments, settings, data, with_yardstick=command == "compare")
    rows = {"X": data.X, "y": data.y, "X_val": data.X_test, "y_val": data.y_test}
    rows.update(groups=data.groups, sample_weight=data.sample_weight)
    try:
        n_fits = study.plan(**rows, sweep=command == "sweep")
    except (ValueError, TypeError) as problem:  # a bad name or value: nothing has been trained yet
        raise SettingsError(str(problem)) from problem
    output.announce(data, study, settings, n_fits)
    with _cluster(arguments) as client, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        study.set_params(client=client)
        try:
            (study.fit if command == "compare" else study.sweep)(**rows)
        except ValueError as problem:  # such as a scorer that the target does not suit
            raise SettingsError(str(problem).splitlines()[0]) from problem
    told = "python -m fastopt " + shlex.join(sys.argv[1:] if sys.argv[1:] else [command])
    stem = "comparison" if command == "compare" else command
    output.write_study(study, arguments.out, data, stem, told, caught)
    return 130 if study.interrupted_ else 0


def _make_study(arguments, settings, data, *, with_yardstick):
    from sklearn.pipeline import make_pipeline

    from ..neural_network import MLPClassifier, MLPRegressor
    from ..study import OptimizerStudy

    is_classification = data.task == "classification"
    network = (MLPClassifier if is_classification else MLPRegressor)(hidden_layer_sizes=settings["hidden"])
    estimator = network if data.preprocessor is None else make_pipeline(data.preprocessor, network)
    optimizers, lr = _contenders(settings)
    if with_yardstick and not arguments.no_yardstick:
        optimizers, lr = _with_yardstick(optimizers, lr, settings["hidden"], is_classification)
    return OptimizerStudy(
        estimator,
        optimizers,
        lr=lr,
        batch_size=settings["batch_size"],
        n_seeds=arguments.seeds if arguments.cv else settings["seeds"],
        cv=arguments.cv,
        n_tuning_seeds=settings["tuning_seeds"],
        max_epochs=settings["epochs"],
        max_seconds=arguments.max_seconds,
        scoring=arguments.scoring,
        metrics=_metrics(settings["metrics"], data) if is_classification else (),
        target_score=getattr(arguments, "target_score", None),
        search=settings.get("search", "grid"),
        n_jobs=arguments.jobs,
        store=arguments.out,
        reuse=not arguments.fresh,
        progress=True,
    )


def _cluster(arguments):
    """Return the context of the Dask client whose workers make the fits; of None without a cluster."""
    if arguments.dask is None:
        return contextlib.nullcontext()
    if arguments.jobs is not None:
        raise SettingsError("--jobs is of workers here, and --dask of a cluster: give one of the two.")
    distributed = require("distributed", "--dask", "dask")
    try:
        return distributed.Client(arguments.dask, timeout=_SECONDS_TO_CONNECT)
    except (OSError, ValueError) as problem:
        raise SettingsError(
            f"--dask {arguments.dask}: no Dask scheduler answers there ({str(problem).splitlines()[0]}). "
            "Start one with `dask scheduler`, and its workers with `dask worker ADDRESS`."
        ) from problem


def _contenders(settings):
    """Return the optimizers by label, and the learning rates that each may choose from."""
    from ..study import DEFAULT_OPTIMIZERS
    from ..study.contenders import named_optimizer

    optimizers = settings.get("optimizers", DEFAULT_OPTIMIZERS)
    if not isinstance(optimizers, dict):
        try:
            pairs = [named_optimizer(name) for name in optimizers]
        except ValueError as problem:
            raise SettingsError(str(problem)) from problem
        optimizers = dict(pairs)
        if len(optimizers) < len(pairs):
            raise SettingsError(f"an optimizer is named twice: {', '.join(settings['optimizers'])}.")
    fixed = settings.get("fixed_lr", {})
    return optimizers, {label: fixed.get(label, settings.get("lr")) for label in optimizers}


def _metrics(names, data):
    """Return metrics of two classes as averages over classes, if the target is not 0 and 1."""
    import numpy as np
    from sklearn.metrics import get_scorer_names

    if np.array_equal(np.unique(data.y), [0, 1]):
        return names
    return tuple(f"{name}_macro" if f"{name}_macro" in get_scorer_names() else name for name in names)


def _with_yardstick(optimizers, lr, hidden, is_classification):
    """Add scikit-learn's network as a yardstick, with the first contender's settings where it has them."""
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    network = MLPClassifier if is_classification else MLPRegressor
    same = {
        "Adam": {"solver": "adam"},
        "Momentum": {"solver": "sgd", "nesterovs_momentum": False},
        "Nesterov": {"solver": "sgd"},
        "Gradient descent": {"solver": "sgd", "momentum": 0.0, "nesterovs_momentum": False},
    }
    for leader, parameters in same.items():
        if leader in optimizers:
            label = f"scikit-learn {leader if leader == 'Adam' else leader.lower()}"
            return {**optimizers, label: network(hidden_layer_sizes=hidden, **parameters)}, {
                **lr,
                label: leader,
            }
    return optimizers, lr
