"""The compiled engine: the loops of cells that have a kind (`kinds`) by `dispatch`, everything else by NumPy's engine.

Index legend: T time, B sequence, I input, N hidden state, A pre-activations, O output, S starts, R rows, L lags.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from bpttlab.gradients.compiled import (
    dispatch,
    elimination,
    forms,
    lag_sums,
    lanczos,
    leading_pairs,
    passes,
    spectral_kernels,
    squared_exponents,
)
from bpttlab.gradients.compiled.products import load_product
from bpttlab.gradients.engine import (
    NUMPY,
    Cotangents,
    Engine,
    RowsBack,
    SpectralNorms,
    SquaredExponents,
    plain,
)
from bpttlab.gradients.inputs import check_errors, check_finite, check_inputs
from bpttlab.gradients.parameter_gradients import gradient_parts, sum_parts
from bpttlab.gradients.plan import Plan
from bpttlab.gradients.trace import Trace
from bpttlab.networks.cells import Elman, OrthogonalElman, ScoRNN
from bpttlab.networks.cells.cell import Cell, Params
from bpttlab.networks.losses import Loss, Reduction, step_weights
from bpttlab.numerics.array import Array
from bpttlab.numerics.scaled import Scaled

LIKE_ELMAN = (Elman, OrthogonalElman, ScoRNN)
"""Cells with da_t = f_h' dh_t and dh_{t-1} = W^T da_t."""

PLAIN_RANGE = {np.dtype("float64"): (2.0**-420, 2.0**420), np.dtype("float32"): (2.0**-80, 2.0**80)}
"""Of the largest entries of cotangents whose sums, and their squares in float64, plain numbers can hold."""

_HELD_NUMBERS = 2**21
"""Numbers of rows of several lags that `pass_rows_back` holds at once."""


class Compiled(Engine):
    """Loops compiled by Numba; a trace of a cell or a dtype that has none is NumPy's."""

    name: ClassVar[str] = "numba"
    linearizes: ClassVar[bool] = True

    def runs(self, cell: Cell, dtype: Any) -> bool:
        return forms.has_kernel(cell, dtype)

    def forward(self, cell: Cell, params: Params, x: Array, h_0: Array | None) -> Trace:
        """In one piece, without Python between.

        What is given is checked twice only where it has to be converted, or something is wrong with it.
        """
        given = prepare_params(cell, params, x, h_0)
        if given is None:
            x, h_0 = check_inputs(cell, params, x, h_0)
            if not self.runs(cell, x.dtype):
                return NUMPY.forward(cell, params, x, h_0)
            given = {
                name: dispatch.make_contiguous(value.astype(x.dtype, copy=False)) for name, value in params.items()
            }
            x, h_0 = dispatch.make_contiguous(x), dispatch.make_contiguous(h_0)
        h, y_hat, linearization, fine = dispatch.run_forward(cell, given, x, h_0)
        if not fine:
            check_inputs(cell, params, x, h_0)
            check_finite(h[1:], "the hidden state")
        if y_hat is None:
            with np.errstate(over="ignore", invalid="ignore"):
                y_hat = cell.read(params, h[1:])
        if not fine or forms.find_form(cell).output < 0:
            check_finite(y_hat, "the prediction")
        trace = Trace(cell, params, x, h, y_hat, self)
        return trace if linearization is None else trace.with_linearization(linearization)

    def walk(self, trace: Trace, error: Any, plan: Plan) -> Cotangents:
        scaled = self.widen(error)
        da, of_da, dropped, of_dropped, moderate = dispatch.walk(
            trace.cell, trace.params, trace.linearization, scaled.mantissa, scaled.exponent[..., 0], plan.segments,
            plan.carry,
        )  # fmt: skip
        if moderate and not isinstance(error, Scaled):
            return Cotangents(da, dropped)
        found = Cotangents(Scaled(da, of_da[..., None]), Scaled(dropped, of_dropped[..., None]))
        return found if isinstance(error, Scaled) else Cotangents(*map(plain, found))

    def widen(self, error: Any) -> Scaled:
        """Scaled ones: rows in the middle of the range with exponents of zero, others normalised.

        A walk compares exponents to see what is nothing beside another row.
        """
        if isinstance(error, Scaled):
            return error
        plain = Scaled(error, np.zeros((*error.shape[:-1], 1), np.int64))
        largest, most = np.abs(error).max(axis=-1, keepdims=True, initial=0.0), 2.0 ** dispatch.MIDDLE[error.dtype]
        outside = ((largest > most) | ((largest < 1.0 / most) & (largest > 0.0))) & np.isfinite(largest)
        if not outside.any():
            return plain
        normal = plain.normalise()
        return Scaled(np.where(outside, normal.mantissa, error), np.where(outside, normal.exponent, 0))

    def gradient(self, trace: Trace, loss: Loss | Array) -> Params | None:
        cell, dy_hat = trace.cell, loss.gradient if isinstance(loss, Loss) else loss
        form = forms.find_form(cell)
        if not form.whole:
            return gradient_of_recursion(trace, loss) if form.plain else None
        arrays = {"x": trace.x, "h": trace.h, "y_hat": trace.y_hat, "dy_hat": dy_hat}
        shapes = {name: array.shape for name, array in arrays.items()} | {"dy_hat": trace.y_hat.shape}
        dtype, linearization = trace.h.dtype, trace.linearization
        if not dispatch.are_accepted(trace.params, cell.parameter_shapes(), dtype):
            return None
        if not dispatch.are_accepted(arrays, shapes, dtype):
            return None
        if not linearization.flags.carray:
            return None
        return dispatch.run_backward(cell, trace.params, trace.x, trace.h, linearization, trace.y_hat, dy_hat)

    def loss_and_gradient(
        self, cell: Cell, params: Params, x: Array, target: Array, mask: Array | None, reduction: Reduction,
        h_0: Array | None,
    ) -> tuple[float, Params] | None:  # fmt: skip
        if prepare_params(cell, params, x, h_0) is None:
            return None
        form = forms.recall_facts(cell).form
        if not form.whole or form.output < 0:
            return None
        T, B = x.shape[:2]
        if not dispatch.is_accepted(target, (T, B, cell.output_size), x.dtype):
            return None
        weights = make_uniform_weights(T, reduction) if mask is None else step_weights(mask, reduction)
        if weights.shape != (T,):
            return None
        if dispatch.is_small(x, params["W"]):
            return dispatch.run_in_one_call(cell, form, params, x, h_0, target, weights)
        h, y_hat, linearization, fine = dispatch.run_forward(cell, params, x, h_0)
        dy_hat = np.empty_like(target)
        value = passes.squared_error_loop(y_hat, target, weights, dy_hat) if fine and y_hat is not None else math.inf
        if y_hat is None or linearization is None or not math.isfinite(value):
            return None
        gradients = dispatch.run_backward(cell, params, x, h, linearization, y_hat, dy_hat)
        return None if gradients is None else (value, gradients)

    def vjp(self, trace: Trace, linearization_t: Array, dh_t: Scaled) -> tuple[Scaled, Scaled]:
        da, dh_prev, exponents = dispatch.scaled_vjp(
            trace.cell, trace.params, linearization_t, dh_t.mantissa, dh_t.exponent
        )
        return Scaled(da, dh_t.exponent), Scaled(dh_prev, exponents)

    def skip(self, trace: Trace, t: Array, lag: int, lags: int, dh: Scaled, total: Scaled) -> tuple[Array, Scaled]:
        """By one compiled loop."""
        mantissa, exponent = dispatch.vjp_and_add(
            trace.cell, trace.params, trace.linearization, t, lag, lags, dh.mantissa, dh.exponent, total.mantissa,
            total.exponent,
        )  # fmt: skip
        left = t >= lag + lags
        return t[left], Scaled(mantissa, exponent)[:, left]

    def pass_rows_back(self, trace: Trace, t: int, rows: Scaled) -> Iterator[RowsBack]:
        """Many lags in one call of a compiled loop."""
        most, begun = max(1, _HELD_NUMBERS // rows.mantissa.size), 0
        for end in range(t, 0, -most):
            linearization = trace.linearization[max(0, end - most) : end]
            mantissas, exponents, sizes = dispatch.vjp_many(
                trace.cell, trace.params, linearization, rows.mantissa, rows.exponent
            )
            found = Scaled(mantissas, exponents)
            yield RowsBack(found[begun:], sizes[begun:, None], bool(np.isfinite(mantissas).all()))
            rows, begun = found[-1], 1  # which has been yielded

    def pass_plain_rows_back(self, trace: Trace, linearization: Array, rows: Array) -> None:
        if isinstance(trace.cell, LIKE_ELMAN):
            spectral_kernels.push_rows(trace.params["W"], linearization, rows)
        else:
            super().pass_plain_rows_back(trace, linearization, rows)

    def takes_tiles(self, cell: Cell) -> bool:
        return isinstance(cell, LIKE_ELMAN)

    def wave_in_tiles(
        self, trace: Trace, Z: Array, local: Array, interval: Array, least: float, most: float, together: int,
        dh: Array, shares: Array, gradients: Array,
    ) -> int:  # fmt: skip
        B = trace.h.shape[1]
        return spectral_kernels.wave_in_tiles(
            np.ascontiguousarray(trace.params["W"]), np.ascontiguousarray(trace.linearization).ravel(), Z, local,
            interval, least, most, together, B, dh, shares, gradients,
        )  # fmt: skip

    def sum_lags(
        self, trace: Trace, error: Array, local: Array, place: Array, alone: Array, group: Array
    ) -> tuple[Array, Array] | None:
        """For an Elman cell."""
        if not isinstance(trace.cell, LIKE_ELMAN):
            return None
        dtype, first = error.dtype, int(np.argmax(error.any(axis=(1, 2))))
        load_product(dtype)
        slopes, of_local, dh = (
            np.ascontiguousarray(steps.swapaxes(0, 1)) for steps in (trace.linearization, local, error[first:])
        )
        parts = np.zeros((int(place[-1]) + 1, error.shape[-1], local.shape[-1]), dtype)
        scatter = np.zeros((len(parts), int(group[-1]) + 1))
        inside = lag_sums.sum_lags(
            np.ascontiguousarray(trace.params["W"]), slopes, of_local, dh, place, alone, group,
            *PLAIN_RANGE[dtype], parts, scatter,
        )  # fmt: skip
        return (parts, scatter) if inside else None

    def follow_volumes(
        self, cell: Cell, params: Params, linearization: Array, Y: Array, logs: Array
    ) -> tuple[int, int]:
        """By one compiled loop; of an Elman cell without its Jacobians."""
        load_product(Y.dtype)
        if isinstance(cell, LIKE_ELMAN):
            return elimination.follow_volumes(params["W"].T.copy()[None], linearization, Y, logs)
        matrices = cell.jacobian(params, linearization[:, None])[:, 0].swapaxes(-2, -1).copy()
        return elimination.follow_volumes(matrices, np.empty((len(matrices), 0)), Y, logs)

    def square_exponents(
        self, trace: Trace, Q: Array, transient: int, interval: int, sequences: int
    ) -> SquaredExponents | None:
        """For an Elman cell."""
        if not isinstance(trace.cell, LIKE_ELMAN):
            return None
        return square_exponents(trace.params["W"], trace.linearization, Q, transient, interval, sequences)

    def multiply(self, left: Array, right: Array, out: Array) -> Array:
        return dispatch.multiply(left, right, out)

    def matrix_vjp(self, cell: Cell, params: Params, linearization: Array, products: Array, out: Array) -> None:
        if not isinstance(cell, LIKE_ELMAN):
            super().matrix_vjp(cell, params, linearization, products, out)
            return
        rows, size = linearization * products, products.shape[-1]
        self.multiply(rows.reshape(1, -1, size), params["W"][None], out.reshape(1, -1, size))

    def spectral_norms(self, size: int) -> SpectralNorms:
        return leading_pairs.DirectNorms() if size <= leading_pairs.LARGEST_SIZE else lanczos.LanczosNorms(size)

    def largest_logs(
        self, matrices: Array, u: Array | None = None, noise: Callable[[], Array] | None = None
    ) -> Array | None:
        """By Lanczos."""
        direction = lanczos.random_direction(matrices.shape[1]) if noise is None else noise()
        return lanczos.largest_logs(matrices, direction.copy() if u is None else u, direction)


def gradient_of_recursion(trace: Trace, loss: Loss | Array) -> Params | None:
    """The full gradient where the recursion alone is compiled; None where plain numbers may not be enough for it."""
    dL_dy_hat = check_errors(trace, loss)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        da_y, error = trace.readout_vjp(dL_dy_hat)
        found = dispatch.run_errors_back(trace.cell, trace.params, trace.linearization, error)
        if found is None:
            return None
        gradients = {**sum_parts(gradient_parts(trace, found[0], da_y)), "h_0": found[1]}
    return gradients if all(np.isfinite(gradient).all() for gradient in gradients.values()) else None


def square_exponents(
    W: Array, slopes: Array, Q: Array, transient: int, interval: int, sequences: int
) -> SquaredExponents | None:
    """`Engine.square_exponents` where J_t = diag(slopes_t) W.  (N,N), (T,B,N), (B,N,K)"""
    load_product(W.dtype)
    (T, B, N), K = slopes.shape, Q.shape[2]
    W, W_T = np.ascontiguousarray(W), W.T.copy()
    slopes = np.ascontiguousarray(slopes)
    frames, triangles = np.empty((T + 1, B * K, N)), np.empty((T, B, K, K))
    ends, logs = np.empty(T + 1, np.int64), np.zeros((B, K))
    frames[0] = Q.swapaxes(1, 2).reshape(B * K, N)
    number = squared_exponents.follow_frames(W_T, slopes, transient, interval, frames, triangles, ends, logs)
    if number < 0:
        return None
    rates, dW, dslopes = logs / (T - transient), np.zeros_like(W), np.empty_like(slopes)
    dlogs = 2.0 * rates / ((T - transient) * sequences)
    squared_exponents.pull_frames_back(W, W_T, slopes, transient, frames, triangles, ends, number, dlogs, dslopes, dW)
    return SquaredExponents(rates, {"W": dW}, dslopes)


def prepare_params(cell: Cell, params: Params, x: Array, h_0: Array | None) -> Params | None:
    """The parameters, where they, x and h_0 are such that compiled code can have them as they are."""
    if (
        type(x) is not np.ndarray
        or not forms.has_kernel(cell, x.dtype)
        or not dispatch.are_accepted(params, forms.recall_facts(cell).shapes, x.dtype)
    ):
        return None
    if x.ndim != 3 or len(x) < 1 or x.shape[2] != cell.x_size or not x.flags.carray:
        return None
    if h_0 is not None and not dispatch.is_accepted(h_0, (x.shape[1], cell.state_size), x.dtype):
        return None
    return params


def make_uniform_weights(T: int, reduction: Reduction) -> Array:
    """`step_weights` where every step counts as much."""
    return recall_shares(T) if reduction == "mean" else step_weights(np.ones(T), reduction)


@lru_cache(maxsize=1)
def recall_shares(T: int) -> Array:
    """1 / T for every step. Loops only read them, so that calls one after another may have the same."""
    return np.full(T, 1.0 / T)


COMPILED = Compiled()
