"""Damage of a study: which stored files are not what was published, and which runs they have."""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bpttlab.errors import DamagedShardError, DamageWarning

if TYPE_CHECKING:
    from bpttlab.store.commits import Commit

SHOWN_RUNS = 3
"""Ids of a damaged file's runs that a message has; `status --json` has all."""

SHOWN_FILES = 20


class Fault(NamedTuple):
    """What is wrong with one file.

    Attributes:
        file: from the study's folder.
        reason: a few words.
        runs: the ids of the runs that it was committed with; empty: not known, or none.
    """

    file: str
    reason: str
    runs: tuple[str, ...] = ()

    def describe(self) -> str:
        """The file, the reason and the runs, for a message."""
        count = f"{len(self.runs)} run{'s' if len(self.runs) > 1 else ''}"
        more = ", …" if len(self.runs) > SHOWN_RUNS else ""
        runs = f"; {count}: {', '.join(self.runs[:SHOWN_RUNS])}{more}" if self.runs else ""
        return f"{self.file} ({self.reason}{runs})"


@dataclass
class Damage:
    """Everything in a study that is not whole.

    Attributes:
        folder: the study's.
        faults: by file.
        commits: the names of readable commits of which a shard is damaged or missing.
        missing: commits that are missing, by file.
        lost: (writer, number) of commits that are missing, or cannot be read.
    """

    folder: Path
    faults: dict[str, Fault] = field(default_factory=dict)
    missing: dict[str, Fault] = field(default_factory=dict)
    commits: set[str] = field(default_factory=set)
    lost: set[tuple[str, int]] = field(default_factory=set)

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
        return f"{self.command} sets it aside, then the same sweep line computes its runs again"

    @property
    def command(self) -> str:
        """The line that repairs the study."""
        results = str(self.folder.parent)
        words = ["bpttlab", "repair", f"study={self.folder.name}"]
        return shlex.join([*words, *([] if results == "results" else [f"results={results}"])])

    def describe(self) -> str:
        """All faults and the remedy, in one line."""
        named = [fault.describe() for fault in self.all[:SHOWN_FILES]]
        more = len(self.all) - SHOWN_FILES
        others = [f"and {more} more files"] if more > 0 else []
        return f"damaged in {self.folder}: {', '.join([*named, *others])}; {self.remedy}"

    def refuse(self, missing: bool = True) -> None:
        """Raises DamagedShardError if anything is damaged, or also if a commit is missing."""
        if self.faults or (missing and self.missing):
            raise DamagedShardError(self.describe())

    def warn(self) -> None:
        """Warns of what is damaged: everything else is read."""
        if self:
            warnings.warn(f"left out: {self.describe()}", DamageWarning, stacklevel=3)
