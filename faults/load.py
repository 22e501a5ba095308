"""A study of ten thousand runs and ten million rows is counted in 2 s, and summarised in 30 s and 2 GB.

    python -m faults load --count RUNS --seed SEED

Nothing is computed: the runs are made up, and published by the store's own functions as those of a sweep are. Networks
have ten lengths; each run has a thousand rows. The commands run alone, each in a new process. The times that are
limited are those of the processor, because other work on the machine is none of theirs; the wall clock's are said
beside them, with the load. Other work still takes their caches and half of a core that runs two threads, so a command
that takes too long is tried again, and its shortest time counts.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import numpy as np

from bpttlab.store.store import Store
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.run import RunRecords
from faults.needs import need_linux, scratch_folder
from faults.outcome import Outcome

ROWS = 1000
"""Of a run."""

LENGTHS = 10
"""Of each network."""

PUBLISHED = 100
"""Runs of a commit."""

LIMITS = {"status": (2.0, 2 << 20), "tables": (30.0, 2 << 20)}
"""Command -> seconds, and kB of memory."""


def run(count: int = 10_000, seed: int = 0) -> Outcome:
    """Makes a study of `count` runs, and reads it."""
    need_linux()
    tried, losses = Counter[str](), list[str]()
    with tempfile.TemporaryDirectory(dir=scratch_folder()) as folder:
        make_study(Path(folder), count, seed)
        for command, limits in LIMITS.items():
            took = measure_shortest(command, folder, limits[0])
            kind = f"{command} of {count * ROWS} rows: {took.describe()}:"
            tried[kind] += 1
            too_much = took.processor > limits[0] or took.kilobytes > limits[1]
            most = f"at most {limits[0]:g} s and {limits[1] >> 10} MiB are right"
            losses += [f"{kind} exit code {took.code}, {most}"] if too_much or took.code else []
    return Outcome(tried, losses, f"python -m faults load --count {count} --seed {seed}")


def make_study(folder: Path, count: int, seed: int) -> None:
    """Publishes made-up runs, some at a time."""
    store, random = Store(folder, "x"), np.random.default_rng(seed)
    with patch.object(os, "fsync", lambda descriptor: None):  # a power failure is not the question
        for start in range(0, count, PUBLISHED):
            store.publish([*make_runs(range(start, min(start + PUBLISHED, count)), random)])


def make_runs(numbers: Sequence[int], random: np.random.Generator) -> Iterator[RunRecords]:
    """Runs that are done."""
    for number in numbers:
        length = 100 * (1 + number % LENGTHS)
        cell = {"name": "elman", "hidden_size": 4}
        one = Configuration.parse({"seed": number // LENGTHS, "sequence_length": length, "batch_size": 2, "cell": cell})
        row = {"run_id": one.run_id, "network_id": one.network_id, "status": "done", "configuration": one.described}
        yield RunRecords(row, {"seconds": 0.1}, {"jacobians": make_rows(length, random)})


def make_rows(length: int, random: np.random.Generator) -> dict[str, np.ndarray]:
    """Norms of products at lags of two sequences."""
    lags = np.tile(np.arange(ROWS // 2), 2)
    rows = {"sequence": np.repeat([0, 1], ROWS // 2), "t": np.full(ROWS, length), "lag": lags}
    return rows | {"log_spectral_norm": -0.01 * lags + random.normal(size=ROWS)}


ATTEMPTS = 4
"""So often a command may take too long."""


class Took(NamedTuple):
    """What a command took.

    Attributes:
        processor, wall: seconds.
        kilobytes: of memory, at most.
        code: its exit code.
    """

    processor: float
    wall: float
    kilobytes: int
    code: int

    def describe(self) -> str:
        times = f"{self.processor:.1f} s of the processor, {self.wall:.1f} s"
        return f"{times}, {self.kilobytes >> 10} MiB, load {os.getloadavg()[0]:.1f}"


def measure_shortest(command: str, folder: str, seconds: float) -> Took:
    """Runs a command until it takes no longer than so many seconds of the processor; the shortest attempt."""
    attempts: list[Took] = []
    while len(attempts) < ATTEMPTS and not any(one.processor <= seconds for one in attempts):
        attempts.append(measure_command(command, folder))
    return min(attempts, key=lambda one: one.processor)


def measure_command(command: str, folder: str) -> Took:
    """Runs a command in a process of its own."""
    words = [sys.executable, "-m", "bpttlab", command, "study=x", f"results={folder}"]
    begun = time.monotonic()
    with open(os.devnull, "wb") as nowhere:
        descriptor = nowhere.fileno()
        actions = [(os.POSIX_SPAWN_DUP2, descriptor, 1), (os.POSIX_SPAWN_DUP2, descriptor, 2)]
        process = os.posix_spawn(sys.executable, words, os.environ, file_actions=actions)
        _, status, usage = os.wait4(process, 0)
    processor = usage.ru_utime + usage.ru_stime
    return Took(processor, time.monotonic() - begun, usage.ru_maxrss, os.waitstatus_to_exitcode(status))
