"""Studies from the arguments of the command line."""

from __future__ import annotations

import contextlib
import shlex
import sys

from .._extras import require
from .arguments import SettingsError

#: Options that say how a table is read, beside its target.
OF_TABLES = ("task", "groups", "weights", "encoding")
#: How long to wait for a Dask scheduler.
_SECONDS_TO_CONNECT = 10


def check_targets(targets, n_files):
    """Raise SettingsError unless there is one target for all files, or one for each."""
    if not n_files or len(targets) not in (1, n_files):
        raise SettingsError(
            f"--target names {len(targets)} columns for {n_files} files: give one for all, or one for each."
        )


def rows_of(data):
    """Return the rows of a data set as arguments of `OptimizerStudy.fit`."""
    rows = {"X": data.X, "y": data.y, "X_val": data.X_test, "y_val": data.y_test}
    return rows | {"groups": data.groups, "sample_weight": data.sample_weight}


def require_output(command):
    """Raise MissingExtraError unless the packages that show results are there."""
    require("matplotlib", f"fastopt {command}").use("Agg")
    for module in ("rich", "pandas", "jinja2", "narwhals"):
        require(module, f"fastopt {command}")


def command_line(command):
    """Return how to run the same again."""
    return "python -m fastopt " + shlex.join(sys.argv[1:] if sys.argv[1:] else [command])


def make_study(arguments, settings, data, *, with_yardstick):
    """Return the study of a data set as the settings want it."""
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
        nested=getattr(arguments, "nested", False),
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


def cluster(arguments):
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
