"""The recursion of a diagonal linear cell: h_t = lambda . h_{t-1} + z_t in complex numbers, [Re h, Im h] as the state.

Its projections, its linearization and the sums of its gradient are those of the cell. What stands for W are the rows
Re lambda and Im lambda, (2,N).

Index legend: T time, B sequence, N complex unit, Q sequences of a step, R rows for each.
"""

from __future__ import annotations

from bpttlab.gradients.compiled.kinds import DiagonalKind, define_loops
from bpttlab.gradients.compiled.lstm import step_back_gates
from bpttlab.numerics.array import Array


def keep_eigenvalues(kind: DiagonalKind, W: Array) -> tuple[Array, Array]:
    """lambda as it is: it needs no transpose."""
    return W, W


def step_forward_diagonal(
    kind: DiagonalKind, z: Array, W: Array, W_rest: Array, b_n: Array, h: Array, slopes: Array, smallest: float
) -> None:
    """Every h_t, in place.  z (T,B,2N), W (2,N), h (T+1,B,2N)"""
    T, B, N = z.shape[0], z.shape[1], W.shape[1]
    for t in range(T):
        for b in range(B):
            for n in range(N):
                re, im = h[t, b, n], h[t, b, N + n]
                h[t + 1, b, n] = z[t, b, n] + W[0, n] * re - W[1, n] * im
                h[t + 1, b, N + n] = z[t, b, N + n] + W[1, n] * re + W[0, n] * im


def pull_back_diagonal(
    kind: DiagonalKind, W: Array, slopes: Array, dh: Array, da: Array, dh_prev: Array, gated: Array
) -> None:
    """da = dh,  dh_prev = conj(lambda) . dh."""
    N = W.shape[1]
    for row in range(len(dh)):
        for n in range(N):
            re, im = dh[row, n], dh[row, N + n]
            da[row, n], da[row, N + n] = re, im
            dh_prev[row, n] = W[0, n] * re + W[1, n] * im
            dh_prev[row, N + n] = W[0, n] * im - W[1, n] * re


define_loops(
    DiagonalKind,
    transpose_weights=keep_eigenvalues,
    step_forward=step_forward_diagonal,
    pull_back=pull_back_diagonal,
    step_back=step_back_gates,
)
