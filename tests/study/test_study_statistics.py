from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from fastopt.study import holm, mean_interval, paired_difference
from fastopt.study.verdict import _ties


def test_the_interval_without_overlap_is_scipys_t_interval():
    values = np.random.default_rng(0).normal(0.9, 0.02, 12)
    interval = mean_interval(values, confidence=0.9)
    expected = stats.t.interval(0.9, 11, loc=values.mean(), scale=stats.sem(values))
    np.testing.assert_allclose((interval.low, interval.high), expected, rtol=1e-12)  # the same formula


def test_the_p_value_of_a_paired_difference_is_scipys_paired_t_test():
    rng = np.random.default_rng(1)
    a, b = rng.normal(0.90, 0.02, 10), rng.normal(0.89, 0.02, 10)
    assert paired_difference(a, b).p_value == pytest.approx(stats.ttest_rel(a, b).pvalue, rel=1e-12)


def test_overlapping_splits_widen_the_interval_as_nadeau_and_bengio_say():
    values = [0.1, 0.3, 0.2, 0.4]
    plain, corrected = mean_interval(values), mean_interval(values, val_to_train=1 / 3)
    assert corrected.half_width / plain.half_width == pytest.approx(np.sqrt((1 / 4 + 1 / 3) / (1 / 4)))


def test_resampled_splits_of_equal_contenders_are_seldom_called_different():
    # Both "contenders" predict with constants of equal true accuracy on overlapping random splits of one data
    # set, so that every claim of a difference is false. The uncorrected t test claims one far too often.
    rng = np.random.default_rng(2)
    false_claims = {0.0: 0, 1 / 3: 0}
    for _ in range(300):
        right_a, right_b = rng.random(80) < 0.8, rng.random(80) < 0.8
        splits = [rng.permutation(80)[:20] for _ in range(10)]
        a = [right_a[rows].mean() for rows in splits]
        b = [right_b[rows].mean() for rows in splits]
        for ratio in false_claims:
            false_claims[ratio] += paired_difference(a, b, val_to_train=ratio).p_value < 0.05
    # Of 300 at level 5 %, 15 are expected (30 would be four standard deviations off).
    assert false_claims[1 / 3] < 30
    assert false_claims[0.0] > 60


def test_an_interval_of_one_seed_has_no_bounds():
    interval = mean_interval([0.9])
    assert interval.mean == 0.9
    assert np.isnan([interval.low, interval.high, interval.p_value]).all()


def test_diverged_seeds_are_left_out_and_counted():
    interval = paired_difference([0.9, np.nan, 0.8, 0.7], [0.8, 0.9, 0.7, np.nan])
    assert interval.n == 2
    assert interval.mean == pytest.approx(0.1)


@pytest.mark.parametrize("n", [2, 3, 10])
def test_the_same_difference_with_every_seed_proves_no_more_than_its_sign(n):
    # One row of 74 more each time: equal but for rounding, so that a t test would divide by next to nothing.
    a = np.linspace(0.5, 0.9, n)
    interval = paired_difference(a, a - 1 / 74)
    assert interval.p_value == 2 * 0.5**n  # heads n times, or tails
    assert interval.half_width == 0
    assert mean_interval([0.0] * n).p_value == 1


def test_a_paired_difference_of_unequal_seeds_is_refused():
    with pytest.raises(ValueError, match="a has 3 seeds and b has 2"):
        paired_difference([1, 2, 3], [1, 2])


def test_holm_is_the_step_down_procedure_worked_by_hand():
    # sorted: .01*4, .02*3, .03*2, .04*1 -> running maxima .04, .06, .06, .06
    np.testing.assert_allclose(holm([0.04, 0.01, 0.03, 0.02]), [0.06, 0.04, 0.06, 0.06])


def test_holm_never_says_more_than_one_and_skips_missing_tests():
    adjusted = holm([0.6, np.nan, 0.7])
    np.testing.assert_allclose(adjusted, [1.0, np.nan, 1.0])


@pytest.mark.parametrize(("low", "explained"), [(0.001, True), (-0.001, False)])
def test_an_interval_above_0_that_holm_calls_noise_is_explained(low, explained):
    row = {"optimizer": "LAMB", "difference": 0.01, "low": low, "high": 0.02 - low, "n_seeds": 5}
    rows = pd.DataFrame([row, row | {"optimizer": "Muon", "low": -0.01}])
    (sentence,) = _ties(SimpleNamespace(confidence=0.95, comparisons_=rows), rows, "accuracy")
    assert ("adjusted for 2 comparisons" in sentence) == explained
