"""Rows of numbers with an exponent each, as in `numerics.scaled`, compiled.

A row is changed only where its largest entry leaves the middle of the range.
"""

from __future__ import annotations

import math
from typing import Any

from bpttlab.gradients.compiled.compilation import compiled
from bpttlab.numerics.array import Array
from bpttlab.numerics.scaled import ZERO_EXPONENT

ALWAYS = -1
"""In place of exponents within which a row is left as it is: rows get their largest entry into [1/2, 1)."""


@compiled("nnan", "nsz")
def find_largest(row: Array) -> Any:
    """max |row|; a NaN in it counts for nothing and stays where it is."""
    most = abs(row[0])
    for n in range(1, row.size):
        most = max(most, abs(row[n]))
    return most


@compiled()
def rescale_row(row: Array, middle: int) -> int:
    """Takes a power of two out of a row whose largest entry is not within 2^-middle and 2^middle: its exponent."""
    most = float(find_largest(row))
    if most == 0.0 or not most < math.inf:
        return 0
    if math.ldexp(1.0, -middle) <= most <= math.ldexp(1.0, middle):
        return 0
    exponent = math.frexp(most)[1]
    half = exponent // 2  # 2^-exponent may be beyond the range
    first, second = math.ldexp(1.0, -half), math.ldexp(1.0, half - exponent)
    for n in range(row.size):
        row[n] = row[n] * first * second
    return exponent


@compiled()
def normalise_row(row: Array, exponent: int) -> int:
    """A row with its largest entry in [1/2, 1), as in `scaled`; its exponent then, that of zero for zeros."""
    return ZERO_EXPONENT if find_largest(row) == 0.0 else exponent + rescale_row(row, ALWAYS)


@compiled()
def scale_factor(exponent: int, smallest: int) -> float:
    """2^exponent, zero where it is so small that what it multiplies is nothing beside a number of order one."""
    if exponent == 0:
        return 1.0
    return 0.0 if exponent < smallest else math.ldexp(1.0, int(exponent))


@compiled("contract", "nsz")
def add_part(row: Array, exponent: int, part: float, total: Array, of_total: int, middle: int, smallest: int) -> int:
    """total += part * row, each with its exponent; returns that of the sum."""
    if part == 0.0 or find_largest(row) == 0.0:
        return of_total
    if of_total == ZERO_EXPONENT:
        for n in range(row.size):
            total[n] = row[n] * part
        return exponent
    whole = max(exponent, of_total)
    from_row, from_total = scale_factor(exponent - whole, smallest) * part, scale_factor(of_total - whole, smallest)
    for n in range(row.size):
        total[n] = total[n] * from_total + row[n] * from_row
    return whole + rescale_row(total, middle)


@compiled()
def are_whole_numbers(exponents: Array) -> bool:
    """Whether there is no exponent but zero, and that of zero."""
    others = 0
    for exponent in exponents.ravel():
        others += 0 if exponent == 0 or exponent == ZERO_EXPONENT else 1
    return others == 0


@compiled()
def is_in_range(rows: Array, least: float, most: float) -> bool:
    """Whether the largest entry of every row is zero or lies in that range.  (Q,N)"""
    for q in range(len(rows)):
        large = others = 0
        for n in range(rows.shape[1]):
            size = abs(rows[q, n])
            large += 1 if size >= least else 0
            others += 0 if size <= most else 1
        if others or (large == 0 and find_largest(rows[q]) != 0.0):
            return False
    return True


@compiled()
def has_no_underflow(delta: Array, slopes: Array, da: Array, least: float) -> bool:
    """Whether no row of da, made of delta and slopes, may have underflowed.  (Q,S), (Q,any), (Q,A)"""
    for q in range(len(da)):
        large = 0
        for n in range(da.shape[1]):
            large += 1 if abs(da[q, n]) >= least else 0
        if large == 0 and find_largest(slopes[q]) != 0.0 and find_largest(delta[q]) != 0.0:
            return False
    return True
