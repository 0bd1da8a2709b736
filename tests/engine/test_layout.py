"""Where weights, biases and slopes lie in the flat vector."""

import pickle
from itertools import pairwise

import numpy as np
import pytest

from fastopt.engine import Layout
from fastopt.persistence import restore, state_of

NETWORKS = [[1, 1], [4, 3, 2], [784, 100, 50, 10], [7, 1, 1, 9], [33, 17, 5, 3]]
SLOPES = [([4, 3, 2], [True]), ([7, 1, 20, 9], [False, True]), ([33, 17, 5, 3], [True, True])]


@pytest.mark.parametrize(("sizes", "has_slopes"), [(sizes, ()) for sizes in NETWORKS] + SLOPES)
def test_blocks_have_the_networks_shapes_and_never_overlap(sizes, has_slopes):
    layout = Layout(sizes, has_slopes)
    flat = np.zeros(layout.size)
    views = layout.arrays(flat)
    for view in views:
        view += 1  # twice at the same place would make a 2
    slopes = [(n,) for n, has in zip(sizes[1:], has_slopes, strict=False) if has]
    expected = list(pairwise(sizes)) + [(b,) for b in sizes[1:]] + slopes
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


@pytest.mark.parametrize(("sizes", "has_slopes"), SLOPES)
def test_slopes_follow_the_layout_without_them(sizes, has_slopes):
    layout, plain = Layout(sizes, has_slopes), Layout(sizes)
    flat = np.zeros(layout.size)
    for slopes, has in zip(layout.slopes(flat), has_slopes, strict=True):
        assert (slopes is not None) == has
        if has:
            slopes[...] = 1
    assert not flat[: plain.size].any()
    assert layout.n_decay == plain.n_decay
    np.testing.assert_array_equal(layout.weights_at, plain.weights_at)
    np.testing.assert_array_equal(layout.biases_at, plain.biases_at)
    assert not (np.append(layout.slopes_at, layout.size) * 4 % 64).any()


def test_a_network_without_slopes_has_none_and_the_state_of_earlier_versions():
    layout = Layout([4, 3, 2], [False])
    assert layout == Layout([4, 3, 2])
    assert layout.slopes(np.zeros(layout.size)) == [None]
    assert layout.__getstate__() == {"layer_sizes": (4, 3, 2)}


@pytest.mark.parametrize("has_slopes", [[], [True, False]])
def test_layouts_are_restored_from_their_states(has_slopes):
    layout = Layout([4, 3, 2, 1], has_slopes)
    for copied in (pickle.loads(pickle.dumps(layout)), restore("Layout", state_of(layout))):
        assert copied == layout
        assert copied.size == layout.size


def test_slopes_are_told_for_each_hidden_layer():
    with pytest.raises(ValueError, match=r"has_slopes=\[True\] needs an entry for each of the 2 hidden"):
        Layout([4, 3, 2, 1], [True])


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
    assert Layout([4, 3, 2], [True]) != Layout([4, 3, 2])
    assert repr(Layout([4, 3, 2], [True])) == "Layout([4, 3, 2], has_slopes=[True])"
