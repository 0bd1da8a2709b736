"""Which elements dropout drops: the share kept, and independence of elements, layers, steps and seeds.

Each bound is five standard deviations of the statistic for independent fair draws; the draws are fixed by
their keys, so that a test fails always or never.
"""

import itertools

import numpy as np
import pytest

from fastopt.rules import dropout

N = 1 << 18


def kept(seed=0, step=0, layer=0, rate=0.5, n=N):
    """Return whether each of ``n`` elements is kept, from the definition in arrays."""
    key = dropout.layer_keys(seed, np.array([step]), layer + 1)[0, layer]
    at = np.arange(n)
    with np.errstate(over="ignore"):
        second = dropout.second_key(key)
        number = dropout.number(key, second, ((at >> 5 << 4) | (at & 15)).astype(np.uint32))
    return np.where(at & 16, number >> 16, number & 0xFFFF) >= dropout.thresholds(rate)


def correlation(a, b):
    return np.corrcoef(a, b)[0, 1]


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.25, 0.5, 0.9])
def test_the_share_kept_is_one_less_the_rate(rate):
    for step, layer in itertools.product((0, 1, 1000), (0, 1, 5)):
        share = kept(step=step, layer=layer, rate=rate).mean()
        assert abs(share - (1 - rate)) < 5 * np.sqrt(rate * (1 - rate) / N) + 0.5 / dropout.LEVELS


@pytest.mark.parametrize("lag", [1, 2, 15, 16, 17, 31, 32, 33, 64, 100, 128, 256, 1000, 1024])
def test_elements_at_any_distance_are_uncorrelated(lag):
    mask = kept(seed=3)
    assert abs(correlation(mask[:-lag], mask[lag:])) < 5 / np.sqrt(N)


def test_steps_layers_and_seeds_are_uncorrelated():
    masks = [kept(*key) for key in itertools.product((0, 1, 2**32 - 1), (0, 1, 2, 77), (0, 1, 2))]
    for a, b in itertools.combinations(masks, 2):
        assert abs(correlation(a, b)) < 5 / np.sqrt(N)


def test_each_unit_is_dropped_as_often_as_others_over_steps():
    """A chi-squared statistic of 512 units over 2,000 steps: its mean is 512, its deviation sqrt(2 * 512)."""
    steps, rate = 2000, 0.3
    counts = sum(kept(step=step, rate=rate, n=512).astype(int) for step in range(steps))
    statistic = ((counts - steps * (1 - rate)) ** 2).sum() / (steps * rate * (1 - rate))
    assert abs(statistic - 512) < 5 * np.sqrt(2 * 512)


def test_the_sixteen_bits_of_an_element_are_uniform():
    key = dropout.layer_keys(5, np.array([9]), 1)[0, 0]
    with np.errstate(over="ignore"):
        second = dropout.second_key(key)
        bits = np.array([dropout.bits_of(key, second, at) for at in range(20_000)])
    counts = np.bincount(bits >> 8, minlength=256)
    statistic = ((counts - len(bits) / 256) ** 2).sum() / (len(bits) / 256)
    assert abs(statistic - 255) < 5 * np.sqrt(2 * 255)


def test_one_element_alone_and_all_in_arrays_have_the_same_bits():
    key = dropout.layer_keys(1, np.array([4]), 3)[0, 2]
    with np.errstate(over="ignore"):
        second = dropout.second_key(key)
        alone = [dropout.bits_of(key, second, at) >= dropout.thresholds(0.5) for at in range(500)]
    np.testing.assert_array_equal(alone, kept(1, 4, 2, n=500))


def test_rates_are_rounded_to_16_bits_and_the_scale_is_that_of_the_rounded_rate():
    assert dropout.thresholds([0.0, 0.5, 0.1, 1 - 1e-9]).tolist() == [0, 32768, 6554, 65535]
    assert dropout.scale_of(0) == 1.0
    assert dropout.scale_of(32768) == 2.0
    # In the mean over the threshold's levels an element is what it was.
    assert (dropout.LEVELS - 6554) / dropout.LEVELS * dropout.scale_of(6554) == pytest.approx(1.0, rel=1e-15)


def test_what_is_dropped_is_0_whatever_it_was():
    for x in (np.nan, np.inf, -np.inf, 1.0):
        assert dropout.dropped(x, 5, 6, 2.0) == 0.0
    assert np.isnan(dropout.dropped(np.nan, 6, 6, 2.0))
    assert dropout.dropped(1.5, 6, 6, 2.0) == 3.0
