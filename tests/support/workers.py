"""Functions that worker processes of the tests compute."""

import os
import signal
import time


def double(task):
    return os.getpid() if task == "who" else task * 2


def stubborn(task):
    """Sleeps so many seconds and does not hear SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(task)
    return task
