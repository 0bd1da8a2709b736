"""The networks that the fit benchmarks train, and how each library trains them: same data, same arguments."""

import itertools
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse
from sklearn import neural_network
from sklearn.datasets import make_classification

import fastopt

ALPHA, LEARNING_RATE = 1e-4, 1e-3
#: Where MNIST may lie: a .npz with ``X_train``, ``y_train``, ``X_test`` and ``y_test``.
MNIST = Path(__file__).resolve().parents[2] / "shared" / "data" / "mnist.npz"


@dataclass(frozen=True)
class Case:
    """A network, its data and how long it trains."""

    name: str
    what: str
    load: callable
    hidden: tuple
    batch_size: int
    epochs: int

    def network(self, module, **settings):
        """Return the untrained classifier of ``fastopt`` or of ``sklearn.neural_network``."""
        stopping = {"max_iter": self.epochs, "tol": 0.0, "n_iter_no_change": 10_000}
        settings = stopping | {"alpha": ALPHA, "random_state": 0} | settings
        return module.MLPClassifier(self.hidden, batch_size=self.batch_size, **settings)


def table(n, n_features):
    """Return float32 rows of two classes, half of whose features tell something."""
    X, y = make_classification(n, n_features, n_informative=n_features // 2, random_state=0)
    return X.astype(np.float32), y


def load_mnist(path=None):
    """Return MNIST as float32 in [0, 1]: training rows and labels, test rows and labels."""
    path = Path(path or MNIST)
    if not path.exists():
        raise SystemExit(f"no {path}: give --data mnist.npz with X_train, y_train, X_test and y_test")
    with np.load(path) as a:
        X, X_test = (a[k].reshape(len(a[k]), -1).astype(np.float32) / 255 for k in ("X_train", "X_test"))
        return X, a["y_train"], X_test, a["y_test"]


def _sparse(n=20_000, n_features=50_000, n_entries=60):
    """Return CSR rows of ``n_entries`` words each, with frequencies like those of a language."""
    rng = np.random.default_rng(0)
    frequency = 1 / np.arange(1, n_features + 1) ** 0.7
    columns = np.empty((n, n_entries), np.int32)
    for i in range(n):
        columns[i] = rng.choice(n_features, n_entries, replace=False, p=frequency / frequency.sum())
    columns = rng.permutation(n_features).astype(np.int32)[columns]
    columns.sort(axis=1)
    values = rng.uniform(0.05, 0.3, columns.size).astype(np.float32)
    indptr = np.arange(0, columns.size + 1, n_entries, dtype=np.int32)
    X = scipy.sparse.csr_array((values, columns.ravel(), indptr), shape=(n, n_features))
    score = X @ rng.standard_normal(n_features)
    return X, (score > np.median(score)).astype(int)


CASES = {
    case.name: case
    for case in (
        Case("S1", "1,000 x 10, (32, 16), batch 32", lambda _: table(1000, 10), (32, 16), 32, 50),
        Case("S2", "20,000 x 50, (100, 100), batch 200", lambda _: table(20_000, 50), (100, 100), 200, 5),
        Case("S3", "MNIST, (100, 50), batch 128", lambda p: load_mnist(p)[:2], (100, 50), 128, 2),
        Case("S4", "MNIST, (512, 256), batch 128", lambda p: load_mnist(p)[:2], (512, 256), 128, 2),
        Case("S5", "sparse 20,000 x 50,000, (64,), batch 200", lambda _: _sparse(), (64,), 200, 3),
    )
}


def fit_ours(case, X, y, validation=None, **settings):
    """Train with fastopt; return the fitted network. ``validation`` are more keywords of its ``fit``."""
    return _quietly(case.network(fastopt, **settings).fit, X, y, **(validation or {}))


def fit_sklearn(case, X, y):
    """Train with scikit-learn; return the fitted network."""
    return _quietly(case.network(neural_network).fit, X, y)


def _quietly(function, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*args, **kwargs)


def fit_torch(case, X, y, n_threads, same_order=False):
    """Train with torch's plain loop and fused Adam, from the same weights; return the last loss.

    ``same_order`` visits the rows as scikit-learn does; otherwise torch shuffles them, which is quicker.
    """
    import torch

    torch.set_num_threads(n_threads)
    random_state = np.random.RandomState(0)
    n_classes = len(np.unique(y))
    is_binary = n_classes == 2
    X = torch.from_numpy(X)
    y = torch.from_numpy(y.astype(np.float32 if is_binary else np.int64))
    sizes = [X.shape[1], *case.hidden, 1 if is_binary else n_classes]
    model, decayed, spared = _torch_network(initial_layers(sizes, random_state))
    groups = [
        {"params": decayed, "weight_decay": ALPHA / case.batch_size},
        {"params": spared, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.Adam(groups, lr=LEARNING_RATE, fused=True)
    functional = torch.nn.functional
    rows = np.arange(len(X))
    for _ in range(case.epochs):
        total = 0.0
        if same_order:
            random_state.shuffle(rows)
        order = torch.from_numpy(rows) if same_order else torch.randperm(len(X))
        for batch in order.split(case.batch_size):
            outputs = model(X[batch])
            if is_binary:
                loss = functional.binary_cross_entropy_with_logits(outputs[:, 0], y[batch])
            else:
                loss = functional.cross_entropy(outputs, y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
    return total / len(X)


def initial_layers(sizes, random_state):
    """Return scikit-learn's initial (weights, biases) of each layer, float64, for hidden units under ReLU."""
    layers = []
    for n_in, n_out in itertools.pairwise(sizes):
        bound = (6 / (n_in + n_out)) ** 0.5
        layers.append([random_state.uniform(-bound, bound, shape) for shape in ((n_in, n_out), n_out)])
    return layers


def _torch_network(initial):
    """Return the network with these initial layers, its weights, and its biases."""
    import torch

    layers, weights, biases = [], [], []
    for weight, bias in initial:
        layer = torch.nn.Linear(*weight.shape)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(weight.T))
            layer.bias.copy_(torch.from_numpy(bias))
        layers += [layer, torch.nn.ReLU()]
        weights.append(layer.weight)
        biases.append(layer.bias)
    return torch.nn.Sequential(*layers[:-1]), weights, biases
