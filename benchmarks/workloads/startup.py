"""The time until a command answers, until one run is stored, and until the first run of a machine is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.engines import swept_engine
from benchmarks.processes import seconds
from benchmarks.protocol import Spread
from benchmarks.rows import Row, Settings, alone

GOALS = {("--help",): 0.4, ("status", "study=timed"): 1.5}
STUDY = ["sweep", "study=timed", "workers=0", "seed=range(0,20)", "sequence_length=8", "cell.hidden_size=4"]
ONE_RUN_GOAL, FIRST_USE_GOAL = 1.5, 10.0


def rows(settings: Settings) -> Iterator[Row]:
    with TemporaryDirectory() as folder:
        yield from answers(Path(folder), settings)
        yield from one_run(Path(folder), settings)
        yield from first_use(Path(folder), settings)


def answers(folder: Path, settings: Settings) -> Iterator[Row]:
    """Commands that compute nothing."""
    seconds(STUDY, folder)
    taken: dict[tuple[str, ...], list[float]] = {words: [] for words in GOALS}
    for _ in range(settings.protocol.rounds + 1):
        for words, found in taken.items():
            found.append(seconds(words, folder))
    for words, goal in GOALS.items():
        spread = Spread.of(taken[words][1:])  # the first reads the disk
        yield Row("startup", f"bpttlab {words[0]}", "from the shell", "s", spread, settings.goal(goal), more=False)


def one_run(folder: Path, settings: Settings) -> Iterator[Row]:
    """`bpttlab sweep` of one run, each time in a study of its own; the first compiles and reads the disk."""
    taken = [seconds(sweep_one(f"one-{round_}"), folder) for round_ in range(settings.protocol.rounds + 1)]
    what, goal = f"from the shell, warm, {swept_engine()}", settings.goal(ONE_RUN_GOAL)
    yield Row("startup", "bpttlab sweep of one run", what, "s", Spread.of(taken[1:]), goal, more=False)


def first_use(folder: Path, settings: Settings) -> Iterator[Row]:
    """The same where no compiled loop is on disk: the whole command, until its run is stored and it ends."""
    engine = swept_engine()
    if engine != "numpy" and not settings.quick:
        taken = seconds(sweep_one("first"), folder, {"NUMBA_CACHE_DIR": str(folder / "empty")})
        what = f"no compiled loops on disk, {engine}"
        yield Row("startup", "bpttlab sweep of one run", what, "s", alone(taken), FIRST_USE_GOAL, more=False)


def sweep_one(study: str) -> list[str]:
    return ["sweep", f"study={study}", f"engine={swept_engine()}"]
