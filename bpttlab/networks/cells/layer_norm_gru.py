"""GRU with layer normalisation.

    v_t = g_x . norm(V x_t) + b_h          w_t = g_h . norm(W h_{t-1})          stacked as in the GRU: r, u, n
    r_t = sigma(v_r + w_r)                 u_t = sigma(v_u + w_u)
    n_t = tanh(v_n + r_t . (w_n + b_n))    h_t = u_t . h_{t-1} + (1 - u_t) . n_t

norm(a) = (a - mean a) / sqrt(var a + epsilon), over the 2N numbers of both gates and over the N of the candidate, each
by itself. The biases within the norms of the paper are one with b_h and b_n. A factor on the gates' W, or on W_n,
changes nothing (but for epsilon). At h_{t-1} = 0 the derivative of norm(W h) has the factor 1 / sqrt(epsilon).

Index legend: T time, B sequence, I input, N hidden unit; `...` any leading axes. Pre-activations: A = 9N,
v_t, V x_t and W h_{t-1}.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, ClassVar

import numpy as np

from bpttlab.fields import Field
from bpttlab.networks.activations import Activation, logistic, logistic_slope, tanh_slope
from bpttlab.networks.cells.cell import Cell, Local, Params, project_in_blocks, rows
from bpttlab.networks.cells.gating import LOGISTIC, TANH, concat_blocks, split_blocks, weights_vjp
from bpttlab.networks.cells.gru import GRU
from bpttlab.networks.cells.input_scales import Scales
from bpttlab.networks.cells.normalisation import Epsilon, normalise_units, normalise_units_vjp
from bpttlab.networks.initializers import Initializer
from bpttlab.numerics.array import Array


@dataclass(frozen=True)
class LayerNormGRU(Cell):
    """GRU with layer normalisation and the reset gate after the product (Ba, Kiros & Hinton 2016)."""

    name: ClassVar[str] = "layer_norm_gru"
    recurrent_parameters: ClassVar[tuple[str, ...]] = ("W", "V", "b_h", "b_n", "g_x", "g_h")

    input_size: int
    hidden_size: int
    output_size: int
    gate_scale: Annotated[
        float, Field(ge=0, description="the initializer draws W_n; W_r and W_u are drawn the same way, times this")
    ] = 1.0
    epsilon: Epsilon = 1e-5
    output_activation: str = "identity"

    @cached_property
    def gru(self) -> GRU:
        """The cell without norms."""
        return GRU(self.input_size, self.hidden_size, self.output_size, gate_scale=self.gate_scale)

    def normalise_gates(self, a: Array) -> tuple[Array, Array]:
        """Of both gates together, and of the candidate; the two factors.  (...,3N) -> (...,3N), (...,2)"""
        gates, r_gates = normalise_units(a[..., : 2 * self.hidden_size], self.epsilon)
        candidate, r_candidate = normalise_units(a[..., 2 * self.hidden_size :], self.epsilon)
        return concat_blocks(gates, candidate), concat_blocks(r_gates, r_candidate)

    def normalise_gates_vjp(self, a_hat: Array, r: Array, da_hat: Array) -> Array:
        """(...,3N), (...,2), (...,3N) -> (...,3N)"""
        gates, candidate = slice(0, 2 * self.hidden_size), slice(2 * self.hidden_size, None)
        return concat_blocks(
            normalise_units_vjp(a_hat[..., gates], r[..., :1], da_hat[..., gates]),
            normalise_units_vjp(a_hat[..., candidate], r[..., 1:], da_hat[..., candidate]),
        )

    def project(self, params: Params, x: Array) -> Array:
        """v_t for every t at once.  (T,B,I) -> (T,B,3N)"""
        return params["g_x"] * self.normalise_gates(project_in_blocks(x, params["V"]))[0] + params["b_h"]

    def step(self, params: Params, z_t: Array, h_prev: Array) -> Array:
        """h_t; `z_t` is v_t.  (B,3N), (B,N) -> (B,N)"""
        w_r, w_u, w_n = split_blocks(params["g_h"] * self.normalise_gates(h_prev @ params["W"].T)[0], 3)
        v_r, v_u, v_n = split_blocks(z_t, 3)
        u = logistic(v_u + w_u)
        n = np.tanh(v_n + logistic(v_r + w_r) * (w_n + params["b_n"]))
        return u * h_prev + (1.0 - u) * n

    def preactivations(self, params: Params, x: Array, h: Array) -> tuple[Array, Array, Array, Array]:
        """a_r, a_u and a_n of every step, and what r_t multiplies.  (T,B,I), (T+1,B,N) -> (T,B,N) each"""
        h_hat, _ = self.normalise_gates(project_in_blocks(h[:-1], params["W"]))
        w_r, w_u, w_n = split_blocks(params["g_h"] * h_hat, 3)
        v_r, v_u, v_n = split_blocks(self.project(params, x), 3)
        multiplied = w_n + params["b_n"]
        return v_r + w_r, v_u + w_u, v_n + logistic(v_r + w_r) * multiplied, multiplied

    def linearize(self, params: Params, x: Array, h: Array) -> Array:
        """[s_r, s_u, s_n, r, u] as in the GRU, x_hat, h_hat and their factors.  (T,B,I), (T+1,B,N) -> (T,B,11N+4)"""
        a_r, a_u, a_n, multiplied = self.preactivations(params, x, h)
        slopes = (
            logistic_slope(a_r) * multiplied,
            logistic_slope(a_u) * (h[:-1] - np.tanh(a_n)),
            logistic(-a_u) * tanh_slope(a_n),
            logistic(a_r),
            logistic(a_u),
        )
        x_hat, r_x = self.normalise_gates(project_in_blocks(x, params["V"]))
        h_hat, r_h = self.normalise_gates(project_in_blocks(h[:-1], params["W"]))
        return concat_blocks(*slopes, x_hat, h_hat, r_x, r_h)

    def split_linearization(self, linearization_t: Array) -> list[Array]:
        """Slopes (5N), x_hat (3N), h_hat (3N), r_x (2), r_h (2)."""
        N = self.hidden_size
        return np.split(linearization_t, [5 * N, 8 * N, 11 * N, 11 * N + 2], axis=-1)

    def activation_inputs(self, params: Params, x: Array, h: Array) -> list[tuple[Activation, Array]]:
        """Of the gates, and of the candidate."""
        a_r, a_u, a_n, _ = self.preactivations(params, x, h)
        return [(LOGISTIC, a_r), (LOGISTIC, a_u), (TANH, a_n)]

    def vjp(self, params: Params, linearization_t: Array, dh_t: Array) -> tuple[Array, Array]:
        """Cotangents of [v_t, V x_t, W h_{t-1}] and of h_{t-1}.  (...,11N+4), (...,N) -> (...,9N), (...,N)"""
        slopes, x_hat, h_hat, r_x, r_h = self.split_linearization(linearization_t)
        s_r, s_u, s_n, r, u = split_blocks(slopes, 5)
        da_n = s_n * dh_t
        dv = concat_blocks(s_r * da_n, s_u * dh_t, da_n)
        dx = self.normalise_gates_vjp(x_hat, r_x, params["g_x"] * dv)
        dw = self.normalise_gates_vjp(h_hat, r_h, params["g_h"] * self.after_reset(r, dv))
        return concat_blocks(dv, dx, dw), u * dh_t + weights_vjp(dw, params["W"])

    def after_reset(self, r: Array, dv: Array) -> Array:
        """The cotangent of w_t from that of v_t: r_t multiplies the candidate's.  (...,N), (...,3N) -> (...,3N)"""
        gates, candidate = dv[..., : 2 * self.hidden_size], dv[..., 2 * self.hidden_size :]
        return concat_blocks(gates, r * candidate)

    def input_vjp(self, params: Params, linearization_t: Array, da_t: Array) -> Array:
        """(...,11N+4), (...,9N) -> (...,I)"""
        return weights_vjp(split_blocks(da_t, 3)[1], params["V"])

    def parameter_vjp(self, local: Local, da: Array) -> Params:
        _, x_hat, h_hat, _, _ = self.split_linearization(rows(local.linearization))
        v, x, w = split_blocks(rows(da), 3)
        reset = self.after_reset(split_blocks(rows(local.linearization)[:, : 5 * self.hidden_size], 5)[3], v)
        return {
            "V": x.T @ rows(local.x),
            "W": w.T @ rows(local.h_prev),
            "b_h": v.sum(axis=0),
            "b_n": reset[:, 2 * self.hidden_size :].sum(axis=0),
            "g_x": (v * x_hat).sum(axis=0),
            "g_h": (reset * h_hat).sum(axis=0),
        }

    def draw(self, rng: np.random.Generator, initializer: Initializer, scales: Scales) -> Params:
        """As the GRU draws them, gains 1."""
        gains = {name: np.ones(3 * self.hidden_size) for name in ("g_x", "g_h")}
        return {**self.gru.draw(rng, initializer, scales), **gains}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {**self.gru.shapes(), "g_x": (3 * self.hidden_size,), "g_h": (3 * self.hidden_size,)}

    def recurrent_blocks(self, params: Params) -> dict[str, Array]:
        """The candidate's W_n first."""
        return self.gru.recurrent_blocks(params)

    @property
    def preactivation_size(self) -> int:
        return 9 * self.hidden_size
