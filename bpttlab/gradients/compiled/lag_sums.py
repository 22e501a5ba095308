"""Sums of the gradient by lag for an Elman cell, in one compiled call and in plain numbers.

All losses go back side by side as in `walks.pass_wave_back`; here their sequences are apart, so that what each of them
adds to the gradient is at hand, and every sum over steps is one product.

Index legend: B sequence, T time, N hidden unit, M values that da_k is multiplied by in all parameters, side by side,
P parts of the gradient, G groups of the M: parameters.
"""

from __future__ import annotations

import numpy as np

from bpttlab.gradients.compiled.arrays import allocate
from bpttlab.gradients.compiled.compilation import compiled
from bpttlab.gradients.compiled.products import add_rows
from bpttlab.gradients.compiled.scaled_rows import is_in_range
from bpttlab.numerics.array import Array


@compiled("contract", "nsz")
def clear(rows: Array) -> None:
    """rows = 0.  (Q,M)"""
    for q in range(rows.shape[0]):
        for m in range(rows.shape[1]):
            rows[q, m] = 0.0


@compiled("contract", "nsz")
def add_term(of_sequences: Array, group: Array, part: Array, scatter: Array) -> None:
    """part (N,M) += the sum over sequences, and scatter (G,) += sum_b |g_b - mean|^2 of each group.  (B,N,M)"""
    B = len(of_sequences)
    for n in range(part.shape[0]):
        for m in range(part.shape[1]):
            total, square = 0.0, 0.0
            for b in range(B):
                total += float(of_sequences[b, n, m])
            for b in range(B):
                rest = float(of_sequences[b, n, m]) - total / B
                square += rest * rest
            part[n, m] += total
            scatter[group[m]] += square


@compiled("contract", "nsz")
def go_back(W: Array, slopes: Array, dh: Array, da: Array, least: float, most: float) -> bool:
    """da = slopes dh and dh = da W, in place, unless a row of da has left the range from least to most.  (Q,N)"""
    for q in range(len(dh)):
        for n in range(dh.shape[1]):
            da[q, n] = slopes[q, n] * dh[q, n]
    if not is_in_range(da, least, most):
        return False
    clear(dh)
    add_rows(da, W, dh)
    return True


@compiled("contract", "nsz")
def sum_lags(
    W: Array, slopes: Array, local: Array, dh: Array, place: Array, alone: Array, group: Array, least: float,
    most: float, parts: Array, scatter: Array,
) -> bool:  # fmt: skip
    """Fills parts (P,N,M) with sums over lags, and scatter (P,G) of those that are one lag; False: out of range.

    Args:
        W, slopes: (N,N), (B,T,N).
        local: (B,T,M).
        dh: (B,S,N) the errors of the last S steps, which become their cotangents.
        place, alone: (S,) the part of each lag, and whether it is the only one there.
        group: (M,) the parameter of each value.
    """
    B, S, N = dh.shape
    T, M = local.shape[1:]
    of_sequences, sums = np.empty((B, N, M), dh.dtype), np.zeros((B, T, N), dh.dtype)
    da, begun = allocate(S, N, dh.dtype), 0
    for lag in range(T):
        first = max(0, lag - (T - S))  # losses before it have arrived at h_0
        k, steps = T - S + first - lag, S - first
        ended = lag == T - 1 or place[lag + 1] != place[lag]
        for b in range(B):
            own = slopes[b, k : k + steps]
            if not go_back(W, own, dh[b, first:], da[:steps], least, most):
                return False
            if alone[lag]:
                clear(of_sequences[b])
                add_rows(da[:steps].T, local[b, k : k + steps], of_sequences[b])
                continue
            for q in range(steps):
                for n in range(N):
                    sums[b, k + q, n] += da[q, n]
            if ended:
                end = T - begun
                add_rows(sums[b, :end].T, local[b, :end], parts[place[lag]])
                clear(sums[b])
        if alone[lag]:
            add_term(of_sequences, group, parts[place[lag]], scatter[place[lag]])
        if ended:
            begun = lag + 1
    return True
