"""A step function of another library as a cell: the pre-activation a_t is h_t itself, and all else its derivatives.

    h_t = step(params, x_t, h_{t-1})          y_hat_t = read(params, h_t), or U h_t + b_y

The state is one vector: its parts, whatever structure they had, are side by side. The linearization of a step is
[x_t, h_{t-1}]; each way back computes the step again and differentiates it.

Index legend: T time, B sequence, I input, N hidden units, S state, A = S pre-activations, O output, R rows of all
leading axes, K cotangents of a row; `...` any leading axes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np

from bpttlab.errors import ConfigurationError
from bpttlab.networks.adapters.row_functions import RowFunctions
from bpttlab.networks.cells.cell import Cell, Local, Params, identity_rows, rows
from bpttlab.networks.cells.gating import concat_blocks
from bpttlab.networks.cells.input_scales import Scales
from bpttlab.numerics.array import Array

JACOBIAN_NUMBERS = 2**22
"""Numbers of a Jacobian that one call of the other library computes: more are divided among calls."""


class Adapter(Cell):
    """A cell whose step and derivatives another library computes.

    Attributes:
        row_functions: the step function with its derivatives.
    """

    row_functions: RowFunctions

    # ------------------------------------------------------------------ sizes

    @property
    def state_parts(self) -> dict[str, int]:
        return {name: part.stop - part.start for name, part in self.row_functions.parts.items()}

    @property
    def preactivation_size(self) -> int:
        return self.state_size

    @property
    def linearization_size(self) -> int:
        return self.input_size + self.state_size

    @property
    def units(self) -> Array:
        """Parts of one size have a number of each unit; else every number is a unit of its own."""
        sizes = set(self.state_parts.values())
        return np.arange(self.state_size) % (sizes.pop() if len(sizes) == 1 else self.state_size)

    @property
    def has_linear_readout(self) -> bool:
        return self.row_functions.output_size == 0

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return self.row_functions.shapes

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Without a readout there is no U and no b_y: all parameters have the names that the module has for them."""
        if not self.has_linear_readout:
            return {**self.shapes(), **self.row_functions.readout_shapes}
        return super().parameter_shapes() if self.output_size else self.shapes()

    def block_counts(self) -> dict[str, int]:
        """None: which matrix acts on h_{t-1} alone, nobody says."""
        return {}

    # ------------------------------------------------------------------ the recurrence

    def step(self, params: Params, z_t: Array, h_prev: Array) -> Array:
        """(B,I), (B,S) -> (B,S)"""
        if np.iscomplexobj(h_prev):
            raise ConfigurationError(
                f"cell '{self.name}': takes no complex numbers, which a complex step needs: give analytic=False"
            )
        return self.row_functions.step(params, z_t, h_prev)

    def linearize(self, params: Params, x: Array, h: Array) -> Array:
        """[x_t, h_{t-1}].  (T,B,I), (T+1,B,S) -> (T,B,I+S)"""
        return concat_blocks(x, h[:-1])

    def vjp(self, params: Params, linearization_t: Array, dh_t: Array) -> tuple[Array, Array]:
        """(...,I+S), (...,S) -> (...,S), (...,S)"""
        return self.pull_back(self.row_functions.state_vjp, params, linearization_t, dh_t)

    def input_vjp(self, params: Params, linearization_t: Array, da_t: Array) -> Array:
        """(...,I+S), (...,S) -> (...,I)"""
        return self.pull_back(self.row_functions.input_vjp, params, linearization_t, da_t)[1]

    def pull_back(
        self, function: Callable[..., Array], params: Params, linearization_t: Array, dh_t: Array
    ) -> tuple[Array, Array]:
        """All rows, and the cotangents that share one, in a few calls; dh_t as broadcast, and what they give."""
        axes = np.broadcast_shapes(linearization_t.shape[:-1], dh_t.shape[:-1])
        dh_t = np.broadcast_to(dh_t, (*axes, self.state_size))
        shared = len(axes) - linearization_t.ndim + 1  # leading axes that the linearization does not have
        if axes[shared:] != linearization_t.shape[:-1]:
            linearization_t = np.broadcast_to(linearization_t, (*axes, linearization_t.shape[-1]))
            shared = 0
        x, h = self.split(rows(linearization_t))
        dh = dh_t.reshape(-1, len(h), self.state_size) if dh_t.size else dh_t.reshape(0, len(h), self.state_size)
        most = max(1, JACOBIAN_NUMBERS // max(1, len(dh) * self.state_size))
        found = [
            function(params, x[i : i + most], h[i : i + most], dh[:, i : i + most])
            for i in (range(0, len(h), most) if dh.size else ())
        ]
        width = found[0].shape[-1] if found else self.state_size
        pulled = np.concatenate(found, axis=1) if found else dh
        return dh_t, pulled.reshape(*axes, width)

    def split(self, linearization: Array) -> tuple[Array, Array]:
        """x_t and h_{t-1}.  (...,I+S) -> (...,I), (...,S)"""
        return linearization[..., : self.input_size], linearization[..., self.input_size :]

    def parameter_vjp(self, local: Local, da: Array) -> Params:
        found = self.row_functions.parameter_vjp(
            local.params, rows(local.x)[None], rows(local.h_prev)[None], rows(da)[None]
        )
        return {name: gradient[0] for name, gradient in found.items()}

    def parameter_vjp_each(self, local: Local, da: Array) -> Params:
        x, h, dh = (np.swapaxes(array, 0, 1) for array in (local.x, local.h_prev, da))
        return self.row_functions.parameter_vjp(local.params, x, h, dh)

    def immediate(self, local: Local, da: Array) -> Params:
        axes = da.shape[:-1]
        x, h = (np.broadcast_to(array, (*axes, array.shape[-1])) for array in (local.x, local.h_prev))
        found = self.row_functions.parameter_vjp(local.params, *(rows(array)[:, None] for array in (x, h, da)))
        return {name: gradient.reshape(*axes, *gradient.shape[1:]) for name, gradient in found.items()}

    def jacobian(self, params: Params, linearization_t: Array) -> Array:
        identity = identity_rows(self.state_size, linearization_t)
        return np.moveaxis(self.vjp(params, linearization_t, identity)[1], 0, -2)

    # ------------------------------------------------------------------ the readout

    def read_preactivations(self, params: Params, h_t: Array) -> Array:
        """(...,S) -> (...,O)"""
        if self.has_linear_readout:
            return super().read_preactivations(params, h_t) if self.output_size else h_t[..., :0]
        return self.row_functions.read(params, rows(h_t)).reshape(*h_t.shape[:-1], self.output_size)

    def readout_vjp(self, params: Params, h_t: Array, y_hat: Array, dy_hat: Array) -> tuple[Array, Array]:
        if self.has_linear_readout:
            return super().readout_vjp(params, h_t, y_hat, dy_hat)
        dh, _ = self.row_functions.read_vjp(params, rows(h_t), rows(dy_hat))
        return dy_hat, dh.reshape(h_t.shape)

    def read_gradient(self, params: Params, h_t: Array, da_y: Array) -> Params:
        if self.has_linear_readout:
            return super().read_gradient(params, h_t, da_y)
        return self.row_functions.read_vjp(params, rows(h_t), rows(da_y))[1]

    # ------------------------------------------------------------------ weights

    def check_scales(self, scales: Scales) -> None:
        """Refuses scales of weights that the module draws itself."""
        for name in ("V", "b", *(() if self.has_linear_readout else ("U",))):
            if getattr(scales, name) != getattr(Scales(), name):
                raise ConfigurationError(
                    f"scales.{name}={getattr(scales, name)}: would have no effect, for the cell '{self.name}' draws "
                    f"its own weights; must be {getattr(Scales(), name)}"
                )

    def describe_alternative(self) -> str:
        return ": its module draws its own weights"

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone: another process makes the functions itself."""
        return {known.name: getattr(self, known.name) for known in fields(self)}  # type: ignore[arg-type]  # a dataclass
