"""Where the files are that come with the package: configuration and experiments.

A wheel holds them inside the package; a checkout, or an editable installation of one, beside it.
"""

from __future__ import annotations

from pathlib import Path

from bpttlab.errors import LabError

PACKAGE = Path(__file__).resolve().parent


def conf() -> Path:
    """The folder of config.yaml and its groups."""
    return shipped("conf", "config.yaml")


def experiments() -> Path:
    """The folder with one folder for each experiment."""
    return shipped("experiments", "")


def analyses() -> dict[str, Path]:
    """The experiments that have an analysis, by name."""
    return {path.parent.name: path for path in sorted(experiments().glob("*/analysis.py"))}


def shipped(folder: str, witness: str) -> Path:
    """The folder, wherever it is that `witness` is in it."""
    for parent in (PACKAGE, PACKAGE.parent):
        if (parent / folder / witness).exists():
            return parent / folder
    raise LabError(f"{PACKAGE.parent}: the folder '{folder}' is missing; install bpttlab again")


def in_checkout() -> bool:
    """Whether the package stands in its repository, which need not be installed."""
    return not (PACKAGE / "conf").exists()
