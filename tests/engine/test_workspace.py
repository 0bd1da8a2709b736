"""The division of a batch into blocks of rows, and of weights into tiles."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

from fastopt.engine import Layout
from fastopt.engine.cpu.context import COMPRESS, CSR, DENSE, first_row
from fastopt.engine.cpu.inputs import GROUP
from fastopt.engine.cpu.workspace import block_rows, cut_tiles, share_tiles


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


@pytest.mark.parametrize("inputs", [DENSE, COMPRESS])
@pytest.mark.parametrize("n_workers", [1, 2, 5, 40])
def test_each_worker_gets_its_share_of_the_cost_and_begins_with_what_costs_most(n_workers, inputs):
    layout = Layout((784, 512, 256, 10))
    tiles, bounds = share_tiles(cut_tiles(layout, inputs), layout, inputs, n_workers)
    assert sorted(tiles[:, 3]) == list(range(len(tiles)))
    assert (bounds[0], bounds[-1], len(bounds)) == (0, len(tiles), n_workers + 1)
    costs = (tiles[:, 2] - tiles[:, 1]) * np.array([n for _, n in layout.shapes])[tiles[:, 0]]
    costs = np.where((tiles[:, 0] == 0) & (inputs == COMPRESS), costs / 2, costs)
    shares = [costs[first:last] for first, last in pairwise(bounds)]
    assert all((np.diff(share) <= 0).all() for share in shares)
    loads = [share.sum() for share in shares]
    assert max(loads) - min(loads) <= costs.max()  # who has most was last given one as the least
