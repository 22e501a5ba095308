"""Lyapunov exponents: the mean growth rates of volumes that the Jacobians of a trajectory carry along, by forward QR.

    Q_t R_t = J_t Q_{t-1}          lambda_i = mean over t of log |R_t[i,i]|          (Benettin et al. 1980)

so that sum_i lambda_i T = sum_t log |det J_t| where all N are requested. Several J_t are multiplied before one QR as
long as their product is well enough conditioned. For a network that is driven by inputs the lambda_i are *conditional*
exponents, those of the state given the input; for one that runs on its own they are its Lyapunov exponents.

The diagonal of R is not a set of finite-lag singular values: only their sums agree, and only for the whole spectrum.

Index legend: T time, B sequence, N state, K directions followed (K <= N), E ends of windows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import stdtrit

from bpttlab.errors import ConfigurationError, NonFiniteError
from bpttlab.fields import check_integer
from bpttlab.gradients.forward import forward
from bpttlab.gradients.trace import Trace
from bpttlab.measures.given_jacobians import Jacobians, JacobianStream, check_source, read_jacobians
from bpttlab.measures.lengths import of_each_length
from bpttlab.measures.volume_growth import (
    LARGEST_CONDITION,
    Frame,
    SpectrumGrowth,
    SpectrumPart,
    accumulate,
    accumulate_all,
    accumulate_windows,
    equal_windows,
    orthonormalise,
    sum_windows,
)
from bpttlab.networks.cells.cell import BLOCK_STEPS, Cell, Params
from bpttlab.numerics.array import Array, detach
from bpttlab.numerics.columnar import as_frame

if TYPE_CHECKING:
    import pandas as pd

_CONFIDENCE = 0.95
"""Of the convergence interval."""


# ------------------------------------------------------------------------------------------ of a network


def lyapunov_spectrum(
    cell: Cell | None = None,
    params: Params | None = None,
    x: Array | None = None,
    h_0: Array | None = None,
    transient: int | None = None,
    interval: int | None = None,
    count: int | None = None,
    *,
    jacobians: Jacobians | None = None,
    length: int | None = None,
    lengths: Any = None,
    mask: Any = None,
) -> pd.DataFrame:
    """Lyapunov exponents of a network, or of the Jacobians of anything; driven by x, they are conditional exponents.

    The state is all that the cell carries ([h, c] of an LSTM), N numbers. float32 is taken to float64 before the
    network runs. The directions start as one fixed rotation Q_0, the same for every network of this size. `transient`
    must be long enough for them to align: exponents of some tens of steps depend on Q_0, and low and high do not cover
    that.

    Args:
        cell: the recurrence.
        params: its weights.
        x: (T, B, I) inputs; zeros for a network that runs on its own.
        h_0: (B, N) initial state, zero by default. (Zero input keeps a tanh network without biases at zero.)
        transient: steps at the start in which directions align and nothing is averaged; a tenth of T by default.
        interval: steps between two orthonormalisations, at most; by default chosen along the way. In either case a
            stretch whose product has a condition number above 1e7 is gone through again in halves.
        count: how many of the largest exponents; all N by default.
        jacobians: in place of cell, params, x and h_0: (T, N, N), (T, B, N, N), or an iterator over (N, N) or
            (B, N, N), J_1 first (`given_jacobians`). An iterator is read once and not kept. Where its length is not
            given, the transient is up to T/500 shorter than a tenth of T, and the stretches of time differ in length by
            up to 5 %.
        length: the steps of `jacobians` to read; an iterator may have more, even without end. None: all.
        lengths, mask: the steps of each sequence of x, as in `forward`; each is averaged to its own end.

    Returns:
        A row per sequence and index (from 1, the largest), natural logarithms per step. Columns:
        sequence, index;
        lyapunov_exponent: -inf is a direction that became exactly zero (a unit of relu that is off);
        low, high: a convergence interval of 95 %, from the means over 20 stretches of time (t interval). It says how
            far the average over time has settled, where a stretch is longer than the network remembers; -inf to inf
            with fewer than two stretches. low is -inf where rounding may have changed some log |R[i,i]| by more than
            1e-3 (`measures.tilt`): such an exponent is noise (a Jacobian without full rank, gates that close);
        steps: how many were averaged, T - transient;
        interval: mean number of steps from one orthonormalisation, or elimination, to the next.

    Raises:
        ConfigurationError: an argument is not as above, or the numbers are complex.
        DivergedError: the forward state overflowed.
        NonFiniteError: an input or weight, or a product of Jacobians, is not finite.
    """
    others = {"h_0": h_0, "lengths": lengths, "mask": mask}
    check_source(jacobians, length, required={"cell": cell, "params": params, "x": x}, others=others)
    if jacobians is not None:
        return as_frame(spectrum_columns(grow_given(read_jacobians(jacobians, length), transient, interval, count)))
    assert cell is not None and params is not None and x is not None
    wide = {name: in_float64(f"params[{name!r}]", value) for name, value in params.items()}
    h_0 = None if h_0 is None else in_float64("h_0", h_0)
    trace = forward(cell, wide, in_float64("x", x), h_0, lengths=lengths, mask=mask)
    return from_trace(trace, transient, interval, count)


@of_each_length
def from_trace(
    trace: Trace, transient: int | None = None, interval: int | None = None, count: int | None = None
) -> pd.DataFrame:
    """`lyapunov_spectrum` along a trajectory that is there already.

    Of a float32 trace, the Jacobians at its states, computed in float64.
    """
    return as_frame(spectrum_columns(grow_given(trace, transient, interval, count)))


def grow_given(
    given: Trace | JacobianStream, transient: int | None, interval: int | None, count: int | None
) -> SpectrumGrowth:
    """The growth over about equal windows from the transient to the end."""
    if given.length is None:
        interval, count = check_directions(given.size, interval, count)
        transient = None if transient is None else check_integer("transient", transient, 0)
        return accumulate_all(given, transient, count, interval)
    transient = check_transient(given.length, transient)
    return measure_growth(given, equal_windows(transient, given.length), interval, count)


def check_transient(length: int, transient: int | None) -> int:
    """A tenth of the steps by default."""
    return check_integer("transient", length // 10 if transient is None else transient, 0, length - 1)


@of_each_length
def finite_time_exponents(
    trace: Trace | None = None,
    window: int | None = None,
    transient: int | None = None,
    interval: int | None = None,
    count: int | None = None,
    *,
    jacobians: Jacobians | None = None,
    length: int | None = None,
) -> pd.DataFrame:
    """The same growth rates averaged over windows of time, one after the other; what is left at the end is not used.

    A direction keeps its index through all windows, that of its mean over them; within one window the larger index may
    have grown more. After training on finite sequences these, and no limits, are what describes a network.

    Args:
        trace: a forward pass.
        window: steps, at most T - transient; it has no default.
        transient, interval, count: as in `lyapunov_spectrum`.
        jacobians, length: in place of a trace, as in `lyapunov_spectrum`. An iterator needs a transient or a length.

    Returns:
        Columns sequence, t (the last step of the window), index, finite_time_exponent, steps. -inf from the window on
        in which a direction became exactly zero. Where `lyapunov_spectrum` has no lower end, rounding decides here too.
    """
    check_source(jacobians, length, required={"trace": trace})
    given = trace if jacobians is None else read_jacobians(jacobians, length)
    assert given is not None
    return as_frame(finite_time_columns(grow_windows(given, window, transient, interval, count)))


def grow_windows(
    given: Trace | JacobianStream, window: int | None, transient: int | None, interval: int | None, count: int | None
) -> SpectrumGrowth:
    """The growth over windows of so many steps."""
    if given.length is None:
        interval, count = check_directions(given.size, interval, count)
        if transient is None:
            raise ConfigurationError("transient: must be given, or length, with a stream: a tenth of it is not known")
        transient, window = check_integer("transient", transient, 0), check_integer("window", window, 1)
        return accumulate_windows(given, transient, window, count, interval)
    transient = check_transient(given.length, transient)
    window = check_integer("window", window, 1, given.length - transient)
    return measure_growth(given, np.arange(transient, given.length + 1, window), interval, count)


def measure_growth(
    given: Trace | JacobianStream, ends: Array, interval: int | None, count: int | None
) -> SpectrumGrowth:
    """The growth over windows with these ends."""
    if isinstance(given, JacobianStream):
        interval, count = check_directions(given.size, interval, count)
        return accumulate(given, ends, count, interval)
    size = given.h.shape[-1]
    interval, count = check_directions(size, interval, count)
    eliminated = eliminate_windows(given, ends, size if count is None else count) if interval is None else None
    return eliminated or accumulate(iterate_jacobians(given), ends, count, interval)


def check_directions(size: int, interval: int | None, count: int | None) -> tuple[int | None, int | None]:
    """The interval and the number of directions; refuses those that cannot be."""
    interval = None if interval is None else check_integer("interval", interval, 1)
    return interval, None if count is None else check_integer("count", count, 1, size)


def iterate_jacobians(trace: Trace) -> Iterator[Array]:
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
        if stretch.condition > LARGEST_CONDITION or stretch.frame.dead.any():
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
    values = detach(values)
    if np.iscomplexobj(values):
        raise ConfigurationError(f"{name}: complex; a spectrum of Jacobians is that of a real state")
    return np.asarray(values, np.float64)
