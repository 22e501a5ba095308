"""Damage of a study: which stored files are not what was published, and which runs they have."""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bpttlab.errors import DamagedShardError, DamageWarning
from bpttlab.store.study_names import find_words

if TYPE_CHECKING:
    from bpttlab.store.commits import Commit

SHOWN_RUNS = 3
"""Ids of a damaged file's runs that a message has; `status --json` has all."""

SHOWN_FILES = 10
"""Files that a message names; `status` has all. With their runs they are shorter than the longest message."""


class Fault(NamedTuple):
    """What is wrong with one file.

    Attributes:
        file: from the study's folder.
        reason: a few words.
        runs: the ids of the runs that it was committed with; empty: not known, or none (`has_runs`).
    """

    file: str
    reason: str
    runs: tuple[str, ...] = ()

    @property
    def has_runs(self) -> bool:
        """Whether runs are lost with the file; they are not with a record that stands beside them."""
        return not self.file.endswith(".json")

    def describe(self) -> str:
        """The file, the reason and the runs, for a message."""
        return f"{self.file} ({self.reason}; {self.describe_runs()})"

    def describe_runs(self) -> str:
        """2 runs: 0a1b…, 2c3d…"""
        if not self.runs:
            return "its runs are not known" if self.has_runs else "no run depends on it"
        count = f"{len(self.runs)} run{'s' if len(self.runs) > 1 else ''}"
        more = ", …" if len(self.runs) > SHOWN_RUNS else ""
        return f"{count}: {', '.join(self.runs[:SHOWN_RUNS])}{more}"


@dataclass
class Damage:
    """Everything in a study that is not whole.

    Attributes:
        folder: the study's.
        faults: by file.
        commits: the names of readable commits of which a shard is damaged or missing.
        missing: commits that are missing, by file.
        lost: (writer, number) of commits that are missing, or cannot be read.
        replaced: commits that are missing, and that nobody misses: all their runs are stored again.
        stored: the ids of the runs that are stored in whole commits, where they were looked for.
    """

    folder: Path
    faults: dict[str, Fault] = field(default_factory=dict)
    missing: dict[str, Fault] = field(default_factory=dict)
    commits: set[str] = field(default_factory=set)
    lost: set[tuple[str, int]] = field(default_factory=set)
    replaced: list[Fault] = field(default_factory=list)
    stored: Collection[str] = ()

    def add(self, path: Path, reason: str, commits: Iterable[Commit] = (), runs: Sequence[str] = ()) -> None:
        """Notes a file, its fault, and the commits that name it, whose runs it has."""
        its = list(commits)
        self.commits.update(commit.name for commit in its)
        found = [*runs, *(run_id for commit in its for run_id in commit.run_ids)]
        self.note(Fault(str(path.relative_to(self.folder)), reason, tuple(dict.fromkeys(found))))

    def note(self, fault: Fault) -> None:
        self.faults[fault.file] = fault

    def __bool__(self) -> bool:
        return bool(self.all)

    @property
    def all(self) -> list[Fault]:
        """What is wrong with files, and the commits that are missing."""
        return [*self.faults.values(), *self.missing.values()]

    @property
    def runs(self) -> tuple[str, ...]:
        """The runs that damaged files have, as far as known."""
        return tuple(dict.fromkeys(run_id for fault in self.all for run_id in fault.runs))

    @property
    def remedy(self) -> str:
        """What the user can do."""
        it, its = ("them", "their") if len(self.all) > 1 else ("it", "its")
        return f"{self.command} sets {it} aside{self._describe_next(its)}"

    def _describe_next(self, its: str) -> str:
        """What is to be done after a repair."""
        if set(self.runs).difference(self.stored):
            return f", then the same sweep line computes {its} runs again"
        if any(fault.has_runs and not fault.runs for fault in self.all):
            return ", then bpttlab status names the sweep lines that lack runs, if any"
        return "; no run is missing"

    @property
    def command(self) -> str:
        """The line that repairs the study."""
        return shlex.join(["bpttlab", "repair", *find_words(self.folder.name, str(self.folder.parent))])

    def describe(self) -> str:
        """All faults and the remedy, in one line."""
        named = [fault.describe() for fault in self.all[:SHOWN_FILES]]
        more = len(self.all) - SHOWN_FILES
        others = [f"and {more} more (bpttlab status names all)"] if more > 0 else []
        return f"damaged in {self.folder}: {', '.join([*named, *others])}; to mend it: {self.remedy}"

    def refuse(self, missing: bool = True) -> None:
        """Raises DamagedShardError if anything is damaged, or also if a commit is missing."""
        if self.faults or (missing and self.missing):
            raise DamagedShardError(self.describe())

    def warn(self) -> None:
        """Warns of what is damaged: everything else is read."""
        if self:
            warnings.warn(f"left out: {self.describe()}", DamageWarning, stacklevel=3)
