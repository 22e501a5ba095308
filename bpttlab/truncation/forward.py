"""Gradients that are carried forward in time: exact (RTRL) and approximate (UORO, SnAp, RFLO)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from bpttlab.errors import ConfigurationError
from bpttlab.fields import Field
from bpttlab.truncation.scheme import Draws, Forward


@dataclass(frozen=True)
class RTRL(Forward):
    """Real-time recurrent learning: exact, whatever the truncation; N^4 a step (Williams & Zipser 1989)."""

    name: ClassVar[str] = "rtrl"


@dataclass(frozen=True)
class UORO(Forward):
    """dh_t/dparameter as a random matrix of rank one: unbiased; no truncation (Tallec & Ollivier 2018a)."""

    name: ClassVar[str] = "uoro"
    draws: Draws = 32


@dataclass(frozen=True)
class SnAp(Forward):
    """Of dh_t/dparameter what a parameter reaches within n steps; no truncation (Menick et al. 2021, SnAp-n)."""

    name: ClassVar[str] = "snap"
    steps: Annotated[int, Field(ge=1, description="n; 2 with a dense W is everything, as rtrl")] = 1


@dataclass(frozen=True)
class RFLO(Forward):
    """Of dh_t/dparameter what the leak carries; needs cell=leaky; no truncation (Murray 2019).

    The feedback has the readout's own weights.
    """

    name: ClassVar[str] = "rflo"

    def check_cell(self, name: str) -> None:
        if name != "leaky":
            raise ConfigurationError(f"scheme=rflo: carries the leak of cell=leaky; must not be requested of '{name}'")
