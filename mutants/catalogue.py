"""The catalogue: mutants as data, one TOML file for each subject, and how a mutant is applied to the source."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

FOLDER = Path(__file__).parent / "subjects"


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
        experiments: the experiments that are about the quantity that it makes wrong.
    """

    name: str
    file: str
    before: str
    after: str
    experiments: tuple[str, ...] = ()

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


def read_catalogue(folder: Path = FOLDER) -> list[Mutant]:
    """All mutants, sorted by file of the catalogue; a CatalogueError where two have one name."""
    found = [mutant for path in sorted(folder.glob("*.toml")) for mutant in read_subject(path)]
    names = [mutant.name for mutant in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise CatalogueError(f"mutants with the same name: {', '.join(twice)}")
    return found


def read_subject(path: Path) -> list[Mutant]:
    """The mutants of one file; the subject, the name of the file, is put before their names."""
    entries = tomllib.loads(path.read_text(encoding="utf-8"))["mutant"]
    known = {"name", "file", "before", "after", "experiments"}
    for entry in entries:
        if set(entry) - known or known - set(entry) - {"experiments"}:
            raise CatalogueError(
                f"{path.name}: an entry has {', '.join(sorted(entry))}; must have name, file, before, "
                "after, and may have experiments"
            )
    return [
        Mutant(
            name=f"{path.stem}/{entry['name']}",
            file=entry["file"],
            before=entry["before"].strip("\n"),
            after=entry["after"].strip("\n"),
            experiments=tuple(entry.get("experiments", ())),
        )
        for entry in entries
    ]


def choose(mutants: Iterable[Mutant], patterns: Iterable[str]) -> list[Mutant]:
    """Those whose name matches one of the patterns (shell wildcards); all of them without a pattern."""
    patterns, mutants = list(patterns), list(mutants)
    if not patterns:
        return mutants
    for pattern in patterns:
        if not any(fnmatchcase(mutant.name, pattern) for mutant in mutants):
            raise CatalogueError(f"--only {pattern}: matches no mutant; --list shows the names")
    return [mutant for mutant in mutants if any(fnmatchcase(mutant.name, pattern) for pattern in patterns)]
