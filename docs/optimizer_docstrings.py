"""What the optimizers' docstrings share: ``python docs/optimizer_docstrings.py`` writes it into them.

Editors show docstrings as they stand in the source, so the paragraphs on ``lr``, ``maximize`` and the like
are written out in every class. This script rewrites those that differ from the table below, the types of
parameters that may be schedules, and the notes on what an optimizer was executed against
(``oracle_table.py``); it writes the imports and ``__all__`` of ``fastopt/optimizers/__init__.py``, too. A
test finds nothing left to rewrite.
"""

import ast
import re
import textwrap
from pathlib import Path

from oracle_table import executed

FOLDER = Path(__file__).parents[1] / "fastopt" / "optimizers"
WIDTH = 110

#: Paragraphs by parameter. Where there are several, a class has one of them; the first if it has none.
PARAGRAPHS = {
    "lr": ("Learning rate.",),
    "betas": ("Decay of the averages of the gradient and of its square.",),
    "eps": ("Added to the root of the second moment.", "Added to the root of the corrected second moment."),
    "maximize": ("Ascend instead of descend.",),
    "state_dtype": ("Keep the moments in half or a quarter of the memory.",),
    "decoupled_weight_decay": (
        "Shrink the weights by ``lr * weight_decay`` (True), or add ``weight_decay * w`` to the gradient.",
    ),
    "switched": ("Strength of the decay, in the form that `decoupled_weight_decay` says.",),
    "decoupled": ("Decoupled decay: each step multiplies the weights by ``1 - lr * weight_decay`` first.",),
    "coupled": ("Coupled decay: ``weight_decay * w`` is added to the gradient.",),
}

#: Parameters that mean something of their own in a class.
OWN = {
    "ADOPT": {"betas", "eps"},
    "AcProp": {"betas"},
    "AdaBelief": {"betas"},
    "Adadelta": {"eps"},
    "Adafactor": {"lr", "eps"},
    "Adagrad": {"eps"},
    "Adamax": {"betas", "eps"},
    "Adan": {"betas", "eps", "weight_decay"},
    "AdEMAMix": {"betas"},
    "COCOB": {"lr", "eps"},
    "DAdaptAdam": {"lr", "weight_decay"},
    "DoG": {"lr", "eps"},
    "DoWG": {"lr", "eps"},
    "Fromage": {"lr"},
    "FTRL": {"lr"},
    "LAMB": {"weight_decay"},
    "LARS": {"eps", "weight_decay"},
    "LBFGS": {"lr"},
    "Lion": {"lr", "betas", "weight_decay"},
    "MADGRAD": {"eps"},
    "MARS": {"lr", "betas", "weight_decay"},
    "Mechanic": {"lr", "eps", "weight_decay"},
    "MoMo": {"lr", "weight_decay"},
    "MoMoAdam": {"lr", "betas", "weight_decay"},
    "Muon": {"eps", "weight_decay"},
    "NorMuon": {"eps", "weight_decay"},
    "NovoGrad": {"betas", "eps", "weight_decay"},
    "PolyakSGD": {"lr", "eps"},
    "Prodigy": {"lr", "eps", "weight_decay"},
    "RMSprop": {"eps"},
    "Rprop": {"lr", "weight_decay"},
    "ScheduleFreeAdamW": {"betas", "weight_decay"},
    "ScheduleFreeRAdam": {"betas", "weight_decay"},
    "ScheduleFreeSGD": {"lr", "weight_decay"},
    "Shampoo": {"eps", "weight_decay"},
    "SignSGD": {"lr"},
    "Signum": {"lr"},
    "SM3": {"eps"},
    "SOAP": {"betas", "weight_decay"},
    "SophiaG": {"lr", "betas"},
}

#: Types of fields that may be schedules, and how docstrings name them.
TYPES = {
    "Hyperparameter": "float or Schedule",
    "Hyperparameter | None": "float, Schedule or None",
    "HyperparameterPair": "tuple of two floats or schedules",
    "tuple[Hyperparameter, Hyperparameter, Hyperparameter]": "tuple of three floats or schedules",
}


def classes(source):
    """Yield the optimizer classes of a module: those with the decorator."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef) and any(
            isinstance(d, ast.Call) and getattr(d.func, "id", "") == "optimizer" for d in node.decorator_list
        ):
            yield node


def fields(node):
    """Return the annotated fields of a class: name to annotation."""
    return {
        one.target.id: ast.unparse(one.annotation)
        for one in node.body
        if isinstance(one, ast.AnnAssign) and "ClassVar" not in ast.unparse(one.annotation)
    }


def paragraphs(node, name):
    """Return the texts that are allowed for a parameter of a class, or None if it has its own."""
    if name in OWN.get(node.name, ()):
        return None
    if name == "weight_decay":
        is_decoupled = re.search(r"^    decoupled: ClassVar\[bool\] = True", ast.unparse(node), re.M)
        name = "switched" if "decoupled_weight_decay" in fields(node) else "coupled"
        name = "decoupled" if is_decoupled else name
    return PARAGRAPHS.get(name)


def rewrite_parameters(node, text):
    """Return the text of a class with the paragraphs and types of the tables."""
    annotations = fields(node)

    def paragraph(match):
        name, kind, body = match.group(1), match.group(2), match.group(3)
        kind = TYPES.get(annotations.get(name), kind)
        allowed = paragraphs(node, name)
        if allowed and " ".join(body.split()) not in allowed:
            indent = " " * 8
            body = textwrap.fill(allowed[0], WIDTH, initial_indent=indent, subsequent_indent=indent) + "\n"
        return f"    {name} : {kind}\n{body}"

    return re.sub(r"^    (\w+) : ([^\n]+)\n((?: {8}[^\n]*\n)+)", paragraph, text, flags=re.M)


def rewrite_note(node, text, found):
    """Return the text of a class with the note on what it was executed against.

    A class that the audit does not know keeps its own note, which says why.
    """
    if node.name not in found:
        return text
    note = f"Executed against {', '.join(found[node.name])}."
    note = textwrap.fill(note, WIDTH, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)
    text = re.sub(r"    Notes\n    -----\n    Executed against.*?\n\n", "", text, flags=re.S)
    return text.replace("    References\n", f"    Notes\n    -----\n{note}\n\n    References\n", 1)


def rewrite(source):
    """Return the source of a module with its classes' docstrings made anew."""
    lines, found = source.splitlines(keepends=True), executed()
    for node in reversed(list(classes(source))):
        text = "".join(lines[node.lineno - 1 : node.end_lineno])
        lines[node.lineno - 1 : node.end_lineno] = [rewrite_note(node, rewrite_parameters(node, text), found)]
    return "".join(lines)


def modules():
    """Return the modules of optimizers."""
    return [path for path in sorted(FOLDER.glob("*.py")) if any(classes(path.read_text("utf-8")))]


def _kind_first(name):
    """Return the key by which the linter sorts names: constants, classes, functions."""
    return (not name.isupper() or len(name) == 1, name[:1].islower())


def rewrite_exports(source):
    """Return the source of ``__init__.py`` with the imports and names of all optimizers."""
    for path in modules():
        names = sorted((node.name for node in classes(path.read_text("utf-8"))), key=str.casefold)
        names.sort(key=_kind_first)
        line = f"from fastopt.optimizers.{path.stem} import {', '.join(names)}\n"
        old = re.compile(rf"^from fastopt\.optimizers\.{path.stem} import (?:\([^)]*\)|[^\n]*)\n", re.M)
        if old.search(source):
            source = old.sub(line, source)
        else:
            source = source.replace(
                "from fastopt.optimizers.wrappers", line + "from fastopt.optimizers.wrappers"
            )
    imported = re.findall(r"^from [\w.]+ import (?:\(([^)]*)\)|([^\n]*))", source, re.M)
    names = sorted({n for pair in imported for n in re.findall(r"\w+", "".join(pair))})
    names.sort(key=_kind_first)
    listed = "".join(f'    "{name}",\n' for name in names)
    return re.sub(r"__all__ = \[.*?\]\n", f"__all__ = [\n{listed}]\n", source, flags=re.S)


def main():
    """Rewrite what differs."""
    for path in modules():
        path.write_text(rewrite(path.read_text("utf-8")), "utf-8")
    exports = FOLDER / "__init__.py"
    exports.write_text(rewrite_exports(exports.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
