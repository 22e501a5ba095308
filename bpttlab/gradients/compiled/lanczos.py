"""The largest singular values of matrices that come one after another, by Lanczos from the last leading vector.

Where that takes too many steps the exact way is taken, all eigenvalues of the Gram matrix.

Index legend: M matrices, R rows, N columns.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from bpttlab.gradients.compiled import spectral_kernels
from bpttlab.gradients.engine import SpectralNorms
from bpttlab.numerics.array import Array
from bpttlab.numerics.scaled import Scaled, spectral_log_norm

MODERATE = 2.0**200
"""Up to this largest entry of a matrix, and down to its inverse, plain numbers hold the square of its norm."""


class LanczosNorms(SpectralNorms):
    """log ||A||_2 of N x N matrices, in whatever portions they come."""

    def __init__(self, size: int) -> None:
        self.start = random_direction(size)
        self.u = self.start.copy()

    def logs(self, matrices: Scaled) -> Array:
        before, rows = matrices.shape[:-2], matrices.shape[-2:]
        mantissas = np.ascontiguousarray(matrices.mantissa).reshape(-1, *rows)
        found = np.empty(len(mantissas))
        exponents = np.ascontiguousarray(matrices.exponent).reshape(-1, rows[0])
        spectral_kernels.log_norms(mantissas, exponents, self.u, self.start, found)
        left = np.isnan(found)
        if left.any():
            self.u = self.start.copy()
            found[left] = spectral_log_norm(Scaled(mantissas[left], exponents[left][..., None]), normalised=True)
        return found.reshape(before)

    def logs_of_plain(self, matrices: Array) -> Array:
        sizes = np.abs(matrices).max(axis=(-2, -1))
        if matrices.dtype != np.float64 or not ((sizes > 1.0 / MODERATE) & (sizes < MODERATE)).all():
            return super().logs_of_plain(matrices)
        logs = largest_logs(matrices.reshape(-1, *matrices.shape[-2:]), self.u, self.start)
        return logs.reshape(matrices.shape[:-2])


@cache
def random_direction(size: int) -> Array:
    """A vector of norm one, the same in every process; nobody changes it.  (N,)"""
    vector = np.random.default_rng(0).standard_normal(size)
    return np.asarray(vector / np.linalg.norm(vector))


def largest_logs(matrices: Array, u: Array, noise: Array) -> Array:
    """`Engine.largest_logs`; a vector of norm one for `noise`."""
    squares = np.empty(len(matrices))
    spectral_kernels.largest_squares(np.ascontiguousarray(matrices), u, noise, squares)
    logs, left = 0.5 * np.log(squares), np.isnan(squares)
    if left.any():
        logs[left] = spectral_log_norm(Scaled.of(matrices[left]))
    return logs
