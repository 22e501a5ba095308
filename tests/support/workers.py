"""Functions that worker processes of the tests compute."""

import ctypes
import os
import signal
import threading
import time


def double(task):
    return os.getpid() if task == "who" else task * 2


def stubborn(task):
    """Sleeps so many seconds and does not hear SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(task)
    return task


def act(what):
    """What a task does to its worker; a number is doubled."""
    if not isinstance(what, str):
        return double(what)
    return {
        "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
        "wait": lambda: threading.Event().wait(),
        "garbage": write_garbage,
        "unreadable": Unreadable,
        "unpicklable": lambda: lambda: None,
        "child": leave_a_child,
    }[what]()


def write_garbage():
    """Writes into every socket, the pipe to the parent among them."""
    for name in os.listdir("/proc/self/fd"):
        if os.path.realpath(f"/proc/self/fd/{name}").rpartition("/")[2].startswith("socket:"):
            os.write(int(name), b"Warning: overflow")


class Unreadable:
    """A result that the other process cannot make again."""

    def __reduce__(self):
        return ctypes.CDLL, ("no such library",)


def leave_a_child():
    """Dies; a child of it has the pipe open and lives on."""
    if os.fork() == 0:
        time.sleep(6)
        os._exit(0)
    os._exit(3)
