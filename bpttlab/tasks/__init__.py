"""Sequences to learn from, each naming its loss and the steps where it counts."""

from __future__ import annotations

from bpttlab.discovery import find
from bpttlab.tasks.adding import Adding
from bpttlab.tasks.base import Batch, Task
from bpttlab.tasks.copy import Copy
from bpttlab.tasks.digits import Digits
from bpttlab.tasks.file import File
from bpttlab.tasks.noise import Noise
from bpttlab.tasks.temporal_order import TemporalOrder

__all__ = ["Adding", "Batch", "Copy", "Digits", "File", "Noise", "Task", "TemporalOrder", "by_name"]


def by_name(name: str) -> type[Task]:
    """The task of that name, or a ConfigurationError that lists those there are."""
    return find(__name__, Task, name)
