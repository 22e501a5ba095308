"""The command in forked processes: each begins in milliseconds, may be killed, and leaves nothing behind.

A process that has imported bpttlab forks itself. The child waits until its tracer is there, if it has one, runs the
command and ends. Children die with their parent (PR_SET_PDEATHSIG), so that Ctrl-C leaves none.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeVar

from faults.needs import need_strace

S = TypeVar("S")
T = TypeVar("T")

CRASHED = 70
"""The exit code of a child whose work raised an exception."""

SECONDS = 120.0
"""How long a child may take before it is killed; it then counts as one that hangs."""

_PR_SET_PDEATHSIG = 1
_PR_SET_PTRACER = 0x59616D61


class Ended(NamedTuple):
    """A child that has ended.

    Attributes:
        code: its exit code; -9: killed by SIGKILL.
        said: what it wrote to stdout and stderr.
        hung: whether it took longer than SECONDS.
    """

    code: int
    said: str
    hung: bool = False

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL and not self.hung


def run(
    work: Callable[[], int],
    messages: Path,
    log: Path | None = None,
    inject: Sequence[str] = (),
    kill_after: float | None = None,
) -> Ended:
    """Runs work, which returns an exit code, in a child.

    Args:
        messages: the file for what it writes.
        log: the file for its system calls; None: it is not traced.
        inject: arguments of strace beside that.
        kill_after: seconds after which it is killed.
    """
    ready, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(go)
        _become_child(work, messages, ready)
    os.close(ready)
    try:
        with _traced(pid, log, inject):
            os.write(go, b"x")
            status, hung = _wait(pid, kill_after)
    finally:
        os.close(go)
    return Ended(os.waitstatus_to_exitcode(status), messages.read_text(encoding="utf-8", errors="replace"), hung)


def _wait(pid: int, kill_after: float | None) -> tuple[int, bool]:
    """The status of a child that has ended, and whether it was killed because it took too long."""
    until = time.monotonic() + (SECONDS if kill_after is None else kill_after)
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status, False
        if time.monotonic() > until:
            os.kill(pid, signal.SIGKILL)
            return os.waitpid(pid, 0)[1], kill_after is None
        time.sleep(0.002)


def _become_child(work: Callable[[], int], messages: Path, ready: int) -> NoReturn:
    code = CRASHED
    try:
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        libc.prctl(_PR_SET_PTRACER, -1)
        descriptor = os.open(messages, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.read(ready, 1)
        code = work()
        sys.stdout.flush()
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code)


@contextmanager
def _traced(pid: int, log: Path | None, inject: Sequence[str]) -> Iterator[None]:
    """strace, attached to the process, until that ends."""
    if log is None:
        yield
        return
    words = [need_strace(), "-q", "-y", "-s", "0", "-o", str(log), "-p", str(pid), *inject]
    null = subprocess.DEVNULL
    with subprocess.Popen(words, stdin=null, stdout=null, stderr=subprocess.PIPE) as tracer:
        while not _has_tracer(pid):
            if tracer.poll() is not None:
                os.kill(pid, signal.SIGKILL)
                reason = (tracer.stderr.read() if tracer.stderr else b"").decode(errors="replace").strip()
                raise RuntimeError(f"strace does not attach: {reason}")
            time.sleep(0.001)
        yield


def _has_tracer(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    return "TracerPid:\t0\n" not in status


def call(function: Callable[..., T], *arguments: Any) -> T:
    """The result of a function that ran in a child: what it reads and imports stays there."""
    receive, send = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(receive)
        _answer(function, arguments, send)
    os.close(send)
    with os.fdopen(receive, "rb") as file:
        data = file.read()
    os.waitpid(pid, 0)
    answer: tuple[bool, Any] = pickle.loads(data) if data else (False, "the process died")
    if not answer[0]:
        raise RuntimeError(f"{function.__name__}: {answer[1]}")
    result: T = answer[1]
    return result


def _answer(function: Callable[..., Any], arguments: Sequence[Any], send: int) -> NoReturn:
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        try:
            result = (True, function(*arguments))
        except BaseException:
            result = (False, traceback.format_exc())
        with os.fdopen(send, "wb") as file:
            pickle.dump(result, file)
    finally:
        os._exit(0)


# ------------------------------------------------------------------ several at a time


def run_all(work: Callable[[S], T], items: Iterable[S], jobs: int) -> Iterator[T]:
    """The results of work on each item, as they come; so many at a time, in processes that end with this one."""
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("fork"), initializer=_die_with_parent)
    try:
        for future in as_completed([pool.submit(work, item) for item in items]):
            yield future.result()
        pool.shutdown()
    finally:
        for process in multiprocessing.active_children():
            process.kill()
        pool.shutdown(wait=False, cancel_futures=True)


def _die_with_parent() -> None:
    """A process that ends when its parent does, and leaves Ctrl-C to it."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
