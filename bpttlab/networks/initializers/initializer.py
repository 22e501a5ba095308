"""The contract of an initializer: a recurrent matrix W (N, N) with a stated property.

A spectral radius, a gain and a scale are different things: a Gaussian matrix of gain 1 has a largest singular value
near 2, and a spectral radius near 1 that differs from draw to draw. So each initializer names the one quantity that it
sets (`target`), and `measure_realized` measures it on the matrix drawn.

Every draw is W = requested x W_0, with the same W_0 from the same generator for every requested value: networks of one
seed along a sweep of spectral radii differ only by the factor.

A new initializer is one more class in this folder; it is found by its `name`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any, ClassVar

import numpy as np

from bpttlab import plugins
from bpttlab.errors import ConfigurationError, nearest
from bpttlab.fields import Field, Plain, check_integer, real_number, settle_fields
from bpttlab.numerics import matrices
from bpttlab.numerics.array import Array
from bpttlab.numerics.random_streams import Rng, check_generator

SpectralRadius = Annotated[
    float,
    Field(ge=0, configured=None, description="largest |eigenvalue| of W; null: the value spectral_radius, or else 1"),
]


@dataclass(frozen=True)
class Initializer(ABC):
    """A distribution of recurrent matrices.

    Attributes:
        name: what configurations call it.
        target: its field, the quantity that it states; finite and >= 0, where 0 gives W = 0.
        has_spectral_radius: whether the target is every draw's spectral radius, so that `spectral_radius=` may set it.
        draws: whether there is a draw at all, and a target.
        independent_entries: whether entries are independent, of mean 0 and one variance (a common factor apart).
    """

    name: ClassVar[str]
    target: ClassVar[str]
    has_spectral_radius: ClassVar[bool]
    draws: ClassVar[bool] = True
    independent_entries: ClassVar[bool] = False

    def __post_init__(self) -> None:
        settle_fields(self, "initializer.{}")

    @property
    def requested(self) -> float:
        """The value requested of the target."""
        return float(getattr(self, self.target))

    def sample(self, rng: Rng, size: int) -> Array:
        """W = requested x W_0, float64 (size, size).

        Raises:
            ConfigurationError: see `check_size`.
            LabError: the draw cannot have what is requested of it.
        """
        self.check_size(size)
        return self.requested * self.draw_unscaled(check_generator(rng), check_integer("size", size, 1))

    def check_size(self, size: int) -> None:
        """Refuses a number of hidden units for which nothing can be drawn, before anything is computed."""
        self.check_units(check_integer("size", size, 1))

    def check_units(self, size: int) -> None:  # noqa: B027  # most initializers can do with any number
        """What an initializer demands of the number of units beyond its being one."""

    @abstractmethod
    def draw_unscaled(self, rng: np.random.Generator, size: int) -> Array:
        """W_0: a draw for an requested value of 1."""

    @abstractmethod
    def measure_realized(self, W: Array) -> float:
        """The target as measured on a matrix."""

    def identity_fields(self) -> Plain:
        """What a run's identity has of it; of what is in a file its content, and not where it is."""
        return asdict(self)


@dataclass(frozen=True)
class NoInitializer(Initializer):
    """Nothing is drawn and nothing requested: for a recurrence that comes from a file, or has a law of its own."""

    name: ClassVar[str] = "none"
    target: ClassVar[str] = ""
    has_spectral_radius: ClassVar[bool] = False
    draws: ClassVar[bool] = False

    def check_units(self, size: int) -> None:
        raise ConfigurationError(
            f"initializer='none': this cell's W has to be drawn; must be one of {names_that_draw()}"
        )

    def draw_unscaled(self, rng: np.random.Generator, size: int) -> Array:
        raise NotImplementedError("check_units refuses every size")

    def measure_realized(self, W: Array) -> float:
        return matrices.spectral_radius(W)


def names_that_draw() -> str:
    """The names of the initializers that draw something."""
    return ", ".join(name for name, kind in plugins.available("initializer").items() if kind.draws)


def from_fields(name: str, values: Mapping[str, Any], spectral_radius: float | None = None) -> Initializer:
    """The initializer that a configuration describes.

    Args:
        name: which one.
        values: its own fields; None, or a field left out, means not given.
        spectral_radius: the shortcut that a sweep uses whatever the initializer: it sets the target of those that have
            an exact spectral radius. With neither the field nor the shortcut given, the target is 1.

    Raises:
        ConfigurationError: an unknown name or field, a value out of range, a shortcut for an initializer whose spectral
            radius scatters, or a shortcut that contradicts the field.
    """
    kind: type[Initializer] = plugins.find("initializer", name)
    given = {field: value for field, value in values.items() if value is not None}
    refuse_unknown_fields(kind, given)
    stated = kind(**given)
    if spectral_radius is None:
        return stated
    radius = non_negative("spectral_radius", spectral_radius)
    if not kind.draws:
        raise ConfigurationError(f"spectral_radius={radius}: initializer '{name}' draws nothing; leave it out")
    if not kind.has_spectral_radius:
        raise ConfigurationError(
            f"spectral_radius={radius}: initializer '{name}' states a {kind.target}, its spectral radius scatters; "
            f"set initializer.{kind.target} or choose one of {', '.join(with_spectral_radius())}"
        )
    if kind.target in given and stated.requested != radius:
        raise ConfigurationError(
            f"spectral_radius={radius}: contradicts initializer.{kind.target}={stated.requested}; give one of the two"
        )
    return kind(**{**given, kind.target: radius})


def with_spectral_radius() -> list[str]:
    """The names of the initializers that `spectral_radius=` may set."""
    return [name for name, kind in plugins.available("initializer").items() if kind.has_spectral_radius]


def refuse_unknown_fields(kind: type[Initializer], given: Mapping[str, Any]) -> None:
    """Raises the error that names the first field that this initializer lacks, and the nearest that it has."""
    known = [field.name for field in fields(kind)]
    for field, value in given.items():
        if field not in known:
            raise ConfigurationError(
                f"initializer.{field}={value!r}: '{kind.name}' has only {', '.join(known)}.{nearest(field, known)}"
            )


def non_negative(field: str, value: object) -> float:
    """The value as a float, or the error that names its field."""
    return real_number(field, value, "a finite number >= 0", lambda number: 0 <= number < math.inf)
