"""The network of a `fit_cases.Case` as a user of Keras 3 would write it: a peer of ``bench_peers``.

On the JAX backend, compiled, with arrays in memory. Its data loader converts each batch by itself.
"""

import os

import numpy as np

os.environ["KERAS_BACKEND"] = "jax"
import keras
from fit_cases import LEARNING_RATE


class KerasFit:
    """A compiled model of a case, and its fits from given initial weights.

    Parameters
    ----------
    case : fit_cases.Case
        The network, of two classes, and how long it trains.
    data : tuple of ndarray
        Training rows and labels, validation rows and labels.
    initial : list of ndarray
        Weights and biases of each layer in turn.
    activation : str
        Of the hidden layers.
    dropout : float
        Share of the hidden units that is left out.
    steps_per_execution : int
        Batches per compiled call.
    """

    def __init__(self, case, data, initial, activation, dropout, steps_per_execution=1):
        self._case, self._data, self._initial = case, data, initial
        self._model = keras.Sequential([keras.Input((data[0].shape[1],))])
        for size in case.hidden:
            self._model.add(keras.layers.Dense(size, activation))
            if dropout:
                self._model.add(keras.layers.Dropout(dropout))
        self._model.add(keras.layers.Dense(1))
        self._model.compile(
            keras.optimizers.Adam(LEARNING_RATE),
            keras.losses.BinaryCrossentropy(from_logits=True),
            steps_per_execution=steps_per_execution,
        )
        self._model.optimizer.build(self._model.trainable_variables)
        self._moments = [np.asarray(variable) for variable in self._model.optimizer.variables]

    def __call__(self, max_iter=None, shuffle=True, random_state=None, initial=None):
        """Train; return the losses of each epoch, in training and on the validation rows."""
        if random_state is not None:
            keras.utils.set_random_seed(random_state)
        X, y, X_val, y_val = self._data
        initial = initial or self._initial
        for variable, value in zip(self._model.trainable_variables, initial, strict=True):
            variable.assign(value)
        for variable, value in zip(self._model.optimizer.variables, self._moments, strict=True):
            variable.assign(value)
        history = self._model.fit(
            X,
            y,
            batch_size=self._case.batch_size,
            epochs=max_iter or self._case.epochs,
            shuffle=shuffle,
            verbose=0,
            validation_data=(X_val, y_val),
            validation_batch_size=len(X_val),
        ).history
        return np.array([history["loss"], history["val_loss"]])
