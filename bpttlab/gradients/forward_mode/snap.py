"""Sparse n-step approximation of real-time recurrent learning, SnAp-n.

    M_t = pattern . (J_t M_{t-1} + d+h_t/dtheta)          pattern: what a parameter reaches within n steps

Entries of M_t outside the pattern are taken for zero, so that the influence of a parameter lives in the few units that
it reaches soon. Columns of M_t that keep the same rows go into one dense block.

The pattern is one of structure: of the derivatives at random weights, with zeros where the weight matrices have zeros.
The numbers of the state that belong to one unit (h_j and c_j of an LSTM, Re h_j and Im h_j) are reached together.

Index legend: B sequence, N hidden state, P entries of a parameter; a block has G groups of columns,
each of K rows and C columns.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bpttlab.fields import check_integer
from bpttlab.gradients.forward import forward
from bpttlab.gradients.forward_mode.rtrl import (
    check_bytes,
    immediate_derivatives,
    times,
    weight_influence,
    with_readout,
)
from bpttlab.gradients.inputs import check_errors
from bpttlab.gradients.trace import Trace
from bpttlab.networks.cells.cell import Cell, Params
from bpttlab.networks.losses import Loss
from bpttlab.numerics.array import Array
from bpttlab.numerics.scaled import Scaled

PROBES = 2
"""Random states; a derivative that is zero at all of them is zero by structure."""


def snap(trace: Trace, loss: Loss | Array, n: int) -> Params:
    """The gradient by SnAp-n (Menick et al. 2021).

    SnAp-1 keeps, of the influence of each parameter, the units that it touches within the step: one unit in Elman,
    leaky and LSTM cells and in PyTorch's GRU; the two that W - W^T couples in the antisymmetric cell; its own complex
    unit in the diagonal recurrence, where nothing is lost. What acts through another matrix within the step touches all
    units, and nothing of it is lost either: V and b_z of the minimalRNN, and W_r, V_r and b_r of a GRU with
    reset = before. A lower layer's parameters keep one unit of their layer and all that they touch of those above. The
    orthogonal cell is measured as if W were free, as everywhere.

    SnAp-2 keeps what is reached after one more step: with a dense W everything, so that it is `rtrl`; a sparse W, one
    with zeros, keeps its neighbours. At n = the number of units it is exact, for all that can be reached is.

    Cost: K multiplications a step for every kept entry of M_t, K the rows that its column keeps (1 or 2 for SnAp-1 of
    the cells that have one unit a parameter: P or 4 P a step and sequence), where `rtrl` has N.

    Args:
        trace: a forward pass.
        loss: as in `backward`.
        n: steps, at least 1.

    Returns:
        As `rtrl`.

    Raises:
        ConfigurationError: n is not an integer >= 1, or the matrices would take too much memory.
        GradientRangeError: the gradient is too large for a float.
    """
    n = check_integer("n", n, 1)
    dL_dy_hat = check_errors(trace, loss)
    check_bytes(trace.head(1), trace.cell.recurrent_parameters)  # what the search for the structure needs
    touched, links = structure(trace.cell, trace.params)
    kept = {name: _blocks(pattern) for name, pattern in patterns(touched, links, trace.cell.units, n).items()}
    check_bytes(trace, kept, trace.h.shape[1] * sum(block.size for found in kept.values() for block in found))
    total = masked_recursion(trace, trace.scaled_error(dL_dy_hat), touched, kept)
    return with_readout(trace, dL_dy_hat, {name: gather(trace, name, kept[name], total[name]) for name in kept})


def snap_cost(trace: Trace, n: int) -> float:
    """Multiplications of a step over those of one Jacobian with one vector, N^2, at least 1."""
    touched, links = structure(trace.cell, trace.params)
    found = [_blocks(pattern) for pattern in patterns(touched, links, trace.cell.units, n).values()]
    shapes = [block.shape for kept in found for block in kept]
    return max(1.0, sum(G * K * K * C for G, K, C in shapes) / trace.h.shape[-1] ** 2)


# ---------------------------------------------------------------------------------------------------- structure


def structure(cell: Cell, params: Params) -> tuple[dict[str, Array], Array]:
    """Where d+h_t/dtheta, (N,P) of each parameter, and J_t, (N,N), are not zero at some state: booleans."""
    trace = probe(cell, params)
    touched = {name: (rows != 0.0).any(axis=0) for name, rows in immediate_derivatives(trace, 1).items()}
    return touched, (trace.jacobian(1) != 0.0).any(axis=0)


def patterns(touched: dict[str, Array], links: Array, units: Array, n: int) -> dict[str, Array]:
    """Which numbers of the state each entry of a parameter reaches within n steps.  Each (N,P), booleans

    reach(1) is what is touched, reach(n) = reach(n-1) + links reach(n-1), with the whole of every unit reached.
    """
    whole = units[:, None] == units
    links = reach_units(whole, links | np.eye(len(links), dtype=bool))
    reach = {name: reach_units(whole, pattern) for name, pattern in touched.items()}
    for _ in range(n - 1):
        reach = {name: reach_units(links, pattern) for name, pattern in reach.items()}
    return reach


def _color_rows(touched: Array) -> Array:
    """Which rows of a pattern (N,P) may be added up, since no column has entries in two of them: (N,), sets from 0.

    So few cotangents show all entries (Curtis, Powell & Reid 1974): one for an Elman cell, two for an LSTM.
    """
    conflict = reach_units(touched, touched.T)
    sets = np.full(len(touched), -1)
    for row in range(len(touched)):
        taken = sets[:row][conflict[row, :row]]
        sets[row] = min(set(range(row + 1)) - set(taken.tolist()))
    return sets


def probe(cell: Cell, params: Params) -> Trace:
    """One step from a few random states, at random weights that are zero where those of a matrix are.

    Biases outweigh everything else, so that every unit of relu is on and no other one is far in its saturation.
    """
    rng = np.random.default_rng(0)
    drawn = {name: draw_stand_in(rng, values) for name, values in params.items()}
    x, h_0 = rng.uniform(-1.0, 1.0, (1, PROBES, cell.x_size)), rng.uniform(-1.0, 1.0, (PROBES, cell.state_size))
    return forward(cell, drawn, x, cell.probe_states(h_0))


def draw_stand_in(rng: np.random.Generator, values: Array) -> Array:
    """Biases from 1 to 2; a matrix with its zeros, and no row's absolute sum above 0.1."""
    if values.ndim == 1:
        return np.asarray(rng.uniform(1.0, 2.0, values.shape))
    return np.where(values != 0.0, rng.uniform(-0.1, 0.1, values.shape) / values.shape[-1], 0.0)


def reach_units(links: Array, pattern: Array) -> Array:
    """The boolean product, by a matrix product of floats, which is faster.  (N,N), (N,P) -> (N,P)"""
    return links.astype(np.float32) @ pattern.astype(np.float32) > 0.0


class MaskedBlock(NamedTuple):
    """Columns of M that keep the same number of rows; those of a group keep the same rows.

    Attributes:
        rows: (G, K) numbers of the state.
        columns: (G, C) entries of the parameter.
    """

    rows: Array
    columns: Array

    @property
    def shape(self) -> tuple[int, int, int]:
        """(G, K, C)"""
        return (*self.rows.shape, self.columns.shape[1])

    @property
    def size(self) -> int:
        """Numbers that a step holds of it: entries of M, or of the blocks of J where these are larger."""
        G, K, C = self.shape
        return G * K * max(K, C)


def _blocks(pattern: Array) -> list[MaskedBlock]:
    """The columns of a pattern (N,P) sorted into as few dense blocks as they make."""
    kinds, kind = np.unique(pattern.T, axis=0, return_inverse=True)
    alike: dict[tuple[int, int], list[tuple[Array, Array]]] = {}
    for number, rows in enumerate(kinds):
        group = np.flatnonzero(rows), np.flatnonzero(kind.reshape(-1) == number)
        if len(group[0]):
            alike.setdefault((len(group[0]), len(group[1])), []).append(group)
    return [MaskedBlock(*(np.array(part) for part in zip(*groups, strict=True))) for groups in alike.values()]


# ---------------------------------------------------------------------------------------------------- recursion


def masked_recursion(
    trace: Trace, error: Scaled, touched: dict[str, Array], kept: dict[str, list[MaskedBlock]]
) -> dict[str, list[Scaled]]:
    """The gradient of every block, (G,1,C) each: sum over t and sequences of dL_t/dh_t M_t."""
    B, dtype = trace.h.shape[1], trace.h.dtype
    sets = _color_rows(np.concatenate(list(touched.values()), axis=1))
    sums = (np.arange(sets.max() + 1)[:, None] == sets).astype(dtype)
    M = {name: [Scaled.zeros((B, *block.shape), dtype) for block in found] for name, found in kept.items()}
    total = {
        name: [Scaled.zeros((len(block.rows), 1, block.shape[-1]), dtype) for block in found]
        for name, found in kept.items()
    }
    for t in range(1, trace.length + 1):
        J, summed = trace.jacobian(t), immediate_derivatives(trace, t, sums)
        for name, found in kept.items():
            for number, block in enumerate(found):
                rows, columns = block.rows[:, :, None], block.columns[:, None, :]
                carried = times(J[:, rows, block.rows[:, None, :]], M[name][number])
                new = Scaled.of(summed[name][:, sets[rows], columns] * touched[name][rows, columns])
                M[name][number] = (carried + new).normalise()
                loss_t = _contract(error[t - 1], block.rows, M[name][number])
                total[name][number] = (total[name][number] + loss_t).normalise()
    return total


def _contract(error_t: Scaled, rows: Array, M_t: Scaled) -> Scaled:
    """dL_t/dh_t M_t of a block, summed over sequences.  (B,N), (G,K), (B,G,K,C) -> (G,1,C)"""
    mantissa, exponent = np.frexp(error_t.mantissa)
    weights = Scaled(_join_sequences(mantissa[:, rows]), _join_sequences((exponent + error_t.exponent)[:, rows]))
    G, C = len(rows), M_t.shape[-1]
    mantissas = M_t.mantissa.swapaxes(0, 1).reshape(G, -1, C)
    return weight_influence(weights, Scaled(mantissas, M_t.exponent.swapaxes(0, 1).reshape(G, -1, 1)))


def _join_sequences(entries: Array) -> Array:
    """The rows of all sequences as one: (B,G,K) -> (G,1,BK)"""
    return entries.swapaxes(0, 1).reshape(entries.shape[1], 1, -1)


def gather(trace: Trace, name: str, found: list[MaskedBlock], total: list[Scaled]) -> Array:
    """The gradient of one parameter, zero where nothing was kept.  (P,)"""
    gradient = np.zeros(trace.params[name].size, trace.h.dtype)
    for block, summed in zip(found, total, strict=True):
        gradient[block.columns] = summed.value()[:, 0]
    return gradient
