"""Truncation schemes as data: which losses reach back how far.

A scheme turns a length T into a `Plan`: integer segments and a carry. `bptt` consumes plans and knows no scheme by
name, as a Runge-Kutta solver consumes tableaus.

A segment (start, stop, loss_from) goes back from h_stop to h_start; the losses L_t with loss_from < t <= stop enter
at their own step. The carry multiplies the cotangent on its way from t+1 to t, never the step's own error:

    delta_t = e_t + carry_t J_{t+1}^T delta_{t+1}
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from bpttlab.errors import ConfigurationError

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Plan:
    """What is back-propagated in a sequence of T steps.

    Attributes:
        segments: integers (S, 3), rows (start, stop, loss_from), 0 <= start <= loss_from < stop <= T; no two have the
        same stop. carry: (T,), entry t-1 the factor from t+1 to t; entry T-1 is never used.
    """

    segments: Array
    carry: Array

    @property
    def steps_computed(self) -> int:
        """Applications of a transposed Jacobian to one cotangent: the cost of the scheme."""
        return int((self.segments[:, 1] - self.segments[:, 0]).sum())


def full_plan(length: int) -> Plan:
    """One segment over everything."""
    return Plan(np.array([[0, length, 0]]), np.ones(length))


class Scheme(ABC):
    """How the gradient is cut; subclasses are frozen dataclasses and final."""

    name: ClassVar[str]
    truncation: int | None
    """K, the longest path in steps (lags l < K); None for the full gradient."""

    @abstractmethod
    def segments(self, length: int) -> list[tuple[int, int, int]]:
        """(start, stop, loss_from) of every segment."""

    def plan(self, length: int) -> Plan:
        """The scheme at a length of T steps. One that cuts nothing is the full plan, to the last bit."""
        segments = np.array(self.segments(length))
        if not segments[:, 0].any():
            return full_plan(length)
        return Plan(segments, np.ones(length))


@dataclass(frozen=True)
class Full(Scheme):
    """Every path (the notes)."""

    name: ClassVar[str] = "full"
    truncation: ClassVar[int | None] = None  # type: ignore[misc]  # a constant of this scheme, a field of the others

    def segments(self, length: int) -> list[tuple[int, int, int]]:
        return [(0, length, 0)]


@dataclass(frozen=True)
class PerLoss(Scheme):
    """Each L_t reaches back K steps: lags l < K (Williams & Peng 1990, BPTT(h))."""

    name: ClassVar[str] = "per_loss"
    truncation: int

    def __post_init__(self) -> None:
        check_truncation(self.truncation)

    def segments(self, length: int) -> list[tuple[int, int, int]]:
        return [(max(0, t - self.truncation), t, t - 1) for t in range(1, length + 1)]


@dataclass(frozen=True)
class Windowed(Scheme):
    """Every k1 steps, inject the last k1 losses and go back k2 steps (Williams & Peng 1990, BPTT(h; h')).

    Each loss counts once and keeps k2-k1+1 to k2 lags. Where T is no multiple of k1 the last window is the one that
    would have ended later, without what is not there, so that k1 = k2 is `Chunked` at every length.

    Attributes:
        k1: steps between two backward passes.
        truncation: k2, the steps of each.
    """

    name: ClassVar[str] = "windowed"
    k1: int
    truncation: int

    def __post_init__(self) -> None:
        check_truncation(self.truncation)
        if not 1 <= self.k1 <= self.truncation:
            raise ConfigurationError(
                f"scheme.k1={self.k1}: must be a whole number from 1 to k2 = truncation = {self.truncation}, "
                "or some losses would reach back less than to their own step"
            )

    def segments(self, length: int) -> list[tuple[int, int, int]]:
        begins, overlap = range(0, length, self.k1), self.truncation - self.k1
        return [(max(0, begin - overlap), min(begin + self.k1, length), begin) for begin in begins]


@dataclass(frozen=True)
class Chunked(Scheme):
    """Windows of K steps that do not overlap, the state carried, the cotangent cut: what frameworks do (Sutskever
    2013).

    With one loss at the end it keeps ((T-1) mod K)+1 lags.
    """

    name: ClassVar[str] = "chunked"
    truncation: int

    def __post_init__(self) -> None:
        check_truncation(self.truncation)

    def segments(self, length: int) -> list[tuple[int, int, int]]:
        begins = range(0, length, self.truncation)
        return [(begin, min(begin + self.truncation, length), begin) for begin in begins]


def check_truncation(truncation: int) -> None:
    if truncation < 1:
        raise ConfigurationError(f"truncation={truncation}: must be a whole number >= 1, or full")
