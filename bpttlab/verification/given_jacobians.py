"""A linear cell whose Jacobians are its inputs: products of any matrices, by the engine's own product code.

    h_t = A_t h_{t-1}          x_t = the entries of A_t, row by row

It belongs to the checks; a sweep cannot choose it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bpttlab.gradients.forward import forward
from bpttlab.gradients.trace import Trace
from bpttlab.networks.cells.cell import Cell, Local, Params
from bpttlab.numerics.array import Array


@dataclass(frozen=True)
class GivenJacobians(Cell):
    """input_size is hidden_size squared."""

    name: ClassVar[str] = "given Jacobians"

    input_size: int
    hidden_size: int
    output_size: int
    output_activation: str = "identity"

    def matrices(self, entries: Array) -> Array:
        """(...,N N) -> (...,N,N)"""
        return entries.reshape(*entries.shape[:-1], self.hidden_size, self.hidden_size)

    def step(self, params: Params, z_t: Array, h_prev: Array) -> Array:
        return np.asarray(np.einsum("bnm,bm->bn", self.matrices(z_t), h_prev))

    def linearize(self, params: Params, x: Array, h: Array) -> Array:
        return x

    def vjp(self, params: Params, linearization_t: Array, dh_t: Array) -> tuple[Array, Array]:
        return dh_t, np.einsum("...nm,...n->...m", self.matrices(linearization_t), dh_t)

    def parameter_vjp(self, local: Local, da: Array) -> Params:
        return {}

    def jacobian(self, params: Params, linearization_t: Array) -> Array:
        return self.matrices(linearization_t)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {}


def product_of(matrices: Array) -> Trace:
    """A trajectory with these Jacobians, from a state of zeros; the first matrix is J_1.  (T,B,N,N)"""
    T, B, N, _ = matrices.shape
    cell = GivenJacobians(N * N, N, N)
    params = {"U": np.eye(N), "b_y": np.zeros(N)}
    return forward(cell, params, matrices.reshape(T, B, N * N))
