"""What the environment of a user may decide, and what it may not.

Figures are files: they need no window and depend on no setting of a user's matplotlib. Workers are as many as the
processors that this process may use, of which the system, a container or a job's scheduler may leave it few.
"""

from __future__ import annotations

import logging
import math
import os
import stat
import sys
import tempfile
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from bpttlab.errors import LabError

# ------------------------------------------------------------------ matplotlib

BACKEND = "MPLBACKEND"
"""It often names a backend that this Python does not have: a notebook passes its own to every process that it starts.
Matplotlib then refuses to be imported."""


def choose_file_backend() -> None:
    """Figures that pyplot makes in this process, such as a user's own, need no window.

    Without a folder of its own matplotlib takes a temporary one, which is right for a command and needs no warning.
    """
    os.environ[BACKEND] = "agg"
    logging.getLogger("matplotlib").addFilter(_is_not_about_folders)


def _is_not_about_folders(record: logging.LogRecord) -> bool:
    text = record.getMessage()
    return "MPLCONFIGDIR" not in text and "mkdir -p failed" not in text


def import_matplotlib() -> None:
    """Imports matplotlib, with the backend of the environment where there is such a one, else with its default.

    Raises:
        LabError: it cannot be imported.
    """
    if "matplotlib" in sys.modules:
        return
    try:
        _import_without_backend()
    except Exception as error:  # a matplotlibrc that is no text, no folder for its files
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise LabError(
            f"figures cannot be drawn: matplotlib cannot be imported: {reason}; it reads the file matplotlibrc of the "
            "current folder, MATPLOTLIBRC and MPLCONFIGDIR"
        ) from error


def _import_without_backend() -> None:
    requested = os.environ.pop(BACKEND, None)
    try:
        import matplotlib
    finally:
        if requested is not None:
            os.environ[BACKEND] = requested
    if requested and _may_exist(requested):
        with suppress(ValueError):
            matplotlib.rcParams["backend"] = requested


def _may_exist(backend: str) -> bool:
    """Whether the package of "module://package.name" is installed; other names are checked by matplotlib."""
    package = backend.removeprefix("module://").split(".")[0]
    return not backend.startswith("module://") or find_spec(package) is not None


# ------------------------------------------------------------------ folders


def temporary_folder() -> Path | None:
    """The folder of temporary files; None if there is none that can be written.

    Where Python finds none it takes the current folder, which is not for such files unless it is one of them.
    """
    usual = {"/tmp", "/var/tmp", "/usr/tmp", *(os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP"))}
    try:
        found = tempfile.gettempdir()
        return Path(found) if found in usual or not os.path.samefile(found, os.curdir) else None
    except OSError:
        return None


def private_folder(name: str) -> Path | None:
    """A folder for files that must be nobody else's, among the temporary files; it is made, and None if it cannot be.

    Code is read from it, so that one that another user made, or may write to, is refused.
    """
    above, user = temporary_folder(), os.getuid() if hasattr(os, "getuid") else "user"
    if above is None:
        return None
    folder = above / f"bpttlab-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        if not is_private(folder):
            return None
        (folder / name).mkdir(mode=0o700, exist_ok=True)
    except OSError:
        return None
    return folder / name


def is_private(folder: Path) -> bool:
    """Whether it is a folder, no link, that its owner alone can use, and whether that is this user."""
    known = folder.lstat()
    if not stat.S_ISDIR(known.st_mode):
        return False
    return not hasattr(os, "getuid") or (known.st_uid == os.getuid() and not known.st_mode & 0o077)


# ------------------------------------------------------------------ processors


def processors(root: Path = Path("/")) -> int:
    """Those that this process may use, at least 1: of its affinity, and of the quotas of its control groups."""
    available = _available_processors()
    quotas = [quota for group in control_groups(root) if (quota := read_quota(group)) is not None]
    return max(1, min([available, *(math.ceil(quota) for quota in quotas)]))


def _available_processors() -> int:
    if hasattr(os, "process_cpu_count"):  # from Python 3.13 on; it also reads PYTHON_CPU_COUNT
        return os.process_cpu_count() or 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def control_groups(root: Path, controller: str = "cpu") -> list[Path]:
    """The folders of this process's control groups and of those above them, which exist on Linux alone."""
    mounted = root / "sys" / "fs" / "cgroup"
    try:
        lines = (root / "proc" / "self" / "cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    found: list[Path] = []
    for line in lines:  # hierarchy:controllers:path
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not controllers or controller in controllers.split(","):
            top = mounted / controllers
            group = top / path.strip("/")
            found += [group, *(above for above in group.parents if above.is_relative_to(top))]
    return found


def read_quota(group: Path) -> float | None:
    """The processors that a control group may use (`cpu.max`, or version 1); None: no limit, or none that is known."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            words = [word for name in names for word in (group / name).read_text(encoding="ascii").split()]
            quota, period = map(float, words)
        except (OSError, ValueError):  # no such file, or "max 100000"
            continue
        return quota / period if quota > 0 and period > 0 else None
    return None


# ------------------------------------------------------------------ memory


def memory_bytes(root: Path = Path("/")) -> float:
    """The memory that this process may use: of the machine, and the limits of its control groups; inf: not known."""
    try:
        pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return math.inf
    limits = [limit for group in control_groups(root, "memory") if (limit := read_memory_limit(group)) is not None]
    return min([pages * size, *limits])


def read_memory_limit(group: Path) -> int | None:
    """The bytes that a control group may use (`memory.max`, or version 1); None: no limit, or none that is known."""
    for name in ("memory.max", "memory.limit_in_bytes"):
        try:
            return int((group / name).read_text(encoding="ascii"))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return None
