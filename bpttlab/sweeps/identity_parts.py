"""The parts of a run's identity: each value and each group of a configuration as plain data, text and columns.

A run's id is the hash of the text of all parts; other hashes leave some of them out. Parts are shared by all runs that
have them in common.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from functools import cache, lru_cache
from typing import Any, NamedTuple

from bpttlab import plugins
from bpttlab.errors import ConfigurationError
from bpttlab.fields import Plain, format_value
from bpttlab.measures.selection import Measures
from bpttlab.networks.cells import Cell
from bpttlab.networks.initializers import Initializer
from bpttlab.networks.pretrained import FromFile
from bpttlab.plugin_sources import Source
from bpttlab.store import identity, schema
from bpttlab.store.columns import UPDATE
from bpttlab.tasks import Task

MOST_BUILT = 4096

_DIGESTS = re.compile(r"[0-9a-f]+(\+[0-9a-f]+)*")

OF_SCHEME = ("scheme", "truncation")

OF_MEASURING = (UPDATE, "measure")
"""What measured updates of one training run may differ in."""

OF_THE_STACK = {"input_size": 1, "hidden_size": 1, "output_size": 1, "output_activation": "identity"}
"""Fields that a layer has from its stack, which puts its own in their place."""


class Part(NamedTuple):
    """A value or a group of a configuration: as plain data, as canonical text, and as columns of the table `runs`.

    Runs that have it in common share it; it is not to be changed.
    """

    plain: Any
    text: str
    columns: Mapping[str, schema.Scalar]

    @classmethod
    def of(cls, name: str, plain: Any) -> Part:
        text = identity.canonical(plain, name)
        return cls(plain, text, schema.flatten({name: identity.parse_canonical(text)}))


@lru_cache(maxsize=MOST_BUILT, typed=True)
def value_of_run(name: str, value: Any) -> Part:
    """One value that belongs to no group."""
    return Part.of(name, value)


NOT_OF_GROUP = {"cell": ("input_size", "output_size"), "scheme": ("truncation",), "training": ("measure_at",)}
"""Fields that a group has from elsewhere in the configuration, or that no result depends on."""

NOT_OF_NETWORK = ("x", "h_0")
"""Scales that no weight depends on."""


@lru_cache(maxsize=MOST_BUILT)
def group_of_run(name: str, chosen: Any, leave: tuple[str, ...] = ()) -> Part:
    """The object of a group; of what is in files only what tells its content.

    Args:
        leave: further fields to leave out.
    """
    if isinstance(chosen, FromFile):
        return Part.of(name, chosen.identity_fields())
    if isinstance(chosen, Task | Initializer):
        return Part.of(name, {"name": chosen.name, **chosen.identity_fields()})
    if isinstance(chosen, Measures):
        return Part.of(name, chosen.plain)
    leave = (*NOT_OF_GROUP.get(name, ()), *leave)
    return Part.of(name, group_fields(chosen, leave) if hasattr(chosen, "name") else drop_keys(asdict(chosen), leave))


def join_parts(parts: Mapping[str, Part]) -> str:
    """The canonical text of a configuration, from those of its parts."""
    return identity.join_canonical({name: part.text for name, part in parts.items()})


def pass_key_of(text: str) -> str:
    """`Configuration.pass_key`, from the canonical text of a stored configuration."""
    plain = identity.parse_canonical(text)
    left = () if "training" in plain else OF_SCHEME
    return identity.run_id({name: value for name, value in plain.items() if name not in left})


PLUGINS = "plugins"
"""The value of a run that identifies the user's own files that it uses, if it uses any."""


def sources_of_groups(chosen: Mapping[str, Any]) -> tuple[tuple[str, Source], ...]:
    """(group, file) of what does not come with bpttlab in the objects of groups."""
    if not plugins.own_choices():  # as in most sweeps
        return ()
    return tuple((group, source) for group, value in chosen.items() for source in plugins.sources_of(value))


def digest_of(sources: Iterable[tuple[str, Source]]) -> str | None:
    """What of these files is part of a run's identity: each one's hash, once; None where there is none."""
    return "+".join(sorted({source.digest for _, source in sources})) or None


def part_of_sources(sources: Iterable[tuple[str, Source]]) -> dict[str, Part]:
    """The part of a configuration that says which files it uses; none where it uses none."""
    digest = digest_of(sources)
    return {} if digest is None else {PLUGINS: value_of_run(PLUGINS, digest)}


def check_digests(stated: str | None, sources: Iterable[tuple[str, Source]]) -> None:
    """Refuses files that are not those of the run that a stored configuration describes."""
    found = digest_of(sources)
    if stated is None or stated == found:
        return
    if not _DIGESTS.fullmatch(stated):
        raise ConfigurationError(f"plugins={format_value(stated)}: must be named on the line; a file cannot name it")
    raise ConfigurationError(f"plugins: SHA-256 mismatch: expected {stated}, the files in use have {found}")


# ---------------------------------------------------------------------------------------------------- fields


def group_fields(chosen: Any, leave: tuple[str, ...] = ()) -> Plain:
    """An object of a group as a plain mapping."""
    mapping = {"name": chosen.name, **asdict(chosen)}
    if isinstance(chosen, Cell) and chosen.wraps:
        mapping["of"] = group_fields(getattr(chosen, "of"), leave=tuple(OF_THE_STACK))  # noqa: B009
    return drop_keys(mapping, leave)


def drop_keys(mapping: Mapping[str, Any], names: tuple[str, ...]) -> Plain:
    return {name: value for name, value in mapping.items() if name not in names}


def own_fields(kind: Any, leave: tuple[str, ...]) -> list[str]:
    return [name for name in fields_of(kind) if name not in leave]


@cache
def fields_of(kind: Any) -> tuple[str, ...]:
    """The names of a dataclass's fields."""
    return tuple(one.name for one in fields(kind))
