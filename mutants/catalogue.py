"""The catalogue: mutants as data, one TOML file for each subject, and how a mutant is applied to the source.

The subjects in SUBJECTS are parts of the package, and `bpttlab verify` must find their mutants. Those in EXPERIMENTS
are experiments: a file also has `sweeps`, and a claim of the experiment must fail for each mutant.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

SUBJECTS = Path(__file__).parent / "subjects"
EXPERIMENTS = Path(__file__).parent / "experiments"


class CatalogueError(Exception):
    """A mutant that cannot be applied as it is written."""


@dataclass(frozen=True)
class Mutant:
    """One fault.

    Attributes:
        name: unique; subject, a slash, and a few words.
        file: the source file, relative to the folder that holds `bpttlab`.
        before: text that occurs exactly once in that file.
        after: the text in its place.
        sweeps: the lines of `bpttlab sweep` whose study the claims of the experiment are checked on; none where the
            subject is no experiment.
    """

    name: str
    file: str
    before: str
    after: str
    sweeps: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        return self.name.split("/")[0]

    def applied_to(self, source: str) -> str:
        """The source with the fault in it; a CatalogueError where the text is not there exactly once."""
        occurrences = source.count(self.before)
        if occurrences != 1:
            raise CatalogueError(
                f"mutant {self.name}: its text occurs {occurrences} times in {self.file}; must occur exactly once:\n"
                f"{self.before}"
            )
        if self.before == self.after:
            raise CatalogueError(f"mutant {self.name}: the text after is the text before")
        return source.replace(self.before, self.after)

    def check(self, root: Path) -> None:
        """Raises a CatalogueError where the mutant does not apply to the source below `root`."""
        path = root / self.file
        if not path.is_file():
            raise CatalogueError(f"mutant {self.name}: there is no file {self.file}")
        self.applied_to(path.read_text(encoding="utf-8"))

    def apply(self, root: Path) -> None:
        """Writes the fault into the copy of the source below `root`."""
        path = root / self.file
        path.write_text(self.applied_to(path.read_text(encoding="utf-8")), encoding="utf-8")


def read_catalogue(folder: Path = SUBJECTS) -> list[Mutant]:
    """All mutants, sorted by file of the catalogue; a CatalogueError where two have one name."""
    found = [mutant for path in sorted(folder.glob("*.toml")) for mutant in read_subject(path)]
    names = [mutant.name for mutant in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise CatalogueError(f"mutants with the same name: {', '.join(twice)}")
    return found


def read_subject(path: Path) -> list[Mutant]:
    """The mutants of one file; the subject, the name of the file, is put before their names."""
    read = tomllib.loads(path.read_text(encoding="utf-8"))
    refuse_unknown(path, "the file", read, {"mutant"}, {"sweeps"})
    sweeps = tuple(read.get("sweeps", ()))
    return [read_mutant(path, entry, sweeps) for entry in read["mutant"]]


def read_mutant(path: Path, entry: dict[str, str], sweeps: tuple[str, ...]) -> Mutant:
    refuse_unknown(path, "an entry", entry, {"name", "file", "before", "after"})
    before, after = (entry[key].strip("\n") for key in ("before", "after"))
    return Mutant(f"{path.stem}/{entry['name']}", entry["file"], before, after, sweeps)


def refuse_unknown(
    path: Path, what: str, found: dict[str, Any], required: set[str], optional: Iterable[str] = ()
) -> None:
    """Raises a CatalogueError where a key is missing or is none that there is."""
    if required - set(found) or set(found) - required - set(optional):
        may = f", and may have {', '.join(sorted(optional))}" if optional else ""
        raise CatalogueError(
            f"{path.name}: {what} has {', '.join(sorted(found))}; must have {', '.join(sorted(required))}{may}"
        )


def choose(mutants: Iterable[Mutant], patterns: Iterable[str]) -> list[Mutant]:
    """Those whose name matches one of the patterns (shell wildcards); all of them without a pattern."""
    patterns, mutants = list(patterns), list(mutants)
    if not patterns:
        return mutants
    for pattern in patterns:
        if not any(fnmatchcase(mutant.name, pattern) for mutant in mutants):
            raise CatalogueError(f"--only {pattern}: matches no mutant; --list shows the names")
    return [mutant for mutant in mutants if any(fnmatchcase(mutant.name, pattern) for pattern in patterns)]
