"""Random streams by role: the random numbers that a run draws."""

from __future__ import annotations

import hashlib
import unicodedata
from numbers import Integral

import numpy as np

from bpttlab.errors import ConfigurationError
from bpttlab.fields import format_value

Rng = np.random.Generator | int
"""A source of randomness as a caller gives it: a generator, or a seed of one."""


def stream(role: str, *fields: int | str) -> np.random.Generator:
    """The random numbers that depend on these fields and on nothing else: equal fields give equal streams.

    Args:
        role: the use of the numbers ("weights", "data"). Two roles of one seed are independent.
        fields: the seed and all other fields that should change the numbers; never a job's index or a worker.

    Each field becomes a word of 128 bits, its hash, so that the limits of fields are unambiguous: ("a", 12) and ("a1",
    2) are different streams, as are 1 and "1". A seed may have any size and sign.
    """
    words = np.frombuffer(b"".join(_word(field) for field in (role, *fields)), dtype="<u4")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(words)))


def check_generator(rng: object) -> np.random.Generator:
    """A generator; of a seed, an integer >= 0, the one that numpy.random.default_rng makes of it.

    Raises:
        ConfigurationError: it is neither.
    """
    if isinstance(rng, np.random.Generator):
        return rng
    if isinstance(rng, Integral) and not isinstance(rng, bool) and int(rng) >= 0:
        return np.random.default_rng(int(rng))
    raise ConfigurationError(
        f"rng={format_value(rng)}: must be a generator, such as numpy.random.default_rng(0), or a seed, an integer >= 0"
    )


def _word(field: object) -> bytes:
    if isinstance(field, str):
        kind, text = b"text", unicodedata.normalize("NFC", field)
    elif isinstance(field, Integral) and not isinstance(field, bool):
        kind, text = b"integer", str(int(field))
    else:
        raise TypeError(f"a field of a random stream must be an integer or a string, not {field!r}")
    return hashlib.blake2b(text.encode(), digest_size=16, person=kind).digest()
