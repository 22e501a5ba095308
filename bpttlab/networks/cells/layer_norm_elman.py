"""Elman cell with layer normalisation: what a unit receives is measured against the other units of the step.

    a_t = V x_t + W h_{t-1}          a_hat_t = (a_t - mean a_t) / sqrt(var a_t + epsilon)
    h_t = f_h(g . a_hat_t + b_h)

Mean and variance are over the units. A factor on V and W together changes nothing (but for epsilon): the spectral
radius of W counts beside V only, not by itself.

Index legend: T time, B sequence, I input, N hidden unit; `...` any leading axes. Pre-activations: A = 2N,
g . a_hat + b_h and a.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bpttlab.networks import activations
from bpttlab.networks.activations import Activation, ActivationName
from bpttlab.networks.cells.cell import Cell, Local, Params, project_in_blocks, rows
from bpttlab.networks.cells.gating import affine_gradient, affine_immediate, concat_blocks, split_blocks, weights_vjp
from bpttlab.networks.cells.input_scales import Scales
from bpttlab.networks.cells.normalisation import Epsilon, normalise_units, normalise_units_vjp
from bpttlab.networks.initializers import Initializer
from bpttlab.numerics.array import Array


@dataclass(frozen=True)
class LayerNormElman(Cell):
    """Elman cell with layer normalisation (Ba, Kiros & Hinton 2016)."""

    name: ClassVar[str] = "layer_norm_elman"
    recurrent_parameters: ClassVar[tuple[str, ...]] = ("W", "V", "b_h", "g")

    input_size: int
    hidden_size: int
    output_size: int
    activation: ActivationName = "tanh"
    epsilon: Epsilon = 1e-5
    output_activation: str = "identity"

    def project(self, params: Params, x: Array) -> Array:
        """V x_t for every t at once.  (T,B,I) -> (T,B,N)"""
        return project_in_blocks(x, params["V"])

    def step(self, params: Params, z_t: Array, h_prev: Array) -> Array:
        """h_t.  (B,N), (B,N) -> (B,N)"""
        a_hat, _ = normalise_units(z_t + h_prev @ params["W"].T, self.epsilon)
        return activations.find_activation(self.activation).function(params["g"] * a_hat + params["b_h"])

    def preactivations(self, params: Params, x: Array, h: Array) -> tuple[Array, Array, Array]:
        """g . a_hat_t + b_h, a_hat_t and r_t of every step.  (T,B,I), (T+1,B,N) -> (T,B,N), (T,B,N), (T,B,1)"""
        a_hat, r = normalise_units(self.project(params, x) + project_in_blocks(h[:-1], params["W"]), self.epsilon)
        return params["g"] * a_hat + params["b_h"], a_hat, r

    def linearize(self, params: Params, x: Array, h: Array) -> Array:
        """[f_h', a_hat, r] of every step.  (T,B,I), (T+1,B,N) -> (T,B,2N+1)"""
        f_h = activations.find_activation(self.activation)
        a, a_hat, r = self.preactivations(params, x, h)
        return concat_blocks(f_h.slope(a if f_h.saturates else h[1:]), a_hat, r)

    def activation_inputs(self, params: Params, x: Array, h: Array) -> list[tuple[Activation, Array]]:
        return [(activations.find_activation(self.activation), self.preactivations(params, x, h)[0])]

    def vjp(self, params: Params, linearization_t: Array, dh_t: Array) -> tuple[Array, Array]:
        """Cotangents of [g . a_hat_t + b_h, a_t] and of h_{t-1}.  (...,2N+1), (...,N) -> (...,2N), (...,N)"""
        N = self.hidden_size
        slope, a_hat, r = linearization_t[..., :N], linearization_t[..., N : 2 * N], linearization_t[..., 2 * N :]
        scaled = slope * dh_t
        da_t = normalise_units_vjp(a_hat, r, params["g"] * scaled)
        return concat_blocks(scaled, da_t), weights_vjp(da_t, params["W"])

    def input_vjp(self, params: Params, linearization_t: Array, da_t: Array) -> Array:
        """dx_t = V^T da_t.  (...,2N+1), (...,2N) -> (...,I)"""
        return weights_vjp(split_blocks(da_t, 2)[1], params["V"])

    def parameter_vjp(self, local: Local, da: Array) -> Params:
        scaled, da_t = split_blocks(da, 2)
        gradients = affine_gradient(local.x, local.h_prev, da_t)
        a_hat = local.linearization[..., self.hidden_size : 2 * self.hidden_size]
        return {**gradients, "b_h": rows(scaled).sum(axis=0), "g": (rows(scaled) * rows(a_hat)).sum(axis=0)}

    def immediate(self, local: Local, da: Array) -> Params:
        scaled, da_t = split_blocks(da, 2)
        a_hat = local.linearization[..., self.hidden_size : 2 * self.hidden_size]
        return {**affine_immediate(local.x, local.h_prev, da_t), "b_h": np.array(scaled), "g": scaled * a_hat}

    def draw(self, rng: np.random.Generator, initializer: Initializer, scales: Scales) -> Params:
        """W by the initializer, V and b_h Gaussian, g = 1."""
        return super().draw(rng, initializer, scales) | {"g": np.ones(self.hidden_size)}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        N, I = self.hidden_size, self.input_size
        return {"V": (N, I), "W": (N, N), "b_h": (N,), "g": (N,)}

    @property
    def preactivation_size(self) -> int:
        return 2 * self.hidden_size
