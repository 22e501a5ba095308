"""Arrow arrays of plain values, without pandas.

`pyarrow.array` imports pandas, if it is installed, to ask whether its values are pandas' own. That takes a fifth of a
second, which is more than a small run, in every process that stores something. Here a column is put together from its
buffers; of values that are not plain `pyarrow.array` decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from bpttlab.numerics.array import Array
from bpttlab.store.column import arrow_type

MOST_EXACT = 2**53
"""Up to which every integer is a float64."""
MOST_INTEGER = 2**63 - 1
MOST_STRING_BYTES = 2**31 - 1
"""Of all strings of an array; offsets have 32 bits."""


def to_arrow(values: Any, dtype: str) -> pa.Array:
    """`pyarrow.array(values, type, from_pandas=True)`: None, NaN and NA become null.

    Raises:
        ArrowException, TypeError, ValueError, OverflowError: as there.
    """
    plain: pa.Array | None = None
    if type(values) is np.ndarray and values.ndim == 1:
        plain = of_objects(values, dtype) if values.dtype.kind in "OU" else of_numbers(values, dtype)
    elif type(values) is list:
        plain = OF_LISTS[dtype](values)
    return pa.array(values, type=arrow_type(dtype), from_pandas=True) if plain is None else plain


def of_objects(values: Array, dtype: str) -> pa.Array | None:
    """As a list of them; None, here and below, where the values are not plain."""
    return OF_LISTS[dtype](values.tolist()) if values.dtype.kind == "O" or dtype == "string" else None


def of_numbers(values: Array, dtype: str) -> pa.Array | None:
    """An array of the same kind of numbers."""
    kind = values.dtype.kind
    if dtype == "float64" and kind == "f" and values.itemsize <= 8:
        return join_buffers(dtype, len(values), ~np.isnan(values), np.ascontiguousarray(values, np.float64))
    if dtype == "int64" and (kind == "i" or (kind == "u" and values.itemsize < 8)):
        return join_buffers(dtype, len(values), None, np.ascontiguousarray(values, np.int64))
    if dtype == "bool" and kind == "b":
        return join_buffers(dtype, len(values), None, pack_bits(values))
    return None


def of_floats(values: Sequence[Any]) -> pa.Array | None:
    if not all(isinstance(value, float) or value is None or is_integer(value, MOST_EXACT) for value in values):
        return None
    return of_numbers(np.array([np.nan if value is None else value for value in values], np.float64), "float64")


def is_integer(value: Any, most: int) -> bool:
    """Whether it is an integer of at most this size."""
    return (type(value) is int or isinstance(value, np.integer)) and -most <= int(value) <= most


def of_integers(values: Sequence[Any]) -> pa.Array | None:
    if not all(value is None or is_integer(value, MOST_INTEGER) for value in values):
        return None
    known, numbers = split_missing(values, 0, np.int64)
    return join_buffers("int64", len(values), known, numbers)


def of_booleans(values: Sequence[Any]) -> pa.Array | None:
    if not all(value is None or type(value) is bool for value in values):
        return None
    known, bits = split_missing(values, False, np.bool_)
    return join_buffers("bool", len(values), known, pack_bits(bits))


def of_strings(values: Sequence[Any]) -> pa.Array | None:
    if not all(value is None or isinstance(value, str) for value in values):
        return None
    try:
        encoded = [b"" if value is None else value.encode() for value in values]
    except UnicodeEncodeError:
        return None
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    if ends[-1] > MOST_STRING_BYTES:
        return None
    known = np.array([value is not None for value in values], np.bool_)
    return join_buffers("string", len(values), known, ends.astype(np.int32), b"".join(encoded))


OF_LISTS: dict[str, Callable[[Sequence[Any]], pa.Array | None]] = {
    "float64": of_floats,
    "int64": of_integers,
    "bool": of_booleans,
    "string": of_strings,
}


def split_missing(values: Sequence[Any], instead: Any, dtype: Any) -> tuple[Array, Array]:
    """Which values are there, and all of them with something in place of None."""
    known = np.array([value is not None for value in values], np.bool_)
    return known, np.array([instead if value is None else value for value in values], dtype)


def pack_bits(values: Array) -> Array:
    """Booleans as Arrow has them."""
    return np.packbits(values, bitorder="little")


def join_buffers(dtype: str, length: int, known: Array | None, *buffers: Array | bytes) -> pa.Array:
    """An array of so many values, of which those that are not known are null."""
    missing = 0 if known is None else length - int(np.count_nonzero(known))
    validity = pa.py_buffer(pack_bits(known)) if known is not None and missing else None
    return pa.Array.from_buffers(arrow_type(dtype), length, [validity, *map(pa.py_buffer, buffers)], missing)
