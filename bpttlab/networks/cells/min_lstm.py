"""minLSTM: an LSTM whose gates and candidate receive the input alone, and whose gates sum to one.

    f_t = sigma(V_f x_t + b_f)        i_t = sigma(V_i x_t + b_i)        n_t = V_n x_t + b_n
    h_t = k_t . h_{t-1} + (1 - k_t) . n_t             k_t = f_t / (f_t + i_t)

V = [V_f; V_i; V_n] and b_h = [b_f; b_i; b_n]. J_t = diag(k_t) depends on x_t only. k_t is computed as a logistic
function, because f / i = exp(l_t) with l_t = log sigma(a_f) - log sigma(a_i): k_t = sigma(l_t). There is no state c and
no output gate, as in the paper. Its form in log space puts a positive function on the candidate; it is left out.

Index legend: T time, B sequence, I input, N hidden unit; `...` any leading axes. Pre-activations: [f, i, n], A = 3N.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from bpttlab.fields import Field
from bpttlab.networks.activations import Activation, logistic, logistic_slope, softplus
from bpttlab.networks.cells.cell import Cell, Local, Params, project_in_blocks, rows
from bpttlab.networks.cells.gating import LOGISTIC, concat_blocks, diagonal, split_blocks
from bpttlab.networks.cells.input_scales import Scales, gaussian
from bpttlab.networks.initializers import Initializer
from bpttlab.numerics.array import Array


@dataclass(frozen=True)
class MinLSTM(Cell):
    """minLSTM with normalised gates (Feng et al. 2024), the form that is linear in h."""

    name: ClassVar[str] = "min_lstm"
    recurrent_parameters: ClassVar[tuple[str, ...]] = ("V", "b_h")

    input_size: int
    hidden_size: int
    output_size: int
    forget_bias: Annotated[float, Field(description="added to the forget gates' biases")] = 0.0
    output_activation: str = "identity"

    def project(self, params: Params, x: Array) -> Array:
        """[a_f, a_i, n_t] for every t at once.  (T,B,I) -> (T,B,3N)"""
        return project_in_blocks(x, params["V"]) + params["b_h"]

    def step(self, params: Params, z_t: Array, h_prev: Array) -> Array:
        """h_t = k_t . h_{t-1} + (1 - k_t) . n_t.  (B,3N), (B,N) -> (B,N)"""
        a_f, a_i, n = split_blocks(z_t, 3)
        log_ratio = compare_gates(a_f, a_i)
        return logistic(log_ratio) * h_prev + logistic(-log_ratio) * n

    def linearize(self, params: Params, x: Array, h: Array) -> Array:
        """[s_f, s_i, k, 1 - k] of every step.  (T,B,I), (T+1,B,N) -> (T,B,4N)

        s_f, s_i = dh_t/d(a_f, a_i): dl_t/da_f = sigma(-a_f), dl_t/da_i = -sigma(-a_i).
        """
        a_f, a_i, n = split_blocks(self.project(params, x), 3)
        log_ratio = compare_gates(a_f, a_i)
        moved = logistic_slope(log_ratio) * (h[:-1] - n)
        return concat_blocks(logistic(-a_f) * moved, -logistic(-a_i) * moved, logistic(log_ratio), logistic(-log_ratio))

    def activation_inputs(self, params: Params, x: Array, h: Array) -> list[tuple[Activation, Array]]:
        """Of k_t."""
        a_f, a_i, _ = split_blocks(self.project(params, x), 3)
        return [(LOGISTIC, compare_gates(a_f, a_i))]

    def vjp(self, params: Params, linearization_t: Array, dh_t: Array) -> tuple[Array, Array]:
        """Cotangents of [a_f, a_i, n] and of h_{t-1}.  (...,4N), (...,N) -> (...,3N), (...,N)"""
        s_f, s_i, kept, rest = split_blocks(linearization_t, 4)
        return concat_blocks(s_f * dh_t, s_i * dh_t, rest * dh_t), kept * dh_t

    def parameter_vjp(self, local: Local, da: Array) -> Params:
        return {"V": rows(da).T @ rows(local.x), "b_h": rows(da).sum(axis=0)}

    def immediate(self, local: Local, da: Array) -> Params:
        return {"V": da[..., None] * local.x[..., None, :], "b_h": np.array(da)}

    def jacobian(self, params: Params, linearization_t: Array) -> Array:
        """J_t = diag(k_t).  (...,4N) -> (...,N,N)"""
        return diagonal(split_blocks(linearization_t, 4)[2])

    def describe_alternative(self) -> str:
        return ", and set cell.forget_bias"

    def draw(self, rng: np.random.Generator, initializer: Initializer, scales: Scales) -> Params:
        """V and b_h in float64."""
        self.check_initializer(initializer)
        inputs, biases = rng.spawn(2)
        N = self.hidden_size
        b_h = gaussian(biases, (3 * N,), scales.b)
        b_h[:N] += self.forget_bias
        return {"V": gaussian(inputs, (3 * N, self.input_size), scales.V), "b_h": b_h}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        N, I = self.hidden_size, self.input_size
        return {"V": (3 * N, I), "b_h": (3 * N,)}

    @property
    def preactivation_size(self) -> int:
        return 3 * self.hidden_size


def compare_gates(a_f: Array, a_i: Array) -> Array:
    """log sigma(a_f) - log sigma(a_i), finite wherever the pre-activations are.  (...,N), (...,N) -> (...,N)"""
    return softplus(-a_i) - softplus(-a_f)
