"""The pages of the documentation: their code runs in order, their commands parse, what they name exists."""

import argparse
import importlib.util
import re
import shlex
import warnings
from pathlib import Path

import pytest
from sklearn.exceptions import ConvergenceWarning

from fastopt import MLPClassifier, MLPRegressor, cli

ROOT = Path(__file__).parents[2]
if not (ROOT / "docs").exists():
    pytest.skip("an installation without its documentation", allow_module_level=True)
_SPEC = importlib.util.spec_from_file_location("code_blocks", ROOT / "docs" / "code_blocks.py")
code_blocks = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(code_blocks)

PAGES = code_blocks.pages()
WITH_CODE = [page for page in PAGES if code_blocks.python(page, is_run=True).strip()]
COMMANDS = [(page, command) for page in PAGES for command in code_blocks.commands(page)]


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.stem)
def test_the_python_blocks_of_a_page_run_in_order_as_one_session(page, tmp_path, monkeypatch):
    code = code_blocks.python(page, is_run=True)
    if "import torch" in code:
        pytest.importorskip("torch")
    for library in ("onnxruntime", "skl2onnx"):
        if f"import {library}" in code:
            pytest.importorskip(library)
    if "set_callbacks" in code:
        pytest.importorskip("sklearn.callback")  # from version 1.9 on
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    with warnings.catch_warnings():
        # Nobody's first output is a warning.
        is_first = page.stem in ("README", "index", "getting-started", "estimators")
        warnings.simplefilter("error" if is_first else "ignore", ConvergenceWarning)
        exec(compile(code, str(page), "exec"), {"__name__": "page"})


def test_blocks_keep_their_lines_and_hidden_ones_run(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# Page\n<!-- python\nx = 1\n-->\n\n```python\nx += 1\n```\n"
        "<!-- not run: needs a GPU -->\n```python\nx.cuda()\n```\n```sh\na --b  # c\nd && e\n```\n"
    )
    assert code_blocks.python(page, is_run=True) == "\n\nx = 1\n\n\n\nx += 1\n"
    assert code_blocks.python(page, is_run=False).splitlines()[10] == "x.cuda()"
    assert code_blocks.commands(page) == ["a --b", "d", "e"]


class Parsed(Exception):
    """Raised in place of running a command whose arguments were understood."""


def check_fastopt(arguments, monkeypatch):
    def parse_args(parser, args=None, namespace=None):
        _, unknown = parser.parse_known_args(args, namespace)
        assert not unknown
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
    with pytest.raises(Parsed):
        cli.main(arguments)


def check_script(path, arguments):
    script = ROOT / path
    text = script.read_text("utf-8")
    text += "".join(helper.read_text("utf-8") for helper in script.parent.glob("_*.py"))
    for argument in arguments:
        if argument.startswith("--"):
            assert f'"{argument}"' in text, f"{path} has no {argument}"


def check_install(arguments):
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    for extra in re.findall(r"\[([\w,-]+)\]", " ".join(arguments)):
        for name in extra.split(","):
            assert re.search(rf"^{name} = \[", text, re.MULTILINE), f"there is no extra {name!r}"


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=lambda value: getattr(value, "stem", value))
def test_the_commands_of_a_page_exist_with_their_options(page, command, monkeypatch):
    words = shlex.split(command)
    match words:
        case ["python", "-m", "fastopt", *arguments] | ["fastopt", *arguments]:
            check_fastopt(arguments, monkeypatch)
        case ["python", "-m", "pytest", *arguments]:
            assert all((ROOT / name).exists() for name in arguments if "/" in name)
        case ["python", "-m", "pip" | "sphinx" | "build" | "twine", *_]:
            pass
        case ["pre-commit", "install" | "run", *_]:
            pass
        case ["python", script, *arguments]:
            check_script(script, arguments)
        case ["dask", "worker", _, *arguments]:
            worker = pytest.importorskip("distributed.cli.dask_worker").main
            known = {name for option in worker.params for name in option.opts}
            assert {one for one in arguments if one.startswith("--")} <= known
        case ["pip", "install", *arguments]:
            check_install(arguments)
        case _:
            pytest.fail(f"{page.name} shows a command that this test cannot check: {command}")


@pytest.mark.parametrize("page", [*PAGES, ROOT / "bench" / "README.md"], ids=lambda page: page.stem)
def test_the_files_and_modules_that_a_page_names_exist(page):
    text = page.read_text("utf-8")
    code = re.findall(r"`([^`\n]+)`", text)
    pattern = r"(fastopt|tests|docs|bench|\.ci)/[\w./-]+|[\w/]+/\w+\.py"
    paths = [name for name in code if re.fullmatch(pattern, name)]
    paths = [name for name in paths if not name.startswith("bench/results/")]  # some are written elsewhere
    paths += [name.partition("#")[0] for name in re.findall(r"\]\((?!https?:)([^)]+)\)", text)]
    missing = [
        name
        for name in paths
        if not any((base / name).exists() for base in (ROOT, page.parent, ROOT / "fastopt"))
    ]
    dotted = {name for name in re.findall(r"`(fastopt(?:\.\w+)+)\b[^`]*`", text) if not exists(name)}
    assert not missing
    assert not dotted


def exists(name):
    """Tell whether a dotted name is a module, or something in one."""
    words = name.split(".")
    for last in range(len(words), 0, -1):
        try:
            thing = importlib.import_module(".".join(words[:last]))
        except ModuleNotFoundError:
            continue
        try:
            for word in words[last:]:
                thing = getattr(thing, word)
        except AttributeError:
            return False
        return True
    return False


def test_every_page_is_in_a_table_of_contents_and_the_changelog_links_to_none():
    """Sphinx warns of both; the changelog is included in a page of docs/, where its links would break."""
    index = (ROOT / "docs" / "index.md").read_text("utf-8")
    listed = set(
        re.findall(r"^([\w/-]+)$", "".join(re.findall(r"```{toctree}.*?```", index, re.DOTALL)), re.M)
    )
    docs = [page for page in PAGES if ROOT / "docs" in page.parents]
    names = {page.relative_to(ROOT / "docs").with_suffix("").as_posix() for page in docs}
    assert names - {"index"} <= listed
    assert not re.findall(r"\]\((?!https?:)[^)]+\)", (ROOT / "CHANGELOG.md").read_text("utf-8"))


def test_the_reference_leaves_out_what_scikit_learn_adds_for_metadata():
    """Sphinx cannot resolve the labels of scikit-learn in their docstrings."""
    template = (ROOT / "docs" / "_templates" / "autosummary" / "class.rst").read_text("utf-8")
    added = {
        name
        for cls in (MLPClassifier, MLPRegressor)
        for name in dir(cls)
        if re.match("set_.*_request$", name)
    }
    assert added
    assert added <= set(re.findall(r"\w+_request", template))
