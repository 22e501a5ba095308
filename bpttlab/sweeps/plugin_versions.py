"""Stored runs of a study that used another version of a user's own file.

They are other runs with ids of their own. They stay in the study, and its tables, which group runs by every column of
the configuration that varies, keep the versions apart.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from bpttlab.plugin_sources import Source
from bpttlab.plugins import sources_of
from bpttlab.store import identity
from bpttlab.store.store import Store
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.identity_parts import PLUGINS
from bpttlab.sweeps.progress import format_count

SHOWN_DIGITS = 8

VersionedChoice = tuple[str, str]
"""A group, and the name that is chosen of it."""


def other_versions(runs: Mapping[str, Configuration], store: Store) -> list[str]:
    """A line for each choice of which there are stored runs with another version of its file.

    A stored run used another version of a file if it names the file (table `provenance`) and lacks its hash.

    Args:
        runs: those that are asked for, by id.
        store: it is read only if a run uses a file.
    """
    used = {(choice, source) for run in runs.values() for choice, source in choices_with_files(run)}
    if not used:
        return []
    current = {source.digest for _, source in used}
    files = {run_id: {Path(name).name for name in names} for run_id, names in store.plugin_files().items()}
    found: dict[tuple[VersionedChoice, str], list[set[str]]] = {}
    for run_id, text in store.configurations().items():
        plain = identity.parse_canonical(text)
        digests = set(str(plain.get(PLUGINS, "")).split("+"))
        chosen = chosen_names(plain)
        for choice, source in used:
            if choice in chosen and source.digest not in digests and Path(source.label).name in files.get(run_id, ()):
                found.setdefault((choice, source.label), []).append(digests - current)
    return [line(choice, label, several) for (choice, label), several in sorted(found.items(), key=lambda one: one[0])]


def choices_with_files(run: Configuration) -> list[tuple[VersionedChoice, Source]]:
    """The choices of a run that use files of the user's own."""
    return [((group, name), source) for group, source in run.sources for name in names_using(run, group, source)]


def names_using(run: Configuration, group: str, source: Source) -> list[str]:
    """What is chosen of a group that uses a file: of measures there may be several."""
    if group != "measure":
        return [getattr(run, group).name]
    return [measure.name for measure in run.measure.own if source in sources_of(measure)]


def chosen_names(plain: Mapping[str, Any]) -> set[VersionedChoice]:
    """The choices of a stored configuration."""
    named = {(group, value["name"]) for group, value in plain.items() if isinstance(value, dict) and "name" in value}
    return named | {("measure", name) for name, value in plain["measure"].items() if isinstance(value, dict)}


def line(choice: VersionedChoice, label: str, digests: Sequence[Collection[str]]) -> str:
    """What there is to say of a choice; the hash of the file where a run used no other file."""
    known = sorted({digest[:SHOWN_DIGITS] for several in digests if len(several) == 1 for digest in several})
    shown = f" ({', '.join(known)})" if known else ""
    runs = format_count(len(digests), "stored run")
    return f"{runs} of {choice[0]}={choice[1]} used another version of {label}{shown}; tables keep them apart"
