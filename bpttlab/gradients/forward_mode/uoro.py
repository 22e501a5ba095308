"""Unbiased online recurrent optimization: the influence matrix as a random matrix of rank one, right in the mean.

    s_t = rho_0 J_t s_{t-1} + rho_1 nu_t          theta_t = theta_{t-1} / rho_0 + nu_t . d+h_t/dtheta / rho_1

With signs nu_t drawn at random, E nu_t nu_t^T = I and E s_t theta_t^T = M_t whatever rho_0 and rho_1 are; they balance
the two factors, so that the variance is small.

Index legend: T time, B sequence, N hidden state, P entries of all recurrent parameters.
"""

from __future__ import annotations

import numpy as np

from bpttlab.errors import ConfigurationError, GradientRangeError
from bpttlab.fields import real_number
from bpttlab.gradients.backward import backward
from bpttlab.gradients.forward_mode.rtrl import with_readout
from bpttlab.gradients.inputs import check_errors
from bpttlab.gradients.lengths import each_length
from bpttlab.gradients.trace import Trace
from bpttlab.networks.cells.cell import Params
from bpttlab.networks.losses import Loss
from bpttlab.numerics.array import Array
from bpttlab.numerics.random_streams import Rng, check_generator

_EPSILON = 1e-7
"""Keeps the scalings from dividing by zero (Tallec & Ollivier 2018a, algorithm 1)."""


@each_length
def uoro(trace: Trace, loss: Loss | Array, rng: Rng, epsilon: float = _EPSILON) -> Params:
    """The gradient by UORO (Tallec & Ollivier 2018a, algorithm 1), on weights that do not change: unbiased.

    Each sequence has signs, factors and scalings of its own, so that a batch of B averages over B draws.

    Cost: N^2 + P multiplications a step and sequence, N + P numbers held: as much as the network itself.

    Args:
        trace: a forward pass.
        loss: as in `backward`.
        rng: the source of the signs, a generator or a seed.
        epsilon: added in rho_0 and rho_1, above 0.

    Returns:
        As `rtrl`, of which it is the mean.

    Raises:
        ConfigurationError: epsilon is not above 0.
        GradientRangeError: the gradient is too large for a float.
    """
    dL_dy_hat = check_errors(trace, loss)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        estimates = estimates_of_sequences(trace, trace.error(dL_dy_hat), check_generator(rng), epsilon)
        recurrent = {name: estimate.sum(axis=0) for name, estimate in estimates.items()}
        return with_readout(trace, dL_dy_hat, recurrent)


@each_length
def uoro_draws(trace: Trace, loss: Loss | Array, rng: Rng, draws: int, epsilon: float = _EPSILON) -> Params:
    """Many estimates at once, the copies of the batch side by side.  Each (draws, *shape), recurrent parameters only.

    Raises:
        GradientRangeError: one of them is too large for a float.
    """
    copies, error = trace.repeat(draws), np.tile(trace.error(check_errors(trace, loss)), (1, draws, 1))
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        estimates = estimates_of_sequences(copies, error, check_generator(rng), epsilon)
        shapes = {name: (draws, -1, *trace.params[name].shape) for name in estimates}
        found = {name: values.reshape(shapes[name]).sum(axis=1) for name, values in estimates.items()}
    if not all(np.isfinite(values).all() for values in found.values()):
        raise GradientRangeError(f"an estimate by uoro is beyond the range of {trace.h.dtype}")
    return found


def uoro_variance(
    trace: Trace, loss: Loss | Array, rng: Rng, draws: int = 100, epsilon: float = _EPSILON
) -> dict[str, float]:
    """Variance of `uoro` over its signs at fixed data: the trace of the covariance, relative to |gradient|^2.

    Args:
        draws: how many estimates it is computed from, at least 2.

    Returns:
        By recurrent parameter; NaN where the exact gradient is zero.
    """
    if draws < 2:
        raise ConfigurationError(f"draws={draws}: must be an integer >= 2")
    exact, rng = backward(trace, loss), check_generator(rng)
    drawn = [uoro(trace, loss, rng, epsilon) for _ in range(draws)]
    return {
        name: relative_variance(np.stack([one[name] for one in drawn]), exact[name])
        for name in trace.cell.recurrent_parameters
    }


def relative_variance(drawn: Array, exact: Array) -> float:
    """E|g - E g|^2 / |exact|^2, in the unit of the largest entry: no square overflows or becomes 0 before the ratio."""
    unit = float(np.abs(exact).max())
    if not unit:
        return np.nan
    size = float(np.linalg.norm(exact.astype(np.float64) / unit) ** 2)
    return float((drawn.astype(np.float64) / unit).var(axis=0, ddof=1).sum()) / size


def estimates_of_sequences(trace: Trace, error: Array, rng: np.random.Generator, epsilon: float) -> Params:
    """The estimate of each sequence alone.  Each (B,P)"""
    epsilon = real_number("epsilon", epsilon, "a number above 0", lambda number: number > 0.0)
    names, B = trace.cell.recurrent_parameters, trace.h.shape[1]
    sizes = [trace.params[name].size for name in names]
    factors: Params = {}
    total = np.zeros((B, sum(sizes)), trace.h.dtype)
    for t in range(1, trace.length + 1):
        factors = next_factors(trace, t, factors, rng, epsilon)
        total += (error[t - 1] * factors["s"]).sum(axis=1, keepdims=True) * factors["theta"]
    return dict(zip(names, np.split(total, np.cumsum(sizes)[:-1], axis=1), strict=True))


def next_factors(trace: Trace, t: int, factors: Params, rng: np.random.Generator, epsilon: float = _EPSILON) -> Params:
    """s_t and theta_t from s_{t-1} and theta_{t-1}, which are zero where there are none.  "s" (B,N), "theta" (B,P)"""
    cell, (_, B, N) = trace.cell, trace.h.shape
    nu = (2 * rng.integers(0, 2, (B, N)) - 1).astype(trace.h.dtype)
    da, _ = cell.vjp(trace.params, trace.linearization[t - 1], nu)
    immediate = cell.immediate(trace.local.at(t - 1), da)
    projected = np.concatenate([immediate[name].reshape(B, -1) for name in cell.recurrent_parameters], axis=1)
    s, theta = (factors["s"], factors["theta"]) if factors else (np.zeros_like(nu), np.zeros_like(projected))
    tangent = (trace.jacobian(t) @ s[..., None])[..., 0]
    rho_0, rho_1 = _balance(theta, tangent, epsilon), _balance(projected, nu, epsilon)
    s = rho_0 * tangent + rho_1 * nu
    theta = theta / rho_0 + projected / rho_1
    return {"s": s, "theta": theta}


def _balance(row: Array, column: Array, epsilon: float) -> Array:
    """rho = sqrt(|row| / (|column| + epsilon)) + epsilon, of each sequence.  (B,P), (B,N) -> (B,1)"""
    length = np.linalg.norm(column, axis=1, keepdims=True) + epsilon
    return (np.sqrt(np.linalg.norm(row, axis=1, keepdims=True) / length) + epsilon).astype(row.dtype)
