"""Text of any origin (names, files, errors, stored values) as each kind of output shows it, with nothing obeyed.

Characters that do not print (control characters, escape sequences, marks that reverse the direction of writing) are
shown as Python writes them: \\x1b. What else an output would obey is escaped in its own way. A figure escapes its
texts in `figures/style`, because it also depends on the font.
"""

from __future__ import annotations

import re

_FORMULA = re.compile(r"['=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""A spreadsheet runs a cell that begins so; the apostrophe is here so that a reader can undo the escape."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?(inf|nan)", re.IGNORECASE)
_MARKDOWN = re.compile(r"([\\`*_\[\]|#~$])")
_LATEX = {
    **{character: "\\" + character for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # a line that begins with [ would be read as the spacing requested of the line break before it
    "]": "{]}",
    "\N{EN DASH}": "--",
    "\N{MINUS SIGN}": "$-$",
}


def escape_line(text: str) -> str:
    """One line for a terminal, and for every other output: each character that does not print as its escape."""
    return text if text.isprintable() else "".join(map(_escape_letter, text))


def escape_lines(text: str) -> str:
    """The same for a text of several lines."""
    return "\n".join(map(escape_line, text.split("\n")))


def _escape_letter(letter: str) -> str:
    return letter if letter.isprintable() else repr(letter)[1:-1]


def escape_mathtext(text: str) -> str:
    """A text in a figure of matplotlib: a dollar sign begins no mathematics."""
    return escape_line(text).replace("$", r"\$")


def escape_csv(text: str) -> str:
    """A text as a cell of CSV: with an apostrophe before it if a spreadsheet would run it as a formula.

    A text that is a number stays. To undo it, remove one apostrophe at the beginning of a cell.
    """
    starts = _FORMULA.match(text) and not _NUMBER.fullmatch(text)
    return ("'" if starts else "") + "".join(letter if letter in "\t\n" else _escape_letter(letter) for letter in text)


def escape_markdown(text: str) -> str:
    """A text within a page or a cell of a table of Markdown."""
    text = escape_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN.sub(r"\\\1", text)


def escape_latex(text: str) -> str:
    """A text within a page or a cell of a table of LaTeX."""
    return "".join(_LATEX.get(letter, letter) for letter in escape_line(text))
