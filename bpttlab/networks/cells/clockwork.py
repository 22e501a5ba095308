"""Clockwork cell: units in modules, of which module k moves at every 2^k-th step only.

    p_t = (p_{t-1} + 1) mod 2^k              phase of a unit of module k = 0, 1, ...; it is active where p_t = 0
    a_t = V x_t + M h_{t-1} + b_h            M = W where the receiving module is as fast as the sending one or faster
    h_t = f_h(a_t) of active units,  h_{t-1} of the others

A step does not know t. The state is therefore [h, p], 2N numbers of which the readout sees h: each unit counts its own
steps. p_{t-1} is rounded before one is added, so that p_t is constant around every phase: its derivative is exactly
zero, no gradient passes through it, and J_t has N zero rows and columns beside those of h. From p_0 = 0 a module is
active where t mod 2^k = 0, as in the paper. Its weights that would send from fast to slow modules do not act.

Index legend: T time, B sequence, I input, N hidden unit; `...` any leading axes. Pre-activations: A = N.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np

from bpttlab.errors import ConfigurationError
from bpttlab.fields import Field
from bpttlab.networks import activations
from bpttlab.networks.activations import Activation, ActivationName
from bpttlab.networks.cells.cell import HIDDEN_SIZE, Cell, Local, Params, project_in_blocks
from bpttlab.networks.cells.gating import (
    affine_gradient,
    affine_gradient_each,
    affine_immediate,
    concat_blocks,
    split_blocks,
    weights_vjp,
)
from bpttlab.numerics.array import Array


@dataclass(frozen=True)
class Clockwork(Cell):
    """Clockwork RNN with periods 1, 2, 4, ... (Koutnik et al. 2014)."""

    name: ClassVar[str] = "clockwork"
    recurrent_parameters: ClassVar[tuple[str, ...]] = ("W", "V", "b_h")

    input_size: int
    hidden_size: Annotated[int, replace(HIDDEN_SIZE, description="N, hidden units; the state [h, p] has 2N numbers")]
    output_size: int
    modules: Annotated[
        int, Field(ge=1, le=20, description="modules with the periods 1, 2, 4, ... steps, of equal size (to one unit)")
    ] = 4
    activation: ActivationName = "tanh"
    output_activation: str = "identity"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.modules > self.hidden_size:
            raise ConfigurationError(f"modules={self.modules}: must be at most hidden_size={self.hidden_size}")

    @property
    def periods(self) -> Array:
        """Of each unit, in steps: the fastest module first.  (N,)"""
        return 2.0 ** (np.arange(self.hidden_size) * self.modules // self.hidden_size)

    def mask(self, W: Array) -> Array:
        """W where a unit receives from units as slow as itself or slower, else 0.  (...,N,N) -> (...,N,N)"""
        return W * (self.periods[:, None] <= self.periods).astype(W.dtype)

    def project(self, params: Params, x: Array) -> Array:
        """V x_t + b_h for every t at once.  (T,B,I) -> (T,B,N)"""
        return project_in_blocks(x, params["V"]) + params["b_h"]

    def step(self, params: Params, z_t: Array, h_prev: Array) -> Array:
        """[h_t, p_t] from [h_{t-1}, p_{t-1}].  (B,N), (B,2N) -> (B,2N)"""
        h, p = split_blocks(h_prev, 2)
        phase = np.mod(np.round(np.real(p)) + 1.0, self.periods).astype(np.real(p).dtype)
        f_h = activations.find_activation(self.activation).function
        moved = f_h(z_t + h @ self.mask(params["W"]).T)
        return concat_blocks(np.where(phase == 0.0, moved, h), phase)

    def preactivations(self, params: Params, x: Array, h: Array) -> Array:
        """a_t of every step.  (T,B,I), (T+1,B,2N) -> (T,B,N)"""
        return self.project(params, x) + project_in_blocks(h[:-1, :, : self.hidden_size], self.mask(params["W"]))

    def linearize(self, params: Params, x: Array, h: Array) -> Array:
        """[f_h'(a_t) of active units, 1 of the others], zero elsewhere.  (T,B,I), (T+1,B,2N) -> (T,B,2N)"""
        h_t, phase = split_blocks(h[1:], 2)
        f_h = activations.find_activation(self.activation)
        slope = f_h.slope(self.preactivations(params, x, h) if f_h.saturates else h_t)
        active = (phase == 0.0).astype(h.dtype)
        return concat_blocks(active * slope, 1.0 - active)

    def activation_inputs(self, params: Params, x: Array, h: Array) -> list[tuple[Activation, Array]]:
        """Of all units, those that do not move among them."""
        return [(activations.find_activation(self.activation), self.preactivations(params, x, h))]

    def vjp(self, params: Params, linearization_t: Array, dh_t: Array) -> tuple[Array, Array]:
        """Cotangents of a_t and of [h_{t-1}, p_{t-1}]; that of p is zero.  (...,2N), (...,2N) -> (...,N), (...,2N)"""
        slope, rests = split_blocks(linearization_t, 2)
        dh = split_blocks(dh_t, 2)[0]
        da_t = slope * dh
        dh_prev = rests * dh + weights_vjp(da_t, self.mask(params["W"]))
        return da_t, concat_blocks(dh_prev, np.zeros_like(dh_prev))

    def parameter_vjp(self, local: Local, da: Array) -> Params:
        return self.mask_gradient(affine_gradient(local.x, local.h_prev[..., : self.hidden_size], da))

    def parameter_vjp_each(self, local: Local, da: Array) -> Params:
        return self.mask_gradient(affine_gradient_each(local.x, local.h_prev[..., : self.hidden_size], da))

    def immediate(self, local: Local, da: Array) -> Params:
        return self.mask_gradient(affine_immediate(local.x, local.h_prev[..., : self.hidden_size], da))

    def mask_gradient(self, gradient: Params) -> Params:
        """Weights that do not act have no gradient."""
        return {**gradient, "W": self.mask(gradient["W"])}

    def initial_states(self, drawn: Array) -> Array:
        """All phases are 0.  (B,2N) -> (B,2N)"""
        h, _ = split_blocks(drawn, 2)
        return concat_blocks(h, np.zeros_like(h))

    def probe_states(self, drawn: Array) -> Array:
        """Phases before a step of every unit, and before one of the fastest module alone.  (count,2N) -> (count,2N)"""
        h, _ = split_blocks(drawn, 2)
        phase = np.where(np.arange(len(drawn))[:, None] % 2 == 0, -1.0, 0.0)
        return concat_blocks(h, np.broadcast_to(phase, h.shape))

    def shapes(self) -> dict[str, tuple[int, ...]]:
        N, I = self.hidden_size, self.input_size
        return {"V": (N, I), "W": (N, N), "b_h": (N,)}

    def recurrent_blocks(self, params: Params) -> dict[str, Array]:
        """W as it was drawn, and M, the part of it that acts."""
        return {"W": params["W"], "M": self.mask(params["W"])}

    @property
    def state_parts(self) -> dict[str, int]:
        return {"h": self.hidden_size, "p": self.hidden_size}

    @property
    def preactivation_size(self) -> int:
        return self.hidden_size
