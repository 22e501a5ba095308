"""Parts of cells with gates: gates side by side, and their weights.

A cell with gates keeps one block of N numbers for each, side by side along the last axis, in the order of its file.

Index legend: T time, B sequence, I input, N hidden unit, A all pre-activations of a step; `...` any leading axes.
"""

from __future__ import annotations

import numpy as np

from bpttlab.networks import activations
from bpttlab.networks.activations import Activation, logistic, logistic_slope, tanh_slope
from bpttlab.networks.cells.cell import Params, rows
from bpttlab.networks.initializers import Initializer
from bpttlab.numerics.array import Array

LOGISTIC, TANH = activations.find_activation("logistic"), activations.find_activation("tanh")
"""The activations of gates, and of candidates and the output of an LSTM."""


def concat_blocks(*blocks: Array) -> Array:
    """(...,N), (...,N), ... -> (...,kN)"""
    return np.concatenate(blocks, axis=-1)


def split_blocks(array: Array, blocks: int) -> list[Array]:
    """The inverse: views.  (...,kN) -> k times (...,N)"""
    return np.split(array, blocks, axis=-1)


def weights_vjp(da: Array, weights: Array) -> Array:
    """W^T da, whatever the leading axes.  (...,A), (A,N) -> (...,N)"""
    return (rows(da) @ weights).reshape(*da.shape[:-1], weights.shape[1])


def scaled_rows(factors: Array, weights: Array) -> Array:
    """diag(factors) W.  (...,N), (...,N,N) -> (...,N,N)"""
    return factors[..., :, None] * weights


def scaled_rows_vjp(factors: Array, weights: Array, cotangent: Array) -> tuple[Array, Array]:
    """Cotangents of factors and weights from that of `scaled_rows`, the second summed over leading axes.

    (...,N), (N,N), (...,N,N) -> (...,N), (N,N)
    """
    of_weights = np.einsum("rn,rnm->nm", rows(factors), cotangent.reshape(-1, *weights.shape))
    return np.einsum("...nm,nm->...n", cotangent, weights), of_weights


def diagonal_of(matrices: Array) -> Array:
    """The cotangent of the entries from that of `diagonal`.  (...,N,N) -> (...,N)"""
    return np.diagonal(matrices, axis1=-2, axis2=-1)


def diagonal(entries: Array) -> Array:
    """(...,N) -> (...,N,N)"""
    return entries[..., :, None] * np.eye(entries.shape[-1], dtype=entries.dtype)


def memory_slopes(a_i: Array, a_f: Array, a_g: Array, a_o: Array, c_prev: Array, y: Array) -> tuple[Array, ...]:
    """s_i, s_f, s_g, s_o, f and k of an LSTM, whose output is o_t . tanh(y): y is c_t, or what is made of it.

    s_i, s_f, s_g = dc_t/d(a_i, a_f, a_g),  s_o and k = the derivatives of the output by a_o and y,  f = dc_t/dc_{t-1}.
    All (...,N).
    """
    return (
        logistic_slope(a_i) * np.tanh(a_g),
        logistic_slope(a_f) * c_prev,
        tanh_slope(a_g) * logistic(a_i),
        logistic_slope(a_o) * np.tanh(y),
        logistic(a_f),
        logistic(a_o) * tanh_slope(y),
    )


def memory_activations(a_i: Array, a_f: Array, a_g: Array, a_o: Array, y: Array) -> list[tuple[Activation, Array]]:
    """Each activation of an LSTM with its input: of the gates, of the candidate, and of y, whose tanh goes out."""
    return [(LOGISTIC, a_i), (LOGISTIC, a_f), (TANH, a_g), (LOGISTIC, a_o), (TANH, y)]


def memory_by_state(s_i: Array, s_f: Array, s_g: Array, W: list[Array]) -> Array:
    """dc_t/dh_{t-1} of an LSTM by way of the gates: the sum of diag(s) W over i, f and g.  -> (...,N,N)"""
    W_i, W_f, W_g, _ = W
    return scaled_rows(s_i, W_i) + scaled_rows(s_f, W_f) + scaled_rows(s_g, W_g)


def affine_gradient(x: Array, h_prev: Array, da: Array) -> Params:
    """da_t times the immediate derivatives of V x_t + W h_{t-1} + b_h, summed over all leading axes."""
    da = rows(da)
    return {"V": da.T @ rows(x), "W": da.T @ rows(h_prev), "b_h": da.sum(axis=0)}


def affine_gradient_each(x: Array, h_prev: Array, da: Array) -> Params:
    """The same for each sequence by itself, summed over steps.  (T,B,I), (T,B,N), (T,B,A) -> (B,A,I), (B,A,N), (B,A)"""
    x, h_prev, of_sequences = (np.ascontiguousarray(array.swapaxes(0, 1)) for array in (x, h_prev, da))
    columns = of_sequences.swapaxes(1, 2)
    return {"V": columns @ x, "W": columns @ h_prev, "b_h": of_sequences.sum(axis=1)}


def affine_immediate(x: Array, h_prev: Array, da: Array) -> Params:
    """The same row by row, with the leading axes of da: outer products, without the sum."""
    x, h_prev = x[..., None, :], h_prev[..., None, :]
    return {"V": da[..., None] * x, "W": da[..., None] * h_prev, "b_h": np.array(da)}


def sample_blocks(
    rng: np.random.Generator, initializer: Initializer, size: int, factors: tuple[float, ...]
) -> list[Array]:
    """A recurrent block for each factor, each drawn by the initializer from a stream of its own."""
    streams = rng.spawn(len(factors))
    return [factor * initializer.sample(stream, size) for factor, stream in zip(factors, streams, strict=True)]
