"""Products of matrices as triangular ones whose rows have exponents of their own (graded), by sweeps of QR.

    A_M ... A_2 A_1 Q_0 = Q diag(2^e) U,        Y_i = A_i Q_{i-1} = Q_i R_i,        diag(2^e) U = R_M ... R_1

A sweep bounds what rounding can have done to the singular values of the product, too (`amplify`).

Sources: Stewart 1997 and Oliveira & Stewart 2000 (graded QR of products); Demmel et al. 1999 (a matrix as
well-conditioned x diagonal x well-conditioned).

Index legend: N state, M factors, K columns of Q_0 or fewer.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import scipy.linalg
from scipy.linalg.lapack import dgecon, dgemqrt, dgeqrf, dgeqrt, dgetrf, dlange, dorgqr, dtrtri

from bpttlab.numerics.array import Array

_LARGEST_CONDITION = 1e5
"""Of several Jacobians as one factor; a single one beyond it is taken apart. As the diagonal of a pivoted QR has it."""

_ROUGH_CONDITION = 1e9
"""The same of factors of a sweep from which only vectors are used, and values to compare with others."""

LONGEST_FACTOR = 64
"""Jacobians in one factor, at most."""

_LEAST = -(2**40)
"""The exponent of zero, below every other."""

_SMALLEST_POWER, _SMALLEST_ROW = -400, 2.0**-200
"""In `graded_product` powers of two below 2^-400 are zero; beside a row with an entry of 2^-200 they are nothing."""

_OF_ZERO = -1023
"""The exponent of a float without any bits."""

FROM_BLOCKS, _BLOCK = 96, 16
"""Columns from which on a QR is faster in blocks, and of one block."""

MOST_PLAIN = 8
"""Triangles of well-conditioned factors that are multiplied as plain numbers."""

_EPSILON = float(np.finfo(np.float64).eps)


# ------------------------------------------------------------------------------------------ factors


class Factor(NamedTuple):
    """A matrix times 2^exponent, through which a QR keeps its digits.

    Attributes:
        matrix: a well-conditioned one, or a diagonal one of any range.
        noise: None, or of a diagonal matrix how wrong each of its numbers may be.
        exponent: an integer.
        condition: of the matrix (`find_condition`), inf where it is not known.
    """

    matrix: Array
    noise: Array | None = None
    exponent: int = 0
    condition: float = np.inf

    @property
    def shape(self) -> tuple[int, ...]:
        return self.matrix.shape

    def times(self, Q: Array) -> Array:
        """The product Y."""
        return self.matrix @ Q if self.noise is None else np.diagonal(self.matrix)[:, None] * Q

    def rounding(self, Q_prev: Array, Q: Array, R: Array) -> Rounding:
        """How wrong R may be where Q R is the QR of `times(Q_prev)`."""
        if self.noise is None:
            rows = np.sqrt(np.einsum("ij,ij->i", self.matrix, self.matrix))
            return relative_error(Q, R, _EPSILON * rows[:, None])
        size = np.abs(np.diagonal(self.matrix))[:, None]
        return relative_error(Q, R, _EPSILON * size + self.noise[:, None] * np.abs(Q_prev))


class Factors(NamedTuple):
    """A product in three ways: of fewer factors, for a sweep that need not be exact; for the others; transposed."""

    few: list[Factor]
    there: list[Factor]
    back: list[Factor]


def factorise(cores: list[Array]) -> Factors:
    """Several steps are one factor if they are well conditioned together.

    So is its transpose. A step that is not so alone is taken apart, in each direction by itself.
    """
    groups = group(cores)
    back = [factor._replace(matrix=np.ascontiguousarray(factor.matrix.T)) for factor in reversed(groups)]
    there = take_all_apart(groups)
    return Factors(merge(there), there, take_all_apart(back))


def group(cores: list[Array]) -> list[Factor]:
    """As many steps in one factor as are well conditioned together, and as are expected to be so."""
    groups: list[Factor] = []
    held, count = one_size(Factor(cores[0])), 1
    for core in cores[1:]:
        known = 1.0 if count == 1 else held.condition
        if count < LONGEST_FACTOR and known ** (1.0 + 1.0 / count) <= _LARGEST_CONDITION:
            longer = one_size(Factor(core @ held.matrix, exponent=held.exponent))
            condition = find_condition(longer.matrix)
            if condition <= _LARGEST_CONDITION:
                held, count = longer._replace(condition=condition), count + 1
                continue
        groups.append(held)
        held, count = one_size(Factor(core)), 1
    return [judge(held) for held in [*groups, held]]


def judge(factor: Factor) -> Factor:
    """The same with its condition number."""
    return factor if factor.condition < np.inf else factor._replace(condition=find_condition(factor.matrix))


def merge(factors: list[Factor]) -> list[Factor]:
    """Fewer factors, with larger condition numbers."""
    merged = factors[:1]
    for factor in factors[1:]:
        condition = factor.condition * merged[-1].condition
        if condition <= _ROUGH_CONDITION:
            exponent = factor.exponent + merged[-1].exponent
            merged[-1] = Factor(factor.matrix @ merged[-1].matrix, None, exponent, condition)
        else:
            merged.append(factor)
    return merged


def one_size(factor: Factor) -> Factor:
    """The same with its largest entry in [1/2, 1)."""
    shift = int(np.frexp(np.abs(factor.matrix).max())[1])
    scaled = factor.matrix * 2.0**-shift if abs(shift) < 1000 else np.ldexp(factor.matrix, -shift)
    return Factor(scaled, exponent=factor.exponent + shift)


def find_condition(matrix: Array) -> float:
    """The ratio that the diagonal of a pivoted QR has, or nearly so, as a condition number; inf of a singular matrix.

    Of a square matrix by an estimate of the condition number in the maximum norm: of J_t and their products it is about
    N times that ratio.
    """
    rows, columns = matrix.shape
    if rows != columns:
        size = np.abs(np.diagonal(scipy.linalg.qr(matrix, mode="r", pivoting=True, check_finite=False)[0]))
        return float(size[0] / size[-1]) if size[-1] > 0 else np.inf
    eliminated, _, singular = dgetrf(matrix.T)
    inverse_condition = 0.0 if singular else dgecon(eliminated, dlange("1", matrix.T))[0]
    return 1.0 / (inverse_condition * rows) if inverse_condition > 0.0 else np.inf


def take_all_apart(factors: list[Factor]) -> list[Factor]:
    return [part for factor in factors for part in split_factor(factor)]


def split_factor(factor: Factor) -> list[Factor]:
    return [factor] if factor.condition <= _LARGEST_CONDITION else take_apart(factor)


def take_apart(factor: Factor) -> list[Factor]:
    """Q D X of it: Q orthonormal, D diagonal, X well conditioned.

    By a QR with its rows sorted and its columns pivoted, which keeps the digits of rows and columns of any size
    (Cox & Higham 1998; Demmel et al. 1999). Pivots of zero are left out.
    """
    order = np.argsort(-np.abs(factor.matrix).max(axis=1), kind="stable")
    Y = factor.matrix[order]
    Q, R, pivots = scipy.linalg.qr(Y, mode="economic", pivoting=True, check_finite=False)
    size = np.abs(np.diagonal(R))
    rank = np.count_nonzero(size)
    Q, R, size = Q[:, :rank], R[:rank], size[:rank]
    noise = size * relative_error(Q, R, _EPSILON * entry_scale(Y[:, pivots])).diagonal()
    X, left = np.empty_like(R), np.empty_like(Q)
    X[:, pivots], left[order] = R / size[:, None], Q
    return [Factor(X), Factor(np.diag(size), noise=noise), Factor(left, exponent=factor.exponent)]


def entry_scale(Y: Array) -> Array:
    """The scale of rounding errors in the QR of Y, entry by entry, for rows and columns of any size."""
    columns = np.linalg.norm(Y, axis=0)
    rows = np.linalg.norm(Y / np.where(columns > 0, columns, 1.0), axis=1)
    return np.minimum(np.linalg.norm(Y, axis=1)[:, None], rows[:, None] * columns)


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


def sweep_factors(factors: list[Factor], Q: Array, bounded: bool = True) -> Triangle:
    """QR through all factors, starting with orthonormal columns Q.  (N_0, K_0)

    In memory until it ends, if the rounding is to be bounded: the triangles of all factors, and their errors.
    """
    product, steps = GradedProduct(Q.shape[1]), []
    for factor in factors:
        Q_prev = Q
        Q, R = sorted_qr(factor.times(Q), moderate=factor.noise is None)
        product.multiply(R, factor)
        if bounded:
            steps.append((R, factor.rounding(Q_prev, Q, R)))
    exponent, U = product.finish()
    return Triangle(Q, exponent, U, amplify(steps) if bounded else np.full(len(U), np.inf))


def sorted_qr(Y: Array, moderate: bool) -> tuple[Array, Array]:
    """`matrices.row_sorted_qr` of one matrix, by LAPACK without what is between.  (N, K) -> (N, K'), (K', K)

    If its rows are of moderate sizes and many, in blocks: small ones would lose digits beside rows 1e20 times as large.
    """
    order = np.argsort(-np.abs(Y).max(axis=1), kind="stable")
    rank = min(Y.shape)
    Q = np.empty((len(Y), rank))
    if rank < FROM_BLOCKS or not moderate:
        reflectors, tau, *_ = dgeqrf(Y[order])
        R = np.where(upper(rank, Y.shape[1]), reflectors[:rank], 0.0)
        Q[order] = dorgqr(reflectors[:, :rank], tau, overwrite_a=1)[0]
    else:
        reflectors, T, _ = dgeqrt(_BLOCK, Y[order])
        R = np.where(upper(rank, Y.shape[1]), reflectors[:rank], 0.0)
        Q[order] = dgemqrt(reflectors[:, :rank], T, np.eye(len(Y), rank), overwrite_c=1)[0]
    return Q, R


@cache
def upper(rows: int, columns: int) -> Array:
    """Where a triangular matrix is not zero."""
    return np.tri(columns, rows, dtype=bool).T


class GradedProduct:
    """R_i ... R_1 as diag(2^exponent) U, of which the last few factors are still a plain product.

    Powers of two are exact: a plain product of few well-conditioned factors has the same digits.
    """

    def __init__(self, size: int) -> None:
        self.exponent, self.U = np.zeros(size, np.int64), np.eye(size)
        self.last: Array | None = None
        self.count, self.shift = 0, 0

    def multiply(self, R: Array, factor: Factor) -> None:
        """R of one factor more."""
        if self.count == MOST_PLAIN or factor.noise is not None:
            self.finish()
        self.last, self.shift = R if self.last is None else R @ self.last, self.shift + factor.exponent
        self.count = MOST_PLAIN if factor.noise is not None else self.count + 1

    def finish(self) -> tuple[Array, Array]:
        """The exponents and U."""
        if self.last is not None:
            self.exponent, self.U = graded_product(self.last, self.exponent + self.shift, self.U)
        self.last, self.count, self.shift = None, 0, 0
        return self.exponent, self.U


def graded_product(R: Array, exponent: Array, U: Array) -> tuple[Array, Array]:
    """R diag(2^exponent) U as diag(2^exponent') U': a row is a sum of those below it, smaller as a rule."""
    row = np.maximum.accumulate(exponent[::-1])[::-1][: len(R)]
    product = (R * make_powers_of_two(exponent - row[:, None])) @ U
    largest = np.abs(product).max(axis=1)
    if not (largest >= _SMALLEST_ROW).all():
        return careful_graded_product(R, exponent, U)
    shift = np.frexp(largest)[1]
    return row + shift, product * np.ldexp(1.0, -shift)[:, None]


def make_powers_of_two(exponent: Array) -> Array:
    """2^exponent for exponents from `_SMALLEST_POWER` to 0; 0 below, 1 above."""
    bits = np.where(exponent < _SMALLEST_POWER, _OF_ZERO, exponent)
    np.minimum(bits, 0, out=bits)
    bits -= _OF_ZERO
    bits <<= 52
    return bits.view(np.float64)


def careful_graded_product(R: Array, exponent: Array, U: Array) -> tuple[Array, Array]:
    """The same for entries of any range, whose exponents are added to those of the rows."""
    mantissa, own = np.frexp(R)
    term = np.where(R != 0, own + exponent, _LEAST)
    row = term.max(axis=1)
    product = np.ldexp(mantissa, np.maximum(term - row[:, None], -2000)) @ U
    shift = np.frexp(np.abs(product).max(axis=1))[1]
    return row + shift, np.ldexp(product, -shift[:, None])


# ------------------------------------------------------------------------------------------ rounding


class Rounding(NamedTuple):
    """|L| = left . right, by which R (1 + L) differs from R.  (K, any), (any, K)"""

    left: Array
    right: Array

    def diagonal(self) -> Array:
        """inf where it is not known."""
        found = np.einsum("ij,ji->i", self.left, self.right)
        return np.where(np.isfinite(found), found, np.inf)


def relative_error(Q: Array, R: Array, wrong: Array) -> Rounding:
    """|L| with Q R (1 + L) for Y + E, where |E| <= wrong, entry by entry: |Q|^T |E| |R^-1|.

    NaN or inf where R has a zero on its diagonal.

    Args:
        Q, R: (N, K), (K, any); of R the first K columns count.
        wrong: (N, K), or (N, 1) where it is the same for all columns.
    """
    size = np.diagonal(R)
    with np.errstate(all="ignore"):
        of_R = inverse(R[:, : len(R)] / size[:, None])
        left = np.abs(Q).T @ wrong[:, : len(R)]
        return Rounding(left, (of_R if wrong.shape[1] > 1 else of_R.sum(axis=0, keepdims=True)) / np.abs(size))


def amplify(steps: list[tuple[Array, Rounding]]) -> Array:
    """First-order bound of the relative errors of the singular values of R_M ... R_1, where it is nearly diagonal.

    R_i (1 + L_i) in place of R_i multiplies the product by 1 + Z L_i Z^-1, Z = R_M ... R_{i+1}. That is much more than
    L_i where a row of Z and the column of its inverse are nearly at right angles, or where what one direction has grown
    by before is what another grows by afterwards (a gate that closes and opens). A shear of one direction into another
    counts relative to the larger of their singular values.

    Args:
        steps: R_i (K, K) and |L_i|.

    Returns:
        (K,); inf throughout for a sweep in which the rank has changed.
    """
    size = len(steps[-1][0])
    if any(R.shape != (size, size) for R, _ in steps):
        return np.full(size, np.inf)
    with np.errstate(all="ignore"):
        diagonals = np.array([np.diagonal(R) for R, _ in steps])
        logs = np.log(np.abs(diagonals))
        value, behind = logs.sum(axis=0), np.zeros(size)
        weight = value - np.maximum(value[:, None], value)
        shear, Z = np.zeros((size, size)), np.eye(size)
        for (R, L), diagonal, log in zip(reversed(steps), diagonals[::-1], logs[::-1], strict=True):
            part = weight + behind[:, None]
            part -= behind
            np.exp(part, out=part)
            part *= (np.abs(Z) @ L.left) @ (L.right @ inverse(Z))
            shear += part
            Z = Z @ R
            Z /= diagonal[:, None]
            behind = behind + log
    total = np.maximum(shear.sum(axis=0), shear.sum(axis=1))
    return np.where(np.isnan(total), np.inf, total)


def inverse(unit: Array) -> Array:
    """Absolute values of the inverse of an upper triangular matrix with ones on its diagonal."""
    return np.abs(dtrtri(unit.T, lower=1, unitdiag=1)[0].T)
