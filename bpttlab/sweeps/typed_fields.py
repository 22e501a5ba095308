"""Objects of dataclasses from plain values, each normalised and checked by the annotation of its field (`fields`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING
from typing import Any

from bpttlab.errors import ConfigurationError, nearest
from bpttlab.fields import format_value, typed_value
from bpttlab.sweeps.identity_parts import fields_of


def build_typed(kind: Any, values: Mapping[str, Any], group: str) -> Any:
    """An object of a dataclass from plain values, each normalised and checked by the field's annotation (`fields`).

    null for a field that has a default other than null means the default.
    """
    path = f"{group}.{{}}" if group else "{}"
    check_known(values, fields_of(kind), path)
    known = kind.__dataclass_fields__
    given = {name: value for name, value in values.items() if value is not None or not has_default(known[name])}
    missing = [name for name in fields_of(kind) if name not in given and known[name].default is MISSING]
    if missing:
        raise ConfigurationError(f"{path.format(missing[0])}: must be given")
    return kind(**{name: typed_or_required(kind, name, value, path.format(name)) for name, value in given.items()})


def typed_or_required(kind: Any, name: str, value: Any, path: str) -> Any:
    """`typed_value`. A null that a field cannot have stands for the default that the field has not."""
    try:
        return typed_value(kind, name, value, path)
    except ConfigurationError:
        if value is None and kind.__dataclass_fields__[name].default is MISSING:
            raise ConfigurationError(f"{path} has no default: give {path}=VALUE") from None
        raise


def has_default(declared: Any) -> bool:
    return declared.default is not MISSING and declared.default is not None


def check_known(values: Mapping[str, Any], known: Sequence[str], path: str = "{}") -> None:
    for name in values:
        if name not in known:
            shown = path.format(name if isinstance(name, str) else format_value(name))
            there_are = f"there are {', '.join(known)}" if known else "there are none"
            raise ConfigurationError(f"{shown}: there is no such field; {there_are}.{nearest(name, known)}")
