"""The numbers that an optimizer moves, as one vector: few calls of NumPy do what many for single arrays would."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np

from bpttlab.errors import ConfigurationError, nearest
from bpttlab.networks.cells.cell import Cell, Params
from bpttlab.numerics.array import Array
from bpttlab.training.clipping import SAFE_SQUARES, global_norm


@dataclass(frozen=True)
class VectorLayout:
    """Where each moved parameter stands in the vector, and how a cell's parameters follow from it.

    Attributes:
        cell: whose constraint makes the parameters from free numbers.
        shapes: of what is moved, by name, in the order of the vector.
        kept: free numbers that stay as they are.
        constrained: whether free numbers are others than the parameters.
    """

    cell: Cell
    shapes: dict[str, tuple[int, ...]]
    kept: Params
    constrained: bool

    @classmethod
    def of(cls, cell: Cell, params: Params, frozen: Collection[str] = ()) -> tuple[VectorLayout, Array]:
        """The layout of a network, and its vector.

        Args:
            frozen: names of free numbers that are to stay as they are.

        Raises:
            ConfigurationError: there is no such parameter, or nothing is left to move.
        """
        constrained = type(cell).constraint_vjp is not Cell.constraint_vjp
        free = cell.unconstrain(params)
        for name in frozen:
            if name not in free:
                raise ConfigurationError(
                    f"frozen: {name!r} is no parameter; there are {', '.join(free)}.{nearest(name, free)}"
                )
        moved = set(cell.constraint_vjp(free, params)) if constrained else set(free)
        shapes = {name: value.shape for name, value in free.items() if name in moved and name not in frozen}
        if not any(np.prod(shape) for shape in shapes.values()):
            raise ConfigurationError(f"frozen={', '.join(frozen)}: leaves no parameter to train")
        kept = {name: value for name, value in free.items() if name not in shapes}
        layout = cls(cell, shapes, kept, constrained)
        return layout, layout.pack(free)

    @cached_property
    def ends(self) -> list[int]:
        """Where each parameter ends in the vector."""
        return list(accumulate(int(np.prod(shape, dtype=int)) for shape in self.shapes.values()))

    def pack(self, arrays: Params) -> Array:
        """Arrays by name as one vector."""
        return np.concatenate([arrays[name].ravel() for name in self.shapes])

    def log_norms(self, vector: Array) -> dict[str, float]:
        """Log of the Euclidean norm of each parameter's part."""
        with np.errstate(over="ignore", under="ignore"):
            squares = np.add.reduceat(vector.astype(np.float64, copy=False) ** 2, [0, *self.ends[:-1]])
        if squares.min() > SAFE_SQUARES[0] and squares.max() < SAFE_SQUARES[1]:
            return dict(zip(self.shapes, (0.5 * np.log(squares)).tolist(), strict=True))
        return {name: global_norm({name: value}).log for name, value in self.unpack(vector).items()}

    def unpack(self, vector: Array) -> Params:
        """Views of a vector, in the shapes of the parameters."""
        found, start = {}, 0
        for (name, shape), end in zip(self.shapes.items(), self.ends, strict=True):
            found[name] = vector[start:end].reshape(shape)
            start = end
        return found

    def free(self, vector: Array) -> Params:
        """All free numbers."""
        return {**self.kept, **self.unpack(vector)}

    def params(self, vector: Array) -> Params:
        """The parameters of the cell."""
        return self.cell.constrain(self.free(vector)) if self.constrained else self.free(vector)

    def pull_back(self, vector: Array, gradient: Params) -> Array:
        """dL/dvector from dL/dparams."""
        return self.pack(self.cell.constraint_vjp(self.free(vector), gradient) if self.constrained else gradient)
