"""What an override line, or a text in a configuration file, may hold: looked at before any parser sees it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from bpttlab import limits
from bpttlab.errors import ConfigurationError

LONGEST_SHOWN = 100
"""Characters of a line in a message."""

INTERPOLATION = re.compile(
    r"\$\{(?:\.*[\w\[\].]+|\s*oc\.env:[^${}]*|\s*oc\.decode:\s*\$\{\s*oc\.env:[^${}]*\}\s*)\}",
)
"""The interpolations that there are: another key, or a variable of the environment, which may be decoded."""

OTHER_INTERPOLATION = (
    "has another interpolation than ${KEY}, ${oc.env:NAME}, ${oc.env:NAME,DEFAULT} or ${oc.decode:${oc.env:NAME}}"
)

_DIGITS = re.compile(rf"(?:\d[\d_:.]|0[xX][\da-fA-F_])[\da-fA-F_:.]{{{limits.MOST_DIGITS - 1}}}")
_FUNCTION = re.compile(r"\w\(")


def shorten_line(line: str) -> str:
    """A line for a message."""
    return line if len(line) <= LONGEST_SHOWN else f"{line[:LONGEST_SHOWN]}…"


def refuse_lines(lines: Iterable[str]) -> None:
    """Raises the error for too many lines, for lines that are too long together, or for one that is."""
    several = list(lines)
    refuse_more("override lines", len(several), limits.MOST_LINES)
    for line in several:
        refuse_line(line)
    refuse_more("override lines: characters", sum(map(len, several)), limits.LONGEST_LINES)
    refuse_more("override lines: interpolations ${...}", sum(map(count_interpolations, several)), _MOST)


_MOST = limits.MOST_INTERPOLATIONS


def refuse_line(line: str) -> None:
    """Raises the error for a line that is too long, too deep, or has an interpolation that is not allowed.

    Raises:
        ConfigurationError: the message begins with the line and says what is allowed.
    """
    shown = shorten_line(line)
    refuse_more(f"{shown}: characters", len(line), limits.LONGEST_LINE)
    refuse_more(f"{shown}: commas", line.count(","), limits.MOST_ELEMENTS)
    refuse_more(f"{shown}: brackets within brackets", depth(line), limits.DEEPEST_BRACKETS)
    refuse_text(shown, line)
    if not __debug__ and _FUNCTION.search(line.partition("=")[2]):
        raise ConfigurationError(
            f"{shown}: range() and other functions cannot be read by python -O (PYTHONOPTIMIZE): Hydra's parser needs "
            "its assertions; start Python without it, or list the values"
        )


def refuse_text(called: str, text: str) -> None:
    """Raises the error for a text with too long a number, or with an interpolation that is not allowed."""
    if _DIGITS.search(text):
        raise ConfigurationError(f"{called}: a number may have at most {limits.MOST_DIGITS} digits")
    if "${" in INTERPOLATION.sub("", text):
        raise ConfigurationError(f"{called}: {shorten_line(text)!r} {OTHER_INTERPOLATION}")


def refuse_more(what: str, count: int, most: int) -> None:
    """Raises the error for more than there may be."""
    if count > most:
        raise ConfigurationError(f"{what}: {count}, and at most {most} are allowed")


def count_interpolations(text: str) -> int:
    return text.count("${")


def depth(line: str) -> int:
    """How many brackets are open at once, quotes or not."""
    deepest = level = 0
    for letter in line:
        if letter in "([{":
            level += 1
            deepest = max(deepest, level)
        elif letter in ")]}":
            level = max(0, level - 1)
    return deepest
