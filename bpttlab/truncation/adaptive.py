"""Truncation where the gradient has decayed enough (Aicher, Foti & Fox 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from bpttlab.fields import Field
from bpttlab.truncation.scheme import Scheme


@dataclass(frozen=True)
class Adaptive(Scheme):
    """Per loss, as far back as a bias of at most delta needs by the estimate of Aicher, Foti & Fox 2019 (`decay`).

    Attributes:
        truncation: the longest that is tried; the estimate looks at the lags below it.
    """

    name: ClassVar[str] = "adaptive"
    truncation: int
    delta: Annotated[float, Field(gt=0, description="relative bias that is tolerated, of every parameter")] = 0.1
