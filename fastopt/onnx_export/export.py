"""`to_onnx` and what goes with it."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from fastopt import __version__
from fastopt._extras import require
from fastopt.model_files.container import replace_file
from fastopt.neural_network import validation
from fastopt.onnx_export import skl2onnx_converters, table_inputs
from fastopt.onnx_export.graph import Graph
from fastopt.onnx_export.predictions import ESTIMATORS, input_dtype, inputs_of, predicted
from fastopt.tabular import tables

if TYPE_CHECKING:
    from onnx import ModelProto

    from fastopt.neural_network.validation import Rows

_DOCUMENTATION = (
    "A {kind} of fastopt {version}. Weights and outputs are float32, whatever the type of the fitted model."
)


def to_onnx(model: Any, path: str | os.PathLike[str] | None = None, *, X: Rows | None = None) -> ModelProto:
    """Return a fitted estimator as an ONNX model, which runs without fastopt and without Python.

    Weights and outputs are float32, also of a model that was fitted to float64. The names and shapes of
    inputs and outputs are those of skl2onnx (with ``zipmap=False``):

    - networks take ``X`` of shape (n, n_features), float32;
    - estimators of tables take an input of shape (n, 1) for each column, by its name: text as strings,
      everything else as float64, NaN where missing. One that was fitted to an array of numbers takes
      ``X`` of shape (n, n_features), float64. `session_inputs` makes them of a table;
    - classifiers return ``label`` of shape (n,), int64 or strings, and ``probabilities`` of shape
      (n, n_classes), as `predict_proba` has them; of multilabel targets ``label`` is an indicator of shape
      (n, n_labels);
    - regressors return ``variable`` of shape (n, n_targets), with a list of quantiles (n, n_quantiles) or
      (n, n_targets, n_quantiles).

    Parameters
    ----------
    model : estimator
        A fitted `MLPClassifier`, `MLPRegressor`, `TabularMLPClassifier` or `TabularMLPRegressor`, one of
        `fastopt.dask`; or any estimator that skl2onnx converts, such as a Pipeline or a GridSearchCV around
        one of these.
    path : path-like, optional
        Where to write the model, too. At every moment the old file or the new one is there.
    X : array-like or data frame, optional
        Only with estimators of others that were fitted to a data frame: some of its rows, which tell skl2onnx
        the columns' types.

    Returns
    -------
    onnx.ModelProto

    Raises
    ------
    NotFittedError
        If the model is not fitted.
    NotImplementedError
        If an activation cannot be written as a graph.
    RuntimeError
        Of skl2onnx, if it has no converter for an estimator of others.
    ValueError
        If a parameter is beyond float32, or X is missing, or of no use.
    OSError
        If the disk refuses; a file that was there is unchanged.
    MissingExtraError
        If onnx, or for a Pipeline skl2onnx, is not installed (extra ``onnx``).

    See Also
    --------
    fastopt.save : A file for fastopt, from which training can go on.

    Notes
    -----
    A graph refuses nothing: where `predict` raises for NaN or infinity, it returns NaN, or a number for the
    largest possible value. Activations of one's own are exported from the functions that were registered.

    Examples
    --------
    >>> import numpy as np
    >>> import onnxruntime
    >>> from fastopt import MLPClassifier, to_onnx
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MLPClassifier((8,), solver="lbfgs", random_state=0).fit(X, y)
    >>> session = onnxruntime.InferenceSession(to_onnx(clf).SerializeToString())
    >>> label, probabilities = session.run(None, {"X": X[:2].astype(np.float32)})
    >>> label.tolist()
    [0, 0]
    >>> bool(np.abs(probabilities - clf.predict_proba(X[:2])).max() < 1e-6)
    True
    """
    require("onnx", "to_onnx", extra="onnx")
    if isinstance(model, ESTIMATORS):
        if X is not None:
            raise ValueError(
                f"X tells the types of columns of a Pipeline's frame; {type(model).__name__} knows them: "
                "leave it out"
            )
        exported = _own(model)
    else:
        exported = skl2onnx_converters.converted(model, X)
    if path is not None:
        replace_file(os.path.realpath(path), exported.SerializeToString())
    return exported


def _own(model):
    """Return one of the library's estimators as a ModelProto."""
    check_is_fitted(model)
    if hasattr(model, "to_local"):
        model = model.to_local()
    graph, inputs = Graph(), inputs_of(model)
    named = {one.name: (input_dtype(model, one), ["n", one.n_columns]) for one in inputs}
    for name in named:
        graph.unique(name)
    results = predicted(graph, model, [(one.name, one.n_columns, one.is_text) for one in inputs])
    outputs = {}
    for name, result in results.items():
        name = graph.unique(name)
        graph.name_output(result.value, name)
        outputs[name] = result.dtype, ["n", *result.shape]
    kind = type(model).__name__
    return graph.to_model(
        kind,
        named,
        outputs,
        producer_name="fastopt",
        producer_version=__version__,
        doc_string=_DOCUMENTATION.format(kind=kind, version=__version__),
    )


def session_inputs(model: Any, X: Rows) -> dict[str, np.ndarray]:
    """Return rows as the exported model takes them: what `onnxruntime.InferenceSession.run` is given.

    Parameters
    ----------
    model : estimator
        The fitted estimator of fastopt that was exported.
    X : array-like, sparse matrix or data frame of shape (n_samples, n_features)
        As for its `predict`.

    Returns
    -------
    dict of str to ndarray
        Of an estimator of tables, for each column an array of shape (n_samples, 1): text as objects, dates as
        days since 1970 (UTC), durations as seconds, booleans as 0 and 1, all of these float64 with NaN where
        missing. Missing text is empty, or ``'<NA>'`` where the empty text is a level of its own; an empty
        text of X that is neither becomes another one.

    Raises
    ------
    TypeError
        If the model is none of fastopt's.
    ValueError
        If X does not fit, as in `predict`.

    Examples
    --------
    >>> import pandas as pd
    >>> from fastopt import TabularMLPClassifier
    >>> from fastopt.onnx_export import session_inputs
    >>> X = pd.DataFrame({"size": [1.0, None, 3.0, 2.0] * 5, "color": ["red", "blue", None, "red"] * 5})
    >>> clf = TabularMLPClassifier(max_iter=5, random_state=0).fit(X, ["a", "b", "b", "a"] * 5)
    >>> session_inputs(clf, X[1:3])
    {'size': array([[nan],
           [ 3.]]), 'color': array([['blue'],
           ['']], dtype=object)}
    """
    if not isinstance(model, ESTIMATORS):
        raise TypeError(f"session_inputs is for estimators of fastopt, got {type(model).__name__}")
    check_is_fitted(model)
    inputs = inputs_of(model)
    if not hasattr(model, "encoder_"):
        X = validation.prediction_input(model, X)
        return {"X": np.ascontiguousarray(X.toarray() if hasattr(X, "toarray") else X, np.float32)}
    table, encoding = tables.read(X, model, reset=False), model.encoder_._encoder()
    columns = [encoding.fitting(table, j) for j in range(table.n_columns)]
    if inputs[0].n_columns == len(columns) and not inputs[0].is_text:
        return {inputs[0].name: np.stack([column.numbers() for column in columns], axis=1)}
    return {
        one.name: (_texts(column, fitted) if one.is_text else column.numbers())[:, np.newaxis]
        for one, column, fitted in zip(inputs, columns, model.encoder_.columns_, strict=True)
    }


def _texts(column, fitted):
    """Return a column as texts. One that stands for missing values is exchanged: it is of no level itself."""
    codes, levels = column.coded()
    missing, known = table_inputs.missing_text(fitted), {*levels, *getattr(fitted, "levels", ())}
    other = next(text for i in itertools.count() if (text := f"text {i}") not in known)
    levels = [other if level == missing else level for level in levels]
    return np.array([*levels, missing], object)[codes]  # -1 is the last


def register_converters() -> None:
    """Make skl2onnx convert fastopt's estimators, alone and inside scikit-learn's.

    `to_onnx` calls it by itself; call it once before ``skl2onnx.to_onnx(pipeline, X)``. The options
    ``zipmap`` and ``nocl`` of classifiers are those that skl2onnx has for its own.

    Raises
    ------
    MissingExtraError
        If skl2onnx is not installed (extra ``onnx``).

    Examples
    --------
    >>> import skl2onnx
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from fastopt import MLPClassifier
    >>> from fastopt.onnx_export import register_converters
    >>> register_converters()
    >>> X, y = load_iris(return_X_y=True)
    >>> pipeline = make_pipeline(StandardScaler(), MLPClassifier((8,), solver="lbfgs")).fit(X, y)
    >>> model = skl2onnx.to_onnx(pipeline, X[:1].astype("float32"), options={"zipmap": False})
    >>> [output.name for output in model.graph.output]
    ['label', 'probabilities']
    """
    skl2onnx_converters.register()
