"""Leaky Elman cell: an Elman cell whose state moves a part alpha of the way at each step.

    a_t = V x_t + W h_{t-1} + b_h          h_t = (1 - alpha) h_{t-1} + alpha f_h(a_t)

The Euler step dt = alpha tau of the rate network tau dh/dt = -h + f_h(a). alpha = 1 is the Elman cell, to the byte.

Index legend: T time, B sequence, I input, N hidden unit (n of h_t, m of h_{t-1}); `...` any leading axes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from bpttlab.fields import Field
from bpttlab.networks import activations
from bpttlab.networks.activations import ActivationName
from bpttlab.networks.cells.cell import Local, Params, project_in_blocks
from bpttlab.networks.cells.gating import (
    affine_gradient,
    affine_gradient_each,
    affine_immediate,
    scaled_rows,
    weights_vjp,
)
from bpttlab.networks.cells.single_matrix import OneMatrix
from bpttlab.numerics.array import Array


@dataclass(frozen=True)
class Leaky(OneMatrix):
    """Leaky integrator units (Jaeger et al. 2007, eq. 2 with leaking rate alpha)."""

    name: ClassVar[str] = "leaky"

    input_size: int
    hidden_size: int
    output_size: int
    alpha: Annotated[
        float, Field(gt=0, le=1, description="leaking rate: h forgets over 1/alpha steps; at 1 the cell is elman")
    ] = 0.1
    activation: ActivationName = "tanh"
    output_activation: str = "identity"

    def project(self, params: Params, x: Array) -> Array:
        """V x_t + b_h for every t at once.  (T,B,I) -> (T,B,N)"""
        return project_in_blocks(x, params["V"]) + params["b_h"]

    def step(self, params: Params, z_t: Array, h_prev: Array) -> Array:
        """h_t = (1 - alpha) h_{t-1} + alpha f_h(z_t + W h_{t-1}).  (B,N), (B,N) -> (B,N)"""
        f_h = activations.find_activation(self.activation).function
        return self.add_leak(h_prev, self.alpha * f_h(z_t + h_prev @ params["W"].T))

    def linearize(self, params: Params, x: Array, h: Array) -> Array:
        """alpha f_h'(a_t), from a_t again: h_t - (1 - alpha) h_{t-1} has lost digits.  (T,B,I), (T+1,B,N) -> (T,B,N)"""
        f_h = activations.find_activation(self.activation)
        if self.alpha == 1.0 and not f_h.saturates:
            return f_h.slope(h[1:])
        return self.alpha * f_h.slope(self.preactivations(params, x, h))

    def vjp(self, params: Params, linearization_t: Array, dh_t: Array) -> tuple[Array, Array]:
        """da_t = alpha f_h'(a_t) dh_t,  dh_{t-1} = (1 - alpha) dh_t + W^T da_t."""
        da_t = linearization_t * dh_t
        return da_t, self.add_leak(dh_t, weights_vjp(da_t, params["W"]))

    def parameter_vjp(self, local: Local, da: Array) -> Params:
        return affine_gradient(local.x, local.h_prev, da)

    def parameter_vjp_each(self, local: Local, da: Array) -> Params:
        return affine_gradient_each(local.x, local.h_prev, da)

    def immediate(self, local: Local, da: Array) -> Params:
        return affine_immediate(local.x, local.h_prev, da)

    def jacobian(self, params: Params, linearization_t: Array) -> Array:
        """J_t = (1 - alpha) I + diag(alpha f_h'(a_t)) W.  (...,N) -> (...,N,N)"""
        return self.add_leak(
            np.eye(self.hidden_size, dtype=linearization_t.dtype), scaled_rows(linearization_t, params["W"])
        )

    def add_leak(self, old: Array, new: Array) -> Array:
        """(1 - alpha) old + new; at alpha = 1 the new itself, with the signs of its zeros."""
        return new if self.alpha == 1.0 else (1.0 - self.alpha) * old + new

    @property
    def lipschitz(self) -> float | None:
        """None below alpha = 1: there ||J_t|| <= 1 - alpha + alpha gamma ||W||, which is no multiple of ||W||."""
        return activations.find_activation(self.activation).lipschitz if self.alpha == 1.0 else None

    def recurrent_blocks(self, params: Params) -> dict[str, Array]:
        return {"W": params["W"]}
