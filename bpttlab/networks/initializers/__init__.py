"""Recurrent matrices W (N, N) with a stated property: one class each, found by its `name` (`bpttlab.plugins`)."""

from __future__ import annotations

from bpttlab.networks.initializers.drawn import (
    Bidiagonal,
    Gaussian,
    GaussianRadius,
    Identity,
    NonNormal,
    Orthogonal,
    Sparse,
    Uniform,
)
from bpttlab.networks.initializers.initializer import (
    Initializer,
    NoInitializer,
    SpectralRadius,
    from_fields,
    names_that_draw,
    with_spectral_radius,
)
from bpttlab.networks.initializers.matrix_file import MatrixFile
from bpttlab.networks.initializers.structured import Structured

__all__ = [
    "Bidiagonal",
    "Gaussian",
    "GaussianRadius",
    "Identity",
    "Initializer",
    "MatrixFile",
    "NoInitializer",
    "NonNormal",
    "Orthogonal",
    "Sparse",
    "SpectralRadius",
    "Structured",
    "Uniform",
    "from_fields",
    "names_that_draw",
    "with_spectral_radius",
]
