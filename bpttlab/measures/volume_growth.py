"""The growth of volumes along a stream of Jacobians, from any source, by forward QR.

    Q_t R_t = J_t Q_{t-1}          log |R_t[i,i]| summed over windows of time          (Benettin et al. 1980)

Several J_t are multiplied before one QR as long as their product is well enough conditioned. Where windows end is known
before the stream is read (`accumulate`), or only how long they are (`accumulate_windows`), or nothing but the stream
(`accumulate_all`).

Index legend: T time, B sequence, N state, K directions followed (K <= N), E ends of windows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import reduce
from itertools import groupby, islice
from typing import NamedTuple

import numpy as np

from bpttlab.errors import ConfigurationError, NonFiniteError
from bpttlab.fields import check_integer
from bpttlab.measures.tilt import carry_tilt, draw_rounding
from bpttlab.numerics.array import Array
from bpttlab.numerics.matrices import row_sorted_qr

LARGEST_CONDITION = 1e7
"""Of the product between two orthonormalisations, unless a single step has a larger one: R keeps about nine digits."""

_KNOWN = 1e-3
"""Of log |R[i,i]|: where rounding may change it by more, it is not resolved."""

_HELD_BYTES = 2**26
"""Jacobians that are kept between two orthonormalisations, so that they can be gone through again in smaller parts."""

LONGEST_INTERVAL = 256
"""Steps between two orthonormalisations, at most."""

_RANGE = 2.0**400
"""Columns larger than this, or smaller than its inverse, are orthonormalised before they over- or underflow."""

BATCHES = 20
"""Stretches of time that a convergence interval is made of."""

GRID = 2**9
"""Of a stream of unknown length: steps that are kept apart in each octave of time, at least."""


def equal_windows(first: int, last: int, windows: int = BATCHES) -> Array:
    """Ends of so many windows on end that differ by a step at most; fewer where there are fewer steps."""
    return np.linspace(first, last, min(windows, last - first) + 1).round().astype(int)


class SpectrumGrowth(NamedTuple):
    """The result of the QR of a stream of Jacobians.

    Attributes:
        ends: (E+1,), the step before the first window, then the last of each.
        logs: (E, B, K), sum of log |diag R| over each window, by direction, in no order; -inf is exactly zero.
        unresolved: (B, K), whether rounding may have changed some log |diag R| of the direction (`find_resolved`).
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
        R: (B, K, K), of the orthonormalisation that gave Q; None at the start.
        tilt: (B, N, K), to first order what rounding so far may have added to Q, orthogonal to each column and to those
            before it; None: nothing that matters.
    """

    Q: Array
    dead: Array
    direction: Array
    R: Array | None = None
    tilt: Array | None = None

    @classmethod
    def start(cls, batch: int, size: int, count: int) -> Frame:
        """One fixed rotation, drawn once: no direction of it is special to any network."""
        Q = np.linalg.qr(np.random.default_rng(0).standard_normal((size, size)))[0][:, :count]
        direction = np.tile(np.arange(count), (batch, 1))
        return cls(np.tile(Q, (batch, 1, 1)), np.zeros((batch, count), bool), direction)


class Stretch(NamedTuple):
    """One orthonormalisation at t: log |diag R|, whether it is known, both by column; the condition of R."""

    t: int
    frame: Frame
    log_size: Array
    resolved: Array
    condition: float


class SpectrumPart(NamedTuple):
    """The results of orthonormalisations, as many as `number`, the last at t: as in `Stretch`, by direction."""

    t: int
    log_size: Array
    resolved: Array
    number: int = 1


# ------------------------------------------------------------------------------------------ windows of time


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
    parts = list(merge_parts(follow(islice(jacobians, last), stops.__contains__, count, interval), find_end(ends)))
    t = parts[-1].t if parts else 0
    if t < last:
        raise ConfigurationError(f"jacobians: {t} of them; must be as many as the last end, {last}")
    return sum_windows(parts, ends)


def accumulate_windows(
    jacobians: Iterable[Array], transient: int, window: int, count: int | None = None, interval: int | None = None
) -> SpectrumGrowth:
    """The same in windows of so many steps, until the stream ends; what is left of it there is not used.

    Raises:
        ConfigurationError: no window ends within the stream.
    """

    def next_end(t: int) -> int:
        return transient if t <= transient else t + (transient - t) % window

    parts = list(merge_parts(follow(jacobians, lambda t: next_end(t) == t, count, interval), next_end))
    length = parts[-1].t
    check_integer("transient", transient, 0, length - 1)
    check_integer("window", window, 1, length - transient)
    return sum_windows(parts, np.arange(transient, length + 1, window))


def accumulate_all(
    jacobians: Iterable[Array], transient: int | None = None, count: int | None = None, interval: int | None = None
) -> SpectrumGrowth:
    """The same in windows of about one size over all that comes after the transient, until the stream ends.

    How long the stream is, is not known before. So sums are kept on a grid of time that becomes coarser as the stream
    goes on, and windows end on that grid: they differ by up to a twentieth of their length.

    Args:
        transient: as in `lyapunov_spectrum`; None: the last time of the grid up to a tenth of the steps.
    """

    def next_end(t: int) -> int:
        start = transient or 0
        return start if t <= start else start + next_of_grid(t - start)

    parts = list(merge_parts(follow(jacobians, lambda t: next_end(t) == t, count, interval), next_end))
    times = np.array([0, *(part.t for part in parts)])
    length = int(times[-1])
    first = (
        times[times <= length // 10][-1] if transient is None else check_integer("transient", transient, 0, length - 1)
    )
    wanted = equal_windows(int(first), length)
    return sum_windows(parts, np.unique(times[np.searchsorted(times, wanted)]))


def next_of_grid(t: int) -> int:
    """The first time of the grid from t on: each step up to 2 GRID, then every other up to 4 GRID, and so on."""
    stride = 1 << max(0, (t // GRID).bit_length() - 1)
    return -(-t // stride) * stride


def find_end(ends: Array) -> Callable[[int], int]:
    """The end of the window that a step belongs to, for `merge_parts`."""
    return lambda t: int(ends[np.searchsorted(ends, t)])


def merge_parts(parts: Iterable[SpectrumPart], next_end: Callable[[int], int]) -> Iterator[SpectrumPart]:
    """One part of all that have the same next end."""
    for _, some in groupby(parts, lambda part: next_end(part.t)):
        yield reduce(add_growth, some)


def add_growth(total: SpectrumPart, part: SpectrumPart) -> SpectrumPart:
    """Both as one, which ends where the second does."""
    log_size, resolved = total.log_size + part.log_size, total.resolved & part.resolved
    return SpectrumPart(part.t, log_size, resolved, total.number + part.number)


def sum_windows(parts: list[SpectrumPart], ends: Array) -> SpectrumGrowth:
    """Orthonormalisations summed over each window; every end is the t of a part."""
    window = np.searchsorted(ends, [part.t for part in parts])  # 0: before the first; len(ends): behind the last
    shape = parts[0].log_size.shape
    logs, unresolved, number = np.zeros((len(ends) - 1, *shape)), np.zeros(shape, bool), 0
    for w, part in zip(window, parts, strict=True):
        if 0 < w < len(ends):
            logs[w - 1] += part.log_size
            unresolved |= ~part.resolved
            number += part.number
    return SpectrumGrowth(ends, logs, unresolved, float((ends[-1] - ends[0]) / number))


# ------------------------------------------------------------------------------------------ orthonormalisations


def follow(
    jacobians: Iterable[Array], stops: Callable[[int], bool], count: int | None, interval: int | None
) -> Iterator[SpectrumPart]:
    """One orthonormalisation after another, among them one at each step that stops, and one at the end."""
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
        if len(held) >= min(length, longest) or stops(t) or singular or not in_range(Y, frame.dead):
            stretches = orthonormalise_in_parts(held, Y, frame, t)
            yield from map(by_direction, stretches)
            length = next_length(length, len(held), stretches) if interval is None else length
            frame, held = stretches[-1].frame, []
            Y = frame.Q
    if held:
        yield from map(by_direction, orthonormalise_in_parts(held, Y, frame, t))


def advance(J: Array, Y: Array) -> Array:
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        return J @ Y


def orthonormalise_in_parts(held: list[Array], Y: Array, frame: Frame, t: int) -> list[Stretch]:
    """One orthonormalisation of the product, or, where its condition is too large, those of its halves.

    Args:
        held: the Jacobians since the last one; none but the last is singular by its zeros.
        Y: their product with the Q of `frame`.
        t: the step of the last.
    """
    whole = orthonormalise(Y, frame, largest_rank(held[-1]), t)
    if len(held) == 1 or whole.condition <= LARGEST_CONDITION:
        return [find_resolved(whole, held, frame)]
    middle = len(held) // 2
    first = orthonormalise_in_parts(held[:middle], _product(held[:middle], frame.Q), frame, t - len(held) + middle)
    frame = first[-1].frame
    return first + orthonormalise_in_parts(held[middle:], _product(held[middle:], frame.Q), frame, t)


def _product(held: list[Array], Y: Array) -> Array:
    """J_t ... J_{t-l+1} Y"""
    return reduce(lambda Y, J: advance(J, Y), held, Y)


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
    alive = Frame(np.where(dead[:, None], 0.0, Q), dead, direction, R)
    condition = condition_number(np.abs(R).max(axis=-2), size, dead)
    return Stretch(t, alive, log_size, np.ones_like(dead), condition)


def find_resolved(stretch: Stretch, held: list[Array], frame: Frame) -> Stretch:
    """The same with what rounding may have changed, where that can matter: which R[i,i] are known, and the tilt.

    Args:
        stretch: of the product of `held`.
        frame: the one before.
    """
    steep = stretch.condition > LARGEST_CONDITION
    if frame.tilt is None and not steep:
        return stretch
    rng, found = np.random.default_rng(stretch.t), stretch.frame
    assert found.R is not None
    order = np.take_along_axis(np.argsort(frame.direction, axis=-1), found.direction, axis=-1)
    tilt = np.take_along_axis(first_tilt(frame, rng) if frame.tilt is None else frame.tilt, order[:, None], axis=-1)
    rows = np.abs(held[0]).max(axis=-1) if len(held) == 1 else largest_rows(found)
    changed = _product(held, tilt) + draw_rounding(rows, tilt.shape[-1], rng)
    tilt, changes = carry_tilt(changed, found.Q, found.R, found.dead)
    matters = steep or np.abs(tilt).max() > LARGEST_CONDITION * np.finfo(float).eps
    resolved = found.dead | (changes < _KNOWN)
    return stretch._replace(frame=found._replace(tilt=tilt if matters else None), resolved=resolved)


def first_tilt(frame: Frame, rng: np.random.Generator) -> Array:
    """What the last orthonormalisation has left, of steps that were not steep."""
    if frame.R is None:
        return draw_rounding(np.ones(frame.Q.shape[:2]), frame.Q.shape[-1], rng)
    rounded = draw_rounding(largest_rows(frame), frame.Q.shape[-1], rng)
    return carry_tilt(rounded, frame.Q, frame.R, frame.dead)[0]


def largest_rows(frame: Frame) -> Array:
    """The largest entry of R for every row: what rounding within a product of several steps is relative to.  (B,N)"""
    assert frame.R is not None
    return np.broadcast_to(np.abs(frame.R).max(axis=(-2, -1))[:, None], frame.Q.shape[:2])


def condition_number(largest: Array, size: Array, dead: Array) -> float:
    """The largest entry of R over the smallest on its diagonal: the condition number up to a factor, from below."""
    smallest = np.where(dead, np.inf, size).min(axis=-1)
    with np.errstate(over="ignore"):
        ratio = np.where(dead, 0.0, largest).max(axis=-1) / smallest
    return float(ratio.max(initial=1.0))


def next_length(length: int, held: int, stretches: list[Stretch]) -> int:
    """Half the interval where the condition was too large; double it where its square, to be expected, is not."""
    condition = stretches[0].condition
    if len(stretches) > 1 or condition > LARGEST_CONDITION:
        return max(1, held // 2)
    if held == length and condition**2 <= LARGEST_CONDITION:
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
