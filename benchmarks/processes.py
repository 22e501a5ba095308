"""The command line in a process of its own, timed from outside: nothing is warm, nothing is left out."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]


class Failed(RuntimeError):
    """A command did not end with 0."""


def seconds(words: Sequence[str], folder: Path) -> float:
    """How long `bpttlab <words>` takes in that folder, results stored.

    Raises:
        Failed: with the last line that the command said.
    """
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "bpttlab", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    taken = time.perf_counter() - begun
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise Failed(f"bpttlab {' '.join(words)}: {said[-1] if said else done.returncode}")
    return taken
