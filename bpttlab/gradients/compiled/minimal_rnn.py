"""The recursion of a minimalRNN: h_t = u_t . h_{t-1} + (1 - u_t) . z_t, with the gate u_t = sigma(... + W h_{t-1}).

Its projections, its linearization and the sums of its gradient are those of the cell. W stands above W_z, (2N,N).

Index legend: T time, B sequence, N hidden unit, Q sequences of a step, R rows for each.
"""

from __future__ import annotations

from bpttlab.gradients.compiled.arrays import add_product, transpose
from bpttlab.gradients.compiled.elementary import logistic_and_slope
from bpttlab.gradients.compiled.kinds import MinimalKind, define_loops
from bpttlab.gradients.compiled.lstm import step_back_gates
from bpttlab.numerics.array import Array


def transpose_gate(kind: MinimalKind, W: Array) -> tuple[Array, Array]:
    """W^T, without W_z, which acts on no state."""
    N = W.shape[1]
    return transpose(W, 0, N), transpose(W, N, N)


def step_forward_minimal(
    kind: MinimalKind, z: Array, W: Array, W_rest: Array, b_n: Array, h: Array, slopes: Array, smallest: float
) -> None:
    """Every h_t from [z_t, W_z z_t + b_h], in place.  z (T,B,2N), W^T (N,N), h (T+1,B,N)"""
    T, B, N = z.shape[0], z.shape[1], h.shape[2]
    for t in range(T):
        waiting = z[t, :, N:]
        add_product(h[t], W, waiting)
        for b in range(B):
            for n in range(N):
                keep, take = logistic_and_slope(waiting[b, n])[0], logistic_and_slope(-waiting[b, n])[0]
                h[t + 1, b, n] = keep * h[t, b, n] + take * z[t, b, n]


def pull_back_minimal(
    kind: MinimalKind, W: Array, slopes: Array, dh: Array, da: Array, dh_prev: Array, gated: Array
) -> None:
    """`MinimalRNN.vjp`; slopes (Q,5N) are [s_u, u, 1 - u, tanh'(a_z), z], da (R Q,2N) is [da_z, da_u]."""
    Q, N = len(slopes), W.shape[1]
    for row in range(len(dh)):
        s = slopes[row % Q]
        for n in range(N):
            da[row, N + n] = s[n] * dh[row, n]
            dh_prev[row, n] = s[N + n] * dh[row, n]
            da[row, n] = s[2 * N + n] * dh[row, n]
    add_product(da[:, N:], W[:N], dh_prev)
    add_product(da[:, N:], W[N:], da[:, :N])
    for row in range(len(dh)):
        for n in range(N):
            da[row, n] = slopes[row % Q, 3 * N + n] * da[row, n]


define_loops(
    MinimalKind,
    transpose_weights=transpose_gate,
    step_forward=step_forward_minimal,
    pull_back=pull_back_minimal,
    step_back=step_back_gates,
)
