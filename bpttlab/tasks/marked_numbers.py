"""Numbers with markers: the input of the adding problem and similar tasks.

Index legend: T time, B sequence, M marked steps.
"""

from __future__ import annotations

import numpy as np

from bpttlab.numerics.array import Array


def mark_steps(values: Array, steps: Array) -> tuple[Array, Array]:
    """x_t = (value, marker), the marker 1 at some steps and 0 elsewhere.  (T, B), (M, B) from 0 -> (T, B, 2), (M, B)

    Returns:
        x, and the values that are marked.
    """
    sequence = np.arange(values.shape[1])
    x = np.stack([values, np.zeros_like(values)], axis=-1)
    x[steps, sequence, 1] = 1.0
    return x, values[steps, sequence]


def mark_two_steps(rng: np.random.Generator, length: int, batch_size: int) -> tuple[Array, Array, Array]:
    """Values from U(0, 1), one step marked in the first half (t <= floor(T/2)) and one in the second, both uniform.

    Returns:
        x (T, B, 2), the two marked values (2, B), and the first marked step (B,), counted from 1.
    """
    values = rng.random((length, batch_size))
    first = rng.integers(0, length // 2, batch_size)
    second = rng.integers(length // 2, length, batch_size)
    x, numbers = mark_steps(values, np.stack([first, second]))
    return x, numbers, first + 1
