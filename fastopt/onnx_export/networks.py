"""Fully connected networks as operators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fastopt.engine import Layout
from fastopt.onnx_export.graph import Graph
from fastopt.onnx_export.traced_functions import traced
from fastopt.rules.activations import Activation


class Networks(NamedTuple):
    """Networks of one shape.

    Attributes
    ----------
    params : sequence of ndarray of shape (layout.size,)
        One for each network.
    layout : Layout
    hidden : sequence of Activation
        One for each hidden layer.
    output : Activation
        Of the last layer.
    """

    params: Sequence[np.ndarray]
    layout: Layout
    hidden: Sequence[Activation]
    output: Activation


def outputs(graph: Graph, x: str, networks: Networks) -> str:
    """Return the outputs for the rows ``x``, float32 of shape (n_rows, n_inputs).

    They have the shape (n_rows, n_outputs); of several networks (n_networks, n_rows, n_outputs).

    Raises
    ------
    ValueError
        If a parameter is beyond float32.
    NotImplementedError
        If an activation cannot be written as a graph.
    """
    of = networks.layout
    weights, biases, slopes = (
        [_together(layer) for layer in zip(*map(parts, networks.params), strict=True)]
        for parts in (of.weights, of.biases, of.slopes)
    )
    if of.scales_inputs:  # a part of the first weights, where it is a number for each of their rows
        scales = _together([of.scale(flat) for flat in networks.params])
        weights[0] = weights[0].astype(np.float64) * scales[..., None]
    last = len(weights) - 1
    for number, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        z = _layer(graph, x, _float32(weight), _float32(bias))
        x = _activated(graph, z, networks.output) if number == last else z
        if number < last:
            slope = slopes[number]
            learnt = [] if slope is None else [graph.constant(_of_units(_float32(slope)))]
            x = traced(graph, networks.hidden[number].value, z, *learnt)
    return x


def _together(arrays):
    """Return the arrays of several networks as one; of one network its own; None where there are none."""
    return arrays[0] if len(arrays) == 1 or arrays[0] is None else np.stack(arrays)


def _of_units(vector):
    """Return a number for each unit as it is applied to all rows."""
    return vector[:, np.newaxis] if vector.ndim == 2 else vector


def _float32(array):
    with np.errstate(over="ignore"):
        converted = array.astype(np.float32)
    if not np.isfinite(converted).all():
        raise ValueError(
            f"a parameter of the network is {array[~np.isfinite(converted)][0]}, and exported models are "
            "float32: scale the inputs, and fit again"
        )
    return converted


def _layer(graph, x, weight, bias):
    if weight.ndim == 2:
        return graph.op("Gemm", x, weight, bias)
    return graph.op("Add", graph.op("MatMul", x, weight), _of_units(bias))


def _activated(graph, z, output):
    if not output.is_normalized:
        return traced(graph, output.value, z)
    # As the engine, which keeps probabilities from becoming 0.
    return graph.op("Max", graph.op("Softmax", z, axis=-1), np.finfo(np.float32).tiny)
