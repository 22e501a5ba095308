"""Blocks of Jacobian products: how each named part of the state depends on each part of an earlier one.

    "c<-h"    the rows c and the columns h of P_{t,t-l}: how c_t depends on h_{t-l}

Index legend: B sequence, N state, R rows of a block, C columns of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from bpttlab.fields import check_integer
from bpttlab.gradients.propagation import Lag, propagate
from bpttlab.gradients.trace import Trace
from bpttlab.measures.lags import check_lags, reported_lags
from bpttlab.measures.lengths import of_each_length
from bpttlab.networks.cells.cell import Cell
from bpttlab.numerics.array import Array
from bpttlab.numerics.columnar import as_frame
from bpttlab.numerics.scaled import LOG_2, Scaled, spectral_log_norm

if TYPE_CHECKING:
    import pandas as pd

BLOCK_COLUMNS = ("sequence", "t", "lag", "block", "log_spectral_norm", "log_frobenius_norm")

LOG_SPACED = 24
"""How many lags "log" stands for."""

_NEGLIGIBLE = 20.0
"""The norm of a block is known if the log of every row of unknown size is below that of the block by this."""


@of_each_length
def block_norms(trace: Trace, lags: Literal["log", "all"] | Iterable[int] = "log", sequences: int = 2) -> pd.DataFrame:
    """Norms of the blocks of P_{T,T-l}, a row per sequence, lag and block.

    Args:
        trace: a forward pass.
        lags: "log" some of 0..T, "all" every one, or the lags themselves.
        sequences: at most so many of the batch, from the first.

    Returns:
        Columns sequence, t, lag, block, log_spectral_norm, log_frobenius_norm: natural logarithms, the second of the
        block divided by the square root of its number of columns, the typical direction of that part of h_{t-l}.
        -inf is exactly zero. NaN is a block that cannot be known: it has become smaller than its neighbours in the same
        rows by the range of the dtype (1e-291 in float64, 1e-30 in float32), and rounding keeps nothing of it.
        No rows for a cell whose state has one part.
    """
    trace = trace.head(check_integer("sequences", sequences, 1))
    check_lags(lags, trace.length)
    blocks = Blocks.of(trace.cell, set(reported_lags(trace.length, lags, LOG_SPACED)))
    if blocks is not None:
        t = np.array([trace.length])
        for step in propagate(trace, t, unit_rows(trace, t)):
            blocks.see(step, product_matrices(step, trace.h.shape[-1]))
    return as_frame(blocks.columns() if blocks is not None else {name: [] for name in BLOCK_COLUMNS})


def unit_rows(trace: Trace, t: Array) -> Scaled:
    """The rows of the identity at each t, for `propagate`.  (N, S, B, N)"""
    batch, size = trace.h.shape[1:]
    identity = np.eye(size, dtype=trace.h.dtype)[:, None, None]
    return Scaled.of(np.broadcast_to(identity, (size, len(t), batch, size)))


def product_matrices(step: Lag, size: int) -> Scaled:
    """P_{t,t-l}, (S, B, N, N): row n is what went back from unit n of h_t."""
    return Scaled(step.dh.mantissa[:size].transpose(1, 2, 0, 3), step.dh.exponent[:size].transpose(1, 2, 0, 3))


class Norms(NamedTuple):
    """Both norms of one block at one lag.  (B,), (B,)"""

    t: int
    lag: int
    block: str
    log_spectral_norm: Array
    log_frobenius_norm: Array


class Blocks:
    """The blocks of the products of the last t of a walk, which is shown every lag from 0 on.

    A row of a product has one exponent. A part of it that is smaller than another by the range of the dtype becomes
    zero in rounding, which is not the zero of a part that nothing reaches: so every row's parts are followed from lag
    to lag. (A zero that follows on a part above the square root of the range is taken for an exact one.)
    """

    def __init__(self, parts: dict[str, slice], lags: set[int]) -> None:
        self.parts, self.lags = parts, lags
        self.found: list[Norms] = []
        self.largest: Array | None = None
        self.lost: Array | None = None

    @classmethod
    def of(cls, cell: Cell, lags: set[int]) -> Blocks | None:
        """None for a state with one part."""
        return cls(cell.parts, lags) if len(cell.parts) > 1 else None

    def see(self, step: Lag, products: Scaled) -> None:
        """The products of one lag, (S, B, N, N); the last is that of the last t."""
        last = products[-1].normalise()
        self.follow(last.mantissa)
        if step.lag in self.lags:
            self.found += [self.norms(step, last, *names) for names in product(self.parts, repeat=2)]

    def follow(self, mantissa: Array) -> None:
        """Which parts of which rows rounding has lost: those below the range, and zeros that were near it before."""
        numbers = np.finfo(mantissa.dtype)
        small, least = 2.0 ** int(numbers.minexp // 2), 2.0 ** int(numbers.minexp + numbers.nmant + 3)
        largest = np.stack([np.abs(mantissa[..., part]).max(axis=-1) for part in self.parts.values()])
        before = np.ones_like(largest) if self.largest is None else self.largest
        lost = np.zeros(largest.shape, bool) if self.lost is None else self.lost
        self.lost = (largest < least) & ((largest > 0) | lost | ((before > 0) & (before < small)))
        self.largest, self.log_least = largest, float(np.log(least))

    def norms(self, step: Lag, last: Scaled, row: str, column: str) -> Norms:
        rows, columns = self.parts[row], self.parts[column]
        block = Scaled(last.mantissa[..., rows, columns], last.exponent[..., rows, :])
        assert self.lost is not None
        lost = self.lost[list(self.parts).index(column)][..., rows]
        unknown = self.unknown_size(lost, last, rows)
        spectral, frobenius = spectral_log_norm(block), block.log_norm(axes=2)
        known = ~lost.any(axis=-1) | (spectral > unknown + _NEGLIGIBLE)
        width = 0.5 * np.log(columns.stop - columns.start)
        name = f"{row}<-{column}"
        norms = (np.where(known, norm, np.nan) for norm in (spectral, frobenius - width))
        return Norms(int(step.t[-1]), step.lag, name, *norms)

    def unknown_size(self, lost: Array, last: Scaled, rows: slice) -> Array:
        """log of what the lost parts of rows are at most; +inf where a whole row is lost.  (B, R) -> (B,)"""
        gone = ~last.mantissa[..., rows, :].any(axis=-1)
        size = np.where(gone, np.inf, last.exponent[..., rows, 0] * LOG_2 + self.log_least)
        return np.where(lost, size, -np.inf).max(axis=-1)

    def columns(self) -> dict[str, Array]:
        """The table, by sequence, t and lag."""
        batch = len(self.found[0].log_spectral_norm) if self.found else 0
        number = len(self.found)
        each = {name: [getattr(norms, name) for norms in self.found] for name in BLOCK_COLUMNS[1:]}
        return {
            "sequence": np.repeat(np.arange(batch), number),
            "t": np.tile(np.array(each["t"], np.int64), batch),
            "lag": np.tile(np.array(each["lag"], np.int64), batch),
            "block": np.tile(np.array(each["block"], object), batch),
            **{name: np.array(each[name]).reshape(number, batch).T.ravel() for name in BLOCK_COLUMNS[4:]},
        }
