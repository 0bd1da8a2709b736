"""Make every picture and every printed output of the documentation: ``python docs/refresh.py [NAME ...]``.

MNIST comes from OpenML, or from a local file named by the environment variable MNIST.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import speed_table
from sklearn.datasets import load_diabetes, load_digits
from sklearn.neural_network import MLPClassifier as TheirClassifier

from fastopt import SGD, Adam, MLPClassifier, schedules
from fastopt.cli import main
from fastopt.display import (
    HeatMapDisplay,
    LearningRateDisplay,
    LearningRateRangeDisplay,
    LossCurveDisplay,
    OptimizerComparisonDisplay,
    TrajectoryDisplay,
    theme,
)
from fastopt.study import OptimizerStudy

DOCS = Path(__file__).parent
MNIST = ["--data", os.environ["MNIST"]] if "MNIST" in os.environ else []
SETS = ["--dataset", "classify-1000x10", "iris", "wine", "breast-cancer", "digits", "diabetes"]
SETS += ["--no-yardstick", "--epochs", "10", "--seeds", "5", "--tuning-seeds", "1", "--rope", "0.01"]
COMMANDS = {  # name: (arguments, {file written: picture kept})
    "compare": (["compare"], {"comparison.png": "comparison.png"}),
    "classify": (
        ["compare", "--preset", "classify-1000x10"],
        {"comparison.png": "classify.png", "confusion.png": "confusion.png"},
    ),
    "sets": (["compare", *SETS], {"critical-difference.png": "critical-difference.png"}),
    "mnist": (["compare", "--preset", "mnist", "--no-yardstick", *MNIST], {"comparison.png": "mnist.png"}),
    "mnist-sweep": (
        ["sweep", "--preset", "mnist", *MNIST],
        {"sweep-score.png": "mnist-sweep.png", "sweep-loss.png": "mnist-sweep-loss.png"},
    ),
}

FIT = ["fit", "diabetes.csv", "--target", "progression", "--baseline", "hgb"]


def keep_output(name, printed):
    """Write what a command printed, its sentences in lines of at most 110 characters."""
    lines = []
    for line in printed.splitlines():
        is_drawn = line.startswith(tuple("┏┃┡│└ "))  # the lines of a table
        lines += [line.rstrip()] if is_drawn or len(line) <= 110 else textwrap.wrap(line, 110)
    (DOCS / "output" / f"{name}.txt").write_text("\n".join(lines) + "\n", "utf-8")


def run_command(name):
    """Run a command as its page shows it; keep what it prints and draws."""
    arguments, pictures = COMMANDS[name]
    printed = io.StringIO()
    with tempfile.TemporaryDirectory() as folder:
        with contextlib.redirect_stdout(printed):
            main([*arguments, "--out", folder])
        keep_output(name, printed.getvalue().replace(folder, "fastopt-results"))
        for written, kept in pictures.items():
            shutil.copy(Path(folder, "latest", written), DOCS / "images" / kept)


def fit_command():
    """Fit to a table with words and gaps as its page shows it; keep what is printed."""
    X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    table = X.assign(sex=X["sex"].map({1: "f", 2: "m"}), progression=y)
    table.loc[::9, "bp"] = None
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        try:
            os.chdir(folder)
            table.to_csv("diabetes.csv", index=False)
            command = [sys.executable, "-m", "fastopt", *FIT]
            printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        finally:
            os.chdir(before)
    keep_output("fit", printed)


def digits_study():
    """Return a comparison on digits for the gallery."""
    X, y = load_digits(return_X_y=True)
    network = MLPClassifier((64, 32), batch_size=32)
    contenders = {
        "Gradient descent": "gradient descent",
        "Momentum": "momentum",
        "Adam": "adam",
        "Lion": "lion",
    }
    contenders["scikit-learn Adam"] = TheirClassifier((64, 32), batch_size=32)
    study = OptimizerStudy(
        network, contenders, lr={"scikit-learn Adam": "Adam"}, n_seeds=5, n_tuning_seeds=3, max_epochs=20
    )
    return study, (X / 16).astype("float32"), y


def save(figure, name):
    """Write a picture of the gallery."""
    figure.savefig(DOCS / "images" / name, dpi=130)
    plt.close(figure)


def gallery():
    """Draw the pictures that no command draws."""
    study, X, y = digits_study()
    study.fit(X, y)
    save(OptimizerComparisonDisplay.from_study(study, x="seconds").figure_, "time.png")
    save(LearningRateDisplay.from_study(study).figure_, "learning-rate.png")
    grid = {"lr": [0.003, 0.01, 0.03, 0.1], "batch_size": [16, 32, 64, 128]}
    study = OptimizerStudy(study.estimator, ["momentum", "adam", "lion"], **grid, n_seeds=2, max_epochs=10)
    study.sweep(X, y)
    save(HeatMapDisplay.from_study(study, metric="loss").figure_, "sweep-loss.png")
    fitted = {
        label: MLPClassifier((64, 32), solver=solver, early_stopping=True, random_state=0).fit(X, y)
        for label, solver in {"Adam": Adam(lr=0.003), "Momentum": SGD(lr=0.03, momentum=0.9)}.items()
    }
    save(LossCurveDisplay.from_estimator(fitted).figure_, "loss-curves.png")


def trajectories():
    """Draw the walks."""
    names = ["gradient descent", "momentum", "nesterov", "adam", "lion"]
    with theme():
        figure, axes = plt.subplots(1, 3, figsize=(17, 6.0))
    for ax, (surface, n_steps) in zip(
        axes, {"rosenbrock": 300, "beale": 300, "saddle": 40}.items(), strict=True
    ):
        TrajectoryDisplay.from_optimizers(names, surface, n_steps=n_steps, ax=ax)
    figure.savefig(DOCS / "images" / "trajectories.png", dpi=80)
    plt.close(figure)
    walk = TrajectoryDisplay.from_optimizers(["gradient descent", "momentum", "adam"], "beale", n_steps=100)
    walk.animate(DOCS / "images" / "beale.gif", frames=30, fps=10, dpi=60)


def schedule_pictures():
    """Draw one small plot for each schedule, and a range test."""
    shown = {
        "linear": schedules.linear(1.0, 100),
        "polynomial, power=2": schedules.polynomial(1.0, 100, power=2.0),
        "cosine": schedules.cosine(1.0, 100),
        "cosine_restarts, factor=2": schedules.cosine_restarts(1.0, 15, 2),
        "exponential": schedules.exponential(1.0, 0.1, 60),
        "inverse_time": schedules.inverse_time(1.0, 1.0, 20),
        "step": schedules.step(1.0, 30, 0.5),
        "multistep": schedules.multistep(1.0, (50, 75), 0.5),
        "piecewise, cosine": schedules.piecewise((0.2, 1.0, 0.5, 0.5, 0.0), (20, 40, 70, 90), "cosine"),
        "onecycle": schedules.onecycle(1.0, 100),
        "cyclic, triangular2": schedules.cyclic(0.0, 1.0, 15, form="triangular2"),
        "wsd": schedules.wsd(1.0, 100, warmup=0.1, decay=0.3),
        "flat_cos": schedules.flat_cos(1.0, 100),
        "coslog4": schedules.coslog4(1.0, 100),
        "rex": schedules.rex(1.0, 100),
        "warmup(cosine)": schedules.warmup(schedules.cosine(1.0, 85), 15),
    }
    with theme():
        figure, axes = plt.subplots(4, 4, figsize=(12, 8), sharex=True, sharey=True)
    for ax, (title, schedule) in zip(axes.flat, shown.items(), strict=True):
        schedule.plot(ax, n_steps=115)
        ax.set(title=title, xlabel="", ylabel="")
    save(figure, "schedules.png")
    X, y = load_digits(return_X_y=True)
    display = LearningRateRangeDisplay.from_estimator(
        MLPClassifier((64, 32), batch_size=32), X / 16, y, random_state=0
    )
    save(display.figure_, "range-test.png")


def tables():
    """Write what is made from the registry, the audit and benchmarks; say what is not measured."""
    for script in ("oracle_table", "optimizer_docstrings", "optimizer_table", "speed_table"):
        subprocess.run([sys.executable, DOCS / f"{script}.py"], check=True)
    missing = speed_table.unmeasured(json.loads(speed_table.RESULTS.read_text("utf-8")))
    if missing:
        print(f"Not measured yet: {', '.join(missing)}. Run the benchmark that docs/speed.md names.")


PAGES = {name: functools.partial(run_command, name) for name in COMMANDS}
PAGES.update(
    fit=fit_command, gallery=gallery, trajectories=trajectories, schedules=schedule_pictures, tables=tables
)

if __name__ == "__main__":
    plt.switch_backend("Agg")
    for page in sys.argv[1:] or PAGES:
        print(page, flush=True)
        PAGES[page]()
