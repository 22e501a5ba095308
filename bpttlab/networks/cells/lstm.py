"""Long short-term memory. The state is [h, c], 2N numbers, of which the readout sees h.

    i_t = sigma(V_i x_t + W_i h_{t-1} + b_i)          input gate
    f_t = sigma(V_f x_t + W_f h_{t-1} + b_f)          forget gate
    g_t =  tanh(V_g x_t + W_g h_{t-1} + b_g)          candidate
    o_t = sigma(V_o x_t + W_o h_{t-1} + b_o)          output gate
    c_t = f_t . c_{t-1} + i_t . g_t                   h_t = o_t . tanh(c_t)

V, W and b_h are stacked as in PyTorch: i, f, g, o; b_h is the sum of PyTorch's two biases.

Index legend: T time, B sequence, I input, N hidden unit; `...` any leading axes. Pre-activations: [i, f, g, o], A = 4N.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np

from bpttlab.errors import ConfigurationError
from bpttlab.fields import Field
from bpttlab.networks.activations import (
    Activation,
    logistic,
    logistic_curvature,
    logistic_slope,
    tanh_curvature,
    tanh_slope,
)
from bpttlab.networks.cells.cell import HIDDEN_SIZE, Cell, Local, Params, project_in_blocks
from bpttlab.networks.cells.gating import (
    affine_gradient,
    affine_gradient_each,
    affine_immediate,
    concat_blocks,
    diagonal,
    diagonal_of,
    memory_activations,
    memory_by_state,
    memory_slopes,
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
class LSTM(Cell):
    """LSTM with a forget gate (Hochreiter & Schmidhuber 1997; Gers, Schmidhuber & Cummins 2000; PyTorch's `nn.LSTM`).

    A forget bias of 1 is that of Gers, Schmidhuber & Cummins 2000 and of Jozefowicz, Zaremba & Sutskever 2015. The
    chrono initialization (Tallec & Ollivier 2018b, eq. 16) draws b_f = log U(1, T_max - 1) and has b_i = -b_f.
    """

    name: ClassVar[str] = "lstm"
    recurrent_parameters: ClassVar[tuple[str, ...]] = ("W", "V", "b_h")

    input_size: int
    hidden_size: Annotated[int, replace(HIDDEN_SIZE, description="N, hidden units; the state [h, c] has 2N numbers")]
    output_size: int
    forget_bias: Annotated[float, Field(description="added to the forget gates' biases; PyTorch has 0")] = 1.0
    chrono: Annotated[
        int | None,
        Field(
            ge=2,
            unit="step",
            description="T_max, steps: biases for memories of 1 to T_max steps, in place of forget_bias; null: none",
        ),
    ] = None
    gate_scale: Annotated[
        float, Field(ge=0, description="the initializer draws W_g; W_i, W_f and W_o are drawn the same way, times this")
    ] = 1.0
    input_scale: Annotated[float, Field(ge=0, description="W_i alone, times this too")] = 1.0
    forget_scale: Annotated[float, Field(ge=0, description="W_f alone, times this too")] = 1.0
    output_scale: Annotated[float, Field(ge=0, description="W_o alone, times this too")] = 1.0
    output_activation: str = "identity"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.chrono is not None and self.forget_bias != 1.0:
            raise ConfigurationError(
                f"forget_bias={self.forget_bias}: chrono={self.chrono} draws the forget biases; give one of the two"
            )

    def project(self, params: Params, x: Array) -> Array:
        """V x_t + b_h for every t at once.  (T,B,I) -> (T,B,4N)"""
        return project_in_blocks(x, params["V"]) + params["b_h"]

    def step(self, params: Params, z_t: Array, h_prev: Array) -> Array:
        """[h_t, c_t] from [h_{t-1}, c_{t-1}].  (B,4N), (B,2N) -> (B,2N)"""
        h, c = split_blocks(h_prev, 2)
        a_i, a_f, a_g, a_o = split_blocks(z_t + h @ params["W"].T, 4)
        c_t = logistic(a_f) * c + logistic(a_i) * np.tanh(a_g)
        return concat_blocks(logistic(a_o) * np.tanh(c_t), c_t)

    def linearize(self, params: Params, x: Array, h: Array) -> Array:
        """[s_i, s_f, s_g, s_o, f, k] of every step.  (T,B,I), (T+1,B,2N) -> (T,B,6N)

        s_i, s_f, s_g = dc_t/d(a_i, a_f, a_g),  s_o = dh_t/da_o,  f = dc_t/dc_{t-1},  k = dh_t/dc_t.
        """
        c_prev, c_t = h[:-1, :, self.hidden_size :], h[1:, :, self.hidden_size :]
        a_i, a_f, a_g, a_o = split_blocks(self.preactivations(params, x, h), 4)
        return concat_blocks(*memory_slopes(a_i, a_f, a_g, a_o, c_prev, c_t))

    def preactivations(self, params: Params, x: Array, h: Array) -> Array:
        """[a_i, a_f, a_g, a_o] of every step.  (T,B,I), (T+1,B,2N) -> (T,B,4N)"""
        return self.project(params, x) + project_in_blocks(h[:-1, :, : self.hidden_size], params["W"])

    def activation_inputs(self, params: Params, x: Array, h: Array) -> list[tuple[Activation, Array]]:
        """Of the gates, of the candidate, and of c_t on its way to h_t."""
        a_i, a_f, a_g, a_o = split_blocks(self.preactivations(params, x, h), 4)
        c_t = h[1:, :, self.hidden_size :]
        return memory_activations(a_i, a_f, a_g, a_o, c_t)

    def vjp(self, params: Params, linearization_t: Array, dh_t: Array) -> tuple[Array, Array]:
        """Cotangents of [a_i, a_f, a_g, a_o] and of [h_{t-1}, c_{t-1}].  (...,6N), (...,2N) -> (...,4N), (...,2N)"""
        s_i, s_f, s_g, s_o, f, k = split_blocks(linearization_t, 6)
        dh, dc = split_blocks(dh_t, 2)
        dc = dc + k * dh  # both ways to c_t: its own, and through h_t
        da_t = concat_blocks(s_i * dc, s_f * dc, s_g * dc, s_o * dh)
        return da_t, concat_blocks(weights_vjp(da_t, params["W"]), f * dc)

    def parameter_vjp(self, local: Local, da: Array) -> Params:
        return affine_gradient(local.x, local.h_prev[..., self.readout_slice], da)

    def parameter_vjp_each(self, local: Local, da: Array) -> Params:
        return affine_gradient_each(local.x, local.h_prev[..., self.readout_slice], da)

    def immediate(self, local: Local, da: Array) -> Params:
        return affine_immediate(local.x, local.h_prev[..., self.readout_slice], da)

    def jacobian(self, params: Params, linearization_t: Array) -> Array:
        """J_t of the whole state: [[h<-h, h<-c], [c<-h, c<-c]].  (...,6N) -> (...,2N,2N)

        c<-c = diag(f),  c<-h = sum of diag(s) W over i, f, g;  h<-c = k c<-c,  h<-h = diag(s_o) W_o + k c<-h.
        """
        s_i, s_f, s_g, s_o, f, k = split_blocks(linearization_t, 6)
        W = np.split(params["W"], 4)
        c_h = memory_by_state(s_i, s_f, s_g, W)
        h_row = concat_blocks(scaled_rows(s_o, W[3]) + scaled_rows(k, c_h), diagonal(k * f))
        return np.concatenate([h_row, concat_blocks(c_h, diagonal(f))], axis=-2)

    def jacobian_vjp(self, params: Params, linearization_t: Array, dJ_t: Array) -> tuple[Params, Array]:
        """By way of c<-h, which stands in h<-h too, and of f, which stands in c<-c and h<-c."""
        N, (*_, f, k) = self.hidden_size, split_blocks(linearization_t, 6)
        factors, weights = split_blocks(linearization_t, 6)[:4], np.split(params["W"], 4)
        h_h, h_c, c_h, c_c = dJ_t[..., :N, :N], dJ_t[..., :N, N:], dJ_t[..., N:, :N], dJ_t[..., N:, N:]
        c_h = c_h + scaled_rows(k, h_h)
        to_blocks = (c_h, c_h, c_h, h_h)
        of_blocks = [scaled_rows_vjp(*one) for one in zip(factors, weights, to_blocks, strict=True)]
        inner = sum(scaled_rows(s, W) for s, W in zip(factors[:3], weights[:3], strict=True))
        dk = (h_h * inner).sum(axis=-1) + f * diagonal_of(h_c)
        df = diagonal_of(c_c) + k * diagonal_of(h_c)
        return {"W": np.concatenate([dW for _, dW in of_blocks])}, concat_blocks(*(ds for ds, _ in of_blocks), df, dk)

    def linearize_vjp(self, params: Params, x: Array, h: Array, dlinearization: Array) -> tuple[Params, Array]:
        """Each product of `linearize` by both of its factors; s_o and k contain c_t, s_f contains c_{t-1}."""
        N, c_prev, c_t = self.hidden_size, h[:-1, :, self.hidden_size :], h[1:, :, self.hidden_size :]
        ds_i, ds_f, ds_g, ds_o, df, dk = split_blocks(dlinearization, 6)
        a_i, a_f, a_g, a_o = split_blocks(self.preactivations(params, x, h), 4)
        i_slope, o_slope, g_slope, c_slope = logistic_slope(a_i), logistic_slope(a_o), tanh_slope(a_g), tanh_slope(c_t)
        da = concat_blocks(
            ds_i * logistic_curvature(a_i) * np.tanh(a_g) + ds_g * i_slope * g_slope,
            ds_f * logistic_curvature(a_f) * c_prev + df * logistic_slope(a_f),
            ds_i * i_slope * g_slope + ds_g * tanh_curvature(a_g) * logistic(a_i),
            ds_o * logistic_curvature(a_o) * np.tanh(c_t) + dk * o_slope * c_slope,
        )
        dh = np.zeros_like(h)
        dh[:-1] = concat_blocks(weights_vjp(da, params["W"]), ds_f * logistic_slope(a_f))
        dh[1:, :, N:] += ds_o * o_slope * c_slope + dk * logistic(a_o) * tanh_curvature(c_t)
        return affine_gradient(x, h[:-1, :, :N], da), dh

    def draw(self, rng: np.random.Generator, initializer: Initializer, scales: Scales) -> Params:
        """V, W and b_h in float64."""
        inputs, recurrence, biases, times = rng.spawn(4)
        N, own = self.hidden_size, (self.input_scale, self.forget_scale, self.output_scale)
        factors = (1.0, *(self.gate_scale * scale for scale in own))
        W_g, W_i, W_f, W_o = sample_blocks(recurrence, initializer, N, factors)
        b_i, b_f, b_g, b_o = np.split(gaussian(biases, (4 * N,), scales.b), 4)
        b_f = b_f + self.forget_bias
        if self.chrono is not None:
            b_f = np.log(times.uniform(1.0, self.chrono - 1, N))
            b_i = -b_f
        return {
            "V": gaussian(inputs, (4 * N, self.input_size), scales.V),
            "W": np.concatenate([W_i, W_f, W_g, W_o]),
            "b_h": np.concatenate([b_i, b_f, b_g, b_o]),
        }

    def shapes(self) -> dict[str, tuple[int, ...]]:
        N, I = self.hidden_size, self.input_size
        return {"V": (4 * N, I), "W": (4 * N, N), "b_h": (4 * N,)}

    def recurrent_blocks(self, params: Params) -> dict[str, Array]:
        """The candidate's W_g first."""
        W_i, W_f, W_g, W_o = np.split(params["W"], 4)
        return {"W_g": W_g, "W_i": W_i, "W_f": W_f, "W_o": W_o}

    @property
    def state_parts(self) -> dict[str, int]:
        return {"h": self.hidden_size, "c": self.hidden_size}

    @property
    def preactivation_size(self) -> int:
        return 4 * self.hidden_size
