"""All singular values of Jacobian products at finite lags, those too that an explicit product has rounded away.

    P_{t,t-l} = J_t J_{t-1} ... J_{t-l+1} = Q R_m ... R_2 R_1 Q_0^T,        Y_i = A_i Q_{i-1} = Q_i R_i

An explicit product holds no singular value below 1e-16 of its largest. Here the product is never formed but as a
triangular one whose rows have exponents of their own (graded). A sweep of QR goes through the factors with an
orthonormal Q_0, and one-sided Jacobi takes the rows of the graded triangle apart; the singular vectors that it finds
are where the next sweep starts, which goes through the same factors transposed, in reverse. Two sweeps in a row round
differently: where they agree, and a bound of what rounding can have done is small, a value is resolved.

Sources: Stewart 1997 and Oliveira & Stewart 2000 (graded QR of products); Demmel & Veselic 1992, Drmac & Veselic 2008
(one-sided Jacobi of graded matrices); Demmel et al. 1999 (a matrix as well-conditioned x diagonal x well-conditioned).

Index legend: B sequence, N state, M factors, K rank that the zeros of the factors allow, K <= N.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np
import scipy.linalg
from scipy.linalg.lapack import dtrtri

from bpttlab.errors import ConfigurationError, NonFiniteError
from bpttlab.fields import Field, check_integer, format_value
from bpttlab.gradients.trace import Trace
from bpttlab.measures.given_jacobians import Jacobians, JacobianStream, check_source, read_jacobians
from bpttlab.measures.lengths import of_each_length
from bpttlab.measures.lyapunov import iterate_jacobians
from bpttlab.measures.measure import Context, Measure, Result, Sampling
from bpttlab.measures.stream_products import check_given_lags, keep_first_steps
from bpttlab.networks.cells import Cell
from bpttlab.numerics.array import Array
from bpttlab.numerics.columnar import as_frame
from bpttlab.numerics.matrices import row_sorted_qr
from bpttlab.numerics.scaled import LOG_2
from bpttlab.store.measure_columns import PRODUCT_SINGULAR_VALUES

if TYPE_CHECKING:
    import pandas as pd

RESOLUTION = 1e-4
"""A logarithm is resolved if the bound of what rounding may have done to it is no larger ..."""

_AGREEMENT = 1e-5
"""... and two sweeps agree this far."""

_LARGEST_CONDITION = 1e5
"""Of several Jacobians as one factor, by the diagonal of a pivoted QR; a single one beyond it is taken apart."""

LONGEST_FACTOR = 64
"""Jacobians in one factor, at most."""

MOST_SWEEPS = 6
"""Through the factors: two as a rule, more while values come to agree."""

ORTHOGONAL = 1e-13
"""Largest cosine between two rows after one-sided Jacobi has ended."""

MOST_ROTATIONS = 40
"""Times that Jacobi goes through all pairs of rows, at most; about five as a rule."""

_LEAST = -(2**40)
"""The exponent of zero, below every other."""

_EPSILON = float(np.finfo(np.float64).eps)


# ------------------------------------------------------------------------------------------ along a trajectory


@of_each_length
def singular_values(
    trace: Trace | None = None,
    lags: Iterable[int] | None = None,
    sequences: int = 2,
    t: int | None = None,
    *,
    jacobians: Jacobians | None = None,
    length: int | None = None,
) -> pd.DataFrame:
    """All singular values of P_{t,t-l}, a row per sequence, lag and index.

    Of a float32 trace, those of the Jacobians at its states, computed in float64. In memory at a time, of one sequence
    and one lag: the Jacobians, their factors forward and transposed, and the triangles of one sweep, 6 (slopes near
    one) to 15 (steps that are ill conditioned alone) times l N^2 float64.

    Args:
        trace: a forward pass.
        lags: integers l from 0 to t; they have no default.
        sequences: at most so many of the batch, from the first.
        t: the step at which the products end; T by default.
        jacobians: in place of a trace, the Jacobians of anything: (T, N, N), (T, B, N, N), or an iterator over (N, N)
            or (B, N, N), J_1 first. An iterator is a stream: it is read up to the longest lag, and its products are
            those that begin at its first step, P_{l,0} at t = l; it has no t.
        length: the steps of `jacobians` to read; None: all.

    Returns:
        Columns sequence, t, lag, index (from 1, the largest), log_singular_value (natural logarithm; -inf is exactly
        zero), resolved: whether the logarithm is known to 1e-4. What is not is an estimate, far below the values that
        are; -inf without `resolved` is a value that rounding took to zero.

    Raises:
        ConfigurationError: a lag or t is not as above, or the numbers are complex.
        NonFiniteError: a Jacobian is not finite; the error names its step.
    """
    check_source(jacobians, length, required={"trace": trace})
    given = trace if jacobians is None else read_jacobians(jacobians, length)
    if isinstance(lags, str) or not isinstance(lags, Iterable):
        raise ConfigurationError(f"lags={format_value(lags)}: must be a list of integers from 0")
    if isinstance(given, JacobianStream):
        if t is not None:
            raise ConfigurationError(f"t={format_value(t)}: the products of a stream begin at its start; leave it out")
        return as_frame(forward_singular_values(given, lags, sequences))
    assert given is not None
    return as_frame(measure_singular_values(given, lags, sequences, t))


def forward_singular_values(stream: JacobianStream, lags: Iterable[int], sequences: int) -> dict[str, Array]:
    """`singular_values` of P_{l,0}, as columns."""
    lags, sequences = check_given_lags(lags), check_integer("sequences", sequences, 1)
    held = keep_first_steps(stream, lags, sequences)
    batch = min(sequences, stream.batch)
    found = [of_steps([J[b] for J in held[:lag]], stream.size) for b in range(batch) for lag in lags]
    return value_columns(found, lags, np.array(lags, np.int64))


def measure_singular_values(
    trace: Trace, lags: Iterable[int], sequences: int, t: int | None = None
) -> dict[str, Array]:
    """`singular_values` as columns."""
    t = check_integer("t", trace.length if t is None else t, 1, trace.length)
    lags = [check_integer("lag", lag, 0, t) for lag in lags]
    sequences = check_integer("sequences", sequences, 1)
    found = [of_sequence(trace, b, t, lag) for b in range(min(sequences, trace.h.shape[1])) for lag in lags]
    return value_columns(found, lags, np.full(len(lags), t))


def value_columns(found: list[ValueLogs], lags: list[int], t: Array) -> dict[str, Array]:
    """Rows of `singular_values`, those of all lags of one sequence after another; t (L,) the last step of each."""
    if not found:
        return {name: np.empty(0) for name in ("sequence", "t", "lag", "index", "log_singular_value", "resolved")}
    batch, size = len(found) // len(lags), len(found[0].log)
    each = len(lags) * size
    return {
        "sequence": np.repeat(np.arange(batch), each),
        "t": np.tile(np.repeat(t, size), batch),
        "lag": np.tile(np.repeat(np.array(lags, np.int64), size), batch),
        "index": np.tile(np.arange(1, size + 1), batch * len(lags)),
        "log_singular_value": np.array([values.log for values in found]).ravel(),
        "resolved": np.array([values.resolved for values in found], bool).ravel(),
    }


def of_sequence(trace: Trace, sequence: int, t: int, lag: int) -> ValueLogs:
    """The singular values of P_{t,t-lag} of one sequence of the batch."""
    b, steps = slice(sequence, sequence + 1), slice(t - lag, t)
    part = Trace(trace.cell, trace.params, trace.x[steps, b], trace.h[t - lag : t + 1, b], trace.y_hat[steps, b])
    held = []
    for step, J in enumerate(iterate_jacobians(part), t - lag + 1):
        _check_finite(J, f"the Jacobian is not finite at step t = {step}", step)
        held.append(J[0])
    return of_steps(held, trace.h.shape[-1])


def of_steps(matrices: list[Array], size: int) -> ValueLogs:
    """The singular values of the product of some steps; of none, it is the identity."""
    return of_product(matrices) if matrices else ValueLogs(np.zeros(size), np.ones(size, bool))


def product_singular_values(factors: Iterable[Array]) -> tuple[Array, Array]:
    """All singular values of A_M ... A_2 A_1 for any square factors.

    Args:
        factors: A_1, A_2, ..., each (B, N, N); the first is applied first.

    Returns:
        (B, N) natural logarithms, descending, and (B, N) whether each is resolved, as in `singular_values`.
    """
    held = [np.asarray(factor, np.float64) for factor in factors]
    if not held or any(factor.ndim != 3 or factor.shape != (*held[0].shape[:2], held[0].shape[1]) for factor in held):
        shapes = ", ".join(sorted({str(factor.shape) for factor in held})) or "none at all"
        raise ConfigurationError(f"factors: {shapes}; must be one or more, all of one shape (B, N, N)")
    for number, factor in enumerate(held, 1):
        _check_finite(factor, f"factors: number {number} is not finite", number)
    found = [of_product([factor[b] for factor in held]) for b in range(len(held[0]))]
    return np.array([values.log for values in found]), np.array([values.resolved for values in found])


def _check_finite(J: Array, message: str, step: int) -> None:
    if not np.isfinite(J).all():
        raise NonFiniteError(message, step)


# ------------------------------------------------------------------------------------------ of one product


class ValueLogs(NamedTuple):
    """Natural logarithms in descending order, and whether each is known.  (N,), (N,)"""

    log: Array
    resolved: Array


def of_product(matrices: Sequence[Array]) -> ValueLogs:
    """All of A_M ... A_1, (N, N) each: those of its blocks, where all factors are block diagonal by the same units.

    (The diagonal cell's, those of gates without recurrent weights.) Beside each other, blocks may have any size.
    """
    from scipy.sparse.csgraph import connected_components  # a twentieth of a second, in every run otherwise

    coupled = np.any([A != 0 for A in matrices], axis=0)
    count, block = connected_components(coupled, directed=False)
    chosen = [np.flatnonzero(block == number) for number in range(count)]
    found = [of_block([A[np.ix_(units, units)] for A in matrices] if count > 1 else matrices) for units in chosen]
    log, resolved = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.argsort(-log, kind="stable")
    return ValueLogs(log[order], resolved[order])


def of_block(matrices: Sequence[Array]) -> ValueLogs:
    """The zero rows and columns of the factors make some singular values exactly zero; the others are swept for."""
    size = len(matrices[0])
    cores = without_zeros(matrices)
    rank = min(min(core.shape) for core in cores)
    log, resolved = np.full(size, -np.inf), np.ones(size, bool)
    if rank:
        log[:rank], resolved[:rank] = _sweep_cores(cores, rank)
    return ValueLogs(log, resolved)


def _sweep_cores(cores: list[Array], rank: int) -> ValueLogs:
    """The singular values of the product of the cores; no more than `rank` of them are not zero.

    Forward and transposed sweeps take turns, each from the vectors that the last one found.
    """
    there, back = factorise(cores), factorise([core.T for core in reversed(cores)])
    found = decompose_triangle(_sweep(there, np.eye(cores[0].shape[1]), bounded=False), rank)
    resolved = np.zeros(rank, bool)
    for _ in range(MOST_SWEEPS - 1):
        if not found.vectors.size:
            break
        there, back = back, there
        before, last = resolved, found
        found = decompose_triangle(_sweep(there, last.vectors), rank)
        resolved = _agree(found.log, last.log) & (found.rounding <= RESOLUTION)
        if resolved.all() or (before.any() and before.sum() >= resolved.sum()):
            break
    return ValueLogs(found.log, resolved)


def _agree(log: Array, other: Array) -> Array:
    with np.errstate(invalid="ignore"):
        return np.abs(log - other) <= _AGREEMENT


def without_zeros(matrices: Sequence[Array]) -> list[Array]:
    """The factors without the components of the state that nothing reaches or that reach nothing, by exact zeros.

    (A unit of relu that is off, a nilpotent matrix.) The product is the same but for rows and columns of zeros.
    """
    live = [np.ones(matrices[0].shape[1], bool)]
    for A in matrices:
        live.append((A[:, live[-1]] != 0).any(axis=1))
    for i in reversed(range(len(matrices))):
        live[i] &= (matrices[i][live[i + 1]] != 0).any(axis=0)
    return [A[np.ix_(rows, columns)] for A, columns, rows in zip(matrices, live[:-1], live[1:], strict=True)]


# ------------------------------------------------------------------------------------------ factors


@dataclass(frozen=True)
class Factor:
    """A matrix times 2^exponent, through which a QR keeps its digits.

    Attributes:
        matrix: a well-conditioned one, or a diagonal one of any range.
        noise: None, or of a diagonal matrix how wrong each of its numbers may be.
        exponent: an integer.
    """

    matrix: Array
    noise: Array | None = None
    exponent: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        return self.matrix.shape

    def times(self, Q: Array) -> tuple[Array, Array]:
        """The product Y, and how wrong each entry of it may be when its QR is computed."""
        if self.noise is None:
            Y = self.matrix @ Q
            rows = np.linalg.norm(self.matrix, axis=1, keepdims=True)
            return Y, np.broadcast_to(_EPSILON * rows, Y.shape)
        size = np.diagonal(self.matrix)[:, None]
        return size * Q, _EPSILON * np.abs(size) + self.noise[:, None] * np.abs(Q)


def entry_scale(Y: Array) -> Array:
    """The scale of rounding errors in the QR of Y, entry by entry, for rows and columns of any size."""
    columns = np.linalg.norm(Y, axis=0)
    rows = np.linalg.norm(Y / np.where(columns > 0, columns, 1.0), axis=1)
    return np.minimum(np.linalg.norm(Y, axis=1)[:, None], rows[:, None] * columns)


def factorise(cores: list[Array]) -> list[Factor]:
    """As many steps in one factor as are well conditioned together; a step that is not so alone, taken apart."""
    factors: list[Factor] = []
    held, count = one_size(Factor(cores[0])), 1
    for core in cores[1:]:
        longer = one_size(Factor(core @ held.matrix, exponent=held.exponent))
        if count < LONGEST_FACTOR and is_well_conditioned(longer.matrix):
            held, count = longer, count + 1
        else:
            factors += _parts(held)
            held, count = one_size(Factor(core)), 1
    return factors + _parts(held)


def one_size(factor: Factor) -> Factor:
    """The same with its largest entry in [1/2, 1)."""
    shift = int(np.frexp(np.abs(factor.matrix).max())[1])
    return Factor(np.ldexp(factor.matrix, -shift), exponent=factor.exponent + shift)


def is_well_conditioned(matrix: Array) -> bool:
    size = np.abs(np.diagonal(scipy.linalg.qr(matrix, mode="r", pivoting=True, check_finite=False)[0]))
    return bool(size[-1] * _LARGEST_CONDITION >= size[0] > 0)


def _parts(factor: Factor) -> list[Factor]:
    """The factor itself, or Q D X of it: Q orthonormal, D diagonal, X well conditioned.

    By a QR with its rows sorted and its columns pivoted, which keeps the digits of rows and columns of any size
    (Cox & Higham 1998; Demmel et al. 1999). Pivots of zero are left out.
    """
    if is_well_conditioned(factor.matrix):
        return [factor]
    order = np.argsort(-np.abs(factor.matrix).max(axis=1), kind="stable")
    Y = factor.matrix[order]
    Q, R, pivots = scipy.linalg.qr(Y, mode="economic", pivoting=True, check_finite=False)
    size = np.abs(np.diagonal(R))
    rank = np.count_nonzero(size)
    Q, R, size = Q[:, :rank], R[:rank], size[:rank]
    noise = size * np.diagonal(relative_error(Q, R, _EPSILON * entry_scale(Y[:, pivots])))
    X, left = np.empty_like(R), np.empty_like(Q)
    X[:, pivots], left[order] = R / size[:, None], Q
    return [Factor(X), Factor(np.diag(size), noise=noise), Factor(left, exponent=factor.exponent)]


# ------------------------------------------------------------------------------------------ sweeps


class Triangle(NamedTuple):
    """A product as Q diag(2^exponent) U Q_0^T.

    Attributes:
        Q: (N, K), orthonormal columns.
        exponent: (K,), integers of any size.
        U: (K, K_0), largest entry of every row in [1/2, 1); triangular, whatever its rows are worth.
        rounding: (K,), the relative errors of the singular values that rounding may have made (`amplify`).
    """

    Q: Array
    exponent: Array
    U: Array
    rounding: Array


class Apart(NamedTuple):
    """Singular values of a triangle descending and filled up with -inf; their rounding; the left vectors (N, K)."""

    log: Array
    rounding: Array
    vectors: Array


def _sweep(factors: list[Factor], Q: Array, bounded: bool = True) -> Triangle:
    """QR through all factors, starting with orthonormal columns Q.  (N_0, K_0)

    In memory until it ends, if the rounding is to be bounded: the triangles of all factors, and their errors.
    """
    exponent, U = np.zeros(Q.shape[1], np.int64), np.eye(Q.shape[1])
    steps = []
    for factor in factors:
        Y, wrong = factor.times(Q)
        Q, R = row_sorted_qr(Y)
        exponent, U = graded_product(R, exponent + factor.exponent, U)
        if bounded:
            steps.append((R, relative_error(Q, R, wrong)))
    return Triangle(Q, exponent, U, amplify(steps) if bounded else np.full(len(U), np.inf))


def amplify(steps: list[tuple[Array, Array]]) -> Array:
    """First-order bound of the relative errors of the singular values of R_M ... R_1, where it is nearly diagonal.

    R_i (1 + L_i) in place of R_i multiplies the product by 1 + Z L_i Z^-1, Z = R_M ... R_{i+1}. That is much more than
    L_i where a row of Z and the column of its inverse are nearly at right angles, or where what one direction has grown
    by before is what another grows by afterwards (a gate that closes and opens). A shear of one direction into another
    counts relative to the larger of their singular values.

    Args:
        steps: R_i and |L_i|, (K, K) each.

    Returns:
        (K,); inf throughout for a sweep in which the rank has changed.
    """
    size = len(steps[-1][0])
    if any(R.shape != (size, size) for R, _ in steps):
        return np.full(size, np.inf)
    with np.errstate(all="ignore"):
        logs = [np.log(np.abs(np.diagonal(R))) for R, _ in steps]
        value, behind = np.sum(logs, axis=0), np.zeros(size)
        weight = value - np.maximum(value[:, None], value)
        shear, Z = np.zeros((size, size)), np.eye(size)
        for (R, L), log in zip(reversed(steps), reversed(logs), strict=True):
            shear += (np.abs(Z) @ L @ inverse(Z)) * np.exp(behind[:, None] - behind + weight)
            Z, behind = Z @ R / np.diagonal(R)[:, None], behind + log
    total = np.maximum(shear.sum(axis=0), shear.sum(axis=1))
    return np.where(np.isnan(total), np.inf, total)


def inverse(unit: Array) -> Array:
    """Absolute values of the inverse of an upper triangular matrix with ones on its diagonal."""
    return np.abs(dtrtri(unit, unitdiag=1)[0])


def graded_product(R: Array, exponent: Array, U: Array) -> tuple[Array, Array]:
    """R diag(2^exponent) U as diag(2^exponent') U': a row is a sum of those below it, smaller as a rule."""
    mantissa, own = np.frexp(R)
    term = np.where(R != 0, own + exponent, _LEAST)
    row = term.max(axis=1)
    product = np.ldexp(mantissa, np.maximum(term - row[:, None], -2000)) @ U
    shift = np.frexp(np.abs(product).max(axis=1))[1]
    return row + shift, np.ldexp(product, -shift[:, None])


def relative_error(Q: Array, R: Array, wrong: Array) -> Array:
    """|L| with Q R (1 + L) for Y + E, where |E| <= wrong, entry by entry: |Q|^T |E| |R^-1|.  (K, K)

    inf where R has a zero on its diagonal.
    """
    size = np.abs(np.diagonal(R))[:, None]
    with np.errstate(all="ignore"):
        L = (np.abs(Q).T @ wrong[:, : len(R)]) @ inverse(R[:, : len(R)] / size) / size.T
    return np.where(np.isfinite(L), L, np.inf)


# ------------------------------------------------------------------------------------------ one-sided Jacobi


def decompose_triangle(triangle: Triangle, rank: int) -> Apart:
    """Singular values and left vectors of a triangle, by rotations of its rows until all are orthogonal."""
    alive = triangle.U.any(axis=1)
    size = np.linalg.norm(triangle.U[alive], axis=1)
    rows = GradedRows(
        triangle.U[alive] / size[:, None], np.log(size) + triangle.exponent[alive] * LOG_2, np.eye(len(size))
    )
    orthogonalise(rows)
    order = np.argsort(-rows.log, kind="stable")[:rank]
    log, error = np.full(rank, -np.inf), np.full(rank, np.inf)
    log[: len(order)], error[: len(order)] = rows.log[order], triangle.rounding[alive][order]
    return Apart(log, error, triangle.Q[:, alive] @ rows.turned[order].T)


class GradedRows(NamedTuple):
    """Unit rows (K, K_0), the logarithms of their lengths (K,), and the rotations so far (K, K); changed in place."""

    unit: Array
    log: Array
    turned: Array


def orthogonalise(rows: GradedRows) -> bool:
    """One-sided Jacobi on rows of any sizes; False if it did not end.

    Rotations are computed for unit rows and the ratio of their lengths, so that no range is too large and each value is
    exact to rounding times the condition of the unit rows (Demmel & Veselic 1992).
    """
    for _ in range(MOST_ROTATIONS):
        if max((rotate(rows, *pair) for pair in pairs(len(rows.log))), default=0.0) <= ORTHOGONAL:
            return True
    return False


def rotate(rows: GradedRows, first: Array, second: Array) -> float:
    """Rotates disjoint pairs of rows until each is orthogonal; the largest cosine that there was."""
    swap = rows.log[first] < rows.log[second]
    p, q = np.where(swap, second, first), np.where(swap, first, second)  # p the longer one
    u, v = rows.unit[p], rows.unit[q]
    cosine, ratio = (u * v).sum(axis=1), np.exp(rows.log[q] - rows.log[p])
    gap = 1.0 - ratio**2
    below = gap + np.hypot(gap, 2.0 * ratio * cosine)
    slope = 2.0 * cosine / np.where(below > 0, below, 1.0)  # of the rotation, over the ratio
    t = ratio * slope
    c = 1.0 / np.sqrt(1.0 + t * t)
    for row, one, factor, other in ((p, u, t * ratio, v), (q, v, -slope, u)):
        turned = c[:, None] * (one + factor[:, None] * other)
        size = np.linalg.norm(turned, axis=1)
        rows.unit[row] = turned / np.where(size > 0, size, 1.0)[:, None]
        with np.errstate(divide="ignore"):
            rows.log[row] += np.log(size)
    P, S = rows.turned[p], rows.turned[q]
    rows.turned[p], rows.turned[q] = c[:, None] * (P + t[:, None] * S), c[:, None] * (S - t[:, None] * P)
    return float(np.abs(cosine).max())


@cache
def pairs(size: int) -> tuple[tuple[Array, Array], ...]:
    """All pairs of `size` things, in rounds of disjoint ones: a tournament."""
    players = np.arange(size + size % 2)
    rounds = []
    for _ in range(len(players) - 1):
        first, second = players[: len(players) // 2], players[::-1][: len(players) // 2]
        there = (first < size) & (second < size)
        rounds.append((first[there], second[there]))
        players = np.concatenate([players[:1], np.roll(players[1:], 1)])
    return tuple(pair for pair in rounds if len(pair[0]))


# ------------------------------------------------------------------------------------------ the measure


@dataclass(frozen=True)
class SingularValues(Measure):
    """All singular values of the products P_{T,T-l} at some lags."""

    name: ClassVar[str] = "singular_values"
    ends_with_sequences: ClassVar[bool] = True
    tables = PRODUCT_SINGULAR_VALUES.tables
    row_settings: ClassVar = {"singular_values": ("measure.singular_lags", "measure.sequences")}

    singular_lags: Annotated[
        int, Field(ge=0, description="lags of t = T whose products have all singular values recorded; 0: none")
    ] = 0

    @property
    def active(self) -> bool:
        return self.singular_lags > 0

    def rows(self, cell: Cell, length: int, sampling: Sampling) -> dict[str, int]:
        lags = min(self.singular_lags, length + 1)
        return {"singular_values": cell.state_size * lags * sampling.sequences}

    def __call__(self, context: Context) -> Result:
        lags = context.space_steps(self.singular_lags)
        columns = measure_singular_values(context.trace, lags, context.sampling.sequences)
        return Result({"singular_values": columns})
