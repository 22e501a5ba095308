"""All singular values of Jacobian products at finite lags, those too that an explicit product has rounded away.

    P_{t,t-l} = J_t J_{t-1} ... J_{t-l+1} = Q R_m ... R_2 R_1 Q_0^T,        Y_i = A_i Q_{i-1} = Q_i R_i

An explicit product holds no singular value below 1e-16 of its largest. Here the product is never formed but as a
triangular one whose rows have exponents of their own (graded). A sweep of QR goes through the factors with an
orthonormal Q_0 (`graded_products`), and one-sided Jacobi takes the rows of the graded triangle apart (`graded_rows`);
the singular vectors that it finds are where the next sweep starts, which goes through the same factors transposed, in
reverse. Two sweeps in a row round differently: where they agree, and a bound of what rounding can have done is small, a
value is resolved.

Index legend: B sequence, N state, M factors, K rank that the zeros of the factors allow, K <= N.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from bpttlab.errors import ConfigurationError, NonFiniteError
from bpttlab.fields import Field, check_integer, format_value
from bpttlab.gradients.trace import Trace
from bpttlab.measures.given_jacobians import Jacobians, JacobianStream, check_source, read_jacobians
from bpttlab.measures.graded_products import Triangle, factorise, sweep_factors
from bpttlab.measures.graded_rows import GradedRows, decompose_rows
from bpttlab.measures.lengths import of_each_length
from bpttlab.measures.lyapunov import iterate_jacobians
from bpttlab.measures.measure import Context, Measure, Result, Sampling
from bpttlab.measures.stream_products import check_given_lags, keep_first_steps
from bpttlab.networks.cells import Cell
from bpttlab.numerics.array import Array
from bpttlab.numerics.columnar import as_frame
from bpttlab.numerics.scaled import LOG_2
from bpttlab.store.measure_columns import PRODUCT_SINGULAR_VALUES

if TYPE_CHECKING:
    import pandas as pd

RESOLUTION = 1e-4
"""A logarithm is resolved if the bound of what rounding may have done to it is no larger ..."""

_AGREEMENT = 1e-5
"""... and two sweeps agree this far."""

MOST_SWEEPS = 6
"""Through the factors: two as a rule, more while values come to agree."""


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
    and one lag: the Jacobians, their factors forward and transposed, and the triangles of one sweep, 3 (as a rule) to
    13 (steps that are ill conditioned alone) times l N^2 float64.

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

    count, block = connected_components(find_couplings(matrices), directed=False)
    chosen = [np.flatnonzero(block == number) for number in range(count)]
    found = [of_block([A[np.ix_(units, units)] for A in matrices] if count > 1 else matrices) for units in chosen]
    log, resolved = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.argsort(-log, kind="stable")
    return ValueLogs(log[order], resolved[order])


def find_couplings(matrices: Sequence[Array]) -> Array:
    """Where some factor is not zero."""
    coupled = matrices[0] != 0
    for A in matrices[1:]:
        if coupled.all():
            break
        coupled |= A != 0
    return coupled


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
    few, there, back = factorise(cores)
    found = decompose_triangle(sweep_factors(few, np.eye(cores[0].shape[1]), bounded=False), rank)
    resolved = np.zeros(rank, bool)
    for _ in range(MOST_SWEEPS - 1):
        if not found.vectors.size:
            break
        there, back = back, there
        before, last = resolved, found
        found = decompose_triangle(sweep_factors(there, last.vectors), rank)
        resolved = _agree(found.log, last.log) & (found.rounding <= RESOLUTION)
        if resolved.all() or (before.any() and before.sum() >= resolved.sum()):
            break
    return ValueLogs(found.log, resolved)


class Apart(NamedTuple):
    """Singular values of a triangle descending and filled up with -inf; their rounding; the left vectors (N, K)."""

    log: Array
    rounding: Array
    vectors: Array


def decompose_triangle(triangle: Triangle, rank: int) -> Apart:
    """Singular values and left vectors of a triangle, no more of them than `rank`."""
    alive = triangle.U.any(axis=1)
    rows = GradedRows.normalise(triangle.U[alive], triangle.exponent[alive] * LOG_2)
    found = decompose_rows(rows)
    log, error = np.full(rank, -np.inf), np.full(rank, np.inf)
    count = min(rank, len(found.log))
    log[:count], error[:count] = found.log[:count], triangle.rounding[alive][found.row[:count]]
    return Apart(log, error, triangle.Q[:, alive] @ found.vectors[:count].T)


def _agree(log: Array, other: Array) -> Array:
    with np.errstate(invalid="ignore"):
        return np.abs(log - other) <= _AGREEMENT


def without_zeros(matrices: Sequence[Array]) -> list[Array]:
    """The factors without the components of the state that nothing reaches or that reach nothing, by exact zeros.

    (A unit of relu that is off, a nilpotent matrix.) The product is the same but for rows and columns of zeros.
    """
    if all(A.all() for A in matrices):
        return list(matrices)
    live = [np.ones(matrices[0].shape[1], bool)]
    for A in matrices:
        live.append((A[:, live[-1]] != 0).any(axis=1))
    for i in reversed(range(len(matrices))):
        live[i] &= (matrices[i][live[i + 1]] != 0).any(axis=0)
    return [A[np.ix_(rows, columns)] for A, columns, rows in zip(matrices, live[:-1], live[1:], strict=True)]


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
