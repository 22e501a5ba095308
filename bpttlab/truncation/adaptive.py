"""Truncation where the gradient has decayed enough (Aicher, Foti & Fox 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bpttlab.errors import ConfigurationError
from bpttlab.truncation.scheme import Scheme, check_truncation


@dataclass(frozen=True)
class Adaptive(Scheme):
    """Per loss, as far back as a bias of at most delta needs by the estimate of Aicher, Foti & Fox 2019 (`decay`).

    Attributes:
        truncation: the longest that is tried; the estimate looks at the lags below it.
        delta: the relative bias that is tolerated.
    """

    name: ClassVar[str] = "adaptive"
    truncation: int
    delta: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_truncation(self.truncation)
        if not 0.0 < self.delta < np.inf:
            raise ConfigurationError(f"scheme.delta={self.delta}: must be a number above 0")
