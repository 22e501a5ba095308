"""The identity of a run: equal configurations have equal text and equal id.

A configuration becomes text (`canonical`), and the text becomes an id (`run_id`). The text is JSON, with floats as
Python's repr writes them. It must be

- exact: repr is the shortest decimal that reads back as the same float, so no two floats share a text;
- typed: 1, 1.0, "1" and true are four texts (the configuration's types decide whether a field is an integer);
- readable: a person who compares two configurations sees where they differ, decades later and in any language;
- harmless: reading it executes nothing, unlike a pickle, whose bytes also change from version to version.

Differences without meaning are removed here: the order of keys, the sign of zero, different NaNs, tuple or list, and
the Unicode form of a string (NFC). `parse_canonical` is the inverse, so different values cannot have one canonical
text.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Mapping
from typing import Any, TypeAlias

from bpttlab.errors import ConfigurationError

RUN_ID_BYTES = 16


LARGEST_CANONICAL = 1 << 20
"""Longest canonical text, in UTF-8 bytes; a configuration has about a thousand."""


DEEPEST = 32
"""Most mappings and lists inside one another; a configuration has two."""


Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
"""What a configuration consists of, and all that JSON can say."""


_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*\\?(?:"|\Z)', re.DOTALL)  # up to the end where it is not closed


_BRACKET = re.compile(r"[\[\]{}]")


def canonical(value: object, field: str = "") -> str:
    """The one text of a value: equal values have equal texts, different values different ones.

    Args:
        value: None, bool, int (64 bits), float, str, and lists, tuples and mappings with string keys of such.
        field: the name of the value in messages.

    Raises:
        ConfigurationError: another type, with the name of the field; keys that are one key in NFC; too deep or too
            long.
    """
    text = json.dumps(_to_plain(value, field, 0), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    if len(text.encode()) > LARGEST_CANONICAL:
        raise ConfigurationError(
            f"a configuration may have {LARGEST_CANONICAL} bytes as JSON, not {len(text.encode())}"
        )
    return text


def parse_canonical(text: str) -> Any:
    """The value of a canonical (or any other JSON) text, within the limits that `canonical` keeps.

    Raises:
        ConfigurationError: not JSON, a key twice in one mapping, too deep or too long.
    """
    if len(text) > LARGEST_CANONICAL:
        raise ConfigurationError(f"stored JSON may have {LARGEST_CANONICAL} bytes, not {len(text)}")
    if _depth(text) > DEEPEST:
        raise ConfigurationError(f"stored JSON may be nested {DEEPEST} deep, not {_depth(text)}")
    try:
        return json.loads(text, object_pairs_hook=_refuse_duplicates)
    except ValueError as error:
        raise ConfigurationError(f"not valid JSON: {error}") from None


def join_canonical(texts: Mapping[str, str]) -> str:
    """The canonical text of a mapping, from those of its values; its keys are plain words.

    Raises:
        ConfigurationError: too long.
    """
    text = "{" + ",".join(f'"{key}":{texts[key]}' for key in sorted(texts)) + "}"
    if len(text) > LARGEST_CANONICAL // 4:  # else it is short enough in any alphabet
        return canonical(parse_canonical(text))
    return text


def run_id(configuration: Mapping[str, object]) -> str:
    """The id of a run: BLAKE2b, 128 bits, 32 hexadecimal digits, of its typed configuration."""
    return id_of(canonical(configuration))


def id_of(text: str) -> str:
    """`run_id`, from the canonical text of a configuration."""
    return hashlib.blake2b(text.encode(), digest_size=RUN_ID_BYTES).hexdigest()


def _to_plain(value: object, field: str, depth: int) -> Json:
    """The value without differences that have no meaning."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value, field)
    if isinstance(value, int):
        return _integer(value, field)
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, Mapping):
        return _mapping(value, field, depth)
    if isinstance(value, list | tuple):
        return [_to_plain(item, f"{field}[{position}]", _go_deeper(depth)) for position, item in enumerate(value)]
    kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    raise ConfigurationError(
        f"{field or 'configuration'} = {value!r:.80} is a {kind}: must be None, bool, int, float, str, list or mapping"
    )


def _text(value: str, field: str) -> str:
    if value.isascii():
        return str.__str__(value)  # of an enumeration, too, its text
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ConfigurationError(f"{field or 'configuration'} = {value!a:.80} is not valid Unicode") from None
    return unicodedata.normalize("NFC", value)


def _integer(value: int, field: str) -> int:
    if not -(2**63) <= value < 2**63:
        raise ConfigurationError(f"{field or 'configuration'} is an integer beyond 64 bits, which no table can hold")
    return int(value)


def _float(value: float) -> float:
    if math.isnan(value):
        return math.nan
    return float(value) + 0.0  # -0.0 + 0.0 is 0.0


def _mapping(value: Mapping[Any, object], field: str, depth: int) -> dict[str, Json]:
    plain: dict[str, Json] = {}
    deeper = _go_deeper(depth) if value else depth
    for key, item in value.items():
        if not isinstance(key, str):
            raise ConfigurationError(f"{field or 'configuration'} has the key {key!r:.80}: keys must be strings")
        inner = f"{field}.{key}" if field else key
        name = _text(key, inner)
        if name in plain:
            raise ConfigurationError(f"{inner} occurs twice, in two Unicode forms")
        plain[name] = _to_plain(item, inner, deeper)
    return plain


def _go_deeper(depth: int) -> int:
    if depth >= DEEPEST:
        raise ConfigurationError(f"a configuration may be nested {DEEPEST} deep at most")
    return depth + 1


def _depth(text: str) -> int:
    """How deep the brackets outside of strings are nested, known before a recursive reader touches them."""
    depth = deepest = 0
    for bracket in _BRACKET.findall(_STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key occurs twice")
    return found
