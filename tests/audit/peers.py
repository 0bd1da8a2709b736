"""The other libraries behind one interface: ``peer.step(grads, lr, loss)`` and ``peer.values()``.

A gradient of None is that of a parameter that has none at this step. optax and Keras know no such thing, so
they get an optimizer for each parameter, unless the method looks at all of them together.
"""

import functools
import importlib
import importlib.machinery
import importlib.metadata
import inspect
import os
import sys
import types
import warnings

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import numpy as np
import optax
import torch

jax.config.update("jax_enable_x64", True)


def version(package):
    """Return ``'package version'``, without a local part such as ``+cpu``."""
    return f"{package} {importlib.metadata.version(package).split('+')[0]}"


def part_of(module):
    """Import a module without running the ``__init__`` of its packages, which need more than we install."""
    parts = module.split(".")
    for depth in range(1, len(parts)):
        name = ".".join(parts[:depth])
        if name not in sys.modules:
            shell = types.ModuleType(name)
            spec = importlib.machinery.PathFinder.find_spec(
                name, None if depth == 1 else sys.modules[".".join(parts[: depth - 1])].__path__
            )
            shell.__path__ = list(spec.submodule_search_locations)
            sys.modules[name] = shell
    return importlib.import_module(module)


class Torch:
    """An optimizer in the manner of ``torch.optim``.

    Parameters
    ----------
    make : callable
        ``make(parameters)`` returns the optimizer.
    separate : bool
        One optimizer for each parameter: for packages that count steps by group and not by parameter.
    takes_loss : bool
        Whether ``step`` wants the loss.
    sparse : bool
        Whether gradients are sparse tensors of the rows that are not 0.
    """

    def __init__(self, make, *, separate=False, takes_loss=False, sparse=False):
        self._make, self._separate, self._takes_loss = make, separate, takes_loss
        self._sparse = sparse

    def bind(self, params, dtype):
        """Start from copies of ``params``."""
        torch.set_default_dtype(torch.float64)  # NAdam and ASGD keep scalars in the default dtype
        self._params = [torch.nn.Parameter(torch.tensor(p)) for p in params]
        lists = [[p] for p in self._params] if self._separate else [self._params]
        self._optimizers = [self._make(one) for one in lists]
        for optimizer in self._optimizers:
            if hasattr(optimizer, "train"):
                optimizer.train()

    def step(self, grads, lr, loss):
        """Take a step."""
        for p, g in zip(self._params, grads, strict=True):
            p.grad = None if g is None else torch.tensor(g)
            if self._sparse and g is not None:
                p.grad = p.grad.to_sparse(1)
        for optimizer in self._optimizers:
            if all(p.grad is None for group in optimizer.param_groups for p in group["params"]):
                continue
            for group in optimizer.param_groups:
                if "lr" in group:
                    group["lr"] = lr
            optimizer.step(**({"loss": torch.tensor(loss)} if self._takes_loss else {}))

    def evaluate(self):
        """Move the parameters to where they are evaluated; tell whether that is elsewhere."""
        has_modes = all(hasattr(optimizer, "eval") for optimizer in self._optimizers)
        if has_modes:
            for optimizer in self._optimizers:
                optimizer.eval()
        return has_modes

    def values(self):
        """Return the parameters as they are."""
        return [p.detach().numpy() for p in self._params]


class Optax:
    """A transformation of optax.

    Parameters
    ----------
    factory : callable
        Makes the transformation; takes ``learning_rate``.
    options : dict
        Its other arguments.
    joint : bool
        One state for all parameters.
    value : bool
        Whether ``update`` wants the loss.
    rate : str
        Name of the argument that holds the learning rate.
    """

    def __init__(self, factory, *, joint=False, value=False, rate="learning_rate", **options):
        self._factory, self._options = factory, options
        self._joint, self._value, self._rate = joint, value, rate
        self._made = {}

    def bind(self, params, dtype):
        """Start from ``params``."""
        if dtype not in self._made:
            names = set(inspect.signature(self._factory).parameters) - {self._rate}
            make = optax.inject_hyperparams(self._factory, static_args=tuple(names), hyperparam_dtype=dtype)
            self._rule = make(**{self._rate: 0.5}, **self._options)
            self._made[dtype] = self._rule, jax.jit(functools.partial(self._advance, self._rule))
        self._rule, self._update = self._made[dtype]
        arrays = [jax.numpy.array(p) for p in params]  # a copy: ours are changed in place
        self._trees = [arrays] if self._joint else [[a] for a in arrays]
        self._states = [self._rule.init(tree) for tree in self._trees]

    def _advance(self, rule, tree, state, grads, lr, loss):
        state.hyperparams[self._rate] = lr
        more = {"value": loss} if self._value else {}
        updates, state = rule.update(grads, state, tree, **more)
        return [a + u for a, u in zip(tree, updates, strict=True)], state

    def step(self, grads, lr, loss):
        """Take a step."""
        lists = [grads] if self._joint else [[g] for g in grads]
        for i, given in enumerate(lists):
            if any(g is None for g in given):
                assert not self._joint
                continue
            dtype = given[0].dtype
            given = [jax.numpy.asarray(g) for g in given]
            lr_, loss_ = jax.numpy.asarray(lr, dtype), jax.numpy.asarray(loss, dtype)
            self._trees[i], self._states[i] = self._update(self._trees[i], self._states[i], given, lr_, loss_)

    def values(self):
        """Return the parameters as they are."""
        return [np.asarray(a) for tree in self._trees for a in tree]


class Keras:
    """An optimizer of Keras, on the JAX backend; ``make()`` returns it."""

    def __init__(self, make):
        self._make = make

    def bind(self, params, dtype):
        """Start from ``params``."""
        import keras

        keras.backend.set_floatx(np.dtype(dtype).name)
        self._variables = [keras.Variable(p.copy(), dtype=np.dtype(dtype).name) for p in params]
        self._optimizers = [self._make() for _ in params]
        for optimizer, variable in zip(self._optimizers, self._variables, strict=True):
            optimizer.build([variable])

    def step(self, grads, lr, loss):
        """Take a step."""
        for optimizer, variable, g in zip(self._optimizers, self._variables, grads, strict=True):
            if g is not None:
                optimizer.learning_rate.assign(lr)
                optimizer.apply([jax.numpy.asarray(g)], [variable])

    def values(self):
        """Return the parameters as they are."""
        return [np.asarray(v.value) for v in self._variables]


class Sklearn:
    """One of scikit-learn's two stochastic optimizers, an object for each parameter; ``make(params)``."""

    def __init__(self, make):
        self._make = make

    def bind(self, params, dtype):
        """Start from copies of ``params``."""
        self._params = [p.copy() for p in params]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._optimizers = [self._make([p]) for p in self._params]

    def step(self, grads, lr, loss):
        """Take a step."""
        for optimizer, p, g in zip(self._optimizers, self._params, grads, strict=True):
            if g is not None:
                optimizer.learning_rate_init = optimizer.learning_rate = lr
                optimizer.update_params([p], [g])

    def values(self):
        """Return the parameters as they are."""
        return self._params
