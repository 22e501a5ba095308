"""One worker as its parent sees it: a process, the pipe to it, a thread that talks to it, and its start and end."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from bpttlab.processes import find_begin
from bpttlab.sweeps.fork_server import WITHOUT, StartError, describe_refusal, no_interruption
from bpttlab.sweeps.process_state import Watch
from bpttlab.sweeps.worker_messages import READY, MessageError, receive, send, unpickle

TaskType = TypeVar("TaskType")

PATIENCE = 5.0
"""Seconds in which a process that was told to end has to."""
LOOK_SECONDS = 0.25
"""Between two looks at a worker that is starting."""
NOTICING_SECONDS = 2.0
"""In which the thread of a worker notices its end."""
REPORT_SECONDS = 0.5
"""In which the fork server tells how a process has ended; one that was stopped or killed tells nothing."""
RAISED = 1
"""The exit code of a process that an exception has ended."""
UNKNOWN_CODE = 255
"""The exit code that multiprocessing gives a process if the server that forked it has ended."""


class InterruptedStartError(StartError):
    """A worker ended while it started, or the system refused it for now: another attempt may succeed."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"a worker process cannot start: {reason}; {WITHOUT}")
        self.reason = reason


@dataclass(eq=False)
class Worker(Generic[TaskType]):
    """One process, the pipe to it, the task that it has, and when that should be done.

    Attributes:
        inbox: packed tasks for the thread that talks to the process; None ends the thread.
        born: what tells the process from a later one of its number.
        begun: whether the process has received its task.
        missed: when it was first noticed that there is no such process.
    """

    process: BaseProcess
    pipe: Connection[Any, Any]
    inbox: SimpleQueue[bytes | None] = field(default_factory=SimpleQueue)
    task: TaskType | None = None
    deadline: float | None = None
    begun: bool = False
    born: str | None = field(init=False)
    watch: Watch = field(init=False)
    missed: float | None = None

    def __post_init__(self) -> None:
        self.born = find_begin(self.pid)
        self.watch = Watch(self.pid)

    @property
    def pid(self) -> int:
        return self.process.pid or 0

    @property
    def lives(self) -> bool:
        """Whether there is such a process. multiprocessing takes it for dead if only its fork server is."""
        return self.born is not None and find_begin(self.pid) == self.born

    @property
    def is_lost(self) -> bool:
        """Whether it has died, and its thread has had time to notice: a process of its own may hold its pipe open."""
        if self.lives or self.born is None:
            self.missed = None
            return False
        self.missed = self.missed or time.monotonic()
        return time.monotonic() - self.missed > NOTICING_SECONDS

    def give(self, task: TaskType, packed: bytes, seconds: float | None) -> None:
        """Sends a task, which should be done in so many seconds."""
        self.task, self.begun, self.watch = task, False, Watch(self.pid)
        self.deadline = None if seconds is None else time.monotonic() + seconds
        self.inbox.put(packed)


@dataclass(frozen=True)
class Broken:
    """The end of a conversation.

    Attributes:
        reason: why the worker must be killed; None: it has ended.
    """

    reason: str | None = None


Heard = bytes | Broken


def converse(worker: Worker[Any], greeting: SimpleQueue[Heard], heard: SimpleQueue[tuple[Worker[Any], Heard]]) -> None:
    """Talks to a worker until it ends, in a thread; its first message goes into a queue of its own."""
    try:
        greeting.put(receive(worker.pipe))
        while (task := worker.inbox.get()) is not None:
            send(worker.pipe, task)
            receive(worker.pipe)
            worker.begun = True
            heard.put((worker, receive(worker.pipe)))
    except (EOFError, OSError):
        broken = Broken()
    except Exception as error:  # a message that is none, or one too large for the memory
        broken = Broken(str(error) if isinstance(error, MessageError) else f"{type(error).__name__}: {error}")
    else:
        return
    finally:
        worker.pipe.close()
    greeting.put(broken)
    heard.put((worker, broken))


def talk_to(worker: Worker[Any], heard: SimpleQueue[tuple[Worker[Any], Heard]]) -> SimpleQueue[Heard]:
    """Starts the thread of a worker; where its first message will be."""
    greeting: SimpleQueue[Heard] = SimpleQueue()
    thread = threading.Thread(target=converse, args=(worker, greeting, heard), daemon=True)
    try:
        with no_interruption():  # Ctrl-C is for the main thread
            thread.start()
    except RuntimeError as error:
        kill(worker)
        end(worker)
        raise InterruptedStartError(f"{error} (a limit on processes or memory?)") from None
    return greeting


PASSING = {errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EINTR}
"""Refusals of the system that pass, perhaps when others need less."""


def start_error(error: OSError | EOFError) -> StartError:
    """The error for a refusal of the system."""
    refusal = InterruptedStartError(describe_refusal(error))
    passes = isinstance(error, EOFError | ConnectionError) or error.errno in PASSING
    return refusal if passes else StartError(str(refusal))


def welcome(worker: Worker[Any], greeting: SimpleQueue[Heard]) -> None:
    """Waits until a worker is ready; ends it if it is not.

    Raises:
        StartError: it cannot compute.
        InterruptedStartError: something ended it, or it was stopped: another may compute.
    """
    said, reason = await_greeting(worker, greeting)
    if said == READY:
        return
    if reason is not None:
        kill(worker)
    ended = end(worker)
    if said is not None:
        raise StartError(f"a worker process cannot start: {said}")
    refusal = InterruptedStartError(reason or ended)
    raise StartError(str(refusal)) if worker.process.exitcode == RAISED else refusal


def await_greeting(worker: Worker[Any], greeting: SimpleQueue[Heard]) -> tuple[str | None, str | None]:
    """What a worker says first, or why it must be killed; neither, if it has ended."""
    while (reason := worker.watch.judge()) is None:
        with suppress(Empty):
            heard = greeting.get(timeout=LOOK_SECONDS)
            return (None, heard.reason) if isinstance(heard, Broken) else (str(unpickle(heard)), None)
    return None, reason


def says_something(worker: Worker[Any]) -> bool:
    """Whether the pipe of a worker has bytes, or has ended."""
    try:
        return worker.pipe.poll()
    except OSError:
        return True


def kill(worker: Worker[Any], by: str = "SIGKILL") -> None:
    """Sends a signal to a process, if it is still the one that was started."""
    if not hasattr(signal, by):  # as on Windows
        worker.process.kill()
    elif worker.lives:
        with suppress(OSError):
            os.kill(worker.pid, getattr(signal, by))


def end(worker: Worker[Any], patience: float = PATIENCE) -> str:
    """Makes sure that a process has ended, and describes how."""
    worker.inbox.put(None)
    if not await_end(worker, patience):
        kill(worker)
        await_end(worker, PATIENCE)
    return describe_end(worker.process.exitcode)


def await_end(worker: Worker[Any], seconds: float) -> bool:
    """Waits until a process has ended; whether it has."""
    deadline = time.monotonic() + seconds
    while True:
        worker.process.join(LOOK_SECONDS / 5)
        known = worker.process.exitcode
        if known not in (None, UNKNOWN_CODE):
            return True
        if not worker.lives:
            worker.process.join(REPORT_SECONDS)
            return True
        if time.monotonic() >= deadline:
            return False
        if known == UNKNOWN_CODE:
            time.sleep(LOOK_SECONDS / 5)


def describe_end(code: int | None) -> str:
    """An exit code in words."""
    if code is None or code == UNKNOWN_CODE:
        return "its process ended (nobody knows how)"
    if code >= 0:
        return f"its process ended with exit code {code}"
    name = signal.Signals(-code).name if -code in {int(known) for known in signal.Signals} else f"signal {-code}"
    memory = " (out of memory?)" if name == "SIGKILL" else ""
    return f"its process was killed by {name}{memory}"
