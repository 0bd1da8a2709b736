"""Default settings and presets of ``compare`` and ``sweep``."""

from __future__ import annotations

DEFAULTS = {
    "dataset": "digits",
    "hidden": (64, 32),
    "batch_size": (32,),
    "epochs": 20,
    "seeds": 10,
    "tuning_seeds": 2,
    "metrics": ("recall_macro",),
}

COMPARE = {
    # The project's first experiment: Adam at 0.001 as the story has it, beside every optimizer at its best.
    "classify-1000x10": {
        "dataset": "classify-1000x10",
        "hidden": (32, 16),
        "optimizers": {
            "Adam at 0.001": "adam",
            "Gradient descent": "gradient descent",
            "Momentum": "momentum",
            "Nesterov": "nesterov",
            "RMSprop": "rmsprop",
            "Adam": "adam",
        },
        "fixed_lr": {"Adam at 0.001": 0.001},
        "epochs": 50,
        "metrics": ("recall", "precision", "f1"),
    },
    # The second: two hidden layers under SGD on MNIST, the loss watched epoch by epoch.
    "mnist": {
        "dataset": "mnist",
        "hidden": (200, 100),
        "optimizers": ("gradient descent", "momentum", "nesterov", "adam"),
        "batch_size": (128,),
        "epochs": 10,
        "seeds": 5,
        "tuning_seeds": 1,
        "search": "halving",
    },
}

SWEEP_DEFAULTS = {
    **DEFAULTS,
    "lr": (0.001, 0.003, 0.01, 0.03, 0.1, 0.3),
    "batch_size": (16, 32, 64, 128),
    "optimizers": ("gradient descent", "momentum", "adam"),
    "seeds": 3,
    "epochs": 15,
}

SWEEP = {
    "classify-1000x10": {"dataset": "classify-1000x10", "hidden": (32, 16), "metrics": ("recall",)},
    "mnist": {
        "dataset": "mnist",
        "hidden": (128, 64),
        "lr": (0.001, 0.01, 0.1),
        "batch_size": (32, 128, 512),
        "epochs": 3,
        "seeds": 2,
    },
}
