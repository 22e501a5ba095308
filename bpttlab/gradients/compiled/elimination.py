"""The growth of volumes along Jacobians by elimination in place of QR, compiled.

    J_t Y = L_t U_t        L_t (N,K) with entries of at most one, its rows in the order of the pivots; U_t (K,K)

A column of Y spans, with those before it, the same space after an elimination as after a QR: U_t is triangular as R_t
is. So sum_t log |U_t[i,i]| differs from sum_t log |R_t[i,i]| by log |R[i,i]| of the QR of the last L_t alone, which the
caller adds. (Treppeniteration, Bauer 1957, with pivots.) An elimination costs a quarter of a QR with its Q.

Directions are rows here, so that loops run along what is contiguous.

An elimination may come after several steps, as long as no pivot is small beside its column (`LEAST_OF_PRODUCT`).

Index legend: L steps, N state, K directions followed (K <= N), M directions of a panel or after it.
"""

from __future__ import annotations

import math

import numpy as np

from bpttlab.gradients.compiled.arrays import allocate, copy_rows
from bpttlab.gradients.compiled.compilation import compiled
from bpttlab.gradients.compiled.products import add_rows
from bpttlab.gradients.compiled.scaled_rows import find_largest
from bpttlab.numerics.array import Array

LEAST_PIVOT = 1e-9
"""Of the largest entry of its column of U: below it the caller takes the QR, which says what rounding hides."""

LEAST_OF_PRODUCT = 1e-6
"""The same after several steps, which are gone through again in halves."""

MOST_TOGETHER = 8
"""Steps between two eliminations, at most."""

RANGE = 2.0**900
"""Pivots larger than this, or smaller than its inverse, are left to the QR, too."""

PANEL = 8
"""Directions that are eliminated one by one, before those after them lose all of theirs by one product."""


@compiled("contract", "nsz")
def subtract_multiple(row: Array, factor: float, out: Array) -> None:
    """out -= factor row."""
    for n in range(row.size):
        out[n] -= factor * row[n]


@compiled("contract", "nsz")
def choose_pivot(row: Array, alive: Array) -> int:
    """row (N,) without the units that have a pivot; the number of its largest entry, which has one from here on."""
    for n in range(row.size):
        row[n] *= alive[n]
    most, place = find_largest(row), 0
    while abs(row[place]) < most and place < row.size - 1:
        place += 1
    alive[place] = 0.0
    return place


@compiled("contract", "nsz")
def eliminate_panel(Y: Array, alive: Array, places: Array, pivots: Array, largest: Array) -> None:
    """Every direction of Y (M,N) becomes its row of L^T, with U[i,i] in `pivots` (M,), `places` (M,) of the pivots, and
    the largest entry of its column of U in `largest` (M,)."""
    for k in range(len(Y)):
        place = choose_pivot(Y[k], alive)
        pivot = Y[k, place]
        places[k], pivots[k], largest[k] = place, pivot, max(largest[k], abs(pivot))
        inverse = 1.0 / pivot if pivot != 0.0 else 0.0
        for n in range(Y.shape[1]):
            Y[k, n] *= inverse
        Y[k, place] = 1.0
        for m in range(k + 1, len(Y)):
            factor = Y[m, place]
            largest[m] = max(largest[m], abs(factor))
            subtract_multiple(Y[k], factor, Y[m])


@compiled("contract", "nsz")
def remove_panel(L: Array, places: Array, Y: Array, largest: Array, room: Array) -> None:
    """Takes the directions of a panel, L^T (PANEL,N), out of those after it, Y (M,N); room (PANEL,M) becomes -U."""
    for k in range(len(L)):
        factors = room[k]
        for m in range(len(Y)):
            factors[m] = -Y[m, places[k]]
        for j in range(k):
            subtract_multiple(room[j], L[j, places[k]], factors)
        for m in range(len(Y)):
            largest[m] = max(largest[m], abs(factors[m]))
    add_rows(room[: len(L)].T, L, Y)


@compiled("contract", "nsz")
def eliminate(Y: Array, pivots: Array) -> float:
    """Y^T = L U, with the largest pivot of each column; Y (K,N) becomes L^T and pivots (K,) the diagonal of U.

    Returns the smallest pivot beside the largest entry of its column of U; 0 where one is at the ends of the range.
    """
    K, N = Y.shape
    alive, places, largest, room = np.ones(N), np.empty(PANEL, np.int64), np.zeros(K), np.empty((PANEL, K))
    for first in range(0, K, PANEL):
        end = min(first + PANEL, K)
        eliminate_panel(Y[first:end], alive, places, pivots[first:end], largest[first:end])
        remove_panel(Y[first:end], places, Y[end:], largest[end:], room[:, : K - end])
    smallest = 1.0
    for k in range(K):
        inside = abs(pivots[k]) > 1.0 / RANGE and largest[k] < RANGE
        smallest = min(smallest, abs(pivots[k]) / largest[k]) if inside else 0.0
    return smallest


@compiled("contract", "nsz")
def push_directions(matrix: Array, slopes: Array, Y: Array, out: Array) -> None:
    """out = Y J^T.  (N,N), (N,) or (0,), (K,N) -> (K,N)"""
    K, N = Y.shape
    for k in range(K):
        for n in range(N):
            out[k, n] = 0.0
    add_rows(Y, matrix, out)
    for k in range(K if slopes.size else 0):
        for n in range(N):
            out[k, n] *= slopes[n]


@compiled("contract", "nsz")
def follow_volumes(matrices: Array, slopes: Array, Y: Array, logs: Array) -> tuple[int, int]:
    """Y through J_1, J_2, ..., with an elimination after one or a few; logs (K,) += log |U[i,i]|.

    Args:
        matrices: (L,N,N) the transposed J_t, or (1,N,N) W^T where J_t = diag(slopes_t) W.
        slopes: (L,N), or (L,0) where the matrices are the J_t themselves.
        Y: (K,N) of moderate size, which becomes the last L_t^T.

    Returns:
        the steps that were done: all L, or as many as came before one that has to be looked at more closely; and the
        number of eliminations.
    """
    K, N = Y.shape
    before, ahead, L, pivots = (allocate(K, N, Y.dtype), allocate(K, N, Y.dtype), allocate(K, N, Y.dtype), np.empty(K))
    copy_rows(Y, L)
    step, together, eliminations = 0, 1, 0
    while step < len(slopes):
        steps = min(together, len(slopes) - step)
        push_directions(matrices[step % len(matrices)], slopes[step], L, ahead)
        for t in range(step + 1, step + steps):
            before, ahead = ahead, before
            push_directions(matrices[t % len(matrices)], slopes[t], before, ahead)
        smallest = eliminate(ahead, pivots)
        if smallest < (LEAST_PIVOT if steps == 1 else LEAST_OF_PRODUCT):
            if steps == 1:
                return step, eliminations
            together = steps // 2
            continue
        for k in range(K):
            logs[k] += math.log(abs(pivots[k]))
        ahead, L = L, ahead
        step, eliminations = step + steps, eliminations + 1
        together = min(2 * steps, MOST_TOGETHER) if smallest * smallest > LEAST_OF_PRODUCT else steps
    copy_rows(L, Y)
    return step, eliminations
