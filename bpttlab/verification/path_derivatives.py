"""Derivatives of the forward pass, path by path, by the complex step. They use no derivative rule of the package.

    D[t,k] = dh_t/dtheta_k          theta_k: the parameters in step k alone

A step is computed with one number changed by i STEP, and its state is carried on through the unchanged steps after it.
So D[t,k] is the product of Jacobians and an immediate derivative in the notes. Every scheme keeps some of these terms,
and dL/dtheta is the sum of all of them. Only `Cell.project`, `Cell.step` and `Cell.read` are called.

A relu has a kink at zero, where the complex step is undefined; pre-activations of random networks are never there.

Index legend: T time, B sequence, I input, N hidden state, E all changed numbers, one after another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from bpttlab.gradients.trace import Trace
from bpttlab.networks.cells.cell import Cell, Params
from bpttlab.numerics.array import Array

_STEP = 1e-30

LossTerms = Callable[[Array], Array]
"""y_hat (T,B,O) -> what each step of each sequence adds to the loss, (T,B); it accepts complex numbers."""


@dataclass(frozen=True)
class Paths:
    """All D[t,k] of one trajectory, in float64.

    Attributes:
        cell, params, x, h: the network, in float64, and its trajectory, as in `Trace`.
    """

    cell: Cell
    params: Params
    x: Array
    h: Array

    @classmethod
    def of(cls, trace: Trace) -> Paths:
        params = {name: np.asarray(value, np.float64) for name, value in trace.params.items()}
        return cls(trace.cell, params, np.asarray(trace.x, np.float64), np.asarray(trace.h, np.float64))

    @property
    def length(self) -> int:
        return len(self.x)

    @cached_property
    def parts(self) -> dict[str, slice]:
        """The place of each parameter among all changed numbers; "x" is the input of the step, "h" the state before."""
        sizes = {name: self.params[name].size for name in self.cell.recurrent_parameters}
        sizes |= {"x": self.x.shape[-1], "h": self.h.shape[-1]}
        stops = np.cumsum(list(sizes.values())).tolist()
        return {name: slice(stop - size, stop) for (name, size), stop in zip(sizes.items(), stops, strict=True)}

    @cached_property
    def immediate(self) -> Array:
        """D[k,k].  (T,B,N,E)"""
        columns = [self.derivative_by(name, index) for name in self.parts for index in self.indices(name)]
        return np.stack(columns, axis=-1)

    def indices(self, name: str) -> list[tuple[int, ...]]:
        """The places of all numbers of a parameter, of an input or of a state."""
        return list(np.ndindex(self.params[name].shape if name in self.params else (self.part_size(name),)))

    def part_size(self, name: str) -> int:
        return self.parts[name].stop - self.parts[name].start

    def derivative_by(self, name: str, index: tuple[int, ...]) -> Array:
        """dh_k by one number of step k, at every k.  (T,B,N)"""
        arrays = {**self.params, "x": self.x, "h": self.h[:-1]}
        at: Any = index if name in self.params else (..., *index)
        arrays[name] = arrays[name].astype(complex)
        arrays[name][at] += 1j * _STEP
        rows = one_step(self.cell, {k: arrays[k] for k in self.params}, flat(arrays["x"]), flat(arrays["h"]))
        return np.imag(rows).reshape(self.h[1:].shape) / _STEP

    @cached_property
    def terms(self) -> Array:
        """D[t,k] at [t-1,k-1], zero for k > t.  (T,T,B,N,E)"""
        (T, B, N), E = self.h[1:].shape, self.immediate.shape[-1]
        found = np.zeros((T, T, B, N, E))
        for t in range(T):
            found[t, t] = self.immediate[t]
            if t:
                found[t, :t] = self.carry(t, found[t - 1, :t])
        return found

    def carry(self, t: int, derivatives: Array) -> Array:
        """Derivatives of h_{t-1} as they leave the step from it.  (K,B,N,E) -> (K,B,N,E)"""
        K, B, N, E = derivatives.shape
        states = self.h[t][:, :, None] + 1j * _STEP * derivatives
        rows = flat(np.moveaxis(states, -1, 1))
        x_t = np.broadcast_to(self.x[t], (K, E, *self.x[t].shape))
        found = np.imag(one_step(self.cell, self.params, flat(x_t), rows)) / _STEP
        return np.moveaxis(found.reshape(K, E, B, N), 1, -1)

    # ------------------------------------------------------------------------------------ what is made of them

    def term(self, name: str) -> Array:
        """D[t,k] of one parameter, or of "x" or "h".  (T,T,B,N,entries)"""
        return self.terms[..., self.parts[name]]

    def jacobian(self, t: int, k: int | None = None) -> Array:
        """dh_t/dh_k, k = t - 1 by default.  (B,N,N)"""
        k = t - 1 if k is None else k
        return self.term("h")[t - 1, k]

    def of_sequences(self, error: Array, weight: Array, name: str) -> Array:
        """The part of each sequence in the gradient of one parameter.

        Args:
            error: (T,B,N), dL_t/dh_t.
            weight: (T,T) or (T,T,B), the weight of the term of loss t and step k.

        Returns:
            (B,entries)
        """
        weight = weight if weight.ndim == 3 else weight[..., None]
        return np.einsum("tkb,tbn,tkbne->be", np.broadcast_to(weight, self.terms.shape[:3]), error, self.term(name))

    def gradient(self, error: Array, weight: Array | None = None) -> Params:
        """The gradient of the recurrent parameters, and of "h_0", which counts as step 1."""
        weight = np.ones((self.length, self.length)) if weight is None else weight
        names = self.cell.recurrent_parameters
        found = {name: self.of_sequences(error, weight, name).sum(axis=0) for name in names}
        first = weight.copy()
        first[:, 1:] = 0.0
        shaped = {name: value.reshape(self.params[name].shape) for name, value in found.items()}
        return {**shaped, "h_0": self.of_sequences(error, first, "h")}

    def error(self, loss: LossTerms) -> Array:
        """dL/dh_t by way of y_hat_t alone.  (T,B,N)"""
        found: Array = np.zeros(self.h[1:].shape)
        for n in range(found.shape[-1]):
            states = self.h[1:].astype(complex)
            states[..., n] += 1j * _STEP
            found[..., n] = np.imag(loss(self.cell.read(self.params, states))) / _STEP
        return found

    def readout_gradient(self, loss: LossTerms) -> Params:
        """dL/dU and dL/db_y."""
        found = {name: np.zeros(self.params[name].shape) for name in ("U", "b_y")}
        for name, gradient in found.items():
            for index in np.ndindex(gradient.shape):
                params = {**self.params, name: self.params[name].astype(complex)}
                params[name][index] += 1j * _STEP
                gradient[index] = np.imag(loss(self.cell.read(params, self.h[1:])).sum()) / _STEP
        return found


def one_step(cell: Cell, params: Params, x: Array, h_prev: Array) -> Array:
    """One step of many rows, each with an input and a state of its own.  (R,I), (R,N) -> (R,N)"""
    return cell.step(params, cell.project(params, x), h_prev)


def flat(array: Array) -> Array:
    """All leading axes as one."""
    return array.reshape(-1, array.shape[-1])


# ------------------------------------------------------------------------------------------ losses by definition


def defined_loss(name: str, target: Array, mask: Array, reduction: str) -> LossTerms:
    """A loss by its definition, term by term, in plain numbers: m_t L_t / B, over sum m_t for "mean"."""
    weights = np.asarray(mask, float) / (sum(mask) if reduction == "mean" else 1.0)

    def terms(y_hat: Array) -> Array:
        per_step: Any = DEFINITIONS[name](y_hat, target)
        return weights[:, None] * per_step / y_hat.shape[1]

    return terms


def _squared_error(y_hat: Array, target: Array) -> Array:
    return ((y_hat - target) ** 2).sum(axis=-1)


def _softmax_cross_entropy(y_hat: Array, target: Array) -> Array:
    probabilities = np.exp(y_hat) / np.exp(y_hat).sum(axis=-1, keepdims=True)
    return -np.log(np.take_along_axis(probabilities, target[..., None], axis=-1)[..., 0])


def _sigmoid_cross_entropy(y_hat: Array, target: Array) -> Array:
    one = 1.0 / (1.0 + np.exp(-y_hat))
    return -(target * np.log(one) + (1.0 - target) * np.log(1.0 - one)).sum(axis=-1)


DEFINITIONS: dict[str, Callable[[Array, Array], Array]] = {
    "squared_error": _squared_error,
    "softmax_cross_entropy": _softmax_cross_entropy,
    "sigmoid_cross_entropy": _sigmoid_cross_entropy,
}
