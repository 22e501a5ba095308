"""The examples of a page of documentation, in its order: Python as text, command lines as words."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple


class Block(NamedTuple):
    """A block of code of a page."""

    language: str
    """What stands behind the opening fence: python, sh, …"""
    text: str


def find_blocks(page: str) -> list[Block]:
    """All fenced blocks of a page."""
    return [Block(*found) for found in re.findall(r"^```([^\n`]*)\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)]


def python_of(page: str) -> list[str]:
    """The text of its Python blocks."""
    return [block.text for block in find_blocks(page) if block.language == "python"]


def commands_of(page: str) -> list[list[str]]:
    """The words behind `bpttlab` of all lines of its shell blocks."""
    return [words for block in find_blocks(page) if block.language == "sh" for words in commands_in(block.text)]


def commands_in(shell: str) -> list[list[str]]:
    """The words behind `bpttlab` of each line; a backslash at the end of a line continues it, as in a shell.

    Raises:
        ValueError: A line is no command of bpttlab.
    """
    found = []
    for line in shell.replace("\\\n", " ").splitlines():
        program, *words = shlex.split(line, comments=True) or [""]
        if program not in ("bpttlab", ""):
            raise ValueError(f"{line!r} does not call bpttlab")
        if words:
            found.append(words)
    return found


def run_python(blocks: list[str], page: str) -> dict[str, object]:
    """Executes blocks in one namespace, which is returned; tracebacks name the page."""
    names: dict[str, object] = {"__name__": Path(page).stem}
    for text in blocks:
        exec(compile(text, page, "exec"), names)
    return names
