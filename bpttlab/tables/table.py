"""The contract of a summary: a name, and a function that makes it of a study's tables.

def summarise_half_life(study):
    return study.half_life.groupby("spectral_radius", as_index=False)["steps"].median()

HALF_LIFE = SummaryTable("half_life", summarise_half_life)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd


def _say_nothing(frame: pd.DataFrame) -> Sequence[str]:
    return ()


@dataclass(frozen=True)
class SummaryTable:
    """A table that is made of every study that has what it summarises.

    Attributes:
        name: what it and its files are called.
        summarise: a frame. It is empty, or a LabError is raised, if the study has nothing to summarise. Columns before
            one called `networks` name the row; `<name>_low` and `<name>_high` are the interval of the column `<name>`.
        caption: sentences that stand above the frame in print, and below it in Markdown: what its words mean.
        sentences: what the rows say, in words; below the frame.
        needs: what a study must have measured; said where the frame is empty.
    """

    name: str
    summarise: Callable[[Any], pd.DataFrame]
    caption: Callable[[pd.DataFrame], Sequence[str]] = _say_nothing
    sentences: Callable[[pd.DataFrame], Sequence[str]] = _say_nothing
    needs: str = "measurements that the study does not have"
