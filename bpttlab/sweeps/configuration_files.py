"""Configuration files of a user, or of somebody else: read within limits (`limits`), with nothing in them executed.

A file is YAML of plain values. Its aliases are counted as what they repeat, before anything is built. A folder that is
searched may be an ordinary folder only: Hydra would import the Python package that pkg:// names.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.config_loader import ConfigLoader
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from omegaconf import DictConfig, OmegaConf

from bpttlab import limits, resources
from bpttlab.errors import ConfigurationError
from bpttlab.sweeps.file_values import FileValues, group_package
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
    """Hydra's source of files, within limits. Hydra copies it for each composition, and so begins to count again.

    Attributes:
        values: what the files of the user give, of all compositions.
    """

    def __init__(self, provider: str, path: str) -> None:
        super().__init__(provider, path)
        self.counts = Counts()
        self.values = FileValues()
        self.leads_to: dict[str, set[str]] = {}

    @staticmethod
    def scheme() -> str:
        return SCHEME

    def load_config(self, config_path: str) -> ConfigResult:
        if self.provider == MAIN_PROVIDER:
            return super().load_config(config_path)
        file = Path(self.path, self._normalize_file_name(config_path))
        called = show_path(str(file))
        refuse_other_than_file(file)
        if not file.is_file():
            raise ConfigLoadError(f"Config not found : {file}")
        text = read_within_limits(file, self.counts)
        name = config_path.removesuffix(".yaml")
        self.refuse_circle(name, called, text)
        for one in self.leads_to[name]:
            refuse_other_than_file(Path(self.path, f"{one}.yaml"))
        header = ConfigSource._get_header_dict(text[:512])
        content = load_fields(text, called)
        if not f"{config_path}/{header.get('package', '')}/".startswith(("hydra/", "hydra.")):
            refuse_targets(content, called)
        package = header["package"] or group_package(name)
        self.values.add(called, package, OmegaConf.to_container(content, resolve=False))  # type: ignore[arg-type]
        return ConfigResult(self.provider, f"{SCHEME}://{self.path}", content, header)

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
        ConfigurationError: it cannot be read, is no YAML, or holds more than it may; the message names the file.
    """
    counts, called = counts or Counts(), show_path(str(file.absolute()))
    with name_unreadable(called):
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


@contextmanager
def name_unreadable(called: str) -> Iterator[None]:
    """Makes what is raised for a file that is no readable YAML one line that names it, and the line in it."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{called}: is not text in UTF-8: byte {error.start}; must be YAML") from None
    except OSError as error:
        raise ConfigurationError(f"{called}: cannot be read: {error.strerror or error}") from None
    except yaml.reader.ReaderError as error:
        letter = error.character if isinstance(error.character, str) else chr(error.character)
        raise ConfigurationError(f"{called}: has the character {letter!r}, which no YAML has; must be a text") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        reason = ", ".join(part for part in (error.context, error.problem) if part)
        raise ConfigurationError(f"{called}{line}: cannot be read as YAML: {' '.join(reason.split())}") from None


def load_fields(text: str, called: str) -> DictConfig:
    """The fields of a YAML text that is within limits.

    Raises:
        ConfigurationError: it is no mapping; the message names the file.
    """
    with name_unreadable(called):
        content = OmegaConf.load(io.StringIO(text))
    if not isinstance(content, DictConfig):
        raise ConfigurationError(f"{called}: is a list; must be fields with their values, such as 'seed: 1'")
    return content


def refuse_other_than_file(file: Path) -> None:
    """Accepts an ordinary file, and a name that does not exist; nothing is opened, so that a pipe is not waited for.

    Raises:
        ConfigurationError: something else has this name; the message says what.
    """
    if os.path.lexists(file) and not file.is_file():
        raise ConfigurationError(f"{show_path(str(file.absolute()))}: is {describe_kind(file)}; must be a file of YAML")


def describe_kind(path: Path) -> str:
    """What a path is that is no file."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return f"a link that leads nowhere ({error.strerror})"
    kinds = {"a folder": stat.S_ISDIR, "a pipe": stat.S_ISFIFO, "a socket": stat.S_ISSOCK}
    return next((name for name, holds in kinds.items() if holds(mode)), "a device")


def refuse_targets(content: DictConfig, called: str) -> None:
    """Refuses keys by which Hydra makes objects elsewhere; those of Hydra's own settings are looked at later."""
    fields = OmegaConf.to_container(content, resolve=False)
    found = targets({name: value for name, value in fields.items() if name != "hydra"})  # type: ignore[union-attr]
    if found:
        raise ConfigurationError(
            f"{called}: has {found[0]}, and nothing is made from a file: leave it out; a class is chosen by its name, "
            "such as cell: gru in defaults"
        )


def targets(value: Any, path: str = "") -> list[str]:
    """The keys below which Hydra would make an object."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = {str(place): item for place, item in enumerate(value)}
    if not isinstance(value, Mapping):
        return []
    own = [f"{path}{name}" for name in value if name in ("_target_", "_partial_", "_args_")]
    return own + [found for name, item in value.items() for found in targets(item, f"{path}{name}.")]


def refuse_without_fields(choices: Mapping[str, Any], content: Iterable[str], folders: Iterable[str]) -> None:
    """Refuses the file of a group that is no field, such as an experiment, if its values are not those of fields.

    Args:
        choices: group -> what is chosen.
        content: the keys of the configuration that was composed.
        folders: of the user.
    """
    fields = set(content)
    for group, choice in choices.items():
        is_field = group != "experiment" and (resources.conf() / group).is_dir()
        for file in [Path(folder, group, f"{choice}.yaml") for folder in folders if group in fields and not is_field]:
            if file.is_file():
                called = show_path(str(file.absolute()))
                begin = "gives no fields" if load_fields(file.read_text(encoding="utf-8"), called) else "is empty"
                raise ConfigurationError(
                    f"{called}: {begin}; must begin with the line '# @package _global_', and have fields with their "
                    "values below it, such as 'seed: 1'"
                )


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
