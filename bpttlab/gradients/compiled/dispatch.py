"""The compiled loops for a cell and its arrays: what `gradients` and the measures call if the engine is numba.

The loops know kinds of cells (`kinds`) and arrays of fixed layouts; this is where a cell becomes a kind, where room is
made for what the loops fill, and where it is decided whether arrays may be given to them at all.

Index legend: T time, B sequence, N hidden unit, S state, A pre-activations, I input, O output, R rows, L lags.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from bpttlab.gradients.compiled import (  # noqa: F401, loops of the kinds
    diagonal,
    elman,
    gru,
    leaky,
    lstm,
    minimal_rnn,
    stacked,
)
from bpttlab.gradients.compiled.arrays import align, allocate_aligned, multiply_many
from bpttlab.gradients.compiled.forms import (
    COMPILED_DTYPES,
    Form,
    find_form,
    find_input_matrix,
    find_matrix,
    settle_kind,
)
from bpttlab.gradients.compiled.own import name_weights
from bpttlab.gradients.compiled.passes import (
    pass_back,
    pass_both_ways,
    pass_errors_back,
    pass_forward,
    pass_recurrence,
    pass_steps,
)
from bpttlab.gradients.compiled.products import load_product
from bpttlab.gradients.compiled.walks import normalise_vjp, pass_rows_back, pass_wave_back, walk_back
from bpttlab.networks.cells import Antisymmetric, Stacked
from bpttlab.networks.cells.cell import Cell, Params
from bpttlab.networks.cells.gating import concat_blocks
from bpttlab.networks.cells.kernel import has_own_kernel
from bpttlab.numerics.array import Array
from bpttlab.numerics.scaled import ZERO_EXPONENT, Scaled

_TINY = {np.dtype(name): float(np.finfo(name).tiny) for name in ("float64", "float32")}
MUCH = 2**20
"""Multiplications by W in a pass from which on it is worth 2 µs an array to have them begin with cache lines."""
MIDDLE = {np.dtype("float64"): 64, np.dtype("float32"): 24}
"""The exponents within which a row of cotangents is left as it is."""


def make_contiguous(array: Array) -> Array:
    """The same numbers, contiguous and writable: every other kind of array would be compiled for once more."""
    return array if array.flags.carray else np.require(array, requirements=["C", "W", "A"])


def is_small(x: Array, W: Array) -> bool:
    """Whether a pass has so little to multiply that calls count."""
    return x.shape[0] * x.shape[1] * W.size < MUCH


def allocator(make: Callable[..., Array], x: Array, W: Array) -> Callable[..., Array]:
    """`np.empty` or `np.zeros` for the arrays of a pass; `allocate_aligned` with it if there is much to multiply."""
    return make if is_small(x, W) else partial(allocate_aligned, make)


def are_accepted(arrays: Mapping[str, Array], shapes: Mapping[str, tuple[int, ...]], dtype: Any) -> bool:
    """Whether these are the arrays that compiled code may be given: of these names, shapes and dtype, and solid."""
    if len(arrays) != len(shapes):
        return False
    for name, shape in shapes.items():  # noqa: SIM110, half the time of a generator
        if not is_accepted(arrays.get(name), shape, dtype):
            return False
    return True


def is_accepted(array: Any, shape: tuple[int, ...], dtype: Any) -> bool:
    """The same of one array."""
    return type(array) is np.ndarray and array.shape == shape and array.dtype == dtype and array.flags.carray


def run_forward(
    cell: Cell, params: Params, x: Array, h_0: Array | None
) -> tuple[Array, Array | None, Array | None, bool]:
    """All states from h_0 (B,S), or from zero, and x (T,B,I), of one dtype; `run_forward` without its checks.

    Returns:
        h (T+1,B,S); y_hat (T,B,O), None where the readout is not compiled; what `Cell.linearize` says of every step,
        None where the recursion alone is compiled; and whether everything, given and found, is finite.
    """
    if type(cell) is Stacked:
        return run_layers(cell, params, x, h_0)
    (T, B), dtype, of_cell = x.shape[:2], x.dtype, find_form(cell)
    if not of_cell.whole:
        return (run_own if has_own_kernel(type(cell)) else run_recurrence)(cell, params, x, h_0)
    load_product(dtype)
    W, b_y = find_matrix(cell, params), params["b_y"]
    empty = allocator(np.empty, x, W)
    h, y_hat = empty((T + 1, B, cell.state_size), dtype), empty((T, B, len(b_y) if of_cell.output >= 0 else 0), dtype)
    slopes = empty((T, B, of_cell.slopes * W.shape[1]), dtype)
    h[0] = 0.0 if h_0 is None else h_0
    fine = pass_forward(
        of_cell.kind, of_cell.output, x, params["V"], W, params["b_h"], candidate_bias(params), params["U"], b_y, h,
        slopes, y_hat, _TINY[dtype],
    )  # fmt: skip
    return h, y_hat if of_cell.output >= 0 else None, slopes, fine


def run_recurrence(
    cell: Cell, params: Params, x: Array, h_0: Array | None
) -> tuple[Array, Array | None, Array | None, bool]:
    """`run_forward` of a kind with the recursion alone."""
    load_product(x.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        z, W = make_contiguous(cell.project(params, x)), make_contiguous(find_matrix(cell, params))
    h = np.empty((len(x) + 1, x.shape[1], cell.state_size), x.dtype)
    h[0] = 0.0 if h_0 is None else h_0
    fine = pass_recurrence(find_form(cell).kind, z, W, h, _TINY[x.dtype])
    return h, None, None, fine and bool(np.isfinite(x).all())


def run_own(cell: Cell, params: Params, x: Array, h_0: Array | None) -> tuple[Array, Array | None, Array | None, bool]:
    """`run_forward` of a cell with a kernel of its own."""
    load_product(x.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        z = cell.project(params, x)
    z = z.copy() if np.may_share_memory(z, x) else make_contiguous(z.astype(x.dtype, copy=False))
    (T, B), weights = x.shape[:2], name_weights(cell, params, transposed=True)
    h, slopes = np.empty((T + 1, B, cell.state_size), x.dtype), np.empty((T, B, cell.linearization_size), x.dtype)
    h[0] = 0.0 if h_0 is None else h_0
    kind = settle_kind(find_form(cell).kind, x.dtype)
    fine = pass_steps(kind, z, weights, h, slopes, _TINY[x.dtype])
    return h, None, slopes, fine and all(np.isfinite(given).all() for given in (x, *params.values()))


def run_layers(
    stack: Stacked, params: Params, x: Array, h_0: Array | None
) -> tuple[Array, Array | None, Array | None, bool]:
    """`run_forward` of a stack: each layer over all steps, before the one above it."""
    states, slopes, y_hat, fine = [], [], None, True
    nothing = {"U": params["U"][:0], "b_y": params["b_y"][:0]}
    for layer, (cell, state) in enumerate(zip(stack.cells, stack.states, strict=True)):
        is_last = layer + 1 == stack.layers
        given = stack.layer_params(params, layer) | ({"U": params["U"], "b_y": params["b_y"]} if is_last else nothing)
        own_h_0 = None if h_0 is None else make_contiguous(h_0[:, state])
        h, y_hat, own_slopes, own_fine = run_forward(cell, given, x, own_h_0)
        with np.errstate(over="ignore", invalid="ignore"):
            slopes.append(cell.linearize(given, x, h) if own_slopes is None else own_slopes)
        states.append(h)
        fine = fine and own_fine
        if not is_last:
            x = make_contiguous(h[1:, :, cell.readout_slice])
            slopes.append(x)
    return concat_blocks(*states), y_hat, concat_blocks(*slopes), fine


def candidate_bias(params: Params) -> Array:
    """b_n; empty where a cell has none."""
    return params.get("b_n", params["b_y"][:0])


def run_backward(
    cell: Cell, params: Params, x: Array, h: Array, slopes: Array, y_hat: Array, dy_hat: Array
) -> Params | None:
    """`run_backward` of the full gradient; None where it is not finite, or plain numbers may not be enough for it."""
    of_cell, dtype = find_form(cell), x.dtype
    if of_cell.output < 0 or not of_cell.whole:
        return None
    load_product(dtype)
    W, U = find_matrix(cell, params), params["U"]
    sums, dh = make_sums(params, x), allocator(np.zeros, x, W)(h.shape[1:], dtype)
    fine = pass_back(
        of_cell.kind, of_cell.output, of_cell.gated * W.shape[1], x, W, U, params["b_y"], h, slopes, y_hat, dy_hat,
        *COMPILED_DTYPES[dtype], *sums, dh,
    )  # fmt: skip
    return name_sums(cell, params, sums, dh) if fine else None


def run_errors_back(cell: Cell, params: Params, slopes: Array, error: Array) -> tuple[Array, Array] | None:
    """The recursion of a full gradient in plain numbers; None as of `run_backward`.

    slopes (T,B,any), error (T,B,S) -> da (T,B,A), dL/dh_0 (B,S)
    """
    if type(cell) is Stacked:
        return run_layers_back(cell, params, slopes, error)
    if not is_small(error, max(params.values(), key=np.size)):
        params = {name: align(value) for name, value in params.items()}
    kind, W, width = find_way_back(cell, params)
    (T, B, S), dtype = error.shape, error.dtype
    da, gated = np.empty((T, B, cell.preactivation_size), dtype), np.empty((T, B, width), dtype)
    delta, dh = np.array(error, order="C"), np.zeros((B, S), dtype)
    fine = pass_errors_back(kind, W, make_contiguous(slopes), delta, da, gated, dh, *COMPILED_DTYPES[dtype])
    return (da, dh) if fine else None


def run_layers_back(stack: Stacked, params: Params, slopes: Array, error: Array) -> tuple[Array, Array] | None:
    """`run_errors_back` of a stack: each layer over all steps, after the one above it."""
    da: list[Array] = []
    dh: list[Array] = []
    for layer in reversed(range(stack.layers)):
        cell, given, own_error = stack.cells[layer], stack.layer_params(params, layer), error[..., stack.states[layer]]
        if da:
            own_error = own_error.copy()
            above = stack.layer_params(params, layer + 1)
            own_error[..., cell.readout_slice] += multiply_rows(da[0], find_input_matrix(stack.cells[layer + 1], above))
        found = run_errors_back(cell, given, slopes[..., stack.slope_parts[layer][0]], own_error)
        if found is None:
            return None
        da, dh = [found[0], *da], [found[1], *dh]
    return concat_blocks(*da), concat_blocks(*dh)


def multiply_rows(da: Array, matrix: Array) -> Array:
    """One product for all steps.  (T,B,A), (A,I) -> (T,B,I)"""
    return (da.reshape(-1, len(matrix)) @ matrix).reshape(*da.shape[:-1], matrix.shape[1])


def make_sums(params: Params, x: Array) -> tuple[Array, ...]:
    """Zeros for dV^T (I,A), dW (A,N), db_h (A,), that of b_n (A,) or empty, dU (O,N), and db_y (O,)."""
    W, U, dtype = params["W"], params["U"], x.dtype
    (A, N), (O, I), zeros = W.shape, (len(U), x.shape[2]), allocator(np.zeros, x, W)
    of_vectors = np.zeros(A, dtype), np.zeros(A if "b_n" in params else 0, dtype)
    return zeros((I, A), dtype), zeros((A, N), dtype), *of_vectors, zeros((O, N), dtype), np.zeros(O, dtype)


def name_sums(cell: Cell, params: Params, sums: tuple[Array, ...], dh: Array) -> Params:
    """The gradient by name, from what loops filled."""
    dV, dW, db_h, db_n, dU, db_y = sums
    of_candidate = {"b_n": db_n[-dW.shape[1] :]} if "b_n" in params else {}
    if type(cell) is Antisymmetric:  # W stands in M twice
        dW = dW - dW.T
    return {"V": dV.T.copy(), "W": dW, "b_h": db_h, **of_candidate, "U": dU, "b_y": db_y, "h_0": dh}


def run_in_one_call(
    cell: Cell, of_cell: Form, params: Params, x: Array, h_0: Array | None, target: Array, weights: Array
) -> tuple[float, Params] | None:
    """The squared error and `run_backward` of it, where there is little to multiply; None where they are not finite, or
    plain numbers may not be enough."""
    dtype, W = x.dtype, find_matrix(cell, params)
    load_product(dtype)
    sums = make_sums(params, x)
    dh = np.zeros((x.shape[1], cell.state_size), dtype) if h_0 is None else h_0.copy()
    value, fine = pass_both_ways(
        of_cell.kind, of_cell.output, of_cell.gated * W.shape[1], of_cell.slopes * W.shape[1], x, params["V"], W,
        params["b_h"], candidate_bias(params), params["U"], params["b_y"], target, weights, _TINY[dtype],
        *COMPILED_DTYPES[dtype], *sums, dh,
    )  # fmt: skip
    return (value, name_sums(cell, params, sums, dh)) if fine else None


def find_way_back(cell: Cell, params: Params) -> tuple[Any, Any, int]:
    """Which `vjp`, what it needs for W, and how wide `gated` is."""
    W, of_cell, dtype = find_matrix(cell, params), find_form(cell), next(iter(params.values())).dtype
    load_product(dtype)
    return (
        settle_kind(of_cell.kind, dtype),
        make_contiguous(W) if isinstance(W, np.ndarray) else W,
        of_cell.gated * cell.hidden_size,
    )


def walk(
    cell: Cell, params: Params, slopes: Array, error: Array, exponents: Array, segments: Array, carry: Array
) -> tuple[Array, Array, Array, Array, bool]:
    """`walk`.

    Args:
        slopes, error: (T,B,any) and (T,B,S).
        exponents: (T,B) of the errors.
        segments: (G,3) start, stop, loss_from.
        carry: (T,) or (T,B).

    Returns:
        da (T,B,A) and its exponents (T,B), dropped (T+1,B,S) and its exponents (T+1,B), and whether all are plain
        numbers, whose exponents are zero.
    """
    T, B, S = error.shape
    kind, W, width = find_way_back(cell, params)
    numbers = np.finfo(error.dtype)
    da, dropped = np.zeros((T, B, cell.preactivation_size), error.dtype), np.zeros((T + 1, B, S), error.dtype)
    da_exponents, dropped_exponents = np.full((T, B), ZERO_EXPONENT), np.full((T + 1, B), ZERO_EXPONENT)
    plain = walk_back(
        kind, W, make_contiguous(slopes), make_contiguous(error), make_contiguous(exponents),
        make_contiguous(np.broadcast_to(carry.reshape(T, -1), (T, B)).astype(np.float64)),
        make_contiguous(np.asarray(segments, np.int64)),
        da, da_exponents, dropped, dropped_exponents, np.empty((len(segments) * B, width), error.dtype),
        MIDDLE[error.dtype], int(numbers.minexp) // 2,
    )  # fmt: skip
    return da, da_exponents, dropped, dropped_exponents, plain


def scaled_vjp(cell: Cell, params: Params, slopes: Array, dh: Array, exponents: Array) -> tuple[Array, Array, Array]:
    """One step back for many rows.  slopes (S,B,any), dh (R,S,B,N), exponents (R,S,B,1)

    Returns:
        da (R,S,B,A) with the exponents of dh, dh_prev (R,S,B,N) normalised, and its exponents (R,S,B,1).
    """
    kind, W, width = find_way_back(cell, params)
    rows, size = math.prod(dh.shape[:-1]), dh.shape[-1]
    da, dh_prev = np.empty((*dh.shape[:-1], cell.preactivation_size), dh.dtype), np.empty(dh.shape, dh.dtype)
    of_prev = exponents.reshape(rows).copy()
    normalise_vjp(
        kind, W, make_contiguous(slopes).reshape(-1, slopes.shape[-1]),
        make_contiguous(dh).reshape(rows, size), of_prev, da.reshape(rows, -1), dh_prev.reshape(rows, size),
        np.empty((rows, width), dh.dtype),
    )  # fmt: skip
    return da, dh_prev, of_prev.reshape(exponents.shape)


def vjp_many(cell: Cell, params: Params, slopes: Array, dh: Array, exponents: Array) -> tuple[Array, Array, Array]:
    """Rows of a product and one more, as many steps back as there are slopes.

    slopes (L,B,any), that of the first step back the last; dh (R,1,B,N) normalised, exponents (R,1,B,1).

    Returns:
        rows and exponents before the first step and after each, (L+1,R,1,B,N) and (L+1,R,1,B,1), and log of the
        Frobenius norms of the first R-1 rows, (L+1,B).
    """
    kind, W, width = find_way_back(cell, params)
    L, R, B, size = len(slopes), len(dh), dh.shape[2], dh.shape[3]
    rows, of_rows = np.empty((L + 1, R * B, size), dh.dtype), np.empty((L + 1, R * B), np.int64)
    rows[0], of_rows[0] = dh.reshape(R * B, size), exponents.reshape(R * B)
    log_sizes = np.empty((L + 1, B))
    log_sizes[0] = Scaled(dh[:-1, 0].swapaxes(0, 1), exponents[:-1, 0].swapaxes(0, 1)).log_norm_of_normalised(axes=2)
    pass_rows_back(
        kind, W, make_contiguous(slopes), rows, of_rows, np.empty((R * B, cell.preactivation_size), dh.dtype),
        np.empty((R * B, width), dh.dtype),
        int(np.finfo(dh.dtype).minexp) // 2, log_sizes[1:],
    )  # fmt: skip
    return rows.reshape(L + 1, R, 1, B, size), of_rows.reshape(L + 1, R, 1, B, 1), log_sizes


def multiply(left: Array, right: Array, out: Array) -> Array:
    """left . right for each of many matrices, in `out`, which is contiguous.  (...,R,K), (...,K,M) -> (...,R,M)"""
    load_product(out.dtype)
    left, right = (make_contiguous(matrices).reshape(-1, *matrices.shape[-2:]) for matrices in (left, right))
    multiply_many(left, right, out.reshape(-1, *out.shape[-2:]))
    return out


def vjp_and_add(
    cell: Cell, params: Params, slopes: Array, t: Array, lag: int, lags: int, dh: Array, exponents: Array,
    total: Array, of_total: Array,
) -> tuple[Array, Array]:  # fmt: skip
    """Rows of several t so many lags further back, all of which stay behind h_0; da of each lag is added to a total.

    slopes (T,B,any), t (S,), dh (1,S,B,N) and exponents (1,S,B,1); total (T,B,A) and of_total (T,B,1) are changed.

    Returns:
        dh and exponents at lag + lags, of all S.
    """
    kind, W, width = find_way_back(cell, params)
    S, B, size = dh.shape[1:]
    rows, of_rows = dh.reshape(S * B, size).copy(), exponents.reshape(S * B).copy()
    pass_wave_back(
        kind, W, make_contiguous(slopes), make_contiguous(t.astype(np.int64)), lag,
        rows, of_rows, total, of_total[..., 0],
        np.empty((S * B, width), dh.dtype), int(np.finfo(dh.dtype).minexp) // 2, lags,
    )  # fmt: skip
    return rows.reshape(dh.shape), of_rows.reshape(exponents.shape)
