"""A person's own step function, tried: what it raises is said in one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from bpttlab.errors import ConfigurationError, LabError
from bpttlab.plugin_sources import single_line

Tried = TypeVar("Tried")

StepFunction = Callable[[Any, Any, Any], Any]
"""(module or parameters, x_t, state) -> state"""

ReadFunction = Callable[[Any, Any], Any]
"""(module or parameters, state) -> y_t"""

EXAMPLES = "for example state=32, state=(32, 32) or state={'h': 32, 'c': 32}"


def attempt(called: str, compute: Callable[[], Tried], advise: Callable[[Exception], str] = lambda error: "") -> Tried:
    """What a function returns; an exception of its author's as one line, and what can be done about it.

    Raises:
        ConfigurationError: it raised.
    """
    try:
        return compute()
    except LabError:
        raise
    except Exception as error:  # whatever a person's own function raises
        raise ConfigurationError(f"{called}: raises {single_line(error)}{advise(error)}") from error
