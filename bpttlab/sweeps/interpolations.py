"""Interpolations ${KEY} that cannot be replaced by a value: which field has one, why it cannot, and in which file."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException

from bpttlab.errors import ConfigurationError, nearest
from bpttlab.fields import Plain
from bpttlab.sweeps.line_limits import shorten_line
from bpttlab.sweeps.nested import leaves
from bpttlab.sweeps.sweep_values import one_line
from bpttlab.user_files import show_path

_MISSING_KEY = re.compile(r"Interpolation key '(.*?)' not found")
_MISSING_VARIABLE = re.compile(r"Environment variable '(.*?)' not found")


def unresolved(error: OmegaConfBaseException, plain: Plain, files: Iterable[Path] = ()) -> ConfigurationError:
    """The error for an interpolation without a value.

    Args:
        error: what OmegaConf says.
        plain: the configuration, with interpolations as they are written.
        files: of the user, from which it was composed.
    """
    field, written = str(error.full_key or ""), dict(leaves(plain))
    value = written.get(field)
    where = [show_path(str(file)) for file in files if value is not None and stands_in(str(value), file)]
    place = f" (in {', '.join(where)})" if where else ""
    begin = f"{field}={shorten_line(str(value))}{place}: " if value is not None else f"{field}: " if field else ""
    return ConfigurationError(f"{begin}{describe_reason(error, written)}")


def describe_reason(error: OmegaConfBaseException, fields: Iterable[str]) -> str:
    """Why an interpolation has no value."""
    said = one_line(error)
    if "Recursive interpolation" in said:
        return "leads back to itself, in a circle: must be a value, or name a field that has one"
    if found := _MISSING_VARIABLE.search(said):
        default = f"${{oc.env:{found[1]},VALUE}}"
        return f"there is no variable {found[1]!r} of the environment; {default} has a default"
    if isinstance(error, InterpolationKeyError) and (found := _MISSING_KEY.search(said)):
        return f"it names the field {found[1]!r}, which does not exist.{nearest(found[1], fields)}"
    return said


def stands_in(text: str, file: Path) -> bool:
    """Whether a file that was read within limits has a text."""
    try:
        return text in file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def files_of_choices(choices: Any, folders: Iterable[str]) -> tuple[Path, ...]:
    """The ordinary files of folders that a mapping of groups to choices names."""
    several = {group: choice if isinstance(choice, list) else [choice] for group, choice in dict(choices).items()}
    named = [Path(str(group), f"{one}.yaml") for group, some in several.items() for one in some]
    return tuple(file for folder in folders for path in named if (file := Path(folder, path)).is_file())
