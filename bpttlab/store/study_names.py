"""The names that a study may have: its folder has this name, on every system."""

from __future__ import annotations

import re
import sys
import unicodedata

from bpttlab.errors import ConfigurationError, any_text
from bpttlab.fields import format_value

STUDY_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")
_OF_DEVICES = re.compile(r"con|prn|aux|nul|com\d|lpt\d", re.IGNORECASE)


def is_name_for_windows(name: str) -> bool:
    """Whether Windows accepts a folder of this name: it keeps some names for devices and drops dots at the end."""
    return not name.endswith(".") and not _OF_DEVICES.fullmatch(name.partition(".")[0])


def refuse_other_names(study: object) -> None:
    """Accepts the name of a study.

    Raises:
        ConfigurationError: an invalid name.
    """
    if not isinstance(study, str) or not STUDY_NAME.fullmatch(study):
        raise ConfigurationError(
            f"study = {format_value(study)}: must be a name of at most 100 letters (a-z, A-Z), digits, '.', '_' "
            f"and '-' that does not begin with a dot, for example {plain_study_name(study)!r}"
        )
    if sys.platform == "win32" and not is_name_for_windows(study):
        raise ConfigurationError(
            f"study = {study!r}: Windows has no folder of this name (CON, NUL, COM1, …, or a dot at the end)"
        )


_ASCII = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss", "ø": "o", "æ": "ae"}
)


def plain_study_name(text: object) -> str:
    """The nearest name that a study may have: größe -> groesse."""
    letters = unicodedata.normalize("NFC", any_text(text)).translate(_ASCII)
    letters = unicodedata.normalize("NFKD", letters).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9._-]+", "_", letters).strip("._")[:100] or "first"


def find_words(study: str, results: str) -> list[str]:
    """The words that name a study and its folder on a line of the command."""
    return [f"study={study}", *([] if results == "results" else [f"results={results}"])]
