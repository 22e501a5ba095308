"""A matrix over its spectral radius, where that is known well enough to be stated."""

from __future__ import annotations

import numpy as np

from bpttlab.errors import ConfigurationError
from bpttlab.numerics import matrices
from bpttlab.numerics.array import Array

LARGEST_DRIFT = 1e-6
"""By how much, relatively, rounding may move a spectral radius that is stated."""


def divide_by_radius(W: Array, what: str) -> Array:
    """W over its own spectral radius.

    The radius must not depend on the rounding of the entries: it is computed once more with entries that differ in
    their last digit. So a matrix whose eigenvalues are all zero is refused even if rounding makes them look otherwise.

    Raises:
        ConfigurationError: the radius is 0, or no more than rounding.
    """
    radius = matrices.spectral_radius(W)
    if radius == 0:
        raise ConfigurationError(f"{what} has the spectral radius 0 and cannot be scaled to another")
    signs = np.random.default_rng(0).choice([-1.0, 1.0], W.shape)
    drift = abs(matrices.spectral_radius(W * (1.0 + np.finfo(W.dtype).eps * signs)) / radius - 1.0)
    if not drift <= LARGEST_DRIFT:
        raise ConfigurationError(
            f"{what} has a spectral radius that is not known to {LARGEST_DRIFT:g} (rounding of its entries moves "
            f"{radius:.3g} by a factor of {1 + drift:.3g}) and cannot be scaled"
        )
    return W / radius
