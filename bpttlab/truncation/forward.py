"""Gradients that are carried forward in time: exact (RTRL) and approximate (UORO, SnAp, RFLO)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bpttlab.errors import ConfigurationError
from bpttlab.truncation.scheme import Forward, check_draws


@dataclass(frozen=True)
class RTRL(Forward):
    """Real-time recurrent learning: exact (Williams & Zipser 1989)."""

    name: ClassVar[str] = "rtrl"


@dataclass(frozen=True)
class UORO(Forward):
    """The influence as a random matrix of rank one: unbiased (Tallec & Ollivier 2018a).

    Attributes:
        draws: how many gradients are drawn, >= 2.
    """

    name: ClassVar[str] = "uoro"
    draws: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        check_draws(self.draws)


@dataclass(frozen=True)
class SnAp(Forward):
    """What a parameter reaches within n steps (Menick et al. 2021).

    Attributes:
        steps: n.
    """

    name: ClassVar[str] = "snap"
    steps: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 1:
            raise ConfigurationError(f"scheme.steps={self.steps}: must be an integer >= 1")


@dataclass(frozen=True)
class RFLO(Forward):
    """The leak alone is carried (Murray 2019), with the readout's own weights for feedback."""

    name: ClassVar[str] = "rflo"

    def check_cell(self, name: str) -> None:
        if name != "leaky":
            raise ConfigurationError(f"scheme=rflo: carries the leak of cell=leaky; must not be requested of '{name}'")
