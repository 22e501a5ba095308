"""coRNN: coupled oscillators with damping, in steps of length dt. The state is [y, z], of which the readout sees y.

    a_t = V x_t + W y_{t-1} + W_z z_{t-1} + b_h
    z_t = z_{t-1} + dt (tanh(a_t) - gamma y_{t-1} - epsilon z_*)        z_* = z_{t-1} (explicit) or z_t (implicit)
    y_t = y_{t-1} + dt z_t

It discretises y'' = tanh(W y + W_z y' + V x + b) - gamma y - epsilon y'. The explicit damping is that of the authors'
code, the implicit one divides z_t by 1 + dt epsilon. The paper's bounds of gradients hold for dt small beside the norms
of W and W_z, and for times t dt of order one.

Index legend: T time, B sequence, I input, N oscillators; `...` any leading axes. Pre-activations: A = N.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import numpy as np

from bpttlab.fields import Field
from bpttlab.networks.activations import Activation, tanh_slope
from bpttlab.networks.cells.cell import HIDDEN_SIZE, Cell, Local, Params, project_in_blocks, rows
from bpttlab.networks.cells.gating import TANH, concat_blocks, diagonal, scaled_rows, split_blocks, weights_vjp
from bpttlab.numerics.array import Array


@dataclass(frozen=True)
class CoRNN(Cell):
    """Coupled oscillatory RNN (Rusch & Mishra 2021); the defaults are those of the authors' code for sMNIST."""

    name: ClassVar[str] = "cornn"
    recurrent_parameters: ClassVar[tuple[str, ...]] = ("W", "W_z", "V", "b_h")

    input_size: int
    hidden_size: Annotated[int, replace(HIDDEN_SIZE, description="N, oscillators; the state [y, z] has 2N numbers")]
    output_size: int
    dt: Annotated[float, Field(gt=0, description="length of a step")] = 0.042
    gamma: Annotated[float, Field(ge=0, description="squared frequency of an oscillator by itself")] = 2.7
    epsilon: Annotated[float, Field(ge=0, description="damping")] = 4.7
    damping: Annotated[
        Literal["explicit", "implicit"],
        Field(description="the damping takes z before the step, or after it"),
    ] = "explicit"
    output_activation: str = "identity"

    @property
    def kept(self) -> float:
        """dz_t/dz_{t-1} at a constant a_t."""
        return 1.0 - self.dt * self.epsilon if self.damping == "explicit" else 1.0 / (1.0 + self.dt * self.epsilon)

    @property
    def gain(self) -> float:
        """dz_t/dtanh(a_t)."""
        return self.dt if self.damping == "explicit" else self.dt / (1.0 + self.dt * self.epsilon)

    def project(self, params: Params, x: Array) -> Array:
        """V x_t + b_h for every t at once.  (T,B,I) -> (T,B,N)"""
        return project_in_blocks(x, params["V"]) + params["b_h"]

    def step(self, params: Params, z_t: Array, h_prev: Array) -> Array:
        """[y_t, z_t] from [y_{t-1}, z_{t-1}]; `z_t` as an argument is the projection.  (B,N), (B,2N) -> (B,2N)"""
        y, z = split_blocks(h_prev, 2)
        a = z_t + y @ params["W"].T + z @ params["W_z"].T
        velocity = self.kept * z + self.gain * (np.tanh(a) - self.gamma * y)
        return concat_blocks(y + self.dt * velocity, velocity)

    def linearize(self, params: Params, x: Array, h: Array) -> Array:
        """s = dz_t/da_t.  (T,B,I), (T+1,B,2N) -> (T,B,N)"""
        return self.gain * tanh_slope(self.preactivations(params, x, h))

    def preactivations(self, params: Params, x: Array, h: Array) -> Array:
        """a_t of every step.  (T,B,I), (T+1,B,2N) -> (T,B,N)"""
        y, z = split_blocks(h[:-1], 2)
        return self.project(params, x) + project_in_blocks(y, params["W"]) + project_in_blocks(z, params["W_z"])

    def activation_inputs(self, params: Params, x: Array, h: Array) -> list[tuple[Activation, Array]]:
        return [(TANH, self.preactivations(params, x, h))]

    def vjp(self, params: Params, linearization_t: Array, dh_t: Array) -> tuple[Array, Array]:
        """Cotangents of a_t and of [y_{t-1}, z_{t-1}].  (...,N), (...,2N) -> (...,N), (...,2N)"""
        dy, dz = split_blocks(dh_t, 2)
        dz = dz + self.dt * dy  # both ways to z_t: its own, and through y_t
        da_t = linearization_t * dz
        dy_prev = dy - self.gain * self.gamma * dz + weights_vjp(da_t, params["W"])
        return da_t, concat_blocks(dy_prev, self.kept * dz + weights_vjp(da_t, params["W_z"]))

    def parameter_vjp(self, local: Local, da: Array) -> Params:
        y, z = split_blocks(rows(local.h_prev), 2)
        da = rows(da)
        return {"V": da.T @ rows(local.x), "W": da.T @ y, "W_z": da.T @ z, "b_h": da.sum(axis=0)}

    def immediate(self, local: Local, da: Array) -> Params:
        y, z = split_blocks(local.h_prev[..., None, :], 2)
        column = da[..., None]
        return {"V": column * local.x[..., None, :], "W": column * y, "W_z": column * z, "b_h": np.array(da)}

    def jacobian(self, params: Params, linearization_t: Array) -> Array:
        """J_t of [y, z]: z<-y = s W - gain gamma, z<-z = kept + s W_z, and y is y_{t-1} + dt z_t.  -> (...,2N,2N)"""
        ones = np.ones_like(linearization_t)
        z_y = scaled_rows(linearization_t, params["W"]) - diagonal(self.gain * self.gamma * ones)
        z_z = scaled_rows(linearization_t, params["W_z"]) + diagonal(self.kept * ones)
        y_row = concat_blocks(diagonal(ones) + self.dt * z_y, self.dt * z_z)
        return np.concatenate([y_row, concat_blocks(z_y, z_z)], axis=-2)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        N, I = self.hidden_size, self.input_size
        return {"V": (N, I), "W": (N, N), "W_z": (N, N), "b_h": (N,)}

    @property
    def state_parts(self) -> dict[str, int]:
        return {"y": self.hidden_size, "z": self.hidden_size}

    @property
    def preactivation_size(self) -> int:
        return self.hidden_size
