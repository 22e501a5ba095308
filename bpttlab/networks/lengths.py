"""Sequences of different length in one batch: which steps of it are valid, and what stands at the others.

Each sequence has its first steps, and padding after them. Nothing of padding enters a sum: a batch is cut at the end
of its longest sequence, and zeros replace what stands in the padding, before anything is computed.

Index legend: T time, B sequence.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bpttlab.errors import ConfigurationError
from bpttlab.numerics.array import Array


def check_lengths(lengths: Any, T: int, B: int) -> Array:
    """The length of each sequence, (B,) int64, or the error that names the first that cannot be.

    Raises:
        ConfigurationError: not one integer from 1 to T for each of B sequences.
    """
    allowed = f"must be (B,) = ({B},) integers from 1 to T = {T}"
    try:
        found = np.asarray(lengths)
    except (ValueError, TypeError):
        raise ConfigurationError(f"lengths: is no array; {allowed}") from None
    if found.shape != (B,):
        advice = "; of a mask of valid steps they are lab.find_lengths(mask)" if found.shape == (T, B) else ""
        raise ConfigurationError(f"lengths: shape {found.shape}; {allowed}{advice}")
    if found.dtype.kind not in "iu":
        raise ConfigurationError(f"lengths: dtype {found.dtype}; {allowed}")
    bad = np.flatnonzero((found < 1) | (found > T))
    if len(bad):
        raise ConfigurationError(f"lengths: holds {found[bad[0]]} for sequence {bad[0]} (from 0); {allowed}")
    return found.astype(np.int64)


def find_lengths(mask: Any) -> Array:
    """The length of each sequence from a mask of valid steps: (T, B) ones and zeros, or booleans -> (B,) int64.

    Raises:
        ConfigurationError: not of that shape, another number, a valid step after one that is not, or no valid step.
    """
    found = np.asarray(mask)
    if found.ndim != 2 or found.dtype.kind not in "biuf" or not len(found):
        raise ConfigurationError(f"mask: shape {found.shape} and dtype {found.dtype}; must be (T, B) zeros and ones")
    other = np.argwhere((found != 0) & (found != 1))
    if len(other):
        t, b = other[0]
        raise ConfigurationError(f"mask: holds {found[t, b]} at t = {t + 1} of sequence {b} (from 0); must be 0 or 1")
    valid = found.astype(bool)
    holes = np.argwhere(valid[1:] & ~valid[:-1])
    if len(holes):
        t, b = holes[0]
        raise ConfigurationError(
            f"mask: sequence {b} (from 0) has a hole before t = {t + 2}; must be ones to its last step, then zeros"
        )
    if not valid[0].all():
        raise ConfigurationError(f"mask: sequence {np.argmin(valid[0])} (from 0) has no valid step; must have one")
    return np.asarray(valid.sum(axis=0), np.int64)


def choose_lengths(lengths: Any, mask: Any, T: int, B: int) -> Array | None:
    """The lengths that were given as such or as a mask of valid steps; None where neither was.

    Raises:
        ConfigurationError: both were, or as `check_lengths` and `find_lengths`.
    """
    if mask is None:
        return None if lengths is None else check_lengths(lengths, T, B)
    if lengths is not None:
        raise ConfigurationError("lengths and mask: both say which steps are valid; must be one of the two")
    if np.shape(mask) != (T, B):
        swapped = "; it looks like (B, T): write mask.T" if np.shape(mask) == (B, T) else ""
        raise ConfigurationError(f"mask: shape {np.shape(mask)}; must be (T, B) = {(T, B)}{swapped}")
    return find_lengths(mask)


def drop_equal(lengths: Array) -> Array | None:
    """The lengths, or None where all are equal: then there is no padding once the batch is cut at its longest."""
    return None if (lengths == lengths[0]).all() else lengths


def find_valid(lengths: Array, T: int) -> Array:
    """Whether each step is within its sequence.  (B,) -> (T, B)"""
    return np.arange(1, T + 1)[:, None] <= lengths


def cut_padding(values: Array, lengths: Array) -> Array:
    """The steps up to the end of the longest sequence, with zeros for padding.  (T,B,...) -> (max(lengths),B,...)"""
    longest = int(lengths.max())
    if (lengths == longest).all():
        return values[:longest]
    found = np.array(values[:longest])
    found[~find_valid(lengths, longest)] = 0
    return found
