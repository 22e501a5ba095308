"""LSTM with peepholes: each gate sees the c of its own unit. The state is [h, c], 2N numbers; the readout sees h.

    i_t = sigma(V_i x_t + W_i h_{t-1} + p_i . c_{t-1} + b_i)          input gate
    f_t = sigma(V_f x_t + W_f h_{t-1} + p_f . c_{t-1} + b_f)          forget gate
    g_t =  tanh(V_g x_t + W_g h_{t-1} + b_g)                          candidate
    c_t = f_t . c_{t-1} + i_t . g_t
    o_t = sigma(V_o x_t + W_o h_{t-1} + p_o . c_t + b_o)              output gate, which sees the new c
    h_t = o_t . tanh(c_t)

V, W and b_h are stacked as in the LSTM: i, f, g, o; p = [p_i; p_f; p_o]. With p = 0 it is the LSTM, to the byte.

Index legend: T time, B sequence, I input, N hidden unit; `...` any leading axes. Pre-activations: [i, f, g, o], A = 4N.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from bpttlab.fields import Field
from bpttlab.networks.activations import Activation, logistic
from bpttlab.networks.cells.cell import Local, Params, rows
from bpttlab.networks.cells.gating import (
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
from bpttlab.networks.cells.lstm_relative import LSTMRelative
from bpttlab.networks.initializers import Initializer
from bpttlab.numerics.array import Array


@dataclass(frozen=True)
class PeepholeLSTM(LSTMRelative):
    """LSTM with peephole connections (Gers & Schmidhuber 2000)."""

    name: ClassVar[str] = "peephole_lstm"
    recurrent_parameters: ClassVar[tuple[str, ...]] = ("W", "p", "V", "b_h")

    input_size: int
    hidden_size: int
    output_size: int
    forget_bias: float = 1.0
    gate_scale: float = 1.0
    peephole_scale: Annotated[float, Field(ge=0, description="standard deviation of entries of p; 0: lstm")] = 0.1
    output_activation: str = "identity"

    def step(self, params: Params, z_t: Array, h_prev: Array) -> Array:
        """[h_t, c_t] from [h_{t-1}, c_{t-1}].  (B,4N), (B,2N) -> (B,2N)"""
        h, c = split_blocks(h_prev, 2)
        p_i, p_f, p_o = split_blocks(params["p"], 3)
        a_i, a_f, a_g, a_o = split_blocks(z_t + h @ params["W"].T, 4)
        c_t = logistic(a_f + p_f * c) * c + logistic(a_i + p_i * c) * np.tanh(a_g)
        return concat_blocks(logistic(a_o + p_o * c_t) * np.tanh(c_t), c_t)

    def preactivations(self, params: Params, x: Array, h: Array) -> list[Array]:
        """a_i, a_f, a_g and a_o of every step.  (T,B,I), (T+1,B,2N) -> (T,B,N) each"""
        c_prev, c_t = h[:-1, :, self.hidden_size :], h[1:, :, self.hidden_size :]
        p_i, p_f, p_o = split_blocks(params["p"], 3)
        a_i, a_f, a_g, a_o = split_blocks(self.lstm.preactivations(params, x, h), 4)
        return [a_i + p_i * c_prev, a_f + p_f * c_prev, a_g, a_o + p_o * c_t]

    def linearize(self, params: Params, x: Array, h: Array) -> Array:
        """[s_i, s_f, s_g, s_o, f, k, c_t] of every step: as in the LSTM, and c_t.  (T,B,I), (T+1,B,2N) -> (T,B,7N)"""
        c_prev, c_t = h[:-1, :, self.hidden_size :], h[1:, :, self.hidden_size :]
        a_i, a_f, a_g, a_o = self.preactivations(params, x, h)
        return concat_blocks(*memory_slopes(a_i, a_f, a_g, a_o, c_prev, c_t), c_t)

    def activation_inputs(self, params: Params, x: Array, h: Array) -> list[tuple[Activation, Array]]:
        """Of the gates, of the candidate, and of c_t on its way to h_t."""
        a_i, a_f, a_g, a_o = self.preactivations(params, x, h)
        return memory_activations(a_i, a_f, a_g, a_o, h[1:, :, self.hidden_size :])

    def vjp(self, params: Params, linearization_t: Array, dh_t: Array) -> tuple[Array, Array]:
        """Cotangents of [a_i, a_f, a_g, a_o] and of [h_{t-1}, c_{t-1}].  (...,7N), (...,2N) -> (...,4N), (...,2N)"""
        s_i, s_f, s_g, s_o, f, k, _ = split_blocks(linearization_t, 7)
        p_i, p_f, p_o = split_blocks(params["p"], 3)
        dh, dc = split_blocks(dh_t, 2)
        da_o = s_o * dh
        dc = dc + k * dh + p_o * da_o  # three ways to c_t: its own, through tanh, and through the output gate
        da_i, da_f = s_i * dc, s_f * dc
        da_t = concat_blocks(da_i, da_f, s_g * dc, da_o)
        return da_t, concat_blocks(weights_vjp(da_t, params["W"]), f * dc + p_i * da_i + p_f * da_f)

    def parameter_vjp(self, local: Local, da: Array) -> Params:
        seen, heard = self.gates_with_peepholes(local, da)
        return {
            **super().parameter_vjp(local, da),
            "p": (rows(seen) * rows(heard)).sum(axis=0),
        }

    def immediate(self, local: Local, da: Array) -> Params:
        seen, heard = self.gates_with_peepholes(local, da)
        return {**super().immediate(local, da), "p": seen * heard}

    def gates_with_peepholes(self, local: Local, da: Array) -> tuple[Array, Array]:
        """[c_{t-1}, c_{t-1}, c_t], and the cotangents of [a_i, a_f, a_o].  (...,3N), (...,3N)"""
        da_i, da_f, _, da_o = split_blocks(da, 4)
        c_prev, c_t = local.h_prev[..., self.hidden_size :], split_blocks(local.linearization, 7)[6]
        return concat_blocks(c_prev, c_prev, c_t), concat_blocks(da_i, da_f, da_o)

    def jacobian(self, params: Params, linearization_t: Array) -> Array:
        """J_t of [h, c].  (...,7N) -> (...,2N,2N)

        c<-c = diag(f + s_i p_i + s_f p_f),  c<-h = sum of diag(s) W over i, f, g; h<- is k + s_o p_o times that of c,
        and h<-h has diag(s_o) W_o besides.
        """
        s_i, s_f, s_g, s_o, f, k, _ = split_blocks(linearization_t, 7)
        p_i, p_f, p_o = split_blocks(params["p"], 3)
        W = np.split(params["W"], 4)
        c_c = f + s_i * p_i + s_f * p_f
        c_h = memory_by_state(s_i, s_f, s_g, W)
        sent = k + s_o * p_o
        h_row = concat_blocks(scaled_rows(s_o, W[3]) + scaled_rows(sent, c_h), diagonal(sent * c_c))
        return np.concatenate([h_row, concat_blocks(c_h, diagonal(c_c))], axis=-2)

    def draw(self, rng: np.random.Generator, initializer: Initializer, scales: Scales) -> Params:
        """V, W and b_h as the LSTM draws them, and p, in float64."""
        drawn = super().draw(rng, initializer, scales)
        (peepholes,) = rng.spawn(1)
        return {**drawn, "p": gaussian(peepholes, (3 * self.hidden_size,), self.peephole_scale)}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {**super().shapes(), "p": (3 * self.hidden_size,)}
