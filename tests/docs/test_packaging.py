"""What other tools are told of the package agrees with pyproject.toml; releases are tried first."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastopt
from fastopt.cli import info

ROOT = Path(__file__).parents[2]
if not (ROOT / "pyproject.toml").exists():
    pytest.skip("an installation without its sources", allow_module_level=True)


def declared(name):
    """Return a list of strings of pyproject.toml, by pattern: Python 3.10 has no TOML reader."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    (block,) = re.findall(rf"^{name} = \[(.*?)\n?\]$", text, re.MULTILINE | re.DOTALL)
    return re.findall(r'"([^"]+)"', re.sub(r"^\s*#.*$", "", block, flags=re.MULTILINE))


@pytest.fixture
def yaml():
    return pytest.importorskip("yaml")


def test_the_citation_is_of_this_version(yaml):
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == fastopt.__version__
    assert citation["license"] == "BSD-3-Clause"
    assert {"cff-version", "message", "title", "authors"} <= set(citation)


def test_the_conda_recipe_needs_what_pip_installs(yaml):
    recipe = yaml.safe_load((ROOT / "conda" / "recipe.yaml").read_text("utf-8"))
    assert recipe["context"]["version"] == fastopt.__version__
    needed = [re.sub(r"\s*;.*", "", requirement) for requirement in declared("dependencies")]
    python, *others = recipe["requirements"]["run"]
    assert sorted(requirement.replace(" ", "") for requirement in others) == sorted(needed)
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    assert f'version = "{fastopt.__version__}"' in text
    assert f'requires-python = "{python.removeprefix("python ")}"' in text
    (built_with,) = declared("requires")
    assert built_with.replace(">=", " >=") in recipe["requirements"]["host"]


def test_info_looks_for_every_package_of_every_extra():
    (everything,) = re.findall(r"\[(.*)\]", " ".join(declared("all")))
    needed = {
        extra: tuple(re.match(r"[\w-]+", need).group() for need in declared(extra))
        for extra in everything.split(",")
    }
    assert needed == info._EXTRAS


def test_a_release_is_tried_before_it_is_published(yaml):
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text("utf-8"))
    jobs = workflow["jobs"]
    assert jobs["publish"]["needs"] == "try"
    assert jobs["publish"]["if"] == "github.ref_type == 'tag'"
    assert jobs["try"]["needs"] == "build"
    assert any(".ci/smoke.py" in step.get("run", "") for step in jobs["try"]["steps"])
    # Only the job that publishes may write, and what it is given is no password.
    assert workflow["permissions"] == {"contents": "read"}
    assert [name for name, job in jobs.items() if "permissions" in job] == ["publish"]
    assert "secrets." not in (ROOT / ".github" / "workflows" / "release.yml").read_text("utf-8")


def test_what_tries_a_release_works_on_what_is_installed_and_refuses_the_source(tmp_path):
    def run(*arguments, **variables):
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=os.environ | variables,
            capture_output=True,
            text=True,
            check=False,
        )

    command = str(ROOT / ".ci" / "smoke.py"), fastopt.__version__
    assert "this is the source, not what is installed" in run(*command, PYTHONPATH=str(ROOT)).stderr
    found = run("-c", "import fastopt; print(fastopt.__file__)").stdout.strip()
    if Path(found).parent != ROOT / "fastopt":
        done = run(*command)
        assert done.returncode == 0, done.stderr
        assert "accuracy 0.9" in done.stdout
