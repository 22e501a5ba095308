"""Mackey-Glass: predict a chaotic series that depends on its own past, 17 time units ago.

    dx/dt = 0.2 g(x(t - 17)) - 0.1 x(t),    g(x) = x / (1 + x^10)

Index legend: T time, B sequence, G steps of the integrator within one delay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple

import numpy as np

from bpttlab.fields import Field
from bpttlab.limits import LONGEST_HORIZON
from bpttlab.numerics.array import Array
from bpttlab.tasks.task import Batch, Task, every_step

PRODUCTION, DECAY, DELAY = 0.2, 0.1, 17
UNIT = 10
"""Steps of the integrator in one time unit, which is what a sample takes."""

_TRANSIENT = 60 * DELAY
"""Time units dropped at the beginning."""

MEAN, DEVIATION = 0.93018, 0.22615
"""Of x on the attractor."""


@dataclass(frozen=True)
class MackeyGlass(Task):
    """x_t is the series at time t, one sample a time unit; the target is x_{t+horizon}. I = O = 1.

    The integrator is the classical Runge-Kutta method of order 4 with steps of 0.1. The delayed value in the middle of
    a step is that of the cubic Hermite polynomial through its two ends, of order 4 too. Every sequence has a history of
    its own, a constant from U(0.5, 1.5) for t <= 0. 1020 time units and a random number more, up to 1000, are dropped.
    x and target are standardised by mean and s.d. on the attractor, 0.9302 and 0.2261.

    Loss: squared error at every step. Baseline: predicting the mean gives the variance, 1. (The guess "nothing changes"
    costs 0.021 for horizon 1, 0.67 for 6 and 2.7 for 84; the series nearly repeats itself after about 50.) Prefix
    stable: the beginning of a sequence depends on its generator only. No relevant step.

    Source: Mackey & Glass 1977, eq. 4b, with the values of Farmer 1982 that became usual.
    """

    name: ClassVar[str] = "mackey_glass"
    loss_name: ClassVar[str] = "squared_error"
    prefix_stable: ClassVar[bool] = True
    input_size: ClassVar[int] = 1
    output_size: ClassVar[int] = 1
    baseline_loss: ClassVar[float] = 1.0
    solved_below: ClassVar[float | None] = 0.002

    horizon: Annotated[
        int, Field(ge=1, le=LONGEST_HORIZON, unit="step", description="time units ahead; 6 and 84 are usual too")
    ] = 1

    def draw(self, rng: np.random.Generator, batch_size: int) -> Batch:
        history = rng.uniform(0.5, 1.5, batch_size)
        begin = _TRANSIENT + rng.integers(0, 1000, batch_size)
        times = begin + np.arange(self.sequence_length + self.horizon)[:, None]
        series = (mackey_glass_trajectory(history, int(times.max()))[times, np.arange(batch_size)] - MEAN) / DEVIATION
        x, target = series[: self.sequence_length, :, None], series[self.horizon :, :, None]
        return Batch(x.copy(), target.copy(), every_step(self.sequence_length))


class Piece(NamedTuple):
    """The solution over one delay.

    Attributes:
        ends: (G+1, B), before and after every step.
        middles: (G, B), within every step.
    """

    ends: Array
    middles: Array


def mackey_glass_trajectory(history: Array, last: int) -> Array:
    """x at the times 0, 1, …, last, from a constant for t <= 0.  (B,) -> (last+1, B)"""
    piece, samples = hold_constant(history), []
    for _ in range(last // DELAY + 1):
        piece = integrate_delay(piece)
        samples.append(piece.ends[:-1:UNIT].copy())
    return np.concatenate(samples)[: last + 1]


def hold_constant(history: Array) -> Piece:
    steps = DELAY * UNIT
    return Piece(np.tile(history, (steps + 1, 1)), np.tile(history, (steps, 1)))


def integrate_delay(past: Piece) -> Piece:
    """The solution over the next delay.

    The driving term F(t) = 0.2 g(x(t - 17)) is known, and dx/dt = F - 0.1 x is linear. So a step of Runge-Kutta is x <-
    c x + w_0 F_0 + w_m F_m + w_1 F_1, with F at its two ends and in its middle, and one filter computes all steps.
    """
    from scipy.signal import lfilter  # its import takes longer than all others here

    ends, middles = _driving_term(past.ends), _driving_term(past.middles)
    h, z = 1.0 / UNIT, DECAY / UNIT
    c = 1.0 - z + z**2 / 2.0 - z**3 / 6.0 + z**4 / 24.0
    w_0, w_m, w_1 = 1.0 - z + z**2 / 2.0 - z**3 / 4.0, 4.0 - 2.0 * z + z**2 / 2.0, 1.0
    force = h / 6.0 * (w_0 * ends[:-1] + w_m * middles + w_1 * ends[1:])
    x_0 = past.ends[-1:]
    x = np.concatenate([x_0, lfilter([1.0], [1.0, -c], force, axis=0, zi=c * x_0)[0]])
    slope = ends - DECAY * x
    return Piece(x, 0.5 * (x[:-1] + x[1:]) + h / 8.0 * (slope[:-1] - slope[1:]))


def _driving_term(x: Array) -> Array:
    """0.2 g(x)."""
    square = x * x
    fourth = square * square
    return PRODUCTION * x / (1.0 + fourth * fourth * square)
