"""Cells that say what every cell has to say, and leave everything else to its defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bpttlab.networks.activations import tanh_slope
from bpttlab.networks.cells.cell import Cell, Local, Params, project_in_blocks
from bpttlab.networks.cells.gating import affine_gradient, concat_blocks, split_blocks, weights_vjp
from bpttlab.numerics.array import Array


@dataclass(frozen=True)
class Plain(Cell):
    """An Elman cell with tanh, by the five methods alone:  h_t = tanh(V x_t + W h_{t-1} + b_h)."""

    name: ClassVar[str] = "plain"
    input_size: int
    hidden_size: int
    output_size: int
    output_activation: str = "identity"

    def shapes(self) -> dict[str, tuple[int, ...]]:
        N = self.hidden_size
        return {"V": (N, self.input_size), "W": (N, N), "b_h": (N,)}

    def step(self, params: Params, z_t: Array, h_prev: Array) -> Array:
        return np.tanh(z_t @ params["V"].T + params["b_h"] + h_prev @ params["W"].T)

    def linearize(self, params: Params, x: Array, h: Array) -> Array:
        return tanh_slope(project_in_blocks(x, params["V"]) + params["b_h"] + project_in_blocks(h[:-1], params["W"]))

    def vjp(self, params: Params, linearization_t: Array, dh_t: Array) -> tuple[Array, Array]:
        da_t = linearization_t * dh_t
        return da_t, weights_vjp(da_t, params["W"])

    def parameter_vjp(self, local: Local, da: Array) -> Params:
        return affine_gradient(local.x, local.h_prev, da)


@dataclass(frozen=True)
class Momentum(Cell):
    """Two blocks in W and a state [h, v] that is twice as long, of which no default knows but by its size.

    v_t = mu v_{t-1} + tanh(V_1 x_t + W_1 h_{t-1} + b_1) . sin(V_2 x_t + W_2 h_{t-1} + b_2)      h_t = h_{t-1} + v_t
    """

    name: ClassVar[str] = "momentum"
    input_size: int
    hidden_size: int
    output_size: int
    mu: float = 0.5
    output_activation: str = "identity"

    @property
    def state_size(self) -> int:
        return 2 * self.hidden_size

    def shapes(self) -> dict[str, tuple[int, ...]]:
        N = self.hidden_size
        return {"V": (2 * N, self.input_size), "W": (2 * N, N), "b_h": (2 * N,)}

    def step(self, params: Params, z_t: Array, h_prev: Array) -> Array:
        h, v = split_blocks(h_prev, 2)
        a_1, a_2 = split_blocks(z_t @ params["V"].T + params["b_h"] + h @ params["W"].T, 2)
        v_t = self.mu * v + np.tanh(a_1) * np.sin(a_2)
        return concat_blocks(h + v_t, v_t)

    def linearize(self, params: Params, x: Array, h: Array) -> Array:
        before = h[:-1, :, : self.hidden_size]
        a_1, a_2 = split_blocks(
            project_in_blocks(x, params["V"]) + params["b_h"] + project_in_blocks(before, params["W"]), 2
        )
        return concat_blocks(tanh_slope(a_1) * np.sin(a_2), np.tanh(a_1) * np.cos(a_2))

    def vjp(self, params: Params, linearization_t: Array, dh_t: Array) -> tuple[Array, Array]:
        s_1, s_2 = split_blocks(linearization_t, 2)
        dh, dv = split_blocks(dh_t, 2)
        dv = dv + dh
        da_t = concat_blocks(s_1 * dv, s_2 * dv)
        return da_t, concat_blocks(dh + weights_vjp(da_t, params["W"]), self.mu * dv)

    def parameter_vjp(self, local: Local, da: Array) -> Params:
        return affine_gradient(local.x, local.h_prev[..., : self.hidden_size], da)
