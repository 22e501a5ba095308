"""Override lines of a sweep -> one plain dictionary per run.

    spectral_radius=0.5,1.0   task=noise,adding   'seed=range(0,8)'      ->      32 dictionaries

Hydra takes about 0.05 s to compose a configuration, and OmegaConf some milliseconds to set a value: ten minutes for ten
thousand runs. So each line is parsed once. Hydra composes once for each combination of groups (and of anything else
that changes more than a value), or once for each choice in one group where the groups are independent
(`hydra_independence`). A run is a copy of plain dictionaries with its values set; where the composed configuration has
interpolations, OmegaConf sets the values of each run. A test compares the result with Hydra's own composition.

Values differ from Hydra's in two points, on purpose (`sweep_values`): ranges of floats, and ranges that are sorted.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bpttlab import plugins, resources
from bpttlab.errors import ConfigurationError, LabError, nearest
from bpttlab.fields import Plain
from bpttlab.limits import MOST_RUNS
from bpttlab.sweeps.choices import find_owners
from bpttlab.sweeps.configuration_files import (
    FilesWithinLimits,
    refuse_other_than_file,
    refuse_without_fields,
    search,
)
from bpttlab.sweeps.file_values import FileValues
from bpttlab.sweeps.hydra_independence import (
    changes_its_package_only,
    differ_there_only,
    entries,
    group_of,
    has_conditional_defaults,
)
from bpttlab.sweeps.hydra_settings import (
    check_own_lines,
    is_of_hydra,
    refuse_other_machinery,
    refuse_settings,
    refuse_without_effect,
    settings_of,
)
from bpttlab.sweeps.interpolations import files_of_choices, unresolved
from bpttlab.sweeps.line_advice import errors_of_line, given_twice
from bpttlab.sweeps.line_limits import refuse_lines
from bpttlab.sweeps.nested import copy_plain, exists, is_interpolation, leaves
from bpttlab.sweeps.own_networks import OF_FILES, set_told, take_labels
from bpttlab.sweeps.ranges import refuse_too_many
from bpttlab.sweeps.stored_networks import refuse_cell_fields
from bpttlab.sweeps.sweep_values import (
    as_written,
    line_parser,
    one_by_one,
    one_line,
    plain_value,
    swept_elements,
)

VERSION_BASE = "1.3"
"""The Hydra release whose defaults hold, whichever is installed."""

CONFIG_NAME = "config"


@dataclass(frozen=True)
class Axis:
    """One override line, parsed: what it sets, and to which values in turn.

    Attributes:
        key: what it sets, without + or ~.
        parsed: Hydra's own reading of the line.
        is_group: whether it chooses a file of a group rather than setting a value.
        elements: one or more values, as the parser left them.
        values: the same as plain values.
    """

    key: str
    parsed: Override
    is_group: bool
    elements: tuple[Any, ...]
    values: tuple[Any, ...]

    @cached_property
    def lines(self) -> tuple[str, ...]:
        """The values as override lines of one value each."""
        return one_by_one(self.parsed, self.elements) if self.is_swept else (str(self.parsed.input_line),)

    @cached_property
    def is_value(self) -> bool:
        """Whether it only gives a field that exists another plain value, which a dictionary can do as well as Hydra."""
        changes = not (self.parsed.is_add() or self.parsed.is_delete() or self.parsed.is_force_add())
        plain = not any(isinstance(value, dict | list) or is_interpolation(value) for value in self.values)
        return changes and plain and not self.is_group and "[" not in self.key

    @property
    def is_swept(self) -> bool:
        return self.parsed.is_sweep_override()


@dataclass(frozen=True)
class Composed:
    """What Hydra composed for one choice, taken apart.

    Attributes:
        config: without the node `hydra`.
        brought: the sweep that it brings along, hydra.sweeper.params.
        machinery: the launcher and the sweeper that it asks for.
        files: of the user, from which it was composed, as far as they are choices.
    """

    config: DictConfig
    brought: dict[str, Any]
    machinery: dict[str, Any]
    files: tuple[Path, ...] = ()

    @cached_property
    def plain(self) -> Plain:
        """The configuration as nested dictionaries, interpolations as they are written."""
        plain = OmegaConf.to_container(self.config, resolve=False)
        assert isinstance(plain, dict)
        return plain  # type: ignore[return-value]  # the keys of a configuration of ours are strings

    @cached_property
    def has_interpolations(self) -> bool:
        return any(is_interpolation(value) for _, value in leaves(self.plain))


class Composer:
    """Hydra's composition of one primary configuration, done as seldom as possible."""

    def __init__(
        self,
        loader: ConfigLoader,
        config_name: str = CONFIG_NAME,
        hydra_lines: Sequence[str] = (),
        folders: Sequence[str] = (),
        is_hydra_main: bool = False,
    ) -> None:
        """`hydra_lines` override Hydra's own settings and are part of every composition.

        Args:
            folders: the places that `loader` searches besides the shipped configuration.
            is_hydra_main: whether Hydra itself has composed the configuration before, for a program of the user's own,
                which may give Hydra other settings.
        """
        self.folders = list(folders)
        self.is_hydra_main = is_hydra_main
        self.loader = loader
        self.config_name = config_name
        self.hydra_lines = list(hydra_lines)
        self.parser = line_parser(loader)
        self.composed: dict[tuple[str, ...], Composed] = {}
        self.searches_elsewhere = False  # where files have not been looked into
        self.first: dict[tuple[str, ...], tuple[str, ...]] = {}
        self.alone: dict[tuple[str, ...], bool] = {}
        self.listed_entries: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
        self.listed: dict[tuple[str, ObjectType], list[str]] = {}

    @property
    def file_values(self) -> list[FileValues]:
        """What the files of the user give, as far as they were read."""
        return [one.values for one in self.loader.get_sources() if isinstance(one, FilesWithinLimits)]

    def expand(self, lines: Iterable[str]) -> list[Plain]:
        """`compose_runs` at once."""
        return list(self.compose_runs(lines))

    def compose_runs(self, lines: Iterable[str], told: Callable[[int], object] = lambda count: None) -> Iterator[Plain]:
        """One nested dictionary per run, every value resolved, one after the other; the last line varies fastest.

        Args:
            told: a function that receives the number of runs on the lines before they are composed.

        Raises:
            ConfigurationError: a line that cannot be read, an unknown group, choice or field, or a sweep that Hydra
                would silently leave out.
        """
        axes = self.with_parts(self.axes(lines))
        refuse_cell_fields({axis.key: axis.values for axis in axes})
        count = math.prod(len(axis.values) for axis in axes if axis.key not in OF_FILES)
        refuse_too_many(count, swept_lines(axes))
        structure = [axis for axis in axes if not axis.is_value]
        fixed = self.compose(tuple(axis.lines[0] for axis in structure if not axis.is_swept))
        refuse_other_machinery(fixed.machinery)
        refuse_too_many(count, swept_lines(axes), most_runs(axes, fixed.plain))
        told(count)
        return (run for choice in _choices(structure) for run in self.runs_of_choice(axes, choice, fixed.machinery))

    def compose_line(self, lines: Iterable[str], told: Callable[[int], object] = lambda count: None) -> Iterator[Plain]:
        """`compose_runs` for all lines of a command; `composer` has read those of Hydra's own settings."""
        return self.compose_runs((line for line in lines if not is_of_hydra(line)), told)

    def with_parts(self, axes: list[Axis]) -> list[Axis]:
        """An experiment whose own sweep is over other experiments, its parts, stands for these."""
        return [self.parts_of(axis) if axis.is_group and not axis.is_swept else axis for axis in axes]

    def parts_of(self, axis: Axis) -> Axis:
        parts = self.compose(axis.lines).brought.get(axis.key) if axis.key == "experiment" else None
        return axis if parts is None else self.axis(f"{axis.key}={as_written(parts)}")

    def runs_of_choice(self, axes: list[Axis], choice: tuple[str, ...], machinery: Plain) -> Iterator[Plain]:
        """The runs of one choice on the command line, with the sweep that this choice brings along.

        Hydra reads its own settings once, before anything is swept: a sweep or a launcher in an experiment that is
        itself swept would have no effect. A sweep is added here, for its experiment only; a launcher is refused.
        """
        brought = self.for_runs(choice).brought
        named = {axis.key for axis in axes}
        own = self.axes(f"{key}={as_written(value)}" for key, value in brought.items() if key not in named)
        values = [axis for axis in own + axes if axis.is_value]
        several = [*own, *(axis for axis in axes if axis.is_value)]
        count = math.prod(len(axis.values) for axis in several if axis.key not in OF_FILES)
        refuse_too_many(count, swept_lines(several), most_runs(axes, self.for_runs(choice).plain))
        for more in _choices([axis for axis in own if not axis.is_value]):
            whole = (*more, *choice)
            composed = self.for_runs(whole)
            if composed.brought != brought:
                raise ConfigurationError(f"{_describe(whole)} brings hydra.sweeper.params into a sweep; {_REMEDY}")
            if composed.machinery != machinery:
                inside = "sets hydra/launcher or hydra/sweeper inside a sweep"
                raise ConfigurationError(f"{_describe(whole)} {inside}; {_REMEDY}")
            yield from runs(composed, values, self.groups())

    def axes(self, lines: Iterable[str]) -> list[Axis]:
        """The lines, parsed once.

        Raises:
            ConfigurationError: two of them have one key. (For Hydra the later one holds, and nothing is said.)
        """
        several = list(lines)
        refuse_lines(several)
        axes: dict[str, Axis] = {}
        for axis in map(self.axis, several):
            if axis.key in axes:
                raise given_twice(axis.key, *(str(one.parsed.input_line) for one in (axes[axis.key], axis)))
            axes[axis.key] = axis
        return list(axes.values())

    def axis(self, line: str) -> Axis:
        """One line, or the error that says what is wrong with it."""
        with errors_of_line(line):
            return self.read_axis(line)

    def read_axis(self, line: str) -> Axis:
        """`axis`, with whatever Hydra raises for a line."""
        parsed = self.parse(line)
        elements = swept_elements(parsed, line) if parsed.is_sweep_override() else [parsed.value()]
        values = tuple(plain_value(element) for element in elements)
        is_group = self.is_group(parsed.key_or_group) and not any(isinstance(value, dict) for value in values)
        if is_group and not parsed.is_delete():
            self.refuse_unknown_choices(parsed, values)
        return Axis(parsed.get_key_element().lstrip("+~"), parsed, is_group, tuple(elements), values)

    def parse(self, line: str) -> Override:
        with errors_of_line(line):
            parsed: Override = self.parser.parse_rule(line, "override")
        if not parsed.key_or_group:
            raise ConfigurationError(f"cannot read {line!r} as key=value: the key is missing")
        parsed.config_loader = self.loader  # a glob asks it for the files of its group
        if parsed.is_hydra_override():
            raise ConfigurationError(f"{line}: Hydra's own settings cannot be swept")
        return parsed

    def is_group(self, key: str) -> bool:
        """Whether there is something in a folder of this name; most keys have none, which the folder above tells."""
        above, _, name = key.rpartition("/")
        there = name in self.options(above, ObjectType.GROUP)
        return there and bool(self.options(key) or self.options(key, ObjectType.GROUP))

    def groups(self) -> list[str]:
        """The groups there are, Hydra's own left out."""
        return [group for group in self.options("", ObjectType.GROUP) if group != "hydra"]

    def options(self, group: str, kind: ObjectType = ObjectType.CONFIG) -> list[str]:
        """What there is in the folders of a group, in all places that are searched."""
        if (group, kind) not in self.listed:
            self.listed[group, kind] = self.loader.get_group_options(group, kind, self.config_name, self.hydra_lines)
        return self.listed[group, kind]

    def refuse_unknown_choices(self, parsed: Override, values: Iterable[Any]) -> None:
        group = parsed.key_or_group
        options = self.options(group)
        for value in values:
            may_be_left_out = value is None and not parsed.is_sweep_override()
            if not may_be_left_out and not isinstance(value, list) and value not in options:
                for folder in self.folders:
                    refuse_other_than_file(Path(folder, group, f"{value}.yaml"))
                hint = nearest(value, options)
                raise ConfigurationError(f"{group}={value}: must be one of {', '.join(options)}.{hint}")

    def compose(self, choice: tuple[str, ...]) -> Composed:
        """Hydra's composition for this choice, remembered."""
        if choice not in self.composed:
            with errors_of_hydra(choice):
                self.composed[choice] = self.load(choice)
        return self.composed[choice]

    def as_yaml(self, choice: Sequence[str], part: str, package: str | None = None, resolve: bool = False) -> str:
        """The configuration of this choice as YAML.

        Args:
            choice: override lines with one value each.
            part: "job": without Hydra's settings; "hydra": these alone; "all".
            package: a dotted key: only what is below it.
            resolve: whether interpolations are replaced by their values.

        Raises:
            ConfigurationError: it cannot be composed, or has no such package.
        """
        with errors_of_hydra(choice):
            config = self.configuration(choice)
            refuse_other_machinery(settings_of(config))
            refuse_settings(config)
            for name in [name for name in config if part not in ("all", "hydra" if name == "hydra" else "job")]:
                del config[name]
            found = config if package in (None, "_global_") else OmegaConf.select(config, package)
            if found is None:
                raise ConfigurationError(f"--package {package}: the configuration has no such key")
            if not OmegaConf.is_config(found):
                return f"{found}\n"
            if resolve:
                OmegaConf.resolve(found)
            return f"# @package {package}\n" * (package is not None) + OmegaConf.to_yaml(found)

    def for_runs(self, choice: tuple[str, ...]) -> Composed:
        """`compose`, or the same put together from what Hydra composed for parts of the choice."""
        return self.assemble(choice) or self.compose(choice)

    def assemble(self, choice: tuple[str, ...]) -> Composed | None:
        """The composition of a choice that differs in several groups from the first choice of its kind.

        From that and those that differ from it in one group each, if these groups are independent
        (`hydra_independence`). Only its `plain` is that of the choice.
        """
        first = self.first.setdefault(tuple(line.partition("=")[0] for line in choice), choice)
        changed = [place for place, line in enumerate(choice) if line != first[place]]
        if len(changed) < 2:
            return None
        ones = {place: (*first[:place], choice[place], *first[place + 1 :]) for place in changed}
        if not all(self.stands_alone(first, one, one[place]) for place, one in ones.items()):
            return None
        base, parts = self.compose(first), {group_of(one[place]): self.compose(one) for place, one in ones.items()}
        found = Composed(base.config, base.brought, base.machinery)
        found.__dict__["plain"] = {name: parts.get(name, base).plain[name] for name in base.plain}
        return found

    def stands_alone(self, first: tuple[str, ...], one: tuple[str, ...], line: str) -> bool:
        """Whether one line in place of another changes its own group and nothing else, whatever else is chosen."""
        if one not in self.alone:
            self.alone[one] = self.is_independent(first, one, group_of(line))
        return self.alone[one]

    def is_independent(self, first: tuple[str, ...], one: tuple[str, ...], group: str | None) -> bool:
        if group is None or not self.is_group(group) or self.has_conditional_defaults:
            return False
        base, other = self.compose(first), self.compose(one)
        if self.searches_elsewhere:
            return False
        same = base.brought == other.brought and base.machinery == other.machinery
        if not same or base.has_interpolations or other.has_interpolations:
            return False
        lists = [self.entries(lines) for lines in (first, one)]
        return differ_there_only(group, base.plain, other.plain) and changes_its_package_only(group, *lists)

    def entries(self, choice: tuple[str, ...]) -> list[tuple[Any, ...]]:
        """Hydra's defaults list, remembered."""
        if choice not in self.listed_entries:
            lines = [*self.hydra_lines, *choice]
            self.listed_entries[choice] = entries(self.loader, self.config_name, lines)
        return self.listed_entries[choice]

    @cached_property
    def has_conditional_defaults(self) -> bool:
        return has_conditional_defaults(self.loader)

    def configuration(self, choice: Sequence[str]) -> DictConfig:
        """What Hydra composes for this choice, its own settings included; it may be changed."""
        config = self.loader.load_configuration(
            self.config_name, overrides=[*self.hydra_lines, *choice], run_mode=RunMode.RUN
        )
        OmegaConf.set_struct(config, False)
        OmegaConf.set_readonly(config.hydra, False)
        return config

    def load(self, choice: tuple[str, ...]) -> Composed:
        config = self.configuration(choice)
        settings = settings_of(config)
        brought = settings["sweeper"].pop("params", None) or {}
        self.searches_elsewhere |= len(config.hydra.searchpath) > 0
        refuse_without_effect(config.hydra.runtime)
        choices: dict[str, Any] = OmegaConf.to_container(config.hydra.runtime.choices)  # type: ignore[assignment]
        if not self.is_hydra_main:
            refuse_settings(config)
            refuse_without_fields(choices, map(str, config), self.folders)
        del config["hydra"]
        OmegaConf.set_struct(config, True)
        return Composed(config, brought, settings, files_of_choices(choices, self.folders))


@contextmanager
def errors_of_hydra(choice: Sequence[str]) -> Iterator[None]:
    """Makes an error of Hydra, OmegaConf or YAML one line that names the choice."""
    try:
        yield
    except (LabError, MemoryError):
        raise
    except Exception as error:  # lines and files from anywhere: whatever the libraries that compose them say of them
        raise ConfigurationError(f"{_describe(choice)} {one_line(error)}".strip()) from error


def composer(config_dir: str | None = None, lines: Iterable[str] = ()) -> Composer:
    """A composer of the shipped configuration. It takes Hydra's own settings from `lines` and ignores the others.

    Raises:
        ConfigurationError: a line sets what it may not of Hydra's settings, or hydra.searchpath beside a `config_dir`.
    """
    own = [line for line in lines if is_of_hydra(line)]
    refuse_lines(own)
    folders = [*check_own_lines(own, config_dir), *([config_dir] if config_dir is not None else [])]
    with no_global_hydra(), hydra.initialize_config_dir(str(resources.conf()), version_base=VERSION_BASE):
        loader = GlobalHydra.instance().config_loader()
    search(loader, folders)
    kept = [line for line in own if not line.lstrip("+~").startswith("hydra.searchpath")]
    return Composer(loader, hydra_lines=kept, folders=folders)


@contextmanager
def no_global_hydra() -> Iterator[None]:
    """Hydra has one global instance; one that is in use, in a notebook perhaps, is put back."""
    before = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        GlobalHydra.instance().clear()  # Hydra's `initialize` leaves another instance behind
        if before is not None:
            GlobalHydra.instance().initialize(before)


_REMEDY = "it holds for a whole sweep and would be left out: say it on the command line"


def runs(composed: Composed, axes: Sequence[Axis], groups: Iterable[str]) -> Iterator[Plain]:
    """Every combination of the axes' values, set in what was composed."""
    for axis in axes:
        refuse_unknown_field(composed.plain, axis, groups)
    combine = set_in_omegaconf if composed.has_interpolations else set_in_dictionaries
    several, told = take_labels({axis.key: axis.values for axis in axes})
    for values in itertools.product(*several.values()):
        yield set_told(combine(composed, several, values), told)


def set_in_dictionaries(composed: Composed, keys: Iterable[str], values: Iterable[Any]) -> Plain:
    run = copy_plain(composed.plain)
    for key, value in zip(keys, values, strict=True):
        *parents, name = key.split(".")
        node = run
        for parent in parents:
            node = node[parent]
        node[name] = value
    return run


def set_in_omegaconf(composed: Composed, keys: Iterable[str], values: Iterable[Any]) -> Plain:
    config = deepcopy(composed.config)
    try:
        for key, value in zip(keys, values, strict=True):
            OmegaConf.update(config, key, value, merge=True)
        return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]
    except OmegaConfBaseException as error:
        raise unresolved(error, OmegaConf.to_container(config, resolve=False), composed.files) from error  # type: ignore[arg-type]


def refuse_unknown_field(plain: Plain, axis: Axis, groups: Iterable[str]) -> None:
    if exists(plain, axis.key):
        return
    if axis.key == "networks":
        raise ConfigurationError("networks: is a word of bpttlab tables and figures; it changes no run")
    group, _, name = axis.key.partition(".")
    refuse_unknown_field_of_own_measure(plain, axis)
    if group == "training" and name in groups:
        line = f"{name}={','.join(map(as_written, axis.values))}"
        raise ConfigurationError(f"{axis.parsed.input_line}: {name} is a group of its own; write {line}")
    if isinstance(plain.get(group), dict):
        known = list(plain[group])
        chosen = f"{group} {plain[group].get('name', '')!r}" if "name" in known else group
        if known == ["name"] and group != "training":  # whose fields belong to training=standard
            raise ConfigurationError(f"{axis.key}: {chosen} has no fields")
        if owners := find_owners(group, name):
            line = f"{group}={owners[0]}"
            raise ConfigurationError(
                f"{axis.key}: belongs to {group}={' or '.join(owners)}, and not to {chosen}: add {line}"
            )
        raise ConfigurationError(f"{axis.key}: {chosen} has only {', '.join(known)}.{nearest(name, known)}")
    hint = nearest(axis.key, [*groups, *(key for key, _ in leaves(plain))])
    raise ConfigurationError(f"{axis.key}: no field and no group has this name.{hint}")


def refuse_unknown_field_of_own_measure(plain: Plain, axis: Axis) -> None:
    """Refuses measure.NAME.FIELD of a user's own measure that is not chosen, or has no such field."""
    group, *names = axis.key.split(".")
    own = {choice.name for choice in plugins.own_choices() if choice.kind == "measure"}
    if group != "measure" or len(names) != 2 or names[0] not in own:
        return
    chosen = plain[group].get(names[0])
    if chosen is None:
        line = f"+{axis.key}={','.join(map(as_written, axis.values))}"
        raise ConfigurationError(f"{axis.key}: add measure={names[0]}, or write {line}")
    known = list(chosen)
    there_are = f"has only {', '.join(known)}" if known else "has no fields"
    raise ConfigurationError(f"{axis.key}: measure {names[0]!r} {there_are}.{nearest(names[1], known)}")


def most_runs(axes: Iterable[Axis], composed: Plain) -> int:
    """The max_runs of a line, as far as it is a number; that of the files otherwise."""
    stated = [value for axis in axes if axis.key == "max_runs" for value in axis.values]
    most = stated[0] if stated else composed.get("max_runs")
    return int(most) if isinstance(most, int | float) and 1 <= most <= MOST_RUNS else MOST_RUNS


def _choices(axes: Iterable[Axis]) -> Iterator[tuple[str, ...]]:
    """Every combination of the axes' lines."""
    return itertools.product(*(axis.lines for axis in axes))


def swept_lines(axes: Iterable[Axis]) -> str:
    """The lines that have several values, as they are written."""
    return " ".join(str(axis.parsed.input_line) for axis in axes if axis.is_swept)


def _describe(choice: Sequence[str]) -> str:
    return f"{' '.join(choice)}:" if choice else ""
