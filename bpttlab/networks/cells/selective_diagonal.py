"""Selective diagonal recurrence, the S6 layer of Mamba: linear channels whose decay, input and readout the input sets.

    u_t = V x_t + b_h                                  N channels
    delta_t = softplus(V_d u_t + b_d)                  length of the step of each channel
    B_t = V_B u_t          C_t = V_C u_t               S numbers each, common to all channels
    s_t[s,n] = exp(delta_t[n] A[s,n]) s_{t-1}[s,n] + delta_t[n] B_t[s] u_t[n]          A = -exp(log_A)
    h_t[n] = sum_s C_t[s] s_t[s,n] + D[n] u_t[n]

The state is [h, s], (1 + S) N numbers, of which the readout sees h: so C_t, which the input sets, is a part of the
step, and no step depends on h_{t-1}. V_d has one row, the same for all channels, as in the paper's algorithm 2. J_t is
diagonal in s, with entries below one, and h_t has a block C_t beside it. No initializer applies.

Left out is what stands around S6 in a Mamba block: the convolution over x, SiLU, the gate beside h and the output
projection.

Index legend: T time, B sequence, I input, N channel, S states of a channel; `...` any leading axes. Pre-activations:
[u, V_d u + b_d, B, C, s, h], A = (3 + S) N + 2S.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, NamedTuple

import numpy as np

from bpttlab.errors import ConfigurationError
from bpttlab.fields import Field
from bpttlab.limits import MOST_CHANNEL_STATES
from bpttlab.networks.activations import softplus, softplus_slope
from bpttlab.networks.cells.cell import HIDDEN_SIZE, Cell, Local, Params, project_in_blocks, rows
from bpttlab.networks.cells.gating import concat_blocks, diagonal, weights_vjp
from bpttlab.networks.cells.input_scales import Scales, gaussian
from bpttlab.networks.initializers import Initializer
from bpttlab.numerics.array import Array


class SelectiveParts(NamedTuple):
    """The parts of a linearization; those with S N numbers have the axes (...,S,N).

    Attributes:
        decay: ds_t/ds_{t-1}.
        by_delta: ds_t/ddelta_t.
        by_log_A: ds_t/dlog_A.
        s_t: the states after the step.
        delta, slope, u: delta_t, softplus' there, u_t.  (...,N)
        B, C: (...,S)
    """

    decay: Array
    by_delta: Array
    by_log_A: Array
    s_t: Array
    delta: Array
    slope: Array
    u: Array
    B: Array
    C: Array


@dataclass(frozen=True)
class SelectiveDiagonal(Cell):
    """S6, the selective state space layer of Mamba (Gu & Dao 2023, algorithm 2), without the block around it.

    log_A starts as log 1, ..., log S in every channel, b_d such that softplus(b_d) is log-uniform from `delta_min` to
    `delta_max`, D as 1.
    """

    name: ClassVar[str] = "selective_diagonal"
    recurrent_parameters: ClassVar[tuple[str, ...]] = ("log_A", "V_d", "b_d", "V_B", "V_C", "V", "b_h", "D")

    input_size: int
    hidden_size: Annotated[int, replace(HIDDEN_SIZE, description="N, channels; the state [h, s] has (1 + S) N numbers")]
    output_size: int
    channel_states: Annotated[int, Field(ge=1, le=MOST_CHANNEL_STATES, description="S, states of each channel")] = 16
    delta_min: Annotated[float, Field(gt=0, description="smallest step length softplus(b_d) that is drawn")] = 0.001
    delta_max: Annotated[float, Field(gt=0, description="largest step length that is drawn, at least delta_min")] = 0.1
    output_activation: str = "identity"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.delta_min > self.delta_max:
            raise ConfigurationError(f"delta_min={self.delta_min}: must be at most delta_max={self.delta_max}")

    # ------------------------------------------------------------------ the recurrence

    def project(self, params: Params, x: Array) -> Array:
        """[u_t, V_d u_t + b_d, B_t, C_t] for every t at once.  (T,B,I) -> (T,B,2N+2S)"""
        u = project_in_blocks(x, params["V"]) + params["b_h"]
        others = (project_in_blocks(u, params[name]) for name in ("V_d", "V_B", "V_C"))
        common, B, C = others
        return concat_blocks(u, common + params["b_d"], B, C)

    def split_projection(self, z: Array) -> tuple[Array, Array, Array, Array]:
        """u_t, delta_t before softplus, B_t, C_t.  (...,2N+2S) -> (...,N), (...,N), (...,S), (...,S)"""
        N, S = self.hidden_size, self.channel_states
        return z[..., :N], z[..., N : 2 * N], z[..., 2 * N : 2 * N + S], z[..., 2 * N + S :]

    def split_state(self, states: Array) -> tuple[Array, Array]:
        """h and s.  (...,(1+S)N) -> (...,N), (...,S,N)"""
        N = self.hidden_size
        return states[..., :N], states[..., N:].reshape(*states.shape[:-1], self.channel_states, N)

    def step(self, params: Params, z_t: Array, h_prev: Array) -> Array:
        """[h_t, s_t].  (B,2N+2S), (B,(1+S)N) -> (B,(1+S)N)"""
        u, a_d, B, C = self.split_projection(z_t)
        delta = softplus(a_d)[..., None, :]
        _, s = self.split_state(h_prev)
        s = np.exp(-delta * np.exp(params["log_A"])) * s + delta * B[..., None] * u[..., None, :]
        return concat_blocks((C[..., None] * s).sum(axis=-2) + params["D"] * u, flatten_channels(s))

    def linearize(self, params: Params, x: Array, h: Array) -> Array:
        """The parts of `SelectiveParts`, side by side.  (T,B,I), (T+1,B,(1+S)N) -> (T,B,4SN+3N+2S)"""
        u, a_d, B, C = self.split_projection(self.project(params, x))
        A, delta = -np.exp(params["log_A"]), softplus(a_d)
        decay = np.exp(delta[..., None, :] * A)
        kept = A * decay * self.split_state(h[:-1])[1]
        by_delta = kept + B[..., None] * u[..., None, :]
        s_t = self.split_state(h[1:])[1]
        wide = (decay, by_delta, delta[..., None, :] * kept, s_t)
        return concat_blocks(*map(flatten_channels, wide), delta, softplus_slope(a_d), u, B, C)

    def split_linearization(self, linearization_t: Array) -> SelectiveParts:
        N, S = self.hidden_size, self.channel_states
        ends = np.cumsum([S * N] * 4 + [N] * 3 + [S])
        parts = np.split(linearization_t, ends, axis=-1)
        wide = (part.reshape(*part.shape[:-1], S, N) for part in parts[:4])
        return SelectiveParts(*wide, *parts[4:])

    def vjp(self, params: Params, linearization_t: Array, dh_t: Array) -> tuple[Array, Array]:
        """Cotangents of [u, V_d u + b_d, B, C, s, h] and of [h_{t-1}, s_{t-1}]; that of h_{t-1} is zero."""
        at = self.split_linearization(linearization_t)
        dh, ds = self.split_state(dh_t)
        ds = ds + at.C[..., None] * dh[..., None, :]  # both ways to s_t: its own, and through h_t
        dC = (at.s_t * dh[..., None, :]).sum(axis=-1)
        da_d = at.slope * (at.by_delta * ds).sum(axis=-2)
        dB = (ds * (at.delta * at.u)[..., None, :]).sum(axis=-1)
        du = at.delta * (at.B[..., None] * ds).sum(axis=-2) + params["D"] * dh
        du = du + da_d.sum(axis=-1, keepdims=True) * params["V_d"][0]
        du = du + weights_vjp(dB, params["V_B"]) + weights_vjp(dC, params["V_C"])
        ds_prev = flatten_channels(at.decay * ds)
        dh = np.broadcast_to(dh, du.shape)
        return concat_blocks(du, da_d, dB, dC, flatten_channels(ds), dh), concat_blocks(np.zeros_like(du), ds_prev)

    def split_cotangents(self, da: Array) -> list[Array]:
        """Of u, V_d u + b_d, B, C, s, h."""
        N, S = self.hidden_size, self.channel_states
        return np.split(da, np.cumsum([N, N, S, S, S * N]), axis=-1)

    def input_vjp(self, params: Params, linearization_t: Array, da_t: Array) -> Array:
        """dx_t = V^T du_t, whose ways through delta, B and C `vjp` has gone."""
        return weights_vjp(da_t[..., : self.hidden_size], params["V"])

    def parameter_vjp(self, local: Local, da: Array) -> Params:
        at = self.split_linearization(rows(local.linearization))
        du, da_d, dB, dC, ds, dh = self.split_cotangents(rows(da))
        return {
            "V": du.T @ rows(local.x),
            "b_h": du.sum(axis=0),
            "V_d": da_d.sum(axis=1)[None] @ at.u,
            "b_d": da_d.sum(axis=0),
            "V_B": dB.T @ at.u,
            "V_C": dC.T @ at.u,
            "log_A": (ds.reshape(at.by_log_A.shape) * at.by_log_A).sum(axis=0),
            "D": (dh * at.u).sum(axis=0),
        }

    def immediate(self, local: Local, da: Array) -> Params:
        at = self.split_linearization(local.linearization)
        du, da_d, dB, dC, ds, dh = self.split_cotangents(da)
        u = at.u[..., None, :]
        return {
            "V": du[..., None] * local.x[..., None, :],
            "b_h": np.array(du),
            "V_d": da_d.sum(axis=-1)[..., None, None] * u,
            "b_d": np.array(da_d),
            "V_B": dB[..., None] * u,
            "V_C": dC[..., None] * u,
            "log_A": ds.reshape(*ds.shape[:-1], *at.by_log_A.shape[-2:]) * at.by_log_A,
            "D": dh * at.u,
        }

    def jacobian(self, params: Params, linearization_t: Array) -> Array:
        """J_t of [h, s]: s<-s = diag(decay), h<-s = C_t[s] times it, h<-h = s<-h = 0.  -> (...,(1+S)N,(1+S)N)"""
        at = self.split_linearization(linearization_t)
        N, size = self.hidden_size, self.state_size
        J = np.zeros((*linearization_t.shape[:-1], size, size), linearization_t.dtype)
        J[..., N:, N:] = diagonal(flatten_channels(at.decay))
        for s in range(self.channel_states):
            own = slice((1 + s) * N, (2 + s) * N)
            J[..., :N, own] = diagonal(at.C[..., s, None] * at.decay[..., s, :])
        return J

    # ------------------------------------------------------------------ weights

    def block_counts(self) -> dict[str, int]:
        """None: no matrix acts on the state."""
        return {}

    def describe_alternative(self) -> str:
        return ", and set cell.delta_min and cell.delta_max"

    def draw(self, rng: np.random.Generator, initializer: Initializer, scales: Scales) -> Params:
        """All parameters in float64: matrices like V, b_h Gaussian, the others as the class says."""
        self.check_initializer(initializer)
        *streams, biases, steps = rng.spawn(6)
        names = ("V", "V_d", "V_B", "V_C")
        matrices = {n: gaussian(own, self.shapes()[n], scales.V) for n, own in zip(names, streams, strict=True)}
        N, S = self.hidden_size, self.channel_states
        delta = np.exp(steps.uniform(np.log(self.delta_min), np.log(self.delta_max), N))
        return {
            **matrices,
            "b_h": gaussian(biases, (N,), scales.b),
            "b_d": delta + np.log(-np.expm1(-delta)),  # the inverse of softplus
            "log_A": np.repeat(np.log(np.arange(1.0, S + 1.0))[:, None], N, axis=1),
            "D": np.ones(N),
        }

    def shapes(self) -> dict[str, tuple[int, ...]]:
        N, I, S = self.hidden_size, self.input_size, self.channel_states
        matrices = {"V": (N, I), "V_d": (1, N), "V_B": (S, N), "V_C": (S, N)}
        return {**matrices, "b_h": (N,), "b_d": (N,), "log_A": (S, N), "D": (N,)}

    @property
    def state_parts(self) -> dict[str, int]:
        return {"h": self.hidden_size, "s": self.channel_states * self.hidden_size}

    @property
    def linearization_size(self) -> int:
        return (4 * self.channel_states + 3) * self.hidden_size + 2 * self.channel_states


def flatten_channels(s: Array) -> Array:
    """(...,S,N) -> (...,SN)"""
    return s.reshape(*s.shape[:-2], -1)
