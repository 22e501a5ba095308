"""Worker processes, any of which may die without taking anything else along.

Each worker has a pipe of its own and one task at a time. A death (killed, out of memory, `os._exit`) is then the end of
one pipe: it names the task that it happened to, a new worker takes the place, and all others never notice. Workers that
share queues cannot promise that: one that is killed half way through a message, or holding a lock, stops the rest.

A worker does not import the program that started it, so that a script needs no `if __name__ == "__main__":`, and it
computes with one BLAS thread (`threads`).
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

from threadpoolctl import threadpool_limits

from bpttlab import places, threads
from bpttlab.errors import LabError

Task = TypeVar("Task")
Result = TypeVar("Result")

READY = b"ready"
PATIENCE = 5.0
"""Seconds in which a process that was told to end has to."""


@dataclass(frozen=True)
class Answer(Generic[Task, Result]):
    """What became of a task: its result, or how the worker died that had it."""

    task: Task
    result: Result | None
    death: str | None = None


@dataclass
class Worker(Generic[Task]):
    """One process, the pipe to it, and the task that it has."""

    process: BaseProcess
    pipe: Connection[Any, Any]
    task: Task | None = None


class Workers(Generic[Task, Result]):
    """`count` processes that call `work`; to be used in a `with` statement, whose end ends them.

    Args:
        count: how many, at least 1.
        work: task -> result, importable by name; tasks and results go through pickle.
        preload: modules that are imported once, before the processes part, where the system can do that.

    Raises:
        LabError: the processes cannot be started.
    """

    def __init__(self, count: int, work: Callable[[Task], Result], preload: tuple[str, ...] = ()) -> None:
        self.count = count
        self.work = work
        self.preload = preload
        self.context = context(preload)
        self.workers: list[Worker[Task]] = []

    def __enter__(self) -> Workers[Task, Result]:
        try:
            for _ in range(self.count):
                self.workers.append(self.start())
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def idle(self) -> int:
        """How many could be given a task now."""
        return sum(worker.task is None for worker in self.workers)

    def give(self, task: Task) -> None:
        """Gives a task to an idle worker; there must be one."""
        worker = next(worker for worker in self.workers if worker.task is None)
        worker.task = task
        with suppress(OSError):  # it has died; `answers` finds that out and says which task was given
            worker.pipe.send(task)

    def answers(self, timeout: float) -> list[Answer[Task, Result]]:
        """What the workers have to say, after at most `timeout` seconds; perhaps nothing."""
        pipes = wait([worker.pipe for worker in self.workers], timeout)
        heard = [self.hear(worker) for worker in list(self.workers) if worker.pipe in pipes]
        return [answer for answer in heard if answer is not None]

    def hear(self, worker: Worker[Task]) -> Answer[Task, Result] | None:
        """One worker's result, or its death, upon which another takes its place. An idle one's death is nobody's."""
        task, worker.task = worker.task, None
        try:
            answer: Answer[Task, Result] = Answer(task, worker.pipe.recv())  # type: ignore[arg-type]
        except (EOFError, OSError):
            self.workers.remove(worker)
            answer = Answer(task, None, death=end(worker))  # type: ignore[arg-type]
            self.workers.append(self.start())
        return None if task is None else answer

    def start(self) -> Worker[Task]:
        ours, theirs = self.context.Pipe()
        process = self.context.Process(target=serve, args=(theirs, self.work, self.preload), daemon=True)  # type: ignore[attr-defined]
        with no_interruption(), without_main_module(), environment(worker_environment()):
            process.start()
        theirs.close()  # else the pipe would not end with the worker
        worker: Worker[Task] = Worker(process, ours)
        try:
            if ours.recv() == READY:
                return worker
        except (EOFError, OSError):
            pass
        raise LabError(f"a worker process cannot start: {end(worker)}; workers=0 computes in this process")

    def stop(self) -> None:
        """Ends all processes, whatever they are doing."""
        for worker in self.workers:
            worker.process.terminate()
        for worker in self.workers:
            end(worker)
        self.workers.clear()


class ThisProcess(Generic[Task, Result]):
    """The same without processes: each task is done when its answer is asked for."""

    def __init__(self, work: Callable[[Task], Result]) -> None:
        self.work = work
        self.tasks: list[Task] = []

    def __enter__(self) -> ThisProcess[Task, Result]:
        return self

    def __exit__(self, *_: object) -> None:
        self.tasks.clear()

    @property
    def idle(self) -> int:
        return 1 - len(self.tasks)

    def give(self, task: Task) -> None:
        self.tasks.append(task)

    def answers(self, timeout: float) -> list[Answer[Task, Result]]:
        with threadpool_limits(1):
            answers = [Answer(task, self.work(task)) for task in self.tasks]
        self.tasks.clear()
        return answers


def serve(pipe: Connection[Any, Any], work: Callable[[Any], Any], preload: tuple[str, ...]) -> None:
    """The life of a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    for name in preload:  # now, for the limit on threads holds for libraries that are loaded
        importlib.import_module(name)
    with threadpool_limits(1), suppress(EOFError, ConnectionError):  # the parent is gone
        pipe.send(READY)
        while True:
            pipe.send(work(pipe.recv()))


def end(worker: Worker[Any]) -> str:
    """Makes sure that a process has ended, and tells how."""
    worker.pipe.close()
    worker.process.join(PATIENCE)
    if worker.process.exitcode is None:
        worker.process.kill()
        worker.process.join()
    return how_it_ended(worker.process.exitcode)


def how_it_ended(code: int | None) -> str:
    """An exit code in words."""
    if code is None or code >= 0:
        return f"its process ended with exit code {code}"
    name = signal.Signals(-code).name if -code in {int(known) for known in signal.Signals} else f"signal {-code}"
    memory = " (out of memory?)" if name == "SIGKILL" else ""
    return f"its process was killed by {name}{memory}"


def context(preload: tuple[str, ...]) -> BaseContext:
    """A fork server where there is one: it imports once, and a worker that died is replaced within milliseconds."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    chosen = multiprocessing.get_context("forkserver")
    chosen.set_forkserver_preload(list(preload))
    return chosen


def worker_environment() -> dict[str, str]:
    """One BLAS thread; and modules come from where this process has them, never from the current folder."""
    chosen = {**threads.ONE, "PYTHONSAFEPATH": "1"}
    if places.in_checkout():  # not installed, perhaps
        paths = [str(places.PACKAGE.parent), os.environ.get("PYTHONPATH", "")]
        chosen["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    return chosen


@contextmanager
def environment(chosen: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for what is started meanwhile; this process is left as it was."""
    before = {name: os.environ.get(name) for name in chosen}
    os.environ.update(chosen)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def without_main_module() -> Iterator[None]:
    """Processes started meanwhile do not run the user's script from the top, as multiprocessing would have them do."""
    main = sys.modules["__main__"]
    hidden: dict[str, Any] = {name: main.__dict__[name] for name in ("__file__", "__spec__") if name in main.__dict__}
    main.__dict__.update(dict.fromkeys(hidden))
    try:
        yield
    finally:
        main.__dict__.update(hidden)


@contextmanager
def no_interruption() -> Iterator[None]:
    """Processes started meanwhile do not hear Ctrl-C; here it is only put off."""
    resource_tracker.ensure_running()  # it would lift the block as a side effect, were it started later
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
