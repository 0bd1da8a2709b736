"""The two estimators spell out the same signature and docstring, because editors read nothing else."""

import inspect
import re

import pytest

from fastopt import MLPClassifier, MLPRegressor
from fastopt.neural_network._base import BaseMLP

# What one of them has alone.
OWN = (
    "loss",
    "classes_",
    "class_weight",
    "delta",
    "quantile",
    "power",
    "out_activation",
    "n_crossed_",
    "focal_gamma",
    "label_smoothing",
)


def entries(cls, section):
    """Return names, type and text of each entry of a section of a numpydoc docstring."""
    body = re.search(rf"^{section}\n-+\n(.*?)\n\n\w", inspect.getdoc(cls), re.DOTALL | re.MULTILINE)[1]
    found = re.findall(r"^(\S.*?) : (.*)\n((?:    .*\n?)+)", body, re.MULTILINE)
    assert len(found) == len(re.findall(r"^\S", body, re.MULTILINE))
    return [(name, kind, text.rstrip()) for name, kind, text in found]


@pytest.mark.parametrize("section", ["Parameters", "Attributes"])
def test_shared_entries_have_the_same_words(section):
    ours, theirs = (
        [e for e in entries(cls, section) if e[0] not in OWN] for cls in (MLPClassifier, MLPRegressor)
    )
    assert len(ours) > 10
    # The one word that differs.
    assert [(n, t, text.replace("Held-out accuracy", "Held-out R2")) for n, t, text in ours] == theirs


def parameters(cls):
    return {name: p for name, p in inspect.signature(cls).parameters.items() if name not in OWN}


def test_the_signatures_are_the_same():
    assert parameters(MLPClassifier) == parameters(MLPRegressor)


@pytest.mark.parametrize("cls", [MLPClassifier, MLPRegressor])
def test_every_parameter_is_described_with_its_default_and_typed(cls):
    described = {}
    for names, kind, _ in entries(cls, "Parameters"):
        names, defaults = names.split(", "), kind.partition("default=")[2].split(", ")
        described.update(zip(names, defaults * (len(names) // len(defaults)), strict=True))
    known = inspect.signature(cls).parameters
    assert set(described) == set(known)
    for name, p in known.items():
        assert eval(described[name]) == p.default, name
        assert p.annotation is not p.empty
        assert name in OWN or BaseMLP.__annotations__[name] == p.annotation, name
