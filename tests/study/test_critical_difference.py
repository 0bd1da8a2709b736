"""The critical-difference diagram against the comparison that it draws."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from fastopt.display import CriticalDifferenceDisplay
from fastopt.display.style import inline_svg, new_axes, theme
from fastopt.study import compare_over_sets

plt.switch_backend("Agg")


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def scores_of(n_sets, n_methods, spread):
    rng = np.random.default_rng(0)
    names = [f"method {i}" for i in range(n_methods)]
    return pd.DataFrame(
        rng.normal(size=(n_sets, n_methods)) - np.linspace(0, spread, n_methods), columns=names
    )


def test_names_stand_with_their_mean_ranks_best_first():
    scores = scores_of(12, 6, 3)
    display = CriticalDifferenceDisplay.from_scores(scores)
    ranks = scores.rank(axis=1, ascending=False).mean().sort_values()
    for text, (name, rank) in zip(display.names_, ranks.items(), strict=True):
        assert name in text.get_text()
        assert f"{rank:.2f}" in text.get_text()


def test_bars_span_the_groups_and_do_not_touch():
    scores = scores_of(12, 8, 4)
    found = compare_over_sets(scores)
    display = CriticalDifferenceDisplay(found).plot()
    spans = [tuple(bar.get_xdata()) for bar in display.bars_]
    expected = [(found.mean_ranks[group[0]], found.mean_ranks[group[-1]]) for group in found.groups()]
    assert len(spans) > 1
    assert spans == expected
    by_lane = {}
    for bar in display.bars_:
        by_lane.setdefault(bar.get_ydata()[0], []).append(tuple(bar.get_xdata()))
    for lane in by_lane.values():
        assert all(low[1] < high[0] for low, high in itertools.pairwise(lane))


def test_many_methods_are_cut_to_the_first_and_that_is_told():
    display = CriticalDifferenceDisplay.from_scores(scores_of(20, 58, 6), test="wilcoxon", top=15)
    assert len(display.names_) == 15
    assert "the first 15 of 58" in display.ax_.get_xlabel().replace("\n", " ")
    ranks = display.comparison.mean_ranks
    assert max(bar.get_xdata()[1] for bar in display.bars_) <= ranks.iloc[14]


@pytest.mark.parametrize("width", [4.4, 6.4])
def test_names_overlap_neither_each_other_nor_the_edge_of_the_figure(width):
    with theme():
        axes = new_axes(None, (width, 4.5))[1]
    display = CriticalDifferenceDisplay.from_scores(scores_of(20, 58, 6), ax=axes)
    display.figure_.canvas.draw()
    boxes = [text.get_window_extent() for text in display.names_]
    figure = display.figure_.bbox
    for i, box in enumerate(boxes):
        assert figure.x0 <= box.x0
        assert box.x1 <= figure.x1
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])


@pytest.mark.parametrize("test", ["nemenyi", "wilcoxon"])
def test_the_caption_says_which_test_and_what_it_found(test):
    display = CriticalDifferenceDisplay.from_scores(scores_of(12, 6, 3), test=test)
    assert test.capitalize() in display.caption
    assert "p < 0.0001" in display.caption
    alike = CriticalDifferenceDisplay.from_scores(scores_of(5, 4, 0), test=test)
    assert "finds no difference" in alike.caption
    assert len(alike.bars_) == 1


def test_two_methods_that_differ_have_no_bar_and_odd_names_are_drawn_as_they_are():
    scores = pd.DataFrame({"$a_b$ & <c>": np.arange(8.0) + 1, "n" * 99: np.arange(8.0)})
    display = CriticalDifferenceDisplay.from_scores(scores)
    assert display.bars_ == []
    assert "Each two differ" in display.caption
    display.figure_.canvas.draw()
    assert display.names_[0].get_text().startswith("\\$a_b\\$ & <c>")
    assert "currentColor" in inline_svg(display.figure_, "ranks")


def test_options_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="top=1"):
        CriticalDifferenceDisplay.from_scores(scores_of(5, 4, 0), top=1)
    with pytest.raises(ValueError, match="test='t' is not one of"):
        CriticalDifferenceDisplay.from_scores(scores_of(5, 4, 0), test="t")
