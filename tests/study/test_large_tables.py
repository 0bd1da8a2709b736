"""Tables that are larger than memory: a sample is drawn for the study, and it is said."""

import numpy as np
import pytest

from fastopt import cli, datasets
from fastopt.datasets import large_tables

pandas = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

N_ROWS = 5000
RS = np.random.RandomState(0)
#: Three columns: 8 bytes, 8 bytes, and text.
FRAME = pandas.DataFrame({"number": np.arange(N_ROWS), "value": RS.standard_normal(N_ROWS)})
FRAME["kind"] = np.where(FRAME["value"] > 0, "up", "down")
ROW_BYTES = 8 + 8 + 64


@pytest.fixture
def small_machine(monkeypatch):
    """Let the machine have an eighth of its memory for 4000 rows, and a sample take 400."""
    monkeypatch.setattr(large_tables, "_memory", lambda: 8 * 4000 * ROW_BYTES)
    monkeypatch.setattr(large_tables, "_SAMPLE_BYTES", 400 * ROW_BYTES)


@pytest.fixture(params=["rows.parquet", "rows.feather", "one-group.parquet"])
def path(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if request.param.endswith("feather"):
        FRAME.to_feather(request.param, chunksize=300)
    else:
        FRAME.to_parquet(request.param, row_group_size=N_ROWS if "one" in request.param else 300)
    return tmp_path / request.param


def test_a_table_that_fits_is_loaded_whole(path):
    assert large_tables.sample(path) is None
    assert len(datasets.load(str(path), "kind").y) == N_ROWS


def test_a_larger_one_is_sampled_at_random(path, small_machine):
    frame, note = large_tables.sample(path)
    assert "400 of 5,000 rows" in note
    numbers = frame["number"].to_numpy()
    assert len(np.unique(numbers)) == 400
    pandas.testing.assert_frame_equal(frame, FRAME.loc[numbers].reset_index(drop=True))
    # Places of a random sample: their mean is that of uniform numbers, within 4 standard errors.
    assert abs(numbers.mean() / N_ROWS - 0.5) < 4 * np.sqrt(1 / 12 / 400)
    pandas.testing.assert_frame_equal(large_tables.sample(path)[0], frame)  # the same each time


def test_the_command_line_says_that_it_sampled(path, small_machine, capsys):
    arguments = ["--target", "kind", "--optimizers", "adam", "--lr", "0.01", "--epochs", "2", "--seeds", "2"]
    assert cli.main(["compare", "--dataset", path.name, "--no-yardstick", *arguments]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "Sampled: 400 of 5,000 rows, drawn at random" in printed
    assert "400 rows" in printed


def test_what_a_cell_takes():
    import pyarrow

    types = {
        pyarrow.float32(): 8,
        pyarrow.int64(): 8,
        pyarrow.bool_(): 8,
        pyarrow.timestamp("ns"): 8,
        pyarrow.string(): 64,
        pyarrow.list_(pyarrow.int8()): 64,
    }
    assert {kind: large_tables._cell_bytes(kind) for kind in types} == types
