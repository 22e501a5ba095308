"""A plan of back-propagation as data: segments of a sequence and a carry.

A segment (start, stop, loss_from) goes back from h_stop to h_start; the losses L_t with loss_from < t <= stop enter at
their own step. The carry multiplies the cotangent on its way from t+1 to t, never the step's own error:

    delta_t = e_t + carry_t J_{t+1}^T delta_{t+1}

The backward passes take plans and know no truncation scheme by name, as a Runge-Kutta solver takes tableaus. A scheme
that cuts at random, or the mean over several places of a cut, has many plans: an `Ensemble` of carries over one
segment.

Index legend: T time, B sequence, S segment, R plan of an ensemble.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from bpttlab.errors import ConfigurationError
from bpttlab.fields import format_value
from bpttlab.numerics.array import Array
from bpttlab.numerics.short_repr import show_briefly


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

    def __repr__(self) -> str:
        return show_briefly(self)

    @property
    def steps_computed(self) -> int:
        """The number of products of a transposed Jacobian with one cotangent: the cost of the scheme."""
        return int((self.segments[:, 1] - self.segments[:, 0]).sum())

    @property
    def length(self) -> int:
        """T."""
        return len(self.carry)

    @property
    def cuts_nothing(self) -> bool:
        """Whether it is the full plan, one segment over everything that carries all."""
        return self.segments.tolist() == [[0, self.length, 0]] and bool((self.carry == 1.0).all())


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

    def __repr__(self) -> str:
        return show_briefly(self)


@runtime_checkable
class HasPlan(Protocol):
    """A truncation scheme that is one plan at every length, as `truncation.Segmented`."""

    def plan(self, length: int) -> Plan:
        """The plan for a sequence of so many steps."""


def plan_of(scheme: HasPlan | Plan | None, length: int) -> Plan:
    """The plan of a scheme at a length; a plan is itself, and None the full one.

    Raises:
        ConfigurationError: it is no scheme, or has no one plan.
    """
    if scheme is None:
        return full_plan(length)
    if isinstance(scheme, Plan):
        return scheme
    check_scheme(scheme)
    if not isinstance(scheme, HasPlan):
        name = getattr(scheme, "name", scheme)
        raise ConfigurationError(
            f"scheme={name}: has no one plan; truncation_bias measures it, and random cuts have draw(T, rng)"
        )
    return scheme.plan(length)


def is_shared(scheme: HasPlan | Plan | None, lengths: Array) -> bool:
    """Whether the plan of the longest sequence does in each what the plan of its own length does.

    That of a truncation which cuts at steps counted from the start, or from each loss, does so; so one walk serves
    sequences of different length. A `Plan` is for all sequences, as it is.
    """
    if scheme is None or isinstance(scheme, Plan):
        return True
    whole = plan_of(scheme, int(lengths.max()))
    return all(keep_same(plan_of(scheme, length), whole) for length in np.unique(lengths)[:-1].tolist())


def keep_same(plan: Plan, longer: Plan) -> bool:
    """Whether a longer plan keeps, of the losses up to the end of a plan, what that plan keeps."""
    T = plan.length
    starts = bool(np.array_equal(find_starts(plan, T), find_starts(longer, T)))
    return starts and bool(np.array_equal(plan.carry[: T - 1], longer.carry[: T - 1]))


def find_starts(plan: Plan, last: int) -> Array:
    """Of the losses L_t with t <= last, t and the step where the way back ends, of each segment where they enter.

    (losses, 2), in ascending order.
    """
    start, stop, loss_from = plan.segments.T
    losses = np.maximum(np.minimum(stop, last) - loss_from, 0)
    place = np.arange(losses.sum()) - np.repeat(np.cumsum(losses) - losses, losses)
    found = np.column_stack([np.repeat(loss_from, losses) + 1 + place, np.repeat(start, losses)])
    return found[np.lexsort(found.T[::-1])]


def check_scheme(scheme: Any) -> None:
    """Refuses what is no truncation scheme: its name, its K, its class."""
    if isinstance(scheme, type):
        raise ConfigurationError(f"scheme={scheme.__name__}: must be a scheme such as lab.Full(), not a class")
    if not (isinstance(scheme, HasPlan) or hasattr(scheme, "estimate")):
        kind = "a string" if isinstance(scheme, str) else f"of type {type(scheme).__name__}"
        raise ConfigurationError(f"scheme={format_value(scheme)}: must be a scheme such as lab.Full(), not {kind}")
