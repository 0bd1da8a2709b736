"""Distributions of initial weights, by name.

Each is a variance divided by a layer's number of inputs, or by the mean of inputs and outputs, and a shape.
`fastopt.neural_network.initialization` draws the numbers.
"""

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class Initialization:
    """The distribution that a layer's initial weights are drawn from.

    Attributes
    ----------
    distribution : {'uniform', 'normal', 'orthogonal'}
        Both of the first have mean 0; an orthogonal matrix is that of the QR factorisation of a normal one.
    fan : {'in', 'average'}
        What the variance is divided by: the number of inputs, or the mean of those of inputs and outputs.
    scale : float
        The variance before that division.
    draws_biases : bool
        Whether biases have the same distribution, as in scikit-learn; else they are 0, or normal:
    bias_deviation : float
        Standard deviation of biases that are drawn from a normal distribution of their own.
    zero_outputs : bool
        Whether weights and biases of the last layer are 0, so that training begins at constant outputs.
    """

    distribution: str
    fan: str = "in"
    scale: float = 1.0
    draws_biases: bool = False
    bias_deviation: float = 0.0
    zero_outputs: bool = False

    def deviation(self, n_in: int, n_out: int) -> float:
        """Return the standard deviation of the weights of a layer with so many inputs and outputs."""
        return math.sqrt(self.scale / self._n(n_in, n_out))

    def bound(self, n_in: int, n_out: int) -> float:
        """Return the largest weight of the uniform distribution, to scikit-learn's last bit."""
        return math.sqrt(3.0 * self.scale / self._n(n_in, n_out))

    def _n(self, n_in, n_out):
        return n_in if self.fan == "in" else (n_in + n_out) / 2


#: By name. Glorot and Bengio (2010), equation 16, to keep the variance of values and gradients of units with
#: slope 1 at 0; He et al. (2015), equation 10, of the values of rectified units; LeCun et al. (1998), section
#: 4.6, of the values of units that keep it themselves; Saxe, McClelland and Ganguli (2014), orthogonal;
#: Holzmüller, Grinsztajn and Steinwart (2024), RealMLP-TD-S: LeCun's weights with biases that spread the
#: units' thresholds over the data, and a last layer of zeros.
INITIALIZATIONS = {
    "sklearn": Initialization("uniform", "average", draws_biases=True),
    "glorot_uniform": Initialization("uniform", "average"),
    "glorot_normal": Initialization("normal", "average"),
    "he_uniform": Initialization("uniform", scale=2.0),
    "he_normal": Initialization("normal", scale=2.0),
    "lecun_uniform": Initialization("uniform"),
    "lecun_normal": Initialization("normal"),
    "orthogonal": Initialization("orthogonal"),
    "realmlp": Initialization("normal", bias_deviation=1.0, zero_outputs=True),
}


def lookup_initialization(name: str) -> Initialization:
    """Return the distribution of that name; ValueError lists the names."""
    if name not in INITIALIZATIONS:
        raise ValueError(f"init={name!r} must be one of {', '.join(map(repr, INITIALIZATIONS))}")
    return INITIALIZATIONS[name]
