"""The file format of models: what goes in comes out, and no damage goes unnoticed."""

import json
import os
import pickle
import random
import stat
import tracemalloc

import numpy as np
import pytest

from fastopt.model_files import container
from fastopt.model_files.container import read, write

safetensors = pytest.importorskip("safetensors")
st = pytest.importorskip("safetensors.numpy")

ARRAYS = {
    "matrix": np.arange(12.0).reshape(3, 4),
    "single": np.float32([[1.5, -0.0], [np.nan, np.inf]]),
    "flags": np.array([True, False]),
    "codes": np.array([0, 65535], np.uint16),
    "nothing": np.zeros((0, 3)),
    "number": np.array(7),
}
CONTENT = {"name": "ä\ud800\x00", "list": [1, 0.1, None, True, [], {}], "big": 2**70, "tiny": 5e-324}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "it.safetensors"


def assert_same_arrays(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert array.dtype == other[name].dtype
        np.testing.assert_array_equal(array, other[name], err_msg=name)


def raw(header, body=b""):
    """Return the bytes of a safetensors file as its specification has them: length, header, data."""
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(header).to_bytes(8, "little") + header + body


def test_arrays_and_content_come_back(path):
    write(path, ARRAYS, CONTENT, "thing")
    arrays, content = read(path, "thing")
    assert content == CONTENT
    assert_same_arrays(arrays, ARRAYS)
    for array in arrays.values():
        assert array.flags.writeable
        assert array.flags.c_contiguous


def test_safetensors_reads_the_arrays(path):
    write(path, ARRAYS, CONTENT, "thing")
    assert_same_arrays(st.load_file(path), ARRAYS)


@pytest.mark.parametrize("change", [np.transpose, lambda a: a[::2], lambda a: a[:, 1:3], np.asfortranarray])
def test_arrays_of_any_layout_come_back(path, change):
    """safetensors 0.8.0 takes C order for granted, and stores others' elements in another order."""
    array = change(ARRAYS["matrix"])
    write(path, {"x": array}, {}, "thing")
    np.testing.assert_array_equal(read(path, "thing")[0]["x"], array)


@pytest.mark.parametrize("dtype", ["complex128", "U3", "O", "M8[s]", ">f8", "V8", np.longdouble])
def test_an_array_of_another_type_is_refused(path, dtype):
    with pytest.raises(TypeError, match=r"array 'x' has dtype .*; a file holds"):
        write(path, {"x": np.zeros(3, dtype)}, {}, "thing")
    assert os.listdir(path.parent) == []


@pytest.mark.parametrize("content", [{"a": (1, 2)}, {1: 2}, {"a": {None: 1}}, {"a": b""}, {"a": np.float64}])
def test_content_that_json_changes_is_refused(path, content):
    with pytest.raises(TypeError):
        write(path, {}, content, "thing")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_content_without_a_json_number_is_refused(path, value):
    with pytest.raises(ValueError, match="JSON"):
        write(path, {}, {"a": value}, "thing")


def test_content_that_no_reader_would_take_is_refused(path):
    with pytest.raises(ValueError, match=r"it\.safetensors cannot be written: .*header too large"):
        write(path, {}, {"a": "x" * 100_000_001}, "thing")


def test_the_old_file_is_there_until_the_new_one_is(path, monkeypatch):
    write(path, ARRAYS, {"age": "old"}, "thing")
    synced = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(stat.S_ISDIR(os.fstat(handle).st_mode)))

    def full(aside, target):
        assert synced == [False]  # the data are on the disk before the name
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(OSError, match=r"No space left on device: .*it\.safetensors'$"):
            write(path, ARRAYS, {"age": "new"}, "thing")
    assert os.listdir(path.parent) == [path.name]
    assert read(path, "thing")[1] == {"age": "old"}
    write(path, ARRAYS, {"age": "new"}, "thing")
    assert read(path, "thing")[1] == {"age": "new"}
    if os.name == "posix":
        assert synced == [False, False, True]


def test_a_folder_that_does_not_exist_is_named(path):
    with pytest.raises(FileNotFoundError, match=r"nosuch.x'$"):
        write(path.parent / "nosuch" / "x", {}, {}, "thing")


def test_a_symbolic_link_stays_one(path):
    link = path.with_name("link")
    try:
        link.symlink_to(path)
    except OSError as problem:
        pytest.skip(f"no symbolic links here: {problem}")
    write(link, {}, {"a": 1}, "thing")
    assert link.is_symlink()
    assert read(path, "thing")[1] == {"a": 1}


def test_a_file_that_is_replaced_keeps_who_may_read_it(path):
    for mode in (0o600, 0o640):
        path.touch()
        path.chmod(mode)
        expected = path.stat().st_mode  # Windows knows fewer modes
        write(path, {}, {}, "thing")
        assert path.stat().st_mode == expected


def test_what_is_no_file_is_not_replaced(path):
    """safetensors 0.8.0's own save_file renames a file over a device, too, which then is gone."""
    path.mkdir()
    with pytest.raises(ValueError, match=r"it\.safetensors is no regular file, and cannot be replaced"):
        write(path, {}, {}, "thing")
    path.rmdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(path)
        with pytest.raises(ValueError, match="is no regular file"):
            write(path, {}, {}, "thing")
        assert stat.S_ISFIFO(path.stat().st_mode)
    assert len(os.listdir(path.parent)) <= 1


def test_another_kind_is_refused(path):
    write(path, {}, {}, "checkpoint")
    with pytest.raises(ValueError, match=r"it\.safetensors holds a checkpoint, not a model\."):
        read(path, "model")


def test_a_later_version_is_refused(path, monkeypatch):
    monkeypatch.setattr(container, "FORMAT_VERSION", 2)
    write(path, {}, {}, "thing")
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"it\.safetensors was written by fastopt \d.* in version 2 of the"):
        read(path, "thing")


def test_a_missing_file_is_an_oserror(path):
    with pytest.raises(FileNotFoundError, match=r"it\.safetensors"):
        read(path, "thing")
    with pytest.raises(IsADirectoryError if os.name == "posix" else OSError):
        read(path.parent, "thing")


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="a device without an end")
def test_a_device_is_refused():
    with pytest.raises(ValueError, match=r"^/dev/zero is no regular file\."):
        read("/dev/zero", "thing")


def one(dtype, shape, end):
    return {"x": {"dtype": dtype, "shape": shape, "data_offsets": [0, end]}}


STRANGE = {
    "empty": b"",
    "three bytes": b"abc",
    "a pickle": pickle.dumps(ARRAYS),
    "zeros": bytes(1000),
    "a header of 2**63 bytes": (2**63).to_bytes(8, "little") + b"{}",
    "an array of 8 TB": raw(one("F64", [2**40], 2**43), bytes(8)),
    "a shape that overflows": raw(one("F64", [2**62, 2**62], 8), bytes(8)),
    "bytes that no array has": raw(one("U8", [1], 1), b"xyz"),
    "nested metadata": raw(b'{"__metadata__":{"a":' + b"[" * 9000 + b"]" * 9000 + b"}}"),
}
FOREIGN = {
    "of another library": st.save({"x": np.ones(3)}, {"format": "pt"}),
    "without metadata": st.save({"x": np.ones(3)}),
    "bfloat16": raw(one("BF16", [1], 2), b"xy"),
}


@pytest.mark.parametrize("name", STRANGE)
def test_what_is_no_file_of_ours_is_a_valueerror(path, name):
    path.write_bytes(STRANGE[name])
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"it\.safetensors is damaged, or no file of fastopt's: ."):
        read(path, "thing")
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_safetensors_file_is_named_as_one(path, name):
    path.write_bytes(FOREIGN[name])
    with pytest.raises(ValueError, match=r"it\.safetensors is a safetensors file that fastopt did not write"):
        read(path, "thing")


def forged(path, **changes):
    """Write a file whose metadata are changed, under a checksum that fits."""
    metadata = {"format": "fastopt", "format_version": "1", "fastopt_version": "0", "kind": "thing"}
    metadata |= {"content": "{}"} | changes
    arrays = {"x": np.arange(3)}
    metadata = {key: value for key, value in metadata.items() if value is not None}
    st.save_file(arrays, path, metadata | {"sha256": container._checksum(metadata, arrays)})


@pytest.mark.parametrize(
    "changes",
    [
        {"content": "[1]"},
        {"content": "{"},
        {"content": '{"a":' * 100_000 + "1" + "}" * 100_000},
        {"content": '{"a":' + "1" * 5000 + "}"},
        {"content": None},
        {"kind": None},
        {"fastopt_version": None},
        {"format_version": None},
        {"more": "x"},
    ],
    ids=lambda changes: f"{next(iter(changes))}={str(next(iter(changes.values())))[:9]}",
)
def test_a_forged_file_is_a_valueerror(path, changes):
    forged(path)
    assert read(path, "thing")[1] == {}
    forged(path, **changes)
    with pytest.raises(ValueError, match=r"it\.safetensors "):
        read(path, "thing")


@pytest.mark.parametrize(
    "array", [one("F64", [0, 2**62], 0), one("U8", [1] * 100, 1), one("BF16", [1], 2)], ids=str
)
def test_an_array_that_numpy_has_not_is_a_valueerror(path, array):
    metadata = {"format": "fastopt", "format_version": "1", "fastopt_version": "0", "kind": "thing"}
    metadata |= {"content": "{}", "sha256": ""}
    path.write_bytes(raw({"__metadata__": metadata} | array, bytes(array["x"]["data_offsets"][1])))
    with pytest.raises(ValueError, match=r"it\.safetensors is damaged, or no file of fastopt's: ."):
        read(path, "thing")


def test_every_cut_and_every_changed_bit_is_seen(path):
    write(path, ARRAYS, CONTENT, "thing")
    whole = path.read_bytes()
    draw = random.Random(0)
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged if at % 2 else whole[:at])
        with pytest.raises(ValueError, match=r"it\.safetensors "):
            read(path, "thing")


def test_reading_takes_no_more_than_the_file(path):
    write(path, {"x": np.ones(500_000), "y": np.ones(500_000)}, {}, "thing")
    read(path, "thing")
    tracemalloc.start()
    read(path, "thing")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.02 * path.stat().st_size
