"""One of each wrapper around an optimizer, for the tests of steppers and of estimators."""

from fastopt import (
    EMA,
    SGD,
    SWA,
    Adam,
    AdamW,
    AdaptiveClip,
    Cautious,
    Centralize,
    Clip,
    GradientNoise,
    Lookahead,
    MaxNorm,
    MultiSteps,
    SkipNonFinite,
)
from fastopt.schedules import linear

WRAPPED = {
    "EMA": EMA(Adam(lr=0.1), decay=0.8, first=2),
    "SWA": SWA(Adam(lr=0.1), every=2),
    "Lookahead": Lookahead(SGD(lr=0.1, momentum=0.9), k=3, alpha=0.4),
    "MultiSteps": MultiSteps(AdamW(lr=linear(0.1, 20)), n=3),
    "Clip": Clip(Adam(lr=0.1), norm=2.0, value=0.5, tensor_norm=1.5),
    "SkipNonFinite": SkipNonFinite(Adam(lr=0.1)),
    "AdaptiveClip": AdaptiveClip(Adam(lr=0.1), clipping=0.05),
    "Centralize": Centralize(Adam(lr=0.1)),
    "GradientNoise": GradientNoise(SGD(lr=0.1), eta=0.1, seed=3),
    "Cautious": Cautious(AdamW(lr=0.1, weight_decay=0.0)),
    "MaxNorm": MaxNorm(Adam(lr=0.1), max_norm=0.5),
    "nested": EMA(Lookahead(Clip(MultiSteps(Adam(lr=0.1), n=2), norm=1.0), k=2), decay=0.5),
}
