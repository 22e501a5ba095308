"""What can compute the forward and backward loops: NumPy, and whatever compiled engine the package knows and finds."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from inspect import signature
from typing import Any

import numpy as np

from bpttlab import Elman, forward
from bpttlab.errors import LabError
from bpttlab.sweeps.configuration import Configuration

COMPILED = ("numba",)


@cache
def engines() -> tuple[str, ...]:
    """Names for `engine=`, the fastest last."""
    return ("numpy", *(name for name in COMPILED if takes_engine(forward) and works(name)))


@cache
def takes_engine(function: Callable[..., Any]) -> bool:
    return "engine" in signature(function).parameters


def works(engine: str) -> bool:
    """Whether `forward` has an engine of that name, and what it needs is installed."""
    cell, told = Elman(1, 2, 1), by(engine, forward)
    try:
        told(cell, cell.init(np.random.default_rng(0)), np.zeros((2, 1, 1)))
    except (LabError, ImportError, ValueError):
        return False
    return True


def by(engine: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with that engine, if it takes one."""
    return partial(function, engine=engine) if takes_engine(function) else function


@cache
def swept_engine() -> str:
    """The fastest engine that a configuration may name."""
    for name in reversed(engines()):
        try:
            Configuration.parse({"engine": name})
        except LabError:
            continue
        return name
    return "numpy"
