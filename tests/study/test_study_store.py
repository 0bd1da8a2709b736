"""Results are written as they come, and a study that was stopped continues."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from reference.small_study import iris, small_study

from fastopt.study import StoreError
from fastopt.study.store import ResultStore

N_FITS = 2 * 2 * 1 + 2 * 3  # small_study: 2 solvers x 2 rates x 1 tuning seed, then 2 x 3 seeds


def test_a_study_with_a_store_measures_nothing_twice(tmp_path):
    first = small_study(store=tmp_path).fit(*iris())
    again = small_study(store=tmp_path).fit(*iris())
    assert (first.n_read_, again.n_read_) == (0, N_FITS)
    assert again.results_.equals(first.results_)


def test_an_optimizer_added_later_costs_only_its_own_fits(tmp_path):
    small_study(store=tmp_path).fit(*iris())
    more = {
        "momentum": {"solver": "sgd"},
        "adam": {"solver": "adam"},
        "slow": {"solver": "sgd", "momentum": 0.0},
    }
    assert small_study(more, store=tmp_path).fit(*iris()).n_read_ == N_FITS


@pytest.mark.parametrize("change", [{"max_epochs": 2}, {"scoring": "balanced_accuracy"}, {"batch_size": 16}])
def test_fits_under_other_settings_are_not_taken(tmp_path, change):
    small_study(store=tmp_path).fit(*iris())
    assert small_study(store=tmp_path, **change).fit(*iris()).n_read_ == 0


def test_fits_on_other_data_are_not_taken(tmp_path):
    X, y = iris()
    small_study(store=tmp_path).fit(X, y)
    assert small_study(store=tmp_path).fit(X + 1e-9, y).n_read_ == 0


def test_without_reuse_everything_is_measured_again(tmp_path):
    small_study(store=tmp_path).fit(*iris())
    assert small_study(store=tmp_path, reuse=False).fit(*iris()).n_read_ == 0


def test_a_killed_study_loses_at_most_the_fit_in_flight(tmp_path):
    code = "from reference.small_study import *; small_study(store='.', max_epochs=100).fit(*iris())"
    paths = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=environment)
    written = 0
    deadline = time.monotonic() + 120
    while written < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
        written = sum(path.read_text().count("\n") - 1 for path in tmp_path.glob("*.jsonl"))
    process.kill()
    process.wait()
    assert 2 <= written < N_FITS  # it was killed in the middle
    study = small_study(store=tmp_path, max_epochs=100).fit(*iris())
    assert study.n_read_ >= written
    assert len(study.results_) == N_FITS


def test_half_a_line_is_dropped_and_the_rest_is_kept(tmp_path):
    store = ResultStore(tmp_path, {"data": 1})
    store.add({"seed": 0}, {"score": [1.0]})
    store.add({"seed": 1}, {"score": [2.0]})
    text = store.path.read_text()
    store.path.write_text(text[: -len(text.splitlines()[-1]) // 2])
    again = ResultStore(tmp_path, {"data": 1})
    assert again.n_resumed == 1
    assert again.get({"seed": 1}) is None
    again.add({"seed": 1}, {"score": [3.0]})
    assert ResultStore(tmp_path, {"data": 1}).get({"seed": 1}) == {"score": [3.0]}


def test_a_damaged_line_is_named_and_costs_its_own_fit_only(tmp_path):
    store = ResultStore(tmp_path, {"data": 1})
    for seed in range(3):
        store.add({"seed": seed}, {"score": [float(seed)]})
    lines = store.path.read_text().splitlines()
    for damage in ('{"key": {"se', "[]", '{"record": 1}', "\x00\x00"):
        store.path.write_text("\n".join([*lines[:2], damage, *lines[3:]]) + "\n")
        with pytest.warns(UserWarning, match=r"results-.*\.jsonl, line 3, is damaged"):
            again = ResultStore(tmp_path, {"data": 1})
        assert again.n_resumed == 2
        assert again.get({"seed": 1}) is None


def test_the_repair_of_half_a_line_never_rewrites_the_whole_ones(tmp_path, monkeypatch):
    store = ResultStore(tmp_path, {"data": 1})
    store.add({"seed": 0}, {"score": [1.0]})
    with store.path.open("a") as file:
        file.write('{"key": {"seed": 1}, "rec')
    inode = store.path.stat().st_ino

    def no_writing(*args, **kwargs):
        raise AssertionError("the file was written anew")

    monkeypatch.setattr(Path, "write_text", no_writing)
    monkeypatch.setattr(Path, "write_bytes", no_writing)
    assert ResultStore(tmp_path, {"data": 1}).get({"seed": 0}) == {"score": [1.0]}
    assert store.path.stat().st_ino == inode
    store.forget()
    assert ResultStore(tmp_path, {"data": 1}).n_resumed == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_reported_and_loses_nothing(tmp_path):
    store = ResultStore(tmp_path, {"data": 1})
    store.path.unlink()
    store.path.symlink_to("/dev/full")
    with pytest.raises(StoreError, match=r"No space left on device.*run the same study again to continue"):
        store.add({"seed": 0}, {"score": [1.0]})
    assert store.get({"seed": 0}) == {"score": [1.0]}


def test_each_line_of_the_file_is_json_by_itself(tmp_path):
    study = small_study(store=tmp_path).fit(*iris())
    header, *lines = map(json.loads, study.store_path_.read_text().splitlines())
    assert "study" in header
    assert len(lines) == N_FITS
    assert all(line["record"]["score"] for line in lines)
