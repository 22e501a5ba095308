"""The common part of cells with the notes' V, W and b_h, one pre-activation for each unit, and h as the state."""

from __future__ import annotations

from typing import ClassVar

from bpttlab.networks import activations
from bpttlab.networks.activations import Activation
from bpttlab.networks.cells.cell import Cell, Params, project_in_blocks
from bpttlab.numerics.array import Array


class OneMatrix(Cell):
    """A cell whose one recurrent matrix the initializer draws."""

    recurrent_parameters: ClassVar[tuple[str, ...]] = ("W", "V", "b_h")

    def preactivations(self, params: Params, x: Array, h: Array) -> Array:
        """a_t = V x_t + b_h + W h_{t-1} for every t.  (T,B,I), (T+1,B,N) -> (T,B,N)"""
        return self.project(params, x) + project_in_blocks(h[:-1], params["W"])

    def activation_inputs(self, params: Params, x: Array, h: Array) -> list[tuple[Activation, Array]]:
        return [(activations.find_activation(getattr(self, "activation", "tanh")), self.preactivations(params, x, h))]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        N, I = self.hidden_size, self.input_size  # the notes' letters
        return {"V": (N, I), "W": (N, N), "b_h": (N,)}

    @property
    def preactivation_size(self) -> int:
        return self.hidden_size
