"""``compare`` over several data sets."""

from __future__ import annotations

import re
import warnings

from .. import datasets
from .arguments import SettingsError
from .studies import (
    OF_TABLES,
    check_targets,
    cluster,
    command_line,
    make_study,
    require_output,
    rows_of,
)


def run(arguments, settings):
    """Compare optimizers on each data set and over all of them; return the exit status."""
    require_output("compare")
    from ..study import StudyOverSets
    from . import output

    loaded = _load(arguments, settings["dataset"])
    studies = {
        name: make_study(arguments, settings, data, with_yardstick=True) for name, data in loaded.items()
    }
    sets = {name: rows_of(data) | _own(studies[name]) for name, data in loaded.items()}
    over = StudyOverSets(next(iter(studies.values())), rope=arguments.rope)
    try:
        n_fits = over.plan(sets)
    except (ValueError, TypeError) as problem:
        raise SettingsError(str(problem)) from problem
    console = output.new_console()
    for data in loaded.values():
        output.introduce(console, data)
    output.say_work(console, over.study, settings, n_fits)
    with cluster(arguments) as client, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        over.set_params(study__client=client)
        try:
            over.fit(sets)
        except ValueError as problem:
            raise SettingsError(str(problem).splitlines()[0]) from problem
    _write(console, over, arguments.out, loaded, caught)
    return 130 if over.interrupted_ else 0


def _load(arguments, names):
    """Return the data sets by name; options of tables are for those that are tables."""
    are_files = [name not in datasets.list_datasets() for name in names]
    n_files = sum(are_files)
    targets = arguments.target or [None]
    if arguments.target or n_files:
        check_targets(targets, n_files)
    of_files = iter(targets * n_files if len(targets) == 1 else targets)
    loaded = {}
    for name, is_file in zip(names, are_files, strict=True):
        options = {"target": next(of_files)} if is_file else {}
        if is_file or not n_files:  # without a table they are refused, as for one data set
            options |= {option: getattr(arguments, option) for option in OF_TABLES}
        if name == "mnist" or "mnist" not in names:
            options["data"] = arguments.data
        data = datasets.load(name, **options)
        if data.name in loaded:
            raise SettingsError(f"two data sets are called {data.name!r}: name each once, files differently.")
        loaded[data.name] = data
    return loaded


def _own(study):
    """Return the parameters that the study of each set has for itself."""
    return {name: getattr(study, name) for name in ("estimator", "optimizers", "lr", "metrics")}


def _write(console, over, out, loaded, caught):
    """Write and print the results over sets, and a report of each set; then draw."""
    from ..display import CriticalDifferenceDisplay
    from ..report import write_report
    from ..report.page import attempt
    from . import output

    output.say_warnings(console, caught)
    if over.results_.empty:
        output.say_findings(console, over)
        return
    folder = output.study_folder(out, f"{len(loaded)}-sets")
    files = {"Fits": folder / "comparison.csv", "Scores": folder / "scores.csv"}
    over.results_.to_csv(files["Fits"], index=False)
    over.scores_.to_csv(files["Scores"])
    output.print_scores(console, over)
    output.say_findings(console, over)
    problems, command = [], command_line("compare")
    if over.comparison_ is not None:
        files["Picture"] = folder / "critical-difference.png"
        problems = attempt(
            files["Picture"].name,
            lambda: CriticalDifferenceDisplay.from_study(over).figure_,
            lambda figure: figure.savefig(files["Picture"]),
        )
    files["Report"] = folder / "comparison.html"
    notes = [f"{name}: {note}" for name, data in loaded.items() for note in data.notes]
    texts = {"title": "Which optimizer?", "command": command, "notes": notes}
    write_report(over, files["Report"], data="; ".join(d.description for d in loaded.values()), **texts)
    for name, study in over.studies_.items():
        path = folder / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name)}.html"
        files[f"  {name}"] = path
        data = loaded[name]
        write_report(study, path, data=data.description, command=command, notes=data.notes)
    files["Latest"] = output.point_to(folder)
    output.say_files(console, files, problems)
