"""Recurrences that can be solved: one unit that latches or folds, one that remembers, gates alone."""

from __future__ import annotations

import math
from typing import NamedTuple

from bpttlab.errors import ConfigurationError
from bpttlab.fields import check_arguments


class Latch(NamedTuple):
    """The upper fixed point of x = tanh(w x), and the slope of the map there."""

    state: float
    slope: float


class Wall(NamedTuple):
    """The wall of a unit h_t = sigma(w h_{t-1} + b), where it starts at a fixed point, and the sensitivity of h_t to b
    there.

    Attributes:
        bias: b of the wall.
        slope: slope of the map there. Above 1 the fixed point repels, and the unit goes to different states on the two
            sides.
        local: sigma' there.
    """

    bias: float
    slope: float
    local: float

    def sensitivity(self, steps: int) -> float:
        """dh_T/db = sigma' (s^T - 1)/(s - 1), s the slope; dh_T/dw is h_0 times this."""
        return self.local * sum(self.slope**k for k in range(steps))


class Moments(NamedTuple):
    """Mean and mean square of a random number."""

    mean: float
    second: float

    @property
    def deviation(self) -> float:
        """Standard deviation; infinite where the second moment is."""
        return math.sqrt(self.second - self.mean**2) if math.isfinite(self.second) else math.inf


@check_arguments
def latch(w: float) -> Latch:
    """The fixed point of x_t = tanh(w x_{t-1}), and the slope of the map there: w > 1 holds a bit, with a slope < 1.

    Exact. (0, w) for |w| <= 1, where no bit is held. Source: Bengio, Simard & Frasconi 1994, section 3.
    """
    if abs(w) <= 1.0:
        return Latch(0.0, w)
    if w < 0.0:
        raise ConfigurationError(f"w={w}: must be at least -1; below it the state alternates and does not rest")
    from scipy.optimize import brentq  # its import takes as much memory as numpy's

    low = math.sqrt(1.5 * (1.0 - 1.0 / w) / w**2)  # w x - (w x)^3 / 3 <= tanh(w x) puts the root above
    state = float(brentq(lambda x: math.tanh(w * x) - x, low, 1.0, xtol=1e-15))
    return Latch(state, w * (1.0 - state**2))


@check_arguments
def folds(w: float) -> tuple[float, float]:
    """The biases b at which x = w sigma(x) + b has a double root; between them there are three roots. -> (lower, upper)

    There the slope w sigma' of the map is 1: sigma = (1 +- sqrt(1 - 4/w)) / 2. At a fold the state and the loss jump
    (Doya 1992; the cliff of Pascanu, Mikolov & Bengio 2013). Exact, for w > 4; at w = 4 the folds meet.
    """
    if not w >= 4.0:
        raise ConfigurationError(f"w={w}: must be at least 4; a smaller one has one fixed point at every bias")
    states = [0.5 * (1.0 + side * math.sqrt(1.0 - 4.0 / w)) for side in (1.0, -1.0)]
    lower, upper = (math.log(s / (1.0 - s)) - w * s for s in states)
    return lower, upper


@check_arguments
def wall(w: float, x_0: float) -> Wall:
    """The bias b = x_0 - w sigma(x_0) at which x_0 is a fixed point of x = w sigma(x) + b: the wall of the error.

    The wall exists where w sigma'(x_0) > 1, between the folds, and begins on a fold, at w sigma'(x_0) = 1. Its height
    depends on sensitivity and loss and grows exponentially in T; its width shrinks in the same proportion. Exact.
    Source: the fixed point of the one-unit network of Pascanu, Mikolov & Bengio 2013, section 2.3 and figure 6.
    """
    state = 1.0 / (1.0 + math.exp(-x_0))
    local = state * (1.0 - state)
    return Wall(x_0 - w * state, w * local, local)


@check_arguments
def memory_moments(decay: float) -> tuple[float, float]:
    """E h^2 = 1/(1 - l^2) and E (dh/dl)^2 = (1 + l^2)/(1 - l^2)^3 of h_t = l h_{t-1} + white noise of variance 1.

    As l -> 1 the mean square of the sensitivity grows as the cube of that of the state, without any exploding product:
    the curse of memory. Exact in the stationary state, |l| < 1. Source: Zucchet & Orvieto 2024, section 2.
    """
    if not abs(decay) < 1.0:
        raise ConfigurationError(f"decay={decay}: must lie between -1 and 1; no other has a stationary state")
    rest = 1.0 - decay**2
    return 1.0 / rest, (1.0 + decay**2) / rest**3


class RingMoments(NamedTuple):
    """Mean squares over white noise of a unit's state and of its derivatives by nu and by the angle of lambda."""

    state: float
    nu: float
    angle: float


@check_arguments
def ring_moments(modulus: float, normalise: bool = True) -> RingMoments:
    """E|h|^2, E|dh/dnu|^2 and E|dh/dphi|^2 of h_t = l h_{t-1} + gamma u_t, l = exp(-exp(nu) + i phi), E|u|^2 = 1.

    With m = |l|, L = -log m and r = 1 - m^2. Without gamma: 1/r, L^2 m^2 (1 + m^2) / r^3 and m^2 (1 + m^2) / r^3. With
    gamma = sqrt(r), which depends on nu too: 1, L^2 m^2 / r^2 and m^2 (1 + m^2) / r^2. As m -> 1 the second tends to
    1/4, because dm/dnu = -L m shrinks as fast as memory grows, and the third grows as the square. Exact in the
    stationary state, 0 < m < 1. Source: moments as in `memory_moments`; nu and gamma are those of Orvieto et al. 2023,
    section 3.
    """
    if not 0.0 < modulus < 1.0:
        raise ConfigurationError(f"modulus={modulus}: must lie between 0 and 1; no other has a stationary state")
    state, slope = memory_moments(modulus)
    turned, L = modulus**2 * slope, -math.log(modulus)
    if not normalise:
        return RingMoments(state, L**2 * turned, turned)
    rest = (1.0 - modulus) * (1.0 + modulus)
    return RingMoments(1.0, (L * modulus / rest) ** 2, rest * turned)


@check_arguments
def random_truncation_moments(b: float, c: float, p: float) -> Moments:
    """z = b + xi c z': a gradient that survives each step back with probability p and is then divided by p.

    xi = 1/p with probability p, else 0. The mean b/(1 - c) is right at every p. The second moment (b^2 + 2 b c mean)/(1
    - c^2/p) is finite only if p > c^2: an unbiased estimate may have infinite variance. Exact for an endless past, |c|
    < 1. Source: Tallec & Ollivier 2017, with one number for a gradient.
    """
    if not (abs(c) < 1.0 and 0.0 < p <= 1.0):
        raise ConfigurationError(f"c={c}, p={p}: must have |c| < 1 and 0 < p <= 1")
    mean = b / (1.0 - c)
    second = (b**2 + 2.0 * b * c * mean) / (1.0 - c**2 / p) if p > c**2 else math.inf
    return Moments(mean, second)


@check_arguments
def cell_path(forget: float, steps: int) -> float:
    """log of dc_T/dc_0 = sigma(b_f)^T of an LSTM whose recurrent weights are zero, with the bias b_f = `forget`.

    Valid if inputs do not change the gate; otherwise it is prod_t f_t. Exact. Source: Gers, Schmidhuber & Cummins 2000.
    """
    return -steps * (math.log1p(math.exp(-forget)) if forget > -700.0 else -forget)


@check_arguments
def chrono_cell_path(time: float, steps: int) -> float:
    """log of (u/(1 + u))^T: `cell_path` at the chrono bias b_f = log u, u > 0, which forgets in about u steps.

    Source: Tallec & Ollivier 2018b, eq. 16, where u is drawn uniformly from [1, T_max - 1].
    """
    if not time > 0.0:
        raise ConfigurationError(f"time={time}: must be a number above 0")
    return -steps * math.log1p(1.0 / time)
