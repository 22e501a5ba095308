"""Recurrent matrices W (N, N) with a stated property, each saying what is exact in a draw and what scatters.

A spectral radius, a gain and a scale are different things: a Gaussian matrix of gain 1 has a largest singular value
near 2, and a spectral radius near 1 that differs from draw to draw. So each initializer names the one quantity that it
sets (`target`), and `got` measures it on the matrix drawn.

Every draw is W = asked x W_0, with the same W_0 from the same generator whatever is asked: networks of one seed along a
sweep of spectral radii differ by nothing but the factor.

A new initializer is one more class here; it is found by its `name`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np

from bpttlab import matrices
from bpttlab.errors import ConfigurationError, LabError, nearest

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Initializer(ABC):
    """A distribution of recurrent matrices.

    Attributes:
        name: what configurations call it.
        target: its field, the quantity that it states; finite and >= 0, where 0 gives W = 0.
        has_spectral_radius: whether the target is every draw's spectral radius, so that `spectral_radius=` may set it.
    """

    name: ClassVar[str]
    target: ClassVar[str]
    has_spectral_radius: ClassVar[bool]

    def __post_init__(self) -> None:
        object.__setattr__(self, self.target, non_negative(f"initializer.{self.target}", getattr(self, self.target)))

    @property
    def asked(self) -> float:
        """The value asked of the target."""
        return float(getattr(self, self.target))

    def sample(self, rng: np.random.Generator, size: int) -> Array:
        """W = asked x W_0, float64 (size, size)."""
        if isinstance(size, bool) or not isinstance(size, Integral) or size < 1:
            raise ConfigurationError(f"size={size!r}: must be a whole number >= 1")
        return self.asked * self.unscaled(rng, int(size))

    @abstractmethod
    def unscaled(self, rng: np.random.Generator, size: int) -> Array:
        """W_0: a draw for an asked value of 1."""

    @abstractmethod
    def got(self, W: Array) -> float:
        """The target as measured on a matrix."""


@dataclass(frozen=True)
class Gaussian(Initializer):
    """Independent entries from N(0, gain^2 / N).

    Exact: the distribution. Scatters: everything of a draw. The measured gain ||W||_F / sqrt(N) has a relative standard
    deviation of 1 / (sqrt(2) N); the spectral radius tends to the gain (circular law, Ginibre 1965), but slowly: at
    gain 1 it is 1.06 +- 0.05 at N = 64 and 1.04 +- 0.02 at N = 256; the largest singular value tends to 2 x gain.

    Source: gain 1 is the variance 2 / (fan in + fan out) of Glorot & Bengio 2010; the gain g is that of Sompolinsky,
    Crisanti & Sommers 1988.
    """

    name: ClassVar[str] = "gaussian"
    target: ClassVar[str] = "gain"
    has_spectral_radius: ClassVar[bool] = False
    gain: float = 1.0

    def unscaled(self, rng: np.random.Generator, size: int) -> Array:
        return rng.standard_normal((size, size)) / math.sqrt(size)

    def got(self, W: Array) -> float:
        return matrices.gain(W)


@dataclass(frozen=True)
class GaussianRadius(Initializer):
    """A Gaussian draw divided by its own measured spectral radius, times `spectral_radius`.

    Exact, to the rounding of the eigenvalues: the spectral radius of every draw. Scatters: the gain, as the radius of
    the unscaled draw does (at N = 64 it is 5 +- 5 % below the spectral radius), and with it the largest
    singular value, near 2 x gain. Rescaling to a spectral radius is therefore not setting a gain, and whatever depends
    on the gain scatters by as much.

    Source: the usual recipe of echo state networks (Jaeger 2001).
    """

    name: ClassVar[str] = "gaussian_radius"
    target: ClassVar[str] = "spectral_radius"
    has_spectral_radius: ClassVar[bool] = True
    spectral_radius: float = 1.0

    def unscaled(self, rng: np.random.Generator, size: int) -> Array:
        drawn = rng.standard_normal((size, size))
        radius = matrices.spectral_radius(drawn)
        if radius == 0:
            raise LabError("the Gaussian draw has spectral radius 0 and cannot be rescaled: choose another seed")
        return drawn / radius

    def got(self, W: Array) -> float:
        return matrices.spectral_radius(W)


@dataclass(frozen=True)
class Orthogonal(Initializer):
    """scale x Q with Q uniform (Haar) on the orthogonal group, both determinants.

    Exact, to rounding: every singular value and every eigenvalue has modulus `scale`, so that spectral radius, largest
    singular value and gain are one number, W is normal, and a linear network scales every vector alike. Scatters: the
    angles of the eigenvalues.

    Q comes from the QR decomposition of a Gaussian matrix with the signs of R's diagonal moved into Q; without them the
    distribution depends on the algorithm (Mezzadri 2007). Source: Saxe, McClelland & Ganguli 2014.
    """

    name: ClassVar[str] = "orthogonal"
    target: ClassVar[str] = "scale"
    has_spectral_radius: ClassVar[bool] = True
    scale: float = 1.0

    def unscaled(self, rng: np.random.Generator, size: int) -> Array:
        Q, R = np.linalg.qr(rng.standard_normal((size, size)))
        return Q * np.where(np.diag(R) < 0, -1.0, 1.0)

    def got(self, W: Array) -> float:
        return matrices.spectral_radius(W)


@dataclass(frozen=True)
class Identity(Initializer):
    """scale x I. Everything is exact, nothing is drawn: all seeds have the same W.

    Source: Le, Jaitly & Hinton 2015 (the IRNN: relu, scale 1, biases 0; scale 0.01 where short memory is wanted).
    """

    name: ClassVar[str] = "identity"
    target: ClassVar[str] = "scale"
    has_spectral_radius: ClassVar[bool] = True
    scale: float = 1.0

    def unscaled(self, rng: np.random.Generator, size: int) -> Array:
        return np.eye(size)

    def got(self, W: Array) -> float:
        return matrices.spectral_radius(W)


def by_name(name: str) -> type[Initializer]:
    """The initializer of that name, or a ConfigurationError that lists those there are."""
    known = {kind.name: kind for kind in Initializer.__subclasses__()}
    if name not in known:
        raise ConfigurationError(f"initializer={name!r}: must be one of {', '.join(known)}.{nearest(name, known)}")
    return known[name]


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
    kind = by_name(name)
    given = {field: value for field, value in values.items() if value is not None}
    refuse_unknown_fields(kind, given)
    stated = kind(**given)
    if spectral_radius is None:
        return stated
    radius = non_negative("spectral_radius", spectral_radius)
    if not kind.has_spectral_radius:
        raise ConfigurationError(
            f"spectral_radius={radius}: initializer '{name}' states a {kind.target}, its spectral radius scatters; "
            f"set initializer.{kind.target} or choose one of {', '.join(with_spectral_radius())}"
        )
    if kind.target in given and stated.asked != radius:
        raise ConfigurationError(
            f"spectral_radius={radius}: contradicts initializer.{kind.target}={stated.asked}; give one of the two"
        )
    return kind(**{**given, kind.target: radius})


def with_spectral_radius() -> list[str]:
    """The names of the initializers that `spectral_radius=` may set."""
    return [kind.name for kind in Initializer.__subclasses__() if kind.has_spectral_radius]


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
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value) or value < 0:
        raise ConfigurationError(f"{field}={value!r}: must be a finite number >= 0")
    return float(value)
