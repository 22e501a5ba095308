"""A small training of a sweep that is killed, stopped or refused by the system, at an update or at an operation."""

from __future__ import annotations

import hashlib
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from unittest.mock import patch

from bpttlab.errors import LabError
from bpttlab.store.leases import Leases
from bpttlab.store.store import Store
from bpttlab.sweeps import scheduler, trained_runs
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.plan import Options, plan
from bpttlab.training import checkpoints
from bpttlab.training.loop import Ongoing
from faults import in_process, studies
from faults.needs import scratch_folder

UPDATES = 5
MEASURED = (0, 2, UPDATES)
"""The updates that are measured: each is a run."""

FIELDS: dict[str, Any] = {
    "task": "adding",
    "sequence_length": 4,
    "batch_size": 1,
    "cell.hidden_size": 2,
    "measure": "minimal",
    "engine": "numpy",
    "training": "standard",
    "training.updates": UPDATES,
    "training.check_sequences": 2,
    "training.check_every": 2,
    "training.measure_at": list(MEASURED),
}
SEEDS = (1000, 1001)
"""Of the networks that are trained."""

BEGINS = re.compile(r"the training begins after update (\d+)")
CHECKPOINT = re.compile(r"(checkpoint|measured)-(\d{12})-([0-9a-f]{16})\.npz")


class Stop(NamedTuple):
    """How a sweep is ended.

    Attributes:
        how: "" for not at all; "kill" or "interrupt" after an update; SIGKILL or the name of an error at an operation
            on files.
        number: of the update, or of the operation.
    """

    how: str = ""
    number: int = 0

    @property
    def at_call(self) -> bool:
        return self.how not in ("", "kill", "interrupt")


NOT_STOPPED = Stop()


def say_at_once(text: str) -> None:
    """To the file of a child's messages, also where a test has replaced `sys.stdout`."""
    os.write(1, f"{text}\n".encode())


def say_nothing(text: str) -> None:
    """Of a sweep in this process."""


def sweep(
    results: Path,
    seed: int,
    stop: Stop = NOT_STOPPED,
    takes_over: bool = False,
    say: Callable[[str], None] = say_at_once,
) -> int:
    """Trains and measures a network, with a checkpoint after each update; the exit code.

    Args:
        takes_over: takes all other launchers for dead, as if they had been suspended.
        say: receives with which update the training begins, and messages.
    """
    options = Options(studies.STUDY, str(results), workers=0)
    with ExitStack() as stack:
        stack.enter_context(patch.object(checkpoints, "CHECKPOINT_SECONDS", 0.0))
        stack.enter_context(patch.object(scheduler, "PUBLISHING_SECONDS", 0.0))
        stack.enter_context(patch.object(trained_runs, "run_updates", say_begin(trained_runs.run_updates, say)))
        stack.enter_context(patch.object(checkpoints, "print_error", say))
        if stop.how in ("kill", "interrupt"):
            stack.enter_context(stopping(stop))
        if stop.at_call:
            stack.enter_context(in_process.Calls(results, stop.number, stop.how).watch())
        if takes_over:
            stack.enter_context(patch.object(Leases, "_lives", lambda self, launcher: False))
        try:
            planned = plan([{**FIELDS, "seed": seed}], options)
            return scheduler.carry_out(planned, options, progress=False).exit_code
        except LabError as error:
            say(f"refused: {error}")
            return 2


def say_begin(run_updates: Any, say: Callable[[str], None]) -> Any:
    """The function, which first says with which update it begins."""

    def begin(setup: Any, known: Ongoing, *arguments: Any, **named: Any) -> Any:
        say(f"the training begins after update {known.state.update}")
        return run_updates(setup, known, *arguments, **named)

    return begin


def stopping(stop: Stop) -> Any:
    """After the checkpoint of an update the process is killed, or hears SIGINT."""
    save = checkpoints.CheckpointFolder.save_if_due

    def act(self: checkpoints.CheckpointFolder, known: Ongoing) -> None:
        save(self, known)
        if known.state.update == stop.number:
            os.kill(os.getpid(), signal.SIGKILL if stop.how == "kill" else signal.SIGINT)

    return patch.object(checkpoints.CheckpointFolder, "save_if_due", act)


# ------------------------------------------------------------------ what there must be


@cache
def network_of(seed: int) -> str:
    """The network_id of a seed."""
    return Configuration.parse({**FIELDS, "seed": seed}).network_id


@cache
def runs_of(seed: int) -> tuple[str, ...]:
    """The ids of the runs of a seed."""
    updates = Configuration.parse({**FIELDS, "seed": seed}).at_measured_updates()
    return tuple(one.run_id for one in updates)


@cache
def whole_rows() -> dict[str, list[str]]:
    """Run id -> the digests of its rows, of trainings that nobody has stopped."""
    with TemporaryDirectory(dir=scratch_folder()) as name:
        for seed in SEEDS:
            if sweep(Path(name), seed, say=say_nothing) != 0:
                raise RuntimeError("the sweep without a fault fails")
        tables, _ = studies.read(Store(name, studies.STUDY), ("provenance",))
    return digests_by_run(tables)


def digests_by_run(tables: dict[tuple[str, str], str]) -> dict[str, list[str]]:
    """Run id -> a digest of its rows of each table."""
    found: dict[str, list[str]] = {}
    for (table, run_id), digest in sorted(tables.items()):
        found.setdefault(run_id, []).append(f"{table}: {digest}")
    return found


# ------------------------------------------------------------------ checkpoints


def list_checkpoints(results: Path, seed: int | None = None) -> list[Path]:
    """Everything that is named as a checkpoint; of all networks, or of one."""
    network = "*" if seed is None else network_of(seed)
    folder = results / studies.STUDY / scheduler.CHECKPOINTS
    return sorted(path for path in folder.glob(f"{network}/*") if CHECKPOINT.fullmatch(path.name))


def find_begin(results: Path, seed: int, foreign: set[Path]) -> int:
    """The update after which a training must go on, by the files that are whole.

    Args:
        foreign: files with a right SHA-256 that are not of this training.
    """
    found = dict(read_updates(list_checkpoints(results, seed), foreign))
    for update in sorted(found.get("checkpoint", ()), reverse=True):
        if {one for one in MEASURED if one <= update} <= found.get("measured", set()):
            return update
    return 0


def read_updates(paths: list[Path], foreign: set[Path]) -> Iterator[tuple[str, set[int]]]:
    """Kind -> the updates of its whole files."""
    for kind in ("checkpoint", "measured"):
        matches = [CHECKPOINT.fullmatch(path.name) for path in paths if path not in foreign and is_whole(path)]
        yield kind, {int(match[2]) for match in matches if match and match[1] == kind}


def is_whole(path: Path) -> bool:
    """Whether it is a file with the bytes of its name."""
    if path.is_symlink() or not path.is_file():
        return False
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] == path.stem[-16:]
