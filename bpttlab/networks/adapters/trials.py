"""A person's own step function, tried: what it raises is said in one line."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from bpttlab.errors import ConfigurationError, LabError, LabWarning
from bpttlab.numerics.array import Array
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


def advise_sizes(error: Exception, input_size: int, state: str) -> str:
    """The end of a message about arrays whose shapes do not fit: the sizes that a step was called with."""
    if not re.search("shape|size|dimension", str(error)):
        return ""
    return f"; it was called with input_size={input_size} and state={state}, which must be the sizes that it takes"


def advise_arguments(error: Exception, call: str, said: str = "positional argument") -> str:
    """The end of a message about a function that takes other arguments."""
    return f"; it is called as {call}" if isinstance(error, TypeError) and said in str(error) else ""


def warn_cut_path(dh_prev: Array) -> None:
    """Warns where no state depends on the state before it, by what any cotangents of the trial are pulled back to."""
    if not dh_prev.any():
        warnings.warn(
            "step: the derivative of the state by the state before it is zero in every row of the trial, so that no "
            "gradient passes a step: remove detach() or stop_gradient from the state, or let the step use its state",
            LabWarning,
            stacklevel=5,
        )


def divide_parameters(
    names: set[str], of_step: set[str], of_read: set[str], step_branches: bool, read_branches: bool
) -> tuple[set[str], set[str]]:
    """The parameters of the step and those of the readout, from those that they used in the trial.

    Python's control flow on numbers may leave out parameters that other numbers need: all that neither used belong to
    the function that has such control flow.

    Raises:
        ConfigurationError: both used one, or both have such control flow and neither used one.
    """
    if of_step & of_read:
        raise ConfigurationError(
            f"parameter {min(of_step & of_read)!r}: is used by step and by read, and must belong to one of them: give "
            "read a copy of its own"
        )
    others = names - of_step - of_read
    if step_branches and read_branches and others:
        raise ConfigurationError(
            f"parameter {min(others)!r}: was not used in the trial, and may belong to step or to read, for the Python "
            "code of both depends on numbers: write read without if or while of a number"
        )
    return of_step | (others if step_branches else set()), of_read | (others if read_branches else set())
