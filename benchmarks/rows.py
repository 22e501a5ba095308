"""One line of the results: what was measured, its goal, and whether that is met."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from benchmarks.protocol import FULL, QUICK, Protocol, Spread


@dataclass(frozen=True)
class Row:
    """A number with its spread over rounds.

    Attributes:
        workload, case: which measurement, and of what: "gradient", "elman float64 N=32 B=1 T=100".
        what: "PyTorch / numpy" is a ratio of seconds, "numpy" alone the thing itself.
        unit: "×" of a ratio; "s", "ms", "MB", "GFLOP/s", "of GEMM peak", "full gradients", "log".
        spread: over rounds.
        goal: what the median has to reach; None where there is no goal.
        more: whether more is better.
        error: of the answer, against the reference; None where nothing was compared.
    """

    workload: str
    case: str
    what: str
    unit: str
    spread: Spread
    goal: float | None = None
    more: bool = True
    error: float | None = None

    @property
    def met(self) -> bool | None:
        if self.goal is None:
            return None
        return self.spread.median >= self.goal if self.more else self.spread.median <= self.goal

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"met": self.met}

    @classmethod
    def read(cls, plain: dict[str, Any]) -> Row:
        """The inverse of `plain`."""
        fields = {name: value for name, value in plain.items() if name != "met"}
        return cls(**fields | {"spread": Spread(**fields["spread"])})


@dataclass(frozen=True)
class Settings:
    """How a suite is run: whole and judged, or quickly and not judged; and in how many rounds, if not as usual."""

    quick: bool = False
    rounds: int | None = None

    @property
    def protocol(self) -> Protocol:
        usual = QUICK if self.quick else FULL
        return usual if self.rounds is None else replace(usual, rounds=self.rounds)

    def goal(self, value: float | None) -> float | None:
        return None if self.quick else value

    def choose(self, whole: Any, quick: Any) -> Any:
        return quick if self.quick else whole


def alone(value: float) -> Spread:
    """A number that was measured once."""
    return Spread(value, value, value, 1)
