"""Processes as they are named in files: who wrote one, and whether that process still exists.

    <host><boot><space>-<process>-<begin>       hexadecimal digits: 8 of each hash, the number, the time of its begin

The name of a temporary file begins with the name of its writer, and every shard states it. So what a killed process
left is known at once, without a clock. An age proves nothing: clocks differ, and a process may be suspended for hours.

What can be known: a process of this boot of this machine exists, or does not; an earlier boot of this machine has no
processes. Of another machine or another container nothing is known.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

LIVES, ENDED, UNKNOWN = "lives", "ended", "unknown"

PATTERN = r"[0-9a-f]{24}-[0-9a-f]{1,8}-[0-9a-f]{1,16}"
_NAME = re.compile(r"([0-9a-f]{8})([0-9a-f]{8})([0-9a-f]{8})-([0-9a-f]+)-([0-9a-f]+)")
NO_SPACE = "0" * 8
"""Of a system that has no spaces of processes, and NO_HOST of a machine that has no id of its own."""
NO_HOST = "0" * 8


class Machine(NamedTuple):
    """Hashes of a machine, of its present boot, and of the space in which its processes have their numbers."""

    host: str
    boot: str
    space: str


def name_process() -> str:
    """The name of this process."""
    return _name(os.getpid())


@cache
def _name(process: int) -> str:
    return f"{''.join(find_machine())}-{process:x}-{int(find_begin(process) or 0):x}"


def find_state(name: str) -> str:
    """Whether the process of that name lives, has ended, or cannot be known of here."""
    match = _NAME.fullmatch(name)
    if not match:
        return UNKNOWN
    there, here = Machine(*match.groups()[:3]), find_machine()
    if there.boot != here.boot:
        return ENDED if there.host == here.host != NO_HOST else UNKNOWN
    if there.space != here.space:
        return UNKNOWN
    begin = find_begin(int(match[4], 16))
    return LIVES if begin is not None and int(begin or 0) == int(match[5], 16) else ENDED


@cache
def find_machine() -> Machine:
    """This machine. Two machines with one name differ in the id that their systems were given when installed."""
    own = _first_line("/etc/machine-id")
    space = ""
    with suppress(OSError):
        space = os.readlink("/proc/self/ns/pid")
    host = _digest(platform.node(), own) if re.fullmatch(r"[0-9a-f]{32}", own) else NO_HOST
    boot = _digest(platform.node(), _first_line("/proc/sys/kernel/random/boot_id"))
    return Machine(host, boot, _digest(space) if space else NO_SPACE)


def find_begin(process: int) -> str | None:
    """When a process began, as far as the system tells; None if there is no such process."""
    stated = _first_line(f"/proc/{process}/stat")
    if stated:
        state, *others = stated.rpartition(")")[2].split()
        return None if state in "ZX" else others[18]
    if sys.platform == "win32":  # where os.kill(process, 0) sends Ctrl-C
        return ""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return None
    except OSError:
        pass
    return ""


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode(errors="replace")).hexdigest()[:8]


def _first_line(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").split("\n")[0]
    except OSError:
        return ""
