"""Rows of tables as a dictionary of arrays, one for each column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bpttlab.numerics.array import Array

if TYPE_CHECKING:  # a worker that only stores rows need not wait for its import
    import pandas as pd


def gather_columns(rows: list[dict[str, Any]], sort: Sequence[str]) -> dict[str, Array]:
    """Rows as arrays, one for each column."""
    rows = sorted(rows, key=lambda row: tuple(row[name] for name in sort))
    return {name: np.array([row[name] for row in rows]) for name in (rows[0] if rows else ())}


def concatenate(parts: Sequence[dict[str, Array]]) -> dict[str, Array]:
    """Columns of some rows and of others, one after another; parts without columns have no rows."""
    parts = [part for part in parts if part]
    return {name: np.concatenate([part[name] for part in parts]) for name in (parts[0] if parts else ())}


def as_frame(columns: Mapping[str, Any]) -> pd.DataFrame:
    """Columns as a frame."""
    import pandas

    return pandas.DataFrame(columns)
