"""Norms and singular values of products along a stream of Jacobians, which comes forwards and is not kept.

Products that end at its last step would need the stream from there on back. A stream has those that begin at its first
step, lag after lag, and in windows those of every t:

    P_{l,0} = J_l J_{l-1} ... J_1,         t = l          P_{t,t-l}, l from 1 to the longest lag

Where the source of the Jacobians is stationary, ||P_{l,0}|| has the same distribution as ||P_{T,T-l}||.

Index legend: B sequence, N state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice

import numpy as np

from bpttlab.errors import ConfigurationError, NonFiniteError, nearest
from bpttlab.fields import check_integer
from bpttlab.gradients.trace import Trace
from bpttlab.measures.given_jacobians import JacobianStream, trace_of_jacobians
from bpttlab.measures.lags import check_lags, reported_lags
from bpttlab.numerics.array import Array
from bpttlab.numerics.columnar import concatenate
from bpttlab.numerics.scaled import Scaled, spectral_log_norm

PER_OCTAVE = 2
"""Lags that "log" stands for in each octave, where the length of a stream is not known."""

ENDLESS = 2**53
"""Steps of a stream, at most."""

LEAST_CHUNK = 256
"""Steps of a stream that are worked on together in windows, at least."""


# ------------------------------------------------------------------------------------------ lags


class LogSpaced:
    """0, 1, 2, 3, 4, 6, 8, 12, 16, ...: `PER_OCTAVE` lags in each octave, without a last one."""

    def __contains__(self, lag: int) -> bool:
        octave = 1 << max(0, lag.bit_length() - 1)
        return lag % max(1, octave // PER_OCTAVE) == 0


def choose_lags(stream: JacobianStream, lags: str | Iterable[int], count: int) -> LogSpaced | range | set[int]:
    """The lags at which products are reported; of an unknown length all that there may be.

    Raises:
        ConfigurationError: they are none of "log", "all" and integers from 0 to the length.
    """
    if lags == "triangle":
        raise ConfigurationError("lags='triangle': a stream has only the products from its first step; give an array")
    if stream.length is None and isinstance(lags, str) and lags not in ("log", "all"):
        raise ConfigurationError(f"lags={lags!r}: must be log, all, or integers from 0.{nearest(lags, ('log', 'all'))}")
    check_lags(lags, stream.length or 0)
    if stream.length is not None:
        return set(reported_lags(stream.length, lags, count))
    if not isinstance(lags, str):
        return set(check_given_lags(lags))
    return LogSpaced() if lags == "log" else range(ENDLESS + 1)


def check_given_lags(lags: Iterable[int]) -> list[int]:
    """Integers from 0, at least one, as they are."""
    chosen = [check_integer("lags", lag, 0) for lag in lags]
    if not chosen:
        raise ConfigurationError("lags: there are none; must be integers from 0")
    return chosen


def refuse_short(stream_length: int, lag: int) -> None:
    """Refuses a lag that is longer than a stream was."""
    if stream_length < lag:
        raise ConfigurationError(f"lags={lag}: must be at most {stream_length}, the steps of the stream")


# ------------------------------------------------------------------------------------------ from the first step


def forward_norms(
    stream: JacobianStream, lags: str | Iterable[int], sequences: int, count: int, bound_lags: int
) -> dict[str, Array]:
    """The columns of `jacobian_products`, of P_{l,0} at t = l; with "log" and "all" those of the last step, too."""
    chosen = choose_lags(stream, lags, count)
    last = max(chosen) if isinstance(chosen, set) else None
    product = ForwardProduct(min(sequences, stream.batch), stream.size, bound_lags)
    parts = [product.columns()] if 0 in chosen else []
    for J in stream if last != 0 else ():
        product.extend(J[:sequences])
        if product.t in chosen:
            parts.append(product.columns())
        if product.t == last:
            break
    refuse_short(product.t, last or 0)
    if product.t not in chosen:
        parts.append(product.columns())
    columns = concatenate(parts)
    order = np.lexsort((columns["lag"], columns["sequence"]))
    return {name: column[order] for name, column in columns.items()}


class ForwardProduct:
    """P_{t,0} of some sequences, one step after another.

    Attributes:
        t: steps so far.
        transposed: (B, N, N), with an exponent for each column of P.
        bound: (B,), sum of log ||J_i||_2 over the steps so far, up to `bound_lags` of them.
    """

    def __init__(self, batch: int, size: int, bound_lags: int) -> None:
        self.t, self.bound_lags, self.bound = 0, bound_lags, np.zeros(batch)
        self.transposed = Scaled.of(np.tile(np.eye(size), (batch, 1, 1)))

    def extend(self, J: Array) -> None:
        """By one step.  (B,N,N)"""
        self.t += 1
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            product = self.transposed.mantissa @ J.swapaxes(-2, -1)
        if not np.isfinite(product).all():
            raise NonFiniteError(f"the Jacobian product is not finite at step t = {self.t}", self.t)
        self.transposed = Scaled(product, self.transposed.exponent).normalise()
        if self.t <= self.bound_lags:
            self.bound = self.bound + spectral_log_norm(Scaled.of(J), normalised=True)

    def columns(self) -> dict[str, Array]:
        """Rows of the table, one for each sequence."""
        batch, size = self.transposed.shape[:2]
        missing = np.full(batch, np.nan)
        return {
            "sequence": np.arange(batch),
            "t": np.full(batch, self.t),
            "lag": np.full(batch, self.t),
            "log_spectral_norm": spectral_log_norm(self.transposed, normalised=True),
            "log_frobenius_norm": self.transposed.log_norm_of_normalised(2) - 0.5 * np.log(size),
            "log_bound": self.bound if self.t <= self.bound_lags else missing,
            "log_state_gradient": missing,
            "alignment": missing,
        }


def keep_first_steps(stream: JacobianStream, lags: list[int], sequences: int) -> list[Array]:
    """J_1, J_2, ... up to the longest lag, of some sequences.  (B,N,N) each"""
    held = [J[:sequences] for J in islice(stream, max(lags))]
    refuse_short(len(held), max(lags))
    return held


# ------------------------------------------------------------------------------------------ windows


def measure_chunks(
    stream: JacobianStream, lags: list[int], sequences: int, measure: Callable[[Trace, list[int]], dict[str, Array]]
) -> dict[str, Array]:
    """What `measure` has of windows that end at each t, some steps of the stream at a time.

    Args:
        lags: ascending.
        measure: columns of the rows of a trajectory, among them sequence, lag and t.
    """
    parts, end, held = [], 0, np.empty((0, min(sequences, stream.batch), stream.size, stream.size))
    steps, longest = iter(stream), lags[-1]
    while some := [J[:sequences] for J in islice(steps, max(LEAST_CHUNK, longest))]:
        refuse_short(end + len(some), longest)
        held = np.concatenate([held[max(0, len(held) - longest + 1) :], some])
        before = end + len(some) - len(held)
        parts.append(rows_after(measure(trace_of_jacobians(held), lags), before, end))
        end += len(some)
    columns = concatenate(parts)
    order = np.lexsort((columns["t"], columns["lag"], columns["sequence"]))
    return {name: column[order] for name, column in columns.items()}


def rows_after(columns: dict[str, Array], before: int, end: int) -> dict[str, Array]:
    """The rows of windows that end after a step, t counted from `before`."""
    t = columns["t"] + before
    return {name: (t if name == "t" else column)[t > end] for name, column in columns.items()}
