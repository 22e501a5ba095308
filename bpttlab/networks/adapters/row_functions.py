"""What a library of automatic differentiation computes for `Adapter`, NumPy in and NumPy out.

A row is one step of one sequence: x_t (I,) and the state before it (S,), all numbers of it side by side. Rows do not
know of each other, so that the rows of all steps and sequences go into one call.

Index legend: R rows, I input, S state, O output, K cotangents of every row, G groups of rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from bpttlab.networks.cells.cell import Params
from bpttlab.numerics.array import Array

Shapes = dict[str, tuple[int, ...]]


class RowFunctions(ABC):
    """A step function with its derivatives.

    Attributes:
        state_size: S.
        parts: the named parts of the state.
        shapes: of the parameters that the step depends on.
        readout_shapes: of those that the readout depends on.
        output_size: O of its readout; 0: it has none.
        values: all of these parameters as they were given.
    """

    state_size: int
    parts: dict[str, slice]
    shapes: Shapes
    readout_shapes: Shapes
    output_size: int
    values: Params

    @abstractmethod
    def step(self, params: Params, x: Array, h: Array) -> Array:
        """(R,I), (R,S) -> (R,S)"""

    @abstractmethod
    def state_vjp(self, params: Params, x: Array, h: Array, dh: Array) -> Array:
        """Cotangents of h_{t-1} from those of h_t.  (R,I), (R,S), (K,R,S) -> (K,R,S)"""

    @abstractmethod
    def input_vjp(self, params: Params, x: Array, h: Array, dh: Array) -> Array:
        """Cotangents of x_t from those of h_t.  (R,I), (R,S), (K,R,S) -> (K,R,I)"""

    @abstractmethod
    def parameter_vjp(self, params: Params, x: Array, h: Array, dh: Array) -> Params:
        """dL/dparams of every group by itself, summed over its rows.  (G,R,I), (G,R,S), (G,R,S) -> (G,*shape) each"""

    @abstractmethod
    def read(self, params: Params, h: Array) -> Array:
        """(R,S) -> (R,O)"""

    @abstractmethod
    def read_vjp(self, params: Params, h: Array, dy: Array) -> tuple[Array, Params]:
        """Cotangents of h_t and of the readout's parameters, summed, from those of y_hat.  (R,S), (R,O) -> (R,S)"""
