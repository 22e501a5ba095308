"""Workers start in strange surroundings, or one line says why they do not and what to do."""

import errno
import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from multiprocessing import util

import pytest

from bpttlab.errors import ConfigurationError
from bpttlab.sweeps import fork_server, plan, worker_pool
from tests.support.workers import double

needs_fork_server = pytest.mark.skipif(not fork_server.has_fork_server(), reason="there is no fork server")


@pytest.fixture
def long_folder(tmp_path, monkeypatch):
    """The folder of temporary files has a path too long for a socket, and multiprocessing has not chosen one yet."""
    folder = tmp_path / ("x" * 90)
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setattr(multiprocessing.current_process(), "_config", {})
    return folder


@needs_fork_server
def test_sockets_of_a_long_folder_are_in_a_short_one(long_folder):
    assert fork_server.has_socket_folder()
    assert len(util.get_temp_dir()) < len(str(long_folder))
    assert tempfile.gettempdir() == str(long_folder)


def test_without_a_folder_for_sockets_workers_are_spawned(long_folder, monkeypatch):
    monkeypatch.setattr(fork_server, "temporary_folders", lambda: iter([str(long_folder), "/no/such/folder"]))
    assert fork_server.process_context(()).get_start_method() == "spawn"
    assert not fork_server.start_preload(())
    assert list(long_folder.iterdir()) == []


def test_nothing_is_forked_on_macos(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert fork_server.process_context(()).get_start_method() == "spawn"


def test_ctrl_c_is_not_put_off_where_it_cannot_be(monkeypatch):
    monkeypatch.delattr(signal, "pthread_sigmask", raising=False)
    with fork_server.no_interruption():
        assert not hasattr(signal, "pthread_sigmask")


def tell(_):
    """What a process of a pool knows of workers."""
    try:
        with worker_pool.Workers(1, double):
            error = ""
    except fork_server.StartError as refusal:
        error = str(refusal)
    return fork_server.server_id(), fork_server.may_start_processes(), error


@needs_fork_server
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_daemonic_child_of_a_fork_says_that_it_has_none():
    fork_server.start_preload(())
    assert fork_server.server_id() is not None
    with multiprocessing.get_context("fork").Pool(1) as pool:
        server, may_start, error = pool.apply(tell, (0,))
    assert (server, may_start) == (None, False)
    assert error.startswith("a worker process cannot start: this process is daemonic")
    assert error.endswith("workers=0 computes in this process")


def test_a_daemonic_process_computes_by_itself_by_default(monkeypatch):
    monkeypatch.setattr(plan, "may_start_processes", lambda: False)
    assert plan.Options("x").processes == 0
    assert plan.Options("x", workers=2).processes == 2
    with pytest.raises(ConfigurationError, match="time_limit=3: needs a worker process to hold to it, but .* daemonic"):
        plan.Options("x", time_limit=3.0)


REFUSALS = [
    (EOFError(), "the process that starts workers has ended"),
    (ConnectionResetError(errno.ECONNRESET, "reset"), "the process that starts workers has ended"),
    (OSError(errno.EAGAIN, "Try again"), r"Try again: the limit on processes \(ulimit -u\) is reached"),
    (OSError(errno.EMFILE, "Too many"), r"Too many: the limit on open files \(ulimit -n\) is reached"),
    (OSError(errno.ENOENT, "No such file or directory"), "the current folder does not exist any more"),
    (OSError("AF_UNIX path too long"), "AF_UNIX path too long"),
]


@pytest.mark.parametrize(("error", "said"), REFUSALS)
def test_a_refusal_of_the_system_is_one_line(monkeypatch, error, said):
    def refuse():
        raise error

    monkeypatch.setattr(worker_pool, "worker_environment", refuse)
    with pytest.raises(fork_server.StartError, match=f"^a worker process cannot start: {said}.*workers=0 [^\n]*$"):
        worker_pool.Workers(1, double).start()


def test_too_few_open_files_for_a_pipe_are_one_line(monkeypatch):
    pool = worker_pool.Workers(1, double)

    def refuse():
        raise OSError(errno.EMFILE, "Too many")

    monkeypatch.setattr(pool.context, "Pipe", refuse)
    with pytest.raises(fork_server.StartError, match=r"ulimit -n.*workers=0"):
        pool.start()


@needs_fork_server
def test_a_fork_server_that_cannot_start_is_one_line(monkeypatch):
    def refuse():
        raise OSError(errno.EAGAIN, "Try again")

    monkeypatch.setattr(fork_server.forkserver, "ensure_running", refuse)
    with pytest.raises(fork_server.StartError, match=r"ulimit -u.*workers=0"):
        fork_server.start_preload(())


@needs_fork_server
def test_paths_of_sockets_are_measured_in_bytes():
    with tempfile.TemporaryDirectory(prefix="é", dir="/tmp") as folder:  # the folder of a test has a long path
        room = fork_server.LONGEST_SOCKET - len(fork_server.SOCKET)
        longest = folder + "/" + "x" * (room - len(os.fsencode(folder)) - 1)
        os.mkdir(longest)
        assert fork_server.has_short_name(longest)
        assert not fork_server.has_short_name(f"{longest}/")


ENDS_WHILE_IT_REQUESTS_A_WORKER = """
import os, sys
from multiprocessing import forkserver
from bpttlab.sweeps import fork_server
fork_server.start_preload(tuple(sys.argv[1:]))
answers, requests = forkserver.connect_to_new_process(())
os.close(requests)  # as a killed process does
forkserver.read_signed(answers), forkserver.read_signed(answers)  # of the worker: its process and how it ended
"""


@needs_fork_server
@pytest.mark.parametrize(("preload", "prints"), [((), True), (fork_server.preload_of(())[:1], False)])
def test_a_killed_program_leaves_no_traceback_of_its_workers(preload, prints):
    command = [sys.executable, "-c", ENDS_WHILE_IT_REQUESTS_A_WORKER, *preload]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ("EOFError" in done.stderr) == prints
    assert prints or done.stderr == ""


def test_other_errors_of_a_worker_are_printed(capsys, monkeypatch):
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    importlib.import_module(*fork_server.preload_of(())[:1])  # which sets it
    for error in (EOFError(), ConnectionResetError(), ValueError("another error")):
        sys.excepthook(type(error), error, None)
    assert capsys.readouterr().err == "ValueError: another error\n"
