"""The largest singular value of each of many small matrices, and the left singular vector that belongs to it, compiled.

The Gram matrix A A^T of a matrix is reduced to a tridiagonal one by Householder's reflections, whose largest eigenvalue
is found by Newton's method. At N = 32 this takes half the time of Lanczos, and a fifth of that of all vectors
by LAPACK. Squaring halves the digits of small singular values, but not of the largest one.

Sources: Parlett 1980 (reflections, bounds and counts of eigenvalues); Parlett & Dhillon 1997 (the vector from pivots of
both ends).

Index legend: M matrices, R rows, N columns.
"""

from __future__ import annotations

import math

import numpy as np

from bpttlab.gradients.compiled.compilation import compiled
from bpttlab.gradients.compiled.spectral_kernels import largest_root
from bpttlab.gradients.engine import SpectralNorms
from bpttlab.numerics.array import Array
from bpttlab.numerics.scaled import LOG_2, Scaled

LARGEST_SIZE = 48
"""Rows and columns up to which this is faster than Lanczos."""

ALONE = 1e-3
"""A vector is given if no other square of a singular value is this close to the largest, relatively: it is known to
1e-12 then."""

_RESIDUAL = 1e-13
"""||T z - theta z|| / theta, of a vector of norm one, up to which a vector is given."""

_NOTHING = 1e-280
"""Squares below it are zero, beside a matrix with its largest entry in [1/2, 1)."""


@compiled("contract", "nsz")
def share_exponent(mantissas: Array, exponents: Array, A: Array) -> int:
    """A = rows with an exponent each, times 2^-e, with its largest entry in [1/2, 1): e.  (R,N), (R,) -> (R,N)"""
    R, N = A.shape
    most = exponents[0]
    for row in range(R):
        most = max(most, exponents[row])
    largest = 0.0
    for row in range(R):
        factor = math.ldexp(1.0, int(max(exponents[row] - most, -1000)))
        for n in range(N):
            A[row, n] = float(mantissas[row, n]) * factor
            largest = max(largest, abs(A[row, n]))
    shift = math.frexp(largest)[1]
    factor = math.ldexp(1.0, -shift)
    if shift != 0:
        for row in range(R):
            for n in range(N):
                A[row, n] *= factor
    return most + shift


@compiled("contract", "nsz")
def multiply_by_transpose(A: Array, transposed: Array, G: Array) -> None:
    """G = A A^T; `transposed` is room.  (R,N), (N,R), (R,R)

    It is no matrix product of `products`, so that its compilation need not wait for theirs.
    """
    R, N = A.shape
    for n in range(N):
        for row in range(R):
            transposed[n, row] = A[row, n]
    for row in range(R):
        out = G[row]
        for j in range(R):
            out[j] = 0.0
        for n in range(N):
            factor, of_n = A[row, n], transposed[n]
            for j in range(R):
                out[j] += factor * of_n[j]


@compiled("contract", "nsz")
def tridiagonalise(G: Array, alpha: Array, beta: Array, reflections: Array, halves: Array) -> None:
    """Q^T G Q with diagonal alpha (R,) and beta (R,) beside it, of a symmetric matrix, which is overwritten.  (R,R)

    Q is the product of I - v v^T / h over the rows v of `reflections` (R,R) and h of `halves` (R,), where h is not 0.
    """
    R = len(G)
    p = np.empty(R)
    for k in range(R - 2):
        v = reflections[k]
        square = 0.0
        for j in range(R):
            v[j] = G[k, j] if j > k else 0.0
        for j in range(k + 2, R):
            square += v[j] * v[j]
        halves[k] = 0.0
        beta[k] = v[k + 1]
        if square <= _NOTHING:
            continue
        size = math.sqrt(square + v[k + 1] * v[k + 1])
        beta[k] = -size if v[k + 1] > 0.0 else size
        h = size * (size + abs(v[k + 1]))
        v[k + 1] -= beta[k]
        halves[k] = h
        for j in range(R):
            p[j] = 0.0
        for i in range(k + 1, R):  # over all columns: LLVM makes vectors of loops from 0 alone
            factor, row = v[i], G[i]
            for j in range(R):
                p[j] += factor * row[j]
        inner = 0.0
        for j in range(k + 1, R):
            inner += p[j] * v[j]
        inner /= 2.0 * h
        for j in range(R):
            p[j] = (p[j] - inner * v[j]) / h if j > k else 0.0
        for i in range(k + 1, R):
            of_p, of_v, row = v[i], p[i], G[i]
            for j in range(R):
                row[j] -= of_p * p[j] + of_v * v[j]
    for k in range(R):
        alpha[k] = G[k, k]
    if R > 1:
        beta[R - 2] = G[R - 1, R - 2]
        halves[R - 2] = 0.0
    beta[R - 1] = halves[R - 1] = 0.0


@compiled("contract", "nsz")
def bound_above(alpha: Array, beta: Array) -> float:
    """A number that no eigenvalue of the tridiagonal matrix is above (Gershgorin)."""
    above, before = 0.0, 0.0
    for k in range(len(alpha)):
        above = max(above, alpha[k] + before + abs(beta[k]))
        before = abs(beta[k])
    return above * (1.0 + 1e-15)


@compiled("contract", "nsz")
def count_above(alpha: Array, beta: Array, x: float) -> int:
    """How many eigenvalues of the tridiagonal matrix are above x (Sturm)."""
    count, pivot, square = 0, 1.0, 0.0
    for k in range(len(alpha)):
        pivot = x - alpha[k] - square / pivot
        if pivot == 0.0:
            pivot = -_NOTHING
        count += 1 if pivot < 0.0 else 0
        square = beta[k] * beta[k]
    return count


@compiled("contract", "nsz")
def find_vector(alpha: Array, beta: Array, theta: float, z: Array, from_top: Array, from_end: Array) -> bool:
    """The eigenvector of the largest eigenvalue; whether it is one to rounding. The others are room.  (R,) each

    Its largest entry stands where the pivots from the top and those from the end meet in the least number.
    """
    R = len(alpha)
    from_top[0], from_end[R - 1] = theta - alpha[0], theta - alpha[R - 1]
    for k in range(1, R):
        from_top[k] = theta - alpha[k] - beta[k - 1] * beta[k - 1] / from_top[k - 1]
        end = R - 1 - k
        from_end[end] = theta - alpha[end] - beta[end] * beta[end] / from_end[end + 1]
    twist, least = 0, math.inf
    for k in range(R):
        meeting = abs(from_top[k] + from_end[k] - (theta - alpha[k]))
        if meeting < least:
            twist, least = k, meeting
    z[twist] = square = 1.0
    for k in range(twist, 0, -1):
        z[k - 1] = beta[k - 1] * z[k] / from_top[k - 1]
        square += z[k - 1] * z[k - 1]
    for k in range(twist, R - 1):
        z[k + 1] = beta[k] * z[k] / from_end[k + 1]
        square += z[k + 1] * z[k + 1]
    size = math.sqrt(square)
    for k in range(R):
        z[k] /= size
    return least <= _RESIDUAL * theta * size and size < math.inf


@compiled("contract", "nsz")
def reflect_back(reflections: Array, halves: Array, z: Array) -> None:
    """z becomes Q z (`tridiagonalise`)."""
    for k in range(len(z) - 3, -1, -1):
        if halves[k] > 0.0:
            v, inner = reflections[k], 0.0
            for j in range(k + 1, len(z)):
                inner += v[j] * z[j]
            inner /= halves[k]
            for j in range(k + 1, len(z)):
                z[j] -= inner * v[j]


@compiled("contract", "nsz")
def has_finite_diagonal(G: Array) -> bool:
    """Whether the diagonal of a Gram matrix is: then every entry of the matrix is."""
    total = 0.0
    for k in range(len(G)):
        total += G[k, k]
    return total < math.inf


@compiled("contract", "nsz")
def find_leading(mantissas: Array, exponents: Array, logs: Array, vectors: Array) -> None:
    """log of the largest singular value of matrices whose rows have exponents, and its left singular vector.

    (M,R,N) and (M,R) -> logs (M,), -inf is exactly zero, NaN not finite; and vectors (M,R), NaN where another singular
    value is close (`ALONE`), or (0,R) where none are wanted.
    """
    M, R, N = mantissas.shape
    A, transposed, G = np.empty((R, N)), np.empty((N, R)), np.empty((R, R))
    reflections, halves = np.empty((R, R)), np.empty(R)
    alpha, beta, from_top, from_end = np.empty(R), np.empty(R), np.empty(R), np.empty(R)
    for m in range(M):
        exponent = share_exponent(mantissas[m], exponents[m], A)
        multiply_by_transpose(A, transposed, G)
        if not has_finite_diagonal(G):
            logs[m] = math.nan
            if len(vectors) > 0:
                vectors[m, :] = math.nan
            continue
        tridiagonalise(G, alpha, beta, reflections, halves)
        theta = largest_root(alpha, beta, R, bound_above(alpha, beta))
        logs[m] = 0.5 * math.log(theta) + exponent * LOG_2 if theta > 0.0 else -math.inf
        if len(vectors) == 0:
            continue
        z, found = vectors[m], False
        if theta > 0.0 and count_above(alpha, beta, theta * (1.0 - ALONE)) == 1:
            found = find_vector(alpha, beta, theta, z, from_top, from_end)
            reflect_back(reflections, halves, z)
        if not found:
            z[:] = math.nan


class DirectNorms(SpectralNorms):
    """Of small matrices, each by itself."""

    def logs(self, matrices: Scaled) -> Array:
        return find_pairs(matrices, vectors=False)[0]

    def logs_of_plain(self, matrices: Array) -> Array:
        return self.logs(Scaled(matrices, np.zeros((*matrices.shape[:-1], 1), np.int64)))

    def leading_pairs(self, matrices: Scaled) -> tuple[Array, Array]:
        return find_pairs(matrices, vectors=True)


def find_pairs(matrices: Scaled, vectors: bool) -> tuple[Array, Array]:
    """`find_leading`.  (..., R, N) -> (...), (..., R) or (0, R)"""
    before, (R, N) = matrices.shape[:-2], matrices.shape[-2:]
    mantissas = np.require(matrices.mantissa, requirements=["C", "W"]).reshape(-1, R, N)
    exponents = np.require(matrices.exponent, np.int64, requirements=["C", "W"]).reshape(-1, R)
    logs, found = np.empty(len(mantissas)), np.empty((len(mantissas) if vectors else 0, R))
    find_leading(mantissas, exponents, logs, found)
    return logs.reshape(before), found.reshape((*before, R) if vectors else (0, R))
