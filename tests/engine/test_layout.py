"""Where weights and biases lie in the flat vector."""

from itertools import pairwise

import numpy as np
import pytest

from fastopt.engine import Layout

NETWORKS = [[1, 1], [4, 3, 2], [784, 100, 50, 10], [7, 1, 1, 9], [33, 17, 5, 3]]


@pytest.mark.parametrize("sizes", NETWORKS)
def test_blocks_have_the_networks_shapes_and_never_overlap(sizes):
    layout = Layout(sizes)
    flat = np.zeros(layout.size)
    views = layout.weights(flat) + layout.biases(flat)
    for view in views:
        view += 1  # twice at the same place would make a 2
    expected = list(pairwise(sizes)) + [(b,) for b in sizes[1:]]
    assert [view.shape for view in views] == expected
    assert set(np.unique(flat)) <= {0.0, 1.0}
    assert flat.sum() == sum(view.size for view in views)


@pytest.mark.parametrize("sizes", NETWORKS)
def test_weights_come_first_and_decay_is_that_prefix(sizes):
    layout = Layout(sizes)
    flat = np.zeros(layout.size)
    for weights in layout.weights(flat):
        weights[...] = 1
    for biases in layout.biases(flat):
        biases[...] = 2
    assert not (flat[: layout.n_decay] == 2).any()
    assert not (flat[layout.n_decay :] == 1).any()


@pytest.mark.parametrize("sizes", NETWORKS)
def test_every_block_begins_on_a_cache_line_of_float32(sizes):
    layout = Layout(sizes)
    assert not (np.concatenate([layout.weights_at, layout.biases_at, [layout.size]]) * 4 % 64).any()


@pytest.mark.parametrize("sizes", [[], [3], [3, 0, 1], [3, -1]])
def test_impossible_networks_are_refused_by_value(sizes):
    with pytest.raises(ValueError, match="layer_sizes=") as caught:
        Layout(sizes)
    assert str(sizes) in str(caught.value)


def test_layouts_of_the_same_network_are_equal_and_hash_alike():
    assert Layout([4, 3]) == Layout((4, 3))
    assert hash(Layout([4, 3])) == hash(Layout((4, 3)))
    assert Layout([4, 3]) != Layout([3, 4])
    assert repr(Layout([4, 3])) == "Layout([4, 3])"
