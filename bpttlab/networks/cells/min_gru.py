"""minGRU: a GRU whose gate and candidate receive the input alone, so that h_t is linear in h_{t-1}.

    u_t = sigma(V_u x_t + b_u)                        update gate, the paper's z_t
    n_t = V_n x_t + b_n                               candidate
    h_t = (1 - u_t) . h_{t-1} + u_t . n_t

V = [V_u; V_n] and b_h = [b_u; b_n]. J_t = diag(1 - u_t) depends on x_t only, and a product of Jacobians is the product
of its diagonals. No matrix acts on h_{t-1}, and no initializer applies. The paper's form in log space puts a positive
function on the candidate; it is left out.

Index legend: T time, B sequence, I input, N hidden unit; `...` any leading axes. Pre-activations: [u, n], A = 2N.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from bpttlab.fields import Field
from bpttlab.networks.activations import Activation, logistic, logistic_slope
from bpttlab.networks.cells.cell import Cell, Local, Params, project_in_blocks, rows
from bpttlab.networks.cells.gating import LOGISTIC, concat_blocks, diagonal, split_blocks
from bpttlab.networks.cells.input_scales import Scales, gaussian
from bpttlab.networks.initializers import Initializer
from bpttlab.numerics.array import Array


@dataclass(frozen=True)
class MinGRU(Cell):
    """minGRU (Feng et al. 2024), the form that is linear in h."""

    name: ClassVar[str] = "min_gru"
    recurrent_parameters: ClassVar[tuple[str, ...]] = ("V", "b_h")

    input_size: int
    hidden_size: int
    output_size: int
    update_bias: Annotated[
        float, Field(description="added to the update gates' biases: h keeps sigma(-b_u) of itself in a step")
    ] = 0.0
    output_activation: str = "identity"

    def project(self, params: Params, x: Array) -> Array:
        """[a_u, n_t] for every t at once.  (T,B,I) -> (T,B,2N)"""
        return project_in_blocks(x, params["V"]) + params["b_h"]

    def step(self, params: Params, z_t: Array, h_prev: Array) -> Array:
        """h_t = (1 - u_t) . h_{t-1} + u_t . n_t.  (B,2N), (B,N) -> (B,N)"""
        a_u, n = split_blocks(z_t, 2)
        return logistic(-a_u) * h_prev + logistic(a_u) * n

    def linearize(self, params: Params, x: Array, h: Array) -> Array:
        """[s_u, u, 1 - u] of every step, s_u = dh_t/da_u.  (T,B,I), (T+1,B,N) -> (T,B,3N)"""
        a_u, n = split_blocks(self.project(params, x), 2)
        return concat_blocks(logistic_slope(a_u) * (n - h[:-1]), logistic(a_u), logistic(-a_u))

    def activation_inputs(self, params: Params, x: Array, h: Array) -> list[tuple[Activation, Array]]:
        """Of the gate."""
        return [(LOGISTIC, split_blocks(self.project(params, x), 2)[0])]

    def vjp(self, params: Params, linearization_t: Array, dh_t: Array) -> tuple[Array, Array]:
        """Cotangents of [a_u, n] and of h_{t-1}.  (...,3N), (...,N) -> (...,2N), (...,N)"""
        s_u, u, kept = split_blocks(linearization_t, 3)
        return concat_blocks(s_u * dh_t, u * dh_t), kept * dh_t

    def parameter_vjp(self, local: Local, da: Array) -> Params:
        return {"V": rows(da).T @ rows(local.x), "b_h": rows(da).sum(axis=0)}

    def immediate(self, local: Local, da: Array) -> Params:
        return {"V": da[..., None] * local.x[..., None, :], "b_h": np.array(da)}

    def jacobian(self, params: Params, linearization_t: Array) -> Array:
        """J_t = diag(1 - u_t).  (...,3N) -> (...,N,N)"""
        return diagonal(split_blocks(linearization_t, 3)[2])

    def describe_alternative(self) -> str:
        return ", and set cell.update_bias"

    def draw(self, rng: np.random.Generator, initializer: Initializer, scales: Scales) -> Params:
        """V and b_h in float64."""
        self.check_initializer(initializer)
        inputs, biases = rng.spawn(2)
        N = self.hidden_size
        b_h = gaussian(biases, (2 * N,), scales.b)
        b_h[:N] += self.update_bias
        return {"V": gaussian(inputs, (2 * N, self.input_size), scales.V), "b_h": b_h}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        N, I = self.hidden_size, self.input_size
        return {"V": (2 * N, I), "b_h": (2 * N,)}

    @property
    def preactivation_size(self) -> int:
        return 2 * self.hidden_size
