"""Arrow arrays of plain values, without pandas.

`pyarrow.array` imports pandas, if it is installed, to ask whether its values are pandas' own. That takes a fifth of a
second, which is more than a small run, in every process that stores something. Here a column is put together from its
buffers. Of values that are not plain `pyarrow.array` decides, and of very many objects, which it converts faster.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from bpttlab.numerics.array import Array
from bpttlab.store.column import arrow_type

MOST_EXACT = 2**53
"""Up to which every integer is a float64."""
MANY = 5000
"""Objects in a column from which on pandas is worth its import: there will be many such columns."""
MOST_STRING_BYTES = 2**31 - 1
"""Of all strings of an array; offsets have 32 bits."""


def to_arrow(values: Any, dtype: str) -> pa.Array:
    """`pyarrow.array(values, type, from_pandas=True)`: None, NaN and NA become null.

    Raises:
        ArrowException, TypeError, ValueError, OverflowError: as there.
    """
    plain = None if "pandas" in sys.modules or count_objects(values) > MANY else of_plain(values, dtype)
    return pa.array(values, type=arrow_type(dtype), from_pandas=True) if plain is None else plain


def count_objects(values: Any) -> int:
    """How many values are Python's, each to be looked at."""
    return len(values) if isinstance(values, list) or getattr(values, "dtype", np.dtype(int)).kind == "O" else 0


def of_plain(values: Any, dtype: str) -> pa.Array | None:
    """The same of a list or an array of plain values; None, here and below, of others."""
    if type(values) is np.ndarray and values.ndim == 1:
        return of_objects(values, dtype) if values.dtype.kind in "OU" else of_numbers(values, dtype)
    return OF_LISTS[dtype](values) if type(values) is list else None


def of_objects(values: Array, dtype: str) -> pa.Array | None:
    """As a list of them."""
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
    types = set(map(type, values)) - {type(None)}
    if not all(issubclass(one, (float, int, np.signedinteger)) and one is not bool for one in types):
        return None
    numbers = np.array(values, np.float64)  # None becomes NaN
    integers = any(not issubclass(one, float) for one in types)
    return None if integers and (np.abs(numbers) >= MOST_EXACT).any() else of_numbers(numbers, "float64")


def of_integers(values: Sequence[Any]) -> pa.Array | None:
    known, there, types = split_missing(values, 0)
    if not all(issubclass(one, (int, np.signedinteger)) and one is not bool for one in types):
        return None
    try:
        return join_buffers("int64", len(values), known, np.array(there, np.int64))
    except OverflowError:
        return None


def of_booleans(values: Sequence[Any]) -> pa.Array | None:
    known, there, types = split_missing(values, False)
    return join_buffers("bool", len(values), known, pack_bits(np.array(there, np.bool_))) if types <= {bool} else None


def of_strings(values: Sequence[Any]) -> pa.Array | None:
    known, there, types = split_missing(values, "")
    if not all(issubclass(one, str) for one in types):
        return None
    whole = "".join(there)
    try:
        sizes = map(len, there) if whole.isascii() else (len(value.encode()) for value in there)
        ends = np.cumsum(np.fromiter(sizes, np.int64, len(there)))
        encoded = whole.encode()
    except UnicodeEncodeError:
        return None
    if len(encoded) > MOST_STRING_BYTES:
        return None
    return join_buffers("string", len(values), known, np.concatenate([[0], ends]).astype(np.int32), encoded)


OF_LISTS: dict[str, Callable[[Sequence[Any]], pa.Array | None]] = {
    "float64": of_floats,
    "int64": of_integers,
    "bool": of_booleans,
    "string": of_strings,
}


def split_missing(values: Sequence[Any], instead: Any) -> tuple[Array | None, Sequence[Any], set[type]]:
    """Which values are there, None for all; all of them with something in place of None; and the types of the rest."""
    types = set(map(type, values))
    if type(None) not in types:
        return None, values, types
    objects = np.array([*values, None], object)[:-1]  # one more, so that equally long ones do not become a matrix
    known = np.array([value is not None for value in values], np.bool_)
    objects[~known] = instead
    return known, objects.tolist(), types - {type(None)}


def pack_bits(values: Array) -> Array:
    """Booleans as Arrow has them."""
    return np.packbits(values, bitorder="little")


def join_buffers(dtype: str, length: int, known: Array | None, *buffers: Array | bytes) -> pa.Array:
    """An array of so many values, of which those that are not known are null."""
    missing = 0 if known is None else length - int(np.count_nonzero(known))
    validity = pa.py_buffer(pack_bits(known)) if known is not None and missing else None
    return pa.Array.from_buffers(arrow_type(dtype), length, [validity, *map(pa.py_buffer, buffers)], missing)
