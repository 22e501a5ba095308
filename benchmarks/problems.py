"""The problem: a network, random inputs and targets, a squared error at every step.

Index legend: T time, B sequence, I input (8), N hidden unit, O output (8).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from benchmarks.engines import by
from benchmarks.peephole import Peephole
from bpttlab import GRU, LSTM, Elman, Stacked, backward, forward, loss_and_gradient
from bpttlab.networks.cells.cell import Cell
from bpttlab.networks.losses import Loss, evaluate

Array = np.ndarray[Any, np.dtype[Any]]
CELLS = {"elman": Elman, "gru": GRU, "lstm": LSTM, "stacked": Stacked, "peephole": Peephole}
INPUTS = 8


class Shape(NamedTuple):
    """Units, sequences and steps."""

    N: int
    B: int
    T: int

    def __str__(self) -> str:
        return f"N={self.N} B={self.B} T={self.T}"


@dataclass(frozen=True)
class Problem:
    """One gradient to compute."""

    kind: str
    shape: Shape
    cell: Cell
    params: dict[str, Array]
    x: Array
    target: Array

    @property
    def dtype(self) -> str:
        return str(self.x.dtype)

    def wide(self) -> Problem:
        """The same numbers in float64."""
        params = {name: values.astype(np.float64) for name, values in self.params.items()}
        return Problem(self.kind, self.shape, self.cell, params, self.x.astype(float), self.target.astype(float))

    @property
    def flops(self) -> float:
        """Of an Elman gradient: W and its two mirrors, 6 B T N^2; V, U and theirs, 10 B T N I."""
        N, B, T = self.shape
        return 6.0 * B * T * N**2 + 10.0 * B * T * N * INPUTS


def drawn(kind: str, shape: Shape, dtype: str = "float64") -> Problem:
    """A problem that is the same in every call: spectral radius 0.9, standard normal inputs and targets."""
    weights, data = np.random.default_rng(0).spawn(2)
    cell = CELLS[kind](INPUTS, shape.N, INPUTS)
    params = cell.init(weights, spectral_radius=0.9, dtype=dtype)
    x, target = data.standard_normal((2, shape.T, shape.B, INPUTS)).astype(dtype)
    return Problem(kind, shape, cell, params, x, target)


def traced(problem: Problem, engine: str = "numpy", memory_limit: float | None = None) -> tuple[Any, Loss]:
    """A forward pass, with all states or, within so many GiB, perhaps few of them; and its loss."""
    trace = by(engine, forward)(problem.cell, problem.params, problem.x, memory_limit=memory_limit)
    return trace, evaluate("squared_error", trace.y_hat, problem.target, np.ones(problem.shape.T))


def gradient(problem: Problem, engine: str = "numpy", memory_limit: float | None = None) -> dict[str, Array]:
    """The gradient by every parameter, by the function of this package that computes nothing else."""
    if memory_limit is None:
        _, gradients = by(engine, loss_and_gradient)(problem.cell, problem.params, problem.x, problem.target)
    else:
        gradients = by(engine, backward)(*traced(problem, engine, memory_limit))
    return {name: gradients[name] for name in problem.params}
