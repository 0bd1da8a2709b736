"""The page of the API reference, ordered by what a reader wants to do; `conf.py` writes it for each build.

What is added to a public module's ``__all__`` appears by itself, in the section of its kind.
"""

import importlib
import types

import public_api

import fastopt
from fastopt.optimizers.wrappers.base import Wrapper

_INTRODUCTION = """\
API reference
=============

Ordered by task. :doc:`/stability` lists the same names by module, and says what may change.
"""

#: (heading, module whose names are shown as imported from it, what the section is for).
_BY_MODULE = (
    ("Fit a table as it is", "fastopt.tabular", "Bags of small networks, and their inputs; :doc:`/tabular`."),
    ("Schedules", "fastopt.schedules", "Hyper-parameters that change during training; :doc:`/schedules`."),
    ("Callbacks", "fastopt.callbacks", "What watches a fit, epoch by epoch; :doc:`/callbacks`."),
    ("Track fits and models", "fastopt.mlflow", "In MLflow; :doc:`/tracking`."),
    ("Compare optimizers", "fastopt.study", "Which optimizer, which learning rate; :doc:`/guide`."),
    ("Draw", "fastopt.display", "Pictures of studies and fits; :doc:`/gallery`."),
    ("Write a report", "fastopt.report", "One HTML page of a study, or of a model of a table."),
    ("Load data", "fastopt.datasets", "Tables of your own and bundled sets, made ready for a study."),
    ("Data larger than memory", "fastopt.data", "Rows on disk that `fit` reads in blocks."),
    ("Data on many machines", "fastopt.dask", "One network on a Dask cluster; :doc:`/beyond-one-machine`."),
    ("Export", "fastopt.onnx_export", "Fitted estimators as ONNX models, without Python; :doc:`/onnx`."),
)


def kind(name):
    """Return the section of a name of ``fastopt`` itself."""
    thing = getattr(fastopt, name)
    if name.startswith("register") or name in ("sweep", "tensor_rule"):
        return "extensions"
    if name in importlib.import_module("fastopt.neural_network").__all__:
        return "networks"
    if name in importlib.import_module("fastopt.tabular").__all__:
        return "tables"
    if not isinstance(thing, type) or not issubclass(thing, fastopt.Optimizer) or thing is fastopt.Optimizer:
        return "arrays"
    return "wrappers" if issubclass(thing, Wrapper) else "catalogue"


def section(heading, text, module, names, level="-"):
    """Return the lines of a section with a table of names."""
    shown = [name for name in names if is_documented(getattr(importlib.import_module(module), name))]
    lines = [heading, level * len(heading), "", text, "", f".. currentmodule:: {module}", ""]
    lines += [line for name in names if name not in shown for line in constant(module, name)]
    lines += [".. autosummary::", "   :toctree: names", "   :nosignatures:", ""]
    return [*lines, *(f"   {name}" for name in shown), ""]


def is_documented(thing):
    """Tell whether something has a page of its own: a class or a function, not a constant or a type alias."""
    return callable(thing) and not isinstance(thing, types.GenericAlias)


def constant(module, name):
    """Return the lines for something public that is neither a class nor a function."""
    value = getattr(importlib.import_module(module), name)
    if isinstance(value, (dict, list, tuple)):
        return [f"``{name}``: {', '.join(map(str, value))}", ""]
    return [f"``{name}``: a type for annotations, ``{value}``".replace("fastopt.schedules.base.", ""), ""]


def catalogue(names):
    """Return the sections of the optimizers, one for each module that defines some."""
    homes = {}
    for name in names:
        homes.setdefault(getattr(fastopt, name).__module__, []).append(name)
    lines = []
    for home, members in sorted(homes.items()):
        heading = importlib.import_module(home).__doc__.splitlines()[0].rstrip(".")
        lines += section(heading, "", "fastopt", members, level="~")
    return lines


def page():
    """Return the page as reStructuredText."""
    kinds = {}
    for name in public_api.names("fastopt"):
        kinds.setdefault(kind(name), []).append(name)
    lines = [
        _INTRODUCTION,
        *section("Train networks", "For scikit-learn; :doc:`/estimators`.", "fastopt", kinds["networks"]),
        *section(
            "Update your own arrays",
            "``Adam(lr=0.1).bind(arrays).step(gradients)``; :doc:`/getting-started`.",
            "fastopt",
            kinds["arrays"],
        ),
        *section("Wrap an optimizer", "Clip, average, mask; :doc:`/wrappers`.", "fastopt", kinds["wrappers"]),
    ]
    for heading, module, text in _BY_MODULE:
        lines += section(heading, text, module, public_api.names(module))
    lines += section(
        "Add rules of your own",
        "The registration that the library itself uses.",
        "fastopt",
        kinds["extensions"],
    )
    heading = "Choose an optimizer"
    lines += [heading, "-" * len(heading), "", "The catalogue; :doc:`/optimizers` compares them.", ""]
    lines += catalogue(kinds["catalogue"])
    lines += section(
        "Internal: the engine",
        "Documented for those who work on the library; it may change in any version. :doc:`/architecture`.",
        "fastopt.engine",
        importlib.import_module("fastopt.engine").__all__,
    )
    return "\n".join(lines) + "\n"
