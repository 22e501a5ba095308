"""Whether a process of this machine computes, waits or is stopped, as far as the system tells.

A process that is stopped (SIGSTOP) or waits for something that never comes sends no sign, and does not end. A heartbeat
of its own would not help: a compiled loop holds the interpreter's lock for as long as it runs. The system knows more.
"""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

STOPPED_SECONDS = 30.0
"""Seconds that a process may be stopped."""

WAITING_SECONDS = 900.0
"""Seconds that a process may wait without using a processor, and without a process of its own that may use one."""

LOOKS = 15
"""Looks at a process in the shorter of these times."""


@dataclass
class Watch:
    """How long a process has been stopped, or has waited. Time in which this process did not look does not count.

    Attributes:
        pid: the process.
        stopped, silent: seconds.
    """

    pid: int
    stopped: float = 0.0
    silent: float = 0.0
    _looked: float = field(default_factory=time.monotonic)
    _used: int | None = None

    def judge(self) -> str | None:
        """Looks at the process, if it is time to: why it should not be waited for any longer, or None."""
        between = min(STOPPED_SECONDS, WAITING_SECONDS) / LOOKS
        passed = time.monotonic() - self._looked
        if passed < between:
            return None
        self._looked += passed
        self._add(min(passed, 2 * between))
        if self.stopped >= STOPPED_SECONDS:
            return f"its process was stopped for {STOPPED_SECONDS:g} seconds (SIGSTOP), and killed"
        if self.silent >= WAITING_SECONDS:
            return f"its process used no processor for {WAITING_SECONDS:g} seconds, and was killed"
        return None

    def _add(self, passed: float) -> None:
        state, used = look_at(self.pid)
        self.stopped = self.stopped + passed if state == "T" else 0.0
        waits = state == "S" and used is not None and used == self._used and not has_children(self.pid)
        self.silent = self.silent + passed if waits else 0.0
        self._used = used


def look_at(pid: int) -> tuple[str, int | None]:
    """The state of a process, a letter as `ps` has it or "", and the ticks of processor time that it has used."""
    if not Path("/proc/self/stat").exists():
        return ask_ps(pid), None
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return (fields[0], int(fields[11]) + int(fields[12])) if len(fields) > 12 else ("", None)


def ask_ps(pid: int) -> str:
    """The state of a process where there is no /proc; "" where there is no such process, or no `ps`."""
    if sys.platform == "win32":
        return ""
    with suppress(OSError, subprocess.SubprocessError):
        command = ["ps", "-o", "state=", "-p", str(pid)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
        return done.stdout.strip()[:1]
    return ""


def has_children(pid: int) -> bool:
    """Whether a process has started others, for which it may wait."""
    return any(_read(str(path)).strip() for path in Path(f"/proc/{pid}/task").glob("*/children"))


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
