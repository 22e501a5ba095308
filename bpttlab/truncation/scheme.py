"""Truncation schemes as data: which losses reach back how far.

A scheme turns a length T into a `Plan`: integer segments and a carry. `bptt` consumes plans and knows no scheme by
name, as a Runge-Kutta solver consumes tableaus.

A segment (start, stop, loss_from) goes back from h_stop to h_start; the losses L_t with loss_from < t <= stop enter
at their own step. The carry multiplies the cotangent on its way from t+1 to t, never the step's own error:

    delta_t = e_t + carry_t J_{t+1}^T delta_{t+1}

A scheme that cuts at random, or at several places of which the mean is wanted, has many plans: an `Ensemble` of carries
over one segment.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple

import numpy as np

from bpttlab.fields import Field, settle_fields
from bpttlab.numerics.array import Array


@dataclass(frozen=True)
class Plan:
    """What is back-propagated in a sequence of T steps.

    Attributes:
        segments: integers (S, 3), rows (start, stop, loss_from), 0 <= start <= loss_from < stop <= T; no two have the
        same stop. carry: (T,), entry t-1 the factor from t+1 to t, entry T-1 is never used; or (T, B), one for each
        sequence.
    """

    segments: Array
    carry: Array

    @property
    def steps_computed(self) -> int:
        """Applications of a transposed Jacobian to one cotangent: the cost of the scheme."""
        return int((self.segments[:, 1] - self.segments[:, 0]).sum())


def full_plan(length: int, carry: Array | None = None) -> Plan:
    """One segment over everything."""
    return Plan(np.array([[0, length, 0]]), np.ones(length) if carry is None else carry)


class Ensemble(NamedTuple):
    """Plans of one segment over everything, which differ in their carries.

    Attributes:
        carry: (R, T, B), or (R, T, 1) where all sequences are cut at the same steps.
        weight: (R,), of each plan in the mean; they sum to one.
        drawn: whether the plans are draws from a distribution, and not all that there are.
    """

    carry: Array
    weight: Array
    drawn: bool


class Scheme(ABC):
    """How the gradient is cut, or estimated; subclasses are frozen dataclasses, the named ones final."""

    name: ClassVar[str]
    truncation: Annotated[
        int | None,
        Field(ge=1, given_by="truncation", description="K, steps: how far back a loss is sent (lags l < K)"),
    ]
    """K, the longest path in steps (lags l < K) or what the scheme says that it is; None for the full gradient."""

    def __post_init__(self) -> None:
        settle_fields(self, "scheme.{}", bare=("truncation",))


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


class ManyPlans(Scheme):
    """A scheme that is an ensemble of plans."""

    @abstractmethod
    def ensemble(self, length: int, batch: int, rng: np.random.Generator | None) -> Ensemble:
        """The plans for sequences of T steps, of which there are `batch`."""


class Forward(Scheme):
    """A gradient that is carried forwards (`forward_mode`), with nothing cut off by a number of steps."""

    truncation: ClassVar[int | None] = None  # type: ignore[misc]

    def check_cell(self, name: str) -> None:  # most can do with any cell
        """Refuses a cell for which the method is not defined."""


Draws = Annotated[int, Field(ge=2, description="gradients that are drawn; mean and variance are those of so many")]
