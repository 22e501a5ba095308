"""Paths back through time: rows go back from each of several h_t, one lag at a time, without added errors.

Index legend: T time, B sequence, N hidden state, A pre-activations, S starts, R rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from bpttlab.gradients.trace import Trace
from bpttlab.numerics.array import Array
from bpttlab.numerics.scaled import Scaled
from bpttlab.numerics.short_repr import show_briefly


class Lag(NamedTuple):
    """Cotangents after going back `lag` steps from each of several h_t at once.

    Attributes:
        lag: l.
        t: (S,), where each started; those that have arrived before h_0 are gone.
        dh: (R, S, B, N) scaled cotangents of h_{t-l}.
        da: the same of a_{t-l}; None at the end, at h_0.
    """

    lag: int
    t: Array
    dh: Scaled
    da: Scaled | None

    def __repr__(self) -> str:
        return show_briefly(self)


class Between:
    """Cotangents of a_k added up over lags that nobody asks for one by one; `requested` are those that somebody
    does."""

    def __init__(self, trace: Trace, requested: set[int]) -> None:
        self.trace, self.requested = trace, requested
        self.total: Scaled | None = None  # (T, B, A)

    def count_skipped(self, lag: int, last: int) -> int:
        """How many lags from this one on are not requested; the last of all is left alone."""
        return min([steps for steps in self.requested if steps >= lag], default=last) - lag if lag < last else 0

    def get_total(self) -> Scaled:
        """The total that there is, or nothing yet."""
        if self.total is None:
            (T, B), A = self.trace.x.shape[:2], self.trace.cell.preactivation_size
            self.total = Scaled.zeros((T, B, A), self.trace.h.dtype)
        return self.total

    def take(self) -> tuple[Array, Scaled]:
        """The steps that have any, as an index, and the sums there; from here on there is nothing."""
        total, self.total = self.get_total(), None
        there = np.asarray(total.mantissa.any(axis=(1, 2)))
        return there, total[there]


def propagate(trace: Trace, t: Array, rows: Scaled, between: Between | None = None) -> Iterator[Lag]:
    """Back from each h_t, one lag at a time, nothing added on the way: rows . P_{t,t-l}.

    The rows of the identity give the Jacobian products themselves, the errors of the losses the state gradients and,
    through `Cell.parameter_vjp`, the lag terms: one walk for all three.

    Args:
        trace: the forward pass.
        t: (S,) increasing steps to start from.
        rows: (R, S, B, N) cotangents of h_t.
        between: for R = 1; what `da` is added to of lags that it does not ask for, which then are not yielded.

    Yields:
        lags 0, 1, ..., max(t); at lag l those starts with t >= l, and where some of them arrive at h_0 (t = l), `da` of
        the others is in the rows with t > l.
    """
    slopes = trace.linearization
    t, dh = np.asarray(t), rows.normalise()
    lag, last = 0, int(t.max())
    while lag <= last:
        passed = 0 if between is None else between.count_skipped(lag, last)
        if between is not None and passed:
            t, dh = trace.engine.skip(trace, t, lag, passed, dh, between.get_total())
            lag += passed
            continue
        going = t > lag
        inner = dh if going.all() else dh[:, going]
        if not going.any():
            yield Lag(lag, t, dh, None)
            return
        da, dh_prev = trace.engine.vjp(trace, slopes[t[going] - lag - 1], inner)
        yield Lag(lag, t, dh, da)
        t, dh = t[going], dh_prev
        lag += 1


def wavefront(trace: Trace, error: Scaled, last: int, between: Between | None = None) -> Iterator[Lag]:
    """The cotangents of all losses at lags 0..last+1, or at some of them; steps without a loss are left out."""
    t = 1 + np.flatnonzero(error.mantissa.any(axis=(1, 2)))
    if not len(t):
        return
    for lag in propagate(trace, t, error[t - 1][None], between):
        yield lag
        if lag.lag > last:
            return
