"""The network of a `fit_cases.Case` as a user who knows JAX would write it: the peer of ``bench_jax``.

A compiled scan over the mini-batches of an epoch, `optax.adam`, donated buffers. The last batch is filled up
with rows of weight 0, so that all batches have one shape.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from fit_cases import ALPHA, LEARNING_RATE, initial_layers


def _batch_loss(layers, X, y, is_real):
    """Return the mean loss of the real rows and scikit-learn's penalty, as scikit-learn adds them up."""
    for weight, bias in layers[:-1]:
        X = jax.nn.relu(X @ weight + bias)
    weight, bias = layers[-1]
    outputs = X @ weight + bias
    if weight.shape[1] == 1:
        losses = optax.sigmoid_binary_cross_entropy(outputs[:, 0], y)
    else:
        losses = optax.softmax_cross_entropy_with_integer_labels(outputs, y)
    penalty = 0.5 * ALPHA * sum((weight**2).sum() for weight, _ in layers)
    return ((losses * is_real).sum() + penalty) / is_real.sum()


_adam = optax.adam(LEARNING_RATE)


def _epoch(network, X, y, order, is_real):
    """Train on the batches ``order`` (n_batches, batch_size); return the network and the mean loss."""

    def step(network, batch):
        layers, state = network
        rows, real = batch
        loss, gradient = jax.value_and_grad(_batch_loss)(layers, X[rows], y[rows], real)
        updates, state = _adam.update(gradient, state)
        return (optax.apply_updates(layers, updates), state), loss * real.sum()

    network, losses = jax.lax.scan(step, network, (order, is_real))
    return network, losses.sum() / is_real.sum()


@functools.partial(jax.jit, donate_argnums=0)
def _one_epoch(network, X, y, order, is_real):
    return _epoch(network, X, y, order, is_real)


@functools.partial(jax.jit, donate_argnums=0)
def _all_epochs(network, X, y, orders, is_real):
    return jax.lax.scan(lambda network, order: _epoch(network, X, y, order, is_real), network, orders)


class JaxFit:
    """A case's data on JAX's device, in their own dtype, and its fits from scikit-learn's initial weights.

    Each fit is a call that returns the loss of every epoch. The order of the rows comes from NumPy, which
    shuffles quicker than ``jax.random.permutation`` does: `Generator.permutation`, or with ``same_order`` the
    slower draws of scikit-learn and fastopt.
    """

    def __init__(self, case, X, y):
        self.case, self._n, self._dtype = case, len(X), X.dtype
        n_classes = len(np.unique(y))
        self._sizes = [X.shape[1], *case.hidden, 1 if n_classes == 2 else n_classes]
        self._X = jnp.asarray(X)
        self._y = jnp.asarray(y, X.dtype if n_classes == 2 else jnp.int32)
        self._n_batches = -(-self._n // case.batch_size)
        is_real = np.arange(self._n_batches * case.batch_size) < self._n
        self._is_real = jnp.asarray(is_real.reshape(self._n_batches, -1), X.dtype)

    def by_epoch(self, same_order=False):
        """Train with one compiled call an epoch."""
        network, orders = self._begin(same_order)
        losses = []
        for _ in range(self.case.epochs):
            network, loss = _one_epoch(network, self._X, self._y, next(orders), self._is_real)
            losses.append(loss)
        return np.array(losses)

    def at_once(self, same_order=False):
        """Train with one compiled call for all epochs, which nothing can stop or look into."""
        network, orders = self._begin(same_order)
        orders = np.stack([next(orders) for _ in range(self.case.epochs)])
        return np.asarray(_all_epochs(network, self._X, self._y, orders, self._is_real)[1])

    def _begin(self, same_order):
        random_state = np.random.RandomState(0)
        initial = initial_layers(self._sizes, random_state)
        layers = jax.tree.map(lambda array: jnp.asarray(array, self._dtype), initial)
        return (layers, _adam.init(layers)), self._orders(random_state if same_order else None)

    def _orders(self, random_state):
        rows = np.arange(self._n, dtype=np.int32)
        rng = np.random.default_rng(0)
        while True:
            if random_state is None:
                rows = rng.permutation(rows)
            else:
                random_state.shuffle(rows)
            yield np.resize(rows, self._n_batches * self.case.batch_size).reshape(self._n_batches, -1)
