"""Choices from outside of bpttlab on the command line: Hydra composes them as if there were a file of each in conf/."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bpttlab import plugins

_GROUPS = ("cell", "task", "scheme", "initializer", "optimizer", "penalty", "projection", "measure", "experiment")
"""The kinds of choices that are groups on the command line."""


@contextmanager
def register_choices(own: Any) -> Iterator[None]:
    """`plugins.use`, which Hydra knows too: the names of files, and those of installed packages."""
    with plugins.use(own):
        choices = [choice for choice in plugins.own_choices() if choice.kind in _GROUPS]
        if not choices:
            yield
            return
        with _in_config_store(choices):
            yield


@contextmanager
def _in_config_store(choices: list[plugins.Choice]) -> Iterator[None]:
    """Puts choices into Hydra's ConfigStore within a `with` statement."""
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    for choice in choices:
        package = "_global_" if choice.kind == "experiment" else None
        store.store(choice.name, node_of(choice), choice.kind, package, provider="bpttlab")
    try:
        yield
    finally:
        for choice in choices:  # the store itself has no such method
            store.repo[choice.kind].pop(f"{choice.name}.yaml", None)


def node_of(choice: plugins.Choice) -> dict[str, Any]:
    """What a file in conf/ of this choice would hold."""
    from bpttlab.sweeps.configuration import default_fields

    if choice.kind != "experiment":
        return default_fields(choice.value)
    return {"hydra": {"sweeper": {"params": {key: axis(value) for key, value in choice.value.sweep.items()}}}}


def axis(value: Any) -> str:
    """The values of a key as they are written on the command line."""
    from bpttlab.sweeps.sweep_values import as_written

    return ",".join(map(as_written, value)) if isinstance(value, list | tuple | range) else as_written(value)
