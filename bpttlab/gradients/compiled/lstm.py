"""The loops of an LSTM (Hochreiter & Schmidhuber 1997; forget gate: Gers, Schmidhuber & Cummins 2000).

Index legend: T time, B sequence, N hidden unit, Q sequences of a step, R rows for each.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bpttlab.gradients.compiled.arrays import add_one_row, add_product, allocate, copy_rows
from bpttlab.gradients.compiled.elementary import logistic_and_slope, tanh_and_slope
from bpttlab.gradients.compiled.elman import add_recurrent_gradient_elman, transpose_elman
from bpttlab.gradients.compiled.kinds import LSTMKind, define_loops, pull_back
from bpttlab.gradients.compiled.products import add_rows
from bpttlab.numerics.array import Array


def step_forward_lstm(
    kind: LSTMKind, z: Array, W: Array, W_rest: Array, b_n: Array, h: Array, slopes: Array, smallest: float
) -> None:
    """`LSTM.step` and `LSTM.slopes` for every t, in place.

    z (T,B,4N), W^T (N,4N), h (T+1,B,2N), slopes (T,B,6N). z ends as the gates.

    A loop has few arrays: where there are many, no compiler proves that they do not overlap, and it takes one number
    at a time.
    """
    T, B, A = z.shape
    N = A // 4
    h_prev, k = allocate(B, N, z.dtype), np.empty(N, z.dtype)
    for t in range(T):
        copy_rows(h[t, :, :N], h_prev)
        if B == 1:
            add_one_row(h_prev[0], W, z[t, 0])
        else:
            add_rows(h_prev, W, z[t])
        for b in range(B):
            a, s, c_prev, h_t, c_t = z[t, b], slopes[t, b], h[t, b, N:], h[t + 1, b, :N], h[t + 1, b, N:]
            i, f, g, o = a[:N], a[N : 2 * N], a[2 * N : 3 * N], a[3 * N :]
            s_i, s_f, s_g, s_o, forget, s_c = (
                s[:N],
                s[N : 2 * N],
                s[2 * N : 3 * N],
                s[3 * N : 4 * N],
                s[4 * N : 5 * N],
                s[5 * N :],
            )
            for n in range(2 * N):
                a[n], s[n] = logistic_and_slope(a[n])
            for n in range(N):
                g[n], s_g[n] = tanh_and_slope(g[n])
            for n in range(N):
                o[n], s_o[n] = logistic_and_slope(o[n])
            for n in range(N):
                c_t[n] = f[n] * c_prev[n] + i[n] * g[n]
            for n in range(N):
                s_i[n] = s_i[n] * g[n]
            for n in range(N):
                s_f[n] = s_f[n] * c_prev[n]
            for n in range(N):
                s_g[n] = s_g[n] * i[n]
                forget[n] = f[n]
            for n in range(N):
                k[n], s_c[n] = tanh_and_slope(c_t[n])
            for n in range(N):
                h_t[n] = o[n] * k[n]
                s_c[n] = s_c[n] * o[n]
            for n in range(N):
                s_o[n] = s_o[n] * k[n]


def pull_back_lstm(kind: LSTMKind, W: Array, slopes: Array, dh: Array, da: Array, dh_prev: Array, sent: Array) -> None:
    """`LSTM.vjp`; sent (R Q,N)."""
    Q, N = len(slopes), W.shape[1]
    for row in range(len(dh)):
        s, d = slopes[row % Q], da[row]
        for n in range(N):
            dc = dh[row, N + n] + s[5 * N + n] * dh[row, n]
            d[n] = s[n] * dc
            d[N + n] = s[N + n] * dc
            d[2 * N + n] = s[2 * N + n] * dc
            d[3 * N + n] = s[3 * N + n] * dh[row, n]
            dh_prev[row, N + n] = s[4 * N + n] * dc
            sent[row, n] = 0.0
    add_product(da, W, sent)
    for row in range(len(dh)):
        for n in range(N):
            dh_prev[row, n] = sent[row, n]


def step_back_gates(kind: Any, W: Array, slopes: Array, delta: Array, da: Array, gated: Array, dh: Array) -> None:
    """`step_back` of a cell with gates."""
    T, B, S = delta.shape
    for t in range(T - 1, -1, -1):
        for b in range(B):
            for n in range(S):
                delta[t, b, n] += dh[b, n]
        pull_back(kind, W, slopes[t], delta[t], da[t], dh, gated[t])


define_loops(
    LSTMKind,
    transpose_weights=transpose_elman,
    step_forward=step_forward_lstm,
    pull_back=pull_back_lstm,
    step_back=step_back_gates,
    add_recurrent_gradient=add_recurrent_gradient_elman,
)
