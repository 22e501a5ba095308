"""Finding a class by its `name`: one more file in a folder, one more choice, no list to keep by hand."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache
from typing import Any

from bpttlab.errors import ConfigurationError, nearest


def find(package: str, base: Any, name: str) -> Any:
    """The concrete subclass of `base` with that name, among the modules of a package.

    Raises:
        ConfigurationError: there is none; the message lists those there are.
    """
    known, group = classes(package, base), base.__name__.lower()
    if name not in known:
        raise ConfigurationError(f"{group}={name!r}: must be one of {', '.join(sorted(known))}.{nearest(name, known)}")
    return known[name]


@cache
def classes(package: str, base: Any) -> dict[str, Any]:
    """Every concrete subclass of `base` that a module of the package defines, by name."""
    modules = pkgutil.iter_modules(importlib.import_module(package).__path__)
    members = [
        member for module in modules for member in vars(importlib.import_module(f"{package}.{module.name}")).values()
    ]
    kinds: list[Any] = [member for member in members if inspect.isclass(member) and issubclass(member, base)]
    return {kind.name: kind for kind in kinds if not inspect.isabstract(kind)}
