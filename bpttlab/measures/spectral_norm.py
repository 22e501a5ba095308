"""The largest singular values of matrices that come one after another: log ||A||_2.

By the eigenvalues of the Gram matrix (`scaled.spectral_log_norm`), or compiled, by Lanczos from the vector that led the
matrix before (`leading.largest_squares`), and by all eigenvalues after all where that takes too many steps.

Index legend: M matrices, R rows, N columns.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from bpttlab.numerics.array import Array
from bpttlab.numerics.scaled import Scaled, spectral_log_norm


class SpectralNorms:
    """log ||A||_2 of N x N matrices, in whatever portions they come."""

    def __init__(self, size: int, compiled: bool) -> None:
        self.compiled, self.start = compiled, random_direction(size) if compiled else np.empty(0)
        self.u = self.start.copy()

    def logs(self, matrices: Scaled) -> Array:
        """-inf is exactly zero, NaN not finite.  Rows normalised, (..., N, N) -> (...)"""
        if not self.compiled:
            return spectral_log_norm(matrices, normalised=True)
        from bpttlab.gradients.compiled import spectral_kernels

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


@cache
def random_direction(size: int) -> Array:
    """A vector of norm one, the same in every process; nobody changes it.  (N,)"""
    vector = np.random.default_rng(0).standard_normal(size)
    return np.asarray(vector / np.linalg.norm(vector))


def largest_log(matrices: Array, u: Array, noise: Array) -> Array:
    """log of the largest singular values of plain numbers none of whose squares is out of range.  (M,R,N) -> (M,)

    Args:
        u: (R,) the left vector to start from, which becomes that of the last matrix.
        noise: (R,) a random vector of norm one.
    """
    from bpttlab.gradients.compiled import spectral_kernels

    squares = np.empty(len(matrices))
    spectral_kernels.largest_squares(np.ascontiguousarray(matrices), u, noise, squares)
    logs, left = 0.5 * np.log(squares), np.isnan(squares)
    if left.any():
        logs[left] = spectral_log_norm(Scaled.of(matrices[left]))
    return logs
