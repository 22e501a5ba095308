"""The loops of an Elman cell: h_t = f_h(V x_t + W h_{t-1} + b_h), notes eq. 2.

Index legend: T time, B sequence, N hidden unit, Q sequences of a step, R rows for each.
"""

from __future__ import annotations

from bpttlab.gradients.compiled.arrays import add_product, transpose
from bpttlab.gradients.compiled.compilation import compiled
from bpttlab.gradients.compiled.elementary import activate_with_slopes
from bpttlab.gradients.compiled.kinds import ElmanKind, define_loops
from bpttlab.gradients.compiled.products import add_rows
from bpttlab.numerics.array import Array


def transpose_elman(kind: ElmanKind, W: Array) -> tuple[Array, Array]:
    """W^T, and nothing."""
    return transpose(W, 0, len(W)), transpose(W, len(W), len(W))


def step_forward_elman(
    kind: ElmanKind, z: Array, W: Array, W_rest: Array, b_n: Array, h: Array, slopes: Array, smallest: float
) -> None:
    """Notes eq. 2 for every t: h_t = f_h(z_t + W h_{t-1}), and f_h' there, in place.

    z (T,B,N), W^T (N,N), h (T+1,B,N), slopes (T,B,N).
    """
    T, B, N = z.shape
    if B == 1:
        elman_forward_one(kind.activation, z.reshape(T, N), W, h.reshape(T + 1, N), slopes.reshape(T, N), smallest)
        return
    for t in range(T):
        add_rows(h[t], W, z[t])
        activate_with_slopes(kind.activation, z[t], h[t + 1], slopes[t], smallest)


@compiled("contract", "nsz")
def elman_forward_one(activation: int, z: Array, W: Array, h: Array, slopes: Array, smallest: float) -> None:
    """The same for one sequence, `add_one_row` and all in one loop: a small step takes no longer than a call."""
    T, N = z.shape
    terms = N - N % 8
    for t in range(T):
        for k in range(0, terms, 8):
            a_0, a_1, a_2, a_3 = h[t, k], h[t, k + 1], h[t, k + 2], h[t, k + 3]
            a_4, a_5, a_6, a_7 = h[t, k + 4], h[t, k + 5], h[t, k + 6], h[t, k + 7]
            for m in range(N):
                early = z[t, m] + a_0 * W[k, m] + a_1 * W[k + 1, m] + a_2 * W[k + 2, m] + a_3 * W[k + 3, m]
                late = a_4 * W[k + 4, m] + a_5 * W[k + 5, m] + a_6 * W[k + 6, m] + a_7 * W[k + 7, m]
                z[t, m] = early + late
        for k in range(terms, N):
            for m in range(N):
                z[t, m] += h[t, k] * W[k, m]
        activate_with_slopes(activation, z[t : t + 1], h[t + 1 : t + 2], slopes[t : t + 1], smallest)


def pull_back_elman(
    kind: ElmanKind, W: Array, slopes: Array, dh: Array, da: Array, dh_prev: Array, gated: Array
) -> None:
    """`Elman.vjp`: da = f_h' dh,  dh_prev = W^T da."""
    Q = len(slopes)
    for row in range(len(dh)):
        for n in range(W.shape[1]):
            da[row, n] = slopes[row % Q, n] * dh[row, n]
            dh_prev[row, n] = 0.0
    add_product(da, W, dh_prev)


def step_back_elman(kind: ElmanKind, W: Array, slopes: Array, delta: Array, da: Array, gated: Array, dh: Array) -> None:
    """`Elman.vjp` of some steps.  W (N,N), slopes (T,B,N), delta (T,B,N) the errors, dh (B,N) that of h_T.

    It fills da (T,B,N), the cotangents of a_t, and leaves those of h_t and h_0 in place of delta and dh.
    """
    T, B, N = delta.shape
    terms = N - N % 8
    for t in range(T - 1, -1, -1):
        for b in range(B):
            for n in range(N):
                whole = delta[t, b, n] + dh[b, n]
                delta[t, b, n] = whole
                da[t, b, n] = slopes[t, b, n] * whole
                dh[b, n] = 0.0
        if B > 1:
            add_rows(da[t], W, dh)
            continue
        for k in range(0, terms, 8):  # add_one_row
            a_0, a_1, a_2, a_3 = da[t, 0, k], da[t, 0, k + 1], da[t, 0, k + 2], da[t, 0, k + 3]
            a_4, a_5, a_6, a_7 = da[t, 0, k + 4], da[t, 0, k + 5], da[t, 0, k + 6], da[t, 0, k + 7]
            for m in range(N):
                early = dh[0, m] + a_0 * W[k, m] + a_1 * W[k + 1, m] + a_2 * W[k + 2, m] + a_3 * W[k + 3, m]
                late = a_4 * W[k + 4, m] + a_5 * W[k + 5, m] + a_6 * W[k + 6, m] + a_7 * W[k + 7, m]
                dh[0, m] = early + late
        for k in range(terms, N):
            for m in range(N):
                dh[0, m] += da[t, 0, k] * W[k, m]


def add_recurrent_gradient_elman(
    kind: ElmanKind, h_prev: Array, slopes: Array, da: Array, gated: Array, dW: Array, db_n: Array
) -> None:
    """dW += da^T h_prev."""
    add_rows(da.T, h_prev, dW)


define_loops(
    ElmanKind,
    transpose_weights=transpose_elman,
    step_forward=step_forward_elman,
    pull_back=pull_back_elman,
    step_back=step_back_elman,
    add_recurrent_gradient=add_recurrent_gradient_elman,
)
