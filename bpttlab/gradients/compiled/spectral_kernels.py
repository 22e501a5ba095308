"""The loops of the fast ways to norms of products and to truncations, compiled: for traces with `engine="numba"`.

The largest singular value of each of many matrices by Lanczos, the steps of a product of few rows, and the lag
wavefront of an Elman cell in tiles of losses. Interpreted, without Numba, they give the same numbers up to rounding.

As in `kernels`, all that is compiled and calls each other stands in this one file, and no sum is reassociated.

Index legend: L lags or matrices, R rows, N state, T time, I tile of losses, P parameters.
"""

from __future__ import annotations

import math

import numpy as np

from bpttlab.gradients.compiled.compilation import compiled
from bpttlab.numerics.array import Array
from bpttlab.numerics.scaled import LOG_2

_NOISE = 0.05
"""Of a random vector in each start, beside the vector that led before: another may have overtaken it."""

RESIDUAL = 1e-12
"""||A A^T u - theta u|| / theta at which a singular vector may be found.

One step more must leave theta as it is (`_UNCHANGED`): of two nearly equal singular values the smaller one has a small
residual as well, and the next direction of Lanczos points to the larger."""

_UNCHANGED = 1e-13
"""Relative change of theta in the step that confirms it."""

_INVARIANT = 1e-14
"""||A A^T u - theta u|| / theta below which the next direction is only rounding."""

MOST_STEPS = 48
"""Of Lanczos; where more are needed the caller takes all singular values."""


@compiled("contract", "nsz")
def bisect_root(alpha: Array, beta: Array, count: int, above: float) -> float:
    """`largest_root` by halving, where eigenvalues so near to each other that Newton's method is slow are the largest.

    No eigenvalue is larger than x where all pivots of x - T are positive (Sturm); the largest entry of the diagonal is
    no larger than the largest eigenvalue.
    """
    low = alpha[0]
    for i in range(1, count):
        low = max(low, alpha[i])
    high = above
    for _ in range(100):
        x = 0.5 * (low + high)
        if not low < x < high:
            break
        pivot = x - alpha[0]
        for i in range(1, count):
            if not pivot > 0.0:
                break
            pivot = x - alpha[i] - beta[i - 1] * beta[i - 1] / pivot
        if pivot > 0.0:
            high = x
        else:
            low = x
    return high


@compiled("contract", "nsz")
def largest_root(alpha: Array, beta: Array, count: int, above: float) -> float:
    """Largest eigenvalue of a symmetric tridiagonal matrix, by Newton's method from a number that is not below it."""
    x = above
    for _ in range(60):
        pivot, slope = x - alpha[0], 1.0
        if not pivot > 0.0:
            return x
        total = 1.0 / pivot
        for i in range(1, count):
            slope = 1.0 + beta[i - 1] * beta[i - 1] * slope / (pivot * pivot)
            pivot = x - alpha[i] - beta[i - 1] * beta[i - 1] / pivot
            if not pivot > 0.0:
                return x
            total += slope / pivot
        step = 1.0 / total
        x -= step
        if step <= 1e-16 * x:
            return x
    return bisect_root(alpha, beta, count, x)


@compiled("contract", "nsz")
def ritz_vector(alpha: Array, beta: Array, count: int, theta: float, s: Array) -> None:
    """The eigenvector of that eigenvalue, from its last entry, which is the smallest: the stable way."""
    s[count - 1] = 1.0
    for i in range(count - 1, 0, -1):
        after = beta[i] * s[i + 1] if i + 1 < count else 0.0
        s[i - 1] = ((theta - alpha[i]) * s[i] - after) / beta[i - 1]
    total = 0.0
    for i in range(count):
        total += s[i] * s[i]
    for i in range(count):
        s[i] /= math.sqrt(total)


@compiled("contract", "nsz")
def largest_squares(matrices: Array, u: Array, noise: Array, found: Array) -> None:
    """Squares of the largest singular values of matrices that follow on each other, (L,R,N) -> (L,).

    Lanczos on A A^T from the vector that led the matrix before, and some noise; full reorthogonalisation; until the
    residual is small (`RESIDUAL`) and one step more confirms it. NaN where it is not after `MOST_STEPS`.

    Args:
        u: (R,) the left singular vector to start from, which becomes that of the last matrix.
        noise: (R,) a random vector of norm one.
    """
    L, R, N = matrices.shape
    most = min(R, MOST_STEPS)
    Q, s, c = np.empty((most, R)), np.empty(most), np.empty(most)
    alpha, beta = np.empty(most), np.empty(most)
    z, w, room = np.empty(N), np.empty(R), np.empty(R)
    for lag in range(L):
        A = matrices[lag]
        for i in range(R):
            w[i] = u[i] + _NOISE * noise[i]
        size = math.sqrt(np.dot(w, w))
        theta, before, steps, small, converged = 0.0, 0.0, 0, False, False
        while steps < most and not converged:
            for i in range(R):
                Q[steps, i] = w[i] / size
            np.dot(Q[steps], A, z)
            np.dot(A, z, w)
            alpha[steps] = np.dot(Q[steps], w)
            steps += 1
            for _ in range(2):
                np.dot(Q[:steps], w, c[:steps])
                np.dot(c[:steps], Q[:steps], room)
                for i in range(R):
                    w[i] -= room[i]
            size = math.sqrt(np.dot(w, w))
            beta[steps - 1] = size
            before = theta
            if steps == 1:
                theta = alpha[0]
            else:
                half, coupling = 0.5 * (theta - alpha[steps - 1]), beta[steps - 2]
                above = 0.5 * (theta + alpha[steps - 1]) + math.sqrt(half * half + coupling * coupling)
                theta = largest_root(alpha, beta, steps, above * (1.0 + 1e-15))
            ritz_vector(alpha, beta, steps, theta, s)
            residual = size * s[steps - 1]
            confirmed = small and theta - before <= _UNCHANGED * theta
            small = residual <= RESIDUAL * theta
            converged = small and (confirmed or size <= _INVARIANT * theta)
        found[lag] = theta if converged or steps == R else math.nan
        np.dot(s[:steps], Q[:steps], u)


@compiled("contract", "nsz")
def log_norms(mantissas: Array, exponents: Array, u: Array, noise: Array, found: Array) -> None:
    """log of the largest singular value of matrices whose rows are normalised and have exponents.

    (M,N,N) and (M,N) -> (M,); -inf is exactly zero, NaN as in `largest_squares`, whose `u` and `noise` these are.
    """
    M, R, N = mantissas.shape
    A, square = np.empty((1, R, N)), np.empty(1)
    for m in range(M):
        most, alive = exponents[m].max(), False
        for row in range(R):
            factor = math.ldexp(1.0, int(max(exponents[m, row] - most, -1000)))
            for n in range(N):
                A[0, row, n] = float(mantissas[m, row, n]) * factor
                alive = alive or A[0, row, n] != 0.0
        found[m] = -math.inf
        if alive:
            largest_squares(A, u, noise, square)
            found[m] = 0.5 * math.log(square[0]) + most * LOG_2


FEW_ROWS = 7
"""Rows up to which loops are faster than BLAS, which copies W at every call."""


@compiled("contract", "nsz")
def _times(left: Array, right: Array, out: Array) -> None:
    """out = left . right.  (R,K), (K,M) -> (R,M)"""
    R, K = left.shape
    M = right.shape[1]
    if R > FEW_ROWS:
        np.dot(left, right, out)
        return
    out[:] = 0.0
    whole = K - K % 4
    for row in range(R):
        l, o = left[row], out[row]
        for k in range(0, whole, 4):
            l_0, l_1, l_2, l_3 = l[k], l[k + 1], l[k + 2], l[k + 3]
            for m in range(M):
                early = l_0 * right[k, m] + l_1 * right[k + 1, m]
                o[m] += early + (l_2 * right[k + 2, m] + l_3 * right[k + 3, m])
        for k in range(whole, K):
            for m in range(M):
                o[m] += l[k] * right[k, m]


@compiled("contract", "nsz")
def push_rows(W: Array, slopes: Array, rows: Array) -> None:
    """Rows through the Jacobians diag(slope) W of an Elman cell: fills rows[1:] from rows[0].

    W (N,N), slopes (L,N), the last that of the first step back; rows (L+1,R,N).
    """
    L, N = slopes.shape
    R = rows.shape[1]
    da = np.empty((R, N))
    for lag in range(L):
        slope, dh = slopes[L - 1 - lag], rows[lag]
        for row in range(R):
            for n in range(N):
                da[row, n] = slope[n] * dh[row, n]
        _times(da, W, rows[lag + 1])


@compiled("contract", "nsz")
def pass_tile_back(
    W: Array, slopes: Array, Z: Array, local: Array, interval: Array, least: float, most: float, begin: int,
    together: int, B: int, lag: int, until: int, dh: Array, shares: Array, gradients: Array, sums: Array, room: Array,
) -> int:  # fmt: skip
    """The losses of one tile, from a lag on until their da are below `least`, but no less far than `until`.

    Returns:
        the lag of the cotangents that are in dh then, -1 where numbers left their range.
    """
    rows, N = dh.shape
    T, start, of_tile = rows // B, lag, np.empty(gradients.shape[1:])
    losses = min(together, T - begin)
    while lag < begin + losses:
        gone = max(0, lag - begin)
        at, count, own = (begin + gone - lag) * B, (losses - gone) * B, interval[lag]
        going, da = dh[(begin + gone) * B : (begin + losses) * B], room[:count]
        first, last = at * N, (at + count) * N
        d, e, slope, total = going.reshape(-1), da.reshape(-1), slopes[first:last], sums[first:last]
        for n in range(count * N):
            e[n] = slope[n] * d[n]
            total[n] += slope[n] * d[n]
        for p in range(len(Z)):
            shares[lag, p] += np.dot(e, Z[p, first:last])
        square = np.dot(e, e)
        if not square <= most * most:
            return -1
        np.dot(da, W, going)
        lag += 1
        ended = square <= least * least and lag >= until
        if ended or lag == begin + losses or interval[lag] != own:
            lowest, highest = max(0, begin - lag + 1) * B, min(T, begin + losses - start) * B
            of_rows = sums[lowest * N : highest * N]
            np.dot(of_rows.reshape(-1, N).T, local[lowest:highest], of_tile)
            whole = gradients[own]
            for n in range(N):  # an assignment of arrays would compile the words of its error for seconds
                for m in range(whole.shape[1]):
                    whole[n, m] += of_tile[n, m]
            of_rows[:] = 0.0
            start = lag
        if ended:
            return lag
    return lag


@compiled("contract", "nsz")
def wave_in_tiles(
    W: Array, slopes: Array, Z: Array, local: Array, interval: Array, least: float, most: float, together: int, B: int,
    dh: Array, shares: Array, gradients: Array,
) -> int:  # fmt: skip
    """The lag wavefront of an Elman cell, in tiles: some losses through all their lags, then others.

    A tile ends where its da are below `least`; then those that ended before the last are taken as far as that.
    Rows are steps and sequences, the sequences fastest: (T B) of them.

    Args:
        W, slopes: (N,N), (T B N,).
        Z: (P,T B N), for each parameter what gives <G_l, g> as an inner product with da.
        local: (T B,M) what da_k is multiplied by in all parameters, side by side.
        interval: (T,) which sum of lags each lag belongs to.
        least, most: Frobenius norms of the da of a tile at which it ends, and at which all is given up.
        together: losses in a tile.
        dh: (T B,N) the errors of the losses, which become their cotangents after the lags that were followed.
        shares, gradients: (T,P) and (intervals,N,M), zeros, which are filled: inner products of each lag; sums of the
            gradients of each interval.

    Returns:
        how many lags were followed; -1 where numbers left their range.
    """
    rows, N = dh.shape
    T = rows // B
    tiles = (T + together - 1) // together
    sums, room, reached = np.zeros(rows * N), np.empty((together * B, N)), np.zeros(tiles, np.int64)
    furthest = reached[0]  # zero, and no literal: that would be one more type of `pass_tile_back` to compile
    for _ in range(2):
        for tile in range(tiles):
            begin = tile * together
            if reached[tile] < min(furthest, min(T, begin + together)) or reached[tile] == 0:
                reached[tile] = pass_tile_back(
                    W, slopes, Z, local, interval, least, most, begin, together, B, reached[tile], furthest, dh,
                    shares, gradients, sums, room,
                )  # fmt: skip
                if reached[tile] < 0:
                    return -1
                furthest = max(furthest, reached[tile])
    return furthest
