"""Singular values and left vectors of graded matrices, diag(exp(log)) times unit rows, by one-sided Jacobi.

The rows, largest first, are the columns of a QR; Jacobi rotates the rows of its R until all are orthogonal. These are
nearly so from the start where the lengths of the rows differ much.

Sources: Demmel & Veselic 1992, Drmac & Veselic 2008 (one-sided Jacobi of graded matrices, after a QR).

Index legend: K rows, K_0 their length, K <= K_0.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from bpttlab.numerics.array import Array

ORTHOGONAL = 1e-13
"""Largest cosine between two rows after one-sided Jacobi has ended."""

MOST_ROTATIONS = 40
"""Times that Jacobi goes through all pairs of rows, at most; about three as a rule."""


class GradedRows(NamedTuple):
    """Unit rows (K, K_0), or rows of zeros, and the logarithms of their lengths (K,); changed in place."""

    unit: Array
    log: Array

    @classmethod
    def normalise(cls, rows: Array, log: Array) -> GradedRows:
        """diag(exp(log)) times rows of any moderate length."""
        size = np.linalg.norm(rows, axis=1)
        with np.errstate(divide="ignore"):
            return cls(rows / np.where(size > 0, size, 1.0)[:, None], log + np.log(size))


class Decomposition(NamedTuple):
    """Attributes:
    log: (K,) the logarithms of the singular values, descending.
    vectors: (K, K), the left vectors, as rows.
    row: (K,), the row that each value began as.
    """

    log: Array
    vectors: Array
    row: Array


def decompose_rows(rows: GradedRows) -> Decomposition:
    """The singular values and left vectors.

    A = R^T Q^T where A^T = Q R; the right vectors of R are the left ones of A. Each value is exact to rounding times
    the condition of the unit rows: that of the rows of R is no larger, up to a factor of K.
    """
    order = np.argsort(-rows.log, kind="stable")
    log = rows.log[order]
    R = np.linalg.qr(rows.unit[order].T, mode="r")
    with np.errstate(under="ignore"):
        turned = GradedRows.normalise(R * np.exp(np.minimum(log - log[:, None], 0.0)), log)
    orthogonalise(turned)
    vectors = np.empty_like(turned.unit)
    vectors[:, order] = turned.unit
    descending = np.argsort(-turned.log, kind="stable")
    log = turned.log[descending]
    return Decomposition(log, complete_rows(vectors[descending], np.isfinite(log)), order[descending])


def complete_rows(vectors: Array, known: Array) -> Array:
    """Orthonormal rows in place of those that are not known, which are the last."""
    count = np.count_nonzero(known)
    if count < len(vectors):
        vectors[count:] = np.linalg.qr(vectors[:count].T, mode="complete")[0].T[count:]
    return vectors


def orthogonalise(rows: GradedRows) -> bool:
    """One-sided Jacobi on rows of any sizes; False if it did not end.

    Rotations are computed for unit rows and the ratio of their lengths, so that no range is too large and each value is
    exact to rounding times the condition of the unit rows (Demmel & Veselic 1992).
    """
    for _ in range(MOST_ROTATIONS):
        cosine = np.abs(rows.unit @ rows.unit.T)
        np.fill_diagonal(cosine, 0.0)
        if cosine.max(initial=0.0) <= ORTHOGONAL:
            return True
        for first, second in pairs(len(rows.log)):
            needed = cosine[first, second] > ORTHOGONAL
            if needed.any():
                rotate(rows, first[needed], second[needed])
    return False


def rotate(rows: GradedRows, first: Array, second: Array) -> None:
    """Rotates disjoint pairs of rows until each is orthogonal."""
    swap = rows.log[first] < rows.log[second]
    p, q = np.where(swap, second, first), np.where(swap, first, second)  # p the longer one
    u, v = rows.unit[p], rows.unit[q]
    cosine, ratio = np.einsum("ij,ij->i", u, v), np.exp(rows.log[q] - rows.log[p])
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
