"""What estimators predict, as operators: labels and probabilities, or numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import is_classifier

from fastopt.engine.objective import resolve_activations
from fastopt.neural_network import MLPClassifier, MLPRegressor
from fastopt.onnx_export import networks, table_inputs
from fastopt.onnx_export.graph import Graph
from fastopt.onnx_export.networks import Networks
from fastopt.onnx_export.table_inputs import TableInput, TableValues
from fastopt.rules.activations import lookup_output
from fastopt.tabular import TabularMLPClassifier, TabularMLPRegressor

#: The estimators that can be exported, with the subclasses that are trained elsewhere.
ESTIMATORS = (MLPClassifier, MLPRegressor, TabularMLPClassifier, TabularMLPRegressor)
_TABULAR = (TabularMLPClassifier, TabularMLPRegressor)
_TINY = float(np.finfo(np.float32).tiny)


class Result(NamedTuple):
    """An output of the graph: a value, its type as NumPy's and its shape without the rows."""

    value: str
    dtype: Any
    shape: tuple[int, ...]


def inputs_of(model: Any) -> list[TableInput]:
    """Return what a model takes: ``X``, all columns of numbers; of tables see `table_inputs.inputs_of`."""
    if isinstance(model, _TABULAR):
        return table_inputs.inputs_of(model.encoder_)
    return [TableInput("X", False, model.n_features_in_)]


def input_dtype(model: Any, one: TableInput) -> Any:
    """Return the type of an input."""
    return np.dtype(object if one.is_text else np.float64 if isinstance(model, _TABULAR) else np.float32)


def n_labels(model: Any) -> int | None:
    """Return the number of labels of a multilabel classifier, of others None."""
    is_multilabel = model._is_multilabel
    return len(model.classes_) if (is_multilabel() if callable(is_multilabel) else is_multilabel) else None


def predicted(
    graph: Graph, model: Any, values: Sequence[tuple[str, int, bool]], labels_are_numbers: bool = False
) -> dict[str, Result]:
    """Return the outputs of a fitted estimator by the names that skl2onnx gives them.

    Parameters
    ----------
    graph : Graph
    model : estimator
        One of `ESTIMATORS`, in memory.
    values : sequence of tuples (str, int, bool)
        Names of values of the graph with the model's columns, as of `TableValues`.
    labels_are_numbers : bool, default=False
        Whether ``label`` is the class's position in ``classes_``.

    Raises
    ------
    ValueError
        If the model or the values do not fit.
    NotImplementedError
        If an activation cannot be written as a graph.
    """
    if isinstance(model, _TABULAR):
        x = table_inputs.encoded(graph, TableValues(graph, values), model.encoder_)
    else:
        x = _numbers(graph, values)
    of = _networks_of(model)
    outputs, n = networks.outputs(graph, x, of), len(of.params)
    if isinstance(model, _TABULAR):
        outputs = graph.cast(outputs, np.float64)  # as the model takes their mean and goes on
    if n > 1:
        real = np.float64 if isinstance(model, _TABULAR) else np.float32
        total = graph.op("ReduceSum", outputs, np.array([0]), keepdims=0)
        outputs = graph.op("Mul", total, real(1 / n))
    if not is_classifier(model):
        return {"variable": _variable(graph, model, outputs)}
    classes = np.arange(len(model.classes_)) if labels_are_numbers else model.classes_
    label, probabilities = _labels_and_probabilities(graph, model, outputs, classes)
    return {"label": label, "probabilities": probabilities}


def _numbers(graph, values):
    parts = [graph.cast(name, np.float32) for name, _, _ in values]
    return parts[0] if len(parts) == 1 else graph.op("Concat", *parts, axis=1)


def _networks_of(model):
    if isinstance(model, _TABULAR):
        members, params, layout = [model], list(model._params), model._layout
        output = model._objective()[1]
    else:
        members = getattr(model, "members_", [model])
        params = [member._parameters() for member in members]
        layout, output = members[0]._layout, model.out_activation_
    if any(member._layout != layout or member.activation != members[0].activation for member in members):
        raise ValueError(f"the networks of {type(model).__name__} differ in their shapes or activations")
    hidden = resolve_activations(members[0].activation, len(layout.shapes) - 1)
    return Networks(params, layout, hidden, lookup_output(output))


def _labels_and_probabilities(graph, model, outputs, classes):
    labels = n_labels(model)
    if isinstance(model, _TABULAR):
        outputs = _at_temperature(graph, model, outputs)
    elif labels is None and model.n_outputs_ == 1:
        is_second = graph.cast(graph.op("Greater", outputs, 0.5), np.int64)
        at = graph.op("Squeeze", is_second, np.array([1]))
        outputs = graph.op("Concat", graph.op("Sub", 1.0, outputs), outputs, axis=1)
        only = classes if len(classes) == 2 else np.repeat(classes, 2)
        return _labels(graph, at, only), Result(outputs, np.float32, (2,))
    if labels is not None:
        label = Result(graph.cast(graph.op("Greater", outputs, 0.5), np.int64), np.int64, (labels,))
    else:
        label = _labels(graph, graph.op("ArgMax", outputs, axis=1, keepdims=0), classes)
    return label, Result(outputs, np.float32, (len(classes),))


def _labels(graph, at, classes):
    if all(isinstance(one, (bool, int, float)) for one in classes.tolist()):
        known = classes.astype(np.int64)
        if (known != classes).any():
            raise ValueError(f"labels of an exported model are text or whole numbers of int64, got {classes}")
    else:
        known = np.array([one.decode() if isinstance(one, bytes) else str(one) for one in classes], object)
    return Result(graph.op("Gather", graph.constant(known), at), known.dtype, ())


def _at_temperature(graph, model, probabilities):
    """Return float32 probabilities under the model's temperature; see `fastopt.tabular.calibration`."""
    if model.temperature_ != 1.0:
        inverse = np.float64(1 / model.temperature_)
        scaled = graph.op("Mul", _logs(graph, probabilities), inverse)
        if n_labels(model) is None:
            probabilities = graph.op("Softmax", scaled, axis=1)
        else:  # of two outcomes, a label and none
            rest = _logs(graph, graph.op("Sub", np.float64(1), probabilities))
            difference = graph.op("Sub", graph.op("Mul", rest, inverse), scaled)
            one = graph.op("Add", graph.op("Exp", difference), np.float64(1))
            probabilities = graph.op("Div", np.float64(1), one)
    return graph.cast(probabilities, np.float32)


def _logs(graph, probabilities):
    return graph.op("Log", graph.op("Max", probabilities, np.float64(_TINY)))


def _variable(graph, model, outputs):
    if isinstance(model, _TABULAR):
        width, n_targets = model._width(), len(model._low)
        outputs, is_list = _in_range(graph, model, outputs, width), model._quantiles() is not None
    else:
        each, width = model._loss_entry.outputs_per_target, model._width()
        n_targets, is_list = model.n_outputs_ // width, model._quantiles() is not None
        if each > 1:
            outputs, width = graph.columns(outputs, np.arange(0, model.n_outputs_, each)), width // each
    shape = (n_targets,)
    if is_list:
        outputs = graph.op("Reshape", outputs, np.array([0, n_targets, width]))
        outputs, _ = graph.op("TopK", outputs, np.array([width]), n_outputs=2, largest=0, axis=-1)
        if n_targets == 1:
            outputs = graph.op("Squeeze", outputs, np.array([1]))
        shape = (width,) if n_targets == 1 else (n_targets, width)
    return Result(graph.cast(outputs, np.float32), np.float32, shape)


def _in_range(graph, model, outputs, width):
    """Return outputs on y's scale, within the range of the targets of `fit`."""
    low, high, scale, shift = (
        np.repeat(one, width) for one in (model._low, model._high, model._scale, model._shift)
    )
    if max(high.max(), -low.min()) > np.finfo(np.float32).max:
        raise ValueError(
            f"y goes from {low.min():.3g} to {high.max():.3g}, and exported models are float32: fit it to "
            "a multiple of y"
        )
    values = graph.op("Add", graph.op("Mul", outputs, scale), shift)
    return graph.op("Max", graph.op("Min", values, high), low)
