"""A graph of ONNX operators under construction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fastopt._extras import require

#: The oldest version of ONNX's operators with all that are used here, in the form that they still have.
OPSET = 13
#: That of the operators for text, and of the file format that came with `OPSET`.
ML_OPSET, IR_VERSION = 2, 7
#: The domain of those operators.
ML = "ai.onnx.ml"
#: Constants of so few elements are one if they are equal.
_FEW = 64

#: A value of the graph, by its name; or a constant: an array, or a number, which is float32.
Value = Any


class Graph:
    """Operators and constants, each of which is there once.

    Parameters
    ----------
    unique : callable, optional
        Gives a name that nothing else has, from one that says what it is.
    """

    def __init__(self, unique: Callable[[str], str] | None = None) -> None:
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.uses_ml = False
        self._onnx = require("onnx", "ONNX export", extra="onnx")
        self._known: dict[Any, Any] = {}
        self._taken: set[str] = set()
        self._outputs: set[str] = set()
        self.unique = unique or self._unique

    def _unique(self, name):
        found, number = name, 0
        while found in self._taken:
            number += 1
            found = f"{name}{number}"
        self._taken.add(found)
        return found

    def constant(self, value: Value) -> str:
        """Return the name of an array or number, which becomes a part of the model."""
        array = np.asarray(value, None if isinstance(value, (np.ndarray, np.generic)) else np.float32)
        array = np.array(array, object if array.dtype.kind == "U" else None, order="C")
        key = (array.dtype.str, array.shape, repr(array.tolist())) if array.size <= _FEW else None
        if key in self._known:
            return self._known[key]
        name = self.unique("constant")
        self.initializers.append(self._onnx.numpy_helper.from_array(array, name))
        if key is not None:
            self._known[key] = name
        return name

    def op(self, kind: str, *inputs: Value, n_outputs: int = 1, domain: str = "", **attributes: Any) -> Any:
        """Return the name of an operator's result, or a list of names if ``n_outputs`` is above 1.

        Parameters
        ----------
        kind : str
            As ONNX calls it.
        *inputs
            Names, arrays and numbers.
        n_outputs : int
        domain : str
        **attributes
        """
        names = [one if isinstance(one, str) else self.constant(one) for one in inputs]
        key = (kind, *names, repr(sorted(attributes.items())))
        if key not in self._known:
            outputs = [self.unique(kind.lower()) for _ in range(n_outputs)]
            self.nodes.append(
                self._onnx.helper.make_node(
                    kind, names, outputs, self.unique(kind), domain=domain, **attributes
                )
            )
            self.uses_ml |= domain == ML
            self._known[key] = outputs if n_outputs > 1 else outputs[0]
        return self._known[key]

    def cast(self, value: str, dtype: Any) -> str:
        """Return a value as another type of NumPy's."""
        to = self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.op("Cast", value, to=to)

    def columns(self, value: str, positions: Any) -> str:
        """Return some columns of a value of shape (n, m)."""
        return self.op("Gather", value, np.asarray(positions, np.int64), axis=1)

    def name_output(self, value: str, name: str) -> None:
        """Give a value the name by which it leaves the graph."""
        self.nodes.append(self._onnx.helper.make_node("Identity", [value], [name], self.unique("Identity")))
        self._outputs.add(name)

    def drop_unused(self) -> None:
        """Remove what no output depends on, such as values that a function has computed and not used."""
        needed, kept = set(self._outputs), []
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                needed.update(node.input)
                kept.append(node)
        self.nodes = kept[::-1]
        self.initializers = [one for one in self.initializers if one.name in needed]

    def to_model(
        self, name: str, inputs: Mapping[str, Any], outputs: Mapping[str, Any], **described: str
    ) -> Any:
        """Return the whole as an `onnx.ModelProto`.

        Parameters
        ----------
        name : str
            Of the graph.
        inputs, outputs : mapping
            For each name the type, as NumPy's, and the shape, in which a text stands for any length.
        **described
            More fields of the model, such as ``doc_string``.
        """
        helper = self._onnx.helper
        self.drop_unused()
        graph = helper.make_graph(
            self.nodes, name, _infos(helper, inputs), _infos(helper, outputs), self.initializers
        )
        opsets = [helper.make_opsetid("", OPSET)]
        if self.uses_ml:
            opsets.append(helper.make_opsetid(ML, ML_OPSET))
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, **described)


def _infos(helper, values):
    return [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)
        for name, (dtype, shape) in values.items()
    ]
