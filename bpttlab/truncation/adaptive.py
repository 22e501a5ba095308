"""Truncation where the gradient has decayed enough (Aicher, Foti & Fox 2019)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np

from bpttlab.fields import Field
from bpttlab.gradients.adaptive_truncation import adaptive_truncation, estimate_steps
from bpttlab.gradients.estimators import GradientEstimate
from bpttlab.gradients.trace import Trace
from bpttlab.networks.cells.cell import Params
from bpttlab.networks.losses import Loss
from bpttlab.numerics.array import Array
from bpttlab.numerics.scaled import Gradients, Scaled
from bpttlab.truncation.scheme import Scheme
from bpttlab.truncation.segmented import PerLoss


@dataclass(frozen=True)
class Adaptive(Scheme):
    """Per loss, as far back as a bias of at most delta needs by the estimate of Aicher, Foti & Fox 2019.

    Attributes:
        truncation: the longest that is tried; the estimate looks at the lags below it.
    """

    name: ClassVar[str] = "adaptive"
    truncation: int
    delta: Annotated[float, Field(gt=0, description="relative bias that is tolerated, of every parameter")] = 0.1

    @property
    def bound_lags(self) -> int | None:
        """The longest lag that the estimate looks at."""
        return self.truncation - 1

    def choose(self, trace: Trace, loss: Loss | Array) -> PerLoss:
        """The smallest truncation whose estimated bias is at most delta."""
        return PerLoss(adaptive_truncation(trace, loss, self.delta, self.truncation - 1))

    def one_gradient(self, trace: Trace, loss: Loss | Array, rng: np.random.Generator) -> Params:
        return self.choose(trace, loss).one_gradient(trace, loss, rng)

    def estimate(
        self, trace: Trace, loss: Loss | Array, error: Scaled, full: Gradients, rng: np.random.Generator | None = None
    ) -> GradientEstimate:
        """That of the truncation that was chosen, with the steps that the choice took."""
        found = self.choose(trace, loss).estimate(trace, loss, error, full)
        return replace(found, steps_computed=found.steps_computed + estimate_steps(error, self.truncation - 1))
