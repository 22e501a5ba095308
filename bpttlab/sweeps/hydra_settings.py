"""Hydra's own settings: what a line or a file may say of them. Nothing is made from them.

Hydra makes objects of the classes that `_target_` names (a launcher, a sweeper, callbacks) and configures logging,
which can call any function. The command composes configurations and does neither. A setting that would have no effect,
or a harmful one in Hydra's hands, is refused by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from bpttlab.errors import ConfigurationError, nearest
from bpttlab.sweeps import configuration_files
from bpttlab.sweeps.line_advice import errors_of_line, given_twice
from bpttlab.sweeps.line_limits import shorten_line

MACHINERY = {
    "launcher": "hydra_plugins.bpttlab_sweep.launcher.BpttlabLauncher",
    "sweeper": "hydra_plugins.bpttlab_sweep.sweeper.BpttlabSweeper",
}
"""Hydra's groups that say how runs are carried out, and the classes that can run a study."""

ON_LINES = ("hydra.searchpath", "hydra.sweeper.params", "hydra.verbose", "hydra/launcher", "hydra/sweeper")
"""What a line may set; of the groups only what `MACHINERY` names."""

_NO_HANDLERS = {"version": 1, "root": None, "disable_existing_loggers": False}

FIXED: dict[str, Any] = {
    "mode": "MULTIRUN",
    "callbacks": {},
    "env": {},
    "hydra_logging": _NO_HANDLERS,
    "job_logging": _NO_HANDLERS,
    "job.chdir": None,
    "job.env_set": {},
    "job.env_copy": [],
    "output_subdir": None,
    "run.dir": ".",
    "sweep.dir": ".",
    "sweep.subdir": ".",
}
"""The settings by which Hydra would make objects, or write files, and their values in conf/config.yaml."""

LEFT_AS_IT_IS = "must be left as it is: nothing is made from Hydra's settings; a file may have hydra.sweeper.params"


def is_of_hydra(line: str) -> bool:
    """Whether a line overrides one of Hydra's own settings."""
    return line.lstrip("+~").startswith(("hydra.", "hydra/"))


def check_own_lines(lines: Iterable[str], config_dir: str | None) -> list[str]:
    """Refuses lines of Hydra's own settings that cannot hold; the folders that they add to those searched.

    Raises:
        ConfigurationError: a line cannot be read, sets what is not in `ON_LINES`, or names a place that is no folder.
    """
    found: dict[str, tuple[str, Any]] = {}
    for line in lines:
        key, value = read_own_line(line)
        if key in found:
            raise given_twice(key, found[key][0], line)
        found[key] = line, value
    for key, (line, _) in found.items():
        refuse_other_settings(key, line)
    if "hydra.searchpath" not in found:
        return []
    line, value = found["hydra.searchpath"]
    if config_dir is not None:
        raise ConfigurationError(f"{line}: --config-dir sets hydra.searchpath as well: give one of them")
    return folders_of(line, value)


def read_own_line(line: str) -> tuple[str, Any]:
    """The key and the value of a line, which Hydra would read in places where no error is expected."""
    with errors_of_line(line):
        parsed = OverridesParser.create().parse_override(line)
        return parsed.get_key_element().lstrip("+~"), None if parsed.is_sweep_override() else parsed.value()


def refuse_other_settings(key: str, line: str) -> None:
    if key == "hydra.mode":
        raise ConfigurationError(f"{line}: hydra.mode cannot be set: every command line of bpttlab is a sweep")
    if not any(key == known or key.startswith(f"{known}.") for known in ON_LINES):
        there_are = f"of Hydra's own settings a line may give {', '.join(ON_LINES)}"
        raise ConfigurationError(f"{shorten_line(line)}: cannot be set: {there_are}.{nearest(key, ON_LINES)}")


def folders_of(line: str, value: Any) -> list[str]:
    """The folders that hydra.searchpath names.

    Raises:
        ConfigurationError: a place is no folder, such as a Python package (pkg://), which would be imported.
    """
    shown = shorten_line(line)
    if not isinstance(value, list):
        raise ConfigurationError(f"{shown}: must be a list of folders, hydra.searchpath=[mine,file:///data/conf]")
    places = [place if "://" in (place := str(one)) else f"file://{place}" for one in value]
    for place in places:
        if configuration_files.folder_of_place(place) is None:
            raise ConfigurationError(f"{shown}: {place} is no folder; must be a list of folders")
    folders = [folder for place in places if (folder := configuration_files.folder_of_place(place)) is not None]
    configuration_files.refuse_missing_folders(folders, shown)
    return folders


# ------------------------------------------------------------------ what was composed


def settings_of(config: DictConfig) -> dict[str, Any]:
    """The launcher and the sweeper of a composed configuration."""
    return {name: OmegaConf.to_container(config.hydra[name], resolve=True) for name in MACHINERY}


def refuse_settings(config: DictConfig) -> None:
    """Refuses a composed configuration in which a file has changed what Hydra would make, or write."""
    settings: Any = OmegaConf.to_container(config.hydra, resolve=False, enum_to_str=True)
    for path, expected in FIXED.items():
        value = settings
        for name in path.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        if value != expected:
            raise ConfigurationError(f"hydra.{path}={shorten_line(str(value))}: {LEFT_AS_IT_IS}")
    for path in configuration_files.targets(settings):
        if path not in [f"{name}._target_" for name in MACHINERY]:
            raise ConfigurationError(f"hydra.{path}: {LEFT_AS_IT_IS}")


def refuse_other_machinery(machinery: Mapping[str, Any]) -> None:
    """A launcher or sweeper of Hydra's own would compose every run again, and store none."""
    for name, target in MACHINERY.items():
        chosen = machinery[name].get("_target_")
        if chosen != target:
            raise ConfigurationError(f"hydra/{name}: {chosen} cannot run a study; leave hydra/{name} as it is")


def refuse_without_effect(runtime: Any) -> None:
    """Of two files that override Hydra's launcher or sweeper, Hydra obeys config.yaml and says nothing of the other."""
    folders = [
        Path(source.path) for source in runtime.config_sources if source.schema in ("file", configuration_files.SCHEME)
    ]
    for group, choice in runtime.choices.items():
        files = [folder / group / f"{choice}.yaml" for folder in folders if not group.startswith("hydra/")]
        for file in filter(Path.is_file, files):
            for key in find_overrides(file):
                if key.removeprefix("/") in {f"hydra/{name}" for name in MACHINERY}:
                    raise ConfigurationError(f"{file}: 'override {key}' has no effect; say it on the command line")


def find_overrides(file: Path) -> list[str]:
    """What the defaults list of a file overrides."""
    text = file.read_text(encoding="utf-8")
    if "override" not in text:
        return []
    content = yaml.safe_load(text)
    defaults = content.get("defaults", []) if isinstance(content, dict) else []
    keys = [key for entry in defaults if isinstance(entry, dict) for key in entry]
    return [str(key).removeprefix("override").strip() for key in keys if str(key).startswith("override ")]
