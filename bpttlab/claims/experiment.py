"""The contract of an experiment: a sweep with a name, and what is made of the study that it gives.

MEMORY = Experiment(
    "memory",
    sweep={"task": "adding", "spectral_radius": [0.9, 1.0, 1.1], "seed": range(8)},
    claims=check_memory,
)

bpttlab sweep plugins=memory.py experiment=memory
bpttlab claims study=memory plugins=memory.py
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def no_tables(study: Any) -> dict[str, pd.DataFrame]:
    """For an experiment without tables of its own."""
    return {}


def no_figures(study: Any, size: str) -> dict[str, Figure]:
    """For an experiment without figures of its own."""
    return {}


@dataclass(frozen=True)
class Experiment:
    """A sweep with a name.

    Attributes:
        name: the value of experiment=.
        sweep: key -> value, or several values: a list, a tuple or a range; the command line may give others.
        claims: study -> claims of the literature, checked against the study (`bpttlab.claims.claims`); None: no claims.
        summaries: study -> tables of its own, by name.
        draw: (study, size) -> figures of its own, by name.
        figure: the name of the figure that answers its question.
    """

    name: str
    sweep: Mapping[str, Any] = field(hash=False)
    claims: Callable[[Any], pd.DataFrame] | None = None
    summaries: Callable[[Any], dict[str, pd.DataFrame]] = no_tables
    draw: Callable[..., dict[str, Figure]] = no_figures
    figure: str = "growth"
