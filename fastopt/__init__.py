"""fastopt: fast neural-network training and honest optimizer comparison for NumPy users."""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from fastopt.neural_network import (
        MLPClassifier,
        MLPRegressor,
        from_sklearn,
        list_activations,
        load,
        register_activation,
        register_loss,
        save,
    )
    from fastopt.onnx_export import to_onnx
    from fastopt.optimizers import *  # noqa: F403  the names of __all__
    from fastopt.optimizers import __all__ as _optimizers
    from fastopt.tabular import TabularMLPClassifier, TabularMLPRegressor

    __all__ = [
        *_optimizers,
        "MLPClassifier",
        "MLPRegressor",
        "TabularMLPClassifier",
        "TabularMLPRegressor",
        "from_sklearn",
        "list_activations",
        "load",
        "register_activation",
        "register_loss",
        "save",
        "to_onnx",
    ]
else:
    # Loaded at first use (PEP 562): `fastopt --help` does without Numba and scikit-learn.
    from threading import RLock as _RLock

    _NETWORKS = (
        "MLPClassifier",
        "MLPRegressor",
        "from_sklearn",
        "list_activations",
        "load",
        "register_activation",
        "register_loss",
        "save",
    )
    # What takes longer to load, by the module that has it.
    _LATER = {
        "TabularMLPClassifier": "tabular",
        "TabularMLPRegressor": "tabular",
        "to_onnx": "onnx_export",
    }
    # NumPy cannot be imported for the first time by two threads at once. So that no thread waits for this
    # lock in an import that its holder waits for, no module of the package takes names from the package.
    _loading = _RLock()

    def __getattr__(name):
        from importlib import import_module, util

        if name.startswith("__") and name != "__all__":
            raise AttributeError(name)
        with _loading:
            if util.find_spec(f"{__name__}.{name}") is not None:
                return import_module(f"{__name__}.{name}")
            with import_module(f"{__name__}._collection").paused():
                optimizers = import_module(f"{__name__}.optimizers")
                networks = import_module(f"{__name__}.neural_network")
            globals().update({public: getattr(optimizers, public) for public in optimizers.__all__})
            globals().update({public: getattr(networks, public) for public in _NETWORKS})
            if name in _LATER:
                globals()[name] = getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
            globals()["__all__"] = [*optimizers.__all__, *_NETWORKS, *_LATER]
        if name not in globals():
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return globals()[name]

    def __dir__():
        return sorted({*globals(), *__getattr__("__all__")})
