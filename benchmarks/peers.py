"""The installed peers. None is needed; the output names missing ones."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

MODULES = {"PyTorch": ("torch", "benchmarks.peer_torch"), "JAX": ("jax", "benchmarks.peer_jax")}


@cache
def peers() -> dict[str, ModuleType]:
    """Name -> module with `gradient` and `VERSION`."""
    return {name: import_module(own) for name, (needed, own) in MODULES.items() if find_spec(needed) is not None}


def missing() -> list[str]:
    return [name for name in MODULES if name not in peers()]
