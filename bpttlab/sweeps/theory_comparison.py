"""Theory beside the measurement: for every run the rate by theory and its residual, or the reason why theory does not
hold.

An overlay is a function of the configuration and of W. Within its range of validity it gives a rate, which is drawn
beside the measured one and stored with the difference. Outside its range it gives the reason. Each has three columns of
`runs`: `<name>_rate`, `<name>_residual` (measured minus theory) and `<name>_outside` (the reason; missing: theory
holds).

The rates are in nats per step. The formulas are in `theory/`, with their sources.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from bpttlab import theory
from bpttlab.measures.lyapunov_exponents import LyapunovExponents
from bpttlab.networks import activations
from bpttlab.networks.cells import GRU, LSTM, Antisymmetric, Cell, Elman, Leaky, MinimalRNN
from bpttlab.numerics.array import Array
from bpttlab.sweeps.configuration import Configuration

LEAST_UNITS = 64
"""Networks of fewer units are not wide: their rates scatter by a tenth of a nat about the mean field."""

LEAST_STEPS = 50
"""Shorter sequences are mostly the way from the initial state into the stationary one."""

UNITS_PER_LAG = 16
"""Powers of one W look like products of fresh ones only up to lags far below N: here N / 16."""


class Outside(Exception):
    """Theory does not hold for this run; the message gives the reason and names the field.

    A `rate` that is given nevertheless is that of another network, and is drawn as such.
    """

    def __init__(self, why: str, rate: float | None = None):
        super().__init__(why)
        self.rate = rate


class ComparedNetwork(NamedTuple):
    """The input of an overlay.

    Attributes:
        configuration: of the run.
        W: (N, N) float64, the matrix that the tables describe as W.
        measured: known columns of `runs`, those of `matrices.describe` included.
    """

    configuration: Configuration
    W: Array
    measured: Mapping[str, Any]

    @property
    def cell(self) -> Cell:
        return self.configuration.cell

    @property
    def length(self) -> int:
        return self.configuration.values.sequence_length

    @property
    def silent(self) -> bool:
        """Whether no input reaches the state."""
        return self.configuration.scales.x == 0 or self.configuration.scales.V == 0


# ------------------------------------------------------------------------------------------ from W alone


def bound(network: ComparedNetwork) -> float:
    """log(gamma sigma_max): no product grows faster. Pascanu, Mikolov & Bengio 2013, section 2.1."""
    gamma = network.cell.lipschitz
    if gamma is None:
        raise Outside(f"cell={network.cell.name}: no bound of its Jacobians by W alone is known")
    return theory.bound_rate(network.measured["sigma_max"], gamma)


def asymptote(network: ComparedNetwork) -> float:
    """log rho(W), the rate of a linear network in the end. Gelfand's formula."""
    cell, rate = network.cell, theory.asymptote_rate(network.measured["rho"])
    if cell.lipschitz is None:
        raise Outside(f"cell={cell.name}: its products are no powers of W")
    if not (isinstance(cell, Elman) and cell.activation == "identity"):
        raise Outside(f"cell={name_theory(cell)}: log rho is the rate of a linear network with this W", rate)
    return rate


def name_theory(cell: Cell) -> str:
    """A cell with its activation, where it has a choice."""
    activation = getattr(cell, "activation", None)
    return cell.name if activation is None else f"{cell.name}, cell.activation={activation}"


# ------------------------------------------------------------------------------------------ wide networks


def _mean_field(network: ComparedNetwork) -> float:
    """Mean field of a Gaussian W of this gain: tanh, driven or not; relu and linear for lags far below N."""
    cell, initializer = network.cell, network.configuration.initializer
    if not isinstance(cell, Elman):
        raise Outside(f"cell={cell.name}: mean field is for elman")
    if network.configuration.own is not None or not initializer.independent_entries:
        raise Outside(f"initializer={initializer.name}: mean field is for independent entries")
    if cell.hidden_size < LEAST_UNITS:
        raise Outside(f"cell.hidden_size={cell.hidden_size}: mean field is for {LEAST_UNITS} units or more")
    if cell.activation not in WIDE:
        raise Outside(f"cell.activation={cell.activation}: mean field is for {', '.join(WIDE)}")
    return WIDE[cell.activation](network)


def wide_tanh(network: ComparedNetwork) -> float:
    """1/2 log chi, the largest exponent.

    Molgedey, Schuchhardt & Schuster 1992; with input Chen, Pennington & Schoenholz 2018.
    """
    if network.length < LEAST_STEPS:
        raise Outside(f"sequence_length={network.length}: the state settles in {LEAST_STEPS} steps or so")
    scales = network.configuration.scales
    variance = scales.b**2 + driving_variance(network)
    if variance == 0.0 and scales.h_0 == 0:
        raise Outside("scales.h_0=0: with no input and no bias the state rests at zero")
    return wide_rate(network.measured["gain"], variance)


def driving_variance(network: ComparedNetwork) -> float:
    """sigma_v^2 R: what the input adds to the variance of a pre-activation."""
    if network.silent:
        return 0.0
    task, scales = network.configuration.task, network.configuration.scales
    if task.white_variance is None:
        raise Outside(f"task={task.name}: mean field is for white noise or no input")
    return float(scales.V**2 * scales.x**2 * task.white_variance)


@lru_cache(maxsize=256)
def wide_rate(gain: float, variance: float) -> float:
    """`theory.mean_field`, once for the runs of one network."""
    return theory.mean_field(gain, variance).rate


def short_lags(network: ComparedNetwork) -> float:
    """The gain of a W whose powers still look like fresh draws."""
    longest = network.cell.hidden_size // UNITS_PER_LAG
    if network.length > longest:
        raise Outside(f"sequence_length={network.length}: powers of one W of this size follow it up to lag {longest}")
    return float(network.measured["gain"])


WIDE: dict[str, Callable[[ComparedNetwork], float]] = {
    "tanh": wide_tanh,
    "relu": lambda network: theory.relu_rate(short_lags(network)),
    "identity": lambda network: theory.asymptote_rate(short_lags(network)),
}
"""How the typical product of a wide network grows, by activation; linear: E ||W^l||_F^2 = N g^(2l)."""


# ------------------------------------------------------------------------------------------ exact


def determinant(network: ComparedNetwork) -> float:
    """(1/N) log |det W| + <log tanh'>, the mean of all exponents along the same steps: an identity."""
    cell, measured = network.cell, network.measured
    if not (isinstance(cell, Elman) and cell.activation == "tanh"):
        raise Outside(f"cell={name_theory(cell)}: the mean exponent is known of elman with tanh")
    if "mean_exponent" not in measured:
        exponents = network.configuration.measure.get(LyapunovExponents).exponents
        raise Outside(f"measure.exponents={exponents}: it is the mean of all exponents")
    if measured["mean_exponent"] == -math.inf and measured["underflows"]:
        raise Outside(f"underflows={measured['underflows']}: derivatives of tanh below the range of numbers")
    if measured["determinant_rate"] == -math.inf:
        raise Outside("W is singular, to rounding: some exponents are -inf")
    return float(measured["determinant_rate"])


def origin(network: ComparedNetwork) -> float:
    """log of the largest modulus of an eigenvalue of J at x = 0, h = 0, from W and the biases of gates."""
    configuration, cell = network.configuration, network.cell
    if type(cell) not in _AT_ORIGIN:
        raise Outside(f"cell={cell.name}: there is no formula for its Jacobian at the origin")
    if configuration.own is not None or configuration.scales.b != 0:
        raise Outside("scales.b: at the origin all biases are zero, but for the constant ones of gates")
    return theory.rates.log(float(abs(_AT_ORIGIN[type(cell)](cell, network.W)[0])))


def _lstm_at_origin(cell: LSTM, W: Array) -> Array:
    if cell.chrono is not None:
        raise Outside(f"cell.chrono={cell.chrono}: forget biases differ from unit to unit")
    return theory.lstm_at_origin(W, forget=cell.forget_bias)


_AT_ORIGIN: dict[type[Cell], Callable[[Any, Array], Array]] = {
    LSTM: _lstm_at_origin,
    GRU: lambda cell, W: theory.gru_at_origin(W),
    MinimalRNN: lambda cell, W: theory.minimal_rnn_at_origin(W),
    Leaky: lambda cell, W: theory.leaky_at_origin(W, cell.alpha, slope_at_zero(cell.activation)),
    Antisymmetric: lambda cell, W: theory.antisymmetric_at_origin(W, cell.epsilon, cell.gamma),
}
"""Eigenvalues at the origin, the largest modulus first."""


def slope_at_zero(activation: str) -> float:
    return float(activations.find_activation(activation).slope(np.zeros(1))[0])


def _cell_path(network: ComparedNetwork) -> float:
    """log f of an LSTM without input and recurrent weights: dc_t/dc_k = f^(t-k). Gers, Schmidhuber & Cummins 2000."""
    cell, configuration = network.cell, network.configuration
    if not isinstance(cell, LSTM):
        raise Outside(f"cell={cell.name}: only lstm has a cell path")
    if cell.chrono is not None or configuration.scales.b != 0 or configuration.own is not None:
        raise Outside("forget biases differ from unit to unit, and so do their rates")
    if network.measured["sigma_max"] != 0 or not network.silent:
        raise Outside("W or the input is not zero: the forget gate moves")
    return theory.cell_path(cell.forget_bias, 1)


# ------------------------------------------------------------------------------------------ beside the measurement


class Overlay(NamedTuple):
    """A statement of theory.

    Attributes:
        rate: in nats per step. Raises Outside.
        beside: columns of `runs` that it predicts; the first that was measured counts.
    """

    rate: Callable[[ComparedNetwork], float]
    beside: tuple[str, ...]


OVERLAYS = {
    "bound": Overlay(bound, ("growth_rate",)),
    "asymptote": Overlay(asymptote, ("growth_rate",)),
    "mean_field": Overlay(_mean_field, ("lyapunov_exponent", "growth_rate")),
    "determinant": Overlay(determinant, ("mean_exponent",)),
    "origin": Overlay(origin, ("log_origin_radius",)),
    "cell_path": Overlay(_cell_path, ("growth_rate",)),
}


def compare_columns(network: ComparedNetwork) -> dict[str, Any]:
    """The columns of `runs` of every overlay. Without a measurement, as for a failed run, there is no residual."""
    found: dict[str, Any] = {}
    for name, overlay in OVERLAYS.items():
        try:
            rate = overlay.rate(network)
        except Outside as reason:
            found[f"{name}_outside"] = str(reason)
            if reason.rate is None:
                continue
            rate = reason.rate
        found |= {f"{name}_rate": rate, f"{name}_residual": residual(network.measured, overlay.beside, rate)}
    return found


def residual(measured: Mapping[str, Any], beside: tuple[str, ...], rate: float) -> float | None:
    """Measured minus theory; 0 where both are -inf, missing where nothing was measured."""
    value = next((measured[name] for name in beside if measured.get(name) is not None), None)
    if value is None:
        return None
    return 0.0 if value == rate else float(value - rate)
