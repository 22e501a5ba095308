"""A small sweep, and what there must be of it after a fault."""

from __future__ import annotations

import hashlib
import io
import os
import re
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import pyarrow as pa

from bpttlab.cli import main
from bpttlab.errors import StoreError
from bpttlab.store import schema
from bpttlab.store.columns import TABLES_OF_TRAINING
from bpttlab.store.store import Store
from bpttlab.store.study import Study
from bpttlab.sweeps import scheduler
from bpttlab.training import checkpoints
from faults import children
from faults.children import Ended

STUDY = "x"
LINE = (
    "workers=0",
    "sequence_length=6",
    "cell.hidden_size=3",
    "batch_size=1",
    "truncation=full,2",
    "seed=range(0,3)",
)
FIRST = (*LINE[:-1], "seed=1")
"""A part of LINE: one bundle."""
RUNS = 6
"""Of LINE: three bundles of two runs. Of TRAINING: two networks, each measured at three updates."""

TRAINING = (
    "workers=0",
    "sequence_length=4",
    "cell.hidden_size=2",
    "batch_size=1",
    "task=adding",
    "measure=minimal",
    "engine=numpy",
    "training=standard",
    "training.updates=5",
    "training.check_sequences=2",
    "training.measure_at=[0,2,5]",
    "seed=range(0,2)",
)
"""A sweep that trains networks. A checkpoint is written after each update, but not in workers."""

ENGINE: list[str] = []
"""Words of a line that choose another engine than the default; in tests NumPy's, for which nothing is compiled."""

TABLES = {**schema.TABLES, **{table.name: table for table in TABLES_OF_TRAINING}}

_SHARD = re.compile(r"([0-9a-f]{64})\.parquet")
_DONE = re.compile(r"runs? computed in .*: .*?(\d+) done")


def sweep(results: Path, line: Sequence[str] = LINE) -> int:
    """Runs the command in this process, each bundle a commit of its own; the exit code."""
    often = (patch.object(scheduler, "PUBLISHING_SECONDS", 0.0), patch.object(checkpoints, "CHECKPOINT_SECONDS", 0.0))
    with often[0], often[1]:
        return main(
            ["sweep", f"study={STUDY}", f"results={results}", *line, *(word for word in ENGINE if word not in line)]
        )


def sweeping(results: Path, line: Sequence[str] = LINE) -> Callable[[], int]:
    """The work of a child."""
    return partial(sweep, results, line)


def warm_up(folder: Path, line: Sequence[str] = LINE) -> None:
    """Imports in this process what a sweep and its reading need, so that children have it."""
    with redirect_stdout(io.StringIO()):
        sweep(folder / "warm", line)
    inspect(folder / "warm")


def undisturbed(folder: Path, line: Sequence[str] = LINE) -> Found:
    """The study of a sweep without a fault.

    Raises:
        RuntimeError: it fails: the faults would prove nothing.
    """
    ended = children.run(sweeping(folder / "whole", line), folder / "whole.txt")
    whole = children.call(inspect, folder / "whole")
    if ended.code != 0 or len(whole.statuses) != RUNS or whole.problem:
        raise RuntimeError(f"the sweep without a fault fails: {ended.said} {whole.problem}")
    return whole


class Found(NamedTuple):
    """What a study has.

    Attributes:
        tables: the digest of the rows of each run in each table: (table, run id) -> digest.
        statuses: run id -> status.
        problem: why it cannot be read, or what of it is left out.
        corrupt: files under a final name that have other bytes.
        litter: temporary files, files of leases, and checkpoints.
    """

    tables: Mapping[tuple[str, str], str]
    statuses: Mapping[str, str]
    problem: str = ""
    corrupt: tuple[str, ...] = ()
    litter: tuple[str, ...] = ()


def inspect(results: Path, provenance: bool = False) -> Found:
    """Reads everything there is of a study.

    Args:
        provenance: also what may differ between two equal runs.
    """
    store = Store(results, STUDY)
    corrupt, litter = tuple(find_corrupt(store.path)), tuple(find_litter(store.path))
    if not any(_SHARD.fullmatch(path.name) for path in (store.path / "store" / "runs").glob("*")):
        return Found({}, {}, "", corrupt, litter)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            tables, statuses = read(store, () if provenance else ("provenance",))
        except StoreError as error:
            return Found({}, {}, str(error), corrupt, litter)
    return Found(tables, statuses, "; ".join(dict.fromkeys(str(one.message) for one in told)), corrupt, litter)


def read(store: Store, left_out: Collection[str] = ()) -> tuple[dict[tuple[str, str], str], dict[str, str]]:
    """The digests of the rows of each run, and the statuses.

    Raises:
        StoreError: it cannot be read.
    """
    return read_study(store.load(), left_out)


def read_study(study: Study, left_out: Collection[str] = ()) -> tuple[dict[tuple[str, str], str], dict[str, str]]:
    """The same of a study that was loaded."""
    statuses = dict(zip(study.runs["run_id"], study.runs["status"], strict=True))
    found: dict[tuple[str, str], str] = {}
    for name in study.tables:
        if name not in left_out:
            rows = study.arrow(name)
            own = rows if name == "runs" else rows.select(TABLES[name].names)
            found |= {(name, run_id): digest for run_id, digest in digest_runs(own).items()}
    return found, statuses


def digest_runs(rows: pa.Table) -> dict[str, str]:
    """run id -> a digest of its rows in their order, without what is missing in them."""
    of_run: dict[str, list[str]] = {}
    for row in rows.to_pylist():
        said = ",".join(f"{name}={row[name]}" for name in sorted(row) if row[name] is not None)
        of_run.setdefault(row["run_id"], []).append(said)
    return {run_id: hashlib.sha256("\n".join(said).encode()).hexdigest() for run_id, said in of_run.items()}


def find_corrupt(study: Path) -> Iterator[str]:
    """The shards whose bytes are not those of their name."""
    for path in sorted(study.glob("store/*/*")):
        match = _SHARD.fullmatch(path.name)
        regular = match and path.is_file() and not path.is_symlink()
        if match and regular and hashlib.sha256(path.read_bytes()).hexdigest() != match[1]:
            yield str(path.relative_to(study))


def find_litter(study: Path) -> Iterator[str]:
    """Temporary files, files of leases, and checkpoints."""
    for folder, _, names in os.walk(study):
        for name in names:
            if name.startswith(".") or name.endswith((".lease", ".launcher", ".npz")):
                yield str(Path(folder, name).relative_to(study))


# ------------------------------------------------------------------ what must hold


def judge(ended: Ended, found: Found, whole: Found) -> Iterator[str]:
    """What does not hold after a sweep into which a fault was injected.

    Args:
        whole: the study of the same sweep without a fault.
    """
    if ended.hung:
        yield "it hangs"
    if "Traceback" in ended.said:
        yield f"a traceback: {ended.said[-1500:]}"
    if ended.code == 0 and found.statuses != whole.statuses:
        yield f"exit code 0, and {len(found.statuses)} of {len(whole.statuses)} runs are stored"
    if (done := count_reported(ended.said)) > len(found.statuses):
        yield f"{done} runs were reported as done, {len(found.statuses)} are stored"
    yield from (f"{file} has other bytes than its name says" for file in found.corrupt)
    if found.problem:
        yield f"afterwards: {found.problem}"
    yield from compare(found, whole)


def judge_healed(ended: Ended, found: Found, whole: Found) -> Iterator[str]:
    """What does not hold after the same line once more, without a fault."""
    if ended.code != 0:
        yield f"the same line does not heal it: exit code {ended.code}: {ended.said[-500:]}"
    elif found.statuses != whole.statuses:
        yield f"the same line heals {len(found.statuses)} of {len(whole.statuses)} runs"
    elif found.tables != whole.tables:
        yield "the tables are not those of a sweep without a fault"
    if found.problem or found.corrupt:
        yield f"after the same line: {found.problem or found.corrupt}"
    if found.litter:
        yield f"the same line leaves {', '.join(found.litter)}"


def compare(found: Found, whole: Found) -> Iterator[str]:
    """Runs that are there and have other rows than they must have."""
    tables = {table for table, _ in whole.tables}
    keys: Iterable[tuple[str, str]] = ((table, run_id) for run_id in found.statuses for table in sorted(tables))
    for key in keys:
        if found.tables.get(key) != whole.tables.get(key):
            yield f"run {key[1]} has other rows in {key[0]}"


def count_reported(said: str) -> int:
    """The runs that the last line reports as done."""
    match = _DONE.search(said)
    return int(match[1]) if match else 0
