"""A network that runs freely: its input is its own prediction.

    u_t = y_hat_{t-1} + x_t = f_y(F h_{t-1} + b_F) + x_t          s_t = cell(u_t, s_{t-1})

F = U and b_F = b_y are the readout's, under names of their own: of a loss, dL/dU is what the predictions contribute,
and dL/dF what goes around the loop. x_t is what is added to the prediction, zero for a network that runs on its own.
J_t is that of the whole map,

    J_t = ds_t/ds_{t-1} + ds_t/du_t f_y'(F h_{t-1} + b_F) F

so that exponents, products and gradients are those of the autonomous system.

Index legend: T time, B sequence, I input (as many as outputs), N hidden unit, S state; `...` any leading axes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bpttlab.errors import ConfigurationError
from bpttlab.networks import activations
from bpttlab.networks.activations import Activation
from bpttlab.networks.cells.cell import Cell, Local, Params, project_in_blocks, rows
from bpttlab.networks.cells.gating import concat_blocks
from bpttlab.networks.cells.wrapping import Wrapping
from bpttlab.networks.pretrained import Network
from bpttlab.numerics.array import Array
from bpttlab.numerics.random_streams import Rng

_OF_LOOP = {"F": "U", "b_F": "b_y"}
"""Parameters of the loop, and those of the readout that they are."""


def close_loop(cell: Cell, params: Params) -> Network:
    """The network that is fed its own prediction, as a cell with its parameters.

    It runs from a state of the network, for example the last one of a pass over given inputs:

        warm = lab.forward(cell, params, x)
        loop = lab.close_loop(cell, params)
        free = lab.forward(*loop, np.zeros((1000, *x.shape[1:])), warm.h[-1])

    Args:
        cell: with as many inputs as outputs, and the readout of the notes.
        params: its weights.

    Returns:
        `cell`, whose x is added to the prediction, and `params`: those of the network with F and b_F, copies of U and
        b_y. dL/dU of the closed loop is the sum of the gradients by U and by F, dL/db_y that by b_y and b_F.

    Raises:
        ConfigurationError: the sizes differ, there is no readout, or it is another one than that of the notes.
    """
    if cell.input_size != cell.output_size:
        raise ConfigurationError(
            f"output_size={cell.output_size}: must be input_size = {cell.input_size}, for the prediction is the next "
            "input"
        )
    if not cell.has_linear_readout:
        raise ConfigurationError(f"cell={cell.name}: has a readout of its own; must have that of the notes, U and b_y")
    for name in set(_OF_LOOP.values()) - set(params):
        raise ConfigurationError(f"params: has {', '.join(sorted(params))}; must have {name} of the readout")
    closed = ClosedLoop(cell.input_size, cell.hidden_size, cell.output_size, cell, cell.output_activation)
    return Network(closed, {**params, **{name: np.array(params[own]) for name, own in _OF_LOOP.items()}})


@dataclass(frozen=True)
class ClosedLoop(Wrapping):
    """A cell whose input is its own prediction (`close_loop`)."""

    name: ClassVar[str] = "closed loop"

    input_size: int
    hidden_size: int
    output_size: int
    of: Cell
    output_activation: str = "identity"

    # ------------------------------------------------------------------ the loop

    def preactivations(self, params: Params, h_prev: Array) -> Array:
        """F h_{t-1} + b_F.  (...,S) -> (...,O)"""
        return project_in_blocks(h_prev[..., self.readout_slice], params["F"]) + params["b_F"]

    def feed(self, x: Array, a_F: Array) -> Array:
        """x with the prediction added to its first I numbers.  (...,x_size), (...,O) -> (...,x_size)"""
        f_y, fed = activations.find_activation(self.output_activation).function, x.astype(np.result_type(x, a_F))
        fed[..., : self.input_size] += f_y(a_F)
        return fed

    def step(self, params: Params, z_t: Array, h_prev: Array) -> Array:
        fed = self.feed(z_t, self.preactivations(params, h_prev))
        return self.of.step(params, self.of.project(params, fed), h_prev)

    def linearize(self, params: Params, x: Array, h: Array) -> Array:
        """[the cell's own, f_y', u_t].  (T,B,x_size), (T+1,B,S) -> (T,B,any)"""
        a_F = self.preactivations(params, h[:-1])
        f_y, fed = activations.find_activation(self.output_activation), self.feed(x, a_F)
        slope = f_y.slope(a_F if f_y.saturates else f_y.function(a_F))
        return concat_blocks(self.of.linearize(params, fed, h), slope, fed)

    def activation_inputs(self, params: Params, x: Array, h: Array) -> list[tuple[Activation, Array]]:
        return self.of.activation_inputs(params, self.feed(x, self.preactivations(params, h[:-1])), h)

    def split(self, linearization_t: Array) -> tuple[Array, Array, Array]:
        """The cell's own linearization, f_y' and u_t."""
        of_fed = linearization_t.shape[-1] - self.x_size
        of_slope = of_fed - self.output_size
        return linearization_t[..., :of_slope], linearization_t[..., of_slope:of_fed], linearization_t[..., of_fed:]

    def vjp(self, params: Params, linearization_t: Array, dh_t: Array) -> tuple[Array, Array]:
        """Cotangents of [a_t, F h_{t-1} + b_F] and of s_{t-1}: directly, and through the prediction."""
        own, slope, _ = self.split(linearization_t)
        da_t, dh_prev = self.of.vjp(params, own, dh_t)
        da_F = slope * self.of.input_vjp(params, own, da_t)[..., : self.input_size]
        return concat_blocks(da_t, da_F), dh_prev + self.of.state_vjp(params["F"], da_F)

    def input_vjp(self, params: Params, linearization_t: Array, da_t: Array) -> Array:
        return self.of.input_vjp(params, self.split(linearization_t)[0], da_t[..., : -self.output_size])

    def parameter_vjp(self, local: Local, da: Array) -> Params:
        """The cell's own at u_t, and dL/dF and dL/db_F."""
        own, _, fed = self.split(local.linearization)
        da_F, heard = rows(da[..., -self.output_size :]), rows(local.h_prev[..., self.readout_slice])
        of_cell = self.of.parameter_vjp(Local(fed, local.h_prev, own, local.params), da[..., : -self.output_size])
        return of_cell | {"F": da_F.T @ heard, "b_F": da_F.sum(axis=0)}

    # ------------------------------------------------------------------ sizes and weights

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Those of the cell, then F and b_F."""
        return {**self.of.shapes(), "F": (self.output_size, self.hidden_size), "b_F": (self.output_size,)}

    @property
    def recurrent_parameters(self) -> tuple[str, ...]:
        return (*self.of.recurrent_parameters, *_OF_LOOP)

    def block_counts(self) -> dict[str, int]:
        return self.of.block_counts()

    @property
    def x_size(self) -> int:
        return self.of.x_size

    def extend_inputs(self, x: Array, rng: Rng) -> Array:
        return self.of.extend_inputs(x, rng)

    @property
    def preactivation_size(self) -> int:
        return self.of.preactivation_size + self.output_size

    @property
    def linearization_size(self) -> int:
        return self.of.linearization_size + self.output_size + self.x_size
