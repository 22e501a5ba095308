"""Stored text is data from anywhere: what is read of a shard's metadata and of a configuration, checked and limited."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from bpttlab.errors import ConfigurationError, StoreError
from bpttlab.store import schema
from bpttlab.store.columns import CONFIGURATION
from bpttlab.store.identity import parse_canonical

MOST_FIELDS = 1000
"""Most values of one configuration, and most columns that the configurations of a study have together."""

MOST_COLUMNS = 4000
"""Most columns of a file."""

REQUIRED = ("seed", "sequence_length", "cell", "task")
"""Values that every run has."""

LATEST = 1 << 63
"""Nanoseconds since 1970 that no clock has reached."""

_KINDS: dict[str, tuple[type, ...]] = {"int64": (int,), "float64": (int, float), "bool": (bool,), "string": (str,)}
_DECLARED = {column.name: column.dtype for column in CONFIGURATION}


def describe_unreadable(error: Exception) -> str:
    """What is wrong with bytes from anywhere, by the error that reading them raised; no names of Python's errors."""
    text = " ".join(str(error).split())[:200]
    if isinstance(error, json.JSONDecodeError):
        return f"no JSON ({error.msg}, line {error.lineno})"
    if isinstance(error, UnicodeError):
        return "no text in UTF-8"
    if isinstance(error, pa.ArrowException | OSError):
        return f"its Parquet cannot be decoded ({text})"
    if isinstance(error, RecursionError):
        return "its values are nested too deeply"
    if isinstance(error, KeyError) and error.args:
        return f"it has no {error.args[0]!s:.80}"
    if "integer string conversion" in text:
        return "it has a number of thousands of digits"
    if isinstance(error, TypeError | AttributeError | IndexError | KeyError) or not text:
        return "a part of it has another form than bpttlab writes"
    return text


def read_metadata(text: bytes) -> dict[str, Any]:
    """What a shard says of itself.

    Raises:
        LookupError, ConfigurationError: it is not what `shards.serialise` writes.
    """
    about = parse_canonical(text.decode())
    if not isinstance(about, dict):
        raise LookupError("its metadata are no mapping")
    for name, kind in (("schema_version", int), ("table", str), ("published", int)):
        if type(about.get(name)) is not kind:
            raise LookupError(f"its metadata have no {name}")
    if not 0 <= about["published"] < LATEST:
        raise LookupError("it was published at no time")
    return about


def read_siblings(about: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """The shards that the metadata of a commit name: table -> names.

    Raises:
        LookupError: they are no lists of names.
    """
    siblings = about.get("siblings")
    if not isinstance(siblings, dict):
        raise LookupError("its metadata name no other shards")
    for table, names in siblings.items():
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise LookupError(f"its metadata name no shards of {table:.40}")
    return {table: tuple(names) for table, names in siblings.items()}


def read_configuration(text: str, run_id: str = "") -> dict[str, schema.Scalar]:
    """The configuration columns of a run from its stored configuration.

    Raises:
        StoreError: it is no mapping, has too many values, or a value of another type than its column.
    """
    try:
        plain = parse_canonical(text)
        if not isinstance(plain, dict):
            raise ConfigurationError(f"{text:.40}: must be a mapping of fields")
        flat = schema.flatten(plain)
        if len(flat) > MOST_FIELDS:
            raise ConfigurationError(f"has {len(flat)} values: must be at most {MOST_FIELDS}")
        refuse_other_types(flat)
        for name in REQUIRED:
            if flat.get(name) is None:
                raise ConfigurationError(f"it has no {name}")
    except ConfigurationError as error:
        raise StoreError(f"run {run_id} has a stored configuration that cannot be read: {error}") from None
    return flat


def refuse_other_types(flat: Mapping[str, schema.Scalar]) -> None:
    """Refuses a value of another type than that of its column, where that is known."""
    for name, value in flat.items():
        if isinstance(value, int) and not -LATEST <= value < LATEST:
            raise ConfigurationError(f"{name} is an integer beyond 64 bits")
        dtype = _DECLARED.get(name)
        if dtype and value is not None and type(value) not in _KINDS[dtype]:
            raise ConfigurationError(f"{name}={value!r:.40}: must be {dtype}")


def limit_columns(rows: Iterable[dict[str, schema.Scalar]]) -> Iterator[dict[str, schema.Scalar]]:
    """The rows, one by one; configurations that have very many different fields together are refused."""
    names: set[str] = set()
    following = iter(rows)
    for row in following:
        names |= row.keys()
        if len(names) > MOST_FIELDS:
            count = len(names.union(*following))
            raise StoreError(f"the stored configurations have {count} different fields: must be at most {MOST_FIELDS}")
        yield row
