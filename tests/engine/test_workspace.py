"""The division of a batch into blocks of rows, and of weights into tiles."""

from types import SimpleNamespace

import numpy as np
import pytest

from fastopt.engine import Layout
from fastopt.engine.cpu.context import COMPRESS, CSR, DENSE, first_row
from fastopt.engine.cpu.inputs import GROUP
from fastopt.engine.cpu.workspace import block_rows, cut_tiles


@pytest.mark.parametrize("capacity", [1, 3, 32, 100, 128, 200, 333, 1024])
def test_blocks_of_rows_are_even_and_cover_every_batch_once(capacity):
    rows = block_rows(capacity)
    for n_rows in {1, capacity // 3 + 1, capacity - 1, capacity} - {0}:
        n_blocks = -(-n_rows // rows)  # as `batch_loop` counts them
        batch = SimpleNamespace(n_rows=n_rows, n_blocks=n_blocks)
        ends = [first_row.py_func(batch, block) for block in range(n_blocks + 1)]
        sizes = np.diff(ends)
        assert (ends[0], ends[-1]) == (0, n_rows)
        assert sizes.min() > 0
        assert sizes.max() <= rows
        assert all(end % 4 == 0 for end in ends[:-1])
        assert sizes.max() - sizes.min() < 8  # each end moves by less than 4


@pytest.mark.parametrize("inputs", [DENSE, COMPRESS, CSR])
@pytest.mark.parametrize("sizes", [(50, 100, 100, 1), (784, 512, 256, 10), (1, 1), (5, 3000, 2), (13, 40, 7)])
def test_tiles_cover_every_weight_once(sizes, inputs):
    layout = Layout(sizes)
    covered = [np.zeros(n_in, int) for n_in, _ in layout.shapes]
    tiles = cut_tiles(layout, inputs)
    for layer, first, last, _ in tiles:
        if first >= 0:
            covered[layer][first:last] += 1
            assert last > first
            assert first % GROUP == 0 or inputs == CSR
    assert all((rows == 1).all() for rows in covered)
    assert sorted(tiles[tiles[:, 1] < 0, 0]) == list(range(len(layout.shapes)))
    assert list(tiles[:, 3]) == list(range(len(tiles)))
