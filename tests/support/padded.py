"""Batches of sequences of different length, padded with what must not matter, and each of the sequences by itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from bpttlab.gradients.forward import forward
from bpttlab.gradients.trace import Trace
from bpttlab.networks import losses
from bpttlab.networks.cells.cell import Cell
from tests.support.networks_of_cells import CELLS, MORE_CELLS, RECURRENT

ALL_CELLS = {**CELLS, **MORE_CELLS}

GARBAGE = (np.nan, np.inf, 1e300)
"""What stands in the padding, by sequence."""


@dataclass(frozen=True)
class Padded:
    """A network with random data: x (T+2, B, I), target (T+2, B, O), T the longest of the lengths."""

    cell: Cell
    params: dict
    x: np.ndarray
    h_0: np.ndarray
    target: np.ndarray
    lengths: np.ndarray
    engine: str = "numpy"

    @property
    def trace(self) -> Trace:
        return forward(self.cell, self.params, self.x, self.h_0, self.engine, lengths=self.lengths)

    def loss(self, y_hat, reduction="mean"):
        mask = np.ones(len(self.target))
        return losses.evaluate("squared_error", y_hat, self.target, mask, reduction, self.lengths)

    def alone(self, b: int) -> Trace:
        """Sequence b without padding, in a batch of one."""
        x, h_0 = self.x[: self.lengths[b], b : b + 1], self.h_0[b : b + 1]
        return forward(self.cell, self.params, x, h_0, self.engine)

    def errors_alone(self, loss, b: int) -> np.ndarray:
        """What a loss of all sequences sends to the predictions of one."""
        return loss.gradient[: self.lengths[b], b : b + 1]

    def pad(self, garbage, more=0):
        """The same sequences with other padding, and more of it."""
        x, target = (np.full((len(v) + more, *v.shape[1:]), garbage) for v in (self.x, self.target))
        for b, length in enumerate(self.lengths):
            x[:length, b], target[:length, b] = self.x[:length, b], self.target[:length, b]
        return Padded(self.cell, self.params, x, self.h_0, target, self.lengths, self.engine)


def padded(cell="elman", lengths=(4, 1, 6, 4), seed=0, N=3, gain=1.0, engine="numpy", make=None):
    """A network of a cell, by its name in ALL_CELLS, with weights and sequences from a seed."""
    rng, lengths = np.random.default_rng(seed), np.array(lengths)
    T, B, I, O = lengths.max() + 2, len(lengths), 2, 2
    built = (make or ALL_CELLS[cell])(I, N, O)
    params = {name: rng.standard_normal(shape) for name, shape in built.parameter_shapes().items()}
    params = {name: value * (gain / np.sqrt(N)) if name in RECURRENT else value for name, value in params.items()}
    x, target = rng.standard_normal((T, B, I)), rng.standard_normal((T, B, O))
    for b, length in enumerate(lengths):
        x[length:, b], target[length:, b] = GARBAGE[b % 3], GARBAGE[(b + 1) % 3]
    return Padded(built, params, x, rng.standard_normal((B, built.state_size)), target, lengths, engine)


@st.composite
def padded_batches(draw, cells=tuple(ALL_CELLS), engines=("numpy",), longest=8):
    lengths = draw(st.lists(st.integers(1, longest), min_size=1, max_size=5))
    gain = draw(st.sampled_from([0.3, 1.0, 2.0]))
    seed, cell = draw(st.integers(0, 2**16)), draw(st.sampled_from(cells))
    return padded(cell, lengths, seed, draw(st.integers(1, 4)), gain, draw(st.sampled_from(engines)))
