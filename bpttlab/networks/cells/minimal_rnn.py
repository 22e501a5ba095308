"""minimalRNN: one gate between the state and a state that the input alone proposes.

    z_t = tanh(V x_t + b_z)                           what the input proposes
    a_t = W h_{t-1} + W_z z_t + b_h                   u_t = sigma(a_t), update gate
    h_t = u_t . h_{t-1} + (1 - u_t) . z_t

The paper's U_h is W here, its U_z is W_z and its b_u is b_h: U and b_y are the readout's, and W is the matrix that acts
on h_{t-1}, as everywhere.

Index legend: T time, B sequence, I input, N hidden unit; `...` any leading axes. Pre-activations: [z, u], A = 2N.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bpttlab.networks.activations import Activation, logistic, logistic_slope, tanh_slope
from bpttlab.networks.cells.cell import Cell, Local, Params, project_in_blocks, rows
from bpttlab.networks.cells.gating import (
    LOGISTIC,
    TANH,
    concat_blocks,
    diagonal,
    scaled_rows,
    split_blocks,
    weights_vjp,
)
from bpttlab.networks.cells.input_scales import Scales, gaussian
from bpttlab.networks.initializers import Initializer
from bpttlab.numerics.array import Array


@dataclass(frozen=True)
class MinimalRNN(Cell):
    """minimalRNN (Chen 2017; Chen, Pennington & Schoenholz 2018, eq. 12 to 14)."""

    name: ClassVar[str] = "minimal_rnn"
    recurrent_parameters: ClassVar[tuple[str, ...]] = ("W", "V", "b_h", "W_z", "b_z")

    input_size: int
    hidden_size: int
    output_size: int
    output_activation: str = "identity"

    def project(self, params: Params, x: Array) -> Array:
        """[z_t, W_z z_t + b_h] for every t at once.  (T,B,I) -> (T,B,2N)"""
        z = np.tanh(self.project_input(params, x))
        return concat_blocks(z, project_in_blocks(z, params["W_z"]) + params["b_h"])

    def project_input(self, params: Params, x: Array) -> Array:
        """V x_t + b_z.  (T,B,I) -> (T,B,N)"""
        return project_in_blocks(x, params["V"]) + params["b_z"]

    def step(self, params: Params, z_t: Array, h_prev: Array) -> Array:
        """h_t = u_t . h_{t-1} + (1 - u_t) . z_t.  (B,2N), (B,N) -> (B,N)"""
        proposed, waiting = split_blocks(z_t, 2)
        u = logistic(waiting + h_prev @ params["W"].T)
        return u * h_prev + (1.0 - u) * proposed

    def linearize(self, params: Params, x: Array, h: Array) -> Array:
        """[s_u, u, 1 - u, tanh'(a_z), z] of every step, s_u = dh_t/da_u.  (T,B,I), (T+1,B,N) -> (T,B,5N)"""
        z, a_u, a_z = self.preactivations(params, x, h)
        s_u = logistic_slope(a_u) * (h[:-1] - z)
        return concat_blocks(s_u, logistic(a_u), logistic(-a_u), tanh_slope(a_z), z)

    def activation_inputs(self, params: Params, x: Array, h: Array) -> list[tuple[Activation, Array]]:
        """Of the gate, and of z_t."""
        _, a_u, a_z = self.preactivations(params, x, h)
        return [(LOGISTIC, a_u), (TANH, a_z)]

    def preactivations(self, params: Params, x: Array, h: Array) -> tuple[Array, Array, Array]:
        """z_t, a_u and a_z of every step.  (T,B,I), (T+1,B,N) -> (T,B,N) each"""
        a_z = self.project_input(params, x)
        z = np.tanh(a_z)
        return z, project_in_blocks(z, params["W_z"]) + params["b_h"] + project_in_blocks(h[:-1], params["W"]), a_z

    def vjp(self, params: Params, linearization_t: Array, dh_t: Array) -> tuple[Array, Array]:
        """Cotangents of [a_z, a_u] and of h_{t-1}.  (...,5N), (...,N) -> (...,2N), (...,N)"""
        s_u, u, rest, z_slope, _ = split_blocks(linearization_t, 5)
        da_u = s_u * dh_t
        dz = rest * dh_t + weights_vjp(da_u, params["W_z"])
        return concat_blocks(z_slope * dz, da_u), u * dh_t + weights_vjp(da_u, params["W"])

    def input_vjp(self, params: Params, linearization_t: Array, da_t: Array) -> Array:
        """dx_t = V^T da_z, whose way through W_z `vjp` has gone.  (...,5N), (...,2N) -> (...,I)"""
        return weights_vjp(split_blocks(da_t, 2)[0], params["V"])

    def parameter_vjp(self, local: Local, da: Array) -> Params:
        da_z, da_u = split_blocks(da, 2)
        da_z, da_u, z = rows(da_z), rows(da_u), rows(split_blocks(local.linearization, 5)[4])
        return {
            "V": da_z.T @ rows(local.x),
            "b_z": da_z.sum(axis=0),
            "W": da_u.T @ rows(local.h_prev),
            "W_z": da_u.T @ z,
            "b_h": da_u.sum(axis=0),
        }

    def jacobian(self, params: Params, linearization_t: Array) -> Array:
        """J_t = diag(u_t) + diag(s_u) W.  (...,5N) -> (...,N,N)"""
        s_u, u, _, _, _ = split_blocks(linearization_t, 5)
        return diagonal(u) + scaled_rows(s_u, params["W"])

    def draw(self, rng: np.random.Generator, initializer: Initializer, scales: Scales) -> Params:
        """V, b_z, W, W_z and b_h in float64; W_z, which no power of which is ever taken, like an input matrix."""
        inputs, recurrence, biases, gate_inputs, input_biases = rng.spawn(5)
        N = self.hidden_size
        return {
            "V": gaussian(inputs, (N, self.input_size), scales.V),
            "b_z": gaussian(input_biases, (N,), scales.b),
            "W": initializer.sample(recurrence, N),
            "W_z": gaussian(gate_inputs, (N, N), scales.V),
            "b_h": gaussian(biases, (N,), scales.b),
        }

    def shapes(self) -> dict[str, tuple[int, ...]]:
        N, I = self.hidden_size, self.input_size
        return {"V": (N, I), "b_z": (N,), "W": (N, N), "W_z": (N, N), "b_h": (N,)}

    def recurrent_blocks(self, params: Params) -> dict[str, Array]:
        """The gate's, for the candidate has none."""
        return {"W": params["W"]}

    @property
    def preactivation_size(self) -> int:
        return 2 * self.hidden_size
