"""docs/landscape.md and the package's learning rates are those of the results; how results are kept."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from fastopt.study import landscape as of_package

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "bench" / "results" / "landscape.jsonl.xz"


@pytest.fixture
def bench(monkeypatch):
    pytest.importorskip("pandas")
    monkeypatch.syspath_prepend(ROOT / "bench")
    return importlib.import_module


@pytest.fixture
def found(bench):
    return bench("landscape_tables").Landscape(RESULTS)


def record_of(unit, **more):
    return {**vars(unit), "tuning": [], "comparison": [], "seconds": 1.0, **more}


def test_the_page_is_made_from_the_results(bench, found):
    page = (ROOT / "docs" / "landscape.md").read_text("utf-8")
    assert bench("landscape_page").text(found) == page, "run python bench/bench_landscape.py --page"


def test_the_packages_rates_are_made_from_the_results(bench, found):
    text = of_package.FILE.read_text("utf-8")
    assert bench("landscape_recommend").text(found) == text, "run python bench/bench_landscape.py --page"


def test_the_packages_losses_are_precise_enough_to_say_who_is_first(found):
    """Two optimizers are level on a data set only if they are so in the results."""
    ranks = found.main.scores.round(9).rank(axis=1)  # results have 4 digits, so their means a few more
    losses = np.array([of_package._of_optimizers()[name]["losses"] for name in ranks.columns]).T
    np.testing.assert_array_equal(type(ranks)(losses).rank(axis=1), ranks.to_numpy())


def test_every_optimizer_has_a_place_on_every_data_set(bench, found):
    cases = bench("landscape_cases")
    names = {contender.name for contender in cases.contenders()}
    assert set(found.scores().columns) == names
    assert set(found.scores().index) == set(cases.SETS)


def test_everybody_had_the_same_budget(bench, found):
    cases = bench("landscape_cases")
    for record in found.records:
        n_more = len(record["tuning"]) - len(cases.STEPS)
        assert n_more in (0, 2, 4)  # as many rates as everybody's, and those beyond an edge
        assert [fit["seed"] for fit in record["comparison"]] == list(cases.SEEDS)


def test_the_rate_chosen_has_the_least_mean_loss(found):
    for record in found.records[::50]:
        losses = {
            rate: np.inf if None in (first, second) else first + second
            for rate, first, second, *_ in record["tuning"]
        }
        assert losses[record["chosen"]] == min(losses.values())


def test_a_run_goes_on_after_a_line_that_was_cut(bench, tmp_path):
    work = bench("landscape_work")
    first, second = work.units()[:2]
    store = work.Store(tmp_path / "lines.jsonl")
    store.add(record_of(first))
    store.add(record_of(second))
    whole = store.path.read_bytes()
    store.path.write_bytes(whole[:-7])  # killed while it wrote
    again = work.Store(store.path)
    assert again.done == {first.key}
    again.add(record_of(second))
    assert work.Store(store.path).done == {first.key, second.key}
    assert [work.key_of(record) for record in work.records(store.path)] == [first.key, second.key]


def test_compressed_results_are_in_the_order_of_work(bench, tmp_path):
    work = bench("landscape_work")
    units = work.units()[:3]
    store = work.Store(tmp_path / "lines.jsonl")
    for unit in reversed(units):
        store.add(record_of(unit))
    work.compress(store.path, tmp_path / "lines.jsonl.xz")
    assert [work.key_of(r) for r in work.records(tmp_path / "lines.jsonl.xz")] == [u.key for u in units]
    assert not list(tmp_path.glob("*.part"))


def test_each_unit_of_work_is_there_once_and_sets_are_finished_one_by_one(bench):
    work, cases = bench("landscape_work"), bench("landscape_cases")
    units = work.units()
    assert len({unit.key for unit in units}) == len(units)
    begin = units[: len(cases.contenders()) - len(work.SLOW)]
    assert {unit.table for unit in begin} == {cases.SETS[0]}


def test_a_gain_is_a_mean_over_sets_with_students_interval(bench):
    from scipy import stats

    tables = bench("landscape_tables")
    pandas = pytest.importorskip("pandas")
    ratios = pandas.Series([0.9, 1.1, 0.8, 0.95, 1.0])
    gain = tables.Gain.of(ratios)
    expected = stats.ttest_1samp(np.log(ratios), 0).confidence_interval(0.95)
    # SciPy's own interval of the logarithms; rounding only.
    np.testing.assert_allclose(np.log([gain.low, gain.high]), expected, rtol=1e-12)
    assert gain.ratio == pytest.approx(stats.gmean(ratios), rel=1e-12)
    assert (gain.wins, gain.n, gain.is_noise) == (3, 5, True)


def test_rates_are_written_as_people_do(bench):
    cases = bench("landscape_cases")
    assert [cases.rate_at(exponent) for exponent in (-3, -2.5, 0, 0.5)] == [0.001, 0.003, 1.0, 3.0]
    assert all(contender.rates() == sorted(contender.rates()) for contender in cases.contenders())


@pytest.mark.parametrize("name", ["momentum", "ema(momentum)"])  # in compiled code, and epoch by epoch
def test_a_unit_tunes_and_compares_and_goes_through_json(bench, monkeypatch, name):
    fits, cases, rs = bench("landscape_fits"), bench("landscape_cases"), np.random.RandomState(0)
    monkeypatch.setattr(cases, "EPOCHS", 2)
    monkeypatch.setattr(fits, "KEPT", (1, 2))
    X = rs.standard_normal((80, 3)).astype(np.float32)
    Y = (X[:, :1] > 0).astype(np.float32)
    table = cases.Table("made", True, X, Y, X[:20].copy(), Y[:20].copy(), "logistic", "binary_log_loss")
    contender = next(one for one in cases.contenders() if one.name == name)
    unit = fits.Unit("main", "made", "small", name)
    record = json.loads(json.dumps(fits.run(unit, fits.Bench(table, "small"), contender)))
    assert len(record["tuning"]) >= len(cases.STEPS)
    assert len(record["comparison"]) == len(cases.SEEDS)
    assert all(0 <= fit["score"] <= 1 and len(fit["curve"]) == 2 for fit in record["comparison"])
    assert len({fit["curve"][-1] for fit in record["comparison"]}) == len(cases.SEEDS)
