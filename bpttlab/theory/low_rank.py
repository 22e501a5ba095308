"""Eigenvalues of a matrix plus one of rank one: what a change of low rank does to the spectrum of W."""

from __future__ import annotations

import math

import numpy as np

from bpttlab.errors import ConfigurationError
from bpttlab.fields import check_arguments
from bpttlab.numerics.array import Array
from bpttlab.numerics.matrices import spectral_radius, square

INTERVALS = 200
"""Of the search on each side of the disk, evenly in the logarithm of the distance from it."""


@check_arguments
def rank_one_outlier(W: Array, u: Array, v: Array) -> float:
    """The real eigenvalue of W + u v^T that is farthest outside the disk of radius rho(W).  (N,N), (N,), (N,) -> ()

    It solves 1 = v^T (lambda I - W)^-1 u, hence lambda = sum over k >= 0 of v^T W^k u / lambda^k. Exact at every N. NaN
    if no real eigenvalue is outside the disk; two that lie in one interval of the search are not found, nor are complex
    pairs. For a Gaussian W that is independent of u and v only k = 0 counts at large N: lambda = v^T u (Tao 2013). In a
    change that was learnt u and v depend on W, and the other terms count, too (Schuessler et al. 2020).
    """
    W = square(W)
    u, v = (np.asarray(one, dtype=np.float64) for one in (u, v))
    if u.shape != (len(W),) or v.shape != (len(W),):
        raise ConfigurationError(f"u, v have shapes {u.shape}, {v.shape}: must be ({len(W)},), as W is {W.shape}")
    disk = spectral_radius(W)
    width = float(np.linalg.norm(W, 2) + np.linalg.norm(u) * np.linalg.norm(v)) - disk  # no eigenvalue is beyond
    distances = width * np.logspace(0.0, -12.0, INTERVALS + 1)
    roots = [_first_root(W, u, v, sign * (disk + distances)) for sign in (1.0, -1.0)] if width > 0.0 else []
    return max((root for root in roots if not math.isnan(root)), key=abs, default=math.nan)


def _first_root(W: Array, u: Array, v: Array, places: Array) -> float:
    """The first place, from far away, where v^T (lambda I - W)^-1 u reaches 1; NaN: nowhere."""
    from scipy.optimize import brentq  # its import takes as much memory as numpy's

    def excess(value: float) -> float:
        return float(v @ np.linalg.solve(value * np.eye(len(W)) - W, u)) - 1.0

    outer = 1.01 * float(places[0])
    for inner in places:
        if excess(inner) >= 0.0:
            return float(brentq(excess, float(inner), outer, xtol=1e-14))
        outer = float(inner)
    return math.nan
