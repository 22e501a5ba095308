"""Workers that die in every way at random, in one sweep of many runs: all are stored, and only culprits have failed.

    python -m faults workers --count RUNS --seed SEED

The seed decides what becomes of each run. Besides, workers are killed or stopped while they start, and so is the server
that forks them. A run that ends its worker the first time only must be done; one that always does must have failed,
with a reason; every other run must be done, whatever its neighbours do.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any
from unittest.mock import patch

import numpy as np

from bpttlab.errors import StoreError
from bpttlab.store.store import Store, load
from bpttlab.sweeps import fork_server, process_state, worker_pool
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.jobs import Rows
from bpttlab.sweeps.progress import Progress
from bpttlab.sweeps.scheduler import Tally, execute
from bpttlab.sweeps.worker import Heard, Worker
from bpttlab.sweeps.worker_pool import Limits
from faults.outcome import Outcome

TIME_LIMIT = 15.0
LIMITS: dict[str, Any] = {"STOPPED_SECONDS": 0.6, "WAITING_SECONDS": 1.2}
"""Instead of the seconds of the package, so that a thousand runs take minutes."""
SHARE_OF_CULPRITS = 0.3
SHARE_OF_STARTS = 0.1
"""Of the workers, those that are killed or stopped while they start."""
GARBAGE = [b"Warning: overflow\n", b"\x00", b"\x00\x00\x00\x14", b"\xff" * 12, bytes(range(256)) * 8]


# ------------------------------------------------------------------ in the worker


class UnpicklableError(BaseException):
    """Neither an Exception nor anything that another process can have or print."""

    def __reduce__(self) -> str:
        raise TypeError("no")

    def __str__(self) -> str:
        raise TypeError("no")


def raise_unpicklable() -> None:
    raise UnpicklableError


def write_garbage(number: int) -> None:
    """Writes bytes into every socket, the pipe to the parent among them."""
    garbage = GARBAGE[number % len(GARBAGE)]
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and os.path.realpath(f"/proc/self/fd/{name}").rpartition("/")[2].startswith("socket:"):
            os.write(int(name), garbage)


def exhaust_memory() -> None:
    """Asks for more than there may be; the next run may have all again."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), before[1]))
    try:
        np.ones(1 << 30)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def go_on() -> None:
    """Never ends, and uses a processor now and then."""
    while True:
        time.sleep(0.001)


DEATHS: dict[str, Callable[[int], object]] = {
    "SIGKILL": lambda _: os.kill(os.getpid(), signal.SIGKILL),
    "SIGSEGV": lambda _: ctypes.string_at(0),
    "SIGTERM": lambda _: os.kill(os.getpid(), signal.SIGTERM),
    "SIGSTOP": lambda _: os.kill(os.getpid(), signal.SIGSTOP),
    "exit": lambda _: os._exit(0),
    "exit 255": lambda _: os._exit(255),
    "exception that does not pickle": lambda _: raise_unpicklable(),
    "garbage on the pipe": write_garbage,
    "waiting for ever": lambda _: threading.Event().wait(),
}
"""What ends a worker: its run is tried again."""

FAILURES: dict[str, Callable[[int], object]] = {
    "exception": lambda _: 1 / 0,
    "memory exhausted": lambda _: exhaust_memory(),
    "loop without end": lambda _: go_on(),
    "sys.exit": sys.exit,
}
"""What a worker survives, or what is found by the time limit: the run has failed."""


def choose_fate(seed: int, number: int) -> tuple[str, bool]:
    """What a run does, "" for nothing; and whether it does so each time, or only the first."""
    random = np.random.default_rng([seed, number])
    if random.random() > SHARE_OF_CULPRITS:
        return "", False
    kinds = [*DEATHS, *FAILURES]
    kind = kinds[random.integers(len(kinds))]
    return kind, kind in FAILURES or bool(random.random() < 0.5)


def measure(folder: str, seed: int, configurations: Sequence[Configuration]) -> list[Rows]:
    """Measures nothing, and does what the fate of each run is."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the tracebacks of workers are expected
    for one in configurations:
        kind, always = choose_fate(seed, one.values.seed)
        mark = Path(folder, one.run_id)
        if kind and (always or not mark.exists()):
            mark.touch()
            (DEATHS | FAILURES)[kind](one.values.seed)
    return [row(one) for one in configurations]


def row(one: Configuration) -> Rows:
    """A run that is done, with a number that tells it from the others."""
    run = {"run_id": one.run_id, "network_id": one.network_id, "status": "done", "configuration": one.described}
    return Rows(run, {}, {"lag_terms": {"parameter": ["W"], "lag": [0], "log_norm": [float(one.values.seed)]}})


# ------------------------------------------------------------------ from outside


@contextmanager
def disturb_starts(seed: int, tried: Counter[str]) -> Iterator[None]:
    """Kills or stops some workers while they start, and now and then the server that forks them."""
    random, welcome = np.random.default_rng([seed, 2**31]), worker_pool.welcome

    def disturb(worker: Worker[Any], greeting: SimpleQueue[Heard]) -> None:
        if random.random() < SHARE_OF_STARTS:
            name = str(random.choice(["SIGKILL", "SIGSTOP"]))
            tried[f"{name} while it starts"] += 1
            os.kill(worker.pid, getattr(signal, name))
        welcome(worker, greeting)
        server = fork_server.server_id()
        if random.random() < SHARE_OF_STARTS and server is not None:
            name = str(random.choice(["SIGKILL", "SIGSTOP"]))
            tried[f"{name} of the fork server"] += 1
            os.kill(server, getattr(signal, name))

    with patch.object(worker_pool, "welcome", disturb):
        yield


@contextmanager
def compare_progress(store: Store, losses: list[str]) -> Iterator[None]:
    """Notes whether ever more runs were counted than stored."""
    add = Progress.add

    def compare(self: Progress, statuses: dict[str, int]) -> None:
        add(self, statuses)
        stored = len(store.statuses())
        if self.statuses.total() > stored:
            losses.append(f"{self.statuses.total()} runs were counted, {stored} were stored")

    with patch.object(Progress, "add", compare):
        yield


def run(count: int = 1000, seed: int = 0, workers: int = 2) -> Outcome:
    """A sweep of `count` runs of which about three in ten end their worker, or fail."""
    tried, losses = Counter[str](), list[str]()
    configurations = [parse(number) for number in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder, "x")
        Path(folder, "marks").mkdir()
        work = partial(measure, str(Path(folder, "marks")), seed)
        with (
            patch.multiple(process_state, **LIMITS),
            disturb_starts(seed, tried),
            compare_progress(store, losses),
        ):
            tally = execute(configurations, store, workers, False, work, Limits(TIME_LIMIT))
        losses += check(configurations, seed, tally, store)
    tried.update(kind for kind, _ in (choose_fate(seed, number) for number in range(count)) if kind)
    return Outcome(tried, losses, f"python -m faults workers --count {count} --seed {seed}")


def parse(number: int) -> Configuration:
    """A run that would take a moment."""
    cell = {"name": "elman", "hidden_size": 4}
    return Configuration.parse({"sequence_length": 6, "batch_size": 2, "cell": cell, "seed": number})


def check(configurations: Sequence[Configuration], seed: int, tally: Tally, store: Store) -> list[str]:
    """What is not as it must be."""
    try:
        study = load(store.study, store.path.parent)
    except StoreError as error:
        return [f"the study cannot be read: {error}"]
    stored = study.runs.set_index("seed")
    losses = [f"seed {one}: stored {n} times" for one, n in stored.index.value_counts().items() if n > 1]
    for one in configurations:
        number = one.values.seed
        kind, always = choose_fate(seed, number)
        status, reason = stored.loc[number, ["status", "error"]] if number in stored.index else ("missing", None)
        if status != ("failed" if always else "done") or (status == "failed" and not reason):
            losses.append(f"seed {number} ({kind or 'nothing'}, {'always' if always else 'once'}): {status}, {reason}")
    if dict(tally.statuses) != stored["status"].value_counts().to_dict():
        losses.append(f"counted {dict(tally.statuses)}, stored {json.dumps(stored['status'].value_counts().to_dict())}")
    numbers = study.table("lag_terms").merge(study.runs[["run_id", "seed"]])
    if not (numbers["log_norm"] == numbers["seed"]).all():
        losses.append("rows of other runs are stored")
    return losses
