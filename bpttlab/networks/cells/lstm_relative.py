"""The common part of LSTMs with something more: fields, drawing, weights and state are those of the LSTM.

A cell that is an LSTM but for peepholes, norms or exponential gates says what is different. What it leaves out is the
LSTM's, which is built once and kept (`lstm`).

Index legend: T time, B sequence, I input, N hidden unit; `...` any leading axes.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Annotated, ClassVar

import numpy as np

from bpttlab.fields import Field
from bpttlab.networks.cells.cell import HIDDEN_SIZE, Cell, Local, Params
from bpttlab.networks.cells.input_scales import Scales
from bpttlab.networks.cells.lstm import LSTM
from bpttlab.networks.initializers import Initializer
from bpttlab.numerics.array import Array


class LSTMRelative(Cell):
    """A cell with the weights of an LSTM; it has the fields `forget_bias` and `gate_scale`."""

    recurrent_parameters: ClassVar[tuple[str, ...]] = ("W", "V", "b_h")

    hidden_size: Annotated[int, replace(HIDDEN_SIZE, description="N, hidden units; the state [h, c] has 2N numbers")]
    forget_bias: Annotated[float, Field(description="added to the forget gates' biases")]
    gate_scale: Annotated[
        float, Field(ge=0, description="the initializer draws W_g; W_i, W_f and W_o are drawn the same way, times this")
    ]

    @cached_property
    def lstm(self) -> LSTM:
        """The cell that it is without what is its own."""
        sizes = self.input_size, self.hidden_size, self.output_size
        return LSTM(*sizes, forget_bias=self.forget_bias, gate_scale=self.gate_scale)

    def project(self, params: Params, x: Array) -> Array:
        """V x_t + b_h for every t at once.  (T,B,I) -> (T,B,4N)"""
        return self.lstm.project(params, x)

    def parameter_vjp(self, local: Local, da: Array) -> Params:
        """Of V, W and b_h, where da is that of [a_i, a_f, a_g, a_o]."""
        return self.lstm.parameter_vjp(local, da)

    def immediate(self, local: Local, da: Array) -> Params:
        return self.lstm.immediate(local, da)

    def draw(self, rng: np.random.Generator, initializer: Initializer, scales: Scales) -> Params:
        """V, W and b_h as the LSTM draws them, in float64."""
        return self.lstm.draw(rng, initializer, scales)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return self.lstm.shapes()

    def recurrent_blocks(self, params: Params) -> dict[str, Array]:
        """The candidate's W_g first."""
        return self.lstm.recurrent_blocks(params)

    @property
    def state_parts(self) -> dict[str, int]:
        return self.lstm.state_parts

    @property
    def preactivation_size(self) -> int:
        return self.lstm.preactivation_size
