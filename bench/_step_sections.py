"""The registry's sections of ``bench_step.py``: every optimizer against memory, BLAS and torch."""

import numpy as np
import step_cases
from _measure import compare, copy_bandwidth, measure

from fastopt.display import style


def _against_torch(optimizer, shapes, step, repeats):
    """Time a step beside torch's; return our seconds and the comparisons by torch's form."""
    theirs = step_cases.torch_steps(optimizer, shapes)
    calls = [step, *theirs.values()]
    with np.errstate(all="ignore"):  # along one gradient for ever some take ever larger steps
        taken = measure(calls, repeats)
    ratios = {kind: compare(taken, 0, i) for i, kind in enumerate(theirs, 1)}
    return float(np.median(taken[:, 0])), ratios


def _ratio(ratios, kind):
    return f"{ratios[kind]['ratio']:.2f}x" if kind in ratios else "-"


def bench_optimizers(options):
    """Time every optimizer that memory bounds on one large matrix; return the rows."""
    side, repeats = (1000, 5) if options.quick else (3163, 9)
    n = side * side
    copy = copy_bandwidth()
    print(f"copy {copy / 1e9:.1f} GB/s; {n:,} parameters in one matrix")
    print(
        f"{'optimizer':>26} {'us/1M':>7} {'state B':>8} {'moved B':>8} {'GB/s':>6} {'of copy':>8} "
        f"{'x default':>9} {'x fused':>8}"
    )
    rows = {"copy_bytes_per_second": copy, "parameters": n, "optimizers": {}}
    for label, optimizer in step_cases.cases():
        if optimizer.name in step_cases.MATRIX:
            continue
        stepper, step = step_cases.bound(optimizer, [(side, side)])
        seconds, ratios = _against_torch(optimizer, [(side, side)], step, repeats)
        moved = step_cases.bytes_moved(stepper, n)
        row = rows["optimizers"][label] = {
            "seconds_per_parameter": seconds / n,
            "state_bytes": stepper.nbytes / n,
            "moved_bytes": moved,
            "of_copy": moved * n / seconds / copy,
            "torch": ratios,
        }
        print(
            f"{label:>26} {seconds / n * 1e12:7.0f} {row['state_bytes']:8.2f} {moved:8.1f} "
            f"{moved * n / seconds / 1e9:6.1f} {row['of_copy']:8.0%} {_ratio(ratios, 'default'):>9} "
            f"{_ratio(ratios, 'fused'):>8}",
            flush=True,
        )
    return rows


def bench_matrices(options):
    """Time the matrix optimizers beside their products alone; return the rows."""
    repeats = 3 if options.quick else 7
    rows = {}
    print(
        f"{'optimizer':>10} {'matrices':>26} {'ms':>8} {'state B':>8} {'GFLOP/s':>8} {'of floor':>9} "
        f"{'x torch':>8}"
    )
    for label, optimizer in step_cases.cases():
        if optimizer.name not in step_cases.MATRIX:
            continue
        for network, shapes in step_cases.NETWORKS.items():
            stepper, step = step_cases.bound(optimizer, shapes)
            n, name = sum(a * b for a, b in shapes), optimizer.name
            n_steps = step_cases.CYCLE.get(name, 1)
            calls = [step_cases.cycle(name, step), *step_cases.floor_calls(name, shapes)]
            with np.errstate(all="ignore"):
                times = measure(calls, repeats) / n_steps
            factorizing = step_cases.factorization_seconds(name, shapes, repeats)
            seconds = float(np.median(times[:, 0]))
            floor = step_cases.floor_seconds(times[:, 1:]) + factorizing
            _, ratios = _against_torch(optimizer, shapes, step, repeats)
            row = rows[f"{label}, {network}"] = {
                "seconds": seconds,
                "seconds_per_parameter": seconds / n,
                "state_bytes": stepper.nbytes / n,
                "operations_per_second": step_cases.operations(name, shapes) / seconds,
                "floor_seconds": floor,
                "of_floor": floor / seconds,
                "torch": ratios,
            }
            print(
                f"{label:>10} {network:>26} {seconds * 1e3:8.2f} {row['state_bytes']:8.2f} "
                f"{row['operations_per_second'] / 1e9:8.0f} {row['of_floor']:9.0%} "
                f"{_ratio(ratios, 'default'):>8}",
                flush=True,
            )
    return rows


def plot(rows, path):
    """Draw the shares of what bounds each optimizer: of copy bandwidth, and of its products' speed."""
    panels = []
    if "optimizers" in rows:
        shares = {label: row["of_copy"] for label, row in rows["optimizers"]["optimizers"].items()}
        panels.append(("Bound by memory", "of the bandwidth of a copy", shares, 0.85))
    if "matrices" in rows:
        shares = {label: row["of_floor"] for label, row in rows["matrices"].items()}
        panels.append(("Bound by matrix products", "of the products' speed alone", shares, 0.7))
    with style.theme():
        pyplot = style.pyplot()
        heights = [len(shares) for *_, shares, _ in panels]
        figure, axes = pyplot.subplots(
            len(panels),
            1,
            figsize=(8, 1.4 * len(panels) + 0.22 * sum(heights)),
            height_ratios=heights,
            squeeze=False,
        )
        for i, (ax, (title, what, shares, target)) in enumerate(zip(axes[:, 0], panels, strict=True)):
            labels = sorted(shares, key=shares.get)
            percent = [100 * shares[label] for label in labels]
            bars = ax.barh(labels, percent, color=style.PALETTE[i + 1], height=0.72)
            ax.bar_label(bars, fmt="%.0f %%", padding=3, fontsize=9)
            ax.axvline(100 * target, color=style.INK, linewidth=1, linestyle=(0, (3, 2)))
            ax.set(
                title=title, xlabel=f"percent {what} (dashes: {target:.0%})", xlim=(0, 1.12 * max(percent))
            )
            ax.set_ylim(-0.6, len(labels) - 0.4)
            ax.grid(axis="y", visible=False)
        figure.savefig(path)
        pyplot.close(figure)
