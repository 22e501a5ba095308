"""Lorenz 1963: predict a chaotic flow in three dimensions.

    dx/dt = 10 (y - x),    dy/dt = x (28 - z) - y,    dz/dt = x y - 8/3 z

Index legend: T time, B sequence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from bpttlab.fields import Field
from bpttlab.limits import LONGEST_HORIZON
from bpttlab.numerics.array import Array
from bpttlab.tasks.task import Batch, Task, every_step

SIGMA, RHO, BETA = 10.0, 28.0, 8.0 / 3.0
STEP = 0.01
SAMPLE = 2
"""Steps of the integrator from one sample to the next."""

_TRANSIENT = 1000
"""Steps dropped at the beginning."""

_MEAN = np.array([0.0, 0.0, 23.549])
DEVIATION = np.array([7.925, 9.011, 8.619])
"""Of x, y and z on the attractor; by its symmetry the means of x and y are zero."""


@dataclass(frozen=True)
class Lorenz(Task):
    """x_t is the state (x, y, z) at time 0.02 t; the target is the state at 0.02 (t + horizon). I = O = 3.

    The integrator is the classical Runge-Kutta method of order 4 with steps of 0.01. Every sequence begins at a point
    of its own, drawn from a normal distribution with mean and s.d. of the attractor; its first 10 time units are
    dropped. x and target are standardised by these: means 0, 0 and 23.55, s.d. 7.92, 9.01 and 8.62.

    Loss: squared error at every step, summed over the three. Baseline: predicting the means gives 3. (The guess
    "nothing changes" costs 0.066 for horizon 1 and 4.0 for 10.) The largest Lyapunov exponent is 0.906 a time unit, so
    errors grow by a factor e in 55 samples. Prefix stable: the beginning of a sequence depends on its generator only.
    No relevant step.

    Source: Lorenz 1963, eqs 25 to 27, with its values.
    """

    name: ClassVar[str] = "lorenz"
    loss_name: ClassVar[str] = "squared_error"
    prefix_stable: ClassVar[bool] = True
    input_size: ClassVar[int] = 3
    output_size: ClassVar[int] = 3
    baseline_loss: ClassVar[float] = 3.0
    solved_below: ClassVar[float | None] = 0.006

    horizon: Annotated[
        int, Field(ge=1, le=LONGEST_HORIZON, unit="step", description="samples ahead, 0.02 time units each")
    ] = 1

    def draw(self, rng: np.random.Generator, batch_size: int) -> Batch:
        state = _MEAN + DEVIATION * rng.standard_normal((batch_size, 3))
        for _ in range(_TRANSIENT):
            state = step(state)
        series = (lorenz_trajectory(state, self.sequence_length + self.horizon) - _MEAN) / DEVIATION
        x, target = series[: self.sequence_length], series[self.horizon :]
        return Batch(x.copy(), target.copy(), every_step(self.sequence_length))


def lorenz_trajectory(state: Array, samples: int) -> Array:
    """The state itself and what follows.  (B, 3) -> (samples, B, 3)"""
    series = np.empty((samples, *state.shape))
    for sample in range(samples):
        series[sample] = state
        for _ in range(SAMPLE):
            state = step(state)
    return series


def step(state: Array) -> Array:
    """One step of Runge-Kutta.  (B, 3) -> (B, 3)"""
    k_1 = velocity(state)
    k_2 = velocity(state + 0.5 * STEP * k_1)
    k_3 = velocity(state + 0.5 * STEP * k_2)
    k_4 = velocity(state + STEP * k_3)
    return state + STEP / 6.0 * (k_1 + 2.0 * (k_2 + k_3) + k_4)


def velocity(state: Array) -> Array:
    """d(x, y, z)/dt.  (B, 3) -> (B, 3)"""
    x, y, z = state.T
    return np.stack([SIGMA * (y - x), x * (RHO - z) - y, x * y - BETA * z], axis=-1)
