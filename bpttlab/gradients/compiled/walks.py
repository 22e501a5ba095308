"""Cotangents with an exponent a row, through the steps of a plan and through many lags, compiled.

Index legend: T time, B sequence, N hidden unit, S state, A pre-activations, Q sequences of a step, R rows for each, L
lags, G segments.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bpttlab.gradients.compiled.arrays import copy_rows
from bpttlab.gradients.compiled.compilation import compiled
from bpttlab.gradients.compiled.kinds import pull_back
from bpttlab.gradients.compiled.scaled_rows import (
    ALWAYS,
    add_part,
    are_whole_numbers,
    find_largest,
    normalise_row,
    rescale_row,
    scale_factor,
)
from bpttlab.numerics.array import Array
from bpttlab.numerics.scaled import LOG_2, ZERO_EXPONENT


@compiled("contract", "nsz")
def walk_back(
    kind: Any, W: Array, slopes: Array, error: Array, exponents: Array, carries: Array, segments: Array,
    da: Array, of_da: Array, dropped: Array, of_dropped: Array, gated: Array, middle: int, smallest: int,
) -> bool:  # fmt: skip
    """`walk`: along all segments (start, stop, loss_from) side by side from their stops, a row with its exponent.

    slopes (T,B,any), error (T,B,S), carries (T,B), segments (G,3); fills da (T,B,A) and dropped (T+1,B,S), which come
    as zeros, of_da (T,B) and of_dropped (T+1,B). gated (G B,any) is room.
    Returns whether all exponents are zero: whether the numbers are plain ones.
    """
    G, (B, S), A = len(segments), error.shape[1:], da.shape[2]
    dh, delta, own = np.zeros((G * B, S), error.dtype), np.zeros((G * B, S), error.dtype), np.full(G * B, ZERO_EXPONENT)
    of_rows, sent = np.empty((G * B, slopes.shape[2]), slopes.dtype), np.empty((G * B, A), da.dtype)
    least_slope = math.ldexp(1.0, 2 * smallest + middle + 4)
    going, count, back = np.arange(G), G, 0
    while count > 0:
        for place in range(count):
            t, loss_from = segments[going[place], 1] - back, segments[going[place], 2]
            for b in range(B):
                row = place * B + b
                carry = carries[t - 1, b] if back > 0 else 1.0
                if carry != 1.0:
                    of_dropped[t, b] = add_part(
                        dh[row], own[row], 1.0 - carry, dropped[t, b], of_dropped[t, b], middle, smallest
                    )
                injected = t > loss_from and find_largest(error[t - 1, b]) != 0.0
                of_error = exponents[t - 1, b] if injected else ZERO_EXPONENT
                of_dh = own[row] if carry != 0.0 else ZERO_EXPONENT
                whole = max(of_error, of_dh)
                from_error = scale_factor(of_error - whole, smallest)
                from_dh = scale_factor(of_dh - whole, smallest) * carry
                if t <= loss_from:
                    from_error = 0.0
                for n in range(S):
                    delta[row, n] = error[t - 1, b, n] * from_error + dh[row, n] * from_dh
                for n in range(of_rows.shape[1]):
                    of_rows[row, n] = slopes[t - 1, b, n]
                tiny = (
                    find_largest(of_rows[row]) < least_slope
                )  # then all are: the row is taken to the middle of the range
                own[row] = whole + rescale_row(delta[row], ALWAYS if tiny else middle)
        rows = count * B
        pull_back(kind, W, of_rows[:rows], delta[:rows], sent[:rows], dh[:rows], gated[:rows])
        left = 0
        for place in range(count):
            segment = going[place]
            t, ended = segments[segment, 1] - back, segments[segment, 1] - back - 1 == segments[segment, 0]
            for b in range(B):
                row, kept = place * B + b, left * B + b
                of_da[t - 1, b] = add_part(sent[row], own[row], 1.0, da[t - 1, b], of_da[t - 1, b], middle, smallest)
                if find_largest(dh[row]) == 0.0:
                    own[row] = ZERO_EXPONENT
                if ended:
                    of_dropped[t - 1, b] = add_part(
                        dh[row], own[row], 1.0, dropped[t - 1, b], of_dropped[t - 1, b], middle, smallest
                    )
                elif kept < row:
                    own[kept] = own[row]
                    for n in range(S):
                        dh[kept, n] = dh[row, n]
            if not ended:
                going[left] = segment
                left += 1
        count, back = left, back + 1
    return are_whole_numbers(of_da) and are_whole_numbers(of_dropped)


@compiled()
def normalise_vjp(
    kind: Any,
    W: Array,
    slopes: Array,
    dh: Array,
    exponents: Array,
    da: Array,
    dh_prev: Array,
    gated: Array,
) -> None:
    """`pull_back`, and every row of dh_prev normalised as in `scaled`: `exponents` (R Q,) become those of dh_prev."""
    pull_back(kind, W, slopes, dh, da, dh_prev, gated)
    for row in range(len(dh)):
        exponents[row] = normalise_row(dh_prev[row], exponents[row])


@compiled("contract", "nsz")
def pass_rows_back(
    kind: Any, W: Array, slopes: Array, dh: Array, exponents: Array, da: Array, gated: Array,
    smallest: int, log_sizes: Array,
) -> None:  # fmt: skip
    """R rows for each of B sequences, so many lags back: `normalised_vjp` again and again.

    slopes (T,B,any), of which the last is that of the first step back; dh (L+1,R B,S) and exponents (L+1,R B), of which
    entry 0 is given and the others are filled; log_sizes (L,B): log of the Frobenius norm of all rows but the last.
    """
    L, B, size = len(dh) - 1, slopes.shape[1], dh.shape[2]
    rows = dh.shape[1] - B
    for lag in range(L):
        for row in range(dh.shape[1]):
            exponents[lag + 1, row] = exponents[lag, row]
        normalise_vjp(kind, W, slopes[len(slopes) - 1 - lag], dh[lag], exponents[lag + 1], da, dh[lag + 1], gated)
        for b in range(B):
            most = ZERO_EXPONENT
            for row in range(b, rows, B):
                most = max(most, exponents[lag + 1, row])
            total = 0.0
            for row in range(b, rows, B):
                square, scale = 0.0, scale_factor(exponents[lag + 1, row] - most, smallest)
                for n in range(size):
                    square += float(dh[lag + 1, row, n]) ** 2
                total += square * scale * scale
            log_sizes[lag, b] = 0.5 * math.log(total) + most * LOG_2 if total > 0.0 else -math.inf


@compiled("contract", "nsz")
def pass_wave_back(
    kind: Any, W: Array, slopes: Array, t: Array, lag: int, dh: Array, exponents: Array, total: Array,
    of_total: Array, gated: Array, smallest: int, L: int,
) -> None:  # fmt: skip
    """Rows of several t, from lag to lag + L, in place; da of every lag that is passed is added up where it belongs.

    slopes (T,B,any), t (S,) increasing; dh (S B,N) and exponents (S B,), total (T,B,A) and of_total (T,B).
    """
    B, width = slopes.shape[1], slopes.shape[2]
    own = np.empty((len(dh), width), slopes.dtype)
    da, dh_prev = np.empty((len(dh), total.shape[2]), dh.dtype), np.empty_like(dh)
    first = 0
    for at in range(lag, lag + L):
        while t[first] <= at:
            first += 1
        done = first * B
        for s in range(first, len(t)):
            copy_rows(slopes[t[s] - at - 1], own[s * B : (s + 1) * B])
        pull_back(kind, W, own[done:], dh[done:], da[done:], dh_prev[done:], gated[done:])
        for row in range(done, len(dh)):
            k, b = t[row // B] - at - 1, row % B
            of_total[k, b] = add_part(da[row], exponents[row], 1.0, total[k, b], of_total[k, b], ALWAYS, smallest)
            exponents[row] = normalise_row(dh_prev[row], exponents[row])
        copy_rows(dh_prev[done:], dh[done:])
