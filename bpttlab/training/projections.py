"""Projections after an optimizer step: what a recurrent matrix is replaced by where it leaves a set.

    projection(cell, params)          the parameters, with each (N, N) block that acts on h_{t-1} projected by itself

A projection is found by its name (`plugins.find("projection", name)`). Where nothing has to change, the array is the
one that was given.

Index legend: N hidden units.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from bpttlab.errors import ConfigurationError
from bpttlab.fields import Field, settle_fields
from bpttlab.networks.cells.cell import Cell, Params
from bpttlab.numerics.array import Array
from bpttlab.numerics.matrices import spectral_radius, square

SLACK = 64
"""Roundings by which a number may miss its bound, relative to it, so that a second projection changes nothing."""


class Projection(ABC):
    """What is done to the recurrent matrices after an optimizer step; subclasses are frozen dataclasses and final."""

    name: ClassVar[str]

    def __post_init__(self) -> None:
        settle_fields(self, "projection.{}")

    @abstractmethod
    def matrix(self, W: Array, slack: float) -> Array:
        """The matrix in place of W, float64; W itself where it may stay.  (N,N) -> (N,N)

        Args:
            slack: how far a number may be off its bound, relative to it, and count as on it: roundings of the dtype of
                the parameter.
        """

    def check(self, cell: Cell) -> None:
        """Refuses a cell without a matrix (N, N) that acts on h_{t-1}, or with a constraint on it, by name."""
        if not cell.block_counts():
            raise ConfigurationError(f"projection={self.name}: cell={cell.name} has no matrix W to project")
        if type(cell).constrain is not Cell.constrain:
            raise ConfigurationError(f"projection={self.name}: cell={cell.name} has a constraint on W of its own")

    def __call__(self, cell: Cell, params: Params) -> Params:
        """The parameters after the projection; arrays that are not changed are those that were given.

        Raises:
            ConfigurationError: the cell has no such matrix, or a constraint of its own.
            NonFiniteError: a matrix has an entry that is not finite.
        """
        self.check(cell)
        blocks = {name: np.split(params[name], count) for name, count in cell.block_counts().items()}
        projected = {name: [self.block(W) for W in parts] for name, parts in blocks.items()}
        changed = {
            name: np.concatenate(parts)
            for name, parts in projected.items()
            if any(new is not old for new, old in zip(parts, blocks[name], strict=True))
        }
        return {**params, **changed}

    def block(self, W: Array) -> Array:
        """`matrix` of a block in its own dtype."""
        wide = square(W)
        found = self.matrix(wide, SLACK * float(np.finfo(W.dtype).eps))
        return W if found is wide else found.astype(W.dtype)


@dataclass(frozen=True)
class SpectralRadiusBound(Projection):
    """W times bound/rho where the spectral radius is above the bound.

    The spectral radius is then the bound. It is not the nearest such matrix, which has no closed form.
    """

    name: ClassVar[str] = "spectral_radius"

    bound: Annotated[float, Field(gt=0, description="the largest spectral radius")] = 1.0

    def matrix(self, W: Array, slack: float) -> Array:
        rho = spectral_radius(W)
        return W if rho <= self.bound * (1.0 + slack) else W * (self.bound / rho)


@dataclass(frozen=True)
class SingularValueBound(Projection):
    """Singular values above the bound become the bound: the nearest such matrix in the Frobenius norm."""

    name: ClassVar[str] = "singular_values"

    bound: Annotated[float, Field(gt=0, description="the largest singular value")] = 1.0

    def matrix(self, W: Array, slack: float) -> Array:
        left, sizes, right = np.linalg.svd(W)
        if sizes[0] <= self.bound * (1.0 + slack):
            return W
        return (left * np.minimum(sizes, self.bound)) @ right


@dataclass(frozen=True)
class NearestOrthogonal(Projection):
    """The nearest orthogonal matrix in the Frobenius norm: the orthogonal polar factor, L R^T of W = L S R^T.

    Of a singular W several are equally near, and one of them is taken.
    """

    name: ClassVar[str] = "orthogonal"

    def matrix(self, W: Array, slack: float) -> Array:
        left, sizes, right = np.linalg.svd(W)
        return W if np.abs(sizes - 1.0).max() <= slack else left @ right
