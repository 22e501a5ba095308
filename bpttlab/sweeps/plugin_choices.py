"""Choices from outside of bpttlab on the command line: Hydra composes them as if there were a file of each in conf/."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bpttlab import plugins

GROUPS = ("cell", "task", "scheme", "initializer")
"""The groups of a configuration that are the fields of one class."""


@contextmanager
def using(own: Any) -> Iterator[None]:
    """`plugins.using`, which Hydra knows too: the names of files, and those of installed packages."""
    with plugins.using(own):
        choices = [choice for choice in plugins.added() if choice.kind in GROUPS]
        if not choices:
            yield
            return
        with stored(choices):
            yield


@contextmanager
def stored(choices: list[plugins.Choice]) -> Iterator[None]:
    """Puts choices into Hydra's ConfigStore within a `with` statement."""
    from hydra.core.config_store import ConfigStore

    from bpttlab.sweeps.configuration import default_fields

    store = ConfigStore.instance()
    for choice in choices:
        node = default_fields(choice.value)
        store.store(group=choice.kind, name=choice.name, node=node, provider="bpttlab")
    try:
        yield
    finally:
        for choice in choices:  # the store itself has no such method
            store.repo[choice.kind].pop(f"{choice.name}.yaml", None)
