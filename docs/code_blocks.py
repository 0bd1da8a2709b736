"""The code of the documentation's pages, for the test that runs it and for the type checker.

What a page needs and its reader already has (a model, data of their own) stands in the page as a comment that
is not rendered::

    <!-- python
    X, y = load_digits(return_X_y=True)
    -->

``<!-- not run: why -->`` above a block keeps it from being executed, for what needs hardware or other
libraries; its types are checked all the same.
"""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<why>[^\n]+) -->\n)?"
    r"^(?:```python\n(?P<shown>.*?)^```$|<!-- python\n(?P<hidden>.*?)^-->$)",
    re.MULTILINE | re.DOTALL,
)
_SHELL = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def pages():
    """Return the paths of all pages whose code is the library's promise."""
    docs = ROOT / "docs"
    return [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *sorted(docs.glob("*.md")),
        *sorted(docs.glob("zh/*.md")),
    ]


def python(path, *, is_run):
    """Return a page's Python code as one program, each line where it stands in the page.

    Parameters
    ----------
    path : Path
        A Markdown file.
    is_run : bool
        Leave out the blocks that are not to be executed.
    """
    text = path.read_text("utf-8")
    lines = [""] * (text.count("\n") + 1)
    for block in _BLOCK.finditer(text):
        if is_run and block["why"]:
            continue
        kind = "shown" if block["shown"] is not None else "hidden"
        first = text.count("\n", 0, block.start(kind))
        for offset, line in enumerate(block[kind].splitlines()):
            lines[first + offset] = line
    return "\n".join(lines).rstrip() + "\n"


def commands(path):
    """Return the command lines of a page's shell blocks, without their comments."""
    joined = "\n".join(_SHELL.findall(path.read_text("utf-8"))).replace("\\\n", " ")
    lines = (line.partition(" #")[0].strip() for line in joined.splitlines())
    return [part.strip() for line in lines for part in line.split("&&") if part.strip()]
