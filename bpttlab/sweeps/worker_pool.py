"""Worker processes, each of which may die without effect on the others.

Each worker has a pipe of its own and one task at a time. A death (killed, out of memory, `os._exit`) is then the end of
one pipe. It identifies the task, a new worker replaces the dead one, and the others continue. Workers that share queues
cannot promise this: if one is killed in the middle of a message, or while it holds a lock, the others stop.

A worker does not import the program that started it, so a script needs no `if __name__ == "__main__":`. It computes
with one BLAS thread (`blas_threads`). It can have limits: a worker that takes too long is killed, and the system
refuses it memory above the limit, which NumPy reports as a MemoryError.
"""

from __future__ import annotations

import errno
import importlib
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import forkserver, resource_tracker, util
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from threadpoolctl import threadpool_limits

from bpttlab import resources
from bpttlab.errors import LabError
from bpttlab.sweeps import blas_threads

TaskType = TypeVar("TaskType")
ResultType = TypeVar("ResultType")

READY = "ready"
PATIENCE = 5.0
"""Seconds in which a process that was told to end has to."""
BYTES_OF_GIB = 1 << 30


class StartError(LabError):
    """No worker process can be started."""


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
    """

    task: TaskType
    result: ResultType | None
    death: str | None = None
    late: bool = False


@dataclass
class Worker(Generic[TaskType]):
    """One process, the pipe to it, the task that it has, and when that should be done."""

    process: BaseProcess
    pipe: Connection[Any, Any]
    task: TaskType | None = None
    deadline: float | None = None


class Workers(Generic[TaskType, ResultType]):
    """`count` processes that call `work`, for use in a `with` statement, whose end ends them.

    Args:
        count: number of processes, at least 1.
        work: task -> result, importable by name; tasks and results go through pickle.
        preload: modules that are imported once, before the processes are forked, if the system can do that.
        memory: resident memory of one process, in GiB; None: no limit.
        prepare: a function that each process calls first, importable by name; a LabError from it is an error of the
            start.

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

    def __enter__(self) -> Workers[TaskType, ResultType]:
        try:
            for _ in range(self.count):
                self.start()
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

    def give(self, task: TaskType, seconds: float | None = None) -> None:
        """Gives a task to an idle worker, of which there must be one, and so many seconds to do it."""
        worker = next((worker for worker in self.workers if worker.task is None), None) or self.start()
        worker.task = task
        worker.deadline = None if seconds is None else time.monotonic() + seconds
        with suppress(OSError):  # it has died; `answers` finds that out and says which task was given
            worker.pipe.send(task)

    def answers(self, timeout: float) -> list[Answer[TaskType, ResultType]]:
        """What the workers have to say, after at most `timeout` seconds; perhaps nothing."""
        deadlines = [worker.deadline for worker in self.busy if worker.deadline is not None]
        patience = min([timeout, *(max(0.0, deadline - time.monotonic()) for deadline in deadlines)])
        pipes = wait([worker.pipe for worker in self.workers], patience)
        heard = [self.hear(worker) for worker in list(self.workers) if worker.pipe in pipes]
        return [answer for answer in heard if answer is not None] + self.kill_late()

    def hear(self, worker: Worker[TaskType]) -> Answer[TaskType, ResultType] | None:
        """One worker's result, or its death. An idle one's death is nobody's."""
        task, worker.task = worker.task, None
        try:
            answer: Answer[TaskType, ResultType] = Answer(task, worker.pipe.recv())  # type: ignore[arg-type]
        except (EOFError, OSError):
            self.workers.remove(worker)
            answer = Answer(task, None, death=end(worker))  # type: ignore[arg-type]
        return None if task is None else answer

    def kill_late(self) -> list[Answer[TaskType, ResultType]]:
        """The tasks of those whose time is over; they are killed, whatever they are doing."""
        now = time.monotonic()
        over = [worker for worker in self.busy if worker.deadline is not None and worker.deadline <= now]
        for worker in over:
            self.workers.remove(worker)
            worker.process.kill()
        return [Answer(worker.task, None, death=end(worker), late=True) for worker in over]  # type: ignore[arg-type]

    def start(self) -> Worker[TaskType]:
        """Another worker, ready to be given a task."""
        if not may_start_processes():
            raise StartError(f"a worker process cannot start: {DAEMONIC}; {WITHOUT}")
        ours, theirs = self.context.Pipe()
        process = self.context.Process(target=self.life, args=(theirs,), daemon=True)  # type: ignore[attr-defined]
        try:
            with no_interruption(), without_main_module(), environment(worker_environment()):
                process.start()
        except (EOFError, OSError) as error:
            raise StartError(f"a worker process cannot start: {describe_refusal(error)}; {WITHOUT}") from None
        theirs.close()  # else the pipe would not end with the worker
        worker: Worker[TaskType] = Worker(process, ours)
        try:
            said = ours.recv()
        except (EOFError, OSError):
            raise StartError(f"a worker process cannot start: {end(worker)}; {WITHOUT}") from None
        if said != READY:
            end(worker)
            raise StartError(f"a worker process cannot start: {said}")
        self.workers.append(worker)
        return worker

    def stop(self) -> None:
        """Ends all processes, whatever they are doing."""
        for worker in self.workers:
            worker.process.terminate()
        for worker in self.workers:
            end(worker)
        self.workers.clear()


WITHOUT = "workers=0 computes in this process"
DAEMONIC = (
    "this process is daemonic, as those of multiprocessing.Pool are, and may start none "
    "(concurrent.futures.ProcessPoolExecutor has others)"
)


def may_start_processes() -> bool:
    """Whether this process may have workers: multiprocessing refuses them to its daemonic processes."""
    return not multiprocessing.current_process().daemon


def describe_refusal(error: OSError | EOFError) -> str:
    """Why no process could be started, in words."""
    if isinstance(error, EOFError | ConnectionError):
        return "the process that starts workers has ended (a limit on processes, open files or memory?)"
    if error.errno == errno.ENOENT and error.filename is None:
        return "the current folder does not exist any more"
    limited = {errno.EAGAIN: "the limit on processes (ulimit -u)", errno.EMFILE: "the limit on open files (ulimit -n)"}
    reason = limited.get(error.errno or 0)
    return f"{error.strerror or error}" + (f": {reason} is reached" if reason else "")


class ThisProcess(Generic[TaskType, ResultType]):
    """The same without processes: each task is done when its answer is requested."""

    def __init__(self, work: Callable[[TaskType], ResultType]) -> None:
        self.work = work
        self.tasks: list[TaskType] = []

    def __enter__(self) -> ThisProcess[TaskType, ResultType]:
        return self

    def __exit__(self, *_: object) -> None:
        self.tasks.clear()

    @property
    def idle(self) -> int:
        return 1 - len(self.tasks)

    def give(self, task: TaskType, seconds: float | None = None) -> None:
        self.tasks.append(task)  # nobody could end it

    def answers(self, timeout: float) -> list[Answer[TaskType, ResultType]]:
        with threadpool_limits(1):
            answers = [Answer(task, self.work(task)) for task in self.tasks]
        self.tasks.clear()
        return answers


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
        pipe.send(limit_memory(memory) if said == READY and memory is not None else said)
        while True:
            pipe.send(work(pipe.recv()))


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


def end(worker: Worker[Any]) -> str:
    """Makes sure that a process has ended, and describes how."""
    worker.pipe.close()
    worker.process.join(PATIENCE)
    if worker.process.exitcode is None:
        worker.process.kill()
        worker.process.join()
    return describe_end(worker.process.exitcode)


def describe_end(code: int | None) -> str:
    """An exit code in words."""
    if code is None or code >= 0:
        return f"its process ended with exit code {code}"
    name = signal.Signals(-code).name if -code in {int(known) for known in signal.Signals} else f"signal {-code}"
    memory = " (out of memory?)" if name == "SIGKILL" else ""
    return f"its process was killed by {name}{memory}"


def process_context(preload: tuple[str, ...]) -> BaseContext:
    """A fork server where it works: it imports once, and a worker that died is replaced within milliseconds."""
    if not has_fork_server():
        return multiprocessing.get_context("spawn")
    chosen = multiprocessing.get_context("forkserver")
    chosen.set_forkserver_preload(list(preload))
    return chosen


def has_fork_server() -> bool:
    """Whether workers can be forked from a process that has imported what they need.

    Windows forks no processes, and libraries of macOS do not survive a fork. The socket of the process needs a place.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods() or sys.platform == "darwin":
        return False
    return has_socket_folder()


LONGEST_SOCKET = 100
"""Bytes of the path of a socket, less than any system allows."""
SOCKET = "/pymp-12345678/listener-12345678"
"""What multiprocessing adds to the folder of temporary files."""


def has_socket_folder() -> bool:
    """Makes sure that multiprocessing has a folder for sockets, of which paths are short; whether there is one."""
    if "tempdir" not in vars(multiprocessing.current_process())["_config"]:
        found = next(filter(has_short_name, temporary_folders()), None)
        if found is None:
            return False
        before, tempfile.tempdir = tempfile.tempdir, found
        try:
            util.get_temp_dir()  # it is kept for the life of this process
        except OSError:
            return False
        finally:
            tempfile.tempdir = before
    return has_short_name(os.path.dirname(util.get_temp_dir()))


def has_short_name(folder: str) -> bool:
    """Whether a socket can have a place there."""
    return len(os.fsencode(folder + SOCKET)) <= LONGEST_SOCKET and os.access(folder, os.W_OK | os.X_OK)


def temporary_folders() -> Iterator[str]:
    """The folder of temporary files, and those that most systems have besides."""
    with suppress(OSError):  # none can be written
        yield tempfile.gettempdir()
    yield from ("/tmp", "/var/tmp", "/dev/shm")


def forget_fork_server() -> None:
    """The child of a fork starts a fork server of its own: it cannot wait for that of its parent."""
    server = vars(forkserver)["_forkserver"]
    if server._forkserver_alive_fd is not None:
        with suppress(OSError):
            os.close(server._forkserver_alive_fd)
    server.__init__()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget_fork_server)


def preload_of(engines: Iterable[object]) -> tuple[str, ...]:
    """The modules that workers of a sweep import, once for all."""
    compiled = (
        ("bpttlab.gradients.compiled.preload", "bpttlab.gradients.compiled.dispatch") if "numba" in engines else ()
    )
    return ("bpttlab.sweeps.run", "bpttlab.sweeps.jobs", *compiled)


def start_preload(preload: tuple[str, ...], surroundings: Mapping[str, str] = MappingProxyType({})) -> bool:
    """Starts the imports of the process that workers are forked from, if there is one, while this process continues.

    The first call decides the imports and the environment variables. If a sweep starts no workers, that process ends
    with this one.

    Returns:
        whether this call started it.
    """
    if not may_start_processes() or process_context(preload).get_start_method() != "forkserver":
        return False
    before = server_id()
    try:
        with no_interruption(), without_main_module(), environment({**worker_environment(), **surroundings}):
            forkserver.ensure_running()
    except OSError as error:
        raise StartError(f"a worker process cannot start: {describe_refusal(error)}; {WITHOUT}") from None
    return server_id() != before


def server_id() -> int | None:
    """The process that workers are forked from, if there is one."""
    found: int | None = vars(forkserver)["_forkserver"]._forkserver_pid
    return found


@contextmanager
def preload_or_stop(preload: tuple[str, ...], surroundings: Mapping[str, str]) -> Iterator[None]:
    """`start_preload`, for a command that may end early: after an error nothing that it started goes on.

    Otherwise a reader of the command's output would wait for it, since it could print something too.
    """
    begun = start_preload(preload, surroundings)
    try:
        yield
    except BaseException:
        if begun and (server := server_id()) is not None:
            os.kill(server, signal.SIGTERM)
            vars(forkserver)["_forkserver"]._stop()  # which forgets it, so that it may be begun again
        raise


def worker_environment() -> dict[str, str]:
    """One BLAS thread; and modules come from where this process has them, never from the current folder."""
    chosen = {**blas_threads.ONE, "PYTHONSAFEPATH": "1"}
    if resources.in_checkout():  # not installed, perhaps
        paths = [str(resources.PACKAGE.parent), os.environ.get("PYTHONPATH", "")]
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
    """Processes started meanwhile hear neither Ctrl-C nor that the terminal is closed; here it is only put off."""
    if not hasattr(signal, "pthread_sigmask"):  # as on Windows
        yield
        return
    resource_tracker.ensure_running()  # it would lift the block as a side effect, were it started later
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
