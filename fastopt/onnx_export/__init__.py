"""Fitted estimators as ONNX models, which run without fastopt and without Python; needs the extra ``onnx``.

`to_onnx` exports the estimators, and whatever skl2onnx converts around them. `register_converters` makes
skl2onnx itself know them. `session_inputs` turns a table into what an exported model takes.
"""

from fastopt.onnx_export.export import register_converters, session_inputs, to_onnx

__all__ = ["register_converters", "session_inputs", "to_onnx"]
