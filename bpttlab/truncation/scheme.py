"""What every truncation scheme has: the gradient that it gives, and an estimate of what it does.

A scheme is a frozen dataclass with a `name` and one method, `one_gradient`. The others have defaults:

    one_gradient(trace, loss, rng)                  the gradient as training would compute it: one plan, one draw
    estimate(trace, loss, error, full, rng)         its gradients, and what their mean lacks of the full one
    cost(trace)                                     what one gradient costs, in products with a Jacobian

`Segmented` and `ManyPlans` are schemes that are data, one plan or an ensemble of plans (`gradients.plan`): they say
which, and everything else follows. A scheme of another kind subclasses `Scheme`, or `Forward` where it has no K.

Index legend: T time, B sequence, N hidden state, O output, R plans or draws.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import Annotated, Any, ClassVar, Self

import numpy as np

from bpttlab.errors import ConfigurationError
from bpttlab.fields import Field, settle_fields
from bpttlab.gradients.backward import backward
from bpttlab.gradients.estimators import Estimate, ensemble_estimate, estimate_by_difference, plan_estimate
from bpttlab.gradients.plan import Ensemble, Plan, full_plan
from bpttlab.gradients.trace import Trace
from bpttlab.networks.cells.cell import Params
from bpttlab.networks.losses import Loss
from bpttlab.numerics.array import Array
from bpttlab.numerics.scaled import Gradients, Scaled


class Scheme(ABC):
    """How the gradient is cut, or estimated; subclasses are frozen dataclasses, the named ones final.

    Attributes:
        name: what configurations call it.
        takes_truncation: whether it has a K, which `truncation=` sets; with truncation=full it is the full gradient.
        forwards: whether it carries derivatives forwards, of which a step costs much more.
    """

    name: ClassVar[str]
    takes_truncation: ClassVar[bool] = True
    forwards: ClassVar[bool] = False

    truncation: Annotated[
        int | None,
        Field(ge=1, given_by="truncation", description="K, steps: how far back a loss is sent (lags l < K)"),
    ]
    """K, the longest path in steps (lags l < K) or what the scheme says that it is; None for the full gradient."""

    def __post_init__(self) -> None:
        settle_fields(self, "scheme.{}", bare=("truncation",))

    # ------------------------------------------------------------------ the gradient

    @abstractmethod
    def one_gradient(self, trace: Trace, loss: Loss | Array, rng: np.random.Generator) -> Params:
        """The gradient as training would compute it, of one plan or one draw.

        Args:
            trace: a forward pass.
            loss: as in `backward`.
            rng: for what is drawn; most schemes draw nothing.

        Returns:
            Keyed like the parameters of the recurrence; others may be there too.
        """

    def cost(self, trace: Trace) -> int:
        """How many products of a Jacobian, or its transpose, with one vector `one_gradient` takes a sequence."""
        return trace.length

    def estimate(
        self,
        trace: Trace,
        loss: Loss | Array,
        error: Scaled,
        full: Gradients,
        rng: np.random.Generator | None = None,
    ) -> Estimate:
        """The gradients that the scheme gives of a loss, and what their mean lacks of the full one.

        By default of one gradient, whose bias is the difference from the full one, no smaller than rounding.

        Args:
            trace: a forward pass.
            loss: as in `backward`.
            error: (T, B, N) what it sends to every h_t.
            full: the gradient that nothing was cut off.
            rng: needed by schemes that draw.
        """
        gradient = self.one_gradient(trace, loss, rng or np.random.default_rng(0))
        return estimate_by_difference(trace, gradient, full, self.cost(trace), self.truncation)

    def seconds(self, trace: Trace, loss: Loss | Array, rng: np.random.Generator) -> float:
        """Seconds of one gradient in plain numbers, the second of two; no measure of it among them."""
        self.one_gradient(trace, loss, rng)
        begun = time.perf_counter()
        self.one_gradient(trace, loss, rng)
        return time.perf_counter() - begun

    # ------------------------------------------------------------------ what a configuration and its cost ask

    @classmethod
    def complete(cls, fields: dict[str, Any], truncation: int) -> dict[str, Any]:
        """The fields of a configuration with K, and with those that follow from it where they are null."""
        return {**fields, "truncation": truncation}

    def check_cell(self, name: str) -> None:  # noqa: B027  # most can do with any cell
        """Refuses a cell for which the method is not defined."""

    @property
    def bound_lags(self) -> int | None:
        """The longest lag of the bounds on the bias that are recorded beside it (`bias_bounds`); None: no bounds."""
        return None

    def members(self, length: int) -> int:
        """How many draws, or plans, an estimate has at T = length; 0 where there is one gradient."""
        return 0

    def with_members(self, number: int) -> Self:
        """The same scheme with so many; itself where there is one gradient."""
        return self


class Segmented(Scheme):
    """A scheme that is one plan."""

    @abstractmethod
    def segments(self, length: int) -> list[tuple[int, int, int]]:
        """(start, stop, loss_from) of every segment."""

    def plan(self, length: int) -> Plan:
        """The scheme at a length of T steps. One that cuts nothing is the full plan, to the last bit."""
        segments = np.array(self.segments(length))
        if not segments[:, 0].any():
            return full_plan(length)
        return Plan(segments, np.ones(length))

    def one_gradient(self, trace: Trace, loss: Loss | Array, rng: np.random.Generator) -> Params:
        return backward(trace, loss, self)

    def cost(self, trace: Trace) -> int:
        return self.plan(trace.length).steps_computed

    def estimate(
        self, trace: Trace, loss: Loss | Array, error: Scaled, full: Gradients, rng: np.random.Generator | None = None
    ) -> Estimate:
        """What was cut off is measured itself, without a difference: 1e-200 is 1e-200."""
        return plan_estimate(trace, error, self.plan(trace.length), full, self.truncation)


class ManyPlans(Scheme):
    """A scheme that is an ensemble of plans."""

    @abstractmethod
    def ensemble(self, length: int, batch: int, rng: np.random.Generator | None) -> Ensemble:
        """The plans for sequences of T steps, of which there are `batch`."""

    def one_gradient(self, trace: Trace, loss: Loss | Array, rng: np.random.Generator) -> Params:
        """That of the last plan."""
        carry = self.ensemble(trace.length, trace.h.shape[1], rng).carry[-1]
        return backward(trace, loss, full_plan(trace.length, carry))

    def estimate(
        self, trace: Trace, loss: Loss | Array, error: Scaled, full: Gradients, rng: np.random.Generator | None = None
    ) -> Estimate:
        """The mean over all plans; what they cut off is measured itself, without a difference."""
        ensemble = self.ensemble(trace.length, trace.h.shape[1], rng)
        return ensemble_estimate(trace, error, ensemble, self.truncation)


class Forward(Scheme):
    """A gradient that is carried forwards (`forward_mode`), with nothing cut off by a number of steps."""

    takes_truncation: ClassVar[bool] = False
    forwards: ClassVar[bool] = True
    truncation: ClassVar[int | None] = None  # type: ignore[misc]


def generator_of(scheme: Scheme, rng: np.random.Generator | None) -> np.random.Generator:
    """The generator that a scheme which draws was given.

    Raises:
        ConfigurationError: it was given none.
    """
    if rng is None:
        raise ConfigurationError(f"rng=None: scheme '{scheme.name}' needs a numpy.random.Generator")
    return rng


Draws = Annotated[int, Field(ge=2, description="gradients that are drawn; mean and variance are those of so many")]
