"""Estimators in MLflow: fits logged by themselves, and models as files without code.

A flavour of MLflow's, as third parties write them: `save_model`, `log_model` and `load_model` as those of
`mlflow.sklearn`, and ``mlflow.pyfunc.load_model`` for what serves any model. Needs the extra ``mlflow``, and
``files`` for models.
"""

from .autologging import autolog
from .flavor import FLAVOR_NAME, get_default_pip_requirements, load_model, log_model, save_model
from .flavor import _load_pyfunc as _load_pyfunc  # MLflow calls it by this name

__all__ = [
    "FLAVOR_NAME",
    "autolog",
    "get_default_pip_requirements",
    "load_model",
    "log_model",
    "save_model",
]
