"""Claims of experiments: rows of what their analyses hold a study against."""

from __future__ import annotations

from typing import Any


def claim(text: str, source: str, expected: str, measured: float, tolerance: float, held: bool) -> dict[str, Any]:
    """What was said of a study, by whom, what came out, and whether it holds."""
    return {
        "claim": text,
        "source": source,
        "expected": expected,
        "measured": float(measured),
        "tolerance": tolerance,
        "held": bool(held),
    }


def at_most(text: str, source: str, measured: float, limit: float, tolerance: float = 0.0) -> dict[str, Any]:
    """A claim that a number is at most a limit; a number that cannot be had holds nothing."""
    return claim(text, source, f"<= {limit:g}", measured, tolerance, bool(measured <= limit + tolerance))
