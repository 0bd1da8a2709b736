"""Two studies on one store at once: each fit is made once, and both end with all results."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from reference.small_study import iris, small_study

from fastopt.study import file_locks, store
from fastopt.study.store import ResultStore

N_FITS = 2 * 2 * 1 + 2 * 3  # small_study: 2 solvers x 2 rates x 1 tuning seed, then 2 x 3 seeds

PATHS = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]


def python(code, folder):
    """Start Python with the code in a folder; it can read and write through pipes."""
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(PATHS)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


STUDY = """
from reference.small_study import *
study = small_study(store='.', max_epochs=40)
X, y = iris()
print('ready', flush=True)
input()
study.fit(X, y)
print(len(study.results_), study.n_read_, len(study.verdict_))
"""


def test_two_processes_share_the_fits_and_both_have_all_results(tmp_path):
    processes = [python(STUDY, tmp_path) for _ in range(2)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    found = [list(map(int, process.communicate(timeout=120)[0].split())) for process in processes]
    assert [n_results for n_results, _, _ in found] == [N_FITS, N_FITS]
    assert sum(n_read for _, n_read, _ in found) == N_FITS  # what one has made, the other has read
    assert all(n_read for _, n_read, _ in found)
    header, *lines = map(json.loads, next(tmp_path.glob("*.jsonl")).read_text().splitlines())
    assert "study" in header
    assert len({json.dumps(line["key"], sort_keys=True) for line in lines}) == len(lines) == N_FITS


CLAIM = """
from fastopt.study.store import ResultStore
print(ResultStore('.', {'data': 1}).claim({'seed': 0}), flush=True)
input()
"""


def test_the_claim_of_a_killed_process_ends_with_it(tmp_path):
    process = python(CLAIM, tmp_path)
    assert process.stdout.readline() == "True\n"
    here = ResultStore(tmp_path, {"data": 1})
    assert not here.claim({"seed": 0})
    assert here.claim({"seed": 1})
    process.kill()
    process.communicate()
    assert here.claim({"seed": 0})


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_studies_in_two_threads_share_the_fits_as_well(tmp_path, n_jobs):
    studies = [small_study(store=tmp_path, n_jobs=n_jobs, backend="threading") for _ in range(2)]
    threads = [threading.Thread(target=study.fit, args=iris()) for study in studies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(study.results_) for study in studies] == [N_FITS, N_FITS]
    assert sum(study.n_read_ for study in studies) == N_FITS
    again = small_study(store=tmp_path).fit(*iris())
    columns = [c for c in again.results_ if "second" not in c]
    assert all(again.results_[columns].equals(study.results_[columns]) for study in studies)


def test_a_claim_is_free_again_after_its_study_has_failed(tmp_path):
    first, second = (ResultStore(tmp_path, {"data": 1}) for _ in range(2))
    assert first.claim({"seed": 0})
    assert not second.claim({"seed": 0})
    second.release({"seed": 0})  # not its own
    assert not second.claim({"seed": 0})
    first.add({"seed": 0}, {"score": [1.0]})
    first.release({"seed": 0})
    assert second.claim({"seed": 0})
    assert second.get({"seed": 0}) == {"score": [1.0]}


def test_a_line_goes_behind_the_half_one_of_a_killed_process(tmp_path):
    here, other = (ResultStore(tmp_path, {"data": 1}) for _ in range(2))
    here.add({"seed": 0}, {"score": [1.0]})
    with here.path.open("a") as file:
        file.write('{"key": {"seed": 1}, "rec')
    other.add({"seed": 2}, {"score": [2.0]})
    assert here.claim({"seed": 3})
    assert here.get({"seed": 2}) == {"score": [2.0]}
    assert [json.loads(line) for line in here.path.read_text().splitlines()][1:] == [
        {"key": {"seed": n}, "record": {"score": [max(float(n), 1.0)]}} for n in (0, 2)
    ]


def test_results_that_another_study_deletes_stay_in_memory(tmp_path):
    here, other = (ResultStore(tmp_path, {"data": 1}) for _ in range(2))
    here.add({"seed": 0}, {"score": [1.0]})
    other.forget()
    other.add({"seed": 1}, {"score": [2.0]})
    here.refresh()
    assert here.get({"seed": 0}) == {"score": [1.0]}
    assert here.get({"seed": 1}) == {"score": [2.0]}


def test_without_locks_the_study_says_so_and_goes_on(tmp_path, monkeypatch):
    def no_locks(*arguments):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(file_locks.FileLocks, "_change", no_locks)
    monkeypatch.setattr(store, "locks_of", file_locks.FileLocks)
    with pytest.warns(UserWarning, match=r"results-.*\.lock cannot be locked \(No locks available\)"):
        study = small_study(store=tmp_path).fit(*iris())
    assert len(study.results_) == N_FITS
