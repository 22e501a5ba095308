"""A whole forward pass and a whole gradient in plain numbers, compiled: `engine="numba"`.

The same mathematics as the cells' own methods, in the part of NumPy that Numba compiles. What is not sequential goes
along, some steps at a time. Without Numba, or with NUMBA_DISABLE_JIT=1, the source is interpreted and gives the same
numbers up to the rounding of fused products. Cotangents with an exponent a row are those of `walks`.

Index legend: T time, B sequence, N hidden unit, S state, A pre-activations, I input, O output, Q rows.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bpttlab.gradients.compiled.arrays import (
    add_columns,
    allocate,
    copy_rows,
    is_finite,
    project,
    readout_slice,
    realign,
    transpose,
)
from bpttlab.gradients.compiled.compilation import compiled
from bpttlab.gradients.compiled.elementary import LOGISTIC, RELU, TANH, activate, activate_with_slopes
from bpttlab.gradients.compiled.kinds import add_recurrent_gradient, step_back, step_forward, transpose_weights
from bpttlab.gradients.compiled.products import add_rows
from bpttlab.gradients.compiled.scaled_rows import has_no_underflow, is_in_range
from bpttlab.numerics.array import Array


@compiled()
def count_steps_at_once(B: int, N: int) -> int:
    """How many steps go into one product outside the recursion: as many as leave what is between two near at hand, and
    enough terms for the gradient of W, which goes by once for each product."""
    return max(1, min(256, max(2**16 // N, N // 4)) // max(1, B))


@compiled()
def pass_forward(
    kind: Any, output: int, x: Array, V: Array, W: Array, b_h: Array, b_n: Array, U: Array, b_y: Array, h: Array,
    slopes: Array, y_hat: Array, smallest: float,
) -> bool:  # fmt: skip
    """`forward`: all states and predictions from h_0.

    x (T,B,I) and the parameters as they are, b_n empty where there is none; h (T+1,B,S), of which h[0] is given and the
    rest filled, slopes (T,B,any) and y_hat (T,B,O), empty where the readout is not compiled.

    Returns:
        whether all numbers, given and found, are finite.
    """
    (T, B, I), (A, N), O = x.shape, W.shape, y_hat.shape[2]
    V_T, U_T = transpose(V, 0, A), transpose(U, 0, len(U))
    W_T, W_rest = transpose_weights(kind, W)
    steps = min(T, count_steps_at_once(B, N))
    z, room = allocate(steps * B, A, x.dtype).reshape(steps, B, A), allocate(steps * B, N, x.dtype)
    for start in range(0, T, steps):
        stop = min(T, start + steps)
        rows = (stop - start) * B
        z_here, h_here = z[: stop - start], h[start : stop + 1]
        project(x[start:stop].reshape(rows, I), V_T, b_h, z_here.reshape(rows, A))
        step_forward(kind, z_here, W_T, W_rest, b_n, h_here, slopes[start:stop], smallest)
        if O:
            y_here = y_hat[start:stop].reshape(rows, O)
            project(readout_slice(h[start + 1 : stop + 1], N, room), U_T, b_y, y_here)
            activate(output, y_here, y_here, 0.0)
    given = is_finite(x) and is_finite(V) and is_finite(W) and is_finite(b_h) and is_finite(U) and is_finite(b_y)
    return given and is_finite(b_n) and is_finite(h) and is_finite(y_hat)


@compiled()
def pass_recurrence(kind: Any, z: Array, W: Array, h: Array, smallest: float) -> bool:
    """All states from h_0 and the projections of x, where the recursion alone is compiled.

    z (T,B,any), which is changed; W as the kind needs it; h (T+1,B,S), of which h[0] is given and the rest filled.

    Returns:
        whether all numbers, given and found, are finite.
    """
    W_T, W_rest = transpose_weights(kind, W)
    fine = is_finite(z) and is_finite(W)
    step_forward(kind, z, W_T, W_rest, z[0, 0], h, z, smallest)
    return fine and is_finite(h)


@compiled()
def pass_steps(kind: Any, z: Array, W: Any, h: Array, slopes: Array, smallest: float) -> bool:
    """All states and slopes from h_0 and the projections of x, where the sums of a gradient are those of the cell.

    z (T,B,any), which may be changed; h (T+1,B,S), of which h[0] is given and the rest filled; slopes (T,B,any).

    Returns:
        whether all states are finite.
    """
    step_forward(kind, z, W, W, z[0, 0], h, slopes, smallest)
    return is_finite(h)


@compiled("contract", "nsz")
def pass_errors_back(
    kind: Any, W: Any, slopes: Array, delta: Array, da: Array, gated: Array, dh: Array, least: float, most: float
) -> bool:
    """The recursion of a full gradient in plain numbers: `step_back` of all steps.

    Returns:
        whether plain numbers were enough, as of `pass_back`.
    """
    (T, B, S), A = delta.shape, da.shape[2]
    step_back(kind, W, slopes, delta, da, gated, dh)
    of_h, of_a, of_step = delta.reshape(T * B, S), da.reshape(T * B, A), slopes.reshape(T * B, slopes.shape[2])
    fine = is_in_range(of_h, least, most) and has_no_underflow(of_h, of_step, of_a, least)
    return fine and is_in_range(dh, least, most)


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
    kind: Any, output: int, width: int, x: Array, W: Array, U: Array, b_y: Array, h: Array, slopes: Array,
    y_hat: Array, dy_hat: Array, least: float, most: float,
    dV: Array, dW: Array, db_h: Array, db_n: Array, dU: Array, db_y: Array, dh: Array,
) -> bool:  # fmt: skip
    """`backward` of the full gradient in plain numbers.

    x (T,B,I), W, U, b_y, h (T+1,B,S), slopes (T,B,any), y_hat and dL/dy_hat (T,B,O). It fills dV^T (I,A), dW (A,N),
    db_h (A,), db_n (A,) as in `add_recurrent_gradient`, dU (O,N), db_y (O,), and dh (B,S), dL/dh_0 in the end; all come
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
        step_back(kind, W_here, slopes[start:stop], of_h, of_a, of_gates, dh)
        delta_here, da_here = of_h.reshape(rows, S), of_a.reshape(rows, A)
        if not (is_in_range(delta_here, least, most) and has_no_underflow(delta_here, of_step, da_here, least)):
            return False
        x_here, h_prev = x[start:stop].reshape(rows, I), readout_slice(h[start:stop], N, room)
        add_rows(x_here.T, da_here, dV)
        add_columns(da_here, db_h)
        add_recurrent_gradient(kind, h_prev, of_step, da_here, of_gates.reshape(rows, width), dW, db_n)
    if not is_in_range(dh, least, most):
        return False
    found = is_finite(dV) and is_finite(dW) and is_finite(db_h) and is_finite(db_n)
    return found and is_finite(dU) and is_finite(db_y) and is_finite(dh)


@compiled()
def pass_both_ways(
    kind: Any, output: int, width: int, slopes_width: int, x: Array, V: Array, W: Array, b_h: Array, b_n: Array,
    U: Array, b_y: Array, target: Array, weights: Array, smallest: float, least: float, most: float,
    dV: Array, dW: Array, db_h: Array, db_n: Array, dU: Array, db_y: Array, dh: Array,
) -> tuple[float, bool]:  # fmt: skip
    """`pass_forward`, `squared_error_loop` and `pass_back`, for sequences so short that calls count.

    Everything is as there, but for dh (B,S), which is given as h_0.

    Returns:
        the loss, and whether it and what was filled are worth something.
    """
    (T, B, _), S, dtype = x.shape, dh.shape[1], x.dtype
    h, slopes = np.empty((T + 1, B, S), dtype), np.empty((T, B, slopes_width), dtype)
    y_hat, dy_hat = np.empty(target.shape, dtype), np.empty(target.shape, dtype)
    copy_rows(dh, h[0])
    dh[:] = 0.0
    if not pass_forward(kind, output, x, V, W, b_h, b_n, U, b_y, h, slopes, y_hat, smallest):
        return math.inf, False
    value = squared_error_loop(y_hat, target, weights, dy_hat)
    fine = abs(value) < math.inf and pass_back(
        kind, output, width, x, W, U, b_y, h, slopes, y_hat, dy_hat, least, most,
        dV, dW, db_h, db_n, dU, db_y, dh,
    )  # fmt: skip
    return value, fine
