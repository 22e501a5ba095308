"""Eigenvalues of the Jacobian of a network at rest: h = 0, x = 0, all biases zero except given biases of gates.

They place cells at a distance from the edge of stability before anything is measured. They are exact. Every function
takes the block of W that matters, (N, N), and returns eigenvalues in the order of `matrices.eigenvalues`. Biases of
gates are one number for all units.

Source: derivatives of the cells' equations (`networks/cells/`) at zero; for gates see also Chen, Pennington &
Schoenholz 2018.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from bpttlab.fields import check_arguments
from bpttlab.numerics.array import Array
from bpttlab.numerics.matrices import eigenvalues, square


@check_arguments
def lstm_at_origin(W_g: Array, forget: float = 0.0, input_gate: float = 0.0, output_gate: float = 0.0) -> Array:
    """sigma(b_f) + sigma(b_i) sigma(b_o) eig(W_g), and N zeros, because h is a function of c.  (N,N) -> (2N,)"""
    inner = expit(forget) + expit(input_gate) * expit(output_gate) * eigenvalues(W_g)
    return order_by_modulus(np.concatenate([inner, np.zeros_like(inner)]))


@check_arguments
def gru_at_origin(W_n: Array, reset: float = 0.0, update: float = 0.0) -> Array:
    """u + (1 - u) r eig(W_n) with r = sigma(b_r), u = sigma(b_u): 1/2 + 1/4 eig(W_n) without biases.  (N,N) -> (N,)"""
    kept = expit(update)
    return order_by_modulus(kept + expit(-update) * expit(reset) * eigenvalues(W_n))


@check_arguments
def minimal_rnn_at_origin(W: Array, update: float = 0.0) -> Array:
    """sigma(b_u), N times: at rest the gate multiplies zero, and W has no effect.  (N,N) -> (N,)"""
    return np.full(len(square(W)), expit(update), np.complex128)


@check_arguments
def leaky_at_origin(W: Array, alpha: float, slope: float = 1.0) -> Array:
    """1 - alpha + alpha f'(0) eig(W), with f'(0) = 1 of tanh and 1/4 of the logistic function.  (N,N) -> (N,)"""
    return order_by_modulus(1.0 - alpha + alpha * slope * eigenvalues(W))


@check_arguments
def antisymmetric_at_origin(W: Array, epsilon: float, gamma: float) -> Array:
    """1 + epsilon eig(W - W^T - gamma I): 1 - epsilon gamma, and imaginary parts in pairs.  (N,N) -> (N,)"""
    W = square(W)
    return order_by_modulus(1.0 + epsilon * (eigenvalues(W - W.T) - gamma))


def order_by_modulus(values: Array) -> Array:
    """The largest modulus first; equal moduli by angle."""
    return np.asarray(values[np.lexsort((np.angle(values), -np.abs(values)))])
