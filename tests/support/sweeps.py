"""Small sweeps, and ways to measure them that workers import by name."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_info

from bpttlab import resources
from bpttlab.errors import LabError
from bpttlab.store import identity
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.jobs import Rows

TINY = {"sequence_length": 6, "batch_size": 2, "cell": {"name": "elman", "hidden_size": 4}, "engine": "numpy"}
"""Nothing is compiled for tests that do not ask about the engine."""


def points(seeds, truncations=("full",), **values):
    return [{**TINY, **values, "seed": seed, "truncation": K} for seed in seeds for K in truncations]


def parsed(*arguments, **values):
    return [Configuration.parse(point) for point in points(*arguments, **values)]


def statuses(store):
    return Counter(store.statuses().values())


# ------------------------------------------------------------------ measures that workers import by name


def counting(folder, configurations):
    """Leaves a file for each run that it measures, so that a test sees what was computed, and how often."""
    for configuration in configurations:
        attempt = len(list(Path(folder).glob(f"{configuration.run_id}.*")))
        Path(folder, f"{configuration.run_id}.{attempt}").touch()
    return [row(configuration) for configuration in configurations]


def row(configuration, **more):
    return Rows(
        {
            "run_id": configuration.run_id,
            "network_id": configuration.network_id,
            "status": "done",
            "configuration": identity.canonical(configuration.plain),
            **more,
        },
        {"blas_threads": threads_of_blas()},
        {"lag_terms": {"parameter": ["W"], "lag": [0], "log_norm": [float(configuration.values.seed)]}},
    )


def threads_of_blas():
    return max(library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas")


def faulty(folder, configurations):
    """Seeds 1 to 5 end in five ways; seed 6 kills its worker the first time only; any other is done."""
    seeds = {configuration.values.seed for configuration in configurations}
    first_time = not list(Path(folder).glob("tried*"))
    if 6 in seeds:
        Path(folder, "tried").touch()
    if 1 in seeds or (6 in seeds and first_time):
        os.kill(os.getpid(), signal.SIGKILL)
    if 2 in seeds:
        sys.exit(3)
    if 3 in seeds:
        raise ZeroDivisionError("no reason")
    if 4 in seeds:
        os._exit(7)
    if 5 in seeds:
        return []
    return counting(folder, configurations)


def one_culprit(configurations):
    """A truncation of 3 kills the worker, one of 4 raises: alone or in a bundle."""
    for configuration in configurations:
        if configuration.scheme.truncation == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        if configuration.scheme.truncation == 4:
            raise LabError("four is too many")
    return [row(configuration) for configuration in configurations]


def interrupting(folder, configurations):
    """Asks this very process to stop at the third run, as Ctrl-C would."""
    if len(list(Path(folder).iterdir())) >= 2:
        signal.raise_signal(signal.SIGINT)
    return counting(folder, configurations)


def greedy(gib, configurations):
    """Seed 1 hangs, seed 2 asks for more memory than there may be; BLAS has to work under the limit."""
    seeds = {configuration.values.seed for configuration in configurations}
    while 1 in seeds:
        time.sleep(0.01)
    if 2 in seeds:
        np.ones(round(gib * 2**30) // 8)
    some = np.ones((300, 300)) @ np.ones((300, 300))
    return [row(configuration, error=None if some[0, 0] == 300 else "a product") for configuration in configurations]


def limiting(configurations):
    """Every run needs 32 MiB; seed 3 leaves no more than 8 for good, enough for a message."""
    if any(one.values.seed == 3 for one in configurations):
        import resource

        used = int(re.search(r"^VmData:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)[1])
        most = 1024 * used + (8 << 20)
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    np.ones(1 << 22)
    return [row(one) for one in configurations]


def command(*line, **environment):
    """`bpttlab sweep` as a process would be started, and its environment."""
    words = [sys.executable, "-m", "bpttlab", "sweep", *line]
    return words, {**os.environ, "PYTHONPATH": str(resources.PACKAGE.parent), **environment}


def from_the_shell(folder, *line, **environment):
    """Runs `bpttlab sweep` in a folder."""
    words, surroundings = command(*line, **environment)
    done = subprocess.run(words, cwd=folder, env=surroundings, capture_output=True, text=True, timeout=300, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done
