"""Dilated Elman cell: the recurrence skips d - 1 steps, so that paths through time have a d-th of the steps.

    a_t = V x_t + W h_{t-d} + b_h          h_t = f_h(a_t)

The state is [h_t, h_{t-1}, ..., h_{t-d+1}], dN numbers, of which the readout sees h_t. J_t has diag(f_h'(a_t)) W in its
upper right block and the identity below its diagonal. With d = 1 it is the Elman cell, to the byte. The d residues of t
modulo d are networks of their own with common weights; they meet in the layers above only (`stacked`).

Index legend: T time, B sequence, I input, N hidden unit; `...` any leading axes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np

from bpttlab.fields import Field
from bpttlab.limits import LONGEST_DILATION
from bpttlab.networks import activations
from bpttlab.networks.activations import ActivationName
from bpttlab.networks.cells.cell import HIDDEN_SIZE, Local, Params, project_in_blocks
from bpttlab.networks.cells.gating import (
    affine_gradient,
    affine_gradient_each,
    affine_immediate,
    concat_blocks,
    weights_vjp,
)
from bpttlab.networks.cells.single_matrix import OneMatrix
from bpttlab.numerics.array import Array


@dataclass(frozen=True)
class Dilated(OneMatrix):
    """Elman cell with dilated recurrent skip connections (Chang et al. 2017)."""

    name: ClassVar[str] = "dilated"

    input_size: int
    hidden_size: Annotated[int, replace(HIDDEN_SIZE, description="N, hidden units; the state has dN numbers")]
    output_size: int
    dilation: Annotated[
        int, Field(ge=1, le=LONGEST_DILATION, unit="step", description="d, h_t receives h_{t-d}; 1: elman")
    ] = 4
    activation: ActivationName = "tanh"
    output_activation: str = "identity"

    def oldest(self, states: Array) -> Array:
        """h_{t-d} of the states before the step.  (...,dN) -> (...,N)"""
        return states[..., -self.hidden_size :]

    def project(self, params: Params, x: Array) -> Array:
        """V x_t + b_h for every t at once.  (T,B,I) -> (T,B,N)"""
        return project_in_blocks(x, params["V"]) + params["b_h"]

    def step(self, params: Params, z_t: Array, h_prev: Array) -> Array:
        """[f_h(z_t + W h_{t-d}), h_{t-1}, ...].  (B,N), (B,dN) -> (B,dN)"""
        f_h = activations.find_activation(self.activation).function
        h_t = f_h(z_t + self.oldest(h_prev) @ params["W"].T)
        return concat_blocks(h_t, h_prev[..., : -self.hidden_size])

    def linearize(self, params: Params, x: Array, h: Array) -> Array:
        """f_h'(a_t), from a_t again where h_t has lost it to saturation.  (T,B,I), (T+1,B,dN) -> (T,B,N)"""
        f_h = activations.find_activation(self.activation)
        return f_h.slope(self.preactivations(params, x, h) if f_h.saturates else h[1:, :, : self.hidden_size])

    def preactivations(self, params: Params, x: Array, h: Array) -> Array:
        """a_t = V x_t + b_h + W h_{t-d} for every t.  (T,B,I), (T+1,B,dN) -> (T,B,N)"""
        return self.project(params, x) + project_in_blocks(self.oldest(h[:-1]), params["W"])

    def vjp(self, params: Params, linearization_t: Array, dh_t: Array) -> tuple[Array, Array]:
        """da_t = f_h'(a_t) dh_t; h_{t-d} receives W^T da_t, the others what stood one block further up."""
        N = self.hidden_size
        da_t = linearization_t * dh_t[..., :N]
        kept = np.broadcast_to(dh_t[..., N:], (*da_t.shape[:-1], self.state_size - N))
        return da_t, concat_blocks(kept, weights_vjp(da_t, params["W"]))

    def parameter_vjp(self, local: Local, da: Array) -> Params:
        return affine_gradient(local.x, self.oldest(local.h_prev), da)

    def parameter_vjp_each(self, local: Local, da: Array) -> Params:
        return affine_gradient_each(local.x, self.oldest(local.h_prev), da)

    def immediate(self, local: Local, da: Array) -> Params:
        return affine_immediate(local.x, self.oldest(local.h_prev), da)

    def recurrent_blocks(self, params: Params) -> dict[str, Array]:
        return {"W": params["W"]}

    @property
    def lipschitz(self) -> float | None:
        """With d > 1 the blocks that only move have the norm 1, whatever W is."""
        return activations.find_activation(self.activation).lipschitz if self.dilation == 1 else None

    @property
    def state_parts(self) -> dict[str, int]:
        """h, and h_1, h_2, ..., what it was that many steps before."""
        return {"h" if d == 0 else f"h_{d}": self.hidden_size for d in range(self.dilation)}

    @property
    def preactivation_size(self) -> int:
        return self.hidden_size

    @property
    def linearization_size(self) -> int:
        return self.hidden_size
