"""``bench/gpu_check.py`` where there is no GPU: it says so, and what the simulator can run it runs."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fastopt.kernels.cuda import api as cuda

SCRIPT = Path(__file__).parents[2] / "bench" / "gpu_check.py"


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("gpu_check", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(*arguments):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(SCRIPT.parents[1]), *sys.path])}
    command = [sys.executable, SCRIPT, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.skipif(cuda.problem() is None, reason="there is a GPU here")
def test_without_a_gpu_it_says_so_in_one_line():
    done = run()
    assert done.returncode == 2
    assert done.stdout.startswith("gpu_check needs a GPU: ")
    assert done.stdout.count("\n") == 1


def test_an_unknown_section_is_refused():
    done = run("rooflin")
    assert done.returncode == 2
    assert "'rooflin' is not one of environment, correctness" in done.stderr


def test_sections_run_in_the_simulator(tmp_path):
    path = tmp_path / "results" / "gpu.json"
    done = run("environment", "correctness", "roofline", "launches", "--simulate", "--json", str(path))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(path.read_text("utf-8"))
    assert found["simulated"] is True
    assert found["environment"]["devices"] == {"cuda:0": "Numba's simulator"}
    assert found["correctness"]["share_correct"] == 1.0, found["correctness"]["wrong"]
    assert found["roofline"]["adam_bytes_per_second"] > 0.0
    assert found["launches"]["graph"]["checked"] is True


def test_a_section_that_fails_is_told_and_leaves_the_others(script):
    figures = script.run("no_such_section", simulate=True)
    assert "no_such_section" in figures["failed"]


def test_targets_are_judged(script, capsys):
    found = {
        "roofline": {"of_copy": 0.95, "by_grid": {"16 x 256": 2.5e12}},
        "torch": {"fused_over_ours": 0.9},
    }
    assert script.report(found, simulated=False) == 1
    shown = capsys.readouterr().out
    assert "by_grid 16 x 256" in shown
    assert [line.split()[-1] for line in shown.splitlines() if "Adam" in line] == ["pass", "FAIL"]
    found["torch"]["fused_over_ours"] = 1.1
    assert script.report(found, simulated=False) == 0
    assert script.report({"training": {"failed": "out of memory"}}, simulated=False) == 1
