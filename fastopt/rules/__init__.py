"""The mathematics: one scalar function per optimizer.

Internal: it may change in any version (docs/stability.md). `fastopt.register` is the public way in.
"""

# Each module registers its rules, so that whoever reads the registry finds all of them.
from fastopt.rules import (  # noqa: F401
    adam,
    adam_variants,
    asgd,
    factored,
    layerwise,
    lbfgs,
    matrix,
    noise,
    online,
    parameter_free,
    polyak,
    previous_gradient,
    rmsprop,
    rprop,
    schedule_free,
    second_moment,
    sgd,
)
