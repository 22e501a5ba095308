"""Another cell with dropout, zoneout and noise in its recurrence, all drawn once and held fixed.

    r_{t-1} = (1 + m_t) . s_{t-1}                     recurrent dropout, of h alone: 1 + m = 0, or 1 / (1 - p)
    s_t = d_t . s_{t-1} + (1 - d_t) . F(x_t, r_{t-1}) + xi_t          zoneout: d = 1 or 0; xi: noise of h alone

F is a step of the cell, s its whole state (of an LSTM [h, c]), h the part that a readout sees. m, d and xi are inputs
beside x_t, so that a trajectory and all of its derivatives are those of one deterministic network, the one that was
run. Where they are zero it is the cell itself.

Index legend: T time, B sequence, I input, H hidden unit, S state, A pre-activations; `...` any leading axes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, ClassVar, Literal

import numpy as np

from bpttlab.errors import ConfigurationError
from bpttlab.fields import Field
from bpttlab.networks.activations import Activation
from bpttlab.networks.cells.cell import Cell, Local, Params, side_by_side_slices
from bpttlab.networks.cells.gating import concat_blocks
from bpttlab.networks.cells.input_scales import Scales
from bpttlab.networks.cells.wrapping import Wrapping, settle_inner_cell
from bpttlab.networks.initializers import Initializer
from bpttlab.numerics.array import Array
from bpttlab.numerics.random_streams import Rng, check_generator


@dataclass(frozen=True)
class Noisy(Wrapping):
    """Another cell with recurrent dropout, zoneout and state noise that are drawn once and held fixed.

    Dropout with one mask for a sequence: Gal & Ghahramani 2016; zoneout: Krueger et al. 2017. In Python,
    `extend_inputs` draws them beside x; a sweep draws them from the seed.

    Attributes:
        of: the sizes and the readout of a cell are replaced by those given here, and only its own fields count.
    """

    name: ClassVar[str] = "noisy"

    input_size: int
    hidden_size: int
    output_size: int
    of: Annotated[
        Cell | str,
        Field(description="the cell, by its name; with fields of its own '{name: leaky, alpha: 0.3}'"),
    ] = "elman"
    dropout: Annotated[
        float, Field(ge=0, lt=1, description="p, probability that a unit of h_{t-1} is not heard in a step")
    ] = 0.0
    dropout_per: Annotated[
        Literal["sequence", "step"],
        Field(description="how long a mask of dropout holds; sequence: for all of it"),
    ] = "sequence"
    zoneout: Annotated[
        float, Field(ge=0, lt=1, description="probability that a number of the state keeps its value in a step")
    ] = 0.0
    noise: Annotated[float, Field(ge=0, description="standard deviation of what is added to h_t in every step")] = 0.0
    output_activation: str = "identity"

    def __post_init__(self) -> None:
        super().__post_init__()
        settle_inner_cell(self)
        if self.dropout == 0:
            object.__setattr__(self, "dropout_per", "sequence")  # of nothing

    @cached_property
    def columns(self) -> tuple[slice, slice, slice, slice]:
        """Where x, m, d and xi are in what the cell is given of a step; those of rate 0 have no numbers."""
        H, S = self.hidden_size, self.inner.state_size
        widths = [H if self.dropout else 0, S if self.zoneout else 0, H if self.noise else 0]
        x, m, d, xi = side_by_side_slices([self.input_size, *widths])
        return x, m, d, xi

    @property
    def x_size(self) -> int:
        return self.columns[-1].stop

    # ------------------------------------------------------------------ the draw

    def extend_inputs(self, x: Array, rng: Rng) -> Array:
        """[x_t, m_t, d_t, xi_t], each drawn from a stream of its own.  (T,B,I) -> (T,B,x_size)

        A longer sequence begins with the draws of a shorter one, and a higher rate drops all that a lower one does.
        """
        x = np.asarray(x)
        if x.ndim != 3 or x.shape[2] != self.input_size:
            raise ConfigurationError(f"x: shape {x.shape}; must be (T, B, I) with I = input_size = {self.input_size}")
        (T, B, _), H, S = x.shape, self.hidden_size, self.state_size
        for_dropout, for_zoneout, for_noise = check_generator(rng).spawn(3)
        steps = 1 if self.dropout_per == "sequence" else T
        parts = [x]
        if self.dropout:
            dropped = for_dropout.random((steps, B, H)) < self.dropout
            parts += [np.broadcast_to(np.where(dropped, -1.0, self.dropout / (1.0 - self.dropout)), (T, B, H))]
        if self.zoneout:
            parts += [np.where(for_zoneout.random((T, B, S)) < self.zoneout, 1.0, 0.0)]
        if self.noise:
            parts += [self.noise * for_noise.standard_normal((T, B, H))]
        return np.concatenate(parts, axis=-1)

    # ------------------------------------------------------------------ what the draws do

    def mask(self, x_t: Array, h_prev: Array) -> Array:
        """r_{t-1}: the state that the cell hears.  (...,x_size), (...,S) -> (...,S)"""
        return h_prev * self.mask_factors(x_t[..., self.columns[1]]) if self.dropout else h_prev

    def mask_factors(self, m: Array) -> Array:
        """1 + m of the numbers that are h, 1 of the others.  (...,H) -> (...,S)"""
        factors = np.ones((*m.shape[:-1], self.state_size), m.dtype)
        factors[..., self.readout_slice] += m
        return factors

    def mix(self, x_t: Array, h_prev: Array, reached: Array) -> Array:
        """s_t from s_{t-1} and F.  (...,x_size), (...,S), (...,S) -> (...,S)"""
        _, _, d, xi = self.columns
        h_t = x_t[..., d] * h_prev + (1.0 - x_t[..., d]) * reached if self.zoneout else reached
        if self.noise:
            h_t = h_t.copy()
            h_t[..., self.readout_slice] += x_t[..., xi]
        return h_t

    # ------------------------------------------------------------------ the recurrence

    def project(self, params: Params, x: Array) -> Array:
        """[the cell's own, x with its draws].  (T,B,x_size) -> (T,B,any)"""
        return concat_blocks(self.inner.project(params, x[..., self.columns[0]]), x)

    def step(self, params: Params, z_t: Array, h_prev: Array) -> Array:
        z, x_t = z_t[..., : -self.x_size], z_t[..., -self.x_size :]
        return self.mix(x_t, h_prev, self.inner.step(params, z, self.mask(x_t, h_prev)))

    def weave(self, params: Params, x: Array, h: Array) -> tuple[Array, Array]:
        """A trajectory of the cell whose every other step is one of F: from r_{t-1} to F, whatever comes between.

        (T,B,x_size), (T+1,B,S) -> (2T,B,I), (2T+1,B,S)
        """
        heard, own = self.mask(x, h[:-1]), x[..., self.columns[0]]
        z = self.inner.project(params, own)
        woven_x = np.zeros((2 * len(x), *own.shape[1:]), own.dtype)
        woven_h = np.zeros((2 * len(x) + 1, *heard.shape[1:]), heard.dtype)
        woven_x[::2], woven_h[:-1:2] = own, heard
        for t in range(len(x)):
            woven_h[2 * t + 1] = self.inner.step(params, z[t], heard[t])
        return woven_x, woven_h

    def linearize(self, params: Params, x: Array, h: Array) -> Array:
        """[the cell's own from r_{t-1} to F, m, d].  (T,B,x_size), (T+1,B,S) -> (T,B,any)"""
        with np.errstate(all="ignore"):  # in the steps between
            own = self.inner.linearize(params, *self.weave(params, x, h))[::2]
        _, m, d, _ = self.columns
        return concat_blocks(own, x[..., m], x[..., d])

    def activation_inputs(self, params: Params, x: Array, h: Array) -> list[tuple[Activation, Array]]:
        with np.errstate(all="ignore"):
            found = self.inner.activation_inputs(params, *self.weave(params, x, h))
        return [(activation, a[::2]) for activation, a in found]

    def split(self, linearization_t: Array) -> tuple[Array, Array, Array]:
        """The cell's own linearization, m_t and d_t."""
        _, m, d, _ = self.columns
        end = linearization_t.shape[-1]
        start_of_d, start_of_m = end - (d.stop - d.start), end - (d.stop - m.start)
        return (
            linearization_t[..., :start_of_m],
            linearization_t[..., start_of_m:start_of_d],
            linearization_t[..., start_of_d:],
        )

    def vjp(self, params: Params, linearization_t: Array, dh_t: Array) -> tuple[Array, Array]:
        """(1 - d) dh_t goes through F and the mask, d dh_t goes around both.  (...,any), (...,S) -> (...,A), (...,S)"""
        own, m, d = self.split(linearization_t)
        da_t, dh_prev = self.inner.vjp(params, own, (1.0 - d) * dh_t if self.zoneout else dh_t)
        dh_prev = dh_prev * self.mask_factors(m) if self.dropout else dh_prev
        return da_t, dh_prev + d * dh_t if self.zoneout else dh_prev

    def jacobian(self, params: Params, linearization_t: Array) -> Array:
        """diag(d) + diag(1 - d) J_F diag(1 + m).  (...,any) -> (...,S,S)"""
        own, m, d = self.split(linearization_t)
        J = self.inner.jacobian(params, own)
        J = J * self.mask_factors(m)[..., None, :] if self.dropout else J
        if not self.zoneout:
            return J
        return d[..., None] * np.eye(self.state_size, dtype=J.dtype) + (1.0 - d[..., None]) * J

    def input_vjp(self, params: Params, linearization_t: Array, da_t: Array) -> Array:
        """Of x_t; the draws are held fixed and have the cotangent 0.  (...,any), (...,A) -> (...,x_size)"""
        dx = self.inner.input_vjp(params, self.split(linearization_t)[0], da_t)
        return concat_blocks(dx, np.zeros((*dx.shape[:-1], self.x_size - self.input_size), dx.dtype))

    def local_of_inner(self, local: Local) -> Local:
        """What the immediate derivatives of F depend on."""
        heard, own = self.mask(local.x, local.h_prev), self.split(local.linearization)[0]
        return Local(local.x[..., self.columns[0]], heard, own, local.params)

    def parameter_vjp(self, local: Local, da: Array) -> Params:
        return self.inner.parameter_vjp(self.local_of_inner(local), da)

    def parameter_vjp_each(self, local: Local, da: Array) -> Params:
        return self.inner.parameter_vjp_each(self.local_of_inner(local), da)

    def immediate(self, local: Local, da: Array) -> Params:
        return self.inner.immediate(self.local_of_inner(local), da)

    # ------------------------------------------------------------------ sizes and weights: those of the cell

    @property
    def preactivation_size(self) -> int:
        return self.inner.preactivation_size

    @property
    def linearization_size(self) -> int:
        _, m, d, _ = self.columns
        return self.inner.linearization_size + d.stop - m.start

    @property
    def recurrent_parameters(self) -> tuple[str, ...]:
        return self.inner.recurrent_parameters

    @property
    def takes_initializer(self) -> bool:
        return self.inner.takes_initializer

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return self.inner.shapes()

    def check_initializer(self, initializer: Initializer) -> None:
        self.inner.check_initializer(initializer)

    def draw(self, rng: np.random.Generator, initializer: Initializer, scales: Scales) -> Params:
        return self.inner.draw(rng, initializer, scales)

    def unconstrain(self, params: Params) -> Params:
        return self.inner.unconstrain(params)

    def constrain(self, free: Params) -> Params:
        return self.inner.constrain(free)

    def constraint_vjp(self, free: Params, gradient: Params) -> Params:
        return self.inner.constraint_vjp(free, gradient)
