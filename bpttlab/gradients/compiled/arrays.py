"""What compiled loops do with whole arrays: memory that begins with a cache line, products within a step, sums.

Index legend: Q rows, K terms of a sum, M columns, T time, B sequence, N hidden unit, A pre-activations, I input.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from bpttlab.gradients.compiled.compilation import compiled
from bpttlab.gradients.compiled.products import add_rows
from bpttlab.numerics.array import Array

CACHE_LINE = 64
"""Bytes of a cache line, and of the widest vector: one that lies across two lines takes two accesses."""


@compiled()
def allocate(rows: int, columns: int, dtype: Any) -> Array:
    """(rows, columns) of any numbers, of which the first begins a cache line: large arrays of NumPy begin elsewhere.

    Where rows are whole lines, no vector of a product then lies across two, and it takes 0.6 to 0.7 of the time.
    """
    whole = np.empty(rows * columns + CACHE_LINE, dtype)
    first = (-np.int64(whole.ctypes.data) % CACHE_LINE) // whole.itemsize
    return whole[first : first + rows * columns].reshape(rows, columns)


def allocate_aligned(make: Callable[..., Array], shape: tuple[int, ...], dtype: Any) -> Array:
    """`make(shape, dtype)`, beginning with a cache line as in `allocate`.

    It is NumPy's own memory, which comes in large pages: Numba's takes six times as long to be written to at first.
    """
    size, itemsize = math.prod(shape), np.dtype(dtype).itemsize
    whole = make(size + CACHE_LINE // itemsize, dtype)
    skipped = -whole.ctypes.data % CACHE_LINE // itemsize
    return whole[skipped : skipped + size].reshape(shape)


def align(array: Array) -> Array:
    """A copy that begins with a cache line."""
    out = allocate_aligned(np.empty, array.shape, array.dtype)
    out[...] = array
    return out


@compiled()
def copy_rows(rows: Array, out: Array) -> None:
    """out = rows, which NumPy's slices do as well: for their errors Numba compiles the formatting of text.  (Q,M)"""
    for q in range(rows.shape[0]):
        for m in range(rows.shape[1]):
            out[q, m] = rows[q, m]


@compiled()
def realign(matrix: Array) -> Array:
    """The same numbers, in memory from `allocate`."""
    out = allocate(matrix.shape[0], matrix.shape[1], matrix.dtype)
    copy_rows(matrix, out)
    return out


@compiled()
def transpose(matrix: Array, first: int, end: int) -> Array:
    """Some rows as columns, contiguous.  (N,M) -> (M, end - first)"""
    out = allocate(matrix.shape[1], end - first, matrix.dtype)
    for m in range(matrix.shape[1]):
        for n in range(end - first):
            out[m, n] = matrix[first + n, m]
    return out


@compiled("contract", "nsz")
def add_one_row(left: Array, right: Array, out: Array) -> None:
    """out += left . right.  (K,), (K,M) -> (M,); eight terms at a time in two chains, since a step waits for them."""
    K, M = right.shape
    terms = K - K % 8
    for k in range(0, terms, 8):
        a_0, a_1, a_2, a_3 = left[k], left[k + 1], left[k + 2], left[k + 3]
        a_4, a_5, a_6, a_7 = left[k + 4], left[k + 5], left[k + 6], left[k + 7]
        for m in range(M):
            early = out[m] + a_0 * right[k, m] + a_1 * right[k + 1, m] + a_2 * right[k + 2, m] + a_3 * right[k + 3, m]
            late = a_4 * right[k + 4, m] + a_5 * right[k + 5, m] + a_6 * right[k + 6, m] + a_7 * right[k + 7, m]
            out[m] = early + late
    for k in range(terms, K):
        for m in range(M):
            out[m] += left[k] * right[k, m]


@compiled()
def add_product(left: Array, right: Array, out: Array) -> None:
    """out += left . right, within a step.  (Q,K), (K,M) -> (Q,M)"""
    if len(left) == 1:
        add_one_row(left[0], right, out[0])
    else:
        add_rows(left, right, out)


@compiled()
def multiply_many(left: Array, right: Array, out: Array) -> None:
    """out = left . right for each of many matrices.  (M,Q,K), (M,K,N) -> (M,Q,N)"""
    out[:] = 0.0
    for m in range(len(out)):
        add_rows(left[m], right[m], out[m])


@compiled("contract", "nsz")
def add_columns(rows: Array, out: Array) -> None:
    """out += the sum of all rows.  (Q,M) -> (M,)"""
    for q in range(len(rows)):
        for m in range(out.size):
            out[m] += rows[q, m]


@compiled()
def is_finite(values: Array) -> bool:
    """Whether no number is NaN or infinite."""
    flat, others = values.reshape(-1), 0
    for n in range(flat.size):
        others += 0 if abs(flat[n]) < math.inf else 1
    return others == 0


@compiled()
def project(x: Array, V: Array, b: Array, z: Array) -> None:
    """z = x V^T + b.  (Q,I), V^T (I,A), (A,) -> (Q,A)"""
    for q in range(len(z)):
        for n in range(b.size):
            z[q, n] = b[n]
    add_rows(x, V, z)


@compiled()
def readout_slice(h: Array, N: int, room: Array) -> Array:
    """The first N numbers of every state, as rows.  (T,B,S) -> (T B,N)"""
    T, B, S = h.shape
    if S == N:
        return h.reshape(T * B, N)
    for t in range(T):
        for b in range(B):
            for n in range(N):
                room[t * B + b, n] = h[t, b, n]
    return room[: T * B]
