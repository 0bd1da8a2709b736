"""Comparisons over data sets against Demšar's (2006) tables, and what scikit-posthocs and baycomp answer."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from fastopt.study import bayesian_signed_rank, compare_over_sets

# Four methods on fourteen data sets, with ties, one set without any difference.
SCORES = pd.DataFrame(
    {
        "plain": [763, 599, 954, 628, 882, 936, 661, 583, 775, 1000, 940, 619, 972, 957],
        "leaf": [768, 591, 971, 661, 888, 931, 668, 583, 838, 1000, 962, 666, 981, 978],
        "prune": [771, 590, 968, 654, 886, 916, 609, 563, 866, 1000, 965, 614, 975, 946],
        "both": [798, 569, 967, 657, 898, 931, 685, 625, 875, 1000, 962, 669, 975, 970],
    }
).div(1000)
# scikit-posthocs 0.17.1, posthoc_nemenyi_friedman and posthoc_wilcoxon(zero_method="zsplit", p_adjust="holm")
# with SciPy 1.17.1, of each two columns.
POSTHOCS = {
    ("plain", "leaf"): (0.088673, 0.065811),
    ("plain", "prune"): (0.971686, 0.864117),
    ("plain", "both"): (0.061683, 0.071649),
    ("leaf", "prune"): (0.226697, 0.154248),
    ("leaf", "both"): (0.998882, 0.864117),
    ("prune", "both"): (0.170052, 0.120983),
}


@pytest.fixture(scope="module")
def found():
    return compare_over_sets(SCORES)


def pair(found, a, b):
    rows = found.pairwise
    (row,) = rows[rows["better"].isin([a, b]) & rows["worse"].isin([a, b])].itertuples()
    return row


def test_mean_ranks_are_those_of_pandas(found):
    expected = SCORES.rank(axis=1, ascending=False).mean().sort_values()
    pd.testing.assert_series_equal(found.mean_ranks, expected)
    assert found.mean_ranks["plain"] == pytest.approx(44 / 14)  # 3.143, as in Demšar's table 6


def test_friedmans_test_is_scipys(found):
    expected = stats.friedmanchisquare(*SCORES.to_numpy().T)
    assert (found.friedman_statistic, found.friedman_p_value) == pytest.approx(tuple(expected), rel=1e-12)


@pytest.mark.parametrize(("a", "b"), POSTHOCS)
def test_tests_of_pairs_are_those_of_scikit_posthocs(found, a, b):
    row = pair(found, a, b)
    # Six decimals were kept; SciPy computes the p-value of few sets in other ways from version to version.
    assert row.nemenyi_p == pytest.approx(POSTHOCS[a, b][0], abs=1e-6)
    assert row.wilcoxon_p == pytest.approx(POSTHOCS[a, b][1], abs=0.02)


# Demšar (2006), table 5a: the critical values at level 0.05.
@pytest.mark.parametrize(("n_methods", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (7, 2.949), (10, 3.164)])
def test_the_critical_difference_has_the_factors_of_demsars_table(n_methods, q):
    scores = np.random.default_rng(0).normal(size=(14, n_methods))
    expected = q * np.sqrt(n_methods * (n_methods + 1) / (6 * 14))
    assert compare_over_sets(scores).critical_difference == pytest.approx(expected, abs=0.0015)


def test_a_pair_is_at_the_level_just_where_its_ranks_are_a_critical_difference_apart():
    # Ranks of five methods on 14 sets: the p-value of Nemenyi's test against the critical difference.
    rng = np.random.default_rng(3)
    found = compare_over_sets(rng.normal(size=(14, 5)) + np.linspace(0, 1.5, 5))
    apart = found.pairwise["rank_difference"] >= found.critical_difference
    assert apart.any()
    assert not apart.all()
    assert ((found.pairwise["nemenyi_p"] <= 0.05) == apart).all()


def test_losses_give_what_scores_of_the_other_sign_give(found):
    turned = compare_over_sets(-SCORES, higher_is_better=False)
    pd.testing.assert_series_equal(turned.mean_ranks, found.mean_ranks)
    pd.testing.assert_frame_equal(turned.pairwise, found.pairwise)


def test_wins_and_median_speak_of_the_better_one(found):
    row = pair(found, "leaf", "plain")
    difference = SCORES["leaf"] - SCORES["plain"]
    assert (row.better, row.wins, row.ties, row.losses) == ("leaf", 10, 2, 2)
    assert row.median_difference == pytest.approx(difference.median())


def test_groups_are_runs_of_which_no_two_differ():
    ranks = {"a": 1, "b": 2, "c": 3, "d": 4}
    order = pd.DataFrame([ranks] * 7)  # every set agrees: apart by 1, 2 and 3 ranks, critical are 1.77
    found = compare_over_sets(order, higher_is_better=False)
    assert found.critical_difference == pytest.approx(2.569 * np.sqrt(20 / 42), abs=1e-3)
    assert found.groups() == [("a", "b"), ("b", "c"), ("c", "d")]
    # Wilcoxon: seven wins of seven, p = 2 / 2**7 for each of six pairs, times 6 after Holm: 0.094.
    assert found.pairwise["wilcoxon_p"].to_list() == pytest.approx([6 / 64] * 6)
    assert found.groups("wilcoxon") == [("a", "b", "c", "d")]
    assert compare_over_sets(order, confidence=0.9, higher_is_better=False).groups("wilcoxon") == []


def test_without_a_difference_by_friedman_all_are_one_group():
    found = compare_over_sets(np.random.default_rng(1).normal(size=(5, 4)))
    assert found.is_one_group
    assert found.groups() == [tuple(found.mean_ranks.index)]
    assert len(compare_over_sets(SCORES).groups()) == 1  # p = 0.012, and still no two are far enough apart
    with pytest.raises(ValueError, match="test='holm' is not one of"):
        found.groups("holm")


def test_two_methods_are_compared_without_friedman():
    found = compare_over_sets(SCORES[["plain", "leaf"]])
    assert np.isnan(found.friedman_p_value)
    # Demšar's own example of the signed-rank test, table 2: R- = 12 of 14 sets, below the critical 21.
    assert found.pairwise["wilcoxon_p"][0] < 0.05
    assert found.groups("wilcoxon") == []


def test_scores_that_differ_by_rounding_are_equal():
    found = compare_over_sets([[0.1 + 0.2, 0.3], [1e-300, 1e-300], [0.0, -0.0]])
    assert found.ranks.to_numpy().tolist() == [[1.5, 1.5]] * 3
    assert found.pairwise["wilcoxon_p"][0] == 1


@pytest.mark.parametrize("scale", [1e-320, 1e-300, 1.0, 1e308])
@pytest.mark.filterwarnings("error")
def test_numbers_of_any_size_are_ranked(scale):
    values = np.array([[1.0, 0.5, -1.7], [0.2, 0.1, -0.3], [-0.9, 1.1, 0.0], [0.0, 1.5, 1.0]])
    found = compare_over_sets(values * scale, rope=0.0)
    np.testing.assert_array_equal(found.ranks, stats.rankdata(-values, axis=1))
    assert found.pairwise.drop(columns=["better", "worse", "median_difference"]).notna().all(axis=None)


@pytest.mark.parametrize("library", ["polars", "pyarrow"])
def test_tables_of_other_libraries_keep_their_names(library):
    module = pytest.importorskip(library)
    columns = {name: values.tolist() for name, values in SCORES.items()}
    table = module.DataFrame(columns) if library == "polars" else module.table(columns)
    pd.testing.assert_series_equal(compare_over_sets(table).mean_ranks, compare_over_sets(SCORES).mean_ranks)


def test_equal_methods_are_one_group():
    found = compare_over_sets(np.ones((4, 3)))
    assert (found.friedman_p_value, found.pairwise["nemenyi_p"].min()) == (1.0, 1.0)
    assert found.groups() == [(0, 1, 2)]


def test_missing_scores_are_told_ranked_last_or_left_out():
    scores = SCORES.copy()
    scores.loc[3, "leaf"] = np.nan
    with pytest.raises(ValueError, match="the score of 'leaf' on 3 is missing"):
        compare_over_sets(scores)
    assert compare_over_sets(scores, missing="last").ranks.loc[3, "leaf"] == 4
    left = compare_over_sets(scores, missing="drop")
    pd.testing.assert_series_equal(left.mean_ranks, compare_over_sets(SCORES.drop(3)).mean_ranks)


def test_a_failure_is_worse_than_any_other_difference_and_two_failures_are_equal():
    nan = np.nan
    scores = pd.DataFrame({"a": [1.0, 2, 3, nan, 5, 6], "b": [nan, 1.5, 2.9, nan, 4.8, 5.9]})
    row = pair(compare_over_sets(scores, missing="last", rope=0.5), "a", "b")
    assert (row.wins, row.ties, row.losses) == (5, 1, 0)
    ordered = stats.wilcoxon([100.0, 0.5, 0.1, 0.0, 0.2, 0.1], zero_method="zsplit").pvalue
    assert row.wilcoxon_p == pytest.approx(ordered)
    assert row.p_better + row.p_equal + row.p_worse == pytest.approx(1)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (np.ones((1, 3)), "1 sets .rows. and 3 methods"),
        (np.ones((3, 1)), "3 sets .rows. and 1 methods"),
        (np.empty((0, 3)), "0 sets"),
        ([[1.0, np.inf], [2.0, 3.0]], "score of 1 on 0 is infinite"),
        (pd.DataFrame([[1, 2], [3, 4]], columns=["a", "a"]), "column 'a' occurs twice"),
        (pd.DataFrame([[1, 2], [3, 4]], index=["x", "x"]), "row 'x' occurs twice"),
        (pd.DataFrame({"set": ["x", "y"], "a": [1, 2]}), "something other than numbers"),
        (np.ones((2, 2), complex), "complex numbers have no order"),
        (5, "scores=5 is no table"),
    ],
)
def test_tables_that_cannot_be_compared_are_refused(scores, message):
    with pytest.raises(ValueError, match=message):
        compare_over_sets(scores)


@pytest.mark.parametrize(
    ("option", "message"),
    [({"confidence": 95}, "confidence=95"), ({"rope": -1}, "rope=-1"), ({"missing": "ignore"}, "'ignore'")],
)
def test_options_out_of_range_are_refused(option, message):
    with pytest.raises(ValueError, match=message):
        compare_over_sets(SCORES, **option)


# baycomp 1.0.3, SignedRankTest.probs(plain, leaf, rope=rope, random_state=0): plain better, equal, leaf.
BAYCOMP = {0: (0.00106, 0.0, 0.99894), 0.005: (4e-5, 0.03798, 0.96198), 0.01: (0.0, 0.32904, 0.67096)}


@pytest.mark.parametrize("rope", BAYCOMP)
def test_the_bayesian_test_draws_and_counts_as_baycomp(rope):
    found = bayesian_signed_rank(SCORES["plain"] - SCORES["leaf"], rope=rope)
    # The same generator gives the same draws; a sample or two may lie on the border by rounding.
    np.testing.assert_allclose(found, BAYCOMP[rope], atol=1e-4)


def test_the_bayesian_test_of_many_pairs_is_that_of_each():
    pairs = np.random.default_rng(0).normal(size=(9, 3))
    together = bayesian_signed_rank(pairs, rope=0.1, n_samples=2000)
    for column, row in zip(pairs.T, together, strict=True):
        np.testing.assert_array_equal(bayesian_signed_rank(column, rope=0.1, n_samples=2000), row)
    found = compare_over_sets(SCORES, rope=0.01)
    row = pair(found, "leaf", "plain")
    assert [row.p_worse, row.p_equal, row.p_better] == pytest.approx(BAYCOMP[0.01], abs=1e-4)


def test_no_difference_favours_nobody():
    assert bayesian_signed_rank(np.zeros(5)).tolist() == [0.5, 0, 0.5]
    assert bayesian_signed_rank(np.zeros(5), rope=0.01).tolist() == [0, 1, 0]


@pytest.mark.parametrize("differences", [[], [0.1, np.nan], np.zeros((2, 2, 2))])
def test_differences_that_say_nothing_are_refused(differences):
    with pytest.raises(ValueError, match="one number for each data set"):
        bayesian_signed_rank(differences)
