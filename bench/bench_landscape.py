"""Every optimizer on twenty data sets: which one, by how much, and how much the learning rate matters.

    python bench/bench_landscape.py --verify --data DATA
    python bench/bench_landscape.py --run --data DATA --store STORE [--minutes 60] [--workers 2]
    python bench/bench_landscape.py --page

``DATA`` holds ``mnist.npz`` and the folder ``tabular``. ``--run`` goes on where an earlier run ended, however
that was, and leaves the results compressed in ``results/landscape.jsonl.xz``. ``--page`` makes
docs/landscape.md, its pictures and the learning rates that the package recommends from that file alone.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "landscape.jsonl.xz"


def main() -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("verify", "run", "page"):
        parser.add_argument(f"--{name}", action="store_true")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the data sets")
    parser.add_argument("--store", type=Path, default=Path("landscape-store"), help="folder of the lines")
    parser.add_argument("--minutes", type=float, default=60.0, help="after which nothing new is begun")
    parser.add_argument("--workers", type=int, default=2, help="processes, of one thread each")
    options = parser.parse_args()
    warnings.simplefilter("ignore", RuntimeWarning)
    if options.verify:
        import landscape_verify

        landscape_verify.verify(options.data)
    if options.run:
        run(options)
    if options.page:
        import landscape_page

        landscape_page.write(RESULTS)


def run(options: argparse.Namespace) -> None:
    """Do the work that is not done yet, and compress all results."""
    import landscape_about
    import landscape_work

    lines, begin, spent = options.store / "landscape.jsonl", time.time(), 0.0
    until = begin + 60 * options.minutes
    for number, record in enumerate(landscape_work.work(options.data, lines, options.workers, until), 1):
        spent += record["seconds"]
        if number % 20 == 0:
            print(
                f"{number} units, {time.time() - begin:.0f} s, processor {spent:.0f} s: now "
                f"{record['stage']} {record['size']} {record['schedule']} {record['table']}",
                flush=True,
            )
    landscape_work.compress(lines, RESULTS)
    landscape_about.write(options.data, RESULTS)


if __name__ == "__main__":
    main()
