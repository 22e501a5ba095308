"""Antisymmetric cell: the Euler steps of a differential equation that neither grows nor decays.

    a_t = V x_t + M h_{t-1} + b_h          M = W - W^T - gamma I          h_t = h_{t-1} + epsilon tanh(a_t)

The eigenvalues of W - W^T are imaginary; gamma takes back what Euler's method adds to their modulus.

Index legend: T time, B sequence, I input, N hidden unit; `...` any leading axes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from bpttlab.fields import Field
from bpttlab.networks.activations import tanh_slope
from bpttlab.networks.cells.cell import Local, Params, project_in_blocks
from bpttlab.networks.cells.gating import affine_gradient, scaled_rows, weights_vjp
from bpttlab.networks.cells.single_matrix import OneMatrix
from bpttlab.numerics.array import Array


@dataclass(frozen=True)
class Antisymmetric(OneMatrix):
    """AntisymmetricRNN without gate (Chang et al. 2019, eq. 9)."""

    name: ClassVar[str] = "antisymmetric"

    input_size: int
    hidden_size: int
    output_size: int
    epsilon: Annotated[float, Field(gt=0, description="length of the Euler step")] = 0.01
    gamma: Annotated[float, Field(ge=0, description="diffusion")] = 0.01
    output_activation: str = "identity"

    def effective_matrix(self, params: Params) -> Array:
        """M = W - W^T - gamma I.  (N,N)"""
        W = params["W"]
        return W - W.T - self.gamma * np.eye(self.hidden_size, dtype=W.dtype)

    def project(self, params: Params, x: Array) -> Array:
        """V x_t + b_h for every t at once.  (T,B,I) -> (T,B,N)"""
        return project_in_blocks(x, params["V"]) + params["b_h"]

    def step(self, params: Params, z_t: Array, h_prev: Array) -> Array:
        """h_t = h_{t-1} + epsilon tanh(z_t + M h_{t-1}).  (B,N), (B,N) -> (B,N)"""
        return h_prev + self.epsilon * np.tanh(z_t + h_prev @ self.effective_matrix(params).T)

    def linearize(self, params: Params, x: Array, h: Array) -> Array:
        """epsilon tanh'(a_t), from a_t again: h_t - h_{t-1} has lost digits.  (T,B,I), (T+1,B,N) -> (T,B,N)"""
        return self.epsilon * tanh_slope(self.preactivations(params, x, h))

    def preactivations(self, params: Params, x: Array, h: Array) -> Array:
        """a_t = V x_t + b_h + M h_{t-1} for every t.  (T,B,I), (T+1,B,N) -> (T,B,N)"""
        return self.project(params, x) + project_in_blocks(h[:-1], self.effective_matrix(params))

    def vjp(self, params: Params, linearization_t: Array, dh_t: Array) -> tuple[Array, Array]:
        """da_t = epsilon tanh'(a_t) dh_t,  dh_{t-1} = dh_t + M^T da_t."""
        da_t = linearization_t * dh_t
        return da_t, dh_t + weights_vjp(da_t, self.effective_matrix(params))

    def parameter_vjp(self, local: Local, da: Array) -> Params:
        """W stands in M twice: dL/dW = dL/dM - (dL/dM)^T."""
        gradients = affine_gradient(local.x, local.h_prev, da)
        dM = gradients["W"]
        return {**gradients, "W": dM - dM.T}

    def jacobian(self, params: Params, linearization_t: Array) -> Array:
        """J_t = I + diag(epsilon tanh'(a_t)) M.  (...,N) -> (...,N,N)"""
        return np.eye(self.hidden_size, dtype=linearization_t.dtype) + scaled_rows(
            linearization_t, self.effective_matrix(params)
        )

    def recurrent_blocks(self, params: Params) -> dict[str, Array]:
        """W as it was drawn, and M, which is what acts on h_{t-1}."""
        return {"W": params["W"], "M": self.effective_matrix(params)}
