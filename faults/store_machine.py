"""The steps of `faults.model` on the store: several writers, kills and damage.

They publish, publish again, are killed between any two operations on files, publish in the middle of another writer's
commit, damage or delete a file, sweep up, repair, read. The model is a list of commits with their runs.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from bpttlab.errors import DamagedShardError, StoreError
from bpttlab.store.column import NO_COLUMNS, MeasureColumns
from bpttlab.store.identity import canonical, run_id
from bpttlab.store.store import Store, repair
from bpttlab.store.study import Study
from faults.in_process import Calls
from faults.needs import scratch_folder
from faults.studies import STUDY

Run: TypeAlias = int | str
"""A run: its seed if its results are made up, else its id."""

RUNS = st.lists(st.integers(0, 5), min_size=1, max_size=3, unique=True)
WRITERS = st.integers(0, 1)
OF_EACH_RUN = {
    "sequence_length": 9,
    "truncation": "full",
    "spectral_radius": None,
    "cell": {"name": "elman", "hidden_size": 4},
    "scheme": {"name": "full"},
    "task": {"name": "made up"},
}
SEEDS_OF_MADE_UP = range(100)
LAST_CALL = 60
"""A commit of these runs has fewer operations on files."""

TRIED: Counter[str] = Counter()
"""How often each step was made."""


class KilledError(BaseException):
    """The process ends here: nothing that it would do afterwards is done."""


class Killing(Calls):
    """Lets all operations from the n-th on fail, as if there were no process any more."""

    def check(self, *arguments: Any) -> None:
        if any(self._is_inside(one) for one in arguments):
            self.count += 1
            if self.count >= self.number:
                raise KilledError


class Interrupting(Calls):
    """Does something else before the n-th operation."""

    def __init__(self, folder: Path, number: int, action: Callable[[], None]) -> None:
        super().__init__(folder, number)
        self.action = action

    def check(self, *arguments: Any) -> None:
        if any(self._is_inside(one) for one in arguments):
            self.count += 1
            if self.count == self.number:
                self.action()


@dataclass(frozen=True)
class MadeUp:
    """The results of a run; they follow from its number."""

    seed: int
    status: str

    @property
    def run(self) -> dict[str, Any]:
        described = {"seed": self.seed, **OF_EACH_RUN}
        row = {"run_id": run_id(described), "configuration": canonical(described), "status": self.status}
        return {**row, "network_id": "0" * 32, "error": "it failed" if self.status == "failed" else None}

    @property
    def provenance(self) -> dict[str, Any]:
        return {"seconds": 1.0}

    @property
    def tables(self) -> dict[str, dict[str, Any]]:
        rows = {"parameter": ["W", "V"], "lag": [0, 0], "log_norm": [float(self.seed)] * 2}
        return {"lag_terms": rows} if self.status == "done" else {}

    @property
    def own(self) -> MeasureColumns:
        return NO_COLUMNS


@dataclass
class ModelCommit:
    """A commit as it must be.

    Attributes:
        runs: run -> status.
        files: of its shards.
        certain: the writer was told that it is stored, and was not killed before.
        damaged: one of its files is.
    """

    runs: dict[Run, str]
    files: set[Path] = field(default_factory=set)
    certain: bool = True
    damaged: bool = False


class StoreMachine(RuleBasedStateMachine):
    """The store, and what must be in it.

    Attributes:
        hurt: the files that are damaged or deleted, since the last repair.
        deleted: the commits that were deleted.
        ages: file -> how many were seen before it.
        knows_all: no record of a writer was ever damaged. Otherwise a commit that is deleted may be missed late, when
            its writer names it, or never: that is a limit.
    """

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(dir=scratch_folder()))
        self.writers = [Store(self.root, STUDY), Store(self.root, STUDY)]
        self.commits: list[ModelCommit] = []
        self.hurt: set[Path] = set()
        self.deleted: set[Path] = set()
        self.ages: dict[Path, int] = {}
        self.knows_all = True

    def teardown(self) -> None:
        try:
            self.read()
        finally:
            shutil.rmtree(self.root, ignore_errors=True)
            self.note_end()

    def note_end(self) -> None:
        """Called after each sequence of steps."""

    # -------------------------------------------------------------- steps

    @rule(writer=WRITERS, seeds=RUNS, status=st.sampled_from(["done", "failed"]))
    def publish(self, writer: int, seeds: Sequence[int], status: str) -> None:
        TRIED["publish"] += 1
        before = set(self.list_files())
        self.writers[writer].publish([MadeUp(seed, status) for seed in seeds])
        self.commits.append(ModelCommit(dict.fromkeys(seeds, status), set(self.list_files()) - before))

    @rule(writer=WRITERS, seeds=RUNS, call=st.integers(1, LAST_CALL))
    def publish_and_be_killed(self, writer: int, seeds: Sequence[int], call: int) -> None:
        before, finished = set(self.list_files()), False
        with suppress(KilledError), Killing(self.root, call).watch():
            self.writers[writer].publish([MadeUp(seed, "done") for seed in seeds])
            finished = True
        TRIED["publish" if finished else "killed while publishing"] += 1
        if not finished:
            self.writers[writer] = Store(self.root, STUDY)
        new = set(self.list_files()) - before
        self.commits.append(ModelCommit(dict.fromkeys(seeds, "done"), new, certain=finished))

    @rule(seeds=RUNS, others=RUNS, call=st.integers(1, LAST_CALL))
    def publish_while_another_does(self, seeds: Sequence[int], others: Sequence[int], call: int) -> None:
        TRIED["two writers"] += 1
        before = set(self.list_files())

        def interrupt() -> None:
            self.publish(1, others, "done")

        with Interrupting(self.root, call, interrupt).watch():
            self.writers[0].publish([MadeUp(seed, "done") for seed in seeds])
        others_files = {path for commit in self.commits for path in commit.files}
        self.commits.append(ModelCommit(dict.fromkeys(seeds, "done"), set(self.list_files()) - before - others_files))

    @precondition(lambda self: self.choose_failed())
    @rule(writer=WRITERS)
    def retry_failed(self, writer: int) -> None:
        self.publish(writer, self.choose_failed(), "done")

    @precondition(lambda self: self.list_files())
    @rule(which=st.integers(0, 1000), place=st.floats(0, 1, exclude_max=True), how=st.sampled_from(["flip", "cut"]))
    def damage(self, which: int, place: float, how: str) -> None:
        TRIED[f"{how} a file"] += 1
        path = self.choose_file(which)
        data = bytearray(path.read_bytes())
        if data:
            place = int(place * len(data))
            data[place] ^= 1
            written = path.stat().st_mtime_ns
            path.write_bytes(data if how == "flip" else data[:place])
            os.utime(path, ns=(written, written + 10**9))  # a writer sees that it was changed, also at the same tick
            self.note_damage(path)

    @precondition(lambda self: self.list_files())
    @rule(which=st.integers(0, 1000))
    def delete(self, which: int) -> None:
        TRIED["delete a file"] += 1
        path = self.choose_file(which)
        path.unlink()
        self.deleted |= {path} if path.parent.name == "runs" else set()
        self.note_damage(path)

    @rule(writer=WRITERS)
    def sweep_up(self, writer: int) -> None:
        TRIED["sweep up"] += 1
        with suppress(DamagedShardError):
            self.writers[writer].sweep_up()

    @precondition(lambda self: (self.root / STUDY).exists())
    @rule()
    def repair(self) -> None:
        TRIED["repair"] += 1
        repair(STUDY, self.root)
        self.commits = [commit for commit in self.commits if not commit.damaged]
        self.hurt = set() if self.knows_all else set(self.deleted)
        self.read()

    @rule()
    def read(self) -> None:
        TRIED["read"] += 1
        self.check(*self.load())

    # -------------------------------------------------------------- what must hold

    def load(self) -> tuple[dict[Run, str], dict[Run, list[Any]], str]:
        """The statuses, the rows, and what is said of damage."""
        if not list((self.root / STUDY).glob("store/runs/*.parquet")) and not self.hurt:
            return {}, {}, ""
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            try:
                statuses, rows = self.interpret(Store(self.root, STUDY).load())
            except StoreError as error:
                return {}, {}, str(error)
        return statuses, rows, "; ".join(str(one.message) for one in told)

    def interpret(self, study: Study) -> tuple[dict[Run, str], dict[Run, list[Any]]]:
        """The statuses and the rows of runs; of those that are made up the rows of lag_terms."""
        made_up = study.runs[study.runs["seed"].isin(SEEDS_OF_MADE_UP)]
        terms = study.table("lag_terms").merge(made_up[["run_id", "seed"]])
        rows: dict[Run, list[Any]] = {}
        for seed, norm in zip(terms["seed"], terms["log_norm"], strict=True):
            rows.setdefault(int(seed), []).append(norm)
        return dict(zip(map(int, made_up["seed"]), made_up["status"], strict=True)), rows

    def is_right(self, run: Run, status: str, found: list[Any], said: str) -> bool:
        """Whether a run has its rows, or lacks some and that is said."""
        whole = [float(run)] * 2 if status == "done" else []
        return found == whole or bool(not found and said)

    def check(self, statuses: dict[Run, str], rows: dict[Run, list[Any]], said: str) -> None:
        """Compares what is read with the model."""
        must, may = self.required(), self.possible()
        for seed, possible in must.items():
            assert statuses.get(seed) in possible, f"run {seed} must be {possible} and is {statuses.get(seed)}: {said}"
        for seed, status in statuses.items():
            assert status in may.get(seed, ()), f"run {seed} was never stored as {status}"
            found = rows.get(seed, [])
            assert self.is_right(seed, status, found, said), f"run {seed} has the rows {found}: {said}"
        absent = may.keys() - statuses.keys() - self.uncertain() - self.unnoticed()
        assert not absent or said, f"runs {absent} are absent, and nothing is said"
        if not self.hurt:
            assert not said, f"nothing is damaged, and it is said: {said}"

    def required(self) -> dict[Run, set[str]]:
        """Run -> the statuses that it may have, of the runs that must be there."""
        whole = [commit for commit in self.commits if commit.certain and not commit.damaged]
        found: dict[Run, set[str]] = {}
        for commit in whole:
            for seed in commit.runs:
                done = "done" in [one.runs.get(seed) for one in whole]
                maybe = "done" in self.possible()[seed]
                found[seed] = {"done"} if done else {"failed", "done"} if maybe else {"failed"}
        return found

    def possible(self) -> dict[Run, set[str]]:
        """Run -> the statuses with which anybody has published it."""
        found: dict[Run, set[str]] = {}
        for commit in self.commits:
            for seed, status in commit.runs.items():
                found.setdefault(seed, set()).add(status)
        return found

    def uncertain(self) -> set[Run]:
        """Runs that need not be there: of writers that were killed."""
        certain = {seed for commit in self.commits if commit.certain for seed in commit.runs}
        return {seed for commit in self.commits for seed in commit.runs} - certain

    def unnoticed(self) -> set[Run]:
        """Runs that may be absent with nothing said of them."""
        deleted = [] if self.knows_all else [commit for commit in self.commits if commit.files & self.deleted]
        return {seed for commit in deleted for seed in commit.runs}

    def choose_failed(self) -> list[int]:
        """The runs that have failed and must be there."""
        return [int(seed) for seed, statuses in self.required().items() if statuses == {"failed"}]

    def list_files(self) -> list[Path]:
        """The shards and the records of writers by their folders, and in these in the order in which they were first
        seen: neither their names, which differ each time, nor a clock, which has equal times, decides which one a step
        hurts.
        """
        found = [*(self.root / STUDY).glob("store/*/*.parquet"), *(self.root / STUDY).glob("commits/*.json")]
        for path in sorted(found):
            self.ages.setdefault(path, len(self.ages))
        return sorted(found, key=lambda path: (path.parent.name, self.ages[path]))

    def choose_file(self, which: int) -> Path:
        files = self.list_files()
        return files[which % len(files)]

    def note_damage(self, path: Path) -> None:
        self.hurt.add(path)
        self.knows_all &= path.parent.name != "commits"
        for commit in self.commits:
            if path in commit.files and path.parent.name != "commits":
                commit.damaged = True
