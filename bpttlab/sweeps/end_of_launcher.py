"""The process that workers are forked from prints no traceback if the program that it belongs to is killed.

It imports this module before all others. Python's fork server then prints through `sys.excepthook` that a connection
has ended while the program requested a worker. Errors of the worker's own work do not come here.
"""

from __future__ import annotations

import sys
from pickle import UnpicklingError
from types import TracebackType

ENDED = (EOFError, ConnectionError, UnpicklingError)
"""What a message is read as whose sender was killed before it or within it."""


def print_unless_ended(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Prints an error, unless it is the end of the program."""
    if not issubclass(kind, ENDED):
        sys.__excepthook__(kind, error, trace)


sys.excepthook = print_unless_ended
