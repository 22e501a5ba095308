"""A cell with a kernel of its own, as small as one can be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bpttlab.networks.activations import tanh_slope
from bpttlab.networks.cells.cell import Cell, project_in_blocks, rows
from bpttlab.networks.cells.gating import affine_gradient, weights_vjp
from bpttlab.networks.cells.kernel import kernel, multiply_add, tanh_with_slope


@kernel
@dataclass(frozen=True)
class Gain(Cell):
    """h_t = tanh(gain (V x_t + W h_{t-1} + b_h)), whose a_t is what tanh is applied to over gain."""

    name: ClassVar[str] = "gain"

    input_size: int
    hidden_size: int
    output_size: int
    gain: float = 1.5
    output_activation: str = "identity"

    def shapes(self):
        N, I = self.hidden_size, self.input_size
        return {"V": (N, I), "W": (N, N), "b_h": (N,)}

    def project(self, params, x):
        return project_in_blocks(x, params["V"]) + params["b_h"]

    def step(self, params, z_t, h_prev):
        return np.tanh(self.gain * (z_t + h_prev @ params["W"].T))

    def linearize(self, params, x, h):
        return self.gain * tanh_slope(self.gain * (self.project(params, x) + project_in_blocks(h[:-1], params["W"])))

    def vjp(self, params, linearization_t, dh_t):
        da_t = linearization_t * dh_t
        return da_t, weights_vjp(da_t, params["W"])

    def parameter_vjp(self, local, da):
        return affine_gradient(local.x, local.h_prev, rows(da))

    @staticmethod
    def step_kernel(cell, params, z_t, h_prev, h_t, linearization_t):
        multiply_add(h_prev, params.W_T, z_t)
        for b in range(len(z_t)):
            for n in range(cell.hidden_size):
                h_t[b, n], slope = tanh_with_slope(cell.gain * z_t[b, n])
                linearization_t[b, n] = cell.gain * slope

    @staticmethod
    def vjp_kernel(cell, params, linearization_t, dh_t, da_t, dh_prev):
        for b in range(len(dh_t)):
            for n in range(cell.hidden_size):
                da_t[b, n] = linearization_t[b, n] * dh_t[b, n]
                dh_prev[b, n] = 0.0
        multiply_add(da_t, params.W, dh_prev)
