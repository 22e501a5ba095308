"""The common part of cells around another cell: the cell itself, where its numbers are, and its state.

A cell around another one has it as its field `of`. A name is enough: sizes and readout are those of the whole.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

from bpttlab import plugins
from bpttlab.errors import ConfigurationError
from bpttlab.networks.cells.cell import Cell, Params
from bpttlab.numerics.array import Array


class Wrapping(Cell):
    """A cell whose state is that of the one cell within it."""

    wraps: ClassVar[bool] = True

    of: Any

    @cached_property
    def inner(self) -> Cell:
        """The cell within."""
        inner: Cell = self.of
        return inner

    @property
    def state_parts(self) -> dict[str, int]:
        return self.inner.state_parts

    @property
    def readout_slice(self) -> slice:
        return self.inner.readout_slice

    @property
    def units(self) -> Array:
        return self.inner.units

    def initial_states(self, drawn: Array) -> Array:
        return self.inner.initial_states(drawn)

    def probe_states(self, drawn: Array) -> Array:
        return self.inner.probe_states(drawn)

    def recurrent_blocks(self, params: Params) -> dict[str, Array]:
        return self.inner.recurrent_blocks(params)


# ------------------------------------------------------------------------------------------ the cell within


def settle_inner_cell(cell: Any) -> None:
    """Gives a cell that is made of another one that cell, with the sizes and the readout of the whole, as `of`."""
    sizes = (cell.input_size, cell.hidden_size, cell.output_size)
    inner: Any = cell.of
    if isinstance(inner, str):
        inner = layer_kind(inner)(*sizes, output_activation=cell.output_activation)  # type: ignore[call-arg]
    check_layer(type(inner))
    own = dict(zip(("input_size", "hidden_size", "output_size"), sizes, strict=True))
    object.__setattr__(cell, "of", replace(inner, **own, output_activation=cell.output_activation))


def layer_kind(name: str) -> type[Cell]:
    """The cell of that name, if another one can be made of it.

    Raises:
        ConfigurationError: there is none, or it is made of another one itself; the message lists those there are.
    """
    kind: type[Cell] = plugins.find("cell", name, "cell.of")
    check_layer(kind)
    return kind


def check_layer(kind: type[Cell]) -> None:
    if kind.name == "stacked":
        raise ConfigurationError(f"cell.of={kind.name!r}: a layer cannot be a stack itself; ask for more cell.layers")
    if kind.wraps:
        raise ConfigurationError(f"cell.of={kind.name!r}: is made of another cell itself; must be a cell that is not")


# ------------------------------------------------------------------------------------------ numbers of several cells


def add_layer_number(named: dict[str, Any], layer: int) -> dict[str, Any]:
    """W, V, ... of a layer as W_1, V_1, ..."""
    return {f"{name}_{layer + 1}": values for name, values in named.items()}
