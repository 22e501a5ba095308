"""sLSTM: an LSTM with exponential gates and a normaliser. The state is [h, c, n, m], 4N numbers; the readout sees h.

    a_i, a_f, a_g, a_o = V x_t + W h_{t-1} + b_h, stacked as in the LSTM; i = exp(a_i), f = sigma(a_f) or exp(a_f)
    m_t = max(log f_t + m_{t-1}, a_i)                                        stabiliser
    i'_t = exp(a_i - m_t)            f'_t = exp(log f_t + m_{t-1} - m_t)     both at most 1, one of them is 1
    c_t = f'_t . c_{t-1} + i'_t . tanh(a_g)            n_t = f'_t . n_{t-1} + i'_t
    h_t = sigma(a_o) . c_t / n_t

h_t does not depend on how c and n are scaled: (c e^-d, n e^-d, m + d) is the same memory for every d. J_t is that of
the four stored numbers, as in the authors' code. It keeps the direction d of a unit unchanged while its forget branch
is the larger one in m_t, although h never hears of it. A norm of the whole product therefore stays at one or above for
as long; the block h<-h and the gradients of a loss are free of it.

W has one head. At a tie of m_t the derivative is that of the forget branch.

Index legend: T time, B sequence, I input, N hidden unit; `...` any leading axes. Pre-activations: [i, f, g, o], A = 4N.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import numpy as np

from bpttlab.fields import Field
from bpttlab.networks.activations import Activation, logistic, logistic_slope, softplus, tanh_slope
from bpttlab.networks.cells.cell import HIDDEN_SIZE, Local, Params
from bpttlab.networks.cells.gating import (
    LOGISTIC,
    TANH,
    concat_blocks,
    split_blocks,
    weights_vjp,
)
from bpttlab.networks.cells.lstm_relative import LSTMRelative
from bpttlab.numerics.array import Array


@dataclass(frozen=True)
class SLSTM(LSTMRelative):
    """sLSTM (Beck et al. 2024), one head, without the block around it."""

    name: ClassVar[str] = "slstm"

    input_size: int
    hidden_size: Annotated[
        int, replace(HIDDEN_SIZE, description="N, hidden units; the state [h, c, n, m] has 4N numbers")
    ]
    output_size: int
    forget_gate: Annotated[Literal["logistic", "exponential"], Field(description="f = sigma(a_f), or exp(a_f)")] = (
        "logistic"
    )
    forget_bias: float = 1.0
    gate_scale: float = 1.0
    output_activation: str = "identity"

    def log_forget(self, a_f: Array) -> Array:
        """log f_t, without leaving the range of floats.  (...,N) -> (...,N)"""
        return -softplus(-a_f) if self.forget_gate == "logistic" else a_f

    def step(self, params: Params, z_t: Array, h_prev: Array) -> Array:
        """[h_t, c_t, n_t, m_t].  (B,4N), (B,4N) -> (B,4N)"""
        h, c, n, m = split_blocks(h_prev, 4)
        a_i, a_f, a_g, a_o = split_blocks(z_t + h @ params["W"].T, 4)
        kept = self.log_forget(a_f) + m
        m_t = np.where(np.real(kept) >= np.real(a_i), kept, a_i)
        forget, new = np.exp(kept - m_t), np.exp(a_i - m_t)
        c_t, n_t = forget * c + new * np.tanh(a_g), forget * n + new
        return concat_blocks(logistic(a_o) * c_t / n_t, c_t, n_t, m_t)

    def linearize(self, params: Params, x: Array, h: Array) -> Array:
        """[k_c, k_n, w, s_f, s_g, s_o, f', h<-c, h<-n] of every step.  (T,B,I), (T+1,B,4N) -> (T,B,9N)

        k_c, k_n = d(c_t, n_t)/d(log f_t + m_{t-1} - a_i);  w = 1 where the forget branch is m_t, else 0;
        s_f = dlog f_t/da_f;  s_g = dc_t/da_g;  s_o = dh_t/da_o;  h<-c and h<-n the derivatives of h_t.
        """
        _, c_prev, n_prev, m_prev = split_blocks(h[:-1], 4)
        _, c_t, n_t, m_t = split_blocks(h[1:], 4)
        a_i, a_f, a_g, a_o = split_blocks(self.lstm.preactivations(params, x, h), 4)
        kept = self.log_forget(a_f) + m_prev
        w = (kept >= a_i).astype(h.dtype)
        m_t = np.maximum(kept, a_i)
        forget, new = np.exp(kept - m_t), np.exp(a_i - m_t)
        return concat_blocks(
            (1.0 - w) * forget * c_prev - w * new * np.tanh(a_g),
            (1.0 - w) * forget * n_prev - w * new,
            w,
            logistic(-a_f) if self.forget_gate == "logistic" else np.ones_like(a_f),
            new * tanh_slope(a_g),
            logistic_slope(a_o) * c_t / n_t,
            forget,
            logistic(a_o) / n_t,
            -logistic(a_o) * c_t / (n_t * n_t),
        )

    def activation_inputs(self, params: Params, x: Array, h: Array) -> list[tuple[Activation, Array]]:
        """Of the candidate and of the output gate; exponential gates have no saturation."""
        _, _, a_g, a_o = split_blocks(self.lstm.preactivations(params, x, h), 4)
        return [(TANH, a_g), (LOGISTIC, a_o)]

    def vjp(self, params: Params, linearization_t: Array, dh_t: Array) -> tuple[Array, Array]:
        """Cotangents of [a_i, a_f, a_g, a_o] and of the state before.  (...,9N), (...,4N) -> (...,4N), (...,4N)"""
        k_c, k_n, w, s_f, s_g, s_o, forget, h_c, h_n = split_blocks(linearization_t, 9)
        dh, dc, dn, dm = split_blocks(dh_t, 4)
        dc, dn = dc + h_c * dh, dn + h_n * dh
        d_difference = k_c * dc + k_n * dn
        dm_prev = d_difference + w * dm
        da_t = concat_blocks((1.0 - w) * dm - d_difference, s_f * dm_prev, s_g * dc, s_o * dh)
        return da_t, concat_blocks(weights_vjp(da_t, params["W"]), forget * dc, forget * dn, dm_prev)

    def parameter_vjp_each(self, local: Local, da: Array) -> Params:
        return self.lstm.parameter_vjp_each(local, da)

    def initial_states(self, drawn: Array) -> Array:
        """|n| in place of n: the normaliser is a sum of exponentials.  (B,4N) -> (B,4N)"""
        h, c, n, m = split_blocks(drawn, 4)
        return concat_blocks(h, c, np.abs(n), m)

    def probe_states(self, drawn: Array) -> Array:
        """m so large, and so small, that both branches of the stabiliser are met.  (count,4N) -> (count,4N)"""
        h, c, n, _ = split_blocks(drawn, 4)
        m = np.where(np.arange(len(drawn))[:, None] % 2 == 0, 20.0, -20.0)
        return concat_blocks(h, c, np.abs(n), np.broadcast_to(m, h.shape))

    @property
    def state_parts(self) -> dict[str, int]:
        return dict.fromkeys("hcnm", self.hidden_size)
