# ruff: noqa: F403  the oracles of all families under one name
"""The catalogue as papers and authors write it: NumPy float64 on lists of arrays, nothing of fastopt.

Each takes the parameters, a list of lists of gradients and hyper-parameters, and returns the last parameters.
Elementwise methods are written for one array and lifted over the list. Beside them stand the cases by which
``test_catalogue.py`` compares them with the optimizers. What the optimizers were executed against is in
``executed.json``.
"""

from reference.catalogue_oracles import global_rates, layerwise, moments, online, schedule_free
from reference.catalogue_oracles.global_rates import *
from reference.catalogue_oracles.layerwise import *
from reference.catalogue_oracles.matrix import *
from reference.catalogue_oracles.moments import *
from reference.catalogue_oracles.online import *
from reference.catalogue_oracles.schedule_free import *

_FAMILIES = (moments, online, schedule_free, layerwise, global_rates)
CASES = {label: case for family in _FAMILIES for label, case in family.CASES.items()}
