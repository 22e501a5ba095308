"""Gated recurrent unit.

    r_t = sigma(V_r x_t + W_r h_{t-1} + b_r)                          reset gate
    u_t = sigma(V_u x_t + W_u h_{t-1} + b_u)                          update gate, PyTorch's z
    n_t = tanh(V_n x_t + b_hn + r_t . (W_n h_{t-1} + b_n))            candidate, reset = after (PyTorch's)
    n_t = tanh(V_n x_t + b_hn + W_n (r_t . h_{t-1}))                  candidate, reset = before (Cho's)
    h_t = u_t . h_{t-1} + (1 - u_t) . n_t

V = [V_r; V_u; V_n], W = [W_r; W_u; W_n] and b_h = [b_r; b_u; b_hn] are stacked as in PyTorch (r, z, n). PyTorch has two
biases everywhere; b_h is their sum for the gates and b_ih alone for the candidate, whose b_hh is b_n here.

Index legend: T time, B sequence, I input, N hidden unit; `...` any leading axes. Pre-activations: [r, u, n], A = 3N.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np

from bpttlab.fields import Field
from bpttlab.networks.activations import (
    Activation,
    logistic,
    logistic_curvature,
    logistic_slope,
    tanh_curvature,
    tanh_slope,
)
from bpttlab.networks.cells.cell import Cell, Local, Params, project_in_blocks, rows
from bpttlab.networks.cells.gating import (
    LOGISTIC,
    TANH,
    affine_gradient,
    affine_immediate,
    concat_blocks,
    diagonal,
    diagonal_of,
    sample_blocks,
    scaled_rows,
    scaled_rows_vjp,
    split_blocks,
    weights_vjp,
)
from bpttlab.networks.cells.input_scales import Scales, gaussian
from bpttlab.networks.initializers import Initializer
from bpttlab.numerics.array import Array


@dataclass(frozen=True)
class GRU(Cell):
    """Gated recurrent unit (Cho et al. 2014, eq. 5 to 8; PyTorch's `nn.GRU`)."""

    name: ClassVar[str] = "gru"

    input_size: int
    hidden_size: int
    output_size: int
    reset: Annotated[
        Literal["after", "before"],
        Field(description="the reset gate comes after the product with W_n (PyTorch) or before it (Cho et al. 2014)"),
    ] = "after"
    gate_scale: Annotated[
        float, Field(ge=0, description="the initializer draws W_n; W_r and W_u are drawn the same way, times this")
    ] = 1.0
    reset_scale: Annotated[float, Field(ge=0, description="W_r alone, times this too")] = 1.0
    update_scale: Annotated[float, Field(ge=0, description="W_u alone, times this too")] = 1.0
    output_activation: str = "identity"

    @property
    def recurrent_parameters(self) -> tuple[str, ...]:
        return ("W", "V", "b_h", "b_n") if self.reset == "after" else ("W", "V", "b_h")

    def project(self, params: Params, x: Array) -> Array:
        """V x_t + b_h for every t at once.  (T,B,I) -> (T,B,3N)"""
        return project_in_blocks(x, params["V"]) + params["b_h"]

    def step(self, params: Params, z_t: Array, h_prev: Array) -> Array:
        """(B,3N), (B,N) -> (B,N)"""
        N = self.hidden_size
        if self.reset == "after":
            recurrent = h_prev @ params["W"].T
            r, u = split_blocks(logistic(z_t[..., : 2 * N] + recurrent[..., : 2 * N]), 2)
            n = np.tanh(z_t[..., 2 * N :] + r * (recurrent[..., 2 * N :] + params["b_n"]))
        else:
            r, u = split_blocks(logistic(z_t[..., : 2 * N] + h_prev @ params["W"][: 2 * N].T), 2)
            n = np.tanh(z_t[..., 2 * N :] + (r * h_prev) @ params["W"][2 * N :].T)
        return u * h_prev + (1.0 - u) * n

    def linearize(self, params: Params, x: Array, h: Array) -> Array:
        """[s_r, s_u, s_n, r, u] of every step.  (T,B,I), (T+1,B,N) -> (T,B,5N)

        s_u = dh_t/da_u = sigma'(a_u) (h_{t-1} - n_t),  s_n = dh_t/da_n = (1 - u_t) tanh'(a_n), and s_r = what r_t
        multiplies, times sigma'(a_r): W_n h_{t-1} + b_n (after) or h_{t-1} (before).
        """
        a_r, a_u, a_n, multiplied = self.preactivations(params, x, h)
        h_prev = h[:-1]
        return concat_blocks(
            logistic_slope(a_r) * multiplied,
            logistic_slope(a_u) * (h_prev - np.tanh(a_n)),
            logistic(-a_u) * tanh_slope(a_n),
            logistic(a_r),
            logistic(a_u),
        )

    def preactivations(self, params: Params, x: Array, h: Array) -> tuple[Array, Array, Array, Array]:
        """a_r, a_u and a_n of every step, and what r_t multiplies.  (T,B,I), (T+1,B,N) -> (T,B,N) each"""
        N, h_prev = self.hidden_size, h[:-1]
        z_r, z_u, z_n = split_blocks(self.project(params, x), 3)
        if self.reset == "after":
            w_r, w_u, w_n = split_blocks(project_in_blocks(h_prev, params["W"]), 3)
            multiplied = w_n + params["b_n"]
            candidate = logistic(z_r + w_r) * multiplied
        else:
            w_r, w_u = split_blocks(project_in_blocks(h_prev, params["W"][: 2 * N]), 2)
            multiplied = h_prev
            candidate = project_in_blocks(logistic(z_r + w_r) * h_prev, params["W"][2 * N :])
        return z_r + w_r, z_u + w_u, z_n + candidate, multiplied

    def activation_inputs(self, params: Params, x: Array, h: Array) -> list[tuple[Activation, Array]]:
        """Of the gates, and of the candidate."""
        a_r, a_u, a_n, _ = self.preactivations(params, x, h)
        return [(LOGISTIC, a_r), (LOGISTIC, a_u), (TANH, a_n)]

    def vjp(self, params: Params, linearization_t: Array, dh_t: Array) -> tuple[Array, Array]:
        """Cotangents of [a_r, a_u, a_n] and of h_{t-1}.  (...,5N), (...,N) -> (...,3N), (...,N)"""
        N = self.hidden_size
        s_r, s_u, s_n, r, u = split_blocks(linearization_t, 5)
        da_u, da_n = s_u * dh_t, s_n * dh_t
        if self.reset == "after":
            da_r = s_r * da_n
            sent = weights_vjp(concat_blocks(da_r, da_u, r * da_n), params["W"])
        else:
            dq = weights_vjp(da_n, params["W"][2 * N :])  # of q_t = r_t . h_{t-1}
            da_r = s_r * dq
            sent = r * dq + weights_vjp(concat_blocks(da_r, da_u), params["W"][: 2 * N])
        return concat_blocks(da_r, da_u, da_n), u * dh_t + sent

    def parameter_vjp(self, local: Local, da: Array) -> Params:
        """As for an Elman cell with three blocks, but for W_n, which r_t stands beside."""
        da_n, r = split_blocks(da, 3)[2], split_blocks(local.linearization, 5)[3]
        gradients = affine_gradient(local.x, local.h_prev, da)
        if self.reset == "after":
            gated = r * da_n
            W_n = rows(gated).T @ rows(local.h_prev)
            gradients["b_n"] = rows(gated).sum(axis=0)
        else:
            W_n = rows(da_n).T @ rows(r * local.h_prev)
        gradients["W"][2 * self.hidden_size :] = W_n
        return gradients

    def immediate(self, local: Local, da: Array) -> Params:
        """As `gradient`, without its sum."""
        da_n, r, h_prev = split_blocks(da, 3)[2], split_blocks(local.linearization, 5)[3], local.h_prev
        found = affine_immediate(local.x, h_prev, da)
        if self.reset == "after":
            found["b_n"] = r * da_n
            W_n = found["b_n"][..., None] * h_prev[..., None, :]
        else:
            W_n = da_n[..., None] * (r * h_prev)[..., None, :]
        found["W"][..., 2 * self.hidden_size :, :] = W_n
        return found

    def jacobian(self, params: Params, linearization_t: Array) -> Array:
        """J_t = diag(u) + diag(s_u) W_u + diag(s_n) dq_t/dh_{t-1}, q_t what the candidate has of h.  -> (...,N,N)

        dq/dh = diag(r) W_n + diag(s_r) W_r (after),  W_n (diag(r) + diag(s_r) W_r) (before).
        """
        s_r, s_u, s_n, r, u = split_blocks(linearization_t, 5)
        W_r, W_u, W_n = np.split(params["W"], 3)
        if self.reset == "after":
            inner = scaled_rows(r, W_n) + scaled_rows(s_r, W_r)
        else:
            inner = W_n @ (diagonal(r) + scaled_rows(s_r, W_r))
        return diagonal(u) + scaled_rows(s_u, W_u) + scaled_rows(s_n, inner)

    def jacobian_vjp(self, params: Params, linearization_t: Array, dJ_t: Array) -> tuple[Params, Array]:
        """From diag(u), diag(s_u) W_u and diag(s_n) dq/dh, and from there to r, s_r, W_n and W_r."""
        s_r, s_u, s_n, r, _ = split_blocks(linearization_t, 5)
        W_r, W_u, W_n = np.split(params["W"], 3)
        ds_u, dW_u = scaled_rows_vjp(s_u, W_u, dJ_t)
        dinner = scaled_rows(s_n, dJ_t)
        if self.reset == "after":
            inner = scaled_rows(r, W_n) + scaled_rows(s_r, W_r)
            (dr, dW_n), (ds_r, dW_r) = scaled_rows_vjp(r, W_n, dinner), scaled_rows_vjp(s_r, W_r, dinner)
        else:
            gated = diagonal(r) + scaled_rows(s_r, W_r)  # what W_n is multiplied by
            inner, dgated = W_n @ gated, W_n.T @ dinner
            dW_n = np.einsum("rnk,rmk->nm", *(one.reshape(-1, *W_n.shape) for one in (dinner, gated)))
            dr, (ds_r, dW_r) = diagonal_of(dgated), scaled_rows_vjp(s_r, W_r, dgated)
        ds_n = (dJ_t * inner).sum(axis=-1)
        return {"W": np.concatenate([dW_r, dW_u, dW_n])}, concat_blocks(ds_r, ds_u, ds_n, dr, diagonal_of(dJ_t))

    def linearize_vjp(self, params: Params, x: Array, h: Array, dlinearization: Array) -> tuple[Params, Array]:
        """Each product of `linearize` by both of its factors; a_n contains r_t and what r_t multiplies."""
        N, h_prev, W_n = self.hidden_size, h[:-1], params["W"][2 * self.hidden_size :]
        ds_r, ds_u, ds_n, dr, du = split_blocks(dlinearization, 5)
        a_r, a_u, a_n, multiplied = self.preactivations(params, x, h)
        r, r_slope, u_slope, n_slope = logistic(a_r), logistic_slope(a_r), logistic_slope(a_u), tanh_slope(a_n)
        da_u = ds_u * logistic_curvature(a_u) * (h_prev - np.tanh(a_n)) + (du - ds_n * n_slope) * u_slope
        da_n = ds_n * logistic(-a_u) * tanh_curvature(a_n) - ds_u * u_slope * n_slope
        dq = da_n if self.reset == "after" else weights_vjp(da_n, W_n)  # of r_t . what it multiplies
        da_r = ds_r * logistic_curvature(a_r) * multiplied + (dr + dq * multiplied) * r_slope
        dmultiplied = ds_r * r_slope + dq * r
        gradients = affine_gradient(x, h_prev, concat_blocks(da_r, da_u, da_n))
        dh = np.zeros_like(h)
        dh[:-1] = ds_u * u_slope + weights_vjp(concat_blocks(da_r, da_u), params["W"][: 2 * N])
        if self.reset == "after":
            dh[:-1] += weights_vjp(dmultiplied, W_n)
            gradients["W"][2 * N :] = rows(dmultiplied).T @ rows(h_prev)
            gradients["b_n"] = rows(dmultiplied).sum(axis=0)
        else:
            dh[:-1] += dmultiplied
            gradients["W"][2 * N :] = rows(da_n).T @ rows(r * h_prev)
        return gradients, dh

    def draw(self, rng: np.random.Generator, initializer: Initializer, scales: Scales) -> Params:
        """V, W, b_h and, with reset = after, b_n in float64."""
        inputs, recurrence, biases, candidate_biases = rng.spawn(4)
        N, scale = self.hidden_size, self.gate_scale
        factors = (1.0, scale * self.reset_scale, scale * self.update_scale)
        W_n, W_r, W_u = sample_blocks(recurrence, initializer, N, factors)
        params = {
            "V": gaussian(inputs, (3 * N, self.input_size), scales.V),
            "W": np.concatenate([W_r, W_u, W_n]),
            "b_h": gaussian(biases, (3 * N,), scales.b),
        }
        if self.reset == "after":
            params["b_n"] = gaussian(candidate_biases, (N,), scales.b)
        return params

    def shapes(self) -> dict[str, tuple[int, ...]]:
        N, I = self.hidden_size, self.input_size
        shapes: dict[str, tuple[int, ...]] = {"V": (3 * N, I), "W": (3 * N, N), "b_h": (3 * N,)}
        return shapes | ({"b_n": (N,)} if self.reset == "after" else {})

    def recurrent_blocks(self, params: Params) -> dict[str, Array]:
        """The candidate's W_n first."""
        W_r, W_u, W_n = np.split(params["W"], 3)
        return {"W_n": W_n, "W_r": W_r, "W_u": W_u}

    @property
    def preactivation_size(self) -> int:
        return 3 * self.hidden_size
