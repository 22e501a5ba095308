"""The machine and the versions: enough to compare two results, and nothing that identifies a place or a person."""

from __future__ import annotations

import os
import platform
import re
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from benchmarks import environment, kernels
from benchmarks.peers import peers
from bpttlab.store.provenance import cpu_model, package_version

OTHERS = ("numpy", "scipy", "pandas", "numba")


def described() -> dict[str, Any]:
    """CPU model, processors, every BLAS, versions, environment: what does not change from one workload to the next."""
    return {
        "cpu": cpu_model(),
        "processors": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "blas": kernels.loaded(),
        "versions": versions(),
        "environment": {"set": environment.prepared(), "kept": environment.forcing()},
    }


def circumstances() -> dict[str, Any]:
    """The day, how many processes compute or want to, and the variables that were unset.

    Where other processes compute, absolute times are of a shared machine.
    """
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "load_before": round(os.getloadavg()[0], 1),
        "unset": environment.unset(),
    }


def versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "bpttlab": package_version()}
    for name in OTHERS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found | {name.lower(): peer.VERSION for name, peer in peers().items() if hasattr(peer, "VERSION")}


def slug(cpu: str) -> str:
    """A name for a file: "AMD EPYC 7763 64-Core" -> "amd-epyc-7763-64-core"."""
    return re.sub(r"[^a-z0-9]+", "-", cpu.lower().replace("(r)", "").replace("(tm)", "")).strip("-")
