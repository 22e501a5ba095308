"""The files that come with the package: configuration and experiments.

A wheel has them inside the package; a checkout, or an editable installation of one, has them beside it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bpttlab.errors import LabError

PACKAGE = Path(__file__).resolve().parent


def conf() -> Path:
    """The folder of config.yaml and its groups."""
    return _find_folder("conf", "config.yaml")


def experiments() -> Path:
    """The folder with one folder for each experiment."""
    return _find_folder("experiments", "")


def analyses() -> dict[str, Path]:
    """The experiments that have an analysis, by name."""
    return {path.parent.name: path for path in sorted(experiments().glob("*/analysis.py"))}


def experiment_in(words: Iterable[str]) -> str | None:
    """The experiment that a command names, if it names exactly one."""
    named = [word.partition("=")[2] for word in words if word.startswith("experiment=")]
    return named[0] if len(named) == 1 and named[0].isidentifier() else None


def _find_folder(folder: str, witness: str) -> Path:
    """The folder that contains `witness`, in the package or beside it."""
    for parent in (PACKAGE, PACKAGE.parent):
        if (parent / folder / witness).exists():
            return parent / folder
    raise LabError(f"{PACKAGE.parent}: the folder '{folder}' is missing; install bpttlab again")


def in_checkout() -> bool:
    """Whether the package is in its repository, installed or not."""
    return not (PACKAGE / "conf").exists()
