"""Sweeps from the command line to stored results, with two workers, and the memory of a worker. Each is run once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.engines import swept_engine
from benchmarks.processes import Failed, Taken, taken
from benchmarks.rows import Row, Settings, alone
from bpttlab import load

MEASURED = ["batch_size=1", "measure.sequences=1", "measure.lags=16"]
RADII = ",".join(f"{0.1 * i:.1f}" for i in range(1, 21))
GRID = [
    f"spectral_radius={RADII}",
    "seed=range(0,5)",
    "sequence_length=range(10,101,10)",
    "truncation=1,2,3,4,5,6,7,8,9,full",  # each shorter than the shortest sequence, so that no two are one run
]
TRIVIAL = ["measure=minimal", "batch_size=1", "cell.hidden_size=8", "sequence_length=10"]

WHOLE = {
    "10 000 runs: 20 radii × 5 seeds × 10 lengths × 10 truncations, N=32, B=1": (
        10_000,
        6.0,
        [*GRID, *MEASURED],
    ),
    "1000 networks, T=100, N=32, B=1": (1000, 12.0, ["seed=range(0,1000)", "sequence_length=100", *MEASURED]),
    "1000 trivial runs, measure=minimal, T=10, N=8, B=1": (1000, 3.0, ["seed=range(0,1000)", *TRIVIAL]),
}
WORKER_MB = {10_000: 400.0}
"""Of the largest worker, by the number of runs."""
QUICK = {"20 trivial runs": (20, None, ["seed=range(0,20)", *TRIVIAL])}


def rows(settings: Settings) -> Iterator[Row]:
    for case, (count, goal, line) in settings.choose(WHOLE, QUICK).items():
        engine = swept_engine()
        found = swept([*line, f"engine={engine}"], count)
        yield Row("sweeps", case, engine, "s", alone(found.seconds), settings.goal(goal), more=False)
        yield Row("sweeps", case, f"{engine}, one run", "ms", alone(1000.0 * found.seconds / count))
        if found.workers and found.parent:
            most, worker_goal = max(found.workers.values()) / 1e6, settings.goal(WORKER_MB.get(count))
            yield Row("sweeps", case, f"{engine}, largest worker", "MB", alone(most), worker_goal, more=False)
            yield Row("sweeps", case, f"{engine}, the command itself", "MB", alone(found.parent / 1e6), more=False)


def swept(line: list[str], count: int) -> Taken:
    """What the whole command takes; there have to be so many runs that are done."""
    with TemporaryDirectory() as folder:
        found = taken(["sweep", "study=timed", "workers=2", *line], Path(folder), memory=True)
        runs = load("timed", results=f"{folder}/results").runs
        if not (len(runs) == count and (runs["status"] == "done").all()):
            raise Failed(f"{line}: {len(runs)} runs are stored, {(runs['status'] == 'done').sum()} done, of {count}")
    return found
