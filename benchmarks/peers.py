"""The installed peers. None is needed; the output names missing ones."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

PLAIN_NUMPY = "plain NumPy"
MODULES = {"PyTorch": ("torch", "benchmarks.peer_torch"), "JAX": ("jax", "benchmarks.peer_jax")}
"""Name -> what has to be installed, and the module."""


@cache
def peers() -> dict[str, ModuleType]:
    """Name -> module with `gradient`, `KINDS` (the cells that it knows) and, of a package, `VERSION` and `product`."""
    found = {name: import_module(own) for name, (needed, own) in MODULES.items() if find_spec(needed) is not None}
    return found | {PLAIN_NUMPY: import_module("benchmarks.peer_numpy")}


def missing() -> list[str]:
    return [name for name in MODULES if name not in peers()]
