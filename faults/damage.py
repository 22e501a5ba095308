"""Stored files are damaged in every way: each damage is named with its file and its runs, and the rest is read.

    python -m faults damage [--quick] [--seed N]

One file of a stored study is damaged at a time, in a copy. What is read afterwards is either exactly what was stored or
absent, and then the file and the run are named. For one damage in REPAIRED `bpttlab repair` sets the file aside, and
the same sweep line computes the runs again.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bpttlab.store.damage import Fault
from bpttlab.store.store import Store, note_damaged_records, repair
from faults import children, studies
from faults.hanging import limit_seconds
from faults.needs import Progress, scratch_folder
from faults.outcome import Outcome

REPAIRED = 10
HANGS = 30
"""Seconds after which reading counts as hanging."""

FLIP, CUT = "bit flipped", "cut short"
SHARE = {FLIP: 0.75, CUT: 0.13}
"""Of all damage; the others share the rest."""


# ------------------------------------------------------------------ kinds of damage


class Damaged(NamedTuple):
    """What was damaged.

    Attributes:
        kind: how.
        file: the file that must be named, from the study's folder; "": none must.
    """

    kind: str
    file: str = ""


def flip(path: Path, random: np.random.Generator) -> None:
    """Flips one bit."""
    data = bytearray(path.read_bytes())
    bit = int(random.integers(8 * len(data)))
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def cut(path: Path, random: np.random.Generator) -> None:
    """Cuts the end off, or all."""
    data = path.read_bytes()
    path.write_bytes(data[: int(random.integers(len(data)))])


def zero(path: Path, random: np.random.Generator) -> None:
    """Replaces a block by zeros, as file systems do after a power failure."""
    data = bytearray(path.read_bytes())
    begin = int(random.integers(len(data)))
    data[begin : begin + 4096] = bytes(len(data[begin : begin + 4096]))
    path.write_bytes(data)


def swap(path: Path, random: np.random.Generator) -> None:
    """Gives a file the bytes of another, and the other those of this one."""
    others = sorted(one for one in path.parent.iterdir() if one != path)
    other = others[int(random.integers(len(others)))]
    mine, theirs = path.read_bytes(), other.read_bytes()
    path.write_bytes(theirs)
    other.write_bytes(mine)


def replace_by_link(path: Path, random: np.random.Generator) -> None:
    """Moves a file away and leaves a link to it."""
    away = path.with_name("moved")
    path.rename(away)
    path.symlink_to(away)


def replace_by_pipe(path: Path, random: np.random.Generator) -> None:
    """Leaves a pipe in place of a file."""
    path.unlink()
    os.mkfifo(path)


def replace_by_folder(path: Path, random: np.random.Generator) -> None:
    """Leaves a folder in place of a file."""
    path.unlink()
    path.mkdir()


CHANGES: dict[str, Callable[[Path, np.random.Generator], object]] = {
    FLIP: flip,
    CUT: cut,
    "block of zeros": zero,
    "two files swapped": swap,
    "link": replace_by_link,
    "pipe": replace_by_pipe,
    "folder": replace_by_folder,
    "deleted": lambda path, _: path.unlink(),
}
"""Of a file that is there."""


def add_foreign(study: Path, random: np.random.Generator) -> Damaged:
    """A file that nobody of this program wrote, under the SHA-256 of its bytes."""
    data = bytes(random.bytes(200))
    if random.random() < 0.5:
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table({"run_id": ["0" * 32], "status": ["done"]}), sink)
        data = sink.getvalue().to_pybytes()
    table = str(random.choice(["runs", "provenance", "lag_terms"]))
    file = f"store/{table}/{hashlib.sha256(data).hexdigest()}.parquet"
    (study / file).write_bytes(data)
    return Damaged(f"foreign file in {table}", file if table == "runs" else "")


def damage(study: Path, random: np.random.Generator) -> Damaged:
    """Damages a file of a study, or adds a foreign one."""
    others = [kind for kind in [*CHANGES, "foreign"] if kind not in SHARE]
    kind = str(random.choice([*SHARE, ""], p=[*SHARE.values(), 1 - sum(SHARE.values())])) or str(random.choice(others))
    if kind == "foreign":
        return add_foreign(study, random)
    files = sorted(path for path in study.rglob("*") if path.is_file())
    if kind == "two files swapped":
        files = [path for path in files if len(os.listdir(path.parent)) > 1]
    path = files[int(random.integers(len(files)))]
    before = path.read_bytes()
    CHANGES[kind](path, random)
    if path.is_file() and not path.is_symlink() and path.read_bytes() == before:
        return Damaged("")
    file = str(path.relative_to(study))
    is_record = path.parent.parent.name != "store"
    return Damaged(f"{kind}, {'record' if is_record else 'shard'}", "" if is_record and kind == "deleted" else file)


# ------------------------------------------------------------------ what must hold


def judge(damaged: Damaged, results: Path, whole: studies.Found) -> Iterator[str]:
    """What does not hold of a damaged study."""
    with limit_seconds(HANGS):
        found = studies.inspect(results, provenance=True)
        faults = find_faults(results)
    named, runs = {fault.file for fault in faults}, {run_id for fault in faults for run_id in fault.runs}
    if damaged.file and damaged.file not in named:
        yield f"{damaged.file} is not named: {sorted(named)}"
    for run_id in found.statuses.keys() - whole.statuses.keys():
        yield f"run {run_id} was never stored"
    for run_id in whole.statuses.keys() - found.statuses.keys() - runs:
        yield f"run {run_id} is absent and not named"
    for (table, run_id), digest in found.tables.items():
        if whole.tables.get((table, run_id)) != digest:
            yield f"run {run_id} has other rows in {table}"
    for table, run_id in whole.tables.keys() - found.tables.keys():
        if run_id not in runs:
            yield f"run {run_id} has no rows in {table}, and is not named"
    absent = len(whole.tables) - len(found.tables)
    if absent and not found.problem:
        yield f"{absent} parts are absent, and nothing is said when they are read"
    if absent and not found.statuses and len(named) <= 1:
        yield "one damaged file makes all unreadable"


def find_faults(results: Path) -> list[Fault]:
    """All that `status` names."""
    store = Store(results, studies.STUDY)
    _, found = store.survey()
    note_damaged_records(store.path, found)
    return found.all


def judge_repaired(results: Path, whole: studies.Found) -> Iterator[str]:
    """What does not hold after a repair and the same line once more."""
    repair(studies.STUDY, results)
    if left := find_faults(results):
        yield f"after the repair: {left}"
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        code = studies.sweep(results)
    found = studies.inspect(results)
    parts = {key: digest for key, digest in whole.tables.items() if key[0] != "provenance"}
    if code or found.statuses != whole.statuses or found.tables != parts or found.problem:
        yield f"the repair and the same line do not heal it: exit code {code}: {said.getvalue()[-500:]} {found.problem}"


# ------------------------------------------------------------------ all


def attempt(scratch: Path, whole: studies.Found, seed: int, number: int) -> tuple[str, list[str]]:
    """Damages a copy of the study and reads it; the kind of damage, and the losses."""
    random = np.random.default_rng([seed, number])
    with TemporaryDirectory(dir=scratch) as name:
        results = Path(name, "results")
        shutil.copytree(scratch / "whole", results)
        damaged = damage(results / studies.STUDY, random)
        if not damaged.kind:
            return "", []
        try:
            losses = [*judge(damaged, results, whole)]
            if number % REPAIRED == 0:
                losses += judge_repaired(results, whole)
        except Exception as error:
            losses = [f"{type(error).__name__}: {error}"]
    return damaged.kind, [f"damage {number} ({damaged.kind}, {damaged.file}): {loss}" for loss in losses]


def run(count: int = 4000, seed: int = 0, jobs: int = 2, progress: Progress | None = None) -> Outcome:
    """So many damages, each of one file in a study of three commits."""
    tried, losses = Counter[str](), list[str]()
    with TemporaryDirectory(dir=scratch_folder(), ignore_cleanup_errors=True) as name:
        folder = Path(name)
        studies.warm_up(folder)
        studies.undisturbed(folder)
        whole = studies.inspect(folder / "whole", provenance=True)
        work = partial(attempt, folder, whole, seed)
        for done, (kind, lost) in enumerate(children.run_all(work, range(count), jobs), 1):
            tried.update([kind] if kind else [])
            losses += lost
            if progress:
                progress(done, count, len(losses))
    return Outcome(tried, sorted(losses), f"python -m faults damage --count {count} --seed {seed}")
