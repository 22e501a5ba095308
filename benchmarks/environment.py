"""Variables that force kernels: they are absent from the environment of a measurement, unless a user keeps them.

The libraries below choose their kernels for the processor when they are loaded. A variable that chooses for them makes
a time that says nothing about the processor. This module imports nothing that reads such a variable.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any

KEEP = "--keep-environment"
FORCING = {
    "OpenBLAS": ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OPENBLAS_BLOCK_FACTOR", "GOTO_BLOCK_FACTOR"),
    "MKL": ("MKL_ENABLE_INSTRUCTIONS", "MKL_CBWR", "MKL_DEBUG_CPU_TYPE"),
    "BLIS": ("BLIS_ARCH_TYPE", "BLIS_MODEL_TYPE", "AOCL_ENABLE_INSTRUCTIONS"),
    "NumPy": ("NPY_DISABLE_CPU_FEATURES", "NPY_ENABLE_CPU_FEATURES"),
    "PyTorch": ("ATEN_CPU_CAPABILITY",),
    "oneDNN": (
        "ONEDNN_MAX_CPU_ISA",
        "ONEDNN_CPU_ISA_HINTS",
        "ONEDNN_DEFAULT_FPMATH_MODE",
        "DNNL_MAX_CPU_ISA",
        "DNNL_CPU_ISA_HINTS",
        "DNNL_DEFAULT_FPMATH_MODE",
    ),
    "Numba": (
        "NUMBA_CPU_NAME",
        "NUMBA_CPU_FEATURES",
        "NUMBA_ENABLE_AVX",
        "NUMBA_DISABLE_INTEL_SVML",
        "NUMBA_OPT",
        "NUMBA_LOOP_VECTORIZE",
        "NUMBA_SLP_VECTORIZE",
        "NUMBA_BOUNDSCHECK",
        "NUMBA_DEBUGINFO",
        "NUMBA_DISABLE_JIT",
    ),
}
"""Library -> variables that change which code it computes with. Those that only make it talk are not here."""

PREPARED = ("XLA_FLAGS", "JAX_PLATFORMS")
"""What `__main__` sets beside the threads."""
_HANDED_ON = "BPTTLAB_BENCHMARKS_UNSET"
"""Tells the process that begins anew what the first one unset; it removes this variable at once."""
_unset: dict[str, str] = {}
_allowed: set[int] = set()
"""The processors that the command was given, once it is bound to one of them."""


def forcing(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables that force kernels, as they are set."""
    return {name: environment[name] for names in FORCING.values() for name in names if name in environment}


def unset() -> dict[str, str]:
    """The variables that were set when the command began, and that `begin_clean` unset."""
    return dict(_unset)


def prepared(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables that the benchmarks set for themselves."""
    from bpttlab.sweeps.blas_threads import VARIABLES

    return {name: environment[name] for name in (*VARIABLES, *PREPARED) if name in environment}


def begin_clean(
    words: Sequence[str],
    environment: MutableMapping[str, str] = os.environ,
    execute: Callable[..., Any] = os.execve,
) -> None:
    """Begins this process anew without the variables that force kernels, if there are any and they are not kept.

    A library reads them when it is loaded, which may have happened already: only a new process is without them.
    """
    _unset.update(json.loads(environment.pop(_HANDED_ON, "{}")))
    found = forcing(environment)
    if found and KEEP not in words:
        rest = {name: value for name, value in environment.items() if name not in found}
        again = [sys.executable, *sys.orig_argv[1:]]
        execute(sys.executable, again, rest | {_HANDED_ON: json.dumps(found)})


def bind_to_one_processor() -> None:
    """One thread in truth: XLA computes a large product with a thread for each processor that the process may use,
    whatever its flags say (JAX 0.10 did so with two)."""
    if hasattr(os, "sched_setaffinity"):
        _allowed.update(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {max(_allowed)})


@contextmanager
def every_processor() -> Iterator[None]:
    """For the start of a command that is timed from outside: it inherits all processors that this one was given."""
    if not _allowed:
        yield
        return
    os.sched_setaffinity(0, _allowed)
    try:
        yield
    finally:
        os.sched_setaffinity(0, {max(_allowed)})
