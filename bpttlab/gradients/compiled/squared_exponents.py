"""Finite-time exponents of an Elman cell and the derivatives of the sum of their squares, compiled.

    J_t Q = diag(s_t) W Q          s_t = f_h'(a_t)

The QRs are by Gram and Schmidt, each direction twice, which keeps all of them orthogonal as long as the condition of
the product is moderate (`LARGEST_CONDITION`). A stretch above it is gone through again in fewer steps; a single step
above it is left to the caller. Directions are rows here, those of all sequences side by side, so that a step is one
product.

Index legend: T time, B sequence, N hidden unit, K directions, Q = B K rows, E QRs, U steps of a stretch.
"""

from __future__ import annotations

import math

import numpy as np

from bpttlab.gradients.compiled.arrays import add_one_row, allocate, copy_rows
from bpttlab.gradients.compiled.compilation import compiled
from bpttlab.gradients.compiled.elimination import subtract_multiple
from bpttlab.gradients.compiled.lag_sums import clear
from bpttlab.gradients.compiled.products import add_rows
from bpttlab.numerics.array import Array

MOST_CONDITION = 1e7
"""Of the product between two QRs."""


@compiled("contract", "nsz")
def orthonormalise_rows(Y: Array, R: Array, columns: Array, room: Array, row: Array) -> float:
    """Y = R^T Q with orthonormal rows of Q, which take the place of Y; R is upper triangular.

    Y (K,N), R (K,K), columns (N,K), room (K,) and row (N,) are filled. Returns the largest entry of R over the smallest
    on its diagonal; inf where a row becomes zero or is not finite.
    """
    K, N = Y.shape
    largest, smallest = 0.0, math.inf
    clear(columns)  # a product with all of them is faster than one with some
    for i in range(K):
        for n in range(N):
            row[n] = Y[i, n]
        for j in range(K):
            R[j, i] = 0.0
        for _ in range(2 if i > 0 else 0):
            for j in range(K):
                room[j] = 0.0
            add_one_row(row, columns, room)
            for j in range(i):
                R[j, i] += room[j]
                room[j] = -room[j]
            add_one_row(room[:i], Y[:i], row)
        square = 0.0
        for n in range(N):
            square += row[n] * row[n]
        size = math.sqrt(square)
        if not 0.0 < size < math.inf:
            return math.inf
        R[i, i] = size
        for n in range(N):
            Y[i, n] = row[n] / size
            columns[n, i] = Y[i, n]
        for j in range(i + 1):
            largest = max(largest, abs(R[j, i]))
        smallest = min(smallest, size)
    return largest / smallest


@compiled("contract", "nsz")
def push_frames(W_T: Array, slopes: Array, frames: Array, product: Array, out: Array) -> None:
    """product = frames W^T, and out the same times the slopes.  (N,N), (B,N), (Q,N) each"""
    clear(product)
    add_rows(frames, W_T, product)
    count = len(frames) // len(slopes)
    for q in range(len(frames)):
        for n in range(out.shape[1]):
            out[q, n] = product[q, n] * slopes[q // count, n]


@compiled("contract", "nsz")
def follow_frames(
    W_T: Array, slopes: Array, transient: int, interval: int, frames: Array, triangles: Array, ends: Array, logs: Array
) -> int:
    """All QRs of a trajectory, one of them at the end of the transient.

    Args:
        W_T, slopes: (N,N), (T,B,N).
        transient, interval: steps before those that are averaged, and from one QR to the next at most.
        frames: (T+1,Q,N), the directions before the first step; filled with those after each QR.
        triangles, ends: (T,B,K,K) and (T+1,), filled with R and the last step of each QR.
        logs: (B,K), to which log R[i,i] of the averaged steps is added.

    Returns:
        the number of QRs; -1 where the condition of a single step is too large.
    """
    T, B, N = slopes.shape
    Q, K = frames.shape[1], logs.shape[1]
    ahead, behind, product = (allocate(Q, N, frames.dtype), allocate(Q, N, frames.dtype), allocate(Q, N, frames.dtype))
    columns, room, row = np.empty((N, K)), np.empty(K), np.empty(N)
    t, number, steps = 0, 0, interval
    ends[0] = 0
    while t < T:
        steps = min(steps, (transient if t < transient else T) - t)
        push_frames(W_T, slopes[t], frames[number], product, ahead)
        for u in range(t + 1, t + steps):
            ahead, behind = behind, ahead
            push_frames(W_T, slopes[u], behind, product, ahead)
        condition = 1.0
        for b in range(B):
            own = orthonormalise_rows(ahead[b * K : (b + 1) * K], triangles[number, b], columns, room, row)
            condition = max(condition, own)
        if not condition <= MOST_CONDITION:
            if steps == 1:
                return -1
            steps = steps // 2
            continue
        t, number = t + steps, number + 1
        steps = min(2 * steps, interval) if condition * condition <= MOST_CONDITION else steps
        copy_rows(ahead, frames[number])
        ends[number] = t
        for b in range(B if t > transient else 0):
            for k in range(K):
                logs[b, k] += math.log(triangles[number - 1, b, k, k])
    return number


@compiled("contract", "nsz")
def pull_back_qr(frame: Array, R: Array, dQ: Array, dlogs: Array, room: Array, square: Array) -> None:
    """The cotangent of Y from those of Q and of log R[i,i], in place of dQ (`numerics.matrices.qr_vjp`).

    For exponents the lower triangle of dQ^T Q is zero but for rounding, since they depend on the spans of the first 1,
    2, ... directions alone. What rounding leaves there has to be taken out at every QR: it grows on the way back.

    frame, dQ, room (K,N), R, square (K,K), dlogs (K,)
    """
    K, N = frame.shape
    columns = allocate(N, K, frame.dtype)
    for k in range(K):
        for n in range(N):
            columns[n, k] = frame[k, n]
            room[k, n] = dQ[k, n]
    clear(square)
    add_rows(room, columns, square)  # dQ^T Q
    for i in range(K):
        square[i, i] = dlogs[i] - square[i, i]
        for j in range(i):
            square[i, j] = -square[i, j]
            square[j, i] = square[i, j]
    add_rows(square, frame, dQ)
    for i in range(K - 1, -1, -1):
        for j in range(i + 1, K):
            subtract_multiple(dQ[j], R[i, j], dQ[i])
        for n in range(N):
            dQ[i, n] /= R[i, i]


@compiled("contract", "nsz")
def pull_frames_back(
    W: Array, W_T: Array, slopes: Array, transient: int, frames: Array, triangles: Array, ends: Array, number: int,
    dlogs: Array, dslopes: Array, dW: Array,
) -> None:  # fmt: skip
    """From the cotangents of the logs to those of the slopes and of W, by way of J_t alone.

    Args:
        W, W_T, slopes, transient, frames, triangles, ends, number: as `follow_frames` had and left them.
        dlogs: (B,K).
        dslopes: (T,B,N), filled.
        dW: (N,N), to which is added.
    """
    B, N, Q, K = slopes.shape[1], slopes.shape[2], frames.shape[1], dlogs.shape[1]
    longest = 0
    for e in range(number):
        longest = max(longest, ends[e + 1] - ends[e])
    directions, products = np.empty((longest, Q, N), frames.dtype), np.empty((longest, Q, N), frames.dtype)
    dQ, other, none = allocate(Q, N, frames.dtype), allocate(Q, N, frames.dtype), np.zeros(K)
    square = np.empty((K, K), frames.dtype)
    clear(dQ)
    for e in range(number - 1, -1, -1):
        first, steps = ends[e], ends[e + 1] - ends[e]
        for b in range(B):
            first_row, end = b * K, (b + 1) * K
            own = dlogs[b] if ends[e + 1] > transient else none
            pull_back_qr(
                frames[e + 1][first_row:end], triangles[e, b], dQ[first_row:end], own, other[first_row:end], square
            )
        copy_rows(frames[e], directions[0])
        for u in range(steps):
            push_frames(
                W_T, slopes[first + u], directions[u], products[u], directions[u + 1] if u + 1 < steps else other
            )
        for u in range(steps - 1, -1, -1):
            pull_slopes(slopes[first + u], products[u], dQ, dslopes[first + u])
            add_rows(dQ.T, directions[u], dW)
            clear(other)
            add_rows(dQ, W, other)
            dQ, other = other, dQ


@compiled("contract", "nsz")
def pull_slopes(slopes: Array, product: Array, dY: Array, dslopes: Array) -> None:
    """dslopes = sum over directions of dY product; dY becomes the cotangent of the product.  (B,N), (Q,N)"""
    B, N = slopes.shape
    count = len(dY) // B
    clear(dslopes)
    for q in range(len(dY)):
        b = q // count
        for n in range(N):
            dslopes[b, n] += dY[q, n] * product[q, n]
            dY[q, n] *= slopes[b, n]
