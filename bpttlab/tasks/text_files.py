"""Text in a user's file, or the shipped text: read, checked, remembered until the file changes.

A file is UTF-8, with any name. All its characters are predicted, line ends included. A byte order mark at its beginning
is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np

from bpttlab import user_files
from bpttlab.errors import ConfigurationError
from bpttlab.numerics.array import Array
from bpttlab.numerics.short_repr import show_briefly

LARGEST_TEXT = 1 << 27
"""Largest file."""

LARGEST_ALPHABET = 256
"""Most different characters: each is an input and an output of the network."""

SHIPPED = "declaration.txt"


@dataclass(frozen=True, eq=False)
class Text:
    """The text of a file; the array is read-only.

    Attributes:
        content: the first 128 bits of the SHA-256 of the file, 32 hexadecimal digits.
        alphabet: its different characters, by code point.
        characters: (n,) uint8, the index of each in the alphabet.
    """

    content: str
    alphabet: str
    characters: Array

    def __repr__(self) -> str:
        return show_briefly(self)


def read_text(path: str) -> Text:
    """The text of a file, or the shipped text if the path is empty.

    Raises:
        ConfigurationError: there is no such file, or it has a fault; the message begins with task.path.
    """
    if not path:
        return read_shipped()
    found: Text = user_files.read_user_file("task.path", path, None, decode)
    return found


def decode(data: bytes, ending: str, content: str) -> Text:
    user_files.refuse_size(len(data), LARGEST_TEXT)
    return text_of(data)


@cache
def read_shipped() -> Text:
    """The Declaration of Independence of the United States, 1776 (`data/README.md`)."""
    return text_of(resources.files("bpttlab.tasks").joinpath("data", SHIPPED).read_bytes())


def text_of(data: bytes) -> Text:
    """The characters of some bytes, each checked once."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        where = f"byte {error.start} (from 0) is {data[error.start]:#04x}"
        raise ConfigurationError(f"is not text in UTF-8: {where}; iconv can convert it") from None
    alphabet = "".join(sorted(set(text)))
    refuse_alphabet(alphabet)
    codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    index = np.zeros(ord(alphabet[-1]) + 1, np.uint8)
    index[[ord(character) for character in alphabet]] = np.arange(len(alphabet))
    characters = index[codes]
    characters.flags.writeable = False
    return Text(user_files.content(data), alphabet, characters)


def refuse_alphabet(alphabet: str) -> None:
    if len(alphabet) < 2:
        shown = f"only the character {alphabet!r}" if alphabet else "nothing"
        raise ConfigurationError(f"holds {shown}: must have two different characters at least")
    if len(alphabet) > LARGEST_ALPHABET:
        most = f"must be at most {LARGEST_ALPHABET}, an input and an output of the network for each"
        raise ConfigurationError(f"has {len(alphabet)} different characters: {most}")
