"""What `bench_tabular` found: averages over tables, paired comparisons, and a picture.

A model's figure on a table is the mean over splits of the logarithm of the shifted figure; tables are the
sample. Two models are compared on the splits that both have.
"""

import itertools
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import tabular_cases

from fastopt.display import style
from fastopt.study.statistics import holm, paired_difference

#: The figures, and what they are called.
FIGURES = {"error": "error", "log_loss": "log loss", "n_rmse": "nRMSE"}
RIVAL = "RealMLP_TD_S"
BEGIN, END = "<!-- made by bench_tabular.py -->\n", "<!-- end -->\n"


def read(path):
    """Return the rows that were measured, the last of each kind, without those of the machine."""
    if not Path(path).exists():
        return []
    rows = [json.loads(line) for line in Path(path).read_text("utf-8").splitlines()]
    last = {tuple(row.get(k) for k in ("model", "table", "split", "most_rows")): row for row in rows}
    return [row for row in last.values() if "model" in row]


def machine(path):
    """Return the last description of the machine, or None."""
    rows = [json.loads(line) for line in Path(path).read_text("utf-8").splitlines()]
    return next((row["machine"] for row in reversed(rows) if "machine" in row), None)


def by_model(rows):
    """Return ``{model: {(table, split): row}}``."""
    found = defaultdict(dict)
    for row in rows:
        found[row["model"]][row["table"], row["split"]] = row
    return found


def log_figures(of_model, figure, keys):
    """Return the mean over splits of the shifted figure's logarithm, for each table of `keys`."""
    logs = defaultdict(list)
    for table, split in sorted(keys):
        logs[table].append(float(tabular_cases.shifted(of_model[table, split][figure])))
    return np.array([np.mean(values) for values in logs.values()])


def compared(one, other, figure):
    """Return the ratio of a figure of two models, with standard error, p-value, wins and losses."""
    keys = [key for key in one.keys() & other.keys() if figure in one[key]]
    a, b = log_figures(one, figure, keys), log_figures(other, figure, keys)
    interval = paired_difference(a, b)
    error = float(np.std(a - b, ddof=1) / np.sqrt(len(a))) if len(a) > 1 else np.nan
    return {
        "ratio": float(np.exp(interval.mean)),
        "error": error,
        "p": interval.p_value,
        "wins": int(np.sum(a < b)),
        "losses": int(np.sum(a > b)),
    }


def averages(of_model):
    """Return a model's averages over tables, and the CPU seconds of a fit to all tables of a task."""
    row = {}
    for figure in FIGURES:
        keys = [key for key, found in of_model.items() if figure in found]
        row[figure] = float(np.exp(log_figures(of_model, figure, keys).mean())) if keys else np.nan
    for task, figure in (("classification", "error"), ("regression", "n_rmse")):
        keys = [key for key, found in of_model.items() if figure in found]
        n_splits = len({split for _, split in keys}) or 1
        row[task] = sum(of_model[key]["cpu"] for key in keys) / n_splits
    return row


def _table(heads, rows):
    lines = [f"| {' | '.join(heads)} |", f"| --- |{' ---: |' * (len(heads) - 1)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def averages_table(found):
    """Return the averages of every model as Markdown."""
    heads = ["model", *FIGURES.values(), "CPU s, classes", "CPU s, regression"]
    rows = []
    for model, of_model in found.items():
        row = averages(of_model)
        figures = [f"{row['error']:.4f}", f"{row['log_loss']:.3f}", f"{row['n_rmse']:.3f}"]
        rows.append([model, *figures, f"{row['classification']:.1f}", f"{row['regression']:.1f}"])
    return _table(heads, rows)


def ratios_table(found, model="TabularMLP"):
    """Return a model's figures as ratios to each other model's, with standard errors, as Markdown."""
    others = [other for other in found if other != model]
    places = itertools.product(others, FIGURES)
    cells = {(other, figure): compared(found[model], found[other], figure) for other, figure in places}
    adjusted = dict(zip(cells, holm([cell["p"] for cell in cells.values()]), strict=True))

    def shown(place):
        cell = cells[place]
        return (
            f"{cell['ratio']:.2f} ± {cell['ratio'] * cell['error']:.2f} ({cell['wins']}/{cell['losses']})"
            f"{' *' if adjusted[place] < 0.05 else ''}"
        )

    rows = [[other, *(shown((other, figure)) for figure in FIGURES)] for other in others]
    return _table([f"{model} to", *FIGURES.values()], rows)


def plot(found, path):
    """Draw each figure over the CPU time of its tables."""
    with style.theme():
        figure, axes = style.panels(None, len(FIGURES), (3.4, 3.4))
        styles = style.line_styles(found)
        for ax, (name, label) in zip(axes, FIGURES.items(), strict=True):
            for model, of_model in found.items():
                row = averages(of_model)
                seconds = row["regression" if name == "n_rmse" else "classification"]
                ax.plot(seconds, row[name], label=model, **styles[model] | {"linestyle": "", "markersize": 9})
            ax.set(xscale="log", xlabel="CPU seconds of all fits", title=label)
            style.plain_log_ticks(ax.xaxis)
            style.few_ticks(ax.yaxis, 5)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4)
        figure.savefig(path)


def report(path, most_rows, page=None, picture=None):
    """Print the tables of the rows with this limit; write them into a page, and draw them, where wanted."""
    found = by_model(row for row in read(path) if row["most_rows"] == most_rows)
    text = made(found)
    print(text)
    if page:
        page.write_text(filled(page.read_text("utf-8"), text), "utf-8")
    if picture:
        plot(found, picture)


def made(found):
    """Return what stands in the page."""
    text = averages_table(found)
    return f"{text}\n{ratios_table(found)}" if "TabularMLP" in found else text


def filled(page, text):
    """Return the page with the tables between its marks made anew."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n{text}\n{END}{rest.split(END, 1)[1]}"
