"""Tasks: sequences to learn from. Each names its loss and the steps where the loss counts."""

from __future__ import annotations

from bpttlab.tasks.adding import Adding
from bpttlab.tasks.characters import Characters
from bpttlab.tasks.copy import Copy
from bpttlab.tasks.delayed_recall import DelayedRecall
from bpttlab.tasks.digits import Digits
from bpttlab.tasks.file import File
from bpttlab.tasks.hold import Hold
from bpttlab.tasks.lorenz import Lorenz
from bpttlab.tasks.mackey_glass import MackeyGlass
from bpttlab.tasks.memorization import Memorization
from bpttlab.tasks.multiplication import Multiplication
from bpttlab.tasks.noise import Noise
from bpttlab.tasks.parity import Parity
from bpttlab.tasks.random_permutation import RandomPermutation
from bpttlab.tasks.task import Batch, Task
from bpttlab.tasks.temporal_order import TemporalOrder

__all__ = [
    "Adding",
    "Batch",
    "Characters",
    "Copy",
    "DelayedRecall",
    "Digits",
    "File",
    "Hold",
    "Lorenz",
    "MackeyGlass",
    "Memorization",
    "Multiplication",
    "Noise",
    "Parity",
    "RandomPermutation",
    "Task",
    "TemporalOrder",
]
