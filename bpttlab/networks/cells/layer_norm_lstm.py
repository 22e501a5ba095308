"""LSTM with layer normalisation. The state is [h, c], 2N numbers, of which the readout sees h.

    [i, f, g, o]_t before their functions:  a_t = g_x . norm(V x_t) + g_h . norm(W h_{t-1}) + b_h
    c_t = f_t . c_{t-1} + i_t . g_t          h_t = o_t . tanh(g_c . norm(c_t) + b_c)

norm(a) = (a - mean a) / sqrt(var a + epsilon), over all 4N numbers of V x_t and of W h_{t-1}, and over the N of c_t.
The biases within the norms of the paper are one with b_h. Stacked as in the LSTM: i, f, g, o. A factor on W changes
nothing (but for epsilon), so that its spectral radius does not count. At h_{t-1} = 0, as at the first step from zero,
the derivative of norm(W h) has the factor 1 / sqrt(epsilon).

Index legend: T time, B sequence, I input, N hidden unit; `...` any leading axes. Pre-activations: A = 13N,
a_t, V x_t and W h_{t-1} (4N each), and the argument of tanh.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from bpttlab.networks.activations import Activation, logistic
from bpttlab.networks.cells.cell import Local, Params, project_in_blocks, rows
from bpttlab.networks.cells.gating import concat_blocks, memory_activations, memory_slopes, split_blocks, weights_vjp
from bpttlab.networks.cells.input_scales import Scales, gaussian
from bpttlab.networks.cells.lstm_relative import LSTMRelative
from bpttlab.networks.cells.normalisation import Epsilon, normalise_units, normalise_units_vjp
from bpttlab.networks.initializers import Initializer
from bpttlab.numerics.array import Array


class NormalisedParts(NamedTuple):
    """The parts of a linearization: derivatives as in the LSTM (6N), what was normalised, and by which factor."""

    slopes: Array
    x_hat: Array
    h_hat: Array
    c_hat: Array
    r: Array


@dataclass(frozen=True)
class LayerNormLSTM(LSTMRelative):
    """LSTM with layer normalisation (Ba, Kiros & Hinton 2016)."""

    name: ClassVar[str] = "layer_norm_lstm"
    recurrent_parameters: ClassVar[tuple[str, ...]] = ("W", "V", "b_h", "g_x", "g_h", "g_c", "b_c")

    input_size: int
    hidden_size: int
    output_size: int
    forget_bias: float = 1.0
    gate_scale: float = 1.0
    epsilon: Epsilon = 1e-5
    output_activation: str = "identity"

    def project(self, params: Params, x: Array) -> Array:
        """g_x . norm(V x_t) + b_h for every t at once.  (T,B,I) -> (T,B,4N)"""
        return params["g_x"] * normalise_units(project_in_blocks(x, params["V"]), self.epsilon)[0] + params["b_h"]

    def step(self, params: Params, z_t: Array, h_prev: Array) -> Array:
        """[h_t, c_t] from [h_{t-1}, c_{t-1}].  (B,4N), (B,2N) -> (B,2N)"""
        h, c = split_blocks(h_prev, 2)
        h_hat, _ = normalise_units(h @ params["W"].T, self.epsilon)
        a_i, a_f, a_g, a_o = split_blocks(z_t + params["g_h"] * h_hat, 4)
        c_t = logistic(a_f) * c + logistic(a_i) * np.tanh(a_g)
        y, _ = normalise_units(c_t, self.epsilon)
        return concat_blocks(logistic(a_o) * np.tanh(params["g_c"] * y + params["b_c"]), c_t)

    def preactivations(self, params: Params, x: Array, h: Array) -> tuple[Array, Array]:
        """a_t (4N) and the argument of tanh (N) of every step.  (T,B,I), (T+1,B,2N) -> (T,B,4N), (T,B,N)"""
        N = self.hidden_size
        h_hat, _ = normalise_units(project_in_blocks(h[:-1, :, :N], params["W"]), self.epsilon)
        c_hat, _ = normalise_units(h[1:, :, N:], self.epsilon)
        return self.project(params, x) + params["g_h"] * h_hat, params["g_c"] * c_hat + params["b_c"]

    def linearize(self, params: Params, x: Array, h: Array) -> Array:
        """[s_i, s_f, s_g, s_o, f, k, x_hat, h_hat, c_hat, r_x, r_h, r_c].  (T,B,I), (T+1,B,2N) -> (T,B,15N+3)

        s and f are those of the LSTM, k = dh_t/d(the argument of tanh).
        """
        N = self.hidden_size
        a, y = self.preactivations(params, x, h)
        a_i, a_f, a_g, a_o = split_blocks(a, 4)
        x_hat, r_x = normalise_units(project_in_blocks(x, params["V"]), self.epsilon)
        h_hat, r_h = normalise_units(project_in_blocks(h[:-1, :, :N], params["W"]), self.epsilon)
        c_hat, r_c = normalise_units(h[1:, :, N:], self.epsilon)
        slopes = memory_slopes(a_i, a_f, a_g, a_o, h[:-1, :, N:], y)
        return concat_blocks(*slopes, x_hat, h_hat, c_hat, r_x, r_h, r_c)

    def split_linearization(self, linearization_t: Array) -> NormalisedParts:
        ends = np.cumsum([6, 4, 4, 1]) * self.hidden_size
        return NormalisedParts(*np.split(linearization_t, ends, axis=-1))

    def activation_inputs(self, params: Params, x: Array, h: Array) -> list[tuple[Activation, Array]]:
        """Of the gates, of the candidate, and of c_t on its way to h_t."""
        a, y = self.preactivations(params, x, h)
        a_i, a_f, a_g, a_o = split_blocks(a, 4)
        return memory_activations(a_i, a_f, a_g, a_o, y)

    def vjp(self, params: Params, linearization_t: Array, dh_t: Array) -> tuple[Array, Array]:
        """Cotangents of [a_t, V x_t, W h_{t-1}, g_c . norm(c_t) + b_c] and of [h_{t-1}, c_{t-1}]."""
        parts = self.split_linearization(linearization_t)
        s_i, s_f, s_g, s_o, f, k = split_blocks(parts.slopes, 6)
        dh, dc = split_blocks(dh_t, 2)
        dy = k * dh
        dc = dc + normalise_units_vjp(parts.c_hat, parts.r[..., 2:], params["g_c"] * dy)
        da = concat_blocks(s_i * dc, s_f * dc, s_g * dc, s_o * dh)
        dv = normalise_units_vjp(parts.x_hat, parts.r[..., :1], params["g_x"] * da)
        dw = normalise_units_vjp(parts.h_hat, parts.r[..., 1:2], params["g_h"] * da)
        return concat_blocks(da, dv, dw, dy), concat_blocks(weights_vjp(dw, params["W"]), f * dc)

    def split_cotangents(self, da: Array) -> list[Array]:
        """Of a_t, V x_t, W h_{t-1} and of the argument of tanh.  (...,13N) -> 3 times (...,4N), (...,N)"""
        return np.split(da, np.cumsum([4, 4, 4]) * self.hidden_size, axis=-1)

    def input_vjp(self, params: Params, linearization_t: Array, da_t: Array) -> Array:
        """dx_t = V^T dv_t.  (...,15N+3), (...,13N) -> (...,I)"""
        return weights_vjp(self.split_cotangents(da_t)[1], params["V"])

    def parameter_vjp(self, local: Local, da: Array) -> Params:
        parts = self.split_linearization(rows(local.linearization))
        a, v, w, y = self.split_cotangents(rows(da))
        return {
            "V": v.T @ rows(local.x),
            "W": w.T @ rows(local.h_prev[..., : self.hidden_size]),
            "b_h": a.sum(axis=0),
            "g_x": (a * parts.x_hat).sum(axis=0),
            "g_h": (a * parts.h_hat).sum(axis=0),
            "g_c": (y * parts.c_hat).sum(axis=0),
            "b_c": y.sum(axis=0),
        }

    def immediate(self, local: Local, da: Array) -> Params:
        parts = self.split_linearization(local.linearization)
        a, v, w, y = self.split_cotangents(da)
        return {
            "V": v[..., None] * local.x[..., None, :],
            "W": w[..., None] * local.h_prev[..., None, : self.hidden_size],
            "b_h": np.array(a),
            "g_x": a * parts.x_hat,
            "g_h": a * parts.h_hat,
            "g_c": y * parts.c_hat,
            "b_c": np.array(y),
        }

    def draw(self, rng: np.random.Generator, initializer: Initializer, scales: Scales) -> Params:
        """V, W and b_h as the LSTM draws them, b_c Gaussian, gains 1."""
        drawn = super().draw(rng, initializer, scales)
        (biases,) = rng.spawn(1)
        gains = {name: np.ones(self.shapes()[name]) for name in ("g_x", "g_h", "g_c")}
        return {**drawn, **gains, "b_c": gaussian(biases, (self.hidden_size,), scales.b)}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        N = self.hidden_size
        return {**super().shapes(), "g_x": (4 * N,), "g_h": (4 * N,), "g_c": (N,), "b_c": (N,)}

    @property
    def preactivation_size(self) -> int:
        return 13 * self.hidden_size
