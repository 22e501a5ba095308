"""Hashes of the user's own files as people read them: eight digits of what differs.

The column `plugins` of runs holds a hash for each file, with "+" between them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

PLUGIN_HASHES = "plugins"
"""The column of these hashes."""

_DIGITS = 8


def short_digests(values: Iterable[Any]) -> dict[Any, str]:
    """A short text for each of the values: the first digits of the hashes that are not in all of them.

    A value without a hash of its own has all that it has. Values that the first digits do not distinguish are whole.
    """
    parts = {str(value): str(value).split("+") for value in values if not pd.isna(value)}
    shared = set.intersection(*map(set, parts.values())) if len(parts) > 1 else set()
    found = {value: "+".join(one[:_DIGITS] for one in _select_own(hashes, shared)) for value, hashes in parts.items()}
    return found if len(set(found.values())) == len(found) else {value: value for value in found}


def _select_own(hashes: list[str], shared: set[str]) -> list[str]:
    """Those that are not shared; all where none is left."""
    return [one for one in hashes if one not in shared] or hashes


def short_column(column: pd.Series) -> pd.Series:
    """The column `plugins` with short texts; a missing value remains missing."""
    return column.astype(object).map(short_digests(column), na_action="ignore")
