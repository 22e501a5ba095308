"""The step back of a stack, as compiled walks call it: that of its layers, from the last to the first.

All layers are of one kind. The linearization of a step is [that of layer 1, h^1, that of layer 2, h^2, ..., that of
layer L], and the state and the pre-activations are those of the layers side by side (`networks.cells.stacked`).

Index legend: N hidden unit, S state and A pre-activations of one layer, Q sequences of a step, R rows for each.
"""

from __future__ import annotations

import numpy as np

from bpttlab.gradients.compiled.arrays import add_product, copy_rows
from bpttlab.gradients.compiled.kinds import LayerWeights, StackedKind, define_loops, pull_back
from bpttlab.gradients.compiled.lstm import step_back_gates
from bpttlab.numerics.array import Array


def pull_back_stacked(
    kind: StackedKind, W: LayerWeights, slopes: Array, dh: Array, da: Array, dh_prev: Array, gated: Array
) -> None:
    """`Stacked.vjp`: what a layer's input receives is added to h_t of the layer below.

    (R Q,LS) -> (R Q,LA), (R Q,LS)
    """
    rows, L, N, S, A, width = len(dh), kind.layers, kind.units, kind.state, kind.local, kind.slopes
    own_slopes, own_dh = np.empty((len(slopes), width), slopes.dtype), np.empty((rows, S), dh.dtype)
    own_da, own_prev = np.empty((rows, A), dh.dtype), np.empty((rows, S), dh.dtype)
    own_gated, heard = np.empty((rows, kind.gated), dh.dtype), np.empty((rows, N), dh.dtype)
    for layer in range(L - 1, -1, -1):
        copy_rows(slopes[:, layer * (width + N) : layer * (width + N) + width], own_slopes)
        copy_rows(dh[:, layer * S : (layer + 1) * S], own_dh)
        if layer < L - 1:
            for row in range(rows):
                for n in range(N):
                    own_dh[row, kind.first + n] += heard[row, n]
        pull_back(kind.layer, W.recurrent[layer], own_slopes, own_dh, own_da, own_prev, own_gated)
        copy_rows(own_da, da[:, layer * A : (layer + 1) * A])
        copy_rows(own_prev, dh_prev[:, layer * S : (layer + 1) * S])
        if layer > 0:
            for row in range(rows):
                for n in range(N):
                    heard[row, n] = 0.0
            add_product(own_da, W.inputs[layer - 1], heard)


define_loops(StackedKind, pull_back=pull_back_stacked, step_back=step_back_gates)
