"""The state of an estimator of tables, in pickles and in files without code."""

import copy
import inspect
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from sklearn.utils.validation import check_is_fitted

from fastopt import __version__
from fastopt.engine import Layout
from fastopt.engine.objective import resolve_functions
from fastopt.neural_network.caller_warnings import warn_of_version
from fastopt.neural_network.files import described_requests, set_requests
from fastopt.neural_network.fit_tasks import CALLBACK_ATTRIBUTES
from fastopt.persistence import PersistentModel
from fastopt.rules.activations import lookup_activation
from fastopt.tabular.columns import TableEncoder

#: What a fit leaves on both estimators, and of which types that is; the second part not always.
_FITTED = {
    "encoder_": TableEncoder,
    "history_": dict,
    "n_features_in_": Integral,
    "n_iter_": int,
    "_best": list,
    "_layout": Layout,
    "_params": np.ndarray,
    "_seed": int,
}
_OPTIONAL = {
    "feature_names_in_": np.ndarray,
    "folds_": np.ndarray,
    "oof_predictions_": np.ndarray,
    "oof_score_": float,
    "validation_score_": float,
    "_importances": np.ndarray,
}
#: Under what name a file has the metadata that the user's `set_fit_request` and its like ask for.
_REQUESTS = "_requests"


class TabularState(PersistentModel):
    """The part of the estimators that pickles them, and makes them fit for `fastopt.save`."""

    _family: ClassVar[str | None] = "tabular"
    #: What a fit leaves on a class beside `_FITTED`, and of which types that is; the second part not always.
    _own_fitted: ClassVar[dict[str, Any]] = {}
    _own_optional: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        required = *inspect.signature(cls).parameters, *_FITTED, *cls._own_fitted
        cls._may_lack = (*_OPTIONAL, *cls._own_optional, _REQUESTS)
        cls._state_names = required + cls._may_lack

    def __sklearn_is_fitted__(self) -> bool:
        return "_params" in vars(self)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_kept"}

    def __reduce__(self) -> tuple[Any, ...]:
        function, arguments, state = super().__reduce__()
        return function, arguments, state | {"_library_version": __version__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Parameters that are newer than the pickle have their defaults.
        known = inspect.signature(type(self)).parameters.values()
        state = {p.name: p.default for p in known} | state
        warn_of_version(type(self).__name__, state.pop("_library_version", __version__), __version__)
        requests = state.pop(_REQUESTS, None)
        vars(self).update(state)
        if requests is not None:
            set_requests(self, requests)

    def for_file(self) -> "TabularState":
        """Return a copy that a file without code can hold; `fastopt.save` calls it.

        Raises
        ------
        NotFittedError, TypeError
            If the estimator is not fitted, or has attributes of the user's.
        """
        check_is_fitted(self)
        copied = copy.copy(self)
        for name in CALLBACK_ATTRIBUTES:
            vars(copied).pop(name, None)
        requests = described_requests(vars(copied).pop("_metadata_request", None))
        if requests is not None:
            vars(copied)[_REQUESTS] = requests
        unknown = sorted(vars(copied).keys() - {*self._state_names, "_kept"})
        if unknown:
            raise TypeError(
                f"{type(self).__name__} has the attributes {unknown}, which are not its own: delete them to "
                "save it to a file, or use pickle."
            )
        copied._check_restored()
        return copied

    def _check_restored(self) -> None:
        """Raise ValueError unless what a file says of the estimator fits together."""
        names = [self.activation] if isinstance(self.activation, str) else self.activation
        for name in names:
            lookup_activation(name)  # says what registers it
        self._validate_params()
        for name, kind in (_FITTED | _OPTIONAL | self._own_fitted | self._own_optional).items():
            if name in vars(self) and not isinstance(vars(self)[name], kind):
                raise ValueError(f"{name} is {vars(self)[name]!r}")
        self._check_networks()

    def _check_networks(self):
        sizes, flat = self._layout.layer_sizes, self._params
        if flat.dtype != np.float32 or flat.ndim != 2 or flat.shape[1] != self._layout.size or not len(flat):
            raise ValueError(
                f"parameters of {flat.dtype} and shape {flat.shape} are none of {self._layout!r}"
            )
        if len(self._best) != len(flat):
            raise ValueError(f"{len(flat)} networks have {len(self._best)} best epochs")
        n_inputs = len(self.encoder_.source_columns_)
        if sizes[0] != n_inputs or self.encoder_.n_features_in_ != self.n_features_in_:
            raise ValueError(f"networks of {sizes} units do not read the {n_inputs} inputs of the columns")
        if sizes[-1] != self._expected_outputs():
            raise ValueError(
                f"{sizes[-1]} outputs do not belong to {self._expected_outputs()} of the targets"
            )
        loss, output, _ = self._objective()
        resolve_functions(self.activation, output, loss, self._layout)
