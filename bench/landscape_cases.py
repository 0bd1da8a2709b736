"""What the landscape compares, and on which data: contenders, tables with fixed splits, networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_digits
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from fastopt import (
    EMA,
    LBFGS,
    SAM,
    SGD,
    Adam,
    AdamW,
    Cautious,
    Lion,
    Lookahead,
    Shampoo,
    get_optimizer,
    list_optimizers,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MOST_TRAINING, MOST_VALIDATION, MOST_TEST = 1000, 500, 1000
TUNING_SEEDS, SEEDS = (101, 102), (1, 2, 3, 4, 5)
BATCH, EPOCHS = 32, 30
SIZES = {"small": (32,), "middle": (64, 32), "large": (128, 64, 32)}
#: Half decades around an optimizer's centre, of which everyone gets the same.
STEPS = tuple(range(-4, 4))

#: Where the grid is centred: the optimizer's default rate, rounded to half a decade, but for these, whose
#: default is known to suit other work (torch's 0.001 of plain descent, rates meant for large batches).
CENTRES = {
    "sgd": -1.0, "asgd": -1.0, "noisysgd": -1.0, "optimisticgradientdescent": -1.0, "momentum": -1.5,
    "nesterov": -1.5, "ftrl": -1.0, "sm3": -1.0, "lars": 0.0, "lamb": -2.0, "novograd": -2.0, "muon": -2.0,
    "sophiag": -3.0, "lion": -3.5, "adagrad": -1.5,
}  # fmt: skip

#: Settings that are not an optimizer's defaults, with the reason.
SETTINGS = {
    "shampoo": "new roots every 10 steps, not every step, which would take 10 times as long",
    "lbfgs": "all rows at once, 4 iterations in each epoch: its curvature needs a loss that does not change",
}


@dataclass(frozen=True)
class Contender:
    """An optimizer with everything but its learning rate."""

    name: str
    kind: str
    make: Callable[[object], object]

    @property
    def centre(self) -> float:
        """The middle of its grid, as a power of ten in halves."""
        default = self.make(None) if self.name not in CENTRES else None
        if default is None:
            return CENTRES[self.name]
        while hasattr(default, "optimizer"):
            default = default.optimizer
        return round(2 * np.log10(default.lr)) / 2

    def rates(self, steps=STEPS) -> list[float]:
        """Return learning rates at half decades from the centre."""
        return [rate_at(self.centre + step / 2) for step in steps]


def rate_at(exponent: float) -> float:
    """Return a power of ten in halves, as people write it: 0.003, 0.01, 0.03."""
    whole = int(np.floor(exponent))
    return float(f"{1 if exponent == whole else 3}e{whole}")


def _with_rate(cls, **settings):
    return lambda lr: cls(**settings) if lr is None else cls(lr=lr, **settings)


def _wrapped(wrapper, make, **settings):
    return lambda lr: wrapper(make(lr), **settings)


def contenders() -> list[Contender]:
    """Return every registered optimizer, then forms of SGD, wrappers and 8-bit states."""
    own = {"shampoo": _with_rate(Shampoo, update_freq=10), "lbfgs": _with_rate(LBFGS, max_iter=4)}
    found = []
    for name in list_optimizers():
        make = lambda lr, name=name: get_optimizer(name, **({} if lr is None else {"lr": lr}))  # noqa: E731
        found.append(Contender(name, "optimizer", own.get(name, make)))
    momentum, nesterov = {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}
    inner = {"adam": _with_rate(Adam), "momentum": _with_rate(SGD, **momentum)}
    found += [
        Contender("momentum", "optimizer", inner["momentum"]),
        Contender("nesterov", "optimizer", _with_rate(SGD, **nesterov)),
        Contender("cautious(adamw)", "wrapper", _wrapped(Cautious, _with_rate(AdamW))),
    ]
    for name, make in inner.items():
        found += [
            Contender(f"sam({name})", "wrapper", _wrapped(SAM, make)),
            Contender(f"lookahead({name})", "wrapper", _wrapped(Lookahead, make)),
            Contender(f"ema({name})", "wrapper", _wrapped(EMA, make, decay=0.99)),
        ]
    eight = {"state_dtype": "int8"}
    found += [
        Contender("adam, 8 bits", "8 bits", _with_rate(Adam, **eight)),
        Contender("momentum, 8 bits", "8 bits", _with_rate(SGD, **momentum, **eight)),
        Contender("lion, 8 bits", "8 bits", _with_rate(Lion, **eight)),
    ]
    return [_centred(one) for one in found]


def _centred(contender):
    """Give a variant the centre of the optimizer that it is a variant of."""
    base = contender.name.split(",")[0].split("(")[-1].rstrip(")")
    if base in CENTRES:
        CENTRES.setdefault(contender.name, CENTRES[base])
    return contender


@dataclass(frozen=True)
class Table:
    """A data set as a network takes it, without its test rows in what was learnt of it.

    Attributes
    ----------
    X, Y : ndarray
        Rows to train and tune on, float32 by default.
    X_test, Y_test : ndarray
        Rows for the comparison.
    out_activation, loss : str
        Of the network.
    """

    name: str
    is_classification: bool
    X: np.ndarray
    Y: np.ndarray
    X_test: np.ndarray
    Y_test: np.ndarray
    out_activation: str
    loss: str

    @property
    def n_training(self) -> int:
        """Rows that a network is trained on."""
        return min(MOST_TRAINING, int(0.8 * len(self.X)))

    def rows(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of a seed, for training and for validation."""
        order = np.random.RandomState(seed).permutation(len(self.X))
        n = self.n_training
        return order[:n], order[n : n + MOST_VALIDATION]


#: In the order of work: sets of each kind from the beginning, for a run that is cut short.
SETS = (
    "digits", "housing", "segment", "kin8nm", "spambase", "abalone", "credit_g", "cpu_act", "vowel",
    "cal_housing", "letter", "car", "puma32H", "cmc", "page_blocks", "dermatology", "anneal", "mushroom",
    "splice", "mnist",
)  # fmt: skip


def load(folder: Path, name: str, dtype=np.float32) -> Table:
    """Return a data set with its fixed test rows.

    Parameters
    ----------
    folder : Path
        Holds ``mnist.npz`` and ``tabular/``.
    name : str
        One of `SETS`.
    dtype : dtype
        Of all arrays.
    """
    if name == "digits":
        frame, y = load_digits(return_X_y=True, as_frame=True)
        is_classification = True
    elif name == "mnist":
        frame, y = _mnist(folder)
        is_classification = True
    else:
        frame = pd.read_csv(folder / "tabular" / f"{name}.csv.gz")
        y = frame.pop("target")
        index = pd.read_csv(folder / "tabular" / "index.csv").set_index("name")
        is_classification = index.loc[name, "task"] == "classification"
    order = np.random.RandomState(0).permutation(len(frame))
    n_test = min(MOST_TEST, len(frame) // 4)
    test, pool = order[:n_test], order[n_test:]
    frame = frame.loc[:, frame.iloc[pool].notna().any()]
    encoder = _encoder(frame.iloc[pool])
    X, X_test = (np.ascontiguousarray(encoder.transform(frame.iloc[part]), dtype) for part in (pool, test))
    Y, out_activation, loss = _targets(np.asarray(y), pool, is_classification)
    return Table(
        name, is_classification, X, Y[pool].astype(dtype), X_test, Y[test].astype(dtype), out_activation, loss
    )


def _mnist(folder, n=6000):
    """Return the first training images with each 2 x 2 pixels averaged: 14 x 14."""
    with np.load(folder / "mnist.npz") as file:
        images, y = file["X_train"][:n], file["y_train"][:n]
    halves = images.reshape(n, 14, 2, 14, 2).mean(axis=(2, 4)).reshape(n, 196)
    return pd.DataFrame(halves), pd.Series(y)


def _encoder(frame):
    numbers = [column for column in frame if pd.api.types.is_numeric_dtype(frame[column])]
    words = [column for column in frame if column not in numbers]
    return make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), words),
    ).fit(frame)


def _targets(y, pool, is_classification):
    """Return targets as scikit-learn's networks have them, and what goes with them."""
    if not is_classification:
        y = y.astype(float)
        return ((y - y[pool].mean()) / y[pool].std())[:, None], "identity", "squared_error"
    codes = np.unique(y, return_inverse=True)[1]
    n_classes = codes.max() + 1
    if n_classes == 2:
        return codes[:, None], "logistic", "binary_log_loss"
    return np.eye(n_classes)[codes], "softmax", "log_loss"
