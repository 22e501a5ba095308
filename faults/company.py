"""Eight launchers of one study at once, some of which are killed, stopped for a while or ended: nothing is lost.

    python -m faults company --count ROUNDS --seed SEED

The launchers are commands of their own, with lines that overlap. One that is not killed must end with exit code 0; the
study must have each run once, with the numbers that one launcher alone computes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

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


def launch(folder: str, study: str, line: list[str], workers: int) -> subprocess.Popen[bytes]:
    """A launcher of its own."""
    words = [sys.executable, "-m", "bpttlab", "sweep", f"study={study}", f"results={folder}", *LINE, *line]
    environment = {**os.environ, "PYTHONPATH": str(resources.PACKAGE.parent)}
    with open(Path(folder, "messages"), "ab") as messages:
        return subprocess.Popen([*words, f"workers={workers}"], env=environment, stdout=messages, stderr=messages)


def disturb(launcher: subprocess.Popen[bytes], fate: str, random: np.random.Generator) -> None:
    """Sends a launcher what its fate is, some time after its start."""
    time.sleep(float(random.uniform(0, 2)))
    if fate == "none" or launcher.poll() is not None:
        return
    if fate.startswith("SIGSTOP"):
        launcher.send_signal(signal.SIGSTOP)
        time.sleep(float(random.uniform(0.5, 3)))
        launcher.send_signal(signal.SIGCONT)
    else:
        launcher.send_signal(getattr(signal, fate))


def read(folder: str, study: str) -> pd.DataFrame:
    """All numbers of a study, in the order of its runs."""
    stored = load(study, folder)
    tables = [stored.table(name) for name in stored.tables if name not in ("runs", "provenance")]
    frames = [stored.runs, *tables]
    return pd.concat([frame.sort_values(list(frame.columns[:3])).reset_index(drop=True) for frame in frames])


def try_together(folder: str, study: str, random: np.random.Generator, tried: Counter[str]) -> list[str]:
    """One round; what was lost."""
    losses, launched = [], []
    for number in range(LAUNCHERS):
        fate = str(random.choice(FATES))
        launched.append((fate, launch(folder, study, LINES[number % len(LINES)], int(random.integers(0, 3)))))
        tried[f"launcher, {fate}"] += 1
    for fate, launcher in launched:
        disturb(launcher, fate, random)
    for fate, launcher in launched:
        code = launcher.wait(SECONDS)
        if code not in ((0,) if fate in ("none", "SIGSTOP for a while") else (0, -signal.SIGKILL, -signal.SIGTERM)):
            losses.append(f"{study}: a launcher ({fate}) ended with exit code {code}")
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
