"""The network of a `fit_cases.Case` as a user of skorch would write it: a peer of ``bench_peers``.

torch's fused Adam, the validation rows by ``predefined_split`` and in one batch, and skorch's own callbacks
without the one that prints.
"""

import numpy as np
import torch
from fit_cases import LEARNING_RATE
from skorch import NeuralNetBinaryClassifier
from skorch.dataset import Dataset
from skorch.helper import predefined_split


class SkorchFit:
    """A case's data and its fits from given initial weights; the parameters are those of `KerasFit`."""

    def __init__(self, case, data, initial, activation, dropout, n_threads=1):
        self._case, self._initial, self._n_threads = case, initial, n_threads
        self._activation = {"relu": torch.nn.ReLU, "gelu": torch.nn.GELU}[activation]
        self._dropout = dropout
        self._X, y, X_val, y_val = data
        self._y = y.astype(np.float32)
        self._n_val = len(X_val)
        self._split = predefined_split(Dataset(X_val, y_val.astype(np.float32)))

    def _network(self, initial):
        layers = []
        for number, (weight, bias) in enumerate(zip(initial[::2], initial[1::2], strict=True)):
            if number:
                layers.append(self._activation())
                if self._dropout:
                    layers.append(torch.nn.Dropout(self._dropout))
            layer = torch.nn.Linear(*weight.shape)
            with torch.no_grad():
                layer.weight.copy_(torch.from_numpy(weight.T))
                layer.bias.copy_(torch.from_numpy(bias))
            layers.append(layer)
        return torch.nn.Sequential(*layers)

    def __call__(self, max_iter=None, shuffle=True, random_state=0, initial=None):
        """Train; return the losses of each epoch, in training and on the validation rows."""
        torch.set_num_threads(self._n_threads)
        torch.manual_seed(random_state)
        network = NeuralNetBinaryClassifier(
            self._network(initial or self._initial),
            optimizer=torch.optim.Adam,
            optimizer__fused=True,
            lr=LEARNING_RATE,
            max_epochs=max_iter or self._case.epochs,
            batch_size=self._case.batch_size,
            iterator_train__shuffle=shuffle,
            iterator_valid__batch_size=self._n_val,
            train_split=self._split,
            verbose=0,
        ).fit(self._X, self._y)
        return np.array([network.history[:, "train_loss"], network.history[:, "valid_loss"]])
