"""``export``: a model from its file as an ONNX model."""

from __future__ import annotations

from pathlib import Path

from .._extras import require
from .arguments import SettingsError


def add_arguments(parser):
    """Add the arguments of ``export``; return the function that runs it."""
    add = parser.add_argument
    add("model", type=Path, metavar="MODEL", help="a file that fastopt fit or fastopt.save has written")
    add("out", type=Path, metavar="FILE", help="the .onnx file")
    return run


def run(arguments):
    """Write a model as ONNX; print what it takes and returns."""
    require("onnx", "fastopt export", extra="onnx")
    require("safetensors", "fastopt export", extra="files")
    from ..neural_network import load
    from ..onnx_export import to_onnx

    if arguments.out.suffix.lower() != ".onnx":
        raise SettingsError(f"{arguments.out}: models are written as .onnx.")
    if not arguments.model.exists():
        raise SettingsError(f"there is no file {str(arguments.model)!r}.")
    try:
        exported = to_onnx(load(arguments.model), arguments.out)
    except (ValueError, TypeError, NotImplementedError) as problem:
        raise SettingsError(str(problem).splitlines()[0]) from problem
    for told, values in (("takes", exported.graph.input), ("returns", exported.graph.output)):
        print(f"{arguments.out} {told}:")
        for value in values:
            print(f"  {_described(value)}")
    return 0


def _described(value):
    """Return the name, the type and the shape of an input or output."""
    from onnx import helper

    tensor = value.type.tensor_type
    dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    shape = ", ".join(one.dim_param or str(one.dim_value) for one in tensor.shape.dim)
    return f"{value.name}: {'string' if dtype.kind == 'O' else dtype} ({shape})"
