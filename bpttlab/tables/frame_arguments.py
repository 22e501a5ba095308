"""Arguments that must be frames: a study in place of one of its tables is refused with the call to write."""

from __future__ import annotations

from functools import wraps
from inspect import signature
from typing import Any

import pandas as pd

from bpttlab.errors import ConfigurationError
from bpttlab.fields import Function, format_value
from bpttlab.store.columns import TABLES


def takes_frames(function: Function) -> Function:
    """Checks the arguments of a function that are annotated as frames."""
    parameters = signature(function).parameters.values()
    frames = {one.name: one.default is None for one in parameters if str(one.annotation).startswith("pd.DataFrame")}

    @wraps(function)
    def checked(*arguments: Any, **named: Any) -> Any:
        for name, value in [*zip(signature(function).parameters, arguments, strict=False), *named.items()]:
            missing = value is None and frames.get(name, True)
            if name in frames and not missing and not isinstance(value, pd.DataFrame):
                raise ConfigurationError(describe_wanted(function.__name__, name, list(frames), value))
        return function(*arguments, **named)

    return checked  # type: ignore[return-value]


def describe_wanted(function: str, name: str, frames: list[str], value: Any) -> str:
    """Which frame a function wants, and how it is written: tables.growth(study.runs)."""
    required = [f"study.{frame}" if frame in TABLES else frame for frame in frames[: frames.index(name) + 1]]
    given = "a study" if hasattr(value, "runs") else format_value(value)
    return f"tables.{function}: {name} is {given}, and must be a frame: write tables.{function}({', '.join(required)})"
