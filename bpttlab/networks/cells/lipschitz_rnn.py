"""Lipschitz RNN: Euler steps of a linear part plus a non-linearity, both with matrices of bounded symmetric part.

    a_t = V x_t + S(W) h_{t-1} + b_h          h_t = h_{t-1} + epsilon (S(W_A) h_{t-1} + tanh(a_t))
    S(M) = (1 - beta) (M + M^T) + beta (M - M^T) - gamma I

beta sets how much of S(M) is skew-symmetric (1: all, with imaginary eigenvalues), gamma moves its eigenvalues to the
left. The paper's A is S(W_A), its W is S(W). The authors' code draws M with standard deviation s / N, which is a
Gaussian initializer of gain s / sqrt(N). Their second integrator (Runge-Kutta of order 2) is left out.

Index legend: T time, B sequence, I input, N hidden unit; `...` any leading axes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from bpttlab.fields import Field
from bpttlab.networks.activations import Activation, tanh_slope
from bpttlab.networks.cells.cell import Cell, Local, Params, project_in_blocks, rows
from bpttlab.networks.cells.gating import TANH, concat_blocks, scaled_rows, split_blocks, weights_vjp
from bpttlab.numerics.array import Array


@dataclass(frozen=True)
class LipschitzRNN(Cell):
    """Lipschitz RNN by Euler's method (Erichson et al. 2021)."""

    name: ClassVar[str] = "lipschitz_rnn"
    recurrent_parameters: ClassVar[tuple[str, ...]] = ("W", "W_A", "V", "b_h")

    input_size: int
    hidden_size: int
    output_size: int
    epsilon: Annotated[float, Field(gt=0, description="length of the Euler step")] = 0.03
    beta: Annotated[float, Field(ge=0, le=1, description="weight of the skew-symmetric part of S(W) and of S(W_A)")] = (
        0.75
    )
    gamma: Annotated[float, Field(ge=0, description="what is taken from the diagonal of S(W) and of S(W_A)")] = 0.001
    output_activation: str = "identity"

    def effective_matrix(self, M: Array) -> Array:
        """S(M) = M + (1 - 2 beta) M^T - gamma I, the two parts added up.  (N,N) -> (N,N)"""
        return M + (1.0 - 2.0 * self.beta) * M.T - self.gamma * np.eye(self.hidden_size, dtype=M.dtype)

    def matrix_vjp(self, dS: Array) -> Array:
        """dL/dM from dL/dS.  (...,N,N) -> (...,N,N)"""
        return dS + (1.0 - 2.0 * self.beta) * np.swapaxes(dS, -1, -2)

    def project(self, params: Params, x: Array) -> Array:
        """V x_t + b_h for every t at once.  (T,B,I) -> (T,B,N)"""
        return project_in_blocks(x, params["V"]) + params["b_h"]

    def step(self, params: Params, z_t: Array, h_prev: Array) -> Array:
        """h_t = h_{t-1} + epsilon (S(W_A) h_{t-1} + tanh(z_t + S(W) h_{t-1})).  (B,N), (B,N) -> (B,N)"""
        S, A = (self.effective_matrix(params[name]) for name in ("W", "W_A"))
        return h_prev + self.epsilon * (h_prev @ A.T + np.tanh(z_t + h_prev @ S.T))

    def linearize(self, params: Params, x: Array, h: Array) -> Array:
        """epsilon tanh'(a_t).  (T,B,I), (T+1,B,N) -> (T,B,N)"""
        return self.epsilon * tanh_slope(self.preactivations(params, x, h))

    def preactivations(self, params: Params, x: Array, h: Array) -> Array:
        """a_t for every t.  (T,B,I), (T+1,B,N) -> (T,B,N)"""
        return self.project(params, x) + project_in_blocks(h[:-1], self.effective_matrix(params["W"]))

    def activation_inputs(self, params: Params, x: Array, h: Array) -> list[tuple[Activation, Array]]:
        return [(TANH, self.preactivations(params, x, h))]

    def vjp(self, params: Params, linearization_t: Array, dh_t: Array) -> tuple[Array, Array]:
        """Cotangents of [a_t, S(W_A) h_{t-1}] and of h_{t-1}.  (...,N), (...,N) -> (...,2N), (...,N)"""
        da_t = linearization_t * dh_t
        linear = np.broadcast_to(self.epsilon * dh_t, da_t.shape)
        S, A = (self.effective_matrix(params[name]) for name in ("W", "W_A"))
        return concat_blocks(da_t, linear), dh_t + weights_vjp(da_t, S) + weights_vjp(linear, A)

    def input_vjp(self, params: Params, linearization_t: Array, da_t: Array) -> Array:
        """dx_t = V^T da_t of the non-linear part.  (...,N), (...,2N) -> (...,I)"""
        return weights_vjp(split_blocks(da_t, 2)[0], params["V"])

    def parameter_vjp(self, local: Local, da: Array) -> Params:
        da, linear = split_blocks(rows(da), 2)
        h_prev = rows(local.h_prev)
        dS, dA = da.T @ h_prev, linear.T @ h_prev
        gradients = {"W": self.matrix_vjp(dS), "W_A": self.matrix_vjp(dA)}
        return {"V": da.T @ rows(local.x), **gradients, "b_h": da.sum(axis=0)}

    def immediate(self, local: Local, da: Array) -> Params:
        da, linear = split_blocks(da, 2)
        h_prev = local.h_prev[..., None, :]
        dS, dA = da[..., None] * h_prev, linear[..., None] * h_prev
        gradients = {"W": self.matrix_vjp(dS), "W_A": self.matrix_vjp(dA)}
        return {"V": da[..., None] * local.x[..., None, :], **gradients, "b_h": np.array(da)}

    def jacobian(self, params: Params, linearization_t: Array) -> Array:
        """J_t = I + epsilon S(W_A) + diag(epsilon tanh'(a_t)) S(W).  (...,N) -> (...,N,N)"""
        linear = np.eye(self.hidden_size, dtype=linearization_t.dtype) + self.epsilon * self.effective_matrix(
            params["W_A"]
        )
        return linear + scaled_rows(linearization_t, self.effective_matrix(params["W"]))

    def shapes(self) -> dict[str, tuple[int, ...]]:
        N, I = self.hidden_size, self.input_size
        return {"V": (N, I), "W": (N, N), "W_A": (N, N), "b_h": (N,)}

    def recurrent_blocks(self, params: Params) -> dict[str, Array]:
        """W and W_A as they were drawn, and what acts on h_{t-1}."""
        effective = {f"S({name})": self.effective_matrix(params[name]) for name in ("W", "W_A")}
        return {"W": params["W"], "W_A": params["W_A"], **effective}

    @property
    def preactivation_size(self) -> int:
        return 2 * self.hidden_size
