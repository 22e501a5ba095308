"""Short texts of objects with arrays: a few lines in a notebook, whatever the arrays hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

MOST_SHOWN = 8
"""Most elements of a mapping or a list that are named."""

LONGEST_VALUE = 160
"""Characters of one value."""


def show_briefly(self: Any) -> str:
    """The `__repr__` of a dataclass or a named tuple with arrays: of each array its type and its shape.

    Loss(value=0.82, gradient=float64 (100, 16, 1))
    """
    names = [one.name for one in fields(self) if one.repr] if is_dataclass(self) else self._fields
    shown = ", ".join(f"{name}={show_value(getattr(self, name))}" for name in names)
    return f"{type(self).__name__}({shown})"


def show_value(value: Any) -> str:
    """One value: an array by type and shape, a mapping or a list by its first elements."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    if isinstance(value, Mapping):
        shown = [f"{key}: {show_value(item)}" for key, item in list(value.items())[:MOST_SHOWN]]
        return "{" + ", ".join(shown + _rest(len(value))) + "}"
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        shown = [show_value(item) for item in value[:MOST_SHOWN]]
        return "[" + ", ".join(shown + _rest(len(value))) + "]"
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def _rest(count: int) -> list[str]:
    """How many elements are not shown."""
    return [f"… {count - MOST_SHOWN} more"] if count > MOST_SHOWN else []
