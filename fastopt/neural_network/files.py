"""Fitted networks as files without code: `save` and `load`."""

import os
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.validation import check_is_fitted

from fastopt.engine.objective import resolve_functions
from fastopt.model_files.objects import load_objects, naming, save_objects
from fastopt.neural_network import history, solvers
from fastopt.neural_network._base import BaseMLP
from fastopt.neural_network.fit_tasks import CALLBACK_ATTRIBUTES
from fastopt.neural_network.parameters import flatten
from fastopt.persistence import PersistentModel, class_of, name_of
from fastopt.rules.activations import lookup_activation
from fastopt.rules.losses import lookup_loss
from fastopt.stepping.layerwise_state import LayerwiseState

if TYPE_CHECKING:
    pass

_KIND = "model"
_NONE = type(None)

#: What a fit leaves on an estimator beside its arrays and its optimizer, and of which types that is.
_FITTED = {
    "_history": np.ndarray,
    "_no_improvement_count": Integral,
    "_score_name": str,
    "best_loss_": (Real, _NONE),
    "best_validation_score_": (Real, _NONE),
    "classes_": np.ndarray,
    "device_": str,
    "feature_names_in_": np.ndarray,
    "loss_": Real,
    "loss_curve_": list,
    "n_crossed_": Integral,
    "n_features_in_": Integral,
    "n_iter_": Integral,
    "n_layers_": Integral,
    "n_outputs_": Integral,
    "out_activation_": str,
    "t_": Integral,
    "validation_scores_": (list, _NONE),
}
#: Those of them that every fit leaves: a loss one that Ctrl-C ends in its first epoch does not.
_REQUIRED = (
    "device_",
    "n_features_in_",
    "n_iter_",
    "n_layers_",
    "n_outputs_",
    "out_activation_",
    "t_",
)
#: Those of them that either all or none are there.
_HISTORY = (
    "_no_improvement_count",
    "best_loss_",
    "best_validation_score_",
    "loss_curve_",
    "validation_scores_",
)
#: Parameters that are left out: where a fit writes is not for a file to say.
_LEFT_OUT = "checkpoint", "checkpoint_every"
#: What is stored in another form, or stands in every file.
_CONVERTED = (
    "members_",
    "_params",
    "_layout",
    "_optimizer",
    "_label_binarizer",
    "_metadata_request",
    "_library_version",
)
#: Kinds of targets that a classifier has, and attributes that scikit-learn's binarizer of labels learns.
_TARGETS = "binary", "multiclass", "multilabel-indicator"
_BINARIZER = ("classes_", "y_type_", "sparse_input_")


def save(model: BaseMLP, path: str | os.PathLike[str], *, optimizer: bool = False) -> None:
    """Save a fitted network to a file that holds arrays and JSON, and nothing that `load` would execute.

    Parameters
    ----------
    model : MLPClassifier, MLPRegressor, TabularMLPClassifier or TabularMLPRegressor
        Fitted. Its parameters, its weights and everything else that a fit leaves behind are saved; what was
        registered by `fastopt.register` and its like is saved by name. ``checkpoint`` and
        ``checkpoint_every`` are not: they name a place on this machine. Nor are callbacks: set them anew.
    path : path-like
        A safetensors file, whatever its name. One that exists is replaced only when the new one is on the
        disk.
    optimizer : bool, default=False
        Whether to save the optimizer's state as well (for Adam twice the size of the weights), so that
        training goes on as if it had not been interrupted: `partial_fit`, and `fit` with ``warm_start=True``
        and ``reset_optimizer=False``. ``'lbfgs'`` and the bags of ``TabularMLP*`` have none.

    Raises
    ------
    NotFittedError
        If the model is not fitted.
    ValueError
        If its parameters are not acceptable, as in `fit`: what `save` writes, `load` reads.
    TypeError
        If it is no network of fastopt's or has something that such a file cannot hold: a function as
        ``learning_rate``, a class or an attribute of your own. The message names it.
    OSError
        If the disk refuses; a file that existed is unchanged.
    MissingExtraError
        If safetensors is not installed (extra ``files``).

    See Also
    --------
    load : The way back.

    Examples
    --------
    >>> import os, tempfile
    >>> import fastopt
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = fastopt.MLPClassifier((8,), solver="lbfgs", random_state=0).fit(X, y)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "iris.safetensors")
    ...     fastopt.save(clf, path)
    ...     again = fastopt.load(path)
    >>> bool((again.predict_proba(X) == clf.predict_proba(X)).all())
    True
    """
    if isinstance(model, PersistentModel):
        if optimizer:
            raise ValueError(
                f"optimizer=True: a {type(model).__name__} keeps no state of its optimizers, as its training "
                "does not go on"
            )
        save_objects(path, {"model": model.for_file()}, _KIND)
        return
    if not isinstance(model, BaseMLP):
        raise TypeError(
            "fastopt.save takes a fitted MLPClassifier, MLPRegressor, TabularMLPClassifier or "
            f"TabularMLPRegressor, not a {type(model).__name__}. Of a Pipeline or a search, save the network "
            "inside."
        )
    if hasattr(model, "to_local"):
        raise TypeError(f"a file does not hold a {type(model).__name__}: save what its to_local() returns.")
    check_is_fitted(model)
    save_objects(path, _described(model, optimizer), _KIND)


def load(path: str | os.PathLike[str]) -> Any:
    """Load a network that `save` has written. Executes nothing of the file, whoever wrote it.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    MLPClassifier, MLPRegressor, TabularMLPClassifier or TabularMLPRegressor

    Raises
    ------
    ValueError
        If the file is damaged, holds something else, comes from a version of fastopt that this one cannot
        read, or needs an activation, a loss, an optimizer or a schedule that is not registered here. The
        message names the file.
    OSError
        If the file cannot be opened.
    MissingExtraError
        If safetensors is not installed (extra ``files``).

    See Also
    --------
    save : Writes such files, with an example.
    """
    saved = load_objects(path, _KIND)
    with naming(path):
        if "model" in saved:  # `fastopt fit` adds how it has read the table
            if not isinstance(saved["model"], PersistentModel):
                raise ValueError(f"a {type(saved['model']).__name__} is no model")
            return saved["model"]
        return _restored(**saved)


def _described(model, with_optimizer):
    """Return a network as values that a file can hold."""
    kind = name_of(type(model))
    members = vars(model).get("members_")
    _check_parameters(model)
    if members is None:
        model._parameters()  # weights that the user has assigned become the network
        _check_network(model)
    params = model.get_params(deep=False)
    left_out = {*params, *CALLBACK_ATTRIBUTES}
    state = {name: value for name, value in model.__getstate__().items() if name not in left_out}
    unknown = sorted(state.keys() - _FITTED.keys() - {*_CONVERTED})
    if unknown:
        raise TypeError(
            f"{type(model).__name__} has the attributes {unknown}, which are not its own: delete them to "
            "save it to a file, or use pickle."
        )
    return {
        "kind": kind,
        "params": {name: value for name, value in params.items() if name not in _LEFT_OUT},
        "fitted": {name: value for name, value in state.items() if name in _FITTED},
        **(
            _described_weights(model)
            if members is None
            else {"members": [_described(one, with_optimizer) for one in members]}
        ),
        "labels": _described_binarizer(state.get("_label_binarizer")),
        "requests": described_requests(state.get("_metadata_request")),
        "optimizer": state.get("_optimizer") if with_optimizer else None,
    }


def _described_weights(model):
    arrays = {"coefs_": [*model.coefs_], "intercepts_": [*model.intercepts_]}
    if model._layout.has_slopes:
        arrays["slopes_"] = [*model.slopes_]
    return arrays | ({"input_scale_": model.input_scale_} if model._layout.scales_inputs else {})


def _described_binarizer(binarizer):
    return None if binarizer is None else {name: getattr(binarizer, name) for name in _BINARIZER}


def described_requests(requests: Any) -> dict[str, dict[str, Any]] | None:
    """Return what `set_fit_request` and its like have set, by method."""
    if requests is None:
        return None
    methods = {name: getattr(value, "requests", None) for name, value in vars(requests).items()}
    return {name: dict(value) for name, value in methods.items() if value}


def _restored(
    kind,
    params,
    fitted,
    labels,
    requests,
    optimizer,
    coefs_=(),
    intercepts_=(),
    slopes_=(),
    input_scale_=None,
    members=(),
) -> Any:
    """Return the network of the values that a file holds, which may be an attacker's."""
    cls = class_of(kind)
    if not issubclass(cls, BaseMLP) or params.keys() & {*_LEFT_OUT}:
        raise ValueError(f"a {kind!r} with the parameters {sorted(params)} is no network")
    model: Any = cls(**params)
    _check_parameters(model)
    if is_classifier(model) != (labels is not None) or not {*_REQUIRED} <= fitted.keys():
        raise ValueError(f"it lacks some of {_REQUIRED}, or has labels where a {kind!r} has none")
    for name, value in fitted.items():
        if not isinstance(value, _FITTED[name]):
            raise ValueError(f"{name} is {value!r}")
        setattr(model, name, value)
    if "_history" in fitted:
        history.restore(model, fitted["_history"])
    if members:
        model.members_ = [_restored(**member) for member in members]
    else:
        _set_weights(model, coefs_, intercepts_, slopes_, input_scale_)
    if labels is not None:
        model._label_binarizer = LabelBinarizer()
        vars(model._label_binarizer).update({name: labels[name] for name in _BINARIZER})
    if requests is not None:
        set_requests(model, requests)
    if members:
        _check_members(model)
    else:
        _check_network(model)
    if optimizer is not None:
        _set_optimizer(model, optimizer)
    return model


def _set_weights(model, coefs_, intercepts_, slopes_, input_scale_):
    model._set_parameters(*flatten(coefs_, intercepts_, slopes_, [input_scale_]))
    learnt = [a for a in (*slopes_, input_scale_) if a is not None]
    if not {a.dtype for a in coefs_ + intercepts_ + learnt} == {model._params.dtype}:
        raise ValueError("its weights, biases, slopes and scales are not all of the type float32 or float64")


def _check_members(model):
    """Raise ValueError unless the members of an ensemble take the same inputs and predict the same."""
    for member in model.members_:
        same = all(
            getattr(member, name) == getattr(model, name)
            for name in ("loss", "out_activation_", "n_features_in_", "n_outputs_")
        )
        own, common = (getattr(one, "classes_", np.empty(0)) for one in (member, model))
        if type(member) is not type(model) or not same or not np.array_equal(own, common):
            raise ValueError("its networks do not take the same inputs and predict the same")


def _check_parameters(model):
    """Raise unless the parameters are in their ranges, and what they name is registered here."""
    if isinstance(model.activation, str):
        lookup_activation(model.activation)  # says what registers it
    lookup_loss(model.loss)
    model._validate_params()


def _check_network(model):
    """Raise ValueError unless what describes the network is what it is."""
    sizes = model._layout.layer_sizes
    resolve_functions(model.activation, model.out_activation_, model._engine_loss, model._layout)
    if (model.n_features_in_, model.n_outputs_) != (sizes[0], sizes[-1]):
        raise ValueError(
            f"a network with layers of {sizes} units was fitted with n_features_in_={model.n_features_in_} "
            f"and n_outputs_={model.n_outputs_}"
        )
    if len({hasattr(model, name) for name in _HISTORY}) > 1:
        raise ValueError(f"it has some of {_HISTORY} and lacks others")
    names = getattr(model, "feature_names_in_", None)
    if names is not None and names.shape != sizes[:1]:
        raise ValueError(f"{sizes[0]} features do not have {names.shape} names")
    if not is_classifier(model) and sizes[-1] % model._width():
        raise ValueError(f"{sizes[-1]} outputs do not belong to {model._width()} for each target")
    if is_classifier(model):
        _check_classes(model.classes_, model._label_binarizer, n_outputs=sizes[-1])


def _check_classes(classes, binarizer, n_outputs):
    is_single = len(classes) <= 2 and not binarizer.y_type_.startswith("multilabel")
    expected = 1 if is_single else len(classes)
    if binarizer.y_type_ not in _TARGETS or type(binarizer.sparse_input_) is not bool:
        raise ValueError(f"{binarizer.y_type_!r} is none of {_TARGETS}")
    if classes.ndim != 1 or n_outputs != expected or binarizer.classes_.shape != classes.shape:
        raise ValueError(f"{n_outputs} outputs do not belong to the classes {classes!r}")


def set_requests(model: Any, requests: dict[str, dict[str, Any]]) -> None:
    """Set what `described_requests` has returned of another model."""
    found = model._get_metadata_request()
    for method, wanted in requests.items():
        for name, alias in wanted.items():
            getattr(found, method).add_request(param=name, alias=alias)
    model._metadata_request = found


def _set_optimizer(model, solver):
    if not isinstance(solver, solvers.StochasticSolver) or not solver.fits(model._params):
        raise ValueError(f"its optimizer state is not that of {model._params.size} parameters")
    update = solver.update
    if isinstance(update, LayerwiseState) and update._layout not in (None, model._layout):
        raise ValueError(f"its optimizer state is that of a network with the {update._layout!r}")
    model._optimizer = solver
