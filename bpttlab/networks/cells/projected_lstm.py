"""LSTM that projects h: N numbers are remembered, P sent on. The state is [h, c], P + N numbers; the readout sees h.

    i_t = sigma(V_i x_t + W_i h_{t-1} + b_i)          input gate
    f_t = sigma(V_f x_t + W_f h_{t-1} + b_f)          forget gate
    g_t =  tanh(V_g x_t + W_g h_{t-1} + b_g)          candidate
    o_t = sigma(V_o x_t + W_o h_{t-1} + b_o)          output gate
    c_t = f_t . c_{t-1} + i_t . g_t
    q_t = o_t . tanh(c_t)                             h_t = W_r q_t

V, W and b_h are stacked as in the LSTM: i, f, g, o. W_r is PyTorch's weight_hr. With W_r = I it is the LSTM.

Index legend: T time, B sequence, I input, P numbers of h (`hidden_size`), N of c (`memory_size`); `...` any leading
axes. Pre-activations: [i, f, g, o, h], A = 4N + P: h_t is one of them, so that W_r has an immediate derivative.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np

from bpttlab.fields import Field
from bpttlab.networks.activations import Activation, logistic
from bpttlab.networks.cells.cell import HIDDEN_SIZE, Cell, Local, Params, project_in_blocks, rows
from bpttlab.networks.cells.gating import (
    affine_gradient,
    affine_immediate,
    concat_blocks,
    diagonal,
    memory_activations,
    memory_by_state,
    memory_slopes,
    scaled_rows,
    split_blocks,
    weights_vjp,
)
from bpttlab.networks.cells.input_scales import Scales, gaussian
from bpttlab.networks.initializers import Initializer
from bpttlab.numerics.array import Array


@dataclass(frozen=True)
class ProjectedLSTM(Cell):
    """LSTM with a recurrent projection layer (Sak, Senior & Beaufays 2014; PyTorch's `nn.LSTM` with `proj_size`)."""

    name: ClassVar[str] = "projected_lstm"
    recurrent_parameters: ClassVar[tuple[str, ...]] = ("W", "W_r", "V", "b_h")

    input_size: int
    hidden_size: Annotated[int, replace(HIDDEN_SIZE, description="P, numbers of h, PyTorch's proj_size")]
    output_size: int
    memory_size: Annotated[int, Field(ge=1, description="N, numbers of c and of each gate, PyTorch's hidden_size")] = 64
    forget_bias: Annotated[float, Field(description="added to the forget gates' biases; PyTorch has 0")] = 1.0
    output_activation: str = "identity"

    def project(self, params: Params, x: Array) -> Array:
        """V x_t + b_h for every t at once.  (T,B,I) -> (T,B,4N)"""
        return project_in_blocks(x, params["V"]) + params["b_h"]

    def step(self, params: Params, z_t: Array, h_prev: Array) -> Array:
        """[h_t, c_t] from [h_{t-1}, c_{t-1}].  (B,4N), (B,P+N) -> (B,P+N)"""
        h, c = self.split_state(h_prev)
        a_i, a_f, a_g, a_o = split_blocks(z_t + h @ params["W"].T, 4)
        c_t = logistic(a_f) * c + logistic(a_i) * np.tanh(a_g)
        return concat_blocks((logistic(a_o) * np.tanh(c_t)) @ params["W_r"].T, c_t)

    def split_state(self, state: Array) -> list[Array]:
        """h and c.  (...,P+N) -> (...,P), (...,N)"""
        return np.split(state, [self.hidden_size], axis=-1)

    def preactivations(self, params: Params, x: Array, h: Array) -> list[Array]:
        """a_i, a_f, a_g and a_o of every step.  (T,B,I), (T+1,B,P+N) -> (T,B,N) each"""
        h_prev = np.ascontiguousarray(self.split_state(h[:-1])[0])
        return split_blocks(self.project(params, x) + project_in_blocks(h_prev, params["W"]), 4)

    def linearize(self, params: Params, x: Array, h: Array) -> Array:
        """[s_i, s_f, s_g, s_o, f, k, q_t] of every step.  (T,B,I), (T+1,B,P+N) -> (T,B,7N)

        s_i, s_f, s_g = dc_t/d(a_i, a_f, a_g),  s_o = dq_t/da_o,  f = dc_t/dc_{t-1},  k = dq_t/dc_t.
        """
        c_prev, c_t = self.split_state(h[:-1])[1], self.split_state(h[1:])[1]
        a_i, a_f, a_g, a_o = self.preactivations(params, x, h)
        return concat_blocks(*memory_slopes(a_i, a_f, a_g, a_o, c_prev, c_t), logistic(a_o) * np.tanh(c_t))

    def activation_inputs(self, params: Params, x: Array, h: Array) -> list[tuple[Activation, Array]]:
        """Of the gates, of the candidate, and of c_t on its way to q_t."""
        a_i, a_f, a_g, a_o = self.preactivations(params, x, h)
        return memory_activations(a_i, a_f, a_g, a_o, self.split_state(h[1:])[1])

    def vjp(self, params: Params, linearization_t: Array, dh_t: Array) -> tuple[Array, Array]:
        """Cotangents of [a_i, a_f, a_g, a_o, h_t] and of [h_{t-1}, c_{t-1}].

        (...,7N), (...,P+N) -> (...,4N+P), (...,P+N)
        """
        s_i, s_f, s_g, s_o, f, k, _ = split_blocks(linearization_t, 7)
        dh, dc = self.split_state(dh_t)
        dq = weights_vjp(dh, params["W_r"])
        dc = dc + k * dq  # both ways to c_t: its own, and through h_t
        gates = concat_blocks(s_i * dc, s_f * dc, s_g * dc, s_o * dq)
        return concat_blocks(gates, dh), concat_blocks(weights_vjp(gates, params["W"]), f * dc)

    def split_preactivations(self, da: Array) -> list[Array]:
        """Those of the gates, and h_t.  (...,4N+P) -> (...,4N), (...,P)"""
        return np.split(da, [4 * self.memory_size], axis=-1)

    def parameter_vjp(self, local: Local, da: Array) -> Params:
        gates, dh = self.split_preactivations(da)
        gradients = affine_gradient(local.x, self.split_state(local.h_prev)[0], gates)
        return {**gradients, "W_r": rows(dh).T @ rows(split_blocks(local.linearization, 7)[6])}

    def immediate(self, local: Local, da: Array) -> Params:
        gates, dh = self.split_preactivations(da)
        found = affine_immediate(local.x, self.split_state(local.h_prev)[0], gates)
        return {**found, "W_r": dh[..., None] * split_blocks(local.linearization, 7)[6][..., None, :]}

    def input_vjp(self, params: Params, linearization_t: Array, da_t: Array) -> Array:
        """V^T of the gates.  (...,7N), (...,4N+P) -> (...,I)"""
        return weights_vjp(self.split_preactivations(da_t)[0], params["V"])

    def jacobian(self, params: Params, linearization_t: Array) -> Array:
        """J_t of [h, c].  (...,7N) -> (...,P+N,P+N)

        c<-c = diag(f),  c<-h = sum of diag(s) W over i, f, g;  h<- is W_r of q<-: q<-c = diag(k f),
        q<-h = diag(s_o) W_o + diag(k) c<-h.
        """
        s_i, s_f, s_g, s_o, f, k, _ = split_blocks(linearization_t, 7)
        W = np.split(params["W"], 4)
        c_h = memory_by_state(s_i, s_f, s_g, W)
        q_row = concat_blocks(scaled_rows(s_o, W[3]) + scaled_rows(k, c_h), diagonal(k * f))
        return np.concatenate([params["W_r"] @ q_row, concat_blocks(c_h, diagonal(f))], axis=-2)

    def describe_alternative(self) -> str:
        return ", because W is not square, and set cell.forget_bias"

    def draw(self, rng: np.random.Generator, initializer: Initializer, scales: Scales) -> Params:
        """V, W, W_r and b_h in float64; entries of W are N(0, 1/P), of W_r N(0, 1/N)."""
        self.check_initializer(initializer)
        inputs, recurrence, projection, biases = rng.spawn(4)
        N = self.memory_size
        b_h = gaussian(biases, (4 * N,), scales.b)
        b_h[N : 2 * N] += self.forget_bias
        shapes = self.shapes()
        return {
            "V": gaussian(inputs, shapes["V"], scales.V),
            "W": gaussian(recurrence, shapes["W"], 1.0),
            "W_r": gaussian(projection, shapes["W_r"], 1.0),
            "b_h": b_h,
        }

    def shapes(self) -> dict[str, tuple[int, ...]]:
        N, P, I = self.memory_size, self.hidden_size, self.input_size
        return {"V": (4 * N, I), "W": (4 * N, P), "W_r": (P, N), "b_h": (4 * N,)}

    def block_counts(self) -> dict[str, int]:
        """None: an initializer draws square blocks."""
        return {}

    @property
    def state_parts(self) -> dict[str, int]:
        return {"h": self.hidden_size, "c": self.memory_size}

    @property
    def units(self) -> Array:
        """Each number of c is a unit, and each of h, which receives from all of them."""
        return np.arange(self.state_size)

    @property
    def preactivation_size(self) -> int:
        return 4 * self.memory_size + self.hidden_size

    @property
    def linearization_size(self) -> int:
        return 7 * self.memory_size
