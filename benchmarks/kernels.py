"""Every BLAS that is loaded: its library, version, kernel and threads."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from typing import Any

import scipy.linalg  # noqa: F401  (loads SciPy's BLAS, which JAX and Numba use, too)
from threadpoolctl import threadpool_info

from benchmarks.peers import peers
from bpttlab.store.provenance import name_blas

Library = dict[str, Any]
_OWNER = re.compile(r"[/\\](numpy|scipy|torch|jaxlib)(?:\.libs)?[/\\]")
_MKL = re.compile(r"MKL_VERBOSE .*?MKL (.+?) Product .*? architecture (.+?) processors")
_PRODUCT = "import torch; torch.ones(64, 64, dtype=torch.float64) @ torch.ones(64, 64, dtype=torch.float64)"


def loaded() -> list[Library]:
    """Of NumPy, SciPy, PyTorch and JAX as far as they are installed; all are loaded by now."""
    found = peers()
    libraries = [from_threadpoolctl(info) for info in threadpool_info() if info["user_api"] == "blas"]
    libraries.sort(key=lambda library: str(library["of"]))
    if "PyTorch" in found and not any(library["of"] == "torch" for library in libraries):
        libraries.append(of_torch(found["PyTorch"]))
    if "JAX" in found:
        libraries.append(of_jax(found["JAX"]))
    return libraries


def from_threadpoolctl(info: dict[str, Any]) -> Library:
    """Without the file's path, which names a place."""
    owner = _OWNER.search(info["filepath"])
    return {
        "of": owner[1] if owner else "system",
        "library": info["internal_api"],
        "version": info["version"],
        "kernel": info.get("architecture"),
        "threads": info["num_threads"],
    }


def of_torch(peer: Any) -> Library:
    """PyTorch's wheels contain MKL, which threadpoolctl cannot see: it names its own kernels, if asked to talk."""
    version, kernel = mkl()
    return {"of": "torch", "library": "mkl", "version": version, "kernel": kernel, "threads": peer.threads()}


@cache
def mkl() -> tuple[str | None, str | None]:
    """Version and kernel that PyTorch's MKL prints of itself in a process of its own; None where there is no MKL."""
    environment = {**os.environ, "MKL_VERBOSE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _PRODUCT], env=environment, capture_output=True, text=True, check=False
    )
    return read_mkl(done.stdout)


def read_mkl(said: str) -> tuple[str | None, str | None]:
    """Version and kernel, from what MKL prints with MKL_VERBOSE=1."""
    found = _MKL.search(said)
    return (found[1], found[2].removesuffix(" enabled")) if found else (None, None)


def of_jax(peer: Any) -> Library:
    """XLA compiles its products for the processor, and takes its LAPACK from SciPy."""
    threads = 1 if "intra_op_parallelism_threads=1" in os.environ.get("XLA_FLAGS", "") else None
    return {"of": "jax", "library": "xla", "version": peer.VERSION, "kernel": None, "threads": threads}


def describe(library: Library) -> str:
    """ "numpy: openblas 0.3.31 SkylakeX, 1 thread"."""
    named = name_blas({**library, "internal_api": library["library"], "architecture": library["kernel"]})
    count = library["threads"]
    threads = "" if count is None else f", {count} thread{'' if count == 1 else 's'}"
    return f"{library['of']}: {named}{threads}"
