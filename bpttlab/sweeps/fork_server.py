"""The process that workers are forked from, and the surroundings in which processes start.

On Linux workers are forked from a server, which imports once what they need. Elsewhere each is a new interpreter.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing import forkserver, resource_tracker, util
from multiprocessing.context import BaseContext
from types import MappingProxyType
from typing import Any

from bpttlab import resources
from bpttlab.errors import LabError
from bpttlab.sweeps import blas_threads
from bpttlab.sweeps.process_state import Watch, look_at


class StartError(LabError):
    """No worker process can be started."""


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


ANSWER_SECONDS = 0.1
"""Between two looks at whether a request has been answered."""


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
    return ("bpttlab.sweeps.end_of_launcher", "bpttlab.sweeps.run", "bpttlab.sweeps.jobs", *compiled)


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


def kill_server() -> None:
    """Kills the server; the next worker begins another."""
    server = server_id()
    if server is not None and hasattr(signal, "SIGKILL"):
        with suppress(OSError):
            os.kill(server, signal.SIGKILL)


def kill_stopped_server() -> None:
    """Kills a server that is stopped: it would neither end with this process nor say how its workers end."""
    server = server_id()
    if server is not None and look_at(server)[0] == "T":
        kill_server()


@contextmanager
def watch_server() -> Iterator[None]:
    """Kills a server that does not answer while a process is requested of it; the request is then refused."""
    answered = threading.Event()

    def watch() -> None:
        watches: dict[int, Watch] = {}
        while not answered.wait(ANSWER_SECONDS):
            server = server_id()
            if server is not None and watches.setdefault(server, Watch(server)).judge():
                kill_server()

    with suppress(RuntimeError):  # no thread can start, and so probably no process
        threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        answered.set()


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
