"""Initializers that draw W, or state it; each class says what is exact in a draw and what scatters."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from bpttlab.errors import ConfigurationError, LabError
from bpttlab.fields import Field
from bpttlab.networks.initializers.initializer import Initializer, SpectralRadius
from bpttlab.networks.initializers.rescaling import LARGEST_DRIFT
from bpttlab.numerics import matrices
from bpttlab.numerics.array import Array

Scale = Annotated[
    float,
    Field(ge=0, configured=None, description="every singular value of W; null: the value spectral_radius, or else 1"),
]


@dataclass(frozen=True)
class Gaussian(Initializer):
    """Independent entries from N(0, gain^2 / N). The spectral radius differs from draw to draw.

    Exact: the distribution. Scatters: everything of a draw. The measured gain ||W||_F / sqrt(N) has a relative standard
    deviation of 1 / (sqrt(2) N); the spectral radius tends to the gain (circular law, Ginibre 1965), but slowly: at
    gain 1 it is 1.06 +- 0.05 at N = 64 and 1.04 +- 0.02 at N = 256; the largest singular value tends to 2 x gain.

    Source: gain 1 is the variance 2 / (fan in + fan out) of Glorot & Bengio 2010; the gain g is that of Sompolinsky,
    Crisanti & Sommers 1988.
    """

    name: ClassVar[str] = "gaussian"
    target: ClassVar[str] = "gain"
    has_spectral_radius: ClassVar[bool] = False
    independent_entries: ClassVar[bool] = True
    gain: Annotated[float, Field(ge=0, description="standard deviation of an entry of W, times sqrt(N)")] = 1.0

    def draw_unscaled(self, rng: np.random.Generator, size: int) -> Array:
        return rng.standard_normal((size, size)) / math.sqrt(size)

    def measure_realized(self, W: Array) -> float:
        return matrices.gain(W)


@dataclass(frozen=True)
class Uniform(Initializer):
    """Independent entries from U(-b, b) with the bound b = gain sqrt(3 / N), whose variance is gain^2 / N.

    gain 1/sqrt(3) = 0.577 is PyTorch's default, b = 1/sqrt(N) (configuration `uniform_torch`); gain 1 is Glorot's,
    b = sqrt(6 / (N + N)) (`uniform_glorot`).

    Exact: the distribution, and that no entry is beyond b. Scatters: everything else, as for `gaussian`. The measured
    gain ||W||_F / sqrt(N) has a relative standard deviation of 1 / (sqrt(5) N); the spectral radius tends to the gain
    (the circular law holds for every distribution of the entries, Tao & Vu 2010), the largest singular value to twice
    the gain. PyTorch's networks thus start with a spectral radius near 0.6, whatever their size.

    Source: Glorot & Bengio 2010; the default of torch.nn.RNN.
    """

    name: ClassVar[str] = "uniform"
    target: ClassVar[str] = "gain"
    has_spectral_radius: ClassVar[bool] = False
    independent_entries: ClassVar[bool] = True
    gain: Annotated[
        float, Field(ge=0, description="standard deviation of an entry of W, times sqrt(N); b = gain sqrt(3/N)")
    ] = 1.0

    def draw_unscaled(self, rng: np.random.Generator, size: int) -> Array:
        bound = math.sqrt(3.0 / size)
        return rng.uniform(-bound, bound, (size, size))

    def measure_realized(self, W: Array) -> float:
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
    independent_entries: ClassVar[bool] = True
    spectral_radius: SpectralRadius = 1.0

    def draw_unscaled(self, rng: np.random.Generator, size: int) -> Array:
        return with_unit_radius(rng.standard_normal((size, size)))

    def measure_realized(self, W: Array) -> float:
        return matrices.spectral_radius(W)


@dataclass(frozen=True)
class Sparse(Initializer):
    """Few connections: each unit receives `density` x N of all units; Gaussian entries, an exact spectral radius.

    Exact: the spectral radius of every draw, to the rounding of the eigenvalues, and the number of entries in each row
    that are not zero, density x N rounded to an integer (a half upwards), of which there must be one. Scatters:
    where they are (uniformly, without replacement, the diagonal included), how many units hear a given one, and the
    gain. A denser draw of the same generator has the same entries, up to the rescaling, and more.

    With few connections (about one a unit) long chains of units without a loop make W far from normal.

    Source: the reservoirs of Jaeger 2001; a fixed number of connections (15) for each unit, Martens 2010.
    """

    name: ClassVar[str] = "sparse"
    target: ClassVar[str] = "spectral_radius"
    has_spectral_radius: ClassVar[bool] = True
    spectral_radius: SpectralRadius = 1.0
    density: Annotated[
        float,
        Field(gt=0, le=1, description="share of the N units that each unit receives, rounded to a number of units"),
    ] = 0.1

    def connections(self, size: int) -> int:
        """How many entries of each row are not zero."""
        return math.floor(self.density * size + 0.5)

    def check_units(self, size: int) -> None:
        if self.connections(size) < 1:
            raise ConfigurationError(
                f"initializer.density={self.density}: of {size} hidden units it leaves each with no connection at all; "
                f"must be at least {1 / size:.3g} (one connection)"
            )

    def draw_unscaled(self, rng: np.random.Generator, size: int) -> Array:
        drawn, order = rng.standard_normal((size, size)), rng.random((size, size)).argsort(axis=1)
        kept = np.zeros_like(drawn, dtype=bool)
        np.put_along_axis(kept, order[:, : self.connections(size)], True, axis=1)
        return with_unit_radius(np.where(kept, drawn, 0.0))

    def measure_realized(self, W: Array) -> float:
        return matrices.spectral_radius(W)


@dataclass(frozen=True)
class Orthogonal(Initializer):
    """scale x Q with Q uniform (Haar) on the orthogonal group, both determinants.

    Exact, to rounding: every singular value and every eigenvalue has modulus `scale`, so that spectral radius, largest
    singular value and gain are one number, W is normal, and a linear network scales every vector alike. Scatters: the
    angles of the eigenvalues.

    Source: Saxe, McClelland & Ganguli 2014.
    """

    name: ClassVar[str] = "orthogonal"
    target: ClassVar[str] = "scale"
    has_spectral_radius: ClassVar[bool] = True
    scale: Scale = 1.0

    def draw_unscaled(self, rng: np.random.Generator, size: int) -> Array:
        return orthogonal(rng, size)

    def measure_realized(self, W: Array) -> float:
        return matrices.spectral_radius(W)


@dataclass(frozen=True)
class Identity(Initializer):
    """scale x I. Everything is exact, nothing is drawn: all seeds have the same W.

    Source: Le, Jaitly & Hinton 2015 (the IRNN: relu, scale 1, biases 0; scale 0.01 where short memory is wanted).
    """

    name: ClassVar[str] = "identity"
    target: ClassVar[str] = "scale"
    has_spectral_radius: ClassVar[bool] = True
    scale: Scale = 1.0

    def draw_unscaled(self, rng: np.random.Generator, size: int) -> Array:
        return np.eye(size)

    def measure_realized(self, W: Array) -> float:
        return matrices.spectral_radius(W)


@dataclass(frozen=True)
class NonNormal(Initializer):
    """W = rho Q (R + F) Q^T: rotations R, which keep every length, and a part F that feeds modes forward.

    Q is uniform (Haar) orthogonal, its columns the Schur modes. R is block-diagonal, N/2 rotations of two modes each
    (and a last +-1 where N is odd), so that every eigenvalue of W has the modulus rho = `spectral_radius`; the angles
    are spread over the circle, one drawn uniformly in each of N/2 equal sectors. F is strictly upper triangular (each
    mode feeds earlier ones, none back) and Gaussian, scaled to the stated strength

        feed_forward = ||F||_F / ||R||_F = ||F||_F / sqrt(N).

    At 0, W is rho times an orthogonal matrix, and normal. The strength moves no eigenvalue, but powers of W grow far
    before they follow rho^lag: with 64 units and rho = 1 to about e^3.1 at strength 0.5, e^5.6 at 1 (the share that
    the same part has in a Gaussian matrix) and e^10.7 at 2.

    Exact, to rounding: the spectral radius; the Henrici departure, feed_forward / sqrt(1 + feed_forward^2), which is
    how the strength is measured; the gain, rho sqrt(1 + feed_forward^2). Scatters: the angles, the modes, F's
    direction. Draws of one generator differ in what is requested alone, radius or strength.

    The eigenvalues of a strongly non-normal matrix depend on digits that no float has, and the rounding of Q (R + F)
    Q^T can move them: up to 256 units a strength of 2 leaves the radius exact to 1e-6; a draw that it does not is
    refused. `rotated=False` takes Q = I: triangular in the units themselves, which then form a chain, and exact at
    every strength. In float32 the digits are missing earlier.

    Where F feeds the second mode of a rotation by s into the first, with strength f, the block is [[c, a], [-b, c]]
    with a - b = f and a b = s^2: it keeps the eigenvalues c +- i s, and f is its part of the departure.

    Source: Schur modes and feed-forward strength, Ganguli, Huh & Sompolinsky 2008 and Goldman 2009; eigenvalues on a
    circle beside a triangular part, Kerg et al. 2019 (nnRNN); departure from normality, Henrici 1962.
    """

    name: ClassVar[str] = "non_normal"
    target: ClassVar[str] = "spectral_radius"
    has_spectral_radius: ClassVar[bool] = True
    spectral_radius: SpectralRadius = 1.0
    feed_forward: Annotated[
        float, Field(ge=0, description="||F||_F / ||R||_F, strength of the feed-forward part; 0: W is orthogonal")
    ] = 1.0
    rotated: Annotated[
        bool, Field(description="false: triangular in the units themselves; needed where feed_forward is above about 2")
    ] = True

    def check_units(self, size: int) -> None:
        if size == 1 and self.feed_forward > 0:
            raise ConfigurationError(
                f"initializer.feed_forward={self.feed_forward}: a single hidden unit has no other to feed; must be 0"
            )

    def draw_unscaled(self, rng: np.random.Generator, size: int) -> Array:
        Q, schur_form = orthogonal(rng, size), self.schur_form(rng, size)
        if not self.rotated:
            return schur_form
        W_0 = Q @ schur_form @ Q.T
        radius = matrices.spectral_radius(W_0)
        if abs(radius - 1.0) > LARGEST_DRIFT:
            raise LabError(
                f"initializer.feed_forward={self.feed_forward}: with {size} hidden units rounding alone moves the "
                f"spectral radius by a factor of {radius:.6g}; ask for less, or for initializer.rotated=false"
            )
        return W_0

    def schur_form(self, rng: np.random.Generator, size: int) -> Array:
        """R + F."""
        pairs = size // 2
        angles = math.pi / max(pairs, 1) * rng.permutation(np.arange(1, pairs + 1) - rng.random(pairs))
        form = np.triu(rng.standard_normal((size, size)), 1)
        form *= self.feed_forward * math.sqrt(size) / (np.linalg.norm(form) or 1.0)
        first = 2 * np.arange(pairs)  # of the two modes of each rotation
        sine, between = np.sin(angles), np.abs(form[first, first + 1])
        above = (between + np.hypot(between, 2.0 * sine)) / 2.0
        form[first, first] = form[first + 1, first + 1] = np.cos(angles)
        form[first, first + 1], form[first + 1, first] = above, -sine * sine / above
        if size % 2:
            form[-1, -1] = rng.choice([-1.0, 1.0])
        return form

    def measure_realized(self, W: Array) -> float:
        return matrices.spectral_radius(W)


@dataclass(frozen=True)
class Bidiagonal(Initializer):
    """rho on the diagonal and `coupling` rho beside it: each unit receives itself and the next. Nothing is drawn.

    A Jordan block but for a factor (coupling = 1/rho): all eigenvalues are equal and there is one eigenvector, so that
    powers grow as binomial coefficients before they follow the spectral radius. With rho = 1/2 and coupling = 1 it is
    the chain of influence balancing, (I - W)^-1 = 2 on and above the diagonal (Tallec & Ollivier 2018a).

    Exact: everything.
    """

    name: ClassVar[str] = "bidiagonal"
    target: ClassVar[str] = "spectral_radius"
    has_spectral_radius: ClassVar[bool] = True
    spectral_radius: SpectralRadius = 1.0
    coupling: Annotated[float, Field(ge=0, description="the entries above the diagonal, over those on it")] = 1.0

    def draw_unscaled(self, rng: np.random.Generator, size: int) -> Array:
        return np.eye(size) + self.coupling * np.eye(size, k=1)

    def measure_realized(self, W: Array) -> float:
        """The largest entry of the diagonal, where the eigenvalues of a triangular matrix are."""
        return float(np.abs(np.diag(W)).max())


def orthogonal(rng: np.random.Generator, size: int) -> Array:
    """A draw from the uniform (Haar) distribution on the orthogonal group.

    The QR decomposition of a Gaussian matrix, with the signs of R's diagonal moved into Q; without them the
    distribution depends on the algorithm (Mezzadri 2007).
    """
    Q, R = np.linalg.qr(rng.standard_normal((size, size)))
    return Q * np.where(np.diag(R) < 0, -1.0, 1.0)


def with_unit_radius(drawn: Array) -> Array:
    """The matrix over its own spectral radius."""
    radius = matrices.spectral_radius(drawn)
    if radius == 0:
        raise LabError("the draw has spectral radius 0 and cannot be rescaled: choose another seed")
    return drawn / radius
