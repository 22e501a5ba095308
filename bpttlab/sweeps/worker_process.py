"""The life of a worker process: it receives tasks, computes within its limits, and ends with its parent."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from bpttlab.errors import LabError
from bpttlab.sweeps.worker_messages import BEGUN, READY, pack, receive, send, unpickle

BYTES_OF_GIB = 1 << 30


RETIRED = threading.Event()


def retire() -> None:
    """Lets this worker end after its task, with exit code 0; another takes its place."""
    RETIRED.set()


def serve(
    pipe: Connection[Any, Any],
    work: Callable[[Any], Any],
    preload: tuple[str, ...],
    memory: float | None,
    prepare: Callable[[], object] | None = None,
) -> None:
    """The life of a worker."""
    for name in ("SIGINT", "SIGHUP"):  # Ctrl-C and a closed terminal reach the whole group; the parent decides
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    threading.Thread(target=end_with_parent, daemon=True).start()
    for name in preload:  # now, for the limit on threads holds for libraries that are loaded
        importlib.import_module(name)
    said = report_readiness(prepare)
    with threadpool_limits(1), suppress(EOFError, ConnectionError):  # the parent is gone
        send(pipe, pack(limit_memory(memory) if said == READY and memory is not None else said))
        while not RETIRED.is_set():
            task = receive(pipe)
            send(pipe, pack(BEGUN))
            send(pipe, pack(work(unpickle(task))))


def report_readiness(prepare: Callable[[], object] | None) -> str:
    """READY after what a process calls first, or what is wrong with it."""
    try:
        if prepare is not None:
            prepare()
    except LabError as error:
        return str(error)
    return READY


def end_with_parent() -> None:
    """Ends a worker whose parent was killed, even in the middle of an endless computation."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def limit_memory(gib: float) -> str:
    """Makes the system refuse this process more memory than `gib`: READY, or the reason why it cannot.

    The limit is on private writable memory (RLIMIT_DATA). It is reached when the resident memory and all later requests
    together would be `gib`. A limit on the address space would also count reserved memory, some GiB.
    """
    if sys.platform != "linux":
        return f"memory_limit={gib:g} needs Linux"
    import resource  # Windows has no such module

    warm_up()
    resident, writable = (memory_of_this_process(name) for name in ("VmRSS", "VmData"))
    if resident >= gib * BYTES_OF_GIB:
        return f"memory_limit={gib:g} (GiB) is less than the {resident / BYTES_OF_GIB:.2f} that it needs to begin with"
    most = writable + round(gib * BYTES_OF_GIB) - resident
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    return READY


def warm_up() -> None:
    """Makes BLAS allocate its working memory with a first product: it does not return if this is refused later."""
    import numpy as np
    from scipy.linalg import blas

    one = np.ones((256, 256))
    for dtype in ("float32", "float64"):
        typed = one.astype(dtype)
        blas.get_blas_funcs("gemm", (typed,))(1.0, typed, typed @ typed)


def memory_of_this_process(name: str) -> int:
    """A line of /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    (kib,) = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
    return int(kib) * 1024
