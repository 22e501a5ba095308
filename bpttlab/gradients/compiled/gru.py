"""The loops of a GRU (Cho et al. 2014), with the reset gate after or before the product with W_n.

Index legend: T time, B sequence, N hidden unit, Q sequences of a step, R rows for each.
"""

from __future__ import annotations

import numpy as np

from bpttlab.gradients.compiled.arrays import add_columns, add_one_row, add_product, allocate, copy_rows, transpose
from bpttlab.gradients.compiled.compilation import compiled
from bpttlab.gradients.compiled.elementary import logistic_and_slope, tanh_and_slope
from bpttlab.gradients.compiled.elman import transpose_elman
from bpttlab.gradients.compiled.kinds import GRUAfterKind, GRUBeforeKind, define_loops
from bpttlab.gradients.compiled.lstm import step_back_gates
from bpttlab.gradients.compiled.products import add_rows
from bpttlab.numerics.array import Array


def transpose_before(kind: GRUBeforeKind, W: Array) -> tuple[Array, Array]:
    """[W_r; W_u]^T and W_n^T."""
    N = W.shape[1]
    return transpose(W, 0, 2 * N), transpose(W, 2 * N, 3 * N)


def step_forward_after(
    kind: GRUAfterKind, z: Array, W: Array, W_rest: Array, b_n: Array, h: Array, slopes: Array, smallest: float
) -> None:
    gru_forward(True, z, W, W_rest, b_n, h, slopes)


def step_forward_before(
    kind: GRUBeforeKind, z: Array, W: Array, W_rest: Array, b_n: Array, h: Array, slopes: Array, smallest: float
) -> None:
    gru_forward(False, z, W, W_rest, b_n, h, slopes)


@compiled("contract", "nsz")
def gru_forward(after: bool, z: Array, W: Array, W_n: Array, b_n: Array, h: Array, slopes: Array) -> None:
    """`GRU.step` and `GRU.slopes` for every t, in place.  z (T,B,3N), W (N,2N or 3N), h (T+1,B,N), slopes (T,B,5N)

    W is the transpose of what h_{t-1} meets as it is, [W_r; W_u] and, where the reset comes
    after, W_n; W_n that of what meets r . h_{t-1}, where it comes before. Loops are as small as in `lstm_forward`.
    """
    T, B, A = z.shape
    N = A // 3
    recurrent, candidate, gated = allocate(B, W.shape[1], z.dtype), allocate(B, N, z.dtype), allocate(B, N, z.dtype)
    rest = np.empty(N, z.dtype)
    for t in range(T):
        recurrent[:] = 0.0
        if B == 1:
            add_one_row(h[t, 0], W, recurrent[0])
        else:
            add_rows(h[t], W, recurrent)
        for b in range(B):
            a, s, w, product = z[t, b], slopes[t, b], recurrent[b], gated[b]
            s_r, gates = s[:N], s[3 * N :]
            multiplied = w[2 * N :] if after else h[t, b]
            for n in range(2 * N):
                a[n] = a[n] + w[n]
            for n in range(2 * N):
                w[n], s[n] = logistic_and_slope(a[n])
            for n in range(2 * N):
                gates[n] = w[n]  # not above, where one loop would fill two parts of the slopes
            for n in range(b_n.size):
                multiplied[n] = multiplied[n] + b_n[n]
            for n in range(N):
                product[n] = w[n] * multiplied[n]
                s_r[n] = s_r[n] * multiplied[n]
        if after:
            copy_rows(gated, candidate)
        else:
            candidate[:] = 0.0
            add_product(gated, W_n, candidate)
        for b in range(B):
            a, s, c, h_prev, h_t = z[t, b], slopes[t, b], candidate[b], h[t, b], h[t + 1, b]
            a_n, s_u, s_n, u = a[2 * N :], s[N : 2 * N], s[2 * N : 3 * N], s[4 * N :]
            for n in range(N):
                rest[n] = logistic_and_slope(-a[N + n])[0]  # 1 - u, exact where u is near one
            for n in range(N):
                c[n], s_n[n] = tanh_and_slope(a_n[n] + c[n])
            for n in range(N):
                h_t[n] = u[n] * h_prev[n] + rest[n] * c[n]
            for n in range(N):
                s_u[n] = s_u[n] * (h_prev[n] - c[n])
            for n in range(N):
                s_n[n] = s_n[n] * rest[n]


def pull_back_after(
    kind: GRUAfterKind, W: Array, slopes: Array, dh: Array, da: Array, dh_prev: Array, gated: Array
) -> None:
    """`GRU.vjp` with reset = after; gated (R Q,3N) is [da_r, da_u, r da_n]."""
    Q, N = len(slopes), W.shape[1]
    for row in range(len(dh)):
        s, d = slopes[row % Q], da[row]
        for n in range(N):
            da_u, da_n = s[N + n] * dh[row, n], s[2 * N + n] * dh[row, n]
            d[n] = gated[row, n] = s[n] * da_n
            d[N + n] = gated[row, N + n] = da_u
            d[2 * N + n] = da_n
            gated[row, 2 * N + n] = s[3 * N + n] * da_n
            dh_prev[row, n] = s[4 * N + n] * dh[row, n]
    add_product(gated, W, dh_prev)


def pull_back_before(
    kind: GRUBeforeKind, W: Array, slopes: Array, dh: Array, da: Array, dh_prev: Array, gated: Array
) -> None:
    """`GRU.vjp` with reset = before; gated (R Q,2N) is [da_r, da_u]."""
    Q, N = len(slopes), W.shape[1]
    candidate, dq = allocate(len(dh), N, dh.dtype), allocate(len(dh), N, dh.dtype)  # dq: of q = r . h_prev
    dq[:] = 0.0
    for row in range(len(dh)):
        for n in range(N):
            candidate[row, n] = slopes[row % Q, 2 * N + n] * dh[row, n]
    add_product(candidate, W[2 * N :], dq)
    for row in range(len(dh)):
        s, d = slopes[row % Q], da[row]
        for n in range(N):
            d[n] = gated[row, n] = s[n] * dq[row, n]
            d[N + n] = gated[row, N + n] = s[N + n] * dh[row, n]
            d[2 * N + n] = candidate[row, n]
            dh_prev[row, n] = s[4 * N + n] * dh[row, n] + s[3 * N + n] * dq[row, n]
    add_product(gated, W[: 2 * N], dh_prev)


def add_recurrent_gradient_after(
    kind: GRUAfterKind, h_prev: Array, slopes: Array, da: Array, gated: Array, dW: Array, db_n: Array
) -> None:
    """dW += gated^T h_prev, db_n += the sum of gated."""
    add_rows(gated.T, h_prev, dW)
    add_columns(gated, db_n)


def add_recurrent_gradient_before(
    kind: GRUBeforeKind, h_prev: Array, slopes: Array, da: Array, gated: Array, dW: Array, db_n: Array
) -> None:
    """[dW_r; dW_u] += gated^T h_prev, dW_n += da_n^T (r . h_prev)."""
    Q, N = h_prev.shape
    candidate, reset = allocate(Q, N, da.dtype), allocate(Q, N, da.dtype)
    for q in range(Q):
        for n in range(N):
            candidate[q, n] = da[q, 2 * N + n]
            reset[q, n] = slopes[q, 3 * N + n] * h_prev[q, n]
    add_rows(gated.T, h_prev, dW[: 2 * N])
    add_rows(candidate.T, reset, dW[2 * N :])


define_loops(
    GRUAfterKind,
    transpose_weights=transpose_elman,
    step_forward=step_forward_after,
    pull_back=pull_back_after,
    step_back=step_back_gates,
    add_recurrent_gradient=add_recurrent_gradient_after,
)
define_loops(
    GRUBeforeKind,
    transpose_weights=transpose_before,
    step_forward=step_forward_before,
    pull_back=pull_back_before,
    step_back=step_back_gates,
    add_recurrent_gradient=add_recurrent_gradient_before,
)
