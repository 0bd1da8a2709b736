"""Models for tables with their defaults: errors, log losses, nRMSE and CPU time, one thread each.

    pip install pytabkit lightgbm catboost xgboost torch
    python bench/bench_tabular.py FOLDER [--splits 0 1 2] [--models TabularMLP RealMLP_TD_S]
    python bench/bench_tabular.py --report [--page docs/tabular.md] [--plot docs/images/tabular.png]

FOLDER holds the tables (see `tabular_cases`). Models whose packages are absent are left out. Every figure is
one line of ``results/tabular.jsonl``; what is there already is not measured again, so a run that was
interrupted goes on where it stopped. ``--again MODEL`` measures a model anew.

A table's rows are shuffled by the split's number; a quarter is for testing, and of the others at most 1,500
train. Rivals are fitted with their defaults. CPU time is the process's, of fitting, with what prepares the
columns, after a fit that compiles and imports.
"""

import argparse
import itertools
import json
import time
from importlib.metadata import version
from pathlib import Path

import tabular_cases
import tabular_report
from _measure import fingerprint
from tabular_models import MODELS, installed, quiet
from threadpoolctl import threadpool_limits

RESULTS = Path(__file__).parent / "results" / "tabular.jsonl"
_PACKAGES = {"numba": "fastopt", "sklearn": "scikit-learn"}  # of which a model's version is told
_WARM_UP_ROWS = 300


def _version(model):
    package = MODELS[model][1]
    name = _PACKAGES.get(package, package)
    if name != "fastopt":
        return version(name)
    import fastopt

    return fastopt.__version__


def measure(model, case, seed):
    """Fit a model to a case; return its figures."""
    with quiet(), threadpool_limits(1):
        cpu, wall = time.process_time(), time.perf_counter()
        predict, classes = MODELS[model][0](case, seed)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        began = time.process_time()
        predicted = predict(case.X_test)
    seconds = {"cpu": cpu, "wall": wall, "cpu_to_predict": time.process_time() - began}
    return tabular_cases.scores(case, predicted, classes) | seconds


def key(row):
    """Return what identifies a line: of two with the same key the later counts."""
    return row["model"], row["table"], row["split"], row["most_rows"]


def missing(options, tasks):
    """Return what is to be measured, table by table, so that what is compared runs close together."""
    rows = tabular_report.read(options.results)
    done = {key(row) for row in rows if row["model"] not in options.again}
    for split, (name, task) in itertools.product(options.splits, tasks.items()):
        models = [m for m in options.models if (m, name, split, options.most_rows) not in done]
        if models:
            yield split, name, task, models


def run(options):
    """Measure what is missing, a line each."""
    tasks = tabular_cases.names(options.folder)
    tasks = {name: task for name, task in tasks.items() if not options.tables or name in options.tables}
    options.results.parent.mkdir(parents=True, exist_ok=True)
    warm = set()
    with open(options.results, "a", encoding="utf-8") as file:
        for split, name, task, models in missing(options, tasks):
            case = tabular_cases.load(options.folder, name, task, split, options.most_rows)
            for model in models:
                if (model, task) not in warm:
                    few = tabular_cases.load(options.folder, name, task, split, _WARM_UP_ROWS)
                    measure(model, few, split)
                    warm.add((model, task))
                about = {"model": model, "table": name, "split": split, "most_rows": options.most_rows}
                row = about | measure(model, case, split) | {"version": _version(model)}
                file.write(json.dumps(row) + "\n")
                file.flush()
                shown = [f"{figure} {row[figure]:.4f}" for figure in tabular_report.FIGURES if figure in row]
                print(f"{split} {name:<12} {model:<21} {'  '.join(shown)}  {row['cpu']:.2f} s", flush=True)
        if options.machine:
            file.write(json.dumps({"machine": fingerprint()}) + "\n")


def main():
    """Measure, report, or both."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", help="of tables; without it only --report works")
    parser.add_argument("--splits", type=int, nargs="+", default=[0])
    parser.add_argument("--tables", nargs="+", help="names; all by default")
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=installed())
    parser.add_argument("--again", nargs="+", choices=list(MODELS), default=[], help="measure these anew")
    parser.add_argument("--most-rows", type=int, default=1500, help="that train")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--no-machine", dest="machine", action="store_false", help="leave out what it ran on")
    parser.add_argument("--report", action="store_true", help="print the table of what is measured")
    parser.add_argument("--page", type=Path, help="a page of the documentation to write the table into")
    parser.add_argument("--plot", help="where to write the picture")
    options = parser.parse_args()
    if options.folder:
        run(options)
    elif not (options.report or options.page or options.plot):
        parser.error("a folder of tables or --report is needed")
    tabular_report.report(options.results, options.most_rows, options.page, options.plot)


if __name__ == "__main__":
    main()
