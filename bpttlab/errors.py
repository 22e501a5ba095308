"""Errors that a user can cause or meet, one line each.

All derive from `LabError`, so that the command line catches them and prints them without a traceback. Any other
exception is a bug in bpttlab.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

LONGEST_MESSAGE = 4000
"""Characters of a message: it may name what is in a file or an argument, of any size."""


LEFT_OUT = " … ({:,} characters are left out here) … "


class LabError(Exception):
    """The root of all errors with a message meant for the user, which is cut where it is too long."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*map(cut_message, arguments))


def cut_message(message: object) -> object:
    """A message without its middle where it is too long: it begins with a field or a file, and ends with a reason."""
    if isinstance(message, str) and len(message) > LONGEST_MESSAGE:
        kept = (LONGEST_MESSAGE - len(LEFT_OUT) - 8) // 2  # the number has up to 11 characters
        return message[:kept] + LEFT_OUT.format(len(message) - 2 * kept) + message[-kept:]
    return message


class ConfigurationError(LabError, ValueError):
    """A field has an invalid value; the message names the field, the value and what is allowed."""


class DivergedError(LabError, ArithmeticError):
    """The forward state left the range of its dtype; `step` (1-based) is the first step where it did."""

    def __init__(self, step: int, what: str = "the hidden state") -> None:
        super().__init__(f"{what} overflowed at step t = {step}: the forward pass diverged")
        self.step = step


class NonFiniteError(LabError, ArithmeticError):
    """A NaN or infinity in place of a finite number; `step` (1-based) is the first step that has one, if known."""

    def __init__(self, message: str, step: int | None = None) -> None:
        super().__init__(message)
        self.step = step


class GradientRangeError(LabError, ArithmeticError):
    """A gradient is too large for a float; the scaled interface returns it as mantissa and exponent."""


class StoreError(LabError):
    """A fault of the results on disk; the message names the file or the study."""


class SchemaError(StoreError):
    """Rows that a table cannot hold: an unknown column, or a value of the wrong type."""


class OtherVersionError(StoreError):
    """A stored file was written by another version of bpttlab."""


class DamagedShardError(StoreError):
    """A stored file is missing or its bytes are not those that were published; `reason`: why, where it is one file."""

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class CollisionError(StoreError):
    """Two different configurations have the same run id."""


class LabWarning(UserWarning):
    """A fact that a user should know, although the request can be fulfilled."""


def any_text(value: object) -> str:
    """`str`, also of what has an integer in it with more digits than Python writes."""
    try:
        return str(value)
    except (ValueError, RecursionError):
        return type(value).__name__


class DamageWarning(LabWarning):
    """A stored file is damaged or missing: what is whole is read, and the message names what is left out."""


LONGEST_NAME = 200
"""Characters of a name that are compared: the time of a comparison grows with their square."""


def nearest(name: object, choices: Iterable[object]) -> str:
    """A suggestion to append to a message: " Did you mean 'tanh'?", or "" when nothing is close."""
    if isinstance(name, int):  # no name; and Python refuses to write one of thousands of digits
        return ""
    known = {str(choice).casefold(): str(choice) for choice in choices}  # LSTM is nearer to lstm than to nothing
    matches = get_close_matches(any_text(name)[:LONGEST_NAME].casefold(), known, n=1, cutoff=0.5)
    return f" Did you mean '{known[matches[0]]}'?" if matches else ""
