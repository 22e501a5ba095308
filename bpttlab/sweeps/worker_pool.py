"""Worker processes, each of which may die without effect on the others.

Each worker has a pipe of its own and one task at a time. A death (killed, out of memory, `os._exit`) is then the end of
one pipe. It identifies the task, a new worker replaces the dead one, and the others continue. Workers that share queues
cannot promise this: if one is killed in the middle of a message, or while it holds a lock, the others stop.

A thread for each worker sends its tasks and waits for its results, so that a worker that stops in the middle of a
message stops nothing else. A worker that is stopped, waits for nothing or writes bytes that are no message is killed
(`process_state`, `worker_messages`), and its task ends as if it had died.

A worker does not import the program that started it, so a script needs no `if __name__ == "__main__":`. It computes
with one BLAS thread (`blas_threads`). It can have limits: a worker that takes too long is killed, and the system
refuses it memory above the limit, which NumPy reports as a MemoryError.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from threadpoolctl import threadpool_limits

from bpttlab.sweeps.fork_server import (
    DAEMONIC,
    WITHOUT,
    StartError,
    environment,
    kill_stopped_server,
    may_start_processes,
    no_interruption,
    process_context,
    watch_server,
    without_main_module,
    worker_environment,
)
from bpttlab.sweeps.worker import (
    PATIENCE,
    REPORT_SECONDS,
    Broken,
    Heard,
    InterruptedStartError,
    TaskType,
    Worker,
    end,
    kill,
    says_something,
    start_error,
    talk_to,
    welcome,
)
from bpttlab.sweeps.worker_messages import MessageError, pack, unpickle
from bpttlab.sweeps.worker_process import serve

ResultType = TypeVar("ResultType")

START_ATTEMPTS = 5
"""How often a worker is started whose start something else ends."""
START_PAUSE = 0.1
"""Seconds before the second attempt; twice as many before each further one."""
MOST_DEATHS_OUTSIDE = 20
"""How many workers may die one after another without having begun a task, and none have a result."""


@dataclass(frozen=True)
class Limits:
    """Limits of a run and a worker.

    Attributes:
        seconds: for one run; None: no limit.
        memory: of one worker, resident, in GiB (2^30 bytes); None: no limit. It needs Linux.
    """

    seconds: float | None = None
    memory: float | None = None


@dataclass(frozen=True)
class Answer(Generic[TaskType, ResultType]):
    """The end of a task: its result, or how its worker died.

    Attributes:
        late: whether the worker was killed because the task took too long.
        begun: whether the worker had received the task. If not, the task has no part in its death.
    """

    task: TaskType
    result: ResultType | None
    death: str | None = None
    late: bool = False
    begun: bool = True


class Workers(Generic[TaskType, ResultType]):
    """`count` processes that call `work`, for use in a `with` statement, whose end ends them.

    If the system refuses some of them, there are fewer.

    Args:
        count: number of processes, at least 1.
        work: task -> result, importable by name; tasks and results go through pickle.
        preload: modules that are imported once, before the processes are forked, if the system can do that.
        memory: resident memory of one process, in GiB; None: no limit.
        prepare: a function that each process calls first, importable by name; a LabError from it is an error of the
            start.

    Attributes:
        ends: how workers have ended that were not told to, and how many for each way.

    Raises:
        StartError: the processes cannot be started.
    """

    def __init__(
        self,
        count: int,
        work: Callable[[TaskType], ResultType],
        preload: tuple[str, ...] = (),
        memory: float | None = None,
        prepare: Callable[[], object] | None = None,
    ) -> None:
        self.count = count
        self.life = partial(serve, work=work, preload=preload, memory=memory, prepare=prepare)
        self.context = process_context(preload)
        self.workers: list[Worker[TaskType]] = []
        self.heard: SimpleQueue[tuple[Worker[TaskType], Heard]] = SimpleQueue()
        self.ends: Counter[str] = Counter()
        self.deaths_outside = 0

    def __enter__(self) -> Workers[TaskType, ResultType]:
        try:
            while len(self.workers) < self.count and self.try_to_start() is not None:
                pass
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def busy(self) -> list[Worker[TaskType]]:
        """Those that have a task."""
        return [worker for worker in self.workers if worker.task is not None]

    @property
    def idle(self) -> int:
        """How many could be given a task now; one that has died is replaced when there is something to give."""
        return self.count - len(self.busy)

    # -------------------------------------------------------------- tasks

    def give(self, task: TaskType, seconds: float | None = None) -> bool:
        """Gives a task to an idle worker, of which there must be one, and so many seconds to do it.

        Returns:
            False if there is none after all: the system refused another, and there are fewer workers from now on.
        """
        packed = pack(task)
        self.bury_idle()
        worker = next((worker for worker in self.workers if worker.task is None), None) or self.try_to_start()
        if worker is not None:
            worker.give(task, packed, seconds)
        return worker is not None

    def answers(self, timeout: float) -> list[Answer[TaskType, ResultType]]:
        """What the workers have to say, after at most `timeout` seconds; perhaps nothing."""
        deadlines = [worker.deadline for worker in self.busy if worker.deadline is not None]
        patience = min([timeout, *(max(0.0, deadline - time.monotonic()) for deadline in deadlines)])
        answers = [self.hear(worker, what) for worker, what in self.listen(patience) if worker in self.busy]
        self.bury_idle()
        return answers + self.find_lost() + self.kill_late() + self.kill_silent()

    def listen(self, patience: float) -> list[tuple[Worker[TaskType], Heard]]:
        """Everything that has been heard, after at most so many seconds."""
        heard = []
        with suppress(Empty):
            heard.append(self.heard.get(timeout=patience))
            while True:
                heard.append(self.heard.get_nowait())
        return heard

    def hear(self, worker: Worker[TaskType], what: Heard) -> Answer[TaskType, ResultType]:
        """One worker's result, or its death."""
        if isinstance(what, Broken):
            return self.bury(worker, what.reason)
        try:
            result = unpickle(what)
        except MessageError as error:
            return self.bury(worker, f"its result cannot be read: {error}")
        task, worker.task = worker.task, None
        self.deaths_outside = 0
        return Answer(task, result)  # type: ignore[arg-type]

    # -------------------------------------------------------------- deaths

    def bury(self, worker: Worker[TaskType], reason: str | None = None, late: bool = False) -> Answer[Any, Any]:
        """Ends what is left of a worker, and answers for its task.

        Args:
            reason: why it is killed; None: it has ended.
        """
        self.workers.remove(worker)
        if reason is not None or late:
            kill(worker)
        ended = end(worker)
        answer: Answer[Any, Any] = Answer(worker.task, None, reason or ended, late, worker.begun)
        retired = not worker.begun and reason is None and worker.process.exitcode == 0
        if not late and not retired:
            self.ends[reason or ended] += 1
        self.deaths_outside += not worker.begun and not retired
        return answer

    def bury_idle(self) -> None:
        """Notices idle workers that have died, or say something that nobody asked: it would be taken for a result."""
        for worker in [worker for worker in self.workers if worker.task is None and says_something(worker)]:
            worker.begun = False
            worker.process.join(REPORT_SECONDS)
            self.bury(worker, "its pipe has bytes that are no message" if worker.lives else None)

    def find_lost(self) -> list[Answer[TaskType, ResultType]]:
        """The tasks of workers that have died unheard."""
        return [self.bury(worker) for worker in self.busy if worker.is_lost]

    def kill_late(self) -> list[Answer[TaskType, ResultType]]:
        """The tasks of those whose time is over; they are killed, whatever they are doing."""
        now = time.monotonic()
        over = [worker for worker in self.busy if worker.deadline is not None and worker.deadline <= now]
        return [self.bury(worker, late=True) for worker in over]

    def kill_silent(self) -> list[Answer[TaskType, ResultType]]:
        """The tasks of those that are stopped, or wait for nothing."""
        judged = [(worker, worker.watch.judge()) for worker in self.busy]
        return [self.bury(worker, reason) for worker, reason in judged if reason is not None]

    # -------------------------------------------------------------- processes

    def try_to_start(self) -> Worker[TaskType] | None:
        """Another worker; None if there can be none, but there are others, which then do all the work.

        Raises:
            StartError: there are no others, or workers die again and again before they begin a task.
        """
        if self.deaths_outside > MOST_DEATHS_OUTSIDE:
            raise StartError(f"{self.deaths_outside} workers ended one after another before they began a run")
        try:
            return self.start_patiently()
        except StartError as error:
            if not self.workers:
                raise
            self.ends[f"no other can start: {error}"] += 1
        self.count = len(self.workers)
        return None

    def start_patiently(self) -> Worker[TaskType]:
        """Another worker, after START_ATTEMPTS at most."""
        for attempt in range(START_ATTEMPTS):
            if attempt:
                time.sleep(START_PAUSE * 2 ** (attempt - 1))
            try:
                return self.start()
            except InterruptedStartError as error:
                refusal = error
                self.ends[f"{error.reason}, while it started"] += 1
        raise StartError(f"{refusal} (tried {START_ATTEMPTS} times)")

    def start(self) -> Worker[TaskType]:
        """Another worker, ready to be given a task."""
        if not may_start_processes():
            raise StartError(f"a worker process cannot start: {DAEMONIC}; {WITHOUT}")
        try:
            ours, theirs = self.context.Pipe()
        except OSError as error:
            raise start_error(error) from None
        process = self.context.Process(target=self.life, args=(theirs,), daemon=True)  # type: ignore[attr-defined]
        try:
            with no_interruption(), without_main_module(), environment(worker_environment()), watch_server():
                process.start()
        except (EOFError, OSError) as error:
            ours.close()
            raise start_error(error) from None
        finally:
            theirs.close()  # else the pipe would not end with the worker
        worker: Worker[TaskType] = Worker(process, ours)
        welcome(worker, talk_to(worker, self.heard))
        self.workers.append(worker)
        return worker

    def stop(self) -> None:
        """Ends all processes, whatever they are doing."""
        for worker in self.workers:
            kill(worker, "SIGTERM")
        kill_stopped_server()  # which would not say that they have ended
        deadline = time.monotonic() + PATIENCE
        for worker in self.workers:
            end(worker, max(0.0, deadline - time.monotonic()))
        self.workers.clear()


class ThisProcess(Generic[TaskType, ResultType]):
    """The same without processes: each task is done when its answer is requested."""

    def __init__(self, work: Callable[[TaskType], ResultType]) -> None:
        self.work = work
        self.tasks: list[TaskType] = []
        self.ends: Counter[str] = Counter()

    def __enter__(self) -> ThisProcess[TaskType, ResultType]:
        return self

    def __exit__(self, *_: object) -> None:
        self.tasks.clear()

    @property
    def idle(self) -> int:
        return 1 - len(self.tasks)

    def give(self, task: TaskType, seconds: float | None = None) -> bool:
        self.tasks.append(task)  # nobody could end it
        return True

    def answers(self, timeout: float) -> list[Answer[TaskType, ResultType]]:
        with threadpool_limits(1):
            answers = [Answer(task, self.work(task)) for task in self.tasks]
        self.tasks.clear()
        return answers
