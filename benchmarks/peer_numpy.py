"""Plain NumPy: the program of a careful user, who allocates all arrays once and writes every result into them.

Index legend: T time, B sequence, I input, N hidden unit, O output.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.problems import Array, Problem

KINDS = ("elman",)


def gradient(problem: Problem) -> Callable[[], dict[str, Array]]:
    """A function that computes the gradient by every parameter, into the same arrays in each call."""
    params, (T, B, I), N = problem.params, problem.x.shape, problem.shape.N
    V, W, U, b_h, b_y = (params[name] for name in ("V", "W", "U", "b_h", "b_y"))
    x, target = problem.x.reshape(T * B, I), problem.target.reshape(T * B, -1)
    h = np.zeros((T + 1, B, N), problem.dtype)
    slope, delta = np.empty((2, T, B, N), problem.dtype)
    product, error = np.empty((B, N), problem.dtype), np.empty_like(target)
    rows, deltas = h[1:].reshape(T * B, N), delta.reshape(T * B, N)
    found = {name: np.empty_like(value) for name, value in params.items()}

    def forward() -> None:
        """h_t = tanh(V x_t + W h_{t-1} + b_h), and the derivative of the loss by U h_t + b_y."""
        np.matmul(x, V.T, out=rows)
        np.add(rows, b_h, out=rows)
        for t in range(1, T + 1):
            np.matmul(h[t - 1], W.T, out=product)
            np.add(h[t], product, out=product)
            np.tanh(product, out=h[t])
        np.matmul(rows, U.T, out=error)
        np.add(error, b_y, out=error)
        np.subtract(error, target, out=error)
        np.multiply(error, error.dtype.type(2.0 / (T * B)), out=error)

    def backward() -> None:
        """delta_t = (1 - h_t^2) (U^T error_t + W^T delta_{t+1})."""
        np.matmul(error, U, out=deltas)
        np.multiply(h[1:], h[1:], out=slope)
        np.subtract(1.0, slope, out=slope)
        for t in range(T - 1, 0, -1):
            np.multiply(delta[t], slope[t], out=delta[t])
            np.matmul(delta[t], W, out=product)
            np.add(delta[t - 1], product, out=delta[t - 1])
        np.multiply(delta[0], slope[0], out=delta[0])

    def once() -> dict[str, Array]:
        forward()
        backward()
        np.matmul(deltas.T, x, out=found["V"])
        np.matmul(deltas.T, h[:-1].reshape(T * B, N), out=found["W"])
        np.matmul(error.T, rows, out=found["U"])
        np.sum(deltas, axis=0, out=found["b_h"])
        np.sum(error, axis=0, out=found["b_y"])
        return found

    return once
