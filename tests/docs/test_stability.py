"""What the documentation calls public is what the modules offer, and deprecations follow its policy."""

import importlib
import importlib.util
import pkgutil
import warnings
from pathlib import Path

import pytest

import fastopt
from fastopt import _deprecation

DOCS = Path(__file__).parents[2] / "docs"
if not DOCS.exists():
    pytest.skip("an installation without its documentation", allow_module_level=True)
_SPEC = importlib.util.spec_from_file_location("public_api", DOCS / "public_api.py")
public_api = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(public_api)


def test_the_page_lists_the_public_names():
    text = (DOCS / "stability.md").read_text("utf-8")
    assert public_api.page(text) == text, "a public name came or went: run python docs/public_api.py"


@pytest.mark.parametrize("module", public_api.MODULES)
def test_public_names_exist_are_listed_once_and_are_documented(module):
    module = importlib.import_module(module)
    assert len(module.__all__) == len(set(module.__all__))
    undocumented = [
        name
        for name in module.__all__
        if callable(thing := getattr(module, name)) and not (thing.__doc__ or "").strip()
    ]
    assert not undocumented


def test_what_is_not_public_says_so():
    parts = {f"fastopt.{part.name}" for part in pkgutil.iter_modules(fastopt.__path__)}
    hidden = {name for name in parts if name.rpartition(".")[2].startswith("_")}
    other = parts - hidden - {*public_api.MODULES, "fastopt.persistence"}  # its format is public, no name is
    assert {
        name for name in other if "internal" not in importlib.import_module(name).__doc__.lower()
    } == set()


@pytest.fixture
def declared(monkeypatch):
    monkeypatch.setattr(_deprecation, "DECLARED", [])
    return _deprecation.DECLARED


def test_no_removal_is_overdue():
    for module in public_api.MODULES:
        importlib.import_module(module)
    now = _deprecation.parsed(fastopt.__version__)
    overdue = [d.what for d in _deprecation.DECLARED if _deprecation.parsed(d.until) <= now]
    assert not overdue, "its version has come: remove what warned until now"


def test_a_deprecated_function_warns_on_the_callers_line_and_works(declared):
    @_deprecation.deprecated(since="0.1", until="0.2", instead="abs()")
    def magnitude(x):
        """Return it."""
        return abs(x)

    with pytest.warns(
        FutureWarning, match=r"magnitude\(\) is deprecated since fastopt 0\.1 .* 0\.2\. Use abs\(\)"
    ) as w:
        assert magnitude(-2) == 2
    assert w[0].filename == __file__
    assert magnitude.__doc__ == "Return it."
    assert [d.until for d in declared] == ["0.2"]


def test_a_renamed_parameter_is_taken_by_its_old_name(declared):
    @_deprecation.renamed_parameter("learning_rate", "lr", since="0.1", until="0.2")
    def step(lr=1.0, *, n=1):
        return lr * n

    with pytest.warns(FutureWarning, match=r"step\(learning_rate=\) is deprecated .* Use lr="):
        assert step(learning_rate=0.5, n=2) == 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert step(lr=0.5) == step(0.5) == 0.5
    with pytest.raises(TypeError, match="both learning_rate= and lr=, its new name"):
        step(lr=1.0, learning_rate=0.5)


def test_a_renamed_name_of_a_module_is_found_under_its_old_one(declared):
    old_names = _deprecation.renamed_names("fastopt", {"Adam2": fastopt.Adam}, since="0.1", until="0.2")
    with pytest.warns(
        FutureWarning, match=r"fastopt\.Adam2 is deprecated .* Use fastopt\.optimizers\.adam\.Adam\."
    ):
        assert old_names("Adam2") is fastopt.Adam
    with pytest.raises(AttributeError, match="module 'fastopt' has no attribute 'Adam3'"):
        old_names("Adam3")


@pytest.mark.parametrize(
    ("since", "until", "is_allowed"),
    [
        ("0.1", "0.1", False),
        ("0.1", "0.2", True),
        ("0.9", "1.0", True),
        ("0.9", "1.1", False),
        ("1.3", "1.4", False),
        ("1.3", "2.0", True),
        ("1.3", "2.1", False),
        ("1.3", "3.0", True),
        ("1.10", "1.9", False),
    ],
)
def test_only_a_breaking_version_may_remove(declared, since, until, is_allowed):
    if is_allowed:
        _deprecation.declare("it", since=since, until=until, instead="that")
        assert len(declared) == 1
    else:
        with pytest.raises(ValueError, match=rf"it warns since {since}, so it may go in .* not in {until}"):
            _deprecation.declare("it", since=since, until=until, instead="that")
        assert not declared
