"""Configuration files of a user, or of somebody else: read within limits (`limits`), with nothing in them executed.

A file is YAML of plain values. Its aliases are counted as what they repeat, before anything is built. A folder that is
searched may be an ordinary folder only: Hydra would import the Python package that pkg:// names.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.config_loader import ConfigLoader
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from omegaconf import OmegaConf

from bpttlab import limits
from bpttlab.errors import ConfigurationError
from bpttlab.sweeps.line_limits import count_interpolations, refuse_more, refuse_text
from bpttlab.user_files import show_path

SCHEME = "bpttlab"
"""Stands before a folder whose files are read here: bpttlab:///home/me/conf."""

ANY = "*"
"""Stands for a choice that other choices give."""

MAIN_PROVIDER = "main"
"""Hydra's name for the folder of config.yaml."""


@dataclass
class Counts:
    """What the files of one run hold together.

    Attributes:
        bytes, values, interpolations: of the files that were read.
        defaults: entries of their defaults lists that add a file.
    """

    bytes: int = 0
    values: int = 0
    interpolations: int = 0
    defaults: int = 0

    def refuse_too_much(self, called: str) -> None:
        run = f"{called}: configuration files of a run"
        refuse_more(f"{run}: bytes", self.bytes, limits.LARGEST_CONFIGURATION)
        refuse_more(f"{run}: values", self.values, limits.MOST_FILE_VALUES)
        refuse_more(f"{run}: interpolations ${{...}}", self.interpolations, limits.MOST_INTERPOLATIONS)
        refuse_more(f"{run}: entries of defaults", self.defaults, limits.MOST_DEFAULTS)


class FilesWithinLimits(FileConfigSource):
    """Hydra's source of files, within limits. Hydra copies it for each composition, and so begins to count again."""

    def __init__(self, provider: str, path: str) -> None:
        super().__init__(provider, path)
        self.counts = Counts()
        self.leads_to: dict[str, set[str]] = {}

    @staticmethod
    def scheme() -> str:
        return SCHEME

    def load_config(self, config_path: str) -> ConfigResult:
        if self.provider == MAIN_PROVIDER:
            return super().load_config(config_path)
        file = Path(self.path, self._normalize_file_name(config_path))
        if not file.is_file():
            raise ConfigLoadError(f"Config not found : {file}")
        text = read_within_limits(file, self.counts)
        self.refuse_circle(config_path.removesuffix(".yaml"), show_path(str(file)), text)
        header = ConfigSource._get_header_dict(text[:512])
        return ConfigResult(self.provider, f"{SCHEME}://{self.path}", OmegaConf.load(io.StringIO(text)), header)

    def refuse_circle(self, name: str, called: str, text: str) -> None:
        """Raises the error for a file whose defaults lead back to it: Hydra would follow them for minutes."""
        group, _, _ = name.rpartition("/")
        self.leads_to[name] = {found for entry in entries_of(text) for found in names_of(entry, group)}
        reached: set[str] = set()
        following = {name}
        while following:
            next_names = set().union(*(self.find_files(one) for one in following))
            if name in next_names:
                raise ConfigurationError(f"{called}: its defaults lead back to it, in a circle")
            following = next_names - reached
            reached |= next_names

    def find_files(self, name: str) -> set[str]:
        """The files read so far that the defaults of a file name; a choice that is not known may be any of a group."""
        named = self.leads_to.get(name, set())
        return {one for one in self.leads_to if one in named or f"{one.rpartition('/')[0]}/{ANY}" in named}


def search(loader: ConfigLoader, folders: Sequence[str]) -> None:
    """Lets a loader search these folders too, and read all files of folders within limits."""
    SourcesRegistry.instance().register(FilesWithinLimits)
    path: Any = loader.get_search_path()
    *places, schema = path.get_path()
    path.get_path()[:] = places
    for place in places:
        place.path = place.path.replace("file://", f"{SCHEME}://", 1)
    for folder in folders:
        path.append("--config-dir", f"{SCHEME}://{os.path.abspath(folder)}")
    path.get_path().append(schema)
    loader.repository.initialize_sources(path)  # type: ignore[attr-defined]


def folder_of_place(place: str) -> str | None:
    """The folder of a place that Hydra searches; None if it is no folder."""
    scheme, separator, folder = place.partition("://")
    return folder if separator and scheme in ("file", SCHEME) else None


def read_within_limits(file: Path, counts: Counts | None = None) -> str:
    """The text of a configuration file.

    Args:
        counts: what was read before; what this file holds is added.

    Raises:
        ConfigurationError: it holds more than it may; the message names the file.
        OSError, yaml.YAMLError: it cannot be read, or is no YAML.
    """
    counts, called = counts or Counts(), show_path(str(file.absolute()))
    with file.open("rb") as stream:
        data = stream.read(limits.LARGEST_CONFIGURATION + 1)
    counts.bytes += len(data)
    counts.refuse_too_much(called)
    text = data.decode("utf-8")
    counter = ValueCounter(called, counts)
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        counter.take(event)
    counts.defaults += count_defaults(text)
    counts.refuse_too_much(called)
    return text


def count_defaults(text: str) -> int:
    """The files that a defaults list adds, of a text that is within the other limits."""
    return sum(len(list(names_of(entry, ""))) for entry in entries_of(text))


def entries_of(text: str) -> list[Any]:
    """The entries of a defaults list that add files."""
    content = yaml.safe_load(text) if "defaults" in text else None
    entries = content.get("defaults") if isinstance(content, dict) else None
    return [entry for entry in entries if not is_override(entry)] if isinstance(entries, list) else []


def is_override(entry: Any) -> bool:
    return isinstance(entry, dict) and all(str(key).startswith("override ") for key in entry)


def names_of(entry: Any, group: str) -> Iterator[str]:
    """The files that an entry adds, by their names without .yaml.

    Args:
        entry: "name", "/group/name@package" or {"group": choice}, where a choice may be a list.
        group: of the file that has the entry.
    """
    chosen = entry if isinstance(entry, dict) else {"": entry}
    for key, choices in chosen.items():
        folder = str(key).removeprefix("optional ").partition("@")[0]
        for choice in choices if isinstance(choices, list) else [choices]:
            name = ANY if "${" in str(choice) else str(choice).partition("@")[0].removesuffix(".yaml")
            path = f"{folder}/{name}" if folder else name
            yield path.lstrip("/") if path.startswith("/") or not group else f"{group}/{path}"


@dataclass
class ValueCounter:
    """Counts the values of a YAML text from its events, each alias as what it repeats; nothing is built.

    Attributes:
        called: the file, for messages.
        counts: receives what is found.
        open: the collections that are not closed: [values, anchor].
        anchors: the values below each anchor that is closed.
    """

    called: str
    counts: Counts
    open: list[list[Any]] = field(default_factory=list)
    anchors: dict[str, int] = field(default_factory=dict)

    def take(self, event: Any) -> None:
        if isinstance(event, yaml.ScalarEvent):
            refuse_text(self.called, event.value)
            self.counts.interpolations += count_interpolations(event.value)
            self.add(1, event.anchor)
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.anchors:
                raise ConfigurationError(f"{self.called}: the alias *{event.anchor} stands within what it repeats")
            self.add(self.anchors[event.anchor])
        elif isinstance(event, yaml.CollectionStartEvent):
            self.open.append([1, event.anchor])
            refuse_more(f"{self.called}: values within values", len(self.open), limits.DEEPEST_BRACKETS)
        elif isinstance(event, yaml.CollectionEndEvent):
            self.add(*self.open.pop())

    def add(self, values: int, anchor: str | None = None) -> None:
        """Counts values where they stand."""
        if anchor is not None:
            self.anchors[anchor] = values
        if self.open:
            self.open[-1][0] += values
            refuse_more(f"{self.called}: values", self.open[-1][0], limits.MOST_FILE_VALUES)
            return
        self.counts.values += values
        self.counts.refuse_too_much(self.called)


def files_below(folder: str | Path) -> Iterator[Path]:
    """The YAML files in a folder and below it.

    Raises:
        ConfigurationError: there are more files than a folder of configuration may have.
    """
    seen = 0
    for above, _, names in os.walk(folder):
        seen += len(names) + 1
        refuse_more(f"{folder}: files and folders", seen, limits.MOST_FILES)
        yield from (Path(above, name) for name in names if name.endswith((".yaml", ".yml")))


def refuse_missing_folders(folders: Iterable[str], called: str) -> None:
    """Raises the error for a folder that does not exist."""
    for folder in folders:
        if not os.path.isdir(folder):
            raise ConfigurationError(f"{called}: there is no folder {folder}")
