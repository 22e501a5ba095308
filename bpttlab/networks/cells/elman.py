"""Elman cell, the network of the notes.

    a_t = V x_t + W h_{t-1} + b_h          h_t = f_h(a_t)          y_hat_t = f_y(U h_t + b_y)

Index legend: T time, B sequence, I input, N hidden unit (n of h_t, m of h_{t-1}), O output; `...` any leading axes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bpttlab.networks import activations
from bpttlab.networks.activations import ActivationName
from bpttlab.networks.cells.cell import Local, Params, project_in_blocks, rows
from bpttlab.networks.cells.gating import (
    affine_gradient,
    affine_gradient_each,
    affine_immediate,
    scaled_rows_vjp,
    weights_vjp,
)
from bpttlab.networks.cells.single_matrix import OneMatrix
from bpttlab.numerics.array import Array


@dataclass(frozen=True)
class Elman(OneMatrix):
    """The simple recurrent network (Elman 1990; notes eq. 1 and 2)."""

    name: ClassVar[str] = "elman"

    input_size: int
    hidden_size: int
    output_size: int
    activation: ActivationName = "tanh"
    output_activation: str = "identity"

    def project(self, params: Params, x: Array) -> Array:
        """V x_t + b_h for every t at once.  (T,B,I) -> (T,B,N)"""
        return project_in_blocks(x, params["V"]) + params["b_h"]

    def step(self, params: Params, z_t: Array, h_prev: Array) -> Array:
        """Notes eq. 2: h_t = f_h(V x_t + W h_{t-1} + b_h).  (B,N), (B,N) -> (B,N)"""
        return activations.find_activation(self.activation).function(z_t + h_prev @ params["W"].T)

    def linearize(self, params: Params, x: Array, h: Array) -> Array:
        """f_h'(a_t), from a_t again where h_t has lost it to saturation.  (T,B,I), (T+1,B,N) -> (T,B,N)"""
        f_h = activations.find_activation(self.activation)
        return f_h.slope(self.preactivations(params, x, h) if f_h.saturates else h[1:])

    def vjp(self, params: Params, linearization_t: Array, dh_t: Array) -> tuple[Array, Array]:
        """da_t = f_h'(a_t) dh_t,  dh_{t-1} = W^T da_t.  (...,N), (...,N) -> (...,N), (...,N)"""
        da_t = linearization_t * dh_t
        return da_t, (rows(da_t) @ params["W"]).reshape(da_t.shape)

    def parameter_vjp(self, local: Local, da: Array) -> Params:
        """da_t times the immediate derivatives of a_t: x_t for V, h_{t-1} for W, 1 for b_h; sums over leading axes."""
        da, x, h_prev = rows(da), rows(local.x), rows(local.h_prev)
        return {"V": da.T @ x, "W": da.T @ h_prev, "b_h": da.sum(axis=0)}

    def parameter_vjp_each(self, local: Local, da: Array) -> Params:
        return affine_gradient_each(local.x, local.h_prev, da)

    def immediate(self, local: Local, da: Array) -> Params:
        return affine_immediate(local.x, local.h_prev, da)

    def jacobian(self, params: Params, linearization_t: Array) -> Array:
        """J_t[n,m] = dh_t[n]/dh_{t-1}[m] = f_h'(a_t)[n] W[n,m].  (...,N) -> (...,N,N)"""
        return linearization_t[..., :, None] * params["W"]

    def jacobian_vjp(self, params: Params, linearization_t: Array, dJ_t: Array) -> tuple[Params, Array]:
        dlinearization_t, dW = scaled_rows_vjp(linearization_t, params["W"], dJ_t)
        return {"W": dW}, dlinearization_t

    def linearize_vjp(self, params: Params, x: Array, h: Array, dlinearization: Array) -> tuple[Params, Array]:
        """da_t = f_h''(a_t) dlinearization_t, and from there as in `vjp`."""
        da = activations.find_curvature(self.activation)(self.preactivations(params, x, h)) * dlinearization
        dh = np.zeros_like(h)
        dh[:-1] = weights_vjp(da, params["W"])
        return affine_gradient(x, h[:-1], da), dh

    @property
    def lipschitz(self) -> float | None:
        return activations.find_activation(self.activation).lipschitz

    def recurrent_blocks(self, params: Params) -> dict[str, Array]:
        return {"W": params["W"]}
