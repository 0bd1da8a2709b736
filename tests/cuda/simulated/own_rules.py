"""A rule of a user's own, for the tests of the engine and of the estimators."""

import fastopt


@fastopt.register("tilted", slots=("seen",), constants=lambda h, t: (h["lr"], 1.0 / t), defaults={"lr": 0.1})
def tilted(w, g, seen, lr, share):
    seen = 0.25 * seen + abs(g)
    return w - lr * share * g / (seen + 1e-3), seen
