"""Exported models, executed."""

import numpy as np
import pytest

from fastopt.onnx_export import session_inputs, to_onnx


def of_the_library(registry):
    """Return the names of a registry that the library itself has entered, whatever tests have added."""
    functions = {name: one.value or one.row for name, one in registry.items()}
    return sorted(name for name, one in functions.items() if one.__module__.startswith("fastopt."))


def session(model):
    """Return an onnxruntime session of a ModelProto that has passed ONNX's own checks."""
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    onnx.checker.check_model(model, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    assert inferred.graph.output == model.graph.output  # what is declared is what follows from the inputs
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def assert_same_predictions(model, X, *, tolerance=1e-6):
    """Hold an exported estimator to its own predictions of some rows; return the results of the session.

    The tolerance is of probabilities, and of numbers relative to the largest: outputs are float32, of which
    a rounding is 6e-8, after layers that each round their sums.
    """
    pytest.importorskip("onnx")
    found = session(to_onnx(model)).run(None, session_inputs(model, X))
    expected = model.predict(X)
    if not hasattr(model, "classes_"):
        (numbers,) = found
        assert numbers.dtype == np.float32
        assert numbers.shape == (expected.shape if expected.ndim > 1 else (len(expected), 1))
        scale = max(1.0, float(np.abs(expected).max(initial=0)))
        np.testing.assert_allclose(numbers, expected.reshape(numbers.shape), rtol=0, atol=tolerance * scale)
        return found
    labels, probabilities = found
    wanted = model.predict_proba(X)
    assert probabilities.dtype == np.float32
    assert probabilities.shape == wanted.shape
    np.testing.assert_allclose(probabilities, wanted, rtol=0, atol=tolerance)
    assert labels.shape == expected.shape
    decided = is_decided(wanted)  # of others a rounding decides
    assert decided.mean() > 0.9
    assert (labels == np.asarray(expected, labels.dtype))[decided].all()
    return found


def is_decided(probabilities):
    """Return in which rows no label depends on a rounding."""
    ordered = np.sort(probabilities, axis=1)
    by_rank = ordered[:, -1] - ordered[:, -2] > 1e-5 if ordered.shape[1] > 1 else np.True_
    return by_rank & (np.abs(probabilities - 0.5) > 1e-5).all(axis=1)
