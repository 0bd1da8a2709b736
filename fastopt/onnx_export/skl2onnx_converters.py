"""fastopt's estimators as skl2onnx sees them: inside Pipelines, searches and whatever else it converts."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils.validation import check_is_fitted

from fastopt._extras import require
from fastopt.dask import DaskMLPClassifier, DaskMLPRegressor
from fastopt.onnx_export.graph import ML, ML_OPSET, OPSET, Graph
from fastopt.onnx_export.predictions import ESTIMATORS, predicted

#: What classifiers of skl2onnx's own offer.
_OPTIONS = {"zipmap": [True, False, "columns"], "nocl": [True, False], "output_class_labels": [False, True]}
#: skl2onnx's default moves with its version, and runtimes follow later.
_OPSET_OF_OTHERS = 18
_REGISTERED = (*ESTIMATORS, DaskMLPClassifier, DaskMLPRegressor)


def register() -> None:
    """Make skl2onnx know the estimators; see `fastopt.onnx_export.register_converters`."""
    skl2onnx = require("skl2onnx", "register_converters", extra="onnx")
    for kind in _REGISTERED:
        options = _OPTIONS if is_classifier(kind()) else None
        alias = f"Fastopt{kind.__name__}"
        skl2onnx.update_registered_converter(kind, alias, _set_types, _convert, options=options)


def converted(model: Any, X: Any) -> Any:
    """Return what skl2onnx makes of an estimator of others; see `fastopt.to_onnx`."""
    skl2onnx = require("skl2onnx", "to_onnx of a Pipeline or another estimator", extra="onnx")
    types = require("skl2onnx.common.data_types", "to_onnx", extra="onnx")
    register()
    check_is_fitted(model)
    initial = None
    if X is None:
        names, n = getattr(model, "feature_names_in_", None), getattr(model, "n_features_in_", None)
        if names is not None or n is None:
            raise ValueError(
                f"the {type(model).__name__} was fitted to a data frame, whose columns' types it does not "
                "keep: pass some rows, as in to_onnx(model, path, X=frame[:1])"
            )
        initial = [("X", types.FloatTensorType([None, n]))]
    options = {"zipmap": False} if is_classifier(model) else None
    return skl2onnx.to_onnx(model, X, initial_types=initial, options=options, target_opset=_OPSET_OF_OTHERS)


def _results(graph, operator, labels_are_numbers=False):
    """Return the outputs of an operator of skl2onnx's, in its order."""
    model, types = operator.raw_operator, require("skl2onnx.common.data_types", "to_onnx", extra="onnx")
    if hasattr(model, "to_local"):
        model = model.to_local()
    widths = [one.type.shape[1] for one in operator.inputs]
    if len(widths) == 1 and not isinstance(widths[0], int):  # declared as any number of columns
        widths = [model.n_features_in_]
    if not all(isinstance(width, int) for width in widths) or sum(widths) != model.n_features_in_:
        raise ValueError(
            f"{type(model).__name__} was fitted to {model.n_features_in_} columns, and the graph has inputs "
            f"of {widths} for it"
        )
    values = [
        (one.full_name, width, isinstance(one.type, types.StringTensorType))
        for one, width in zip(operator.inputs, widths, strict=True)
    ]
    return [*predicted(graph, model, values, labels_are_numbers).values()]


def _without_labels(scope, operator):
    return bool(scope.get_options(operator.raw_operator, {"nocl": False}, fail=False)["nocl"])


def _set_types(operator):
    """Tell skl2onnx the types and shapes of the outputs."""
    types = require("skl2onnx.common.data_types", "to_onnx", extra="onnx")
    without = is_classifier(operator.raw_operator) and _without_labels(operator.scope_inst, operator)
    of = {"f": types.FloatTensorType, "i": types.Int64TensorType, "O": types.StringTensorType}
    n_rows = operator.inputs[0].get_first_dimension()
    for variable, result in zip(operator.outputs, _results(Graph(), operator, without), strict=True):
        variable.type = of[np.dtype(result.dtype).kind]([n_rows, *result.shape])


def _convert(scope, operator, container):
    """Write the operators into skl2onnx's container."""
    if container.target_opset < OPSET:
        raise ValueError(f"target_opset={container.target_opset}: fastopt's estimators need {OPSET} or later")
    onnx = require("onnx", "to_onnx", extra="onnx")
    without = is_classifier(operator.raw_operator) and _without_labels(scope, operator)
    graph = Graph(scope.get_unique_variable_name)
    for variable, result in zip(operator.outputs, _results(graph, operator, without), strict=True):
        graph.name_output(result.value, variable.full_name)
    graph.drop_unused()
    for tensor in graph.initializers:
        if tensor.data_type == onnx.TensorProto.STRING:
            container.add_initializer(tensor.name, tensor.data_type, tensor.dims, list(tensor.string_data))
        else:
            container.add_initializer(tensor.name, None, None, tensor)
    for node in graph.nodes:
        attributes = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
        # Of the newest version of the domain for text skl2onnx knows fewer operators.
        version = ML_OPSET if node.domain == ML else None
        container.add_node(
            node.op_type,
            list(node.input),
            list(node.output),
            op_domain=node.domain,
            op_version=version,
            name=node.name,
            **attributes,
        )
