"""The time until a command answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.processes import seconds
from benchmarks.protocol import Spread
from benchmarks.rows import Row, Settings

GOALS = {("--help",): 0.4, ("status", "study=timed"): 1.5}
STUDY = ["sweep", "study=timed", "workers=0", "seed=range(0,20)", "sequence_length=8", "cell.hidden_size=4"]


def rows(settings: Settings) -> Iterator[Row]:
    with TemporaryDirectory() as folder:
        seconds(STUDY, Path(folder))
        taken: dict[tuple[str, ...], list[float]] = {words: [] for words in GOALS}
        for _ in range(settings.protocol.rounds + 1):
            for words, found in taken.items():
                found.append(seconds(words, Path(folder)))
    for words, goal in GOALS.items():
        spread = Spread.of(taken[words][1:])  # the first reads the disk
        yield Row("startup", f"bpttlab {words[0]}", "from the shell", "s", spread, settings.goal(goal), more=False)
