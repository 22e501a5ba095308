"""The common part of Elman cells whose W is constrained: the recurrence is Elman's, with W as the constraint has it.

What a cell adds is how W is drawn, and `unconstrain`, `constrain` and `constraint_vjp`.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import ClassVar

import numpy as np

from bpttlab.networks.activations import Activation, ActivationName
from bpttlab.networks.cells.cell import Cell, Local, Params
from bpttlab.networks.cells.elman import Elman
from bpttlab.networks.cells.input_scales import Scales
from bpttlab.networks.initializers import Initializer
from bpttlab.numerics.array import Array


class ConstrainedElman(Cell):
    """A cell that is an Elman cell when W is given; it has the field `activation`."""

    recurrent_parameters: ClassVar[tuple[str, ...]] = ("W", "V", "b_h")

    activation: ActivationName

    @cached_property
    def elman(self) -> Elman:
        """The cell that it is when W is given."""
        return Elman(self.input_size, self.hidden_size, self.output_size, self.activation, self.output_activation)

    @abstractmethod
    def draw(self, rng: np.random.Generator, initializer: Initializer, scales: Scales) -> Params:
        """V, b_h, and a W that satisfies the constraint."""

    @abstractmethod
    def unconstrain(self, params: Params) -> Params:
        """Free numbers in place of W."""

    @abstractmethod
    def constrain(self, free: Params) -> Params:
        """W in place of the free numbers."""

    @abstractmethod
    def constraint_vjp(self, free: Params, gradient: Params) -> Params:
        """Cotangents of the free numbers in place of dL/dW."""

    # ------------------------------------------------------------------ the recurrence, which is Elman's

    def project(self, params: Params, x: Array) -> Array:
        return self.elman.project(params, x)

    def step(self, params: Params, z_t: Array, h_prev: Array) -> Array:
        return self.elman.step(params, z_t, h_prev)

    def linearize(self, params: Params, x: Array, h: Array) -> Array:
        return self.elman.linearize(params, x, h)

    def activation_inputs(self, params: Params, x: Array, h: Array) -> list[tuple[Activation, Array]]:
        return self.elman.activation_inputs(params, x, h)

    def vjp(self, params: Params, linearization_t: Array, dh_t: Array) -> tuple[Array, Array]:
        return self.elman.vjp(params, linearization_t, dh_t)

    def parameter_vjp(self, local: Local, da: Array) -> Params:
        return self.elman.parameter_vjp(local, da)

    def parameter_vjp_each(self, local: Local, da: Array) -> Params:
        return self.elman.parameter_vjp_each(local, da)

    def immediate(self, local: Local, da: Array) -> Params:
        return self.elman.immediate(local, da)

    def jacobian(self, params: Params, linearization_t: Array) -> Array:
        return self.elman.jacobian(params, linearization_t)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return self.elman.shapes()

    @property
    def lipschitz(self) -> float | None:
        return self.elman.lipschitz

    def recurrent_blocks(self, params: Params) -> dict[str, Array]:
        return self.elman.recurrent_blocks(params)


def without(params: Params, *names: str) -> Params:
    """The other parameters."""
    return {key: values for key, values in params.items() if key not in names}
