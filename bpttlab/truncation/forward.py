"""Gradients that are carried forward in time: exact (RTRL) and approximate (UORO, SnAp, RFLO)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Self

import numpy as np

from bpttlab.errors import ConfigurationError
from bpttlab.fields import Field
from bpttlab.gradients.estimators import GradientEstimate, estimate_of_draws
from bpttlab.gradients.forward_mode.rflo import rflo
from bpttlab.gradients.forward_mode.rtrl import rtrl
from bpttlab.gradients.forward_mode.snap import snap, snap_cost
from bpttlab.gradients.forward_mode.uoro import uoro, uoro_draws
from bpttlab.gradients.trace import Trace
from bpttlab.networks.cells.cell import Params
from bpttlab.networks.losses import Loss
from bpttlab.numerics.array import Array
from bpttlab.numerics.scaled import Gradients, Scaled
from bpttlab.truncation.scheme import Draws, Forward, generator_of


@dataclass(frozen=True)
class RTRL(Forward):
    """Real-time recurrent learning: exact, whatever the truncation; N^4 a step (Williams & Zipser 1989)."""

    name: ClassVar[str] = "rtrl"

    def one_gradient(self, trace: Trace, loss: Loss | Array, rng: np.random.Generator) -> Params:
        return rtrl(trace, loss)

    def cost(self, trace: Trace) -> int:
        """One product for every entry of every parameter."""
        return trace.length * sum(trace.params[name].size for name in trace.cell.recurrent_parameters)


@dataclass(frozen=True)
class UORO(Forward):
    """dh_t/dparameter as a random matrix of rank one: unbiased; no truncation (Tallec & Ollivier 2018a)."""

    name: ClassVar[str] = "uoro"
    draws: Draws = 32

    def one_gradient(self, trace: Trace, loss: Loss | Array, rng: np.random.Generator) -> Params:
        return uoro(trace, loss, rng)

    def estimate(
        self, trace: Trace, loss: Loss | Array, error: Scaled, full: Gradients, rng: np.random.Generator | None = None
    ) -> GradientEstimate:
        """The mean of the draws, and their scatter."""
        drawn = uoro_draws(trace, loss, generator_of(self, rng), self.draws)
        return estimate_of_draws(drawn, full, self.cost(trace))

    def members(self, length: int) -> int:
        return self.draws

    def with_members(self, number: int) -> Self:
        return replace(self, draws=number)


@dataclass(frozen=True)
class SnAp(Forward):
    """Of dh_t/dparameter what a parameter reaches within n steps; no truncation (Menick et al. 2021, SnAp-n)."""

    name: ClassVar[str] = "snap"
    steps: Annotated[int, Field(ge=1, unit="step", description="n; 2 with a dense W is everything, as rtrl")] = 1

    def one_gradient(self, trace: Trace, loss: Loss | Array, rng: np.random.Generator) -> Params:
        return snap(trace, loss, self.steps)

    def cost(self, trace: Trace) -> int:
        """A product of N^2 multiplications counts as one."""
        return math.ceil(trace.length * snap_cost(trace, self.steps))


@dataclass(frozen=True)
class RFLO(Forward):
    """Of dh_t/dparameter what the leak carries; needs cell=leaky; no truncation (Murray 2019).

    The feedback has the readout's own weights.
    """

    name: ClassVar[str] = "rflo"

    def check_cell(self, name: str) -> None:
        if name != "leaky":
            raise ConfigurationError(f"scheme=rflo: carries the leak of cell=leaky; must not be requested of '{name}'")

    def one_gradient(self, trace: Trace, loss: Loss | Array, rng: np.random.Generator) -> Params:
        return rflo(trace, loss)
