"""Provenance: everything that may differ between two equal runs."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import scipy
from threadpoolctl import threadpool_info

NOT_INSTALLED = "not installed"


def provenance(
    seconds: float,
    started: str,
    scheme_seconds: float | None = None,
    plugins: Sequence[str] = (),
    engine: str = "numpy",
) -> dict[str, Any]:
    """The row of the table `provenance`, without the run's id.

    Args:
        seconds: time of the run.
        started: when it began, ISO 8601 in UTC.
        scheme_seconds: time of one gradient by its scheme, if it was measured.
        plugins: the user's own files whose classes it used, as they were named.
        engine: whose loops it used.
    """
    own = {"plugin_files": ", ".join(plugins) or None}
    measured = {"seconds": seconds, "scheme_seconds": scheme_seconds, "started": started}
    return {**measured, **surroundings(), **blas(), "numba": compiler(engine), **own}


def deciding_facts(engine: str) -> dict[str, Any] | None:
    """The columns that decide the bytes of a run, as this installation would fill them: equal facts, equal bytes.

    None where nobody knows which code this is: the checkout has changes that were not committed, or it has no version.
    """
    here = surroundings()
    if here["git_dirty"] or (here["git_commit"] is None and here["bpttlab"] == NOT_INSTALLED):
        return None
    return {**here, "blas": name_blas(find_blas()), "blas_threads": 1, "numba": compiler(engine)}


@cache
def surroundings() -> dict[str, Any]:
    """The values that do not change in the life of a process."""
    commit, dirty = git_state(Path(__file__).resolve().parent)
    return {
        "bpttlab": package_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "python": platform.python_version(),
        "cpu": cpu_model(),
        "git_commit": commit,
        "git_dirty": dirty,
        "host_kind": f"{platform.system()} {platform.machine()}",
    }


@cache
def blas() -> dict[str, Any]:
    """The BLAS library of NumPy and its number of threads (a worker sets one before anything is computed)."""
    library = find_blas()
    return {"blas": name_blas(library), "blas_threads": None if library is None else int(library["num_threads"])}


def find_blas() -> Mapping[str, Any] | None:
    """The BLAS library of NumPy as it is now, if it is one that is known."""
    libraries = [library for library in threadpool_info() if library["user_api"] == "blas"]
    libraries.sort(key=lambda library: "numpy" not in library["filepath"])  # SciPy may bring one of its own
    return libraries[0] if libraries else None


def name_blas(library: Mapping[str, Any] | None) -> str | None:
    """A BLAS library and the kernel that it chose."""
    if library is None:
        return None
    return " ".join(str(library.get(part) or "") for part in ("internal_api", "version", "architecture")).strip()


@cache
def compiler(engine: str) -> str | None:
    """The version of Numba, if it has compiled the loops of an engine."""
    return version("numba") if engine == "numba" else None


@cache
def package_version() -> str:
    try:
        return version("bpttlab")
    except PackageNotFoundError:  # a checkout on the path
        return NOT_INSTALLED


def cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def git_state(folder: Path) -> tuple[str | None, bool | None]:
    """Commit of the checkout that the code runs from, and whether it has changes; None if the package is installed."""
    if not (folder.parent / ".git").exists():
        return None, None
    try:
        commit = git(folder, "rev-parse", "HEAD")
        changed = git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None, None
    return commit, bool(changed)


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    others = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}  # a hook's repository
    done = subprocess.run(
        command, env=others, capture_output=True, encoding="utf-8", errors="replace", check=True, timeout=10
    )
    return done.stdout.strip()
