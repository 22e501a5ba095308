"""The composer of the shipped configuration, made once for all tests of a process.

Hydra takes 0.15 s to compose a configuration, three quarters of the processor time of a small sweep. A composer keeps
what it has composed, and its runs share no dictionary (`tests.sweeps.test_hydra_composition`, whose composers are
fresh).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from bpttlab import plugins, resources
from bpttlab.sweeps import hydra_composition
from bpttlab.sweeps.hydra_composition import Composer
from bpttlab.sweeps.hydra_settings import is_of_hydra

fresh_composer = hydra_composition.composer
"""What the commands call: a composer that has composed nothing."""


@cache
def shipped_composer(folder: str) -> Composer:
    """That of the shipped configuration, which is in this folder."""
    return fresh_composer()


def shared_composer(config_dir: str | None = None, lines: Iterable[str] = ()) -> Composer:
    """The one of all tests, unless there is a folder, a setting of Hydra or a choice of one's own."""
    lines = list(lines)
    if config_dir is not None or any(map(is_of_hydra, lines)) or plugins.own_choices():
        return fresh_composer(config_dir, lines)
    return shipped_composer(str(resources.conf()))


def share_composer() -> None:
    """Commands of this process, and tests that import `composer`, get the shared one from now on."""
    hydra_composition.composer = shared_composer
