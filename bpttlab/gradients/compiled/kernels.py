"""The two loops over t, compiled: `engine="numba"`.

The same mathematics as the cells' `step` and `_vjp`, in the part of NumPy that Numba compiles, for the cells that
sweeps are mostly made of: Elman, LSTM, GRU. Without Numba, or with NUMBA_DISABLE_JIT=1, the source is interpreted and
gives the same numbers up to the rounding of fused products.

`pass_forward` and `pass_back` are a whole forward pass and a whole gradient, in plain numbers: what is not sequential
goes along, some steps at a time. Everything else serves cotangents with an exponent a row, as in `scaled`, changed only
where a row leaves the middle of the range.

No sum is reassociated and no NaN is assumed away, so that an overflow is found at its own step.

Products are those of `products`. The loops of Lyapunov exponents are in `spectral_kernels`; `dispatch` calls both for a
cell.

Index legend: T time, B sequence, N hidden unit, S state, A pre-activations, Q sequences of a step, R rows for each.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bpttlab.gradients.compiled.compilation import compiled
from bpttlab.gradients.compiled.products import add_rows
from bpttlab.numerics.array import Array
from bpttlab.numerics.scaled import LOG_2, ZERO_EXPONENT

# ------------------------------------------------------------------------------------------ elementary functions

LOG2_E = 1.4426950408889634
LN_2_HIGH, LN_2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
"""ln 2 in two parts, of which the first has 32 zeros at its end: k times it is exact."""
_ROUNDING = 1.5 * 2.0**52
"""Added and taken away again it leaves the nearest integer, whose bits are the last ones of the sum."""
LARGEST_LOGISTIC, LARGEST_TANH = 708.4, 710.0
"""Beyond them e^-|a|, and tanh'(a) of 2|a|, are below the smallest normal number."""
_TINY = float(np.finfo(np.float64).tiny)


@compiled("contract", "nsz")
def exponential(y: Any, shift: int) -> Any:
    """(2^(k + shift), p) with e^y = 2^k (1 + p) and |log(1 + p)| <= ln 2 / 2; the Taylor series to 2^-54.

    2^(k + shift) has to be a normal number: of shift = 0, |y| <= 708.4; of shift = -2, -707 <= y <= 710.
    """
    t = y * LOG2_E + _ROUNDING
    k = t - _ROUNDING
    r = (y - k * LN_2_HIGH) - k * LN_2_LOW
    p = 1.0 / 87178291200.0
    p = p * r + 1.0 / 6227020800.0
    p = p * r + 1.0 / 479001600.0
    p = p * r + 1.0 / 39916800.0
    p = p * r + 1.0 / 3628800.0
    p = p * r + 1.0 / 362880.0
    p = p * r + 1.0 / 40320.0
    p = p * r + 1.0 / 5040.0
    p = p * r + 1.0 / 720.0
    p = p * r + 1.0 / 120.0
    p = p * r + 1.0 / 24.0
    p = p * r + 1.0 / 6.0
    p = p * r + 0.5
    p = p * r * r + r
    power = np.int64((np.float64(t).view(np.int64) << 52) + ((1023 + shift) << 52)).view(np.float64)
    return power, p


SINGLE = np.float32
ONE, HALF, QUARTER, TWO, ZERO = SINGLE(1.0), SINGLE(0.5), SINGLE(0.25), SINGLE(2.0), SINGLE(0.0)
LOG2_E_SINGLE, ROUNDING_SINGLE = SINGLE(LOG2_E), SINGLE(1.5 * 2.0**23)
LARGEST_LOGISTIC_SINGLE, LARGEST_TANH_SINGLE, TINY_SINGLE = SINGLE(87.34), SINGLE(88.8), np.finfo(np.float32).tiny
LN_2_HIGH_SINGLE, LN_2_LOW_SINGLE = SINGLE(0.693359375), SINGLE(-2.12194440e-4)
"""As above, the first with 14 zeros at its end."""
R_2, R_3, R_4, R_5, R_6, R_7, R_8 = (SINGLE(1.0 / math.factorial(n)) for n in range(2, 9))


@compiled("contract", "nsz")
def exponential_single(y: Any, shift: int) -> Any:
    """`exponential` in float32, for |y| <= 87.34, or -86 <= y <= 88.8 with shift = -2; the Taylor series to 2^-29."""
    t = y * LOG2_E_SINGLE + ROUNDING_SINGLE
    k = t - ROUNDING_SINGLE
    r = (y - k * LN_2_HIGH_SINGLE) - k * LN_2_LOW_SINGLE
    p = R_8
    p = p * r + R_7
    p = p * r + R_6
    p = p * r + R_5
    p = p * r + R_4
    p = p * r + R_3
    p = p * r + R_2
    p = p * r * r + r
    bits = (np.int64(np.float32(t).view(np.int32)) << 23) + ((127 + shift) << 23)
    power = np.int32(bits & 0x7FFFFFFF).view(np.float32)
    return power, p


@compiled("contract", "nsz")
def tanh_and_slope_double(a: Any) -> Any:
    """With m = (e^y - 1) / 4 and y = 2|a|: tanh = m / (m + 1/2), tanh' = (m + 1/4) / (m + 1/2)^2."""
    y = 2.0 * abs(a)
    quarter, p = exponential(LARGEST_TANH if y > LARGEST_TANH else y, -2)
    m = quarter * p + (quarter - 0.25)
    part, q = 1.0 / (m + 0.5), m / (m + 0.5)
    slope = (m + 0.25) * part * part
    return (q if a >= 0.0 else -q), (0.0 if slope < _TINY else slope)


@compiled("contract", "nsz")
def tanh_and_slope_single(a: Any) -> Any:
    y = TWO * abs(a)
    quarter, p = exponential_single(LARGEST_TANH_SINGLE if y > LARGEST_TANH_SINGLE else y, -2)
    m = quarter * p + (quarter - QUARTER)
    part, q = ONE / (m + HALF), m / (m + HALF)
    slope = (m + QUARTER) * part * part
    return (q if a >= ZERO else -q), (ZERO if slope < TINY_SINGLE else slope)


@compiled()
def tanh_and_slope(x: Any) -> Any:
    """tanh(x), and tanh'(x) = 1 / cosh(x)^2, in the precision of x, float32 or float64.

    tanh to 1.4 units in the last place in float64 and 2.3 in float32, tanh' to 3 and 5; it is zero where it is below
    the smallest normal number, |x| > 354.89 and |x| > 44.36.
    """
    if isinstance(x, np.float32):
        return tanh_and_slope_single(x)
    return tanh_and_slope_double(np.float64(x))


@compiled()
def tanh(x: Any) -> Any:
    return tanh_and_slope(x)[0]


@compiled("contract", "nsz")
def logistic_and_slope_double(a: Any) -> Any:
    y = -abs(a)
    power, p = exponential(-LARGEST_LOGISTIC if y < -LARGEST_LOGISTIC else y, 0)
    d = power + power * p
    d = 0.0 if d < _TINY or y < -LARGEST_LOGISTIC else d
    right = 1.0 / (1.0 + d)
    return (right if a >= 0.0 else d * right), d * right * right


@compiled("contract", "nsz")
def logistic_and_slope_single(a: Any) -> Any:
    y = -abs(a)
    power, p = exponential_single(-LARGEST_LOGISTIC_SINGLE if y < -LARGEST_LOGISTIC_SINGLE else y, 0)
    d = power + power * p
    d = ZERO if d < TINY_SINGLE or y < -LARGEST_LOGISTIC_SINGLE else d
    right = ONE / (ONE + d)
    return (right if a >= ZERO else d * right), d * right * right


@compiled()
def logistic_and_slope(x: Any) -> Any:
    """sigma(x), and sigma'(x) = d / (1 + d)^2, d = e^-|x|: exact to rounding on both sides.

    At most 3 units in the last place in float64 and 5 in float32; zero where d is below the smallest normal number.
    """
    if isinstance(x, np.float32):
        return logistic_and_slope_single(x)
    return logistic_and_slope_double(np.float64(x))


# ------------------------------------------------------------------------------------------ products

CACHE_LINE = 64
"""Bytes of a cache line, and of the widest vector: one that lies across two lines takes two accesses."""


@compiled()
def allocate(rows: int, columns: int, dtype: Any) -> Array:
    """(rows, columns) of any numbers, of which the first begins a cache line: large arrays of NumPy begin elsewhere.

    Where rows are whole lines, no vector of a product then lies across two, and it takes 0.6 to 0.7 of the time.
    """
    whole = np.empty(rows * columns + CACHE_LINE, dtype)
    first = (-np.int64(whole.ctypes.data) % CACHE_LINE) // whole.itemsize
    return whole[first : first + rows * columns].reshape(rows, columns)


@compiled()
def realign(matrix: Array) -> Array:
    """The same numbers, in memory from `allocate`."""
    out = allocate(matrix.shape[0], matrix.shape[1], matrix.dtype)
    for k in range(len(matrix)):
        for m in range(matrix.shape[1]):
            out[k, m] = matrix[k, m]
    return out


@compiled("contract", "nsz")
def add_one_row(left: Array, right: Array, out: Array) -> None:
    """out += left . right.  (K,), (K,M) -> (M,); eight terms at a time in two chains, since a step waits for them."""
    K, M = right.shape
    terms = K - K % 8
    for k in range(0, terms, 8):
        a_0, a_1, a_2, a_3 = left[k], left[k + 1], left[k + 2], left[k + 3]
        a_4, a_5, a_6, a_7 = left[k + 4], left[k + 5], left[k + 6], left[k + 7]
        for m in range(M):
            early = out[m] + a_0 * right[k, m] + a_1 * right[k + 1, m] + a_2 * right[k + 2, m] + a_3 * right[k + 3, m]
            late = a_4 * right[k + 4, m] + a_5 * right[k + 5, m] + a_6 * right[k + 6, m] + a_7 * right[k + 7, m]
            out[m] = early + late
    for k in range(terms, K):
        for m in range(M):
            out[m] += left[k] * right[k, m]


@compiled()
def add_product(left: Array, right: Array, out: Array) -> None:
    """out += left . right, within a step.  (Q,K), (K,M) -> (Q,M)"""
    if len(left) == 1:
        add_one_row(left[0], right, out[0])
    else:
        add_rows(left, right, out)


@compiled()
def multiply_many(left: Array, right: Array, out: Array) -> None:
    """out = left . right for each of many matrices.  (M,Q,K), (M,K,N) -> (M,Q,N)"""
    out[:] = 0.0
    for m in range(len(out)):
        add_rows(left[m], right[m], out[m])


@compiled("contract", "nsz")
def add_columns(rows: Array, out: Array) -> None:
    """out += the sum of all rows.  (Q,M) -> (M,)"""
    for q in range(len(rows)):
        for m in range(out.size):
            out[m] += rows[q, m]


@compiled()
def is_finite(values: Array) -> bool:
    """Whether no number is NaN or infinite."""
    flat, others = values.reshape(-1), 0
    for n in range(flat.size):
        others += 0 if abs(flat[n]) < math.inf else 1
    return others == 0


# ------------------------------------------------------------------------------------------ forward

ONE_GATE, LSTM_GATES, GRU_AFTER, GRU_BEFORE = range(4)
TANH, RELU, IDENTITY, LOGISTIC = range(4)
COMPILED_ACTIVATIONS = {"tanh": TANH, "relu": RELU, "identity": IDENTITY, "logistic": LOGISTIC}


@compiled("contract", "nsz")
def activate(activation: int, a: Array, out: Array, smallest: float) -> None:
    """out = f(a), and zero where a relu or a linear unit is smaller than `smallest`.  (B,N) each"""
    for b in range(len(a)):
        if activation == TANH:
            for n in range(a.shape[1]):
                out[b, n] = tanh(a[b, n])
        elif activation == LOGISTIC:
            for n in range(a.shape[1]):
                out[b, n] = logistic_and_slope(a[b, n])[0]
        elif activation == RELU:
            for n in range(a.shape[1]):
                out[b, n] = 0.0 if a[b, n] <= smallest else a[b, n]
        else:
            for n in range(a.shape[1]):
                out[b, n] = 0.0 if abs(a[b, n]) < smallest else a[b, n]


@compiled("contract", "nsz")
def activate_with_slopes(activation: int, a: Array, out: Array, slopes: Array, smallest: float) -> None:
    """`activate`, and f'(a).  (B,N) each"""
    for b in range(len(a)):
        if activation == TANH:
            for n in range(a.shape[1]):
                out[b, n], slopes[b, n] = tanh_and_slope(a[b, n])
        elif activation == LOGISTIC:
            for n in range(a.shape[1]):
                out[b, n], slopes[b, n] = logistic_and_slope(a[b, n])
        elif activation == RELU:
            for n in range(a.shape[1]):
                out[b, n] = 0.0 if a[b, n] <= smallest else a[b, n]
                slopes[b, n] = 0.0 if a[b, n] <= smallest else 1.0
        else:
            for n in range(a.shape[1]):
                out[b, n] = 0.0 if abs(a[b, n]) < smallest else a[b, n]
                slopes[b, n] = 1.0


@compiled()
def elman_forward(activation: int, z: Array, W: Array, h: Array, slopes: Array, smallest: float) -> None:
    """Notes eq. 2 for every t: h_t = f_h(z_t + W h_{t-1}), and f_h' there, in place.

    z (T,B,N), W^T (N,N), h (T+1,B,N), slopes (T,B,N).
    """
    T, B, N = z.shape
    if B == 1:
        elman_forward_one(activation, z.reshape(T, N), W, h.reshape(T + 1, N), slopes.reshape(T, N), smallest)
        return
    for t in range(T):
        add_rows(h[t], W, z[t])
        activate_with_slopes(activation, z[t], h[t + 1], slopes[t], smallest)


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


@compiled("contract", "nsz")
def lstm_forward(z: Array, W: Array, h: Array, slopes: Array) -> None:
    """`LSTM.step` and `LSTM.slopes` for every t, in place.

    z (T,B,4N), W^T (N,4N), h (T+1,B,2N), slopes (T,B,6N). z ends as the gates.

    A loop has few arrays: where there are many, no compiler proves that they do not overlap, and it takes one number
    at a time.
    """
    T, B, A = z.shape
    N = A // 4
    h_prev, k = allocate(B, N, z.dtype), np.empty(N, z.dtype)
    for t in range(T):
        h_prev[:] = h[t, :, :N]
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
            candidate[:] = gated
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


@compiled()
def count_steps_at_once(B: int, N: int) -> int:
    """How many steps go into one product outside the recursion: as many as leave what is between two near at hand, and
    enough terms for the gradient of W, which goes by once for each product."""
    return max(1, min(256, max(2**16 // N, N // 4)) // max(1, B))


@compiled()
def transpose(matrix: Array, first: int, end: int) -> Array:
    """Some rows as columns, contiguous.  (N,M) -> (M, end - first)"""
    out = allocate(matrix.shape[1], end - first, matrix.dtype)
    for m in range(matrix.shape[1]):
        for n in range(end - first):
            out[m, n] = matrix[first + n, m]
    return out


@compiled()
def project(x: Array, V: Array, b: Array, z: Array) -> None:
    """z = x V^T + b.  (Q,I), V^T (I,A), (A,) -> (Q,A)"""
    for q in range(len(z)):
        for n in range(b.size):
            z[q, n] = b[n]
    add_rows(x, V, z)


@compiled()
def readout_slice(h: Array, N: int, room: Array) -> Array:
    """The first N numbers of every state, as rows.  (T,B,S) -> (T B,N)"""
    T, B, S = h.shape
    if S == N:
        return h.reshape(T * B, N)
    for t in range(T):
        for b in range(B):
            for n in range(N):
                room[t * B + b, n] = h[t, b, n]
    return room[: T * B]


@compiled()
def pass_forward(
    kind: int, activation: int, output: int, x: Array, V: Array, W: Array, b_h: Array, b_n: Array, U: Array, b_y: Array,
    h: Array, slopes: Array, y_hat: Array, smallest: float,
) -> bool:  # fmt: skip
    """`forward`: all states and predictions from h_0.

    x (T,B,I) and the parameters as they are, b_n empty where gates have none; h (T+1,B,S), of which h[0] is given and
    the rest filled, slopes (T,B,any) and y_hat (T,B,O), empty where the readout is not compiled. Without gates b_n is
    None: what follows from that is known when this is compiled, so that an Elman cell waits for no gates.

    Returns:
        whether all numbers, given and found, are finite.
    """
    (T, B, I), (A, N), O = x.shape, W.shape, y_hat.shape[2]
    apart = 2 * N if kind == GRU_BEFORE else A
    V_T, W_T, W_n, U_T = transpose(V, 0, A), transpose(W, 0, apart), transpose(W, apart, A), transpose(U, 0, len(U))
    steps = min(T, count_steps_at_once(B, N))
    z, room = allocate(steps * B, A, x.dtype).reshape(steps, B, A), allocate(steps * B, N, x.dtype)
    for start in range(0, T, steps):
        stop = min(T, start + steps)
        rows = (stop - start) * B
        z_here, h_here = z[: stop - start], h[start : stop + 1]
        project(x[start:stop].reshape(rows, I), V_T, b_h, z_here.reshape(rows, A))
        if b_n is None:
            elman_forward(activation, z_here, W_T, h_here, slopes[start:stop], smallest)
        elif kind == LSTM_GATES:
            lstm_forward(z_here, W_T, h_here, slopes[start:stop])
        else:
            gru_forward(kind == GRU_AFTER, z_here, W_T, W_n, b_n, h_here, slopes[start:stop])
        if O:
            y_here = y_hat[start:stop].reshape(rows, O)
            project(readout_slice(h[start + 1 : stop + 1], N, room), U_T, b_y, y_here)
            activate(output, y_here, y_here, 0.0)
    given = is_finite(x) and is_finite(V) and is_finite(W) and is_finite(b_h) and is_finite(U) and is_finite(b_y)
    if b_n is not None:
        given = given and is_finite(b_n)
    return given and is_finite(h) and is_finite(y_hat)


# ------------------------------------------------------------------------------------------ backward


@compiled("contract", "nsz")
def _vjp(kind: int, W: Array, slopes: Array, dh: Array, da: Array, dh_prev: Array, gated: Array) -> None:
    """`Cell.vjp` of R rows for each of Q sequences, the sequences fastest.

    W (A,N), slopes (Q,any), dh (R Q,S); fills da (R Q,A) and dh_prev (R Q,S). `gated` is what goes through W where that
    is not da itself, (R Q,A), without the candidate (R Q,2N) for a reset before.
    """
    if kind == ONE_GATE:
        vjp_elman(W, slopes, dh, da, dh_prev)
    elif kind == LSTM_GATES:
        vjp_lstm(W, slopes, dh, da, dh_prev, gated)
    elif kind == GRU_AFTER:
        vjp_gru_after(W, slopes, dh, da, dh_prev, gated)
    else:
        vjp_gru_before(W, slopes, dh, da, dh_prev, gated)


@compiled("contract", "nsz")
def vjp_elman(W: Array, slopes: Array, dh: Array, da: Array, dh_prev: Array) -> None:
    """`Elman.vjp`: da = f_h' dh,  dh_prev = W^T da."""
    Q = len(slopes)
    for row in range(len(dh)):
        for n in range(W.shape[1]):
            da[row, n] = slopes[row % Q, n] * dh[row, n]
            dh_prev[row, n] = 0.0
    add_product(da, W, dh_prev)


@compiled("contract", "nsz")
def vjp_lstm(W: Array, slopes: Array, dh: Array, da: Array, dh_prev: Array, sent: Array) -> None:
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


@compiled("contract", "nsz")
def vjp_gru_after(W: Array, slopes: Array, dh: Array, da: Array, dh_prev: Array, gated: Array) -> None:
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


@compiled("contract", "nsz")
def vjp_gru_before(W: Array, slopes: Array, dh: Array, da: Array, dh_prev: Array, gated: Array) -> None:
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


ALWAYS = -1
"""In place of exponents within which a row is left as it is: rows get their largest entry into [1/2, 1)."""


@compiled("nnan", "nsz")
def _find_largest(row: Array) -> Any:
    """max |row|; a NaN in it counts for nothing and stays where it is."""
    most = abs(row[0])
    for n in range(1, row.size):
        most = max(most, abs(row[n]))
    return most


@compiled()
def rescale_row(row: Array, middle: int) -> int:
    """Takes a power of two out of a row whose largest entry is not within 2^-middle and 2^middle: its exponent."""
    most = float(_find_largest(row))
    if most == 0.0 or not most < math.inf:
        return 0
    if math.ldexp(1.0, -middle) <= most <= math.ldexp(1.0, middle):
        return 0
    exponent = math.frexp(most)[1]
    half = exponent // 2  # 2^-exponent may be beyond the range
    first, second = math.ldexp(1.0, -half), math.ldexp(1.0, half - exponent)
    for n in range(row.size):
        row[n] = row[n] * first * second
    return exponent


@compiled()
def scale_factor(exponent: int, smallest: int) -> float:
    """2^exponent, zero where it is so small that what it multiplies is nothing beside a number of order one."""
    if exponent == 0:
        return 1.0
    return 0.0 if exponent < smallest else math.ldexp(1.0, int(exponent))


@compiled("contract", "nsz")
def add_part(row: Array, exponent: int, part: float, total: Array, of_total: int, middle: int, smallest: int) -> int:
    """total += part * row, each with its exponent; returns that of the sum."""
    if part == 0.0 or _find_largest(row) == 0.0:
        return of_total
    if of_total == ZERO_EXPONENT:
        for n in range(row.size):
            total[n] = row[n] * part
        return exponent
    whole = max(exponent, of_total)
    from_row, from_total = scale_factor(exponent - whole, smallest) * part, scale_factor(of_total - whole, smallest)
    for n in range(row.size):
        total[n] = total[n] * from_total + row[n] * from_row
    return whole + rescale_row(total, middle)


@compiled("contract", "nsz")
def walk_back(
    kind: int, W: Array, slopes: Array, error: Array, exponents: Array, carries: Array, segments: Array,
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
                injected = t > loss_from and _find_largest(error[t - 1, b]) != 0.0
                of_error = exponents[t - 1, b] if injected else ZERO_EXPONENT
                of_dh = own[row] if carry != 0.0 else ZERO_EXPONENT
                whole = max(of_error, of_dh)
                from_error = scale_factor(of_error - whole, smallest)
                from_dh = scale_factor(of_dh - whole, smallest) * carry
                if t <= loss_from:
                    from_error = 0.0
                for n in range(S):
                    delta[row, n] = error[t - 1, b, n] * from_error + dh[row, n] * from_dh
                of_rows[row] = slopes[t - 1, b]
                tiny = (
                    _find_largest(of_rows[row]) < least_slope
                )  # then all are: the row is taken to the middle of the range
                own[row] = whole + rescale_row(delta[row], ALWAYS if tiny else middle)
        rows = count * B
        _vjp(kind, W, of_rows[:rows], delta[:rows], sent[:rows], dh[:rows], gated[:rows])
        left = 0
        for place in range(count):
            segment = going[place]
            t, ended = segments[segment, 1] - back, segments[segment, 1] - back - 1 == segments[segment, 0]
            for b in range(B):
                row, kept = place * B + b, left * B + b
                of_da[t - 1, b] = add_part(sent[row], own[row], 1.0, da[t - 1, b], of_da[t - 1, b], middle, smallest)
                if _find_largest(dh[row]) == 0.0:
                    own[row] = ZERO_EXPONENT
                if ended:
                    of_dropped[t - 1, b] = add_part(
                        dh[row], own[row], 1.0, dropped[t - 1, b], of_dropped[t - 1, b], middle, smallest
                    )
                elif kept < row:
                    own[kept] = own[row]
                    dh[kept] = dh[row]
            if not ended:
                going[left] = segment
                left += 1
        count, back = left, back + 1
    return _are_whole_numbers(of_da) and _are_whole_numbers(of_dropped)


@compiled()
def _are_whole_numbers(exponents: Array) -> bool:
    """Whether there is no exponent but zero, and that of zero."""
    others = 0
    for exponent in exponents.ravel():
        others += 0 if exponent == 0 or exponent == ZERO_EXPONENT else 1
    return others == 0


@compiled()
def _is_in_range(rows: Array, least: float, most: float) -> bool:
    """Whether the largest entry of every row is zero or lies in that range.  (Q,N)"""
    for q in range(len(rows)):
        large = others = 0
        for n in range(rows.shape[1]):
            size = abs(rows[q, n])
            large += 1 if size >= least else 0
            others += 0 if size <= most else 1
        if others or (large == 0 and _find_largest(rows[q]) != 0.0):
            return False
    return True


@compiled()
def has_no_underflow(delta: Array, slopes: Array, da: Array, least: float) -> bool:
    """Whether no row of da, made of delta and slopes, may have underflowed.  (Q,S), (Q,any), (Q,A)"""
    for q in range(len(da)):
        large = 0
        for n in range(da.shape[1]):
            large += 1 if abs(da[q, n]) >= least else 0
        if large == 0 and _find_largest(slopes[q]) != 0.0 and _find_largest(delta[q]) != 0.0:
            return False
    return True


@compiled("contract", "nsz")
def back_one_gate(W: Array, slopes: Array, delta: Array, da: Array, dh: Array) -> None:
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


@compiled("contract", "nsz")
def back_gates(kind: int, W: Array, slopes: Array, delta: Array, da: Array, gated: Array, dh: Array) -> None:
    """`_vjp` of some steps.  slopes (T,B,any), delta (T,B,S) the errors, which become cotangents of h_t; dh (B,S)"""
    T, B, S = delta.shape
    for t in range(T - 1, -1, -1):
        for b in range(B):
            for n in range(S):
                delta[t, b, n] += dh[b, n]
        _vjp(kind, W, slopes[t], delta[t], da[t], dh, gated[t])


@compiled()
def _add_gradients(
    kind: int, x: Array, h_prev: Array, slopes: Array, da: Array, gated: Array, dV: Array, dW: Array, db_h: Array,
    db_n: Array,
) -> None:  # fmt: skip
    """`Cell.gradient` of Q rows, added to what there is.

    x (Q,I), h_prev (Q,N), slopes (Q,any), da (Q,A), gated (Q,any) of `_vjp`; dV^T (I,A), dW (A,N), db_h (A,), and db_n
    (A,), whose last N are the gradient by b_n; None without gates.
    """
    Q, N = h_prev.shape
    add_rows(x.T, da, dV)
    add_columns(da, db_h)
    if db_n is None or kind == LSTM_GATES:
        add_rows(da.T, h_prev, dW)
    elif kind == GRU_AFTER:
        add_rows(gated.T, h_prev, dW)
        add_columns(gated, db_n)
    else:
        candidate, reset = allocate(Q, N, da.dtype), allocate(Q, N, da.dtype)
        for q in range(Q):
            for n in range(N):
                candidate[q, n] = da[q, 2 * N + n]
                reset[q, n] = slopes[q, 3 * N + n] * h_prev[q, n]
        add_rows(gated.T, h_prev, dW[: 2 * N])
        add_rows(candidate.T, reset, dW[2 * N :])


@compiled("contract", "nsz")
def squared_error_loop(y_hat: Array, target: Array, weights: Array, slope: Array) -> float:
    """`losses.evaluate`: the loss, and dL/dy_hat in `slope`.  (T,B,O) each, weights (T,)"""
    (T, B, O), total = y_hat.shape, 0.0
    for t in range(T):
        weight = weights[t] / B
        if weight == 0.0:  # such a step may hold anything
            for b in range(B):
                for o in range(O):
                    slope[t, b, o] = 0.0
            continue
        of_step, twice = 0.0, y_hat.dtype.type(2.0 * weight)
        for b in range(B):
            for o in range(O):
                difference = y_hat[t, b, o] - target[t, b, o]
                slope[t, b, o] = twice * difference
                of_step += float(difference) * float(difference)
        total += weight * of_step
    return total


@compiled("contract", "nsz")
def readout_slopes(output: int, U: Array, b_y: Array, h: Array, y_hat: Array, slopes: Array) -> None:
    """f_y' at U h + b_y, which is computed again where y_hat has lost it to saturation.  (Q,N), (Q,O) -> (Q,O)"""
    for q in range(len(y_hat)):
        for o in range(len(U)):
            slopes[q, o] = 0.0 if output == RELU and y_hat[q, o] <= 0.0 else 1.0
    if output in (TANH, LOGISTIC):
        project(h, transpose(U, 0, len(U)), b_y, slopes)
        nowhere = np.empty(slopes.shape, slopes.dtype)
        activate_with_slopes(output, slopes, nowhere, slopes, 0.0)


@compiled("contract", "nsz")
def state_vjp(
    output: int, U: Array, b_y: Array, h: Array, y_hat: Array, dy_hat: Array, da_y: Array, error: Array
) -> None:
    """`Cell.readout_vjp`.

    U (O,N), b_y (O,), what the readout sees of h (Q,N), y_hat and dL/dy_hat (Q,O); fills da_y (Q,O) and what that sends
    to h_t, (T,B,S).
    """
    Q, O = y_hat.shape
    (T, B, S), N = error.shape, U.shape[1]
    readout_slopes(output, U, b_y, h, y_hat, da_y)
    for q in range(Q):
        for o in range(O):
            da_y[q, o] = da_y[q, o] * dy_hat[q, o]
    error[:] = 0.0
    if S == N:
        add_rows(da_y, U, error.reshape(Q, N))
        return
    seen = allocate(Q, N, error.dtype)
    seen[:] = 0.0
    add_rows(da_y, U, seen)
    for t in range(T):
        for b in range(B):
            for n in range(N):
                error[t, b, n] = seen[t * B + b, n]


@compiled("contract", "nsz")
def pass_back(
    kind: int, output: int, width: int, x: Array, W: Array, U: Array, b_y: Array, h: Array, slopes: Array,
    y_hat: Array, dy_hat: Array, least: float, most: float,
    dV: Array, dW: Array, db_h: Array, db_n: Array, dU: Array, db_y: Array, dh: Array,
) -> bool:  # fmt: skip
    """`backward` of the full gradient in plain numbers.

    x (T,B,I), W, U, b_y, h (T+1,B,S), slopes (T,B,any), y_hat and dL/dy_hat (T,B,O). It fills dV^T (I,A), dW (A,N),
    db_h (A,), db_n (A,) or None as in `_add_gradients`, dU (O,N), db_y (O,), and dh (B,S), dL/dh_0 in the end; all come
    as zeros.

    Returns:
        whether every cotangent is zero or has its largest entry between `least` and `most`, far from both ends of the
        range, and all gradients are finite. Where not, what was filled is worth nothing: `walk_back` can do it.
    """
    (T, B, I), (A, N), (O, S) = x.shape, W.shape, (U.shape[0], h.shape[2])
    steps = min(T, count_steps_at_once(B, N))
    most_rows, dtype = steps * B, h.dtype
    delta = allocate(most_rows, S, dtype).reshape(steps, B, S)
    da = allocate(most_rows, A, dtype).reshape(steps, B, A)
    gated = allocate(most_rows, width, dtype).reshape(steps, B, width)
    da_y, room, W_here = allocate(most_rows, O, dtype), allocate(most_rows, N, dtype), realign(W)
    for end in range(0, T, steps):
        start, stop = max(T - end - steps, 0), T - end
        rows = (stop - start) * B
        of_y, of_h = da_y[:rows], delta[: stop - start]
        y_here, dy_here = y_hat[start:stop].reshape(rows, O), dy_hat[start:stop].reshape(rows, O)
        seen = readout_slice(h[start + 1 : stop + 1], N, room)
        state_vjp(output, U, b_y, seen, y_here, dy_here, of_y, of_h)
        add_rows(of_y.T, seen, dU)
        add_columns(of_y, db_y)
        of_a, of_gates = da[: stop - start], gated[: stop - start]
        of_step = slopes[start:stop].reshape(rows, slopes.shape[2])
        if db_n is None:
            back_one_gate(W_here, slopes[start:stop], of_h, of_a, dh)
        else:
            back_gates(kind, W_here, slopes[start:stop], of_h, of_a, of_gates, dh)
        delta_here, da_here = of_h.reshape(rows, S), of_a.reshape(rows, A)
        if not (_is_in_range(delta_here, least, most) and has_no_underflow(delta_here, of_step, da_here, least)):
            return False
        x_here, h_prev = x[start:stop].reshape(rows, I), readout_slice(h[start:stop], N, room)
        _add_gradients(kind, x_here, h_prev, of_step, da_here, of_gates.reshape(rows, width), dV, dW, db_h, db_n)
    if not _is_in_range(dh, least, most):
        return False
    found = is_finite(dV) and is_finite(dW) and is_finite(db_h)
    if db_n is not None:
        found = found and is_finite(db_n)
    return found and is_finite(dU) and is_finite(db_y) and is_finite(dh)


@compiled()
def run_elman_in_one_call(
    activation: int, output: int, x: Array, V: Array, W: Array, b_h: Array, U: Array, b_y: Array, target: Array,
    weights: Array, smallest: float, least: float, most: float,
    dV: Array, dW: Array, db_h: Array, dU: Array, db_y: Array, dh: Array,
) -> tuple[float, bool]:  # fmt: skip
    """`pass_forward`, `squared_error_loop` and `pass_back` of an Elman cell, for sequences so short that calls count.

    Everything is as there, but for dh (B,N), which is given as h_0.

    Returns:
        the loss, and whether it and what was filled are worth something.
    """
    (T, B, _), N, dtype = x.shape, W.shape[1], x.dtype
    h, slopes = np.empty((T + 1, B, N), dtype), np.empty((T, B, N), dtype)
    y_hat, dy_hat = np.empty(target.shape, dtype), np.empty(target.shape, dtype)
    h[0] = dh
    dh[:] = 0.0
    if not pass_forward(ONE_GATE, activation, output, x, V, W, b_h, None, U, b_y, h, slopes, y_hat, smallest):
        return math.inf, False
    value = squared_error_loop(y_hat, target, weights, dy_hat)
    fine = abs(value) < math.inf and pass_back(
        ONE_GATE, output, 0, x, W, U, b_y, h, slopes, y_hat, dy_hat, least, most,
        dV, dW, db_h, None, dU, db_y, dh,
    )  # fmt: skip
    return value, fine


@compiled()
def normalise_row(row: Array, exponent: int) -> int:
    """A row with its largest entry in [1/2, 1), as in `scaled`; its exponent then, that of zero for zeros."""
    return ZERO_EXPONENT if _find_largest(row) == 0.0 else exponent + rescale_row(row, ALWAYS)


@compiled()
def normalise_vjp(
    kind: int,
    W: Array,
    slopes: Array,
    dh: Array,
    exponents: Array,
    da: Array,
    dh_prev: Array,
    gated: Array,
) -> None:
    """`_vjp`, and every row of dh_prev normalised as in `scaled`: `exponents` (R Q,) become those of dh_prev."""
    _vjp(kind, W, slopes, dh, da, dh_prev, gated)
    for row in range(len(dh)):
        exponents[row] = normalise_row(dh_prev[row], exponents[row])


@compiled("contract", "nsz")
def pass_rows_back(
    kind: int, W: Array, slopes: Array, dh: Array, exponents: Array, da: Array, gated: Array,
    smallest: int, log_sizes: Array,
) -> None:  # fmt: skip
    """R rows for each of B sequences, so many lags back: `normalised_vjp` again and again.

    slopes (T,B,any), of which the last is that of the first step back; dh (L+1,R B,S) and exponents (L+1,R B), of which
    entry 0 is given and the others are filled; log_sizes (L,B): log of the Frobenius norm of all rows but the last.
    """
    L, B, size = len(dh) - 1, slopes.shape[1], dh.shape[2]
    rows = dh.shape[1] - B
    for lag in range(L):
        exponents[lag + 1] = exponents[lag]
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
    kind: int, W: Array, slopes: Array, t: Array, lag: int, dh: Array, exponents: Array, total: Array,
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
            own[s * B : (s + 1) * B] = slopes[t[s] - at - 1]
        _vjp(kind, W, own[done:], dh[done:], da[done:], dh_prev[done:], gated[done:])
        for row in range(done, len(dh)):
            k, b = t[row // B] - at - 1, row % B
            of_total[k, b] = add_part(da[row], exponents[row], 1.0, total[k, b], of_total[k, b], ALWAYS, smallest)
            exponents[row] = normalise_row(dh_prev[row], exponents[row])
        dh[done:] = dh_prev[done:]
