"""Keyword arguments of other libraries: refused by a TypeError that names ours."""

import functools
import inspect
from collections.abc import Callable
from numbers import Integral
from typing import Any, TypeVar, cast

from fastopt._parameters import safe_repr, suggestion

_F = TypeVar("_F", bound=Callable[..., Any])

#: Our parameters, and what XGBoost, LightGBM, CatBoost, Keras, PyTorch, Lightning or skorch call them.
_PARAMETERS = {
    "activation": "act activation_fn activation_function hidden_activation nonlinearity",
    "alpha": "l2 l2_reg l2_regularization lambda_l2 reg_lambda",
    "batch_size": "batch batchsize bs mini_batch_size minibatch_size iterator_train__batch_size",
    "beta_1": "adam_beta1 b1 beta1",
    "beta_2": "adam_beta2 b2 beta2",
    "beta_1=..., beta_2": "betas",
    "checkpoint": "checkpoint_dir checkpoint_path ckpt_path snapshot",
    "class_weight": "class_weights scale_pos_weight",
    "clip_norm": "clipnorm global_clipnorm grad_clip gradient_clip_val gradient_clip_value max_grad_norm",
    "clip_value": "clipvalue",
    "delta": "huber_delta huber_slope",
    "device": "accelerator cuda device_type gpu task_type use_cuda use_gpu",
    "dropout": "drop_rate dropout_p dropout_prob dropout_rate p_drop",
    "epsilon": "adam_epsilon eps",
    "hidden_layer_sizes": "hidden hidden_dim hidden_dims hidden_layers hidden_size hidden_sizes hidden_units"
    " layer_sizes layers module n_hidden num_hidden units",
    "init": "init_method initializer kernel_initializer weight_init",
    "label_smoothing": "label_smooth smoothing",
    "learning_rate": "lr_policy lr_schedule lr_scheduler schedule scheduler",
    "learning_rate_init": "eta initial_lr lr",
    "loss": "criterion loss_fn loss_func loss_function objective",
    "max_iter": "epochs iterations max_epochs max_iterations n_epochs n_estimators n_iter nb_epoch"
    " num_boost_round num_epochs num_iterations num_train_epochs",
    "max_time": "max_runtime max_runtime_secs time_limit timeout",
    "n_jobs": "n_threads n_workers nthread num_threads num_workers thread_count workers",
    "nesterovs_momentum": "nesterov",
    "power": "tweedie_variance_power variance_power",
    "quantile": "quantile_alpha quantiles tau",
    "random_state": "manual_seed random_seed rng seed",
    "restore_best_weights": "load_best load_best_model_at_end restore_best use_best_model",
    "scoring": "eval_metric metric metrics monitor val_metric val_metric_name",
    "solver": "algorithm optim optimiser optimizer",
    "tol": "early_stopping_min_delta min_delta threshold tolerance",
    "verbose": "silent verbosity verbosity_level",
    "warmup": "warmup_epochs warmup_ratio warmup_steps",
}
#: What they call an argument of `fit`.
_ARGUMENTS = {
    "sample_weight": "sample_weights weight weights",
    "sample_weight_val": "eval_sample_weight sample_weight_eval_set val_sample_weight",
}
#: Whose values are used as they are.
_OF_THE_SAME_KIND = {
    "max_iter",
    "learning_rate_init",
    "batch_size",
    "random_state",
    "dropout",
    "hidden_layer_sizes",
}
#: Those that say after how many bad epochs training stops; ours says how many are accepted.
_PATIENCE = "early_stopping_patience early_stopping_rounds od_wait patience stopping_rounds".split()
_SETS = "eval_X eval_data eval_set eval_sets eval_y valid_sets validation_data validation_set".split()
_SHARES = "train_split val_fraction val_size val_split valid_size validation_size validation_split".split()
_MODELS = "init_model initial_epoch resume xgb_model".split()


def _by_name(entries):
    return {theirs: ours for ours, names in entries.items() for theirs in names.split()}


_OURS, _OF_FIT = _by_name(_PARAMETERS), _by_name(_ARGUMENTS)


def answers_keywords(method: _F) -> _F:
    """Make a method of an estimator say what to pass in place of a keyword argument that it does not have.

    The signature stays as it is, which scikit-learn reads for parameters and metadata.

    Parameters
    ----------
    method : function
        ``__init__``, or one that trains.
    """
    signature = inspect.signature(method)
    known = signature.parameters

    @functools.wraps(method)
    def answering(self, *args, **kwargs):
        try:
            return method(self, *args, **kwargs)
        except TypeError:
            unknown = next((name for name in kwargs if name not in known), None)
            if unknown is None:
                raise
            raise TypeError(refusal(type(self), method.__name__, unknown, kwargs[unknown])) from None

    # scikit-learn asks for it at each get_params and clone: this way it is not made again each time.
    answering.__signature__ = signature  # type: ignore[attr-defined]
    return cast(_F, answering)


def refusal(cls: type, method: str, name: str, value: object) -> str:
    """Return the sentences that refuse a keyword argument and name ours.

    Parameters
    ----------
    cls : type
        Of the estimator.
    method : str
        ``'__init__'``, ``'fit'`` or ``'partial_fit'``.
    name : str
    value : object
        What was passed.

    Examples
    --------
    >>> from fastopt import MLPClassifier
    >>> from fastopt.neural_network.familiar_keywords import refusal
    >>> print(refusal(MLPClassifier, "fit", "epochs", 20))
    MLPClassifier.fit has no argument 'epochs'. Pass max_iter=20 to MLPClassifier(...) instead.
    """
    owner = cls.__name__
    where = owner if method == "__init__" else f"{owner}.{method}"
    return f"{where} has no argument {name!r}.{advice(cls, method, name, value)}"


def advice(cls: type, method: str, name: str, value: object) -> str:
    """Return what `refusal` says after its first sentence, or an empty string."""
    is_constructor, parameters = method == "__init__", inspect.signature(cls).parameters
    partial_fit = getattr(cls, "partial_fit", None)  # an estimator may hide it behind a property
    of_partial_fit = inspect.signature(partial_fit).parameters if callable(partial_fit) else {}
    if not is_constructor and name == "classes" and name in of_partial_fit:
        return " Only partial_fit has it; fit takes the classes of y."
    if method == "partial_fit" and name in inspect.signature(cls.fit).parameters:
        return " Only fit has it: after partial_fit you can score any rows yourself."
    answer = _answer(cls.__name__, is_constructor, name, value, parameters)
    if answer:
        return answer
    mine = parameters if is_constructor else inspect.signature(getattr(cls, method)).parameters
    return suggestion(name, [other for other in mine if other != "self"])


def _answer(owner, is_constructor, name, value, parameters):
    to_constructor = "" if is_constructor else f" to {owner}(...)"
    to_fit = "fit(X, y, {}) takes it" if is_constructor else "Pass {} instead"
    stops_early = "early_stopping" in parameters
    if name in _PATIENCE and stops_early:
        n = value - 1 if isinstance(value, Integral) and value > 1 else "..."
        return (
            f" Pass early_stopping=True, n_iter_no_change={n}{to_constructor}: so many bad epochs are "
            "accepted, and the next one ends training."
        )
    if name in _SETS or (is_constructor and name in ("X_val", "y_val")):
        stops = f"; with {owner}(early_stopping=True) training stops by it" if stops_early else ""
        return f" A validation set is passed as fit(X, y, X_val=..., y_val=...){stops}."
    if name in _SHARES and stops_early:
        share = "early_stopping=True, validation_fraction=..."
        return f" Pass {share}{to_constructor}; the rows are drawn at random."
    if name == "callbacks":
        return f" Callbacks are set by {owner}(...).set_callbacks(...), with scikit-learn 1.9 or later."
    if name in _MODELS and "warm_start" in parameters:
        return f" Pass warm_start=True{to_constructor}: the next fit goes on from the present weights."
    if name in _OF_FIT or (is_constructor and name in _ARGUMENTS):
        return " " + to_fit.format(f"{_OF_FIT.get(name, name)}=...") + "."
    ours = name if name in parameters else _OURS.get(name, "")
    if ours.partition("=")[0] not in parameters:
        return ""
    same = name == ours or ours in _OF_THE_SAME_KIND
    shown = safe_repr(value) if same else "..."
    return f" Pass {ours}={shown if len(shown) < 60 else '...'}{to_constructor} instead."
