"""Models in MLflow, as files that hold arrays and JSON, and no code."""

import importlib
import os
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from fastopt import __version__
from fastopt._extras import require
from fastopt.neural_network import load, save

#: The name of the flavour in a model's ``MLmodel`` file.
FLAVOR_NAME = "fastopt"
_FILE = "model.safetensors"
#: What the pyfunc flavour may call.
_METHODS = "predict", "predict_proba", "predict_log_proba"
#: What a prediction needs beside fastopt.
_NEEDED = "numba", "numpy", "scikit-learn", "scipy"


def get_default_pip_requirements() -> list[str]:
    """Return what a logged model needs, pinned to what is installed here.

    Returns
    -------
    list of str
        In the words of ``requirements.txt``.

    Examples
    --------
    >>> from fastopt.mlflow import get_default_pip_requirements
    >>> get_default_pip_requirements()[0]
    'fastopt[files]==0.1.0'
    """
    return [f"fastopt[files]=={__version__}", *(f"{name}=={version(name)}" for name in _NEEDED)]


def save_model(
    model: Any,
    path: str | os.PathLike[str],
    *,
    conda_env: Any = None,
    code_paths: list[str] | None = None,
    mlflow_model: Any = None,
    signature: Any = None,
    input_example: Any = None,
    pip_requirements: Sequence[str] | str | None = None,
    extra_pip_requirements: Sequence[str] | str | None = None,
    pyfunc_predict_fn: str = "predict",
    metadata: dict[str, Any] | None = None,
) -> None:
    """Save a fitted estimator to a folder, as a model of MLflow's.

    The folder holds the file that `fastopt.save` writes. Loading it executes nothing, unlike the pickle or
    cloudpickle of ``mlflow.sklearn``.

    Parameters
    ----------
    model : MLPClassifier, MLPRegressor, TabularMLPClassifier or TabularMLPRegressor
        Fitted. Of an estimator on Dask, what its ``to_local`` returns is saved.
    path : path-like
        The folder, which must not exist or be empty.
    conda_env, pip_requirements, extra_pip_requirements, code_paths, metadata
        As in `mlflow.sklearn.save_model`. By default the requirements are `get_default_pip_requirements`;
        what an activation or an optimizer of your own needs is for ``code_paths``.
    mlflow_model : mlflow.models.Model, optional
        What the flavour is added to; `log_model` passes it.
    signature : mlflow.models.ModelSignature, optional
        Of `mlflow.models.infer_signature`. By default inferred from the example, if there is one; False for
        none. Columns of pandas' own types (categories, nullable integers, times with a zone) are of any type
        in it: MLflow gives them one that it then refuses.
    input_example : array-like or DataFrame, optional
        Some rows.
    pyfunc_predict_fn : {'predict', 'predict_proba', 'predict_log_proba'}, default='predict'
        What ``predict`` of the pyfunc flavour calls. Another one is chosen later by
        ``mlflow.pyfunc.load_model(uri, model_config={"predict_fn": "predict_proba"})``.

    Raises
    ------
    NotFittedError, TypeError, ValueError
        As `fastopt.save` says of a model that no file can hold.
    ValueError
        If the model has no method ``pyfunc_predict_fn``.
    MlflowException
        If the folder is not empty, or another argument is none that MLflow accepts.
    MissingExtraError
        If MLflow (extra ``mlflow``) or safetensors (extra ``files``) is not installed.

    Examples
    --------
    >>> import fastopt.mlflow
    >>> fastopt.mlflow.save_model(clf, "iris-model", input_example=X[:5])  # doctest: +SKIP
    """
    mlflow = require("mlflow", "fastopt.mlflow", "mlflow")
    model = model.to_local() if hasattr(model, "to_local") else model
    _check_method(model, pyfunc_predict_fn)
    if mlflow_model is None:
        mlflow_model = mlflow.models.Model()
    if signature is None and input_example is not None:
        rows = input_example[0] if isinstance(input_example, tuple) else input_example
        served = Served(model, pyfunc_predict_fn)
        signature = signature_of(mlflow, rows, served.predict(rows))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, _FILE)
        save(model, file)
        mlflow_model.add_flavor(FLAVOR_NAME, fastopt_version=__version__, data=f"data/{_FILE}")
        mlflow.pyfunc.save_model(
            path=path,
            loader_module="fastopt.mlflow",
            data_path=str(file),
            code_paths=code_paths,
            mlflow_model=mlflow_model,
            signature=signature or None,
            input_example=input_example,
            **_requirements(conda_env, pip_requirements, extra_pip_requirements),
            metadata=metadata,
            model_config={"predict_fn": pyfunc_predict_fn},
        )


def log_model(
    model: Any,
    name: str | None = None,
    *,
    conda_env: Any = None,
    code_paths: list[str] | None = None,
    registered_model_name: str | None = None,
    signature: Any = None,
    input_example: Any = None,
    pip_requirements: Sequence[str] | str | None = None,
    extra_pip_requirements: Sequence[str] | str | None = None,
    pyfunc_predict_fn: str = "predict",
    metadata: dict[str, Any] | None = None,
    **kwargs: Any,
) -> Any:
    """Log a fitted estimator to MLflow, to the active run, or one that is begun.

    Parameters
    ----------
    model : MLPClassifier, MLPRegressor, TabularMLPClassifier or TabularMLPRegressor
        Fitted, as for `save_model`.
    name : str, optional
        Name of the model. MLflow refuses the characters ``/ : . % " '``.
    registered_model_name : str, optional
        Also registers it as a version of this registered model.
    conda_env, code_paths, signature, input_example, pip_requirements, extra_pip_requirements, metadata
        As in `save_model`.
    pyfunc_predict_fn : {'predict', 'predict_proba', 'predict_log_proba'}, default='predict'
        What ``predict`` of the pyfunc flavour calls.
    **kwargs
        What else `mlflow.models.Model.log` takes: ``params``, ``tags``, ``step``, ``model_type`` and more.

    Returns
    -------
    mlflow.models.model.ModelInfo
        Its ``model_uri`` is what `load_model` takes.

    Raises
    ------
    NotFittedError, TypeError, ValueError, MlflowException, MissingExtraError
        As `save_model`.

    Examples
    --------
    >>> import fastopt.mlflow
    >>> logged = fastopt.mlflow.log_model(clf, name="iris", input_example=X[:5])  # doctest: +SKIP
    >>> fastopt.mlflow.load_model(logged.model_uri).predict(X)  # doctest: +SKIP
    """
    mlflow = require("mlflow", "fastopt.mlflow", "mlflow")
    return mlflow.models.Model.log(
        artifact_path=None,
        name=name,
        flavor=sys.modules[__package__],
        registered_model_name=registered_model_name,
        model=model,
        conda_env=conda_env,
        code_paths=code_paths,
        signature=signature,
        input_example=input_example,
        pip_requirements=pip_requirements,
        extra_pip_requirements=extra_pip_requirements,
        pyfunc_predict_fn=pyfunc_predict_fn,
        metadata=metadata,
        **kwargs,
    )


def load_model(model_uri: str, dst_path: str | os.PathLike[str] | None = None) -> Any:
    """Load an estimator that `save_model` or `log_model` has stored. Executes nothing of the file.

    Parameters
    ----------
    model_uri : str
        Where it is: a folder, ``runs:/<run_id>/<name>``, ``models:/<model_id>``,
        ``models:/<name>/<version>``.
    dst_path : path-like, optional
        A folder for what is downloaded; a temporary one by default.

    Returns
    -------
    MLPClassifier, MLPRegressor, TabularMLPClassifier or TabularMLPRegressor

    Raises
    ------
    ValueError
        If the model is of another flavour, or its file is damaged; see `fastopt.load`.
    MlflowException, OSError
        If there is no such model.
    MissingExtraError
        If MLflow or safetensors is not installed.

    Examples
    --------
    >>> import fastopt.mlflow
    >>> clf = fastopt.mlflow.load_model("models:/iris/1")  # doctest: +SKIP
    """
    mlflow = require("mlflow", "fastopt.mlflow", "mlflow")
    wanted = None if dst_path is None else os.fspath(dst_path)
    folder = mlflow.artifacts.download_artifacts(os.fspath(model_uri), dst_path=wanted)
    flavors = mlflow.models.Model.load(folder).flavors
    if FLAVOR_NAME not in flavors:
        raise ValueError(
            f"{model_uri!r} is a model of the flavours {sorted(flavors)}, not of {FLAVOR_NAME!r}: load it "
            "with the module that has logged it, or with mlflow.pyfunc.load_model"
        )
    return load(Path(folder, flavors[FLAVOR_NAME]["data"]))


def signature_of(mlflow: Any, rows: Any, predictions: Any) -> Any:
    """Return the signature of a model that takes such rows, as they come and when MLflow serves them.

    Parameters
    ----------
    mlflow : module
    rows : array-like or DataFrame
    predictions : ndarray
        For these rows.

    Returns
    -------
    mlflow.models.ModelSignature
    """
    found = mlflow.models.infer_signature(rows, predictions)
    dtypes = getattr(rows, "dtypes", None)
    own = [name for name, dtype in dtypes.items() if _is_of_pandas(dtype)] if hasattr(dtypes, "items") else []
    if not own or not found.inputs.has_input_names():
        return found
    schema = importlib.import_module("mlflow.types.schema")
    specs = [
        schema.ColSpec(schema.AnyType(), name=spec.name, required=False) if spec.name in own else spec
        for spec in found.inputs
    ]
    return mlflow.models.ModelSignature(inputs=schema.Schema(specs), outputs=found.outputs)


def _is_of_pandas(dtype):
    """Whether MLflow refuses values of a type under the schema that it infers for them (3.17.2)."""
    return not isinstance(dtype, np.dtype) and not str(dtype).lower().startswith(("str", "float"))


class Served:
    """What `mlflow.pyfunc` calls: a model whose ``predict`` is one of its methods.

    Parameters
    ----------
    model : estimator
        Fitted.
    method : str
        What `predict` calls.
    """

    def __init__(self, model: Any, method: str) -> None:
        _check_method(model, method)
        self._model, self._method = model, method

    def get_raw_model(self) -> Any:
        """Return the estimator itself."""
        return self._model

    def predict(self, data: Any, params: dict[str, Any] | None = None) -> Any:
        """Predict, also from a DataFrame where the model was fitted to an array."""
        if not hasattr(self._model, "feature_names_in_") and hasattr(data, "to_numpy"):
            data = data.to_numpy()  # else scikit-learn would warn of the names
        return getattr(self._model, self._method)(data)


def _check_method(model, name):
    if name not in _METHODS or not hasattr(model, name):
        known = [method for method in _METHODS if hasattr(model, method)]
        raise ValueError(
            f"pyfunc_predict_fn={name!r} is no prediction of a {type(model).__name__}, which has {known}"
        )


def _load_pyfunc(path: str, model_config: dict[str, Any] | None = None) -> Served:
    """Return the model as `mlflow.pyfunc` wants it, which calls this by its name."""
    return Served(load(path), (model_config or {}).get("predict_fn", "predict"))


def _requirements(conda_env, required, extra):
    """Return the arguments of `mlflow.pyfunc.save_model`: ours take the place of those that it would guess.

    It would load the model in another process to see which modules that imports, for seconds.
    """
    if conda_env is not None or required is not None:  # of several MLflow says that they are too many
        return {
            "conda_env": conda_env,
            "pip_requirements": required,
            "extra_pip_requirements": extra,
        }
    more = [f"-r {extra}"] if isinstance(extra, str) else list(extra or ())
    return {"pip_requirements": [*get_default_pip_requirements(), *more]}
