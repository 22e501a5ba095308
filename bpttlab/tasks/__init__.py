"""Sequences to learn from, each naming its loss and the steps where it counts."""

from __future__ import annotations

from bpttlab.discovery import find
from bpttlab.tasks.adding import Adding
from bpttlab.tasks.base import Batch, Task
from bpttlab.tasks.digits import Digits
from bpttlab.tasks.noise import Noise

__all__ = ["Adding", "Batch", "Digits", "Noise", "Task", "by_name"]


def by_name(name: str) -> type[Task]:
    """The task of that name, or a ConfigurationError that lists those there are."""
    return find(__name__, Task, name)
