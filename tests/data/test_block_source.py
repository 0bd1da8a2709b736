"""Rows read from files in blocks, held to what NumPy, pandas and pyarrow read of the same files."""

import pickle
import sys

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from fastopt._extras import MissingExtraError
from fastopt.data import BlockSource, to_blocks
from fastopt.data.block_order import deal, in_file_order, most_rows, spread

RS = np.random.RandomState(0)
X = RS.standard_normal((1000, 5)).astype(np.float32)
LABELS = np.array(["a", "bb", "c"])[RS.randint(3, size=1000)]
WEIGHT = RS.random_sample(1000)


@pytest.fixture
def arrays(tmp_path):
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", LABELS)
    np.save(tmp_path / "w.npy", WEIGHT)
    return tmp_path


def whole(source):
    """Return X, y and weights of a source, joined from its blocks."""
    parts = zip(*source.blocks(), strict=True)
    return [None if part[0] is None else np.concatenate(part) for part in parts]


def assert_holds(source, X=X, y=LABELS, weight=WEIGHT):
    for found, expected in zip(whole(source), (X, y, weight), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert source.shape == X.shape
    assert source.block_rows.sum() == len(X)
    found = [np.concatenate(part) for part in zip(*source.targets(), strict=True)]
    np.testing.assert_array_equal(found[0], y)
    np.testing.assert_array_equal(found[1], weight)


@pytest.mark.parametrize("block_rows", [None, 1, 7, 1000, 5000])
def test_npy_files(arrays, block_rows):
    names = ("X.npy", "y.npy", "w.npy")
    path, y, weight = (str(arrays / name) for name in names)
    assert_holds(BlockSource(path, y, sample_weight=weight, block_rows=block_rows))


def test_a_small_file_has_blocks_to_mix_and_to_hold_out(arrays):
    assert BlockSource(arrays / "X.npy").n_blocks >= 256
    assert BlockSource(X[:5]).n_blocks == 5
    many = np.zeros((100_000, 2), np.float32)
    assert BlockSource(many, buffer_rows=12_800).block_rows.max() == 100  # 128 of them in a buffer


def test_without_pyarrow_it_is_said_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    (tmp_path / "rows.parquet").touch()
    with pytest.raises(MissingExtraError, match=r"rows.parquet needs pyarrow.*fastopt\[tables\]"):
        BlockSource(tmp_path / "rows.parquet", "y")


def test_arrays_and_maps(arrays):
    mapped = np.load(arrays / "X.npy", mmap_mode="r")
    assert_holds(BlockSource(mapped, LABELS, sample_weight=WEIGHT, block_rows=13))
    part = slice(100, 900)  # of a map, which is no file of its own
    source = BlockSource(mapped[part], LABELS[part], sample_weight=WEIGHT[part], block_rows=13)
    assert_holds(source, X[part], LABELS[part], WEIGHT[part])


def test_a_file_is_read_and_not_mapped(arrays):
    source = BlockSource(np.load(arrays / "X.npy", mmap_mode="r"), block_rows=10)
    np.save(arrays / "other.npy", X + 1)
    (arrays / "other.npy").replace(arrays / "X.npy")  # a map would still show the old file
    np.testing.assert_array_equal(whole(source)[0], X + 1)


def test_several_files_below_each_other(arrays):
    bounds = [0, 3, 500, 500, 1000]
    paths = [arrays / f"part{i}.npy" for i in range(4)]
    for path, first, last in zip(paths, bounds, bounds[1:], strict=False):
        np.save(path, X[first:last])
    assert_holds(BlockSource(paths, arrays / "y.npy", sample_weight=WEIGHT, block_rows=11))


def test_numbers_become_floats_that_hold_them(arrays):
    for dtype, expected in [
        ("f2", "f4"),
        ("f4", "f4"),
        (">f4", "f4"),
        ("f8", "f8"),
        ("i1", "f8"),
        ("u8", "f8"),
    ]:
        np.save(arrays / "X.npy", (X * 20).astype(dtype))
        source = BlockSource(arrays / "X.npy", LABELS)
        assert source.dtype == expected
        np.testing.assert_array_equal(whole(source)[0], (X * 20).astype(dtype))
    assert whole(BlockSource(arrays / "X.npy", LABELS, dtype="float32"))[0].dtype == np.float32


def test_a_pickled_source_reads_the_same(arrays):
    source = BlockSource(arrays / "X.npy", arrays / "y.npy", sample_weight=WEIGHT, block_rows=100)
    again = pickle.loads(pickle.dumps(source))
    assert_holds(again)
    assert again.digest() == source.digest()


def test_a_transformation_of_each_block(arrays):
    scaler = StandardScaler().fit(X)
    source = BlockSource(arrays / "X.npy", LABELS, transform=scaler.transform, block_rows=30)
    np.testing.assert_array_equal(whole(source)[0], scaler.transform(X))
    assert source.digest() != BlockSource(arrays / "X.npy", LABELS, block_rows=30).digest()
    with pytest.raises(ValueError, match=r"rows of shape \(30, 1\)"):
        whole(BlockSource(X, transform=lambda rows: rows[:, :1], block_rows=30))


@pytest.mark.parametrize(("n_rows", "block_rows"), [(1, 7), (100, 7), (999, 7), (1000, 7), (300, 1000)])
def test_a_sample(arrays, n_rows, block_rows):
    source = BlockSource(arrays / "X.npy", LABELS, sample_weight=np.arange(1000), block_rows=block_rows)
    found, y, numbers = source.sample(n_rows)
    assert len(np.unique(numbers)) == n_rows
    np.testing.assert_array_equal(found, X[numbers])
    np.testing.assert_array_equal(y, LABELS[numbers])
    if n_rows >= 100:  # spread over the file: the mean place of uniform rows, within 4 standard errors
        assert abs(numbers.mean() / 1000 - 0.5) < 4 * np.sqrt(1 / 12 / n_rows)
        assert not np.array_equal(numbers, source.sample(n_rows, random_state=1)[2]) or n_rows == 1000
    with pytest.raises(ValueError, match="from 1 to the 1000"):
        source.sample(1001)


def test_single_rows_are_refused_with_what_to_do():
    with pytest.raises(TypeError, match="searches and cross-validation"):
        BlockSource(X, LABELS)[[1, 2]]


def test_the_digest_tells_data_apart(arrays):
    digests = {BlockSource(arrays / "X.npy", arrays / "y.npy").digest()}
    digests.add(BlockSource(arrays / "X.npy", LABELS[::-1]).digest())
    digests.add(BlockSource(arrays / "X.npy", LABELS, sample_weight=WEIGHT).digest())
    digests.add(BlockSource(X + 1, LABELS).digest())
    digests.add(BlockSource(arrays / "X.npy", LABELS, block_rows=10).digest())
    assert len(digests) == 5


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda d: (d / "missing.npy", LABELS), "missing.npy"),
        (lambda d: (d / "X.npy", LABELS[:9]), "X has 1000 rows, but y has 9"),
        (lambda d: (d / "X.csv", "y"), r"X.csv' is no .npy, .parquet"),
        (lambda d: (d / "y.npy", LABELS), "X must be rows of numbers"),
        (lambda d: (np.zeros((0, 3)), None), "no numbers to read"),
        (lambda d: ([d / "X.npy", d / "wide.npy"], None), r"rows of shape \(9,\)"),
        (lambda d: (d / "columns.npy", None), "column by column"),
        (lambda d: (d / "objects.npy", None), "no .npy file that can be read"),
    ],
)
def test_what_is_refused(arrays, given, message):
    np.save(arrays / "wide.npy", np.zeros((3, 9), np.float32))
    np.save(arrays / "columns.npy", np.asfortranarray(X))
    np.save(arrays / "objects.npy", np.array([[None]]))
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        BlockSource(*given(arrays))


def test_arguments_are_checked(arrays):
    for wrong in ({"block_rows": 0}, {"buffer_rows": 1.5}, {"dtype": "int32"}, {"columns": ["a"]}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            BlockSource(arrays / "X.npy", LABELS, **wrong)


def test_a_file_that_was_cut_short_says_so(arrays):
    source = BlockSource(arrays / "X.npy", LABELS)
    with open(arrays / "X.npy", "r+b") as file:
        file.truncate(500)
    with pytest.raises(ValueError, match="cut short"):
        whole(source)


def test_every_buffer_is_spread_over_the_file():
    """One block of every stretch of neighbours: a sorted file gives each buffer all of its parts."""
    n_blocks, n_buffers = 203, 10
    dealt = deal(np.arange(n_blocks), n_buffers, np.random.RandomState(0))
    assert sorted(np.concatenate(dealt)) == list(range(n_blocks))
    for blocks in dealt:
        stretches = blocks // n_buffers
        assert np.array_equal(stretches[:20], np.arange(20))
    other = deal(np.arange(n_blocks), n_buffers, np.random.RandomState(1))
    assert any(not np.array_equal(a, b) for a, b in zip(dealt, other, strict=True))
    sizes = np.random.RandomState(2).randint(1, 50, n_blocks)
    assert max(sizes[blocks].sum() for blocks in dealt) <= most_rows(sizes, n_buffers)


def test_any_two_neighbours_may_meet_any_buffer():
    """Each block comes into each buffer equally often: 60 times of 300, +- 5 standard errors of 7."""
    counts = np.zeros((20, 5))
    rs = np.random.RandomState(0)
    for _ in range(300):
        for place, blocks in enumerate(deal(np.arange(20), 5, rs)):
            counts[blocks, place] += 1
    assert np.abs(counts - 60).max() < 5 * 7


def test_file_order_and_spread():
    sizes = np.array([5, 5, 20, 1, 1, 1])
    parts = in_file_order(np.arange(6), sizes, 10)
    assert [part.tolist() for part in parts] == [[0, 1], [2], [3, 4, 5]]
    drawn = spread(100, 0.1, np.random.RandomState(0))
    assert np.array_equal(drawn // 10, np.arange(10))
    assert len(spread(3, 0.1, np.random.RandomState(0))) == 0


@pytest.fixture
def tables(tmp_path):
    """Write the same rows as Parquet and as Arrow files; return a folder, and pandas."""
    pandas = pytest.importorskip("pandas")
    arrow = pytest.importorskip("pyarrow")
    parquet, feather = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow.feather")
    frame = pandas.DataFrame(X, columns=list("vwxyz"))
    frame["kind"], frame["weight"] = LABELS, WEIGHT
    frame.index = RS.permutation(1000)  # is stored as a column
    table = arrow.Table.from_pandas(frame)
    parquet.write_table(table, tmp_path / "rows.parquet", row_group_size=90)
    feather.write_feather(table, tmp_path / "lz4.feather", compression="lz4", chunksize=90)
    feather.write_feather(table, tmp_path / "plain.arrow", compression="uncompressed")
    (tmp_path / "folder").mkdir()
    for part in range(11):
        rows = slice(90 * part, min(90 * part + 90, 990) if part < 10 else 1000)
        parquet.write_table(table[rows], tmp_path / "folder" / f"part.{part}.parquet")
    parquet.write_table(table[990:990], tmp_path / "folder" / "part.11.parquet")
    return tmp_path


@pytest.mark.parametrize("name", ["rows.parquet", "lz4.feather", "plain.arrow", "folder"])
def test_tables(tables, name):
    source = BlockSource(tables / name, "kind", sample_weight="weight")
    assert source.feature_names == list("vwxyz")
    assert_holds(source)
    assert_holds(pickle.loads(pickle.dumps(source)))
    if name != "plain.arrow":
        assert source.block_rows.max() <= 100


def test_rows_of_a_plain_arrow_file_are_read_alone(tables):
    source = BlockSource(tables / "plain.arrow", "kind", sample_weight="weight", block_rows=17)
    assert source.block_rows[:2].tolist() == [17, 17]
    assert_holds(source)
    with pytest.raises(ValueError, match="row groups"):
        BlockSource(tables / "rows.parquet", "kind", block_rows=17)


def test_columns_of_a_table(tables):
    source = BlockSource(tables / "rows.parquet", ["weight", "v"], columns=["z", "w"], dtype="float64")
    found, y, weight = whole(source)
    np.testing.assert_array_equal(found, X[:, [4, 1]])
    np.testing.assert_array_equal(y, np.column_stack([WEIGHT, X[:, 0]]))
    assert weight is None


def test_rows_in_one_column_of_lists(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    lists = arrow.FixedSizeListArray.from_arrays(arrow.array(X.ravel()), 5)
    table = arrow.table({"rows": lists, "kind": arrow.array(LABELS).dictionary_encode()})
    with (
        arrow.OSFile(str(tmp_path / "rows.arrow"), "wb") as sink,
        arrow.ipc.new_file(sink, table.schema) as file,
    ):
        file.write_table(table)
    source = BlockSource(tmp_path / "rows.arrow", "kind", block_rows=17)
    found, y, _ = whole(source)
    np.testing.assert_array_equal(found, X)
    np.testing.assert_array_equal(y, LABELS)
    assert source.feature_names is None


def test_to_blocks(tables):
    source = to_blocks(tables / "rows.parquet", tables / "X.npy", y="kind", sample_weight="weight")
    assert_holds(source)
    np.testing.assert_array_equal(np.load(tables / "X.npy"), X)
    np.testing.assert_array_equal(np.load(tables / "X-y.npy"), LABELS)
    alone = to_blocks(tables / "plain.arrow", tables / "Z.npy", columns=["z"])
    np.testing.assert_array_equal(whole(alone)[0], X[:, 4:])
    assert not (tables / "Z-y.npy").exists()
    assert not [path for path in tables.iterdir() if path.suffix == ".part"]


def test_to_blocks_leaves_the_old_file_if_it_fails(tables):
    pandas, parquet = pytest.importorskip("pandas"), pytest.importorskip("pyarrow.parquet")
    np.save(tables / "X.npy", X)
    frame = pandas.DataFrame({"a": [1.0, None], "y": [0, 1]})
    frame.to_parquet(tables / "gaps.parquet")
    assert parquet.read_metadata(tables / "gaps.parquet").num_rows == 2
    with pytest.raises(ValueError, match=r"column 'a' of .* has 1 missing values"):
        to_blocks(tables / "gaps.parquet", tables / "X.npy", y="y")
    np.testing.assert_array_equal(np.load(tables / "X.npy"), X)
    assert not [path for path in tables.iterdir() if path.suffix == ".part"]
    with pytest.raises(ValueError, match=r"end in \.npy"):
        to_blocks(tables / "rows.parquet", tables / "X.txt")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y": "kinds"}, "no column 'kinds'.* Did you mean 'kind'"),
        ({"y": "weight"}, "column 'kind' of .* holds .*string, and a network takes numbers"),
        ({"y": "kind", "columns": ["kind", "v"]}, "columns has"),
        ({"y": LABELS}, "y must name"),
    ],
)
def test_columns_that_are_refused(tables, arguments, message):
    with pytest.raises(ValueError, match=message):
        BlockSource(tables / "rows.parquet", **arguments)


def test_files_with_other_columns_are_refused(tables):
    """A reader that goes by the first file's schema would cast, fill or drop (pyarrow does)."""
    pandas = pytest.importorskip("pandas")
    pandas.DataFrame({"a": [1], "y": [0]}).to_parquet(tables / "one.parquet")
    pandas.DataFrame({"a": [1.5], "y": [0]}).to_parquet(tables / "two.parquet")
    pandas.DataFrame({"a": [1], "b": [0], "y": [0]}).to_parquet(tables / "three.parquet")
    for other, message in (
        ("two", "'a' is int64 in .* double in"),
        ("three", "'b' is missing in .* int64 in"),
    ):
        with pytest.raises(ValueError, match=message):
            BlockSource([tables / "one.parquet", tables / f"{other}.parquet"], "y")


def test_row_groups_that_are_too_large_to_mix(tables, monkeypatch):
    monkeypatch.setattr("fastopt.data.block_source._MOST_BYTES", 10_000)
    with pytest.raises(ValueError, match="to_blocks"):
        BlockSource(tables / "rows.parquet", "kind", columns=["v", "w", "x"])
    assert BlockSource(tables / "rows.parquet", "kind", columns=["v"], buffer_rows=90).buffer_rows == 90
