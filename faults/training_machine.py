"""The steps of `faults.model` with sweeps that train a network, beside the other writers of the study.

A training is killed at any operation on files or after any update, is stopped by a signal, is refused by the system, or
goes on after another launcher has taken it over. Its checkpoints are damaged, deleted or replaced. The same line then
goes on from the last checkpoint that is whole, and its runs are those of a training that nobody has stopped.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from bpttlab.store.study import Study
from faults import children, studies, trainings
from faults.children import Ended
from faults.needs import scratch_folder
from faults.store_machine import TRIED, Interrupting, ModelCommit, Run, StoreMachine
from faults.trainings import NOT_STOPPED, SEEDS, UPDATES, Stop

LAST_CALL = 330
"""A training has fewer operations on files."""

STOPS = st.one_of(
    st.just(NOT_STOPPED),
    st.builds(Stop, st.sampled_from(["kill", "interrupt"]), st.integers(0, UPDATES - 1)),
    st.builds(Stop, st.sampled_from(["SIGKILL", "SIGKILL", "ENOSPC", "EIO", "EACCES"]), st.integers(1, LAST_CALL)),
)
ENDS = {0: "ends", -9: "is killed", 130: "is stopped", 2: "is refused"}
HURTS = ("flip", "cut", "empty", "delete", "folder", "link", "pipe", "foreign", "strange")


class TrainingMachine(StoreMachine):
    """The store with trainings.

    Attributes:
        foreign: files under their own SHA-256 in the folder of a training that are not of it.
        outside: a folder to which links lead.
    """

    def __init__(self) -> None:
        trainings.whole_rows()
        super().__init__()
        self.foreign: set[Path] = set()
        self.outside = Path(tempfile.mkdtemp(dir=scratch_folder()))

    def note_end(self) -> None:
        shutil.rmtree(self.outside, ignore_errors=True)

    # -------------------------------------------------------------- steps

    @rule(seed=st.sampled_from(SEEDS), stop=STOPS)
    def train(self, seed: int, stop: Stop) -> None:
        ended = self.train_in_child(seed, stop)
        self.judge(seed, stop, ended)

    @rule(seed=st.sampled_from(SEEDS), call=st.integers(1, LAST_CALL), stop=STOPS)
    def train_while_another_takes_over(self, seed: int, call: int, stop: Stop) -> None:
        """Before an operation of the first one, which is suspended, another one takes the training over."""
        before, told = set(self.list_files()), list[str]()

        def interrupt() -> None:
            TRIED["a training is taken over"] += 1
            self.judge(seed, stop, self.train_in_child(seed, stop, takes_over=True), begins=False)

        with Interrupting(self.root, call, interrupt).watch():
            code = trainings.sweep(self.root, seed, say=told.append)
        others_files = {path for commit in self.commits for path in commit.files}
        self.note_runs(seed, set(self.list_files()) - before - others_files, certain=code == 0)
        self.judge(seed, NOT_STOPPED, Ended(code, "\n".join(told)), begins=False)

    @precondition(lambda self: bool(trainings.list_checkpoints(self.root)))
    @rule(which=st.integers(0, 1000), place=st.floats(0, 1, exclude_max=True), how=st.sampled_from(HURTS))
    def damage_a_checkpoint(self, which: int, place: float, how: str) -> None:
        paths = trainings.list_checkpoints(self.root)
        path = paths[which % len(paths)]
        TRIED[f"a checkpoint: {how}"] += 1
        data = path.read_bytes() if path.is_file() else b""
        if how in ("foreign", "strange"):
            self.add_foreign(path, data if how == "foreign" else data[: len(data) // 2])
        elif path.is_file() and not path.is_symlink():
            self.hurt_checkpoint(path, bytearray(data), int(place * len(data)), how)

    # -------------------------------------------------------------- how

    def train_in_child(self, seed: int, stop: Stop, takes_over: bool = False) -> Ended:
        """A sweep in a process of its own; its commit, if it has made one, is noted."""
        before, begin = set(self.list_files()), trainings.find_begin(self.root, seed, self.foreign)
        with tempfile.TemporaryDirectory(dir=scratch_folder()) as folder:
            work = partial(trainings.sweep, self.root, seed, stop, takes_over)
            ended = children.run(work, Path(folder, "said"))
        self.note_runs(seed, set(self.list_files()) - before, certain=ended.code == 0)
        match = trainings.BEGINS.search(ended.said)
        if match and (not stop.at_call or stop.how == "SIGKILL") and not takes_over:
            assert int(match[1]) == begin, f"a training goes on after update {match[1]}, and not after {begin}"
        goes_on = " goes on and" if match and match[1] != "0" else ""
        TRIED[f"a training{goes_on} {ENDS.get(ended.code, 'fails')}"] += 1
        return ended

    def note_runs(self, seed: int, files: set[Path], certain: bool) -> None:
        if files:
            self.commits.append(ModelCommit(dict.fromkeys(trainings.runs_of(seed), "done"), files, certain))

    def hurt_checkpoint(self, path: Path, data: bytearray, place: int, how: str) -> None:
        path.unlink()
        if how == "flip" and data:
            data[place] ^= 1
            path.write_bytes(data)
        elif how in ("cut", "empty"):
            path.write_bytes(data[:place] if how == "cut" else b"")
        elif how == "folder":
            path.mkdir()
        elif how == "pipe":
            os.mkfifo(path)
        elif how == "link":
            (self.outside / path.name).write_bytes(data)
            path.symlink_to(self.outside / path.name)

    def add_foreign(self, path: Path, data: bytes) -> None:
        """A file under its own SHA-256, of a later update, in the folders of both trainings."""
        digest = hashlib.sha256(data).hexdigest()[:16]
        for seed in SEEDS:
            folder = path.parents[1] / trainings.network_of(seed)
            is_own = folder == path.parent and trainings.is_whole(path) and digest == path.stem[-16:]
            if folder.is_dir() and not is_own:
                target = folder / f"checkpoint-{90 + len(self.foreign):012d}-{digest}.npz"
                target.write_bytes(data)
                self.foreign.add(target)

    # -------------------------------------------------------------- what must hold

    def judge(self, seed: int, stop: Stop, ended: Ended, begins: bool = True) -> None:
        """Checks how a sweep has ended.

        Args:
            begins: whether nobody else has written checkpoints meanwhile.
        """
        assert not ended.hung, "a training hangs"
        assert "Traceback" not in ended.said, ended.said[-1500:]
        left = [path for path in trainings.list_checkpoints(self.root, seed) if not path.is_dir()]
        if ended.code == 0:
            statuses, rows, said = self.load()
            for run in trainings.runs_of(seed):
                assert statuses.get(run) == "done", f"exit code 0, and run {run} is {statuses.get(run)}: {said}"
                assert self.is_right(run, "done", rows.get(run, []), said), f"exit code 0, and run {run} is not whole"
            assert not left or stop.at_call, f"{len(left)} checkpoints are left"
        elif ended.code == 130:
            assert stop.how == "interrupt", "exit code 130 without a signal"
            updates = {int(path.name.split("-")[1]) for path in left if trainings.is_whole(path)}
            assert stop.number in updates, f"stopped after update {stop.number}, with checkpoints of {updates}"
        elif ended.code == -9:
            assert stop.how in ("kill", "SIGKILL"), "killed by somebody else"
        else:
            why = f"a training has exit code {ended.code}: {ended.said[-500:]}"
            assert stop.at_call or (self.hurt and "repair" in ended.said), why

    def interpret(self, study: Study) -> tuple[dict[Run, str], dict[Run, list[Any]]]:
        """The runs that are made up, and those of trainings."""
        statuses, rows = super().interpret(study)
        tables, by_id = studies.read_study(study, ("provenance",))
        digests = trainings.digests_by_run(tables)
        trained = {run for seed in SEEDS for run in trainings.runs_of(seed)} & by_id.keys()
        return statuses | {run: by_id[run] for run in trained}, rows | {run: digests.get(run, []) for run in trained}

    def is_right(self, run: Run, status: str, found: list[Any], said: str) -> bool:
        if isinstance(run, int):
            return super().is_right(run, status, found, said)
        whole = trainings.whole_rows()[run]
        return found == whole or (bool(said) and set(found) < set(whole))
