"""W with a stated structure: where its connections are, and which sign those of a unit have.

W[n, m] is the weight from unit m to unit n. Index legend: N units; n receives, m sends.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from bpttlab import user_files
from bpttlab.errors import ConfigurationError, LabError
from bpttlab.fields import Field, Plain
from bpttlab.networks.initializers.initializer import Initializer, SpectralRadius
from bpttlab.networks.initializers.matrix_file import (
    ArrayName,
    check_matrix_size,
    load_matrix,
    settled_fields,
    unchanged_matrix,
)
from bpttlab.networks.initializers.rescaling import divide_by_radius
from bpttlab.numerics import matrices
from bpttlab.numerics.array import Array

_OF_TOPOLOGY: dict[str, dict[str, Any]] = {
    "dense": {},
    "sparse": {"density": 0.1},
    "ring": {"neighbours": 1},
    "small_world": {"neighbours": 2, "rewiring": 0.1},
    "file": {"path": None, "array": None, "content": None},
}
"""The fields that a topology has, with their defaults."""


@dataclass(frozen=True)
class Structured(Initializer):
    """Connections and signs of your choice at an exact spectral radius: a ring, a small world, a file's zeros; Dale's
    law.

    The topologies say which entries are not zero:

        dense         all
        sparse        of each row `density` x N, anywhere, the diagonal included
        ring          each unit receives from the `neighbours` units before it
        small_world   each unit receives from `neighbours` units on either side; each of these connections is replaced,
                      with the probability `rewiring`, by one from any other unit (Watts & Strogatz 1998, directed)
        file          those that are not zero in the matrix of a file, whose values do not count

    With `excitatory`, all weights that a unit sends have one sign (Dale's law; Song, Yang & Wang 2016): the columns of
    the first `excitatory` x N units (rounded, a half upwards) are positive, all others negative. Weights of inhibitory
    units are larger by the factor balance x (excitatory units / inhibitory units), so that at balance 1 the expected
    sum of all weights is zero.

    Exact: the spectral radius, to the rounding of the eigenvalues; the number of connections of each row, the zeros and
    the signs. Scatters: the rest. A draw without a loop, whose eigenvalues are all zero, is refused. Draws of one
    generator have the same weights where they have a connection, up to the sign and the scale.

    Source: simple cycle reservoirs (topology ring, weights equal), Rodan & Tino 2011.
    """

    name: ClassVar[str] = "structured"
    target: ClassVar[str] = "spectral_radius"
    has_spectral_radius: ClassVar[bool] = True

    spectral_radius: SpectralRadius = 1.0
    topology: Annotated[
        Literal["dense", "sparse", "ring", "small_world", "file"], Field(description="which entries are not zero")
    ] = "dense"
    weights: Annotated[
        Literal["gaussian", "equal"], Field(description="of the connections; equal: all 1, before signs and scaling")
    ] = "gaussian"
    excitatory: Annotated[
        float | None,
        Field(ge=0, le=1, description="share of units whose weights are positive, others' negative; null: any sign"),
    ] = None
    balance: Annotated[
        float | None,
        Field(gt=0, description="expected sum of inhibitory over that of excitatory weights; null: 1, with excitatory"),
    ] = None
    density: Annotated[
        float | None,
        Field(gt=0, le=1, description="of sparse, share of units that each receives from; null: 0.1"),
    ] = None
    neighbours: Annotated[
        int | None,
        Field(ge=1, description="of ring, units before each; null: 1; of small_world, on either side; null: 2"),
    ] = None
    rewiring: Annotated[
        float | None, Field(ge=0, le=1, description="of small_world, probability of a connection; null: 0.1")
    ] = None
    path: Annotated[
        str | None, Field(description="of file, required: .npz, .npy, .safetensors or .csv, from the current folder")
    ] = field(default=None, compare=False)
    array: ArrayName = None
    content: user_files.Content = None

    def __post_init__(self) -> None:
        super().__post_init__()
        own = _OF_TOPOLOGY[self.topology]
        for name in {name for fields in _OF_TOPOLOGY.values() for name in fields} - set(own):
            if getattr(self, name) is not None:
                self.refuse_field(name)
        self.settle({name: default for name, default in own.items() if getattr(self, name) is None})
        self.settle_balance()
        if self.topology == "file":
            self.settle(settled_fields(self.path or "", load_matrix(self.path or "", self.array, self.content)))

    def settle(self, values: Plain) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def refuse_field(self, name: str) -> None:
        owners = " and ".join(topology for topology, fields in _OF_TOPOLOGY.items() if name in fields)
        raise ConfigurationError(
            f"initializer.{name}={getattr(self, name)!r}: belongs to the topology {owners}, and initializer.topology "
            f"is {self.topology}; must be null"
        )

    def settle_balance(self) -> None:
        """There is a balance where there are units of both kinds."""
        both = self.excitatory is not None and 0 < self.excitatory < 1
        if self.balance is not None and not both:
            raise ConfigurationError(
                f"initializer.balance={self.balance}: needs units of both signs, and initializer.excitatory is "
                f"{'null' if self.excitatory is None else self.excitatory}; must be null"
            )
        self.settle({"balance": 1.0} if both and self.balance is None else {})

    # ------------------------------------------------------------------ sizes

    def check_units(self, size: int) -> None:
        if self.topology == "file":
            check_matrix_size(self.path or "", self.matrix, size)
        if self.connections(size) < 1:
            raise ConfigurationError(
                f"initializer.density={self.density}: of {size} hidden units it leaves each with no connection at all; "
                f"must be at least {1 / size:.3g} (one connection)"
            )
        most = size if self.topology == "ring" else (size - 1) // 2
        if self.neighbours is not None and self.neighbours > most:
            raise ConfigurationError(
                f"initializer.neighbours={self.neighbours}: of {size} hidden units a {self.topology} has at most {most}"
            )
        if self.excitatory is not None and 0 < self.excitatory < 1 and self.excitatory_units(size) in (0, size):
            raise ConfigurationError(
                f"initializer.excitatory={self.excitatory}: of {size} hidden units it leaves none of one sign; must be "
                f"from {1 / size:.3g} to {1 - 1 / size:.3g}, or 0 or 1"
            )

    def connections(self, size: int) -> int:
        """How many entries of each row are not zero; of a file N."""
        if self.neighbours is not None:
            return self.neighbours * (1 if self.topology == "ring" else 2)
        return size if self.density is None else math.floor(self.density * size + 0.5)

    def excitatory_units(self, size: int) -> int:
        """How many columns are positive."""
        return math.floor((self.excitatory or 0.0) * size + 0.5)

    @property
    def matrix(self) -> Any:
        """That of the file."""
        return unchanged_matrix(self.path or "", self.array, self.content)

    # ------------------------------------------------------------------ the draw

    def draw_unscaled(self, rng: np.random.Generator, size: int) -> Array:
        for_weights, for_places = rng.spawn(2)
        drawn = for_weights.standard_normal((size, size))
        weights = np.ones((size, size)) if self.weights == "equal" else drawn
        signed = weights if self.excitatory is None else np.abs(weights) * self.column_factors(size)
        try:
            return divide_by_radius(np.where(self.draw_places(for_places, size), signed, 0.0), "the draw")
        except ConfigurationError as error:
            raise LabError(f"initializer.topology={self.topology}: {error}; change topology, balance or seed") from None

    def column_factors(self, size: int) -> Array:
        """+1 of excitatory units; of inhibitory ones minus the factor that balances them.  (N,)"""
        positive = self.excitatory_units(size)
        negative = size - positive
        ratio = 1.0 if self.balance is None else self.balance * positive / negative
        return np.concatenate([np.ones(positive), np.full(negative, -ratio)])

    def draw_places(self, rng: np.random.Generator, size: int) -> Array:
        """Which entries are not zero.  bool (N,N)"""
        if self.topology == "file":
            return np.asarray(self.matrix.W != 0)
        order = rng.random((size, size)).argsort(axis=1)  # of each row
        if self.topology == "small_world":
            return self.rewire(rng, order)
        places = np.zeros((size, size), bool)
        if self.topology == "ring":
            columns = np.arange(size)[:, None] - np.arange(1, self.connections(size) + 1)
            np.put_along_axis(places, columns % size, True, axis=1)
        else:
            np.put_along_axis(places, order[:, : self.connections(size)], True, axis=1)
        return places

    def rewire(self, rng: np.random.Generator, order: Array) -> Array:
        """A ring of which some connections come from elsewhere.

        Args:
            order: of each row, a permutation of the units: in this order they take the place of others.
        """
        size, k = len(order), self.connections(len(order)) // 2
        places = np.zeros((size, size), bool)
        replaced = rng.random((size, 2 * k)) < float(self.rewiring or 0.0)
        for n in range(size):
            near = (n + np.concatenate([np.arange(-k, 0), np.arange(1, k + 1)])) % size
            kept = near[~replaced[n]]
            free = order[n][~np.isin(order[n], [n, *kept])]
            places[n, kept] = places[n, free[: 2 * k - len(kept)]] = True
        return places

    def measure_realized(self, W: Array) -> float:
        return matrices.spectral_radius(W)

    def identity_fields(self) -> Plain:
        """All but where a file is."""
        return {name: value for name, value in asdict(self).items() if name != "path"}
