"""Truncations that are segments: full, per loss, windowed, chunked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from bpttlab.errors import ConfigurationError
from bpttlab.fields import Field
from bpttlab.truncation.scheme import Segmented


@dataclass(frozen=True)
class Full(Segmented):
    """Every path: the gradient of the notes, whatever the truncation."""

    name: ClassVar[str] = "full"
    takes_truncation: ClassVar[bool] = False
    is_full: ClassVar[bool] = True
    truncation: ClassVar[int | None] = None  # type: ignore[misc]  # a constant of this scheme, a field of the others

    def segments(self, length: int) -> list[tuple[int, int, int]]:
        return [(0, length, 0)]


@dataclass(frozen=True)
class PerLoss(Segmented):
    """Each L_t reaches back K steps: lags l < K (Williams & Peng 1990, BPTT(h))."""

    name: ClassVar[str] = "per_loss"
    truncation: int

    def segments(self, length: int) -> list[tuple[int, int, int]]:
        return [(max(0, t - self.truncation), t, t - 1) for t in range(1, length + 1)]

    def steps_computed(self, length: int) -> int:
        """Those of its plan: K of each loss, t of those with t < K; T where nothing is cut."""
        K = self.truncation
        return length if length <= K else K * length - K * (K - 1) // 2


@dataclass(frozen=True)
class Windowed(Segmented):
    """Every k1 steps, inject the last k1 losses and go back k2 steps (Williams & Peng 1990, BPTT(h; h')).

    Each loss counts once and keeps k2-k1+1 to k2 lags. Where T is no multiple of k1 the last window is the one that
    would have ended later, without what is not there, so that k1 = k2 is `Chunked` at every length.

    Attributes:
        truncation: k2, the steps of each backward pass.
    """

    name: ClassVar[str] = "windowed"
    k1: Annotated[
        int,
        Field(
            ge=1,
            unit="step",
            configured=None,
            description="steps between two backward passes, at most the truncation; null: half the truncation",
        ),
    ]
    truncation: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.k1 > self.truncation:
            raise ConfigurationError(
                f"scheme.k1={self.k1}: must be an integer from 1 to k2 = truncation = {self.truncation}, "
                "or some losses would reach back less than to their own step"
            )

    @classmethod
    def complete(cls, fields: dict[str, Any], truncation: int) -> dict[str, Any]:
        """With half a window for k1 where it is null, the overlap that Williams & Peng used."""
        k1 = max(1, truncation // 2) if fields.get("k1") is None else fields["k1"]
        return super().complete({**fields, "k1": k1}, truncation)

    def segments(self, length: int) -> list[tuple[int, int, int]]:
        begins, overlap = range(0, length, self.k1), self.truncation - self.k1
        return [(max(0, begin - overlap), min(begin + self.k1, length), begin) for begin in begins]


@dataclass(frozen=True)
class Chunked(Segmented):
    """Windows of K steps that do not overlap, the state carried, the cotangent cut: what frameworks do (Sutskever
    2013).

    With one loss at the end it keeps ((T - 1 - offset) mod K) + 1 lags: what it leaves out depends on where windows
    begin.
    """

    name: ClassVar[str] = "chunked"
    truncation: int
    offset: Annotated[
        int,
        Field(
            ge=0,
            unit="step",
            description="steps of the first window, below the truncation; 0: as many as in the others",
        ),
    ] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.offset >= self.truncation:
            raise ConfigurationError(
                f"scheme.offset={self.offset}: must be an integer from 0 to {self.truncation - 1}, below truncation"
            )

    def segments(self, length: int) -> list[tuple[int, int, int]]:
        begins = [*([0] if self.offset > 0 else []), *range(self.offset, length, self.truncation)]
        return [(begin, end, begin) for begin, end in zip(begins, [*begins[1:], length], strict=True)]
