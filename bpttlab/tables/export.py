"""Tables as files: CSV, Markdown, LaTeX."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from bpttlab.errors import ConfigurationError
from bpttlab.escapes import escape_line, escape_markdown
from bpttlab.files import publish
from bpttlab.tables.frame_arguments import takes_frames
from bpttlab.tables.latex import latex
from bpttlab.tables.writing import csv, markdown


def _to_csv(frame: pd.DataFrame, caption: Sequence[str]) -> str:
    return csv(frame)


def _to_markdown(frame: pd.DataFrame, caption: Sequence[str]) -> str:
    return markdown(frame) + "".join(f"\n{escape_markdown(sentence)}\n" for sentence in caption)


def _to_latex(frame: pd.DataFrame, caption: Sequence[str]) -> str:
    return "".join(f"% {escape_line(sentence)}\n" for sentence in caption) + latex(frame)


_FORMS: dict[str, Callable[[pd.DataFrame, Sequence[str]], str]] = {
    "csv": _to_csv,
    "md": _to_markdown,
    "tex": _to_latex,
}


@takes_frames
def write(frame: pd.DataFrame, stem: str | os.PathLike[str], caption: Sequence[str] = ()) -> list[Path]:
    """Write `stem`.csv, `stem`.md and `stem`.tex, each whole or not at all; the folder is made. Returns the paths.

    The sentences of the caption are paragraphs below the table in Markdown, and comments above it in LaTeX.

    Raises StoreError naming the file that cannot be written.
    """
    return [publish(Path(f"{os.fspath(stem)}.{ending}"), form(frame, caption)) for ending, form in _FORMS.items()]


@takes_frames
def export_table(frame: pd.DataFrame, path: str | os.PathLike[str], caption: Sequence[str] = ()) -> Path:
    """Write a table to one file, in the form that its name ends in: .csv, .md or .tex.

    Raises:
        ConfigurationError: it ends in something else.
        StoreError: it cannot be written.
    """
    refuse_other_form(path)
    return publish(Path(path), _FORMS[Path(path).suffix[1:]](frame, caption))


def refuse_other_form(path: str | os.PathLike[str]) -> None:
    """Raises ConfigurationError for a file that ends in none of the forms."""
    if Path(path).suffix[1:] not in _FORMS:
        raise ConfigurationError(f"to={path}: must end in .csv, .md or .tex")
