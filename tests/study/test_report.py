"""The report: complete by itself, right in its numbers, usable in a real browser."""

import re
from html.parser import HTMLParser

import matplotlib.pyplot as plt
import pytest
from reference.browser import Browser, needs_chromium
from reference.small_study import SOLVERS, iris, small_study

from fastopt.report import render_report, write_report

plt.switch_backend("Agg")


@pytest.fixture(scope="module")
def study():
    asleep = {**SOLVERS, "asleep": {"solver": "sgd", "momentum": 0.0}}
    rates = {"momentum": [0.003, 0.03], "adam": [0.003, 0.03], "asleep": 1e-6}
    return small_study(asleep, lr=rates, n_seeds=6, max_epochs=12).fit(*iris())


@pytest.fixture(scope="module")
def html(study):
    return render_report(
        study, data="Iris & friends", command="python -m fastopt compare", notes=["A <note>."]
    )


class Tables(HTMLParser):
    """Collects the text of every cell."""

    def __init__(self, html):
        super().__init__()
        self.tables, self._cell = [], None
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self._cell = []

    def handle_data(self, data):
        if self._cell is not None:
            self._cell.append(data)

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.tables[-1][-1].append("".join(self._cell))
            self._cell = None


def test_the_report_asks_for_nothing_outside_itself(html):
    without_names = re.sub(r'xmlns(:\w+)?="[^"]*"', "", html)
    assert not re.search(r'(?:src|href)="(?!#|data:)', without_names)
    assert "http://" not in without_names
    assert "https://" not in without_names
    assert "@import" not in html


def test_the_table_holds_the_numbers_of_the_study(study, html):
    (summary, comparisons) = Tables(html).tables
    assert [row[0] for row in summary[1:]] == list(study.summary_["optimizer"])
    for row, cells in zip(study.summary_.itertuples(), summary[1:], strict=True):
        assert cells[2].startswith(f"{row.accuracy:.4f} ± ")
    assert len(comparisons) == 1 + len(study.comparisons_)
    assert comparisons[-1][-1] == "really behind"


def test_a_difference_that_rounds_to_nothing_has_no_sign(study, monkeypatch):
    nothing = study.comparisons_.assign(difference=-1e-17, low=-4e-5, high=4e-5)
    monkeypatch.setattr(study, "comparisons_", nothing)
    (_, comparisons) = Tables(render_report(study)).tables
    assert all(row[1:3] == ["0.00", "0.00 to 0.00"] for row in comparisons[1:])


def test_the_verdict_comes_first_and_in_words(study, html):
    text = re.sub(r"<[^>]+>", "", html[html.index("<body>") :])
    assert text.index(study.verdict_[0]) < text.index("Optimizers")
    assert any("beats asleep by" in sentence for sentence in study.verdict_)


def test_what_users_write_is_escaped(html):
    assert "Iris &amp; friends" in html
    assert "A &lt;note&gt;." in html


def test_each_picture_is_there_and_described(html):
    assert html.count('<svg role="img" aria-label="') == html.count("<figure") == 6


def test_a_picture_that_cannot_be_drawn_is_a_caution_and_the_rest_stands(study, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("no such font")

    monkeypatch.setattr("fastopt.display.LearningRateDisplay.from_study", broken)
    html = render_report(study)
    assert "The picture &#39;Sensitivity to the learning rate&#39; could not be drawn: no such font" in html
    assert html.count("<figure") == 5


def test_a_study_of_everything_diverged_has_a_report():
    study = small_study({"wild": {"solver": "sgd", "momentum": 0.0}}, lr=1e300, n_seeds=2).fit(*iris())
    html = render_report(study)
    assert "Every optimizer diverged with every seed" in html
    assert "could not be drawn" not in html


def test_settings_versions_and_the_command_are_recorded(html):
    for needed in ("python -m fastopt compare", "scikit-learn", "n_tuning_seeds", "max_epochs", "numba"):
        assert needed in html


def test_a_sweep_has_maps_and_the_whole_grid():
    study = small_study(batch_size=[16, 64], n_seeds=2, max_epochs=1).sweep(*iris())
    html = render_report(study)
    assert html.count("Learning rate and batch size:") >= 3
    assert len(Tables(html).tables[-1]) == 1 + 8


def test_partial_results_are_reported_as_such():
    study = small_study(n_seeds=1, lr=0.01, max_epochs=1).fit(*iris())
    assert "No winner is named" in render_report(study)


@pytest.fixture(scope="module")
def browser(study, tmp_path_factory):
    return Browser(write_report(study, tmp_path_factory.mktemp("report") / "report.html"))


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_in_a_browser_nothing_overflows_and_text_is_readable(browser, width, scheme):
    browser.check(width, scheme)


@needs_chromium
def test_in_a_browser_a_click_on_a_heading_sorts(browser, study):
    seen = browser.measured(1280, "light")
    by_score = list(study.summary_.sort_values("accuracy", kind="stable")["optimizer"])
    assert seen["ascending"] == by_score
    assert seen["descending"][0] == by_score[-1]
    assert seen["by_name"] == sorted(by_score)
