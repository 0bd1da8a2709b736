"""The disk cache of compiled kernels: where it lies, and that no damage to it harms a step."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numba
import numpy as np
import pytest
from numba import int64

import fastopt
from fastopt.cli import info
from fastopt.kernels import cache_folders, code_cache

SIGNATURE = int64(int64)
ORIGINS = ["NUMBA_CACHE_DIR", "beside the package", "the user's cache folder", "the temporary folder"]


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Return the four folders above under ``tmp_path``, by origin; nothing else is written to."""
    users = {"linux": "XDG_CACHE_HOME", "win32": "LOCALAPPDATA"}.get(sys.platform, "HOME")
    for variable in ("XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(variable, raising=False)
    for name in ("named", "package", "user", "temporary"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "named"))
    monkeypatch.setattr(cache_folders, "_PACKAGE", tmp_path / "package")
    monkeypatch.setenv(users, str(tmp_path / "user"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(code_cache, "_has_warned", False)
    return dict(zip(ORIGINS, (folder.path for folder in cache_folders.folders()), strict=False))


@pytest.fixture
def triple(tmp_path, monkeypatch):
    """Return a function to compile, from a file of its own."""
    file = tmp_path / "own_functions.py"
    file.write_text("def triple(x):\n    return 3 * x\n", "utf-8")
    spec = importlib.util.spec_from_file_location("own_functions", file)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "own_functions", module)
    spec.loader.exec_module(module)
    return module.triple


def block(folder):
    """Put a file in the folder's place, or in its parent's: so nobody can write there, not even root."""
    parent = Path(folder).parent
    shutil.rmtree(parent)
    parent.write_text("no folder")


def compile_triple(triple):
    """Compile anew, as another process does; return what it gives and whether it came from the cache."""
    compiled = code_cache.jit(SIGNATURE)(triple)
    return compiled(7), sum(compiled.stats.cache_hits.values()) == 1


def files_in(folder):
    return sorted(path.name for path in Path(folder).glob("*"))


@pytest.mark.parametrize("n_blocked", range(4))
def test_kernels_are_kept_in_the_first_folder_that_is_writable_and_info_says_so(places, triple, n_blocked):
    for origin in ORIGINS[:n_blocked]:
        block(places[origin])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert compile_triple(triple) == (21, False)
        assert compile_triple(triple) == (21, True)
    origin = ORIGINS[n_blocked]
    assert [bool(files_in(places[name])) for name in ORIGINS] == [name == origin for name in ORIGINS]
    assert all(name.endswith(".nbc") for name in files_in(places[origin]))
    rows = info._cache()
    assert rows["folder"] == f"{places[origin]} ({origin})"
    assert rows[origin].startswith("1 compiled kernels")


def test_without_any_folder_kernels_are_compiled_and_one_warning_says_what_to_set(places, triple):
    for folder in places.values():
        block(folder)
    with pytest.warns(RuntimeWarning, match="Set NUMBA_CACHE_DIR to a folder that is writable") as caught:
        assert [compile_triple(triple) for _ in range(2)] == [(21, False)] * 2
    assert len(caught) == 1
    assert all(folder in str(caught[0].message) for folder in places.values())
    assert info._cache() == {"folder": info._NO_FOLDER}


def test_a_cache_that_was_filled_before_is_read_where_other_folders_come_first(places, triple, monkeypatch):
    # As in an image: filled by root while it was built, read by a user who writes elsewhere.
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    assert compile_triple(triple) == (21, False)
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(Path(places["NUMBA_CACHE_DIR"]).parent))
    assert compile_triple(triple) == (21, True)
    assert not files_in(places["NUMBA_CACHE_DIR"])


def test_a_user_without_a_home_gets_no_folder_named_like_one(monkeypatch):
    # Without HOME and without an entry in the list of users, expanduser returns "~" as it stands.
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    paths = [folder.path for folder in cache_folders.folders()]
    assert all(map(os.path.isabs, paths))
    assert not any("~" in path for path in paths if "fastopt" in Path(path).name)


@pytest.mark.skipif(os.name == "nt", reason="each user of Windows has a temporary folder")
@pytest.mark.parametrize("kind", ["readable by others", "a symbolic link", "another user's", "not sticky"])
def test_a_temporary_folder_that_others_may_write_to_is_refused(places, triple, kind):
    folder = Path(places["the temporary folder"])
    for origin in ORIGINS[:3]:
        block(places[origin])
    assert compile_triple(triple) == (21, False)
    assert compile_triple(triple) == (21, True)
    if kind == "readable by others":
        folder.chmod(0o755)
    elif kind == "a symbolic link":
        folder.rename(folder.with_name("elsewhere"))
        folder.symlink_to(folder.with_name("elsewhere"))
    elif kind == "not sticky":
        folder.parent.chmod(0o777)
    elif os.geteuid() == 0:
        os.chown(folder, 65534, -1)
    else:
        pytest.skip("only root can give a folder away")
    with pytest.warns(RuntimeWarning, match="not a folder of this user alone"):
        assert compile_triple(triple) == (21, False)


DAMAGE = {
    "empty": lambda content: b"",
    "cut in the checksum": lambda content: content[:20],
    "cut in the code": lambda content: content[:-1],
    "longer": lambda content: content + b"\0",
    "garbage": lambda content: bytes(range(256)) * (len(content) // 256),
    "zeros, as after a loss of power": lambda content: bytes(len(content)),
}


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("decorate", [code_cache.jit, code_cache.cfunc])
def test_a_damaged_file_is_named_and_compiled_again(places, triple, kind, decorate):
    decorate(SIGNATURE)(triple)
    (file,) = Path(places["NUMBA_CACHE_DIR"]).iterdir()
    content = file.read_bytes()
    file.write_bytes(DAMAGE[kind](content))
    with pytest.warns(RuntimeWarning, match=f"{file.name} is damaged") as caught:
        decorate(SIGNATURE)(triple)
    assert len(caught) == 1
    assert file.exists()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        healed = decorate(SIGNATURE)(triple)
    if decorate is code_cache.cfunc:
        assert healed.cache_hits == 1
        assert healed.ctypes(7) == 21
    else:
        assert sum(healed.stats.cache_hits.values()) == 1
        assert healed(7) == 21


def test_functions_for_python_and_for_c_do_not_share_a_file(places, triple):
    # A C function has no entry for Python: loaded as the other it would end the process.
    code_cache.cfunc(SIGNATURE)(triple)
    assert compile_triple(triple) == (21, False)


def test_no_single_bit_of_a_file_can_change_unnoticed(places, triple):
    compiled = code_cache.jit(SIGNATURE)(triple)
    (file,) = Path(places["NUMBA_CACHE_DIR"]).iterdir()
    content = file.read_bytes()
    # The 64 bytes before the code, and 1000 places in it; the bits in turn.
    positions = [*range(64), *np.linspace(64, len(content) - 1, 1000).astype(int)]
    for position in positions:
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        file.write_bytes(damaged)
        with pytest.warns(RuntimeWarning, match="its checksum is wrong"):
            assert compiled._cache.load_overload(SIGNATURE, compiled.targetctx) is None
        assert not file.exists()


def test_a_file_that_cannot_be_rebuilt_is_damaged_too(places, triple, monkeypatch):
    def refuse(*_):
        raise ImportError("a module that is gone")

    compile_triple(triple)
    with monkeypatch.context() as patch:
        patch.setattr(code_cache.pickle, "loads", refuse)
        with pytest.warns(RuntimeWarning, match="ImportError: a module that is gone"):
            assert compile_triple(triple) == (21, False)
    assert compile_triple(triple) == (21, True)


def test_a_file_under_another_functions_name_is_not_used(places, triple):
    code_cache.jit(SIGNATURE)(triple)
    folder = Path(places["NUMBA_CACHE_DIR"])
    (of_integers,) = folder.iterdir()
    code_cache.jit(numba.float64(numba.float64))(triple)
    (of_floats,) = set(folder.iterdir()) - {of_integers}
    shutil.copy(of_floats, of_integers)
    assert compile_triple(triple) == (21, False)


def test_where_warnings_are_errors_a_damaged_file_is_met_once(places, triple):
    compile_triple(triple)
    (file,) = Path(places["NUMBA_CACHE_DIR"]).iterdir()
    file.write_bytes(b"")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeWarning):
            compile_triple(triple)
        assert compile_triple(triple) == (21, False)


def test_a_function_of_a_module_that_cannot_be_imported_is_not_kept(places, triple, monkeypatch):
    # Compiled code refers to its module; Numba 0.61 could not load it in another process.
    monkeypatch.delitem(sys.modules, "own_functions")
    assert compile_triple(triple) == (21, False)
    assert not files_in(places["NUMBA_CACHE_DIR"])


def test_other_packages_keep_numbas_own_cache():
    @numba.njit(cache=True)
    def theirs(x):
        return x

    assert type(theirs._cache) is numba.core.caching.FunctionCache


RULES = """
import fastopt
def plain(w, g, lr): return w - lr * g
def doubled(w, g, lr): return w - 2.0 * lr * g
for rule in (plain, doubled):
    fastopt.register(rule.__name__, constants=lambda h, t: (h["lr"],), defaults={"lr": 1.0})(rule)
"""
FULL = """
import resource, warnings
import numpy as np, fastopt, own_rules
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for name in ("plain", "doubled"):
        w = np.zeros(3)
        fastopt.get_optimizer(name).bind(w).step(np.ones(3))
        print(w[0])
print([str(w.message) for w in caught])
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit on the size of files")
def test_a_full_disk_is_one_warning_and_leaves_no_half_file(tmp_path):
    # No file may grow beyond 2000 bytes: a write fails in its middle, as on a full disk. The rules are new:
    # no folder has their kernels.
    (tmp_path / "own_rules.py").write_text(RULES, "utf-8")
    settings = {key: value for key, value in os.environ.items() if key != "XDG_CACHE_HOME"}
    settings |= {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    settings["PYTHONPATH"] = os.pathsep.join([str(Path(fastopt.__file__).parents[1]), str(tmp_path)])
    done = subprocess.run(
        [sys.executable, "-c", FULL], env=settings, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    first, second, messages = done.stdout.splitlines()
    assert [first, second] == ["-1.0", "-2.0"]
    assert messages.count("fastopt cannot keep compiled kernels") == 1
    assert f"{tmp_path / 'cache' / 'fastopt'} (File too large)" in messages
    assert not list(tmp_path.rglob("*.nbc*"))
