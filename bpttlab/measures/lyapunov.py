"""Lyapunov exponents: the mean growth rates of volumes that the Jacobians of a trajectory carry along, by forward QR.

    Q_t R_t = J_t Q_{t-1}          lambda_i = mean over t of log |R_t[i,i]|          (Benettin et al. 1980)

so that sum_i lambda_i T = sum_t log |det J_t| where all N are requested. Several J_t are multiplied before one QR as
long as their product is well enough conditioned. For a network that is driven by inputs the lambda_i are *conditional*
exponents, those of the state given the input; for one that runs on its own they are its Lyapunov exponents.

The diagonal of R is not a set of finite-lag singular values: only their sums agree, and only for the whole spectrum.

Index legend: T time, B sequence, N state, K directions followed (K <= N), E ends of windows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import reduce
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.special import stdtrit

from bpttlab.errors import ConfigurationError, NonFiniteError
from bpttlab.fields import check_integer
from bpttlab.gradients.forward import forward
from bpttlab.gradients.trace import Trace
from bpttlab.networks.cells.cell import BLOCK_STEPS, Cell, Params
from bpttlab.numerics.array import Array
from bpttlab.numerics.columnar import as_frame
from bpttlab.numerics.matrices import row_sorted_qr

if TYPE_CHECKING:
    import pandas as pd

_LARGEST_CONDITION = 1e7
"""Of the product between two orthonormalisations, unless a single step has a larger one: R keeps about nine digits."""

_HELD_BYTES = 2**26
"""Jacobians that are kept between two orthonormalisations, so that they can be gone through again in smaller parts."""

LONGEST_INTERVAL = 256
"""Steps between two orthonormalisations, at most."""

_RANGE = 2.0**400
"""Columns larger than this, or smaller than its inverse, are orthonormalised before they over- or underflow."""

BATCHES = 20
"""Stretches of time that a convergence interval is made of."""

_CONFIDENCE = 0.95
"""Of the convergence interval."""


# ------------------------------------------------------------------------------------------ of a network


def lyapunov_spectrum(
    cell: Cell,
    params: Params,
    x: Array,
    h_0: Array | None = None,
    transient: int | None = None,
    interval: int | None = None,
    count: int | None = None,
) -> pd.DataFrame:
    """Lyapunov exponents of a network; driven by x, they are its conditional exponents.

    The state is all that the cell carries ([h, c] of an LSTM), N numbers. float32 is taken to float64 before the
    network runs.

    Args:
        cell: the recurrence.
        params: its weights.
        x: (T, B, I) inputs; zeros for a network that runs on its own.
        h_0: (B, N) initial state, zero by default. (Zero input keeps a tanh network without biases at zero.)
        transient: steps at the start in which directions align and nothing is averaged; a tenth of T by default.
        interval: steps between two orthonormalisations, at most; by default chosen along the way. In either case a
            stretch whose product has a condition number above `_LARGEST_CONDITION` is gone through again in halves.
        count: how many of the largest exponents; all N by default.

    Returns:
        A row per sequence and index (from 1, the largest), natural logarithms per step. Columns:
        sequence, index;
        lyapunov_exponent: -inf is a direction that became exactly zero (a unit of relu that is off);
        low, high: a convergence interval of 95 %, from the means over 20 stretches of time (t interval). It says how
            far the average over time has settled, where a stretch is longer than the network remembers; -inf to inf
            with fewer than two stretches. low is -inf where some diag R lay below the resolution of float64: of such an
            exponent no more is known than that it is as small (a matrix W without full rank, a saturated LSTM);
        steps: how many were averaged, T - transient;
        interval: mean number of steps from one orthonormalisation, or elimination, to the next.

    Raises:
        ConfigurationError: an argument is not as above, or the numbers are complex.
        DivergedError: the forward state overflowed.
        NonFiniteError: an input or weight, or a product of Jacobians, is not finite.
    """
    wide = {name: in_float64(f"params[{name!r}]", value) for name, value in params.items()}
    h_0 = None if h_0 is None else in_float64("h_0", h_0)
    return from_trace(forward(cell, wide, in_float64("x", x), h_0), transient, interval, count)


def from_trace(
    trace: Trace, transient: int | None = None, interval: int | None = None, count: int | None = None
) -> pd.DataFrame:
    """`lyapunov_spectrum` along a trajectory that is there already.

    Of a float32 trace, the Jacobians at its states, computed in float64.
    """
    transient = check_integer("transient", trace.length // 10 if transient is None else transient, 0, trace.length - 1)
    return as_frame(spectrum_columns(measure_growth(trace, equal_windows(transient, trace.length), interval, count)))


def finite_time_exponents(
    trace: Trace, window: int, transient: int | None = None, interval: int | None = None, count: int | None = None
) -> pd.DataFrame:
    """The same growth rates averaged over windows of time, one after the other; what is left at the end is not used.

    A direction keeps its index through all windows, that of its mean over them; within one window the larger index may
    have grown more. After training on finite sequences these, and no limits, are what describes a network.

    Args:
        trace: a forward pass.
        window: steps, at most T - transient.
        transient, interval, count: as in `lyapunov_spectrum`.

    Returns:
        Columns sequence, t (the last step of the window), index, finite_time_exponent, steps. -inf from the window on
        in which a direction became exactly zero.
    """
    transient = check_integer("transient", trace.length // 10 if transient is None else transient, 0, trace.length - 1)
    window = check_integer("window", window, 1, trace.length - transient)
    growth = measure_growth(trace, np.arange(transient, trace.length + 1, window), interval, count)
    return as_frame(finite_time_columns(growth))


def equal_windows(first: int, last: int, windows: int = BATCHES) -> Array:
    """Ends of so many windows on end that differ by a step at most; fewer where there are fewer steps."""
    return np.linspace(first, last, min(windows, last - first) + 1).round().astype(int)


def measure_growth(trace: Trace, ends: Array, interval: int | None, count: int | None) -> SpectrumGrowth:
    size = trace.h.shape[-1]
    if count is not None:
        count = check_integer("count", count, 1, size)
    if interval is not None:
        interval = check_integer("interval", interval, 1)
    eliminated = eliminate_windows(trace, ends, size if count is None else count) if interval is None else None
    return eliminated or accumulate(jacobians(trace), ends, count, interval)


def jacobians(trace: Trace) -> Iterator[Array]:
    """J_1, J_2, ... in float64, each (B, N, N), with the slopes of one block of steps in memory at a time."""
    params = wide_params(trace)
    for linearization in linearizations(trace, params, 0, trace.length):
        for linearization_t in linearization:
            yield trace.cell.jacobian(params, linearization_t)


def wide_params(trace: Trace) -> Params:
    return {name: in_float64(f"params[{name!r}]", value) for name, value in trace.params.items()}


def linearizations(trace: Trace, params: Params, first: int, last: int) -> Iterator[Array]:
    """Of the steps first + 1 to last in float64, block by block of time.  (any,B,any)"""
    for start in range(first, last, BLOCK_STEPS):
        end = min(start + BLOCK_STEPS, last)
        x, h = in_float64("x", trace.x[start:end]), in_float64("h", trace.h[start : end + 1])
        known = trace.h.dtype == np.float64 and trace.engine.linearizes
        yield trace.linearization[start:end] if known else trace.cell.linearize(params, x, h)


def eliminate_windows(trace: Trace, ends: Array, count: int) -> SpectrumGrowth | None:
    """The growth by eliminations, with a QR at every end; None where the engine has none, or is not sure of one."""
    batch, size = trace.h.shape[1:]
    params, frame, parts, first, number = wide_params(trace), Frame.start(batch, size, count), [], 0, 0
    for t in [int(end) for end in ends if end > 0]:
        Y, logs = np.ascontiguousarray(frame.Q.swapaxes(1, 2)), np.zeros((batch, count))
        for linearization in linearizations(trace, params, first, t):
            steps, eliminations = follow_block(trace, params, linearization, Y, logs)
            if steps < len(linearization):
                return None
            number += eliminations if t > ends[0] else 0
        stretch = orthonormalise(Y.swapaxes(1, 2), frame, np.full(batch, size), t)
        if not stretch.resolved.all() or stretch.frame.dead.any():
            return None
        parts.append(SpectrumPart(t, logs + stretch.log_size, stretch.resolved))
        frame, first = stretch.frame, t
    return sum_windows(parts, ends)._replace(interval=float((ends[-1] - ends[0]) / number))


def follow_block(trace: Trace, params: Params, linearization: Array, Y: Array, logs: Array) -> tuple[int, int]:
    """`Engine.follow_volumes` of every sequence: the fewest steps, the most eliminations.  (L,B,any), (B,K,N), (B,K)"""
    done = [
        trace.engine.follow_volumes(trace.cell, params, np.ascontiguousarray(linearization[:, b]), Y[b], logs[b])
        for b in range(len(Y))
    ]
    return min(steps for steps, _ in done), max(eliminations for _, eliminations in done)


def finite_time_columns(growth: SpectrumGrowth) -> dict[str, Array]:
    """Rows of `finite_time_exponents`."""
    rates = growth.rates
    order = np.argsort(-growth.exponents, axis=-1, kind="stable")
    windows, batch, size = rates.shape
    b, e, i = (index.ravel() for index in np.indices((batch, windows, size)))
    return {
        "sequence": b,
        "t": growth.ends[1:][e],
        "index": i + 1,
        "finite_time_exponent": rates[e, b, order[b, i]],
        "steps": np.diff(growth.ends)[e],
    }


def spectrum_columns(growth: SpectrumGrowth) -> dict[str, Array]:
    """Rows of `lyapunov_spectrum`."""
    exponents = growth.exponents
    low, high = convergence_interval(growth)
    order = np.argsort(-exponents, axis=-1, kind="stable")
    batch, size = exponents.shape
    columns = {"lyapunov_exponent": exponents, "low": low, "high": high}
    return {
        "sequence": np.repeat(np.arange(batch), size),
        "index": np.tile(np.arange(1, size + 1), batch),
        **{name: np.take_along_axis(column, order, axis=-1).ravel() for name, column in columns.items()},
        "steps": np.full(batch * size, growth.ends[-1] - growth.ends[0]),
        "interval": np.full(batch * size, growth.interval),
    }


def convergence_interval(growth: SpectrumGrowth) -> tuple[Array, Array]:
    """Where the mean over time lies, from the scatter of the means over windows: a t interval.  -> (B,K), (B,K)"""
    exponents, windows = growth.exponents, len(growth.logs)
    if windows < 2:
        return np.full_like(exponents, -np.inf), np.full_like(exponents, np.inf)
    alive = np.isfinite(exponents)
    rates = np.where(alive, growth.rates, 0.0)
    error = rates.std(axis=0, ddof=1) / np.sqrt(windows)
    half = stdtrit(windows - 1, 0.5 + _CONFIDENCE / 2) * error
    return np.where(growth.unresolved, -np.inf, exponents - half), exponents + half


# ------------------------------------------------------------------------------------------ of any stream of Jacobians


class SpectrumGrowth(NamedTuple):
    """The result of the QR of a stream of Jacobians.

    Attributes:
        ends: (E+1,), the step before the first window, then the last of each.
        logs: (E, B, K), sum of log |diag R| over each window, by direction, in no order; -inf is exactly zero.
        unresolved: (B, K), whether some diag R of the direction lay within rounding of zero, without being it.
        interval: mean number of steps from one orthonormalisation to the next.
    """

    ends: Array
    logs: Array
    unresolved: Array
    interval: float

    @property
    def rates(self) -> Array:
        """Mean growth in each window, per step.  (E, B, K)"""
        return self.logs / np.diff(self.ends)[:, None, None]

    @property
    def exponents(self) -> Array:
        """Mean growth over all windows, per step.  (B, K)"""
        return self.logs.sum(axis=0) / (self.ends[-1] - self.ends[0])


class Frame(NamedTuple):
    """The directions being followed, those that became exactly zero last.

    Attributes:
        Q: (B, N, K), orthonormal columns; zero where dead.
        dead: (B, K), by column.
        direction: (B, K), which direction each column is.
    """

    Q: Array
    dead: Array
    direction: Array

    @classmethod
    def start(cls, batch: int, size: int, count: int) -> Frame:
        """One fixed rotation, drawn once: no direction of it is special to any network."""
        Q = np.linalg.qr(np.random.default_rng(0).standard_normal((size, size)))[0][:, :count]
        direction = np.tile(np.arange(count), (batch, 1))
        return cls(np.tile(Q, (batch, 1, 1)), np.zeros((batch, count), bool), direction)


class Stretch(NamedTuple):
    """One orthonormalisation at t: log |diag R|, whether it is above rounding, both by column; the condition of R."""

    t: int
    frame: Frame
    log_size: Array
    resolved: Array
    condition: float


class SpectrumPart(NamedTuple):
    """The results of one orthonormalisation that are kept: as in `Stretch`, by direction."""

    t: int
    log_size: Array
    resolved: Array


def accumulate(
    jacobians: Iterable[Array], ends: Iterable[int], count: int | None = None, interval: int | None = None
) -> SpectrumGrowth:
    """The growth of volumes along J_1, J_2, ..., from any source.

    Args:
        jacobians: each (B, N, N), float64; as many as the last end says, or more. They are kept for a
            while, and must not be written to.
        ends: (E+1,), rising; windows are the steps (ends[0], ends[1]], (ends[1], ends[2]], ... The steps up to ends[0]
            only turn the directions.
        count: K, the directions to follow; N by default.
        interval: as in `lyapunov_spectrum`.

    Raises:
        NonFiniteError: a product is not finite; the error names the step.
        ConfigurationError: the stream is shorter than the last end.
    """
    ends = np.asarray(list(ends))
    last, stops = int(ends[-1]), set(ends.tolist())
    parts: list[SpectrumPart] = []
    held: list[Array] = []
    length, t = interval or 1, 0
    for t, J in enumerate(jacobians, 1):
        batch, size = J.shape[:2]
        if t == 1:
            frame = Frame.start(batch, size, size if count is None else count)
            Y, longest = frame.Q, max(1, min(LONGEST_INTERVAL, _HELD_BYTES // J.nbytes))
        held.append(J)
        Y = advance(J, Y)
        singular = (largest_rank(J) < size).any()
        if len(held) >= min(length, longest) or t in stops or singular or not in_range(Y, frame.dead):
            stretches = orthonormalise_in_parts(held, Y, frame, t)
            parts += [by_direction(stretch) for stretch in stretches]
            length = next_length(length, len(held), stretches) if interval is None else length
            frame, held = stretches[-1].frame, []
            Y = frame.Q
        if t == last:
            break
    if t < last:
        raise ConfigurationError(f"jacobians: {t} of them; must be as many as the last end, {last}")
    return sum_windows(parts, ends)


def advance(J: Array, Y: Array) -> Array:
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        return J @ Y


def sum_windows(parts: list[SpectrumPart], ends: Array) -> SpectrumGrowth:
    """Orthonormalisations summed over each window."""
    window = np.searchsorted(ends, [part.t for part in parts])  # 0: before the first; every end is the t of a part
    shape = parts[0].log_size.shape
    logs, unresolved = np.zeros((len(ends) - 1, *shape)), np.zeros(shape, bool)
    for w, part in zip(window, parts, strict=True):
        if w > 0:
            logs[w - 1] += part.log_size
            unresolved |= ~part.resolved
    return SpectrumGrowth(ends, logs, unresolved, float((ends[-1] - ends[0]) / np.count_nonzero(window)))


def orthonormalise_in_parts(held: list[Array], Y: Array, frame: Frame, t: int) -> list[Stretch]:
    """One orthonormalisation of the product, or, where its condition is too large, those of its halves.

    Args:
        held: the Jacobians since the last one; none but the last is singular by its zeros.
        Y: their product with the Q of `frame`.
        t: the step of the last.
    """
    whole = orthonormalise(Y, frame, largest_rank(held[-1]), t)
    if len(held) == 1 or whole.condition <= _LARGEST_CONDITION:
        return [whole]
    middle = len(held) // 2
    first = orthonormalise_in_parts(held[:middle], _product(held[:middle], frame), frame, t - len(held) + middle)
    frame = first[-1].frame
    return first + orthonormalise_in_parts(held[middle:], _product(held[middle:], frame), frame, t)


def _product(held: list[Array], frame: Frame) -> Array:
    """J_t ... J_{t-l+1} Q"""
    return reduce(lambda Y, J: advance(J, Y), held, frame.Q)


def orthonormalise(Y: Array, frame: Frame, rank: Array, t: int) -> Stretch:
    """Y = Q R, with the columns that are exactly zero, or in the span of those before them, behind all others.

    Where such a column stood between others, LAPACK would have given it an arbitrary direction and taken that out of
    those behind it. To move it last is exact: what it adds to a later column lies in the span of the ones before both.

    Args:
        Y: (B, N, K), Jacobians times the last Q.
        rank: (B,), which the rank of Y does not exceed.
    """
    dead, direction = frame.dead, frame.direction
    column = np.arange(Y.shape[-1])
    while True:
        Q, R = row_sorted_qr(Y)
        if not np.isfinite(R).all():
            raise NonFiniteError(f"the product of Jacobians is not finite at step t = {t}", t)
        size = np.abs(np.diagonal(R, axis1=-2, axis2=-1))
        zero = dead | (size == 0)
        order = np.argsort(zero, axis=-1, kind="stable")
        if (order == column).all():
            break
        Y = np.take_along_axis(np.where(zero[:, None], 0.0, Y), order[:, None], axis=-1)
        dead, direction = np.take_along_axis(zero, order, axis=-1), np.take_along_axis(direction, order, axis=-1)
    dead = zero | (column >= rank[:, None])
    log_size = np.where(dead, -np.inf, np.log(np.where(dead, 1.0, size)))
    largest = np.abs(R).max(axis=-2)
    resolved = dead | (size > Y.shape[-2] * np.finfo(Y.dtype).eps * largest)
    alive = Frame(np.where(dead[:, None], 0.0, Q), dead, direction)
    return Stretch(t, alive, log_size, resolved, condition_number(largest, size, dead))


def condition_number(largest: Array, size: Array, dead: Array) -> float:
    """The largest entry of R over the smallest on its diagonal: the condition number up to a factor, from below."""
    smallest = np.where(dead, np.inf, size).min(axis=-1)
    with np.errstate(over="ignore"):
        ratio = np.where(dead, 0.0, largest).max(axis=-1) / smallest
    return float(ratio.max(initial=1.0))


def next_length(length: int, held: int, stretches: list[Stretch]) -> int:
    """Half the interval where the condition was too large; double it where its square, to be expected, is not."""
    condition = stretches[0].condition
    if len(stretches) > 1 or condition > _LARGEST_CONDITION:
        return max(1, held // 2)
    if held == length and condition**2 <= _LARGEST_CONDITION:
        return min(2 * length, LONGEST_INTERVAL)
    return length


def largest_rank(J: Array) -> Array:
    """The number of rows, or of columns, that are not zero.  (B,N,N) -> (B,)"""
    return np.minimum(J.any(axis=-1).sum(axis=-1), J.any(axis=-2).sum(axis=-1))


def in_range(Y: Array, dead: Array) -> bool:
    """Whether every column that is not dead may be multiplied once more."""
    largest = np.where(dead, 1.0, np.abs(Y).max(axis=-2))
    return bool(((largest > 1.0 / _RANGE) & (largest < _RANGE)).all())


def by_direction(stretch: Stretch) -> SpectrumPart:
    """From columns to directions."""
    columns = np.argsort(stretch.frame.direction, axis=-1)
    log_size, resolved = (np.take_along_axis(v, columns, axis=-1) for v in (stretch.log_size, stretch.resolved))
    return SpectrumPart(stretch.t, log_size, resolved)


# ------------------------------------------------------------------------------------------ numbers made of a spectrum


def kaplan_yorke_dimension(exponents: Any) -> float:
    """The number of directions whose volumes do not shrink, with its fraction: D = j + (lambda_1 + ... + lambda_j) /
    |lambda_{j+1}|, j the last index with a sum that is not negative.

    0 where the largest exponent is negative. Where no partial sum is negative it is the number of exponents given: N
    for the whole spectrum, a lower bound for a part of it. For autonomous networks: it is conjectured to be the
    information dimension of their attractor (Kaplan & Yorke 1979). A driven network's conditional exponents leave out
    the directions of its input.

    Args:
        exponents: in any order, -inf allowed.
    """
    ordered = np.sort(check_exponents(exponents))[::-1]
    sums = np.cumsum(ordered)
    shrinking = np.flatnonzero(sums < 0)
    if not len(shrinking):
        return float(len(ordered))
    j = int(shrinking[0])
    return float(j + (sums[j - 1] / -ordered[j] if j else 0.0))


def entropy_bound(exponents: Any) -> float:
    """Sum of the positive exponents, nats per step: an upper bound of the entropy rate (Ruelle 1978), met if the
    invariant measure is smooth along the unstable directions (Pesin).

    For autonomous networks: a driven one's entropy includes that of its input.

    Args:
        exponents: all that are positive, in any order, -inf allowed.
    """
    values = check_exponents(exponents)
    return float(values[values > 0].sum())


def check_exponents(exponents: Any) -> Array:
    values = np.asarray(exponents, dtype=np.float64)
    if values.ndim != 1 or not values.size:
        raise ConfigurationError(f"exponents: shape {values.shape}; must be those of one sequence, (N,) with N >= 1")
    if np.isnan(values).any() or np.isposinf(values).any():
        raise NonFiniteError("exponents: one is NaN or +inf; all must be finite or -inf")
    return values


# ------------------------------------------------------------------------------------------ what is given


def in_float64(name: str, values: Array) -> Array:
    if np.iscomplexobj(values):
        raise ConfigurationError(f"{name}: complex; a spectrum of Jacobians is that of a real state")
    return np.asarray(values, np.float64)
