"""The loops of cells that keep a part of their state: h_t = k h_{t-1} + g f_h(V x_t + W h_{t-1} + b_h).

A leaky cell has k = 1 - alpha and g = alpha; an antisymmetric one k = 1, g = epsilon and M = W - W^T - gamma I for W.

Index legend: T time, B sequence, N hidden unit, Q sequences of a step, R rows for each.
"""

from __future__ import annotations

from bpttlab.gradients.compiled.arrays import add_product
from bpttlab.gradients.compiled.elementary import activate_with_slopes
from bpttlab.gradients.compiled.elman import add_recurrent_gradient_elman, transpose_elman
from bpttlab.gradients.compiled.kinds import LeakyKind, define_loops
from bpttlab.gradients.compiled.lstm import step_back_gates
from bpttlab.numerics.array import Array


def step_forward_leaky(
    kind: LeakyKind, z: Array, W: Array, W_rest: Array, b_n: Array, h: Array, slopes: Array, smallest: float
) -> None:
    """h_t and g f_h'(a_t) for every t, in place.  z (T,B,N), W^T (N,N), h (T+1,B,N), slopes (T,B,N)"""
    T, B, N = z.shape
    keep, gain = z.dtype.type(kind.keep), z.dtype.type(kind.gain)
    for t in range(T):
        add_product(h[t], W, z[t])
        activate_with_slopes(kind.activation, z[t], h[t + 1], slopes[t], smallest)
        for b in range(B):
            for n in range(N):
                h[t + 1, b, n] = keep * h[t, b, n] + gain * h[t + 1, b, n]
                slopes[t, b, n] = gain * slopes[t, b, n]


def pull_back_leaky(
    kind: LeakyKind, W: Array, slopes: Array, dh: Array, da: Array, dh_prev: Array, gated: Array
) -> None:
    """da = g f_h' dh,  dh_prev = k dh + W^T da."""
    Q, keep = len(slopes), dh.dtype.type(kind.keep)
    for row in range(len(dh)):
        for n in range(W.shape[1]):
            da[row, n] = slopes[row % Q, n] * dh[row, n]
            dh_prev[row, n] = keep * dh[row, n]
    add_product(da, W, dh_prev)


define_loops(
    LeakyKind,
    transpose_weights=transpose_elman,
    step_forward=step_forward_leaky,
    pull_back=pull_back_leaky,
    step_back=step_back_gates,
    add_recurrent_gradient=add_recurrent_gradient_elman,
)
