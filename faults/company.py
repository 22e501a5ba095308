"""Eight launchers of one study at once, some of which are killed, stopped for a while or ended: nothing is lost.

    python -m faults company --count ROUNDS --seed SEED

The launchers are commands of their own, with lines that overlap. They are disturbed from the moment at which the first
runs are stored. One that is not killed must end with exit code 0; the study must have each run once, with the numbers
that one launcher alone computes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from bpttlab import resources
from bpttlab.errors import StoreError
from bpttlab.store.store import load
from faults.outcome import Outcome

LAUNCHERS = 8
SECONDS = 600
LINE = ["sequence_length=8", "cell.hidden_size=4", "batch_size=2", "truncation=full,2,3"]
LINES = [["seed=range(0,60)"], ["seed=range(30,90)"], ["seed=range(0,90)"]]
RUNS = 270
FATES = ("none", "none", "none", "SIGKILL", "SIGTERM", "SIGSTOP for a while")
LONGEST = 2.0
"""Seconds after which a launcher is disturbed at the latest."""
CODES = {"SIGKILL": (0, -signal.SIGKILL), "SIGTERM": (0, -signal.SIGTERM, 128 + signal.SIGTERM)}
"""The exit codes that a launcher may have: the signal may come when all is done."""


def launch(folder: str, study: str, line: list[str], workers: int) -> subprocess.Popen[bytes]:
    """A launcher of its own."""
    words = [sys.executable, "-m", "bpttlab", "sweep", f"study={study}", f"results={folder}", *LINE, *line]
    environment = {**os.environ, "PYTHONPATH": str(resources.PACKAGE.parent)}
    with open(Path(folder, "messages"), "ab") as messages:
        return subprocess.Popen([*words, f"workers={workers}"], env=environment, stdout=messages, stderr=messages)


class Fate(NamedTuple):
    """What becomes of a launcher.

    Attributes:
        name: one of FATES.
        delay: seconds from the moment at which the first runs are stored.
        pause: seconds for which it is stopped.
    """

    name: str
    delay: float
    pause: float


def choose_fate(random: np.random.Generator) -> Fate:
    return Fate(str(random.choice(FATES)), float(random.uniform(0, LONGEST)), float(random.uniform(0.5, 3)))


def disturb(launcher: subprocess.Popen[bytes], fate: Fate, first: Path) -> str:
    """Sends a launcher what its fate is, some time after the folder `first` is there; what was sent, or "none"."""
    while launcher.poll() is None and not first.exists():
        time.sleep(0.01)
    time.sleep(fate.delay)
    if fate.name == "none" or launcher.poll() is not None:
        return "none"
    if fate.name.startswith("SIGSTOP"):
        launcher.send_signal(signal.SIGSTOP)
        time.sleep(fate.pause)
        launcher.send_signal(signal.SIGCONT)
    else:
        launcher.send_signal(getattr(signal, fate.name))
    return fate.name


def read(folder: str, study: str) -> pd.DataFrame:
    """All numbers of a study, in the order of its runs."""
    stored = load(study, folder)
    tables = [stored.table(name) for name in stored.tables if name not in ("runs", "provenance")]
    frames = [stored.runs, *tables]
    return pd.concat([frame.sort_values(list(frame.columns[:3])).reset_index(drop=True) for frame in frames])


def try_together(folder: str, study: str, random: np.random.Generator, tried: Counter[str]) -> list[str]:
    """One round; what was lost."""
    losses, first = [], Path(folder, study, "store", "runs")
    fates = [choose_fate(random) for _ in range(LAUNCHERS)]
    workers = [int(random.integers(0, 3)) for _ in range(LAUNCHERS)]
    launched = [launch(folder, study, LINES[place % len(LINES)], workers[place]) for place in range(LAUNCHERS)]
    with ThreadPoolExecutor(LAUNCHERS) as pool:
        done = list(pool.map(disturb, launched, fates, [first] * LAUNCHERS))
    tried.update(f"launcher, {what}" for what in done)
    for what, launcher in zip(done, launched, strict=True):
        code = launcher.wait(SECONDS)
        if code not in CODES.get(what, (0,)):
            losses.append(f"{study}: a launcher ({what}) ended with exit code {code}")
    if launch(folder, study, LINES[-1], 1).wait(SECONDS) != 0:
        losses.append(f"{study}: the same line once more does not finish")
    return losses


def run(count: int = 5, seed: int = 0) -> Outcome:
    """So many rounds of eight launchers."""
    tried, losses, random = Counter[str](), list[str](), np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        launch(folder, "alone", LINES[-1], 1).wait(SECONDS)
        alone = read(folder, "alone")
        for number in range(count):
            study = f"x{number}"
            losses += try_together(folder, study, random, tried)
            try:
                runs = load(study, folder).runs
                if len(runs) != RUNS or runs["run_id"].nunique() != RUNS or set(runs["status"]) != {"done"}:
                    losses.append(
                        f"{study}: {len(runs)} of {RUNS} runs are stored: {dict(runs['status'].value_counts())}"
                    )
                elif not read(folder, study).equals(alone):
                    losses.append(f"{study}: the numbers are not those of one launcher alone")
            except StoreError as error:
                losses.append(f"{study}: {error}")
        if losses:
            losses.append(Path(folder, "messages").read_text(encoding="utf-8", errors="replace")[-4000:])
    return Outcome(tried, losses, f"python -m faults company --count {count} --seed {seed}")
