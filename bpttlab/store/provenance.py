"""Provenance: everything that may differ between two equal runs."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import scipy
from threadpoolctl import threadpool_info


def provenance(
    seconds: float, started: str, scheme_seconds: float | None = None, plugins: Sequence[str] = ()
) -> dict[str, Any]:
    """The row of the table `provenance`, without the run's id.

    Args:
        seconds: time of the run.
        started: when it began, ISO 8601 in UTC.
        scheme_seconds: time of one gradient by its scheme, if it was measured.
        plugins: the user's own files whose classes it used, as they were named.
    """
    own = {"plugin_files": ", ".join(plugins) or None}
    measured = {"seconds": seconds, "scheme_seconds": scheme_seconds, "started": started}
    return {**measured, **surroundings(), **blas(), **own}


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
    libraries = [library for library in threadpool_info() if library["user_api"] == "blas"]
    libraries.sort(key=lambda library: "numpy" not in library["filepath"])  # SciPy may bring one of its own
    for library in libraries[:1]:
        kernel = " ".join(str(library.get(part) or "") for part in ("internal_api", "version", "architecture"))
        return {"blas": kernel.strip(), "blas_threads": int(library["num_threads"])}
    return {"blas": None, "blas_threads": None}


@cache
def package_version() -> str:
    try:
        return version("bpttlab")
    except PackageNotFoundError:  # a checkout on the path, not installed
        return "not installed"


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
