"""Stored runs of a study that used another version of a user's own file.

They are other runs with ids of their own. They stay in the study, and its tables, which group runs by every column of
the configuration that varies, keep the versions apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from bpttlab.plugin_sources import Source
from bpttlab.plugins import sources_of
from bpttlab.store import identity
from bpttlab.sweeps.configuration import PLUGINS, Configuration, digest_of
from bpttlab.sweeps.progress import format_count

SHOWN_DIGITS = 8

VersionedChoice = tuple[str, str]
"""A group, and the name that is chosen of it."""


def other_versions(runs: Mapping[str, Configuration], stored: Callable[[], Mapping[str, str]]) -> list[str]:
    """A line for each choice of which there are stored runs with another version of its file.

    Args:
        runs: those that are asked for, by id.
        stored: gives the canonical configurations of all stored runs; it is called only if a run uses a file.
    """
    used = [(choice, source.label, digest_of(run.sources)) for run in runs.values() for choice, source in own(run)]
    if not used:
        return []
    digests = {digest for _, _, digest in used}
    labels = {choice: label for choice, label, _ in used}
    others: dict[VersionedChoice, Counter[str]] = {}
    for text in stored().values():
        plain = identity.parse_canonical(text)
        digest = plain.get(PLUGINS)
        if digest is not None and digest not in digests:
            for choice in labels.keys() & chosen(plain):
                others.setdefault(choice, Counter())[digest] += 1
    return [line(choice, labels[choice], found) for choice, found in sorted(others.items())]


def own(run: Configuration) -> list[tuple[VersionedChoice, Any]]:
    """The choices of a run that use files of the user's own."""
    return [((group, name), source) for group, source in run.sources for name in names_using(run, group, source)]


def names_using(run: Configuration, group: str, source: Source) -> list[str]:
    """What is chosen of a group that uses a file: of measures there may be several."""
    if group != "measure":
        return [getattr(run, group).name]
    return [measure.name for measure in run.measure.own if source in sources_of(measure)]


def chosen(plain: Mapping[str, Any]) -> set[VersionedChoice]:
    """The choices of a stored configuration."""
    named = {(group, value["name"]) for group, value in plain.items() if isinstance(value, dict) and "name" in value}
    return named | {("measure", name) for name, value in plain["measure"].items() if isinstance(value, dict)}


def line(choice: VersionedChoice, label: str, digests: Counter[str]) -> str:
    """What there is to say of a choice."""
    shown = ", ".join(digest[:SHOWN_DIGITS] for digest in sorted(digests))
    runs = format_count(digests.total(), "stored run")
    return f"{runs} of {choice[0]}={choice[1]} used another version of {label} ({shown}); tables keep them apart"
