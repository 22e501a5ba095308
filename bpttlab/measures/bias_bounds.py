"""Bounds on the bias of per-loss truncations, computed without the full gradient: for runs that choose K by them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bpttlab.gradients.adaptive_truncation import measure_bounds
from bpttlab.gradients.trace import Trace
from bpttlab.measures.measure import Context, Measure, Result, Sampling
from bpttlab.networks.cells import Cell
from bpttlab.numerics.array import Array
from bpttlab.numerics.log_spacing import log_spacing
from bpttlab.store.measure_columns import TRUNCATION_BOUNDS
from bpttlab.truncation.scheme import Scheme


@dataclass(frozen=True)
class BiasBounds(Measure):
    """The bound from the decay over all lags and the published estimate (Aicher, Foti & Fox 2019), at some K."""

    name: ClassVar[str] = "bias_bounds"
    tables = TRUNCATION_BOUNDS.tables
    depends_on_scheme: ClassVar[bool] = True

    def applies_to(self, scheme: Scheme) -> bool:
        return scheme.bound_lags is not None

    def rows(self, cell: Cell, length: int, sampling: Sampling) -> dict[str, int]:
        return {"bias_bounds": len(cell.recurrent_parameters) * min(sampling.lags + 1, length)}

    def __call__(self, context: Context) -> Result:
        longest = context.scheme.bound_lags
        truncations = reported_truncations(context.trace, context.sampling.lags)
        columns = context.once(
            (self, longest), lambda: measure_bounds(context.trace, context.loss, longest, truncations)
        )
        return Result({"bias_bounds": columns})


def reported_truncations(trace: Trace, lags: int) -> Array:
    """The truncations that the lag terms give, and the whole length."""
    return np.unique(np.append(log_spacing(trace.length - 1, lags), trace.length))[1:]
