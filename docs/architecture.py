"""The layers of the package and their picture, drawn from the imports by ``python docs/architecture.py``.

`LAYERS` is the one place that says which folder may import which; ``tests/docs/test_architecture.py`` holds
the code to it.
"""

import ast
import functools
import importlib
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
PICTURE = Path(__file__).with_name("images") / "architecture.svg"

#: From the top to the bottom: a part imports from the rows below its own, never from its own row or above.
#: A row is at most two parts wide, which is how the picture is drawn.
LAYERS = (
    ("cli",),
    ("report", "mlflow"),
    ("display", "datasets"),
    ("study", "callbacks"),
    ("onnx_export",),
    ("tabular", "dask"),
    ("neural_network",),
    ("data",),
    ("optimizers", "model_files"),
    ("stepping", "engine"),
    ("kernels", "schedules"),
    ("rules",),
)

#: Single modules without a layer: they import none of the layers, and every layer may import them.
HELPERS = tuple(
    "_collection _dask_client _deprecation _extras _file_lock _live _parameters persistence".split()
)

#: What the picture says of each part.
SUMMARIES = {
    "cli": "python -m fastopt: compare, sweep, bench, info, warmup",
    "callbacks": "what watches a fit, in scikit-learn's protocol",
    "mlflow": "fits and models in MLflow's store",
    "dask": "estimators for data on a Dask cluster",
    "report": "one self-contained HTML page of a study",
    "display": "pictures of studies and fits",
    "study": "which optimizer, which rate: paired runs, statistics",
    "datasets": "tables and MNIST, read and described",
    "onnx_export": "fitted estimators as ONNX models",
    "tabular": "tables as they are: bags of small networks",
    "neural_network": "the estimators: scikit-learn's policy, no arithmetic",
    "data": "rows on disk, read in blocks",
    "optimizers": "hyper-parameters: one class each, and the wrappers",
    "stepping": "optimizer state beside the caller's arrays",
    "engine": "the compiled training loop, on CPU and CUDA",
    "kernels": "compiled loops over parameters; threads; numba.cuda",
    "schedules": "hyper-parameters as functions of the step",
    "rules": "the mathematics: scalar functions",
    "model_files": "arrays and JSON in a file, without code",
}

_WIDTH, _HEIGHT, _GAP, _MARGIN = 380, 48, 26, 24


def rank(part):
    """Return the row of a part, from 0 at the top; helpers stand below the last."""
    if part in HELPERS:
        return len(LAYERS)
    return next(row for row, parts in enumerate(LAYERS) if part in parts)


@functools.cache
def modules():
    """Return ``{dotted name: path}`` of every module of the package, without the package's own two fronts."""
    found = {}
    for path in sorted((ROOT / "fastopt").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if name not in ("fastopt", "fastopt.__main__"):
            found[name] = path
    return found


def imports(name, path):
    """Yield the modules of the package that a module imports, at its top or inside functions.

    What only type checkers see (``if TYPE_CHECKING:``) is left out: no dependency when the code runs.
    A name that is imported from ``fastopt`` itself counts as an import of the module that defines it.
    """
    tree = ast.parse(path.read_text("utf-8"))
    unseen = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for statement in node.body
        for inner in ast.walk(statement)
    }
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    known = modules()
    for node in ast.walk(tree):
        if id(node) in unseen:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join(parents + ([node.module] if node.module else []))
            for alias in node.names:
                yield from _defined_in(source, alias.name, known)


def _defined_in(source, name, known):
    if f"{source}.{name}" in known:
        yield f"{source}.{name}"
    elif source in known:
        yield source
    elif source == "fastopt" and not name.startswith("__"):
        yield getattr(importlib.import_module("fastopt"), name).__module__


def part_of(name):
    """Return the part of the package that a module belongs to: the second word of its name."""
    return name.split(".")[1]


@functools.cache
def edges():
    """Return the pairs (part, imported part) that the code has, each with a module that has it."""
    found = {}
    for name, path in modules().items():
        for target in imports(name, path):
            if part_of(name) != part_of(target):
                found.setdefault((part_of(name), part_of(target)), name)
    return found


def arrows():
    """Return the edges that the picture shows: without helpers, and without those that follow from others."""
    drawn = {pair for pair in edges() if not set(pair) & {*HELPERS}}

    def reaches(start, end):
        return any(a == start and (b == end or reaches(b, end)) for a, b in drawn)

    return sorted((a, b) for a, b in drawn if not any(a == c and d != b and reaches(d, b) for c, d in drawn))


def _corner(part):
    row = rank(part)
    column = LAYERS[row].index(part) if len(LAYERS[row]) > 1 else 0
    return _MARGIN + column * (_WIDTH + 2 * _GAP), _MARGIN + row * (_HEIGHT + _GAP)


def _arrow(source, target):
    (x, y), (to_x, to_y) = _corner(source), _corner(target)
    if x == to_x and rank(target) == rank(source) + 1:
        path = f"M{x + _WIDTH / 2} {y + _HEIGHT} V{to_y - 6}"
    elif x == to_x:  # beside the boxes on the way
        beside = x + _WIDTH
        path = f"M{beside} {y + _HEIGHT / 2} H{beside + _GAP} V{to_y + _HEIGHT / 2} H{beside + 6}"
    elif rank(target) == rank(source) + 1:
        start, end = (x + _WIDTH - 40, to_x + 40) if to_x > x else (x + 40, to_x + _WIDTH - 40)
        path = f"M{start} {y + _HEIGHT} L{end} {to_y - 6}"
    else:  # between the columns, past the boxes on the way
        start, between, end = x + _WIDTH, _MARGIN + _WIDTH + _GAP, to_x - 6
        if to_x < x:
            start, end = x, to_x + _WIDTH + 6
        path = f"M{start} {y + _HEIGHT / 2} H{between} V{to_y + _HEIGHT / 2} H{end}"
    return f'<path d="{path}" marker-end="url(#head)"/>'


def _box(part):
    x, y = _corner(part)
    return (
        f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="6"/>'
        f'<text x="{x + 12}" y="{y + 20}" class="name">{part}</text>'
        f'<text x="{x + 12}" y="{y + 38}">{escape(SUMMARIES[part])}</text>'
    )


def picture():
    """Return the picture as SVG text."""
    boxes = [_box(part) for row in LAYERS for part in row]
    width = 2 * (_MARGIN + _WIDTH) + 3 * _GAP  # arrows go beside the right column, too
    height = 2 * _MARGIN + len(LAYERS) * (_HEIGHT + _GAP) - _GAP
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
            "<title>The parts of fastopt; an arrow says that one imports the other</title>",
            "<style>text{font:12px sans-serif;fill:#222}.name{font-weight:bold;font-size:14px}"
            "rect{fill:#eef3f8;stroke:#0072b2}"
            "path{stroke:#444;fill:none;stroke-width:1.5}</style>",
            '<defs><marker id="head" viewBox="0 0 8 8" refX="4" refY="4" markerWidth="8" markerHeight="8" '
            'orient="auto"><path d="M0 0 L8 4 L0 8 z" style="fill:#444;stroke:none"/></marker></defs>',
            f'<rect width="{width}" height="{height}" style="fill:#fff;stroke:none"/>',
            *boxes,
            *(_arrow(*pair) for pair in arrows()),
            "</svg>",
            "",
        ]
    )


if __name__ == "__main__":
    PICTURE.write_text(picture(), "utf-8")
    print(PICTURE)
