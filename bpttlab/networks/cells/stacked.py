"""Layers of another cell, one upon the other, within one step.

    s_t^1 = cell(x_t, s_{t-1}^1)          s_t^l = cell(h_t^{l-1}, s_{t-1}^l)          y_hat_t = f_y(U h_t^L + b_y)

s^l is the whole state of layer l (of an LSTM [h, c]), h^l the part of it that a readout sees. The state of the stack is
[s^1, ..., s^L], so that J_t is complete: block lower triangular, for layer l hears layer l-1 at the same t. The
parameters of layer l have its number behind their names: W_1, V_1, b_h_1, W_2, ...

Every derivative is the layers' own; here is only the chain rule from one to the next.

Index legend: T time, B sequence, I input, N hidden unit, S state of one layer, L layers; `...` any leading axes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any, ClassVar

import numpy as np

from bpttlab.fields import Field
from bpttlab.limits import MOST_LAYERS
from bpttlab.networks.activations import Activation
from bpttlab.networks.cells.cell import HIDDEN_SIZE, Cell, Local, Params, identity_rows, side_by_side_slices
from bpttlab.networks.cells.gating import concat_blocks
from bpttlab.networks.cells.input_scales import Scales
from bpttlab.networks.cells.wrapping import add_layer_number, settle_inner_cell
from bpttlab.networks.initializers import Initializer
from bpttlab.numerics.array import Array


@dataclass(frozen=True)
class Stacked(Cell):
    """Layers as in PyTorch's `num_layers` (Graves 2013, without his skips).

    Attributes:
        of: the sizes and the readout of a cell are replaced by the stack's, and only its own fields count.
    """

    name: ClassVar[str] = "stacked"
    wraps: ClassVar[bool] = True

    input_size: int
    hidden_size: Annotated[int, replace(HIDDEN_SIZE, description="N, hidden units of every layer")]
    output_size: int
    layers: Annotated[int, Field(ge=1, le=MOST_LAYERS, description="L, layers")] = 2
    of: Annotated[
        Cell | str,
        Field(description="cell of every layer, by its name; with fields of its own '{name: leaky, alpha: 0.3}'"),
    ] = "elman"
    output_activation: str = "identity"

    def __post_init__(self) -> None:
        super().__post_init__()
        settle_inner_cell(self)

    # ------------------------------------------------------------------ layers, and what belongs to each

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """The layers; all but the first have h of the one below as their input."""
        first: Any = self.of
        return (first, *[replace(first, input_size=self.hidden_size)] * (self.layers - 1))

    @cached_property
    def states(self) -> tuple[slice, ...]:
        """Where each layer's state is in the stack's."""
        return side_by_side_slices([cell.state_size for cell in self.cells])

    @cached_property
    def locals(self) -> tuple[slice, ...]:
        """Where each layer's pre-activations are."""
        return side_by_side_slices([cell.preactivation_size for cell in self.cells])

    @cached_property
    def slope_parts(self) -> tuple[tuple[slice, slice], ...]:
        """Where each layer's slopes are and, behind them, the h that the layer above hears (none of the last)."""
        widths = [cell.linearization_size for cell in self.cells]
        heard = [self.hidden_size] * (self.layers - 1) + [0]
        parts = side_by_side_slices([width for both in zip(widths, heard, strict=True) for width in both])
        return tuple(zip(parts[::2], parts[1::2], strict=True))

    def layer_params(self, params: Params, layer: int) -> Params:
        """The parameters of a layer, counted from 0, under the names that its cell knows.

        The readout's have no number and belong to no layer.
        """
        end = f"_{layer + 1}"
        return {name.removesuffix(end): values for name, values in params.items() if name.endswith(end)}

    # ------------------------------------------------------------------ the recurrence

    def project(self, params: Params, x: Array) -> Array:
        """Of the first layer, for every t at once; the others wait for the layer below.  (T,B,I) -> (T,B,any)"""
        return self.cells[0].project(self.layer_params(params, 0), x)

    def step(self, params: Params, z_t: Array, h_prev: Array) -> Array:
        """Upwards through the layers.  (B,any), (B,LS) -> (B,LS)"""
        below: list[Array] = []
        for layer, (cell, state) in enumerate(zip(self.cells, self.states, strict=True)):
            own = self.layer_params(params, layer)
            if below:
                z_t = cell.project(own, below[-1][..., cell.readout_slice])
            below.append(cell.step(own, z_t, h_prev[..., state]))
        return concat_blocks(*below)

    def activation_inputs(self, params: Params, x: Array, h: Array) -> list[tuple[Activation, Array]]:
        """The activations of all layers with their inputs."""
        found: list[tuple[Activation, Array]] = []
        for layer, (cell, state) in enumerate(zip(self.cells, self.states, strict=True)):
            found += cell.activation_inputs(self.layer_params(params, layer), x, h[..., state])
            x = h[1:, :, state][..., cell.readout_slice]
        return found

    def linearize(self, params: Params, x: Array, h: Array) -> Array:
        """[slopes of layer 1, h_t^1, slopes of layer 2, h_t^2, ..., slopes of layer L].

        (T,B,I), (T+1,B,LS) -> (T,B,any)
        """
        parts: list[Array] = []
        for layer, (cell, state) in enumerate(zip(self.cells, self.states, strict=True)):
            parts.append(cell.linearize(self.layer_params(params, layer), x, h[..., state]))
            if layer + 1 < self.layers:
                x = h[1:, :, state][..., cell.readout_slice]
                parts.append(x)
        return concat_blocks(*parts)

    def vjp(self, params: Params, linearization_t: Array, dh_t: Array) -> tuple[Array, Array]:
        """Downwards: what a layer's input receives is added to h_t of the layer below.  (...,any), (...,LS) -> both"""
        da: list[Array] = []
        dh_prev: list[Array] = []
        heard: Array | None = None
        for layer in reversed(range(self.layers)):
            cell, own, slope = (
                self.cells[layer],
                self.layer_params(params, layer),
                linearization_t[..., self.slope_parts[layer][0]],
            )
            ds = dh_t[..., self.states[layer]]
            if heard is not None:
                ds = ds.copy()
                ds[..., cell.readout_slice] += heard
            da_l, ds_prev = cell.vjp(own, slope, ds)
            heard = cell.input_vjp(own, slope, da_l) if layer else None
            da.append(da_l)
            dh_prev.append(ds_prev)
        return concat_blocks(*reversed(da)), concat_blocks(*reversed(dh_prev))

    def input_vjp(self, params: Params, linearization_t: Array, da_t: Array) -> Array:
        """The first layer's.  (...,any), (...,A) -> (...,I)"""
        slope, da = linearization_t[..., self.slope_parts[0][0]], da_t[..., self.locals[0]]
        return self.cells[0].input_vjp(self.layer_params(params, 0), slope, da)

    def parameter_vjp(self, local: Local, da: Array) -> Params:
        gradients: Params = {}
        x = local.x
        for layer, (cell, state, part) in enumerate(zip(self.cells, self.states, self.locals, strict=True)):
            slopes, heard = self.slope_parts[layer]
            weights = self.layer_params(local.params, layer)
            of_layer = Local(x, local.h_prev[..., state], local.linearization[..., slopes], weights)
            gradients |= add_layer_number(cell.parameter_vjp(of_layer, da[..., part]), layer)
            x = local.linearization[..., heard]
        return gradients

    def jacobian(self, params: Params, linearization_t: Array) -> Array:
        """J_t of all layers: the row of layer l is (ds_t^l/dh_t^{l-1}) times that of layer l-1, and its own block.

        (...,any) -> (...,LS,LS)
        """
        size = self.state_size
        J = np.zeros((*linearization_t.shape[:-1], size, size), linearization_t.dtype)
        for layer, (cell, state) in enumerate(zip(self.cells, self.states, strict=True)):
            own, slope = self.layer_params(params, layer), linearization_t[..., self.slope_parts[layer][0]]
            J[..., state, state] = cell.jacobian(own, slope)
            if layer:
                heard = J[..., self.states[layer - 1], : state.start][..., cell.readout_slice, :]
                J[..., state, : state.start] = _input_jacobian(cell, own, slope) @ heard
        return J

    # ------------------------------------------------------------------ weights

    @property
    def takes_initializer(self) -> bool:
        return self.cells[0].takes_initializer

    def check_initializer(self, initializer: Initializer) -> None:
        self.cells[0].check_initializer(initializer)

    def draw(self, rng: np.random.Generator, initializer: Initializer, scales: Scales) -> Params:
        """Each layer from a stream of its own; the first is drawn as if it were alone, whatever comes above it."""
        params = add_layer_number(self.cells[0].draw(rng, initializer, scales), 0)
        for layer, stream in enumerate(rng.spawn(self.layers - 1), start=1):
            params |= add_layer_number(self.cells[layer].draw(stream, initializer, scales), layer)
        return params

    def initial_states(self, drawn: Array) -> Array:
        pairs = zip(self.cells, self.states, strict=True)
        return concat_blocks(*(cell.initial_states(drawn[..., state]) for cell, state in pairs))

    def probe_states(self, drawn: Array) -> Array:
        pairs = zip(self.cells, self.states, strict=True)
        return concat_blocks(*(cell.probe_states(drawn[..., state]) for cell, state in pairs))

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {
            name: shape
            for layer, cell in enumerate(self.cells)
            for name, shape in add_layer_number(cell.shapes(), layer).items()
        }

    @property
    def recurrent_parameters(self) -> tuple[str, ...]:
        names = self.cells[0].recurrent_parameters
        return tuple(f"{name}_{layer + 1}" for layer in range(self.layers) for name in names)

    @property
    def lipschitz(self) -> float | None:
        """Of one layer its own; of more none is known that is a multiple of ||W_1||."""
        return self.cells[0].lipschitz if self.layers == 1 else None

    def recurrent_blocks(self, params: Params) -> dict[str, Array]:
        """Those of each layer, the first layer's first."""
        blocks: dict[str, Array] = {}
        for layer, cell in enumerate(self.cells):
            blocks |= add_layer_number(cell.recurrent_blocks(self.layer_params(params, layer)), layer)
        return blocks

    @property
    def units(self) -> Array:
        """Those of each layer, numbered on from those of the layer below."""
        units = self.cells[0].units
        return np.concatenate([units + layer * (int(units.max()) + 1) for layer in range(self.layers)])

    @property
    def preactivation_size(self) -> int:
        return self.locals[-1].stop

    @property
    def readout_slice(self) -> slice:
        """h of the last layer."""
        cell, start = self.cells[-1], self.states[-1].start
        first, end, _ = cell.readout_slice.indices(cell.state_size)
        return slice(start + first, start + end)

    @property
    def state_parts(self) -> dict[str, int]:
        """Those of each layer, with its number: h_1, c_1, h_2, ..."""
        return {
            name: size
            for layer, cell in enumerate(self.cells)
            for name, size in add_layer_number(cell.state_parts, layer).items()
        }

    # ------------------------------------------------------------------ constraints, layer by layer

    def unconstrain(self, params: Params) -> Params:
        return self.call_each(Cell.unconstrain.__name__, params)

    def constrain(self, free: Params) -> Params:
        return self.call_each(Cell.constrain.__name__, free)

    def constraint_vjp(self, free: Params, gradient: Params) -> Params:
        return self.call_each(Cell.constraint_vjp.__name__, free, gradient)

    def call_each(self, method: str, *arguments: Params) -> Params:
        """Calls a method of every layer with its part of the arguments; returns arguments of no layer as they are."""
        found: Params = {}
        for layer, cell in enumerate(self.cells):
            found |= add_layer_number(
                getattr(cell, method)(*(self.layer_params(one, layer) for one in arguments)), layer
            )
        ends = tuple(f"_{layer + 1}" for layer in range(self.layers))
        return found | {name: values for name, values in arguments[-1].items() if not name.endswith(ends)}


def _input_jacobian(cell: Cell, params: Params, linearization_t: Array) -> Array:
    """ds_t/dx_t, row by row what `vjp` and `input_vjp` make of the identity.  (...,any) -> (...,S,I)"""
    da, _ = cell.vjp(params, linearization_t, identity_rows(cell.state_size, linearization_t))
    return np.moveaxis(cell.input_vjp(params, linearization_t, da), 0, -2)
