"""Files of tables: every format with what can be wrong in it, packed files, and URLs."""

import functools
import gzip
import http.server
import threading
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from fastopt import datasets
from fastopt._extras import MissingExtraError
from fastopt.datasets import DatasetError, model_tables
from fastopt.datasets.separators import separator_of

pd = pytest.importorskip("pandas")
N = 60
RNG = np.random.default_rng(0)
FRAME = pd.DataFrame({"a": RNG.normal(size=N).round(3), "kind": np.resize(["u", "v", "w"], N)})
FRAME["y"] = np.arange(N) % 2
CSV = FRAME.to_csv(index=False)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def check_is_frame(name):
    for data in (datasets.load(name, "y"), model_tables.load_training(name, "y")):
        assert list(data.X.columns) == ["a", "kind"]
        np.testing.assert_array_equal(data.X["a"], FRAME["a"])
        np.testing.assert_array_equal(data.X["kind"].astype(str), FRAME["kind"])
        np.testing.assert_array_equal(data.y, FRAME["y"])


def refused(name, words):
    for read in (datasets.load, model_tables.load_training):
        with pytest.raises(DatasetError, match=words):
            read(name, "y")


def lines(header, row, separator=","):
    return "\n".join([header, *(separator.join(map(str, row(i))) for i in range(N))])


WRITERS = {
    "parquet": (".parquet", "pyarrow", lambda frame, path: frame.to_parquet(path)),
    "pq": (".pq", "pyarrow", lambda frame, path: frame.to_parquet(path)),
    "feather": (".feather", "pyarrow", lambda frame, path: frame.to_feather(path)),
    "arrow": (".arrow", "pyarrow", lambda frame, path: frame.to_feather(path, compression="zstd")),
    "ipc": (".ipc", "pyarrow", lambda frame, path: frame.to_feather(path)),
    "ipc stream": (".arrow", "pyarrow", lambda frame, path: stream(frame, path)),
    "polars parquet": (".parquet", "polars", lambda frame, path: of_polars(frame).write_parquet(path)),
    "polars ipc": (".ipc", "polars", lambda frame, path: of_polars(frame).write_ipc(path)),
    "polars stream": (".arrow", "polars", lambda frame, path: of_polars(frame).write_ipc_stream(path)),
    "xlsx": (".xlsx", "openpyxl", lambda frame, path: frame.to_excel(path, index=False)),
}
BINARY = pytest.mark.parametrize(("suffix", "package", "write"), WRITERS.values(), ids=WRITERS.keys())


def stream(frame, path):
    import pyarrow

    table = pyarrow.Table.from_pandas(frame)
    with pyarrow.ipc.new_stream(path, table.schema) as sink:
        sink.write_table(table)


def of_polars(frame):
    import polars

    return polars.DataFrame({name: frame[name].to_list() for name in frame.columns})


@BINARY
def test_binary_files_whole_and_hostile(suffix, package, write):
    pytest.importorskip(package)
    pytest.importorskip("pyarrow")
    name = f"table{suffix}"
    write(FRAME, name)
    check_is_frame(name)
    write(FRAME[:0].astype({"a": float}), name)
    refused(name, "has 0 rows with a 'y'")
    write(FRAME[["y"]], name)
    refused(name, "has no usable column beside 'y'")
    write(FRAME.assign(big=2**60 + np.arange(N) ** 2), name)
    data = datasets.load(name, "y")
    if suffix != ".xlsx":  # Excel itself has only 15 digits
        assert any("beyond 2**53 are rounded to float64 in 'big'" in note for note in data.notes)
    whole = Path(name).read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"not a table at all"):
        Path(name).write_bytes(damaged)
        refused(name, "cannot be read as")


def test_frames_without_columns_and_with_columns_of_one_name():
    pa = pytest.importorskip("pyarrow")
    pytest.importorskip("openpyxl")
    import pyarrow.parquet

    for name, write in {"t.parquet": "to_parquet", "t.feather": "to_feather", "t.xlsx": "to_excel"}.items():
        getattr(pd.DataFrame(), write)(name)
        refused(name, "is empty: it has no columns")
    table = pa.table([FRAME["a"], FRAME["a"], FRAME["y"]], names=["a", "a", "y"])
    pyarrow.parquet.write_table(table, "t.parquet")
    refused("t.parquet", "cannot be read as .parquet: (Multiple matches .* in a|Dup)")
    pd.DataFrame(np.c_[FRAME["a"], FRAME["a"], FRAME["y"]], columns=["a", "a", "y"]).to_excel(
        "t.xlsx", index=False
    )
    data = datasets.load("t.xlsx", "y")
    assert "The name 'a' stands over 2 columns, which are called 'a', 'a.1'." in data.notes


def test_other_sheets_are_told():
    pytest.importorskip("openpyxl")
    with pd.ExcelWriter("table.xlsx") as book:
        FRAME.to_excel(book, sheet_name="first", index=False)
        FRAME.to_excel(book, sheet_name="2024", index=False)
    check_is_frame("table.xlsx")
    assert "Sheet 'first' was read, and not '2024'." in datasets.load("table.xlsx", "y").notes


def test_mixed_cells_of_a_sheet_are_words_and_dates_are_dates():
    pytest.importorskip("openpyxl")
    days = pd.date_range("2024-01-01", periods=N)
    FRAME.assign(day=days, mixed=["word" if i % 4 == 0 else i for i in range(N)]).to_excel(
        "t.xlsx", index=False
    )
    data = model_tables.load_training("t.xlsx", "y")
    assert data.form.kinds == {"a": "number", "kind": "text", "day": "date", "mixed": "text"}
    assert set(data.X["mixed"][:3]) == {"word", "1", "2"}


def test_lists_are_left_out_and_bytes_are_text():
    pytest.importorskip("pyarrow")
    raw = np.resize([b"x", "ü".encode(), b"\xff"], N).tolist()
    FRAME.assign(pair=[[1, 2]] * N, named=[{"k": i} for i in range(N)], raw=raw).to_parquet("t.parquet")
    data = datasets.load("t.parquet", "y")
    assert list(data.X.columns) == ["a", "kind", "raw"]
    assert set(data.X["raw"]) == {"x", "ü", "\\xff"}
    for name in ("pair", "named"):
        assert any(f"Column '{name}' holds a list or a mapping in each row" in note for note in data.notes)


ENCODED = {"utf-8": None, "utf-8-sig": None, "utf-16": None, "latin-1": "latin-1", "utf-16-le": "utf-16-le"}
UNPACKED = {".csv": open, ".csv.gz": gzip.open}


@pytest.mark.parametrize("encoding", ENCODED)
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"], ids=["comma", "semicolon", "tab", "bar"])
@pytest.mark.parametrize("suffix", UNPACKED)
def test_text_of_every_encoding_and_separator(encoding, separator, suffix):
    text = FRAME.rename(columns={"kind": "Größe"}).to_csv(index=False, sep=separator)
    with UNPACKED[suffix](f"table{suffix}", "wb") as file:
        file.write(text.encode(encoding))
    data = datasets.load(f"table{suffix}", "y", encoding=ENCODED[encoding])
    assert list(data.X.columns) == ["a", "Größe"]
    np.testing.assert_array_equal(data.X["a"], FRAME["a"])


HOSTILE = {
    "empty": ("", "cannot be read as a table: it is empty"),
    "only line ends": ("\n\r\n\n", "it is empty"),
    "header only": ("a,b,y\n", "has 0 rows with a 'y'"),
    "one column": (lines("y", lambda i: [i % 2]), "has no usable column beside 'y'"),
    "a longer row": (
        lines("a,b,y", lambda i: [i, i / 7, i % 2] + [7] * (i == 5)),
        "line 7 has 4 values where those before it have 3",
    ),
    "longer rows": (
        lines("a,y", lambda i: [i / 7, i % 2, 9]),
        "its rows have more values than",
    ),
    "no end of a quote": ('a,y\n1,2\n1,"2\n3,4\n', "a double quote in row 2 .* is never closed"),
    "a web page": ("<html><body>404, not found</body></html>", "'y' is not a column"),
    "binary": (bytes(range(256)) * 9, "holds zero bytes"),
    "an infinity": (lines("a,b,y", lambda i: [i / 7, "1e400" if i == 3 else i, i % 2]), "'b' holds infinite"),
}


@pytest.mark.parametrize(("text", "words"), HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("suffix", UNPACKED)
def test_what_is_no_table_is_one_sentence(text, words, suffix):
    with UNPACKED[suffix](f"table{suffix}", "wb") as file:
        file.write(text if isinstance(text, bytes) else text.encode())
    refused(f"table{suffix}", words)


def read(text):
    Path("table.csv").write_bytes(text.encode())
    return datasets.load("table.csv", "y")


def test_text_that_is_a_table_after_all():
    quoted = read(lines("a,t,y", lambda i: [i / 7, f'"x, \n{i % 3}"', i % 2]))
    assert set(quoted.X["t"]) == {"x, \n0", "x, \n1", "x, \n2"}
    big = read(lines("a,b,c,y", lambda i: [i / 7, 10**20 + i, 2**63 + i, i % 2]))
    assert "Whole numbers beyond 2**53 are rounded to float64 in 'b', 'c'." in big.notes
    mixed = read(lines("a,b,y", lambda i: [i / 7, "word" if i % 9 == 0 else i % 20, i % 2]))
    assert mixed.X["b"].tolist()[:3] == ["word", "1", "2"]
    spaced = read(lines(" a , b , y ", lambda i: [i / 7, f" {i % 3} ", f" {i % 2} "]))
    assert list(spaced.X.columns) == ["a", "b"]
    assert spaced.task == "classification"
    for ends in ("\r\n", "\r"):
        assert len(read(CSV.replace("\n", ends)).y) == N
    short = read(lines("a,b,y", lambda i: [i / 7, i % 5, i % 2][: 3 - 2 * (i == 5)]))
    assert "1 rows without a 'y' were left out." in short.notes
    said = "1 rows end before the last column, the first in line 7: what they lack is missing."
    assert said in short.notes
    empty = read(lines("a,b,y,c", lambda i: [i / 7, i % 5, i % 2, "" if i == 5 else i % 3]))
    assert not empty.notes or said not in empty.notes
    cut = read(("sep=;\n" + CSV.replace(",", ";")).removesuffix(";1\n"))
    assert any("1 rows end before the last column, the first in line 62" in note for note in cut.notes)
    assert len(read("sep=;\r\n" + CSV.replace(",", ";")).y) == N
    assert list(read("\ufeff" + CSV).X.columns) == ["a", "kind"]


#: Text, and what separates its columns.
SEPARATED = {
    "commas in names": (lines("price, EUR;size, m;y", lambda i: ["1,5", "2,5", 1], ";"), ";"),
    "a comma in each name and value": (lines("price, EUR;size, m", lambda i: ["1,5", "2,5"], ";"), ";"),
    "more commas than separators": (lines("price, EUR, net;y", lambda i: [f"{i},5", 1], ";"), ";"),
    "quotes within names": (lines('"price ""net"", EUR";"y"', lambda i: [f"{i},5", 1], ";"), ";"),
    "a line end in a name": (lines('"price\n; EUR; net",y', lambda i: [i, 1]), ","),
    "text of one column": (lines("word", lambda i: [f"hello{i}"]), ","),
    "numbers of one column": (lines("a", lambda i: [i / 7]), ","),
    "times": (lines("day|time|y", lambda i: ["2024-01-01", f"12:30:{i:02d}", 1], "|"), "|"),
    "semicolons in text": (lines("text,y", lambda i: ["a; b; c", 1]), ","),
    "tabs beside commas": (lines("a\tb", lambda i: ["x, y", "z"], "\t"), "\t"),
    "a row that is too long": (lines("a,b,y", lambda i: [i] * (3 + (i == 5))), ","),
    "header only": ("a;b;y\n", ";"),
    "nothing": ("", ","),
}


@pytest.mark.parametrize(("text", "separator"), SEPARATED.values(), ids=SEPARATED.keys())
def test_the_separator_is_that_of_the_rows(text, separator):
    assert separator_of(text) == (separator, 0)
    assert separator_of(text[: len(text) * 2 // 3]) == (separator, 0)  # the first bytes of a larger file


def test_a_value_of_any_length_is_no_trouble_for_the_separator():
    text = lines("a;b", lambda i: ["x" * 200_000, 1], ";")
    assert separator_of(text[:66_000]) == (";", 0)
    assert separator_of(text)[0] in ";,"  # csv refuses such a value: pandas will say what is wrong


def test_files_in_a_zip_file():
    with zipfile.ZipFile("table.zip", "w") as archive:
        archive.writestr("folder/", "")
        archive.writestr("folder/table.csv", CSV)
        archive.writestr("__MACOSX/folder/._table.csv", b"\0\0")
        archive.writestr("README", "what it is")
    check_is_frame("table.zip")
    with zipfile.ZipFile("other.csv.zip", "w") as archive:
        archive.writestr("data", CSV)
    check_is_frame("other.csv.zip")
    FRAME.to_csv("of_pandas.zip", index=False)  # whose file has no suffix
    check_is_frame("of_pandas.zip")
    with zipfile.ZipFile("evil.zip", "w") as archive:
        archive.writestr("../../evil.csv", CSV)
    check_is_frame("evil.zip")
    assert not list(Path("..").rglob("evil.csv"))
    with zipfile.ZipFile("two.zip", "w") as archive:
        archive.writestr("train.csv", CSV)
        archive.writestr("test.csv", CSV)
    refused("two.zip", r"holds 2 tables and not one: 'train\.csv', 'test\.csv'\. Unpack it")
    with zipfile.ZipFile("none.zip", "w") as archive:
        archive.writestr("photo.png", b"")
    refused("none.zip", r"holds 0 tables and not one: 'photo\.png'")
    zipfile.ZipFile("empty.zip", "w").close()
    refused("empty.zip", r"'empty\.zip' holds no files")
    Path("broken.zip").write_bytes(Path("table.zip").read_bytes()[:200])
    refused("broken.zip", "'broken.zip' cannot be read as a table: File is not a zip file")


def test_arrays_and_parquet_in_a_zip_file():
    np.savez("arrays.npz", X=RNG.normal(size=(N, 2)), y=FRAME["y"])
    with zipfile.ZipFile("arrays.zip", "w") as archive:
        archive.write("arrays.npz")
    assert datasets.load("arrays.zip").X.shape == (N, 2)
    with pytest.raises(DatasetError, match="is no table"):
        model_tables.load_training("arrays.zip", "y")
    pytest.importorskip("pyarrow")
    FRAME.to_parquet("t.parquet")
    with zipfile.ZipFile("t.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write("t.parquet")
    check_is_frame("t.zip")


def test_files_of_zstandard():
    pa = pytest.importorskip("pyarrow")
    with pa.output_stream("table.csv.zst", compression="zstd") as file:
        file.write(CSV.encode("utf-16"))
    check_is_frame("table.csv.zst")
    Path("table.csv.zst").write_bytes(Path("table.csv.zst").read_bytes()[:40])
    refused("table.csv.zst", "'table.csv.zst' cannot be read as a table")


def test_names_that_say_nothing():
    Path("folder.csv").mkdir()
    refused("folder.csv", "'folder.csv' is a folder, no file")
    refused("nowhere.csv", "there is no file 'nowhere.csv'")
    Path("table.data").write_text(CSV)
    with pytest.raises(DatasetError, match=r"'table.data' is not one of .* nor a file: \.csv, .*\.ipc, "):
        datasets.load("table.data", "y")


class _Server(http.server.SimpleHTTPRequestHandler):
    """Serves the folder, and answers that servers give to programs."""

    def do_GET(self):
        answers = {
            "/cut.csv": ({"Content-Length": str(len(CSV) + 9)}, CSV.encode()),
            "/packed.csv": ({"Content-Encoding": "gzip"}, gzip.compress(CSV.encode())),
            "/packed.csv.gz": ({"Content-Encoding": "gzip"}, gzip.compress(CSV.encode())),
            "/get?id=1": ({"Content-Disposition": 'attachment; filename="../t.csv"'}, CSV.encode()),
            "/get?id=2": ({"Content-Type": "text/csv; charset=utf-8"}, CSV.encode()),
            "/get?id=3": ({"Content-Type": "text/html"}, b"<html>"),
        }
        if self.path not in answers:
            return super().do_GET()
        headers, body = answers[self.path]
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        return self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def address(tmp_path):
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(_Server, directory=str(tmp_path))
    ) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_urls(address, tmp_path):
    FRAME.to_csv("my table.csv", index=False)
    FRAME.to_csv("table.csv.gz", index=False)
    with zipfile.ZipFile("table.zip", "w") as archive:
        archive.writestr("table.csv", CSV)
    before = set(Path(datasets.__file__).parent.iterdir())
    for path in ("my%20table.csv", "my%20table.csv?raw=true", "table.csv.gz", "table.zip", "packed.csv"):
        check_is_frame(f"{address}/{path}")
    check_is_frame(f"{address}/packed.csv.gz")
    check_is_frame(f"{address}/get?id=1")
    check_is_frame(f"{address}/get?id=2")
    check_is_frame((tmp_path / "my table.csv").as_uri())
    assert set(Path(datasets.__file__).parent.iterdir()) == before
    assert datasets.load(f"{address}/my%20table.csv", "y").name == "my_table"


def test_urls_of_parquet_and_arrays(address):
    np.savez("arrays.npz", X=RNG.normal(size=(N, 2)), y=FRAME["y"])
    assert datasets.load(f"{address}/arrays.npz").X.shape == (N, 2)
    pytest.importorskip("pyarrow")
    FRAME.to_parquet("t.parquet")
    check_is_frame(f"{address}/t.parquet")


def test_urls_that_give_no_table(address, tmp_path):
    refused(f"{address}/nowhere.csv", "nowhere.csv' cannot be read: HTTP Error 404")
    refused(f"{address}/cut.csv", r"cut.csv' cannot be read: it ended after .* of .* bytes")
    refused(f"{address}/get?id=3", r"\(get\) does not say what it is: a name that ends in one of")
    refused("http://127.0.0.1:9/table.csv", "table.csv' cannot be read: .*refused")
    refused((tmp_path / "nowhere.csv").as_uri(), "there is no file")
    refused("http:///table.csv", "cannot be read")


def test_urls_of_other_stores(monkeypatch):
    fsspec = pytest.importorskip("fsspec")
    with fsspec.open("memory://bucket/table.csv", "wb") as file:
        file.write(CSV.encode())
    check_is_frame("memory://bucket/table.csv")
    refused("memory://bucket/nowhere.csv", "cannot be read")
    refused("klingon://bucket/table.csv", "cannot be read: .*[Pp]rotocol")
    monkeypatch.setitem(__import__("sys").modules, "fsspec", None)
    with pytest.raises(MissingExtraError, match=r"reading memory:// needs fsspec"):
        datasets.load("memory://bucket/table.csv", "y")


def test_new_tables_are_read_from_anywhere(address):
    Path("train.csv").write_text(CSV)
    form = model_tables.load_training("train.csv", "y").form
    with zipfile.ZipFile("new.zip", "w") as archive:
        archive.writestr("new.csv", FRAME[["kind", "a"]].assign(kind=np.arange(N)).to_csv(index=False))
    for name in ("new.zip", f"{address}/new.zip"):
        new = model_tables.load_new(name, form)
        np.testing.assert_array_equal(new.X["a"], FRAME["a"])
        assert new.X["kind"].tolist()[:2] == ["0", "1"]  # text, as it was: the file is read again


@pytest.mark.parametrize("name", ["table.xlsx", "table.parquet", "table.csv", "table.zip"])
def test_reading_warns_of_nothing(name):
    if name == "table.csv":
        Path(name).write_text(CSV)
    elif name == "table.zip":
        with zipfile.ZipFile(name, "w") as archive:
            archive.writestr("table.csv", CSV)
    else:
        pytest.importorskip("openpyxl" if "xlsx" in name else "pyarrow")
        FRAME.to_excel(name, index=False) if "xlsx" in name else FRAME.to_parquet(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_is_frame(name)
