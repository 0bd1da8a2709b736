"""`TableEncoder` against the recipe computed by hand, and against scikit-learn's transformers."""

import datetime as dt
import pickle
from collections import Counter

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder, QuantileTransformer, StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from fastopt.model_files.objects import pack, unpack
from fastopt.tabular import TableEncoder

RNG = np.random.default_rng(0)
#: The result is float32: half a unit in the last place of numbers up to 4.
CLOSE = {"rtol": 1e-6, "atol": 1e-6}


def robust_clip(column):
    """Return a column of the recipe, by its own words."""
    q25, median, q75 = np.quantile(column, [0.25, 0.5, 0.75], method="averaged_inverted_cdf")
    z = (column - median) / (q75 - q25) if q75 > q25 else (column - median) * 2 / np.ptp(column)
    return z / np.sqrt(1 + (z / 3) ** 2)


@pytest.fixture
def numbers():
    """Columns of unlike size: normal, skewed, whole numbers, and one that is mostly 7."""
    mostly = np.where(RNG.random(101) < 0.1, RNG.normal(size=101), 7.0)
    return np.column_stack(
        [RNG.normal(5, 100, 101), RNG.lognormal(size=101), RNG.integers(0, 9, 101), mostly]
    ).astype(np.float64)


def test_numbers_are_clipped_robustly(numbers):
    found = TableEncoder().fit_transform(numbers)
    np.testing.assert_allclose(found, np.apply_along_axis(robust_clip, 0, numbers), **CLOSE)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    assert np.quantile(numbers[:, 3], 0.25) == np.quantile(numbers[:, 3], 0.75)  # the range stands in


def test_numbers_far_away_stay_bounded():
    X = np.array([[0.0], [1.0], [2.0], [3.0], [1e300], [-1.7e308]])
    encoder = TableEncoder().fit(X[:4])
    np.testing.assert_array_equal(encoder.transform(X)[4:], [[3.0], [-3.0]])
    # The distance between the quartiles is beyond float64.
    found = TableEncoder().fit_transform(np.array([[-1.7e308], [-1.7e308], [1.7e308], [1.7e308]]))
    assert np.isfinite(found).all()
    assert found[0] < found[3]


@pytest.mark.parametrize("scaler", ["robust_clip", "standard", "quantile"])
@pytest.mark.parametrize("unit", [2.0**-1030, 2.0**-700, 2.0**700, 2.0**1022])
def test_the_unit_of_numbers_does_not_matter(scaler, unit):
    X = np.arange(60)[:, np.newaxis] / 16 - 1  # in each unit a float64, subnormal in the smallest
    encoder = TableEncoder(numeric_scaler=scaler, encoding="ple", dtype="float64")
    with np.errstate(all="raise"):
        found = encoder.fit_transform(X * unit)
    # NumPy's and SciPy's own roundings, of some 60 numbers.
    np.testing.assert_allclose(found, encoder.fit_transform(X), rtol=1e-12, atol=1e-12)


def test_bins_that_are_wider_than_float64_reaches():
    X = np.repeat([-1.6e308, -1.5e308, 1.5e308, 1.6e308], [10, 10, 10, 10])[:, np.newaxis]
    encoder = TableEncoder(encoding="ple", n_bins=3, dtype="float64").fit(np.vstack([X, [[-1.7e308]]]))
    edges = np.array(encoder.columns_[0].edges)
    found = encoder.transform(np.array([[0.0], [1.6e308]]))[:, 1:]
    bins = (np.array([[0.0], [1.6e308]]) / 4 - edges[:-1] / 4) / np.diff(edges / 4)
    np.testing.assert_allclose(found, np.clip(bins, 0, 1), rtol=1e-15)


def test_standard_is_scikit_learns(numbers):
    found = TableEncoder(numeric_scaler="standard", dtype="float64").fit_transform(numbers)
    np.testing.assert_allclose(found, StandardScaler().fit_transform(numbers), rtol=1e-12)


def test_quantile_is_scikit_learns(numbers):
    """Of the same landmarks; scikit-learn takes fewer of them, and interpolates between those."""
    encoder = TableEncoder(numeric_scaler="quantile", dtype="float64").fit(numbers)
    oracle = QuantileTransformer(n_quantiles=101, output_distribution="normal").fit(numbers)
    grid = np.linspace(0, 1, 257)
    oracle.quantiles_ = np.quantile(numbers, grid, axis=0, method="averaged_inverted_cdf")
    oracle.references_ = grid
    inside = (numbers > numbers.min(0)) & (numbers < numbers.max(0))  # where scikit-learn sets bounds
    found, expected = encoder.transform(numbers), oracle.transform(numbers)
    np.testing.assert_allclose(found[inside], expected[inside], rtol=1e-9, atol=1e-12)


def test_numbers_as_they_are(numbers):
    found = TableEncoder(numeric_scaler=None, dtype="float64").fit_transform(numbers)
    np.testing.assert_array_equal(found, numbers)
    encoder = TableEncoder(numeric_scaler=None).fit(numbers)
    with pytest.raises(ValueError, match="too large for float32, in column 'x1'"):
        encoder.transform(np.array([[1.0, 1e300, 1, 1]]))


def test_piecewise_linear_encoding(numbers):
    """Edges are those of scikit-learn's quantile bins; the fourth column has too few of them."""
    encoder = TableEncoder(encoding="ple", dtype="float64").fit(numbers)
    x = np.vstack([numbers, numbers.min(0) - 1, numbers.max(0) + 1])
    expected = [np.apply_along_axis(robust_clip, 0, numbers)]
    bins = KBinsDiscretizer(8, strategy="quantile", quantile_method="averaged_inverted_cdf")
    with pytest.warns(UserWarning, match="Bins whose width are too small"):
        edges = bins.fit(numbers).bin_edges_
    assert [len(e) for e in edges] == [9, 9, len(edges[2]), 2]
    for j in range(3):
        t = (x[:, [j]] - edges[j][:-1]) / np.diff(edges[j])
        expected.append(np.clip(t, 0, 1))
    found = encoder.transform(x)
    np.testing.assert_allclose(found[:, 4:], np.hstack(expected[1:]), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found[:101, :4], expected[0], rtol=1e-12, atol=1e-15)
    assert encoder.get_feature_names_out()[4] == "x0_bin1"


def test_missing_numbers_are_the_median_and_marked(numbers):
    holes = numbers.copy()
    holes[::5, 1] = np.nan
    encoder = TableEncoder(encoding="ple").fit(holes)
    filled = numbers.copy()
    filled[::5, 1] = np.median(numbers[np.arange(101) % 5 != 0, 1])
    names = encoder.get_feature_names_out().tolist()
    found = encoder.transform(holes)
    marked = names.index("x1_missing")
    np.testing.assert_array_equal(found[:, marked], np.arange(101) % 5 == 0)
    filled_found = encoder.transform(filled)
    filled_found[:, marked] = found[:, marked]
    np.testing.assert_array_equal(found, filled_found)
    # A column that fit has seen whole has no mark, and its missing numbers are the median.
    holes[3] = np.nan
    filled[3] = np.median(holes, axis=0)
    late = TableEncoder().fit(numbers)
    filled[3] = np.median(numbers, axis=0)
    np.testing.assert_array_equal(late.transform(holes)[3], late.transform(filled)[3])


def test_levels_are_scikit_learns_one_hot():
    X = RNG.choice(["red", "green", "blue", "violet"], (50, 2)).astype(object)
    X[::7, 1] = None
    found = TableEncoder().fit_transform(X)
    first = OneHotEncoder(sparse_output=False).fit_transform(X[:, [0]])
    second = OneHotEncoder(sparse_output=False, handle_unknown="ignore").fit_transform(X[:, [1]])
    np.testing.assert_array_equal(found, np.hstack([first, second]))  # None comes last there, too
    assert TableEncoder().fit(X).get_feature_names_out()[-1] == "x1_missing"


def test_the_most_frequent_levels_have_inputs():
    levels = RNG.choice([f"l{i}" for i in range(40)], 500, p=RNG.dirichlet(np.ones(40)))
    levels[:40] = [f"l{i}" for i in range(40)]
    encoder = TableEncoder(max_one_hot=7).fit(levels[:, np.newaxis].astype(object))
    ranked = sorted(Counter(levels.tolist()).items(), key=lambda pair: (-pair[1], pair[0]))
    expected = sorted(level for level, _ in ranked[:7])
    assert encoder.get_feature_names_out().tolist() == [f"x0_{level}" for level in expected]
    found = encoder.transform(levels[:, np.newaxis].astype(object))
    np.testing.assert_array_equal(found, levels[:, np.newaxis] == np.array(expected))
    assert "the 7 most frequent of its 40 levels" in encoder.describe()[0]["treatment"]


def test_two_levels_are_a_sign():
    X = np.array([["no", True, "a"], ["yes", False, None], ["no", True, "a"]], dtype=object)
    encoder = TableEncoder().fit(X)
    assert encoder.get_feature_names_out().tolist() == ["x0_yes", "x1_True", "x2_missing"]
    np.testing.assert_array_equal(encoder.transform(X), [[-1, 1, -1], [1, -1, 1], [-1, 1, -1]])
    np.testing.assert_array_equal(encoder.transform(np.array([["maybe", None, "b"]], object)), [[0, 0, 0]])


def test_unseen_levels_are_zeros():
    encoder = TableEncoder().fit(np.array([["a"], ["b"], ["c"]]))
    np.testing.assert_array_equal(encoder.transform(np.array([["d"], ["b"]])), [[0, 0, 0], [0, 1, 0]])
    np.testing.assert_array_equal(encoder.transform(np.array([[None]], object)), [[0, 0, 0]])


def test_columns_of_one_value_are_left_out():
    X = np.array([[1.0, 5.0, np.nan, 2.0], [2.0, 5.0, np.nan, np.nan], [3.0, 5.0, np.nan, 2.0]])
    encoder = TableEncoder().fit(X)
    assert encoder.get_feature_names_out().tolist() == ["x0", "x3_missing"]
    np.testing.assert_array_equal(encoder.transform(X)[:, 1], [0, 1, 0])
    said = [column["treatment"] for column in encoder.describe()]
    assert said[1:3] == ["left out: it is always 5", "left out: all is missing"]
    assert encoder.source_columns_.tolist() == [0, 3]
    nothing = TableEncoder().fit(np.ones((3, 2)))
    np.testing.assert_array_equal(nothing.transform(X[:, :2]), np.zeros((3, 1)))


def test_dates_and_durations_are_numbers():
    days = np.array(["1970-01-01", "1969-12-31T12:00", "2024-02-29", "NaT"], "datetime64[s]")
    encoder = TableEncoder(numeric_scaler=None, dtype="float64").fit(days[:, np.newaxis])
    found = encoder.transform(days[:, np.newaxis])
    np.testing.assert_array_equal(found[:3, 0], [0, -0.5, dt.date(2024, 2, 29).toordinal() - 719163])
    assert found[3].tolist() == [0, 1]
    berlin = dt.timezone(dt.timedelta(hours=1))
    objects = np.array(
        [
            [dt.date(1970, 1, 2), dt.timedelta(hours=1), dt.time(0, 1, 2)],
            [dt.datetime(1970, 1, 1, 1, tzinfo=berlin), np.timedelta64(2, "s"), dt.time(23)],
            [np.datetime64("1970-01-03"), None, None],
        ],
        dtype=object,
    )
    found = TableEncoder(numeric_scaler=None, dtype="float64").fit_transform(objects)
    np.testing.assert_array_equal(found[:, 0], [1, 0, 2])
    np.testing.assert_array_equal(found[:2, 1], [3600, 2])
    np.testing.assert_array_equal(found[:2, 2], [62, 23 * 3600])


@pytest.mark.parametrize("wanted", [["x1"], [1], [False, True]])
def test_numbers_can_be_categories(wanted):
    X = np.array([[1.0, 3.0], [2.0, 0.5], [4.0, np.nan], [0.0, 3.0]])
    encoder = TableEncoder(categorical_features=wanted).fit(X)
    assert encoder.get_feature_names_out().tolist() == ["x0", "x1_0.5", "x1_3", "x1_missing"]
    np.testing.assert_array_equal(encoder.transform(X)[:, 1:], [[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 1, 0]])
    np.testing.assert_array_equal(encoder.transform(np.array([[1, 3]]))[:, 1:], [[0, 1, 0]])


@pytest.mark.parametrize("wanted", [["y"], [2], [-1], [1.5], [True]])
def test_categories_that_are_no_columns_are_refused(wanted):
    with pytest.raises(ValueError, match="categorical_features"):
        TableEncoder(categorical_features=wanted).fit(np.eye(2))


@pytest.mark.parametrize("scaler", ["robust_clip", "standard", "quantile", None])
def test_a_weight_is_a_number_of_rows(numbers, scaler):
    X = numbers.astype(object)
    X[:, 2] = [f"l{value:.0f}" for value in numbers[:, 2]]
    X[::6, 1] = None
    weights = RNG.integers(0, 4, len(X))
    settings = {"numeric_scaler": scaler, "encoding": "ple", "max_one_hot": 4, "dtype": "float64"}
    weighted = TableEncoder(**settings).fit(X, sample_weight=weights)
    repeated = TableEncoder(**settings).fit(np.repeat(X, weights, axis=0))
    # Sums in another order: a few units in the last place.
    np.testing.assert_allclose(weighted.transform(X), repeated.transform(X), rtol=1e-12, atol=1e-12)
    assert weighted.get_feature_names_out().tolist() == repeated.get_feature_names_out().tolist()


def test_rows_without_weight_are_not_looked_at():
    X = np.array([["a", 1.0], ["b", 2.0], ["c", None], ["a", 3.0]], dtype=object)
    encoder = TableEncoder().fit(X, sample_weight=[1, 1, 0, 1])
    assert encoder.get_feature_names_out().tolist() == ["x1", "x0_b"]
    with pytest.raises(ValueError, match="weights"):
        TableEncoder().fit(X, sample_weight=np.zeros(4))


@pytest.mark.parametrize("scaler", ["robust_clip", "standard", "quantile", None])
def test_a_sparse_matrix_is_the_array_that_it_stands_for(scaler):
    """Also with columns that are seldom 0, and with missing entries; and a sparse table in its own form."""
    dense = scipy.sparse.random(60, 150, 0.05, "csr", random_state=1).toarray()
    dense[:, 3] = RNG.normal(size=60)
    dense[dense[:, 7] != 0, 7] = np.nan
    dense[0, :2] = np.nan
    settings = {"numeric_scaler": scaler, "encoding": "ple", "dtype": "float64"}
    for X in (dense, dense[:, :20]):
        expected = TableEncoder(**settings).fit(X)
        sparse = TableEncoder(**settings).fit(scipy.sparse.csr_array(X))
        assert sparse.sparse_output_ == expected.sparse_output_
        assert sparse.get_feature_names_out().tolist() == expected.get_feature_names_out().tolist()
        for one in (X, scipy.sparse.csr_array(X), scipy.sparse.coo_array(X)):
            for encoder in (sparse, expected):
                found = encoder.transform(one)
                if encoder.sparse_output_:
                    assert found.format == "csr"
                    assert found.has_canonical_format
                    found = found.toarray()
                plain = TableEncoder(**settings).fit(X)
                plain.sparse_output_ = False
                by_name = dict(zip(plain.get_feature_names_out(), plain.transform(X).T, strict=True))
                expected_values = np.column_stack([by_name[n] for n in encoder.get_feature_names_out()])
                np.testing.assert_allclose(found, expected_values, rtol=1e-12, atol=1e-15)
    weights = RNG.integers(0, 3, 60)
    one = TableEncoder(**settings).fit(dense, sample_weight=weights).transform(dense)
    two = TableEncoder(**settings).fit(scipy.sparse.csr_array(dense), sample_weight=weights).transform(dense)
    difference = abs(one - two) if scipy.sparse.issparse(one) else np.abs(one - two)
    assert difference.max() < 1e-12


def test_many_levels_become_a_sparse_matrix():
    X = RNG.integers(0, 20, (300, 20)).astype(str).astype(object)
    X[:, 0] = RNG.random(300) < 0.9
    encoder = TableEncoder().fit(X)
    found = encoder.transform(X)
    assert scipy.sparse.issparse(found)
    assert found.dtype == np.float32
    assert encoder.get_feature_names_out()[0] == "x0_False"  # the rarer of two is 1
    assert encoder.describe()[0]["treatment"] == "'True' is 0, 'False' is 1"
    np.testing.assert_array_equal(found[:, [0]].toarray().ravel(), X[:, 0] == False)  # noqa: E712
    expected = OneHotEncoder(sparse_output=False).fit_transform(X[:, 1:])
    np.testing.assert_array_equal(found[:, 1:].toarray(), expected)
    unseen = np.full((1, 20), "new", object)
    unseen[0, 0] = True
    assert encoder.transform(unseen).nnz == 0


def test_what_does_not_fit_is_refused():
    X = np.array([[1.0, "a", True], [2.0, "b", False], [3.0, "c", True]], dtype=object)
    encoder = TableEncoder().fit(X)
    for row, message in [
        (["x", "a", True], "column 'x0' held numbers in fit, and holds text now, such as 'x'"),
        ([1.0, 5.0, True], "column 'x1' held text in fit, and holds numbers now, such as '5'"),
        ([1.0, "a", 2], "column 'x2' held booleans in fit, and holds numbers now, such as '2'"),
        ([np.inf, "a", True], "infinity: column 'x0' holds inf in row 0"),
        ([dt.date(2020, 1, 1), "a", True], "held numbers in fit, and holds dates now, such as '2020-01-01'"),
        ([1.0, "a"], "X has 2 features, but TableEncoder is expecting 3"),
    ]:
        with pytest.raises(ValueError, match=message):
            encoder.transform(np.array([row], object))
    for value, error in [({"a": 1}, TypeError), ([1], TypeError), (1j, ValueError)]:
        X[0, 0] = value
        with pytest.raises(error, match="column 'x0' holds"):
            TableEncoder().fit(X)
    with pytest.raises(ValueError, match="infinity: column 'x1' holds -inf in row 1"):
        TableEncoder().fit(np.array([[1.0, 2.0], [0.0, -np.inf]]))
    with pytest.raises(ValueError, match="infinity: column 'x1'"):
        TableEncoder().fit(scipy.sparse.csr_array([[1.0, 2.0], [0.0, -np.inf]]))


@pytest.mark.parametrize("beside", [1, "text"])
def test_whole_numbers_beyond_float64_are_refused_in_words(beside):
    with pytest.raises(ValueError, match="column 'x1' holds a number beyond float64"):
        TableEncoder().fit(np.array([[1, 10**400], [2, beside]], dtype=object))


def test_zero_and_one_are_booleans_and_missing_fits_everywhere():
    encoder = TableEncoder().fit(np.array([[True, 1.0], [False, 0.0]], dtype=object))
    np.testing.assert_array_equal(encoder.transform(np.array([[1, 0.5]]))[:, 1], [1])
    np.testing.assert_array_equal(encoder.transform([[None, True]]), encoder.transform([[None, 1.0]]))


def test_nested_lists_keep_what_they_hold():
    encoder = TableEncoder().fit([[1.5, "a", True], [2.5, "b", False]])
    assert [column["kind"] for column in encoder.describe()] == ["number", "text", "boolean"]


def test_it_is_saved_without_code():
    X = np.array([[1.0, "a", None], [2.0, "b", 3.5], [3.0, None, 7.0]] * 20, dtype=object)
    for settings in ({}, {"numeric_scaler": "quantile", "encoding": "ple"}):
        encoder = TableEncoder(**settings).fit(X)
        again = unpack(*pack({"encoder": encoder}))["encoder"]
        np.testing.assert_array_equal(again.transform(X), encoder.transform(X))
        assert again.describe() == encoder.describe()
        pickled = pickle.loads(pickle.dumps(encoder))
        np.testing.assert_array_equal(pickled.transform(X), encoder.transform(X))
        assert not hasattr(clone(again), "columns_")


@pytest.mark.parametrize(
    "damage",
    [
        lambda e: e.columns_.pop(),
        lambda e: e.columns_.append("a"),
        lambda e: setattr(e, "numeric_scaler", "eval"),
        lambda e: setattr(e, "numeric_scaler", "quantile"),
        lambda e: vars(e.columns_[0]).update(kind="code"),
        lambda e: vars(e.columns_[0]).update(n_missing="many"),
        lambda e: vars(e.columns_[1]).update(n_levels=2.5),
        lambda e: vars(e.columns_[0]).update(scale=-1.0),
        lambda e: vars(e.columns_[0]).update(center="a"),
        lambda e: vars(e.columns_[0]).update(edges=(1.0, 0.0)),
        lambda e: vars(e.columns_[1]).update(levels=()),
        lambda e: vars(e.columns_[1]).update(levels=(1, 2)),
        lambda e: vars(e.columns_[1]).update(rarer=5),
    ],
)
def test_damaged_states_are_refused(damage):
    encoder = TableEncoder().fit(np.array([[1.0, "a"], [2.0, "b"]], object))
    damage(encoder)
    arrays, content = pack({"encoder": encoder})
    with pytest.raises(ValueError):  # noqa: PT011  each says its own
        unpack(arrays, content)


def test_scikit_learns_checks_pass():
    found = check_estimator(TableEncoder(), on_skip=None)
    assert {check["check_name"] for check in found if check["status"] == "skipped"} <= {
        "check_array_api_input"
    }
