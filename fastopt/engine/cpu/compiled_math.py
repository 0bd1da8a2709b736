"""What compiled activations and losses get in place of `math` and of what their plain functions read."""

import math
import types

from fastopt.engine.cpu.vector_erf import erf, erfc, normal_tail
from fastopt.engine.cpu.vector_math import bounded_exp, exp, expm1, log, log1p, tanh
from fastopt.engine.cpu.vector_trigonometry import cos, sin
from fastopt.rules import scalar_functions

#: Functions that LLVM vectorises, by their names in `math`.
_VECTORISED = {
    "exp": exp,
    "expm1": expm1,
    "log": log,
    "log1p": log1p,
    "tanh": tanh,
    "erf": erf,
    "erfc": erfc,
    "sin": sin,
    "cos": cos,
}
_vector_math = types.ModuleType("vector_math")
vars(_vector_math).update(vars(math) | _VECTORISED)
#: Pairs of globals: what a plain function reads, and what its compiled form does.
IN_PLACE_OF = (
    (math, _vector_math),
    *((getattr(math, name), function) for name, function in _VECTORISED.items()),
    (scalar_functions.bounded_exp, bounded_exp),
    (scalar_functions.normal_tail, normal_tail),
)
