"""The order of the landscape's work, and its results: lines of a file that survive whatever ends a run."""

from __future__ import annotations

import concurrent.futures
import functools
import json
import lzma
import multiprocessing
import os
import threading
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import landscape_cases as cases
from landscape_fits import Bench, Unit, run
from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: Optimizers that are also run with a schedule, other sizes, batches and decay before all others are.
LEADING = (
    "adam", "adamw", "nadam", "radam", "rmsprop", "adagrad", "yogi", "madgrad", "lion", "signum", "sgd",
    "momentum", "nesterov", "prodigy", "momo", "schedulefreeadamw", "sam(adam)", "lookahead(adam)",
    "ema(adam)",
)  # fmt: skip
#: Of these the batch size is varied, and the weight decay.
VARIED = ("adam", "nadam", "rmsprop", "yogi", "madgrad", "lion", "signum", "sgd", "momentum", "nesterov")
DECAYED = ("adamw", "lion", "momentum")
BATCHES, DECAYS = (16, 128), (0.0, 0.01, 0.1, 1.0)
#: A fit of these takes more than 5 times as long as Adam's.
SLOW = ("muon", "normuon", "soap", "shampoo", "lbfgs")


def units() -> list[Unit]:
    """Return all work, in an order of which each beginning is of use, a data set at a time.

    First the middle size at a constant rate, then with a schedule for some; then, for these, sizes, batches
    and decay, one factor at a time; then what is left.
    """
    everybody = [contender.name for contender in cases.contenders()]
    quick = [name for name in everybody if name not in SLOW]
    found = [unit for table in cases.SETS for unit in _each(table, quick)]
    found += [unit for table in cases.SETS for unit in _each(table, LEADING, schedule="cosine")]
    found += [unit for table in cases.SETS for unit in _each(table, SLOW)]
    found += [unit for table in cases.SETS for unit in _one_factor(table)]
    for more in ({"schedule": "cosine"}, {"size": "small"}, {"size": "large"}):
        found += [unit for table in cases.SETS for unit in _each(table, everybody, **more)]
    return list(dict.fromkeys(found))


def _each(table, names, size="middle", stage="main", **more):
    return [Unit(stage, table, size, name, **more) for name in names]


def _one_factor(table):
    found = _each(table, LEADING, "small") + _each(table, LEADING, "large")
    for batch in BATCHES:
        found += _each(table, VARIED, stage="batch", batch=batch)
    for decay in DECAYS:
        found += _each(table, DECAYED, stage="decay", weight_decay=decay)
    return found


class Store:
    """Records as lines of JSON, each written at once when its unit is done.

    Parameters
    ----------
    path : Path
        A line that is not whole, because the writer was killed, is dropped.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.done = path, set()
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            whole = path.read_bytes()
            whole = whole[: whole.rfind(b"\n") + 1]
            os.truncate(path, len(whole))
            self.done = {key_of(json.loads(line)) for line in whole.splitlines()}

    def add(self, record: dict[str, Any]) -> None:
        """Append a record, and have it on the disk before returning."""
        line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
        with open(self.path, "ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        self.done.add(key_of(record))


def key_of(record: dict[str, Any]) -> tuple[Any, ...]:
    """Return the key of the unit that a record is of."""
    return tuple(record[name] for name in Unit.__dataclass_fields__)


def records(path: Path) -> list[dict[str, Any]]:
    """Return the records of a compressed file or of one that is being written."""
    if path.suffix == ".xz":
        with lzma.open(path, "rt") as file:
            return [json.loads(line) for line in file]
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def compress(source: Path, target: Path) -> None:
    """Write the records in the order of `units`, compressed; a reader finds the old file or the new one."""
    place = {unit.key: number for number, unit in enumerate(units())}
    ordered = sorted(records(source), key=lambda record: place[key_of(record)])
    partial = target.with_suffix(".part")
    with lzma.open(partial, "wt", preset=9) as file:
        file.writelines(json.dumps(record, separators=(",", ":")) + "\n" for record in ordered)
    partial.replace(target)


def work(folder: Path, path: Path, n_workers: int, until: float) -> Iterator[dict[str, Any]]:
    """Do what is not done yet; yield each record after it is on the disk.

    Parameters
    ----------
    folder : Path
        Of the data.
    path : Path
        Of the lines.
    n_workers : int
        Processes, of one thread each.
    until : float
        Time after which no unit is begun.
    """
    store = Store(path)
    missing = (unit for unit in units() if unit.key not in store.done)
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(n_workers, context, _begin_worker, (os.getpid(),)) as pool:
        running = set()
        for unit in _before(missing, until):
            running.add(pool.submit(_run, folder, unit))
            if len(running) >= n_workers + 1:
                running = yield from _recorded(store, running)
        while running:
            running = yield from _recorded(store, running)


def _before(found: Iterable[Unit], until: float) -> Iterator[Unit]:
    for unit in found:
        if time.time() >= until:
            return
        yield unit


def _recorded(store, running):
    """Record what has ended, and return what has not."""
    done, running = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
    for future in done:
        record = future.result()
        store.add(record)
        yield record
    return running


def _begin_worker(parent):
    """End this process when the one that collects results has been killed."""
    warnings.simplefilter("ignore", RuntimeWarning)  # of fits that diverge

    def watch():
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@functools.lru_cache(maxsize=1)
def _bench(folder, table, size):
    return Bench(_table(folder, table), size)


@functools.lru_cache(maxsize=1)
def _table(folder, name):
    return cases.load(folder, name)


_warm = set()


def _run(folder, unit):
    contender = next(one for one in cases.contenders() if one.name == unit.contender)
    bench = _bench(folder, unit.table, unit.size)
    with threadpool_limits(1):
        kind = unit.contender, bench.table.loss
        if kind not in _warm:  # compiles outside the clock
            member = bench.begin(contender.make(None), 0, unit.batch, None)
            bench.train([member], unit.batch, n_epochs=1)
            _warm.add(kind)
        return run(unit, bench, contender)
