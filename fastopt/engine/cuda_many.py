"""Many small networks at once on a GPU: an ensemble, or the candidates of a search."""

import numpy as np

from fastopt.engine import contract
from fastopt.engine.cuda import data_bytes
from fastopt.engine.cuda_data import Data
from fastopt.engine.cuda_network import Network, complete
from fastopt.kernels import cuda


class ManyTrainer:
    """Trains networks of one shape side by side, on the same data, in the launches of one.

    A network of a hundred units leaves most of a GPU idle, and a step costs its launches, however little they
    do. Here each launch does every network's part. Networks may differ in their parameters, the
    hyper-parameters of their optimizers, the penalty, and the order of their rows; they share the optimizer's
    rule, the batch size and the data. Each becomes, bit for bit, what `fastopt.engine.cuda.Trainer` makes
    of it alone with tiles of the same size. Tested in Numba's simulator; not yet run on hardware.

    Parameters
    ----------
    layout : Layout
    n_models : int
    activation, out_activation, loss, dtype
        As of `fastopt.engine.Trainer`.
    device : str
        ``'cuda:N'``.

    Raises
    ------
    DeviceError
        If the GPU cannot be used.

    Examples
    --------
    Three learning rates, an epoch of each:

    >>> import numpy as np
    >>> from fastopt import Adam
    >>> from fastopt.engine import Layout
    >>> from fastopt.engine.cuda_many import ManyTrainer
    >>> layout, rates = Layout([4, 8, 1]), [1e-3, 1e-2, 1e-1]
    >>> params = np.tile(np.random.default_rng(0).normal(0, 0.5, layout.size), (3, 1))
    >>> updates = [Adam(lr=lr).flat(layout.size, layout.n_decay, np.float64) for lr in rates]
    >>> X = np.random.default_rng(1).normal(size=(100, 4))
    >>> trainer = ManyTrainer(layout, 3, activation="relu", out_activation="identity", loss="squared_error",
    ...                       dtype=np.float64)  # doctest: +SKIP
    >>> trainer.train(params, X, X[:, :1].copy(), updates, batch_size=20, alpha=0.0).shape  # doctest: +SKIP
    (3,)
    """

    def __init__(self, layout, n_models, *, activation, out_activation, loss, dtype, device="cuda:0"):
        cuda.require(device)
        self.layout, self.n_models, self.dtype = layout, int(n_models), np.dtype(dtype)
        self._names = {"activation": activation, "out_activation": out_activation, "loss": loss}
        self._ordinal = int(device.partition(":")[2] or 0)
        self._bound = None

    def train(self, params, X, Y, updates, *, batch_size, alpha, orders=None):
        """Make one pass over the data with every network.

        Parameters
        ----------
        params : ndarray of shape (n_models, layout.size)
            Written.
        X : ndarray or CSR matrix of shape (n_samples, n_features)
        Y : ndarray of shape (n_samples, n_outputs)
        updates : list of FlatState
            An optimizer for each network, all of one rule; written.
        batch_size : int
        alpha : float or sequence of float
            L2 penalty, one for all or one each.
        orders : ndarray of int64, shape (n_models, n_visits), optional
            Each network's rows; all of them in their own order by default.

        Returns
        -------
        ndarray of shape (n_models,)
            Of each network what `Trainer.train` returns.

        Raises
        ------
        ValueError
            If an argument does not fit, the optimizers have different rules, or the data do not fit the GPU.
        """
        n_visits = self._check(params, X, Y, updates, orders)
        batch_size, starts = min(batch_size, n_visits), np.arange(0, n_visits, min(batch_size, n_visits))
        n_rows = np.minimum(batch_size, n_visits - starts)
        alphas = np.broadcast_to(np.asarray(alpha, np.float64), self.n_models).tolist()
        with cuda.on_device(self._ordinal):
            network, data = self._bind(X, Y, n_visits, batch_size, updates[0].rule)
            state = np.stack([update.state for update in updates], axis=1)
            network.params.copy_to_device(params.reshape(-1))
            if state.size:
                network.state.copy_to_device(state.reshape(-1))
            network.begin()
            try:
                for _ in data.blocks(orders, n_visits):
                    for first, last in network.slices(0, len(starts)):
                        sizes = n_rows[first:last]
                        constants = [
                            complete(update.constants(last - first), sizes.astype(np.float64), sizes, a)
                            for update, a in zip(updates, alphas, strict=True)
                        ]
                        network.prepare(np.column_stack([starts[first:last], sizes]), np.stack(constants))
                        network.take(updates, last - first)
                losses = network.losses.copy_to_host().reshape(self.n_models, n_visits)
            finally:
                network.params.copy_to_host(params.reshape(-1))
                if state.size:
                    network.state.copy_to_host(state.reshape(-1))
                for i, update in enumerate(updates):
                    update.state[:] = state[:, i]
            squares = network.squares.copy_to_host().reshape(self.n_models, -1)
        return network.loss(losses, axis=1) + squares.sum(axis=1, dtype=np.float64)

    def _check(self, params, X, Y, updates, orders):
        """Refuse what does not fit; return how many rows each network visits."""
        shape = self.n_models, self.layout.size
        contract.require("params", params, shape, self.dtype)
        contract.check(self.layout, self.dtype, params[0], X, Y, None, None)
        if orders is not None:
            contract.require("orders", orders, (self.n_models, orders.shape[-1]), np.int64)
        n_visits = X.shape[0] if orders is None else orders.shape[1]
        if not n_visits:
            raise ValueError("X has no rows to train on")
        if len(updates) != self.n_models:
            raise ValueError(f"there are {len(updates)} updates for {self.n_models} models")
        kinds = {getattr(update, "rule", None) for update in updates}
        if len(kinds) > 1 or not hasattr(type(updates[0]), "address"):
            raise ValueError(
                "models that train side by side need one rule that updates each element by itself; "
                f"these have {sorted(str(getattr(kind, 'name', kind)) for kind in kinds)}"
            )
        return n_visits

    def _bind(self, X, Y, n_visits, batch_size, rule):
        key = X, Y, rule, n_visits, batch_size
        if self._bound is not None:
            known = self._bound[0]
            if all(a is b for a, b in zip(key[:3], known[:3], strict=True)) and key[3:] == known[3:]:
                return self._bound[1:]
        self._bound = None  # frees its memory first
        network = Network(self.layout, self._names, self.dtype, batch_size, rule, self.n_models)
        data = Data(X, Y, None, n_visits, batch_size, data_bytes(), self.n_models)
        if not data.is_resident:
            raise ValueError(
                f"X of shape {X.shape} does not fit beside {self.n_models} models in the GPU's memory; "
                "train fewer at once, or one after the other with Trainer, which streams"
            )
        network.attach(data)
        self._bound = key, network, data
        return network, data
