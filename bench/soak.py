"""Try for a given time what the library promises to survive; print what was tried, failed and lost.

    python bench/soak.py --seconds 600
    python bench/soak.py --seconds 120 --only kills,fuzz

The cases are those of ``tests/robustness``, from ``tests/reference/robustness``. They run in processes of
their own: one that dies or hangs counts as a crash, and its seed is printed. Needs Linux, and the packages of
``pip install -e ".[test]"``.
"""

import argparse
import faulthandler
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
KINDS = "kills fuzz cache fork threads rss".split()
COUNTS = ("tried", "failed", "lost", "crashed")
#: Seconds after which a worker that has been given ``SLICE`` seconds counts as hanging.
SLICE, PATIENCE = 30.0, 300.0


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=600, help="in all (600)")
    parser.add_argument("--only", default=",".join(KINDS), help=f"some of {','.join(KINDS)}")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the first cases (the time)")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        return work(arguments.worker, arguments.seed, arguments.seconds)
    kinds = arguments.only.split(",")
    unknown = set(kinds) - set(KINDS)
    if unknown:
        parser.error(f"--only takes some of {','.join(KINDS)}, not {','.join(unknown)}")
    return soak(kinds, arguments.seconds, arguments.seed)


def soak(kinds, seconds, seed):
    """Divide the time among the kinds; return 1 if anything has failed."""
    print(f"seed {seed}")
    totals = {}
    for kind in kinds:
        end = time.monotonic() + seconds / len(kinds)
        while time.monotonic() < end:
            for name, count in one_slice(kind, seed, min(SLICE, end - time.monotonic())).items():
                total = totals.setdefault(f"{kind} {name}", dict.fromkeys(COUNTS, 0))
                for key, value in count.items():
                    total[key] += value
            seed += 1
    print(f"\n{'kind':30}{'tried':>9}{'failed':>9}{'lost':>9}{'crashed':>9}")
    for name, total in totals.items():
        print(f"{name:30}" + "".join(f"{total[key]:9d}" for key in COUNTS))
    return int(any(total[key] for total in totals.values() for key in COUNTS[1:]))


def one_slice(kind, seed, seconds):
    """Run a worker; return its counts by name."""
    command = [sys.executable, "-W", "ignore", __file__, "--worker", kind, "--seed", str(seed)]
    paths = [str(ROOT), str(ROOT / "tests"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "MPLBACKEND": "Agg"}
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen([*command, "--seconds", str(seconds)], env=environment, stdout=out)
        try:
            status = process.wait(seconds + PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            status = f"no end after {PATIENCE:g} s more than it had"
        out.seek(0)
        lines = [json.loads(line[5:]) for line in out if line.startswith("soak ")]
    counts = {}
    for line in lines:
        count = counts.setdefault(line.pop("name"), dict.fromkeys(COUNTS, 0))
        for key, value in line.items():
            count[key] += value
    if status != 0:
        print(f"{kind}, seed {seed}: the process ended with {status}")
        counts.setdefault("process", dict.fromkeys(COUNTS, 0))["crashed"] += 1
    return counts


def work(kind, seed, seconds):
    """Try the cases of one kind until the time is over, and print the counts as lines of JSON."""
    import numpy as np

    faulthandler.dump_traceback_later(seconds + PATIENCE - 10)
    rng, end = np.random.default_rng(seed), time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        for name, case in WORK[kind](rng, folder):
            tried, failed, lost = 1, 0, 0
            try:
                tried = case() or 1
            except AssertionError as error:
                failed, lost = 1, int("lost" in str(error))
                last = traceback.extract_tb((error.__cause__ or error).__traceback__)[-1]
                notes = " ".join(getattr(error, "__notes__", []))[:600]
                print(
                    f"{kind} {name}, seed {seed}: {error} ({last.filename}:{last.lineno}) {notes}",
                    file=sys.stderr,
                )
            print(
                "soak " + json.dumps({"name": name, "tried": tried, "failed": failed, "lost": lost}),
                flush=True,
            )
            if time.monotonic() > end:
                return 0
    return 0


def kills(rng, folder):
    from reference.robustness import kills

    while True:
        for name, case in kills.KINDS.items():
            own = Path(folder, name)
            own.mkdir(exist_ok=True)
            for _ in range(10):
                yield name, lambda case=case, own=own: case(rng, own) and 1


def fuzz(rng, folder):
    from reference.robustness import fuzzing

    n = {"commands": 3}
    while True:
        for name in fuzzing.TARGETS:
            number = int(rng.integers(2**31))
            yield name, lambda name=name, k=number: fuzzing.fuzz(name, n.get(name, 50), k, is_long=True)


def cache(rng, folder):
    from reference.robustness import caches

    own = Path(folder, "damaged")
    own.mkdir()
    for _ in range(40):
        yield "damaged files", lambda: caches.damage(rng, own)
    number = int(rng.integers(len(caches.PLACES)))
    place = Path(folder, str(number))
    place.mkdir()
    yield f"no place: {caches.PLACES[number]}", lambda: caches.place(number, place)


def fork(rng, folder):
    from reference.robustness import layers

    while True:
        for layer in layers.LAYERS:
            yield layer, lambda layer=layer: layers.run(layer, 6, 60) or 60


def threads(rng, folder):
    from reference.robustness import layers

    while True:
        for layer in layers.LAYERS:
            yield layer, lambda layer=layer: layers.run(layer, 600, 0) or 600


def rss(rng, folder):
    from reference.robustness import memory

    def grow():
        growth = memory.growth(300)
        print(f"300 fits: {growth / 1e6:+.1f} MB", file=sys.stderr)
        assert growth < 4e6, f"300 fits added {growth / 1e6:.1f} MB"
        return 300

    while True:
        yield "300 fits", grow


WORK = {"kills": kills, "fuzz": fuzz, "cache": cache, "fork": fork, "threads": threads, "rss": rss}

if __name__ == "__main__":
    sys.exit(main())
