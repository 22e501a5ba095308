"""Selection of runs: `load("first", where={"task": "noise", "spectral_radius": (0.9, 1.1)})`.

Runs are selected by their configuration. A value that no stored run has is refused, with the nearest stored value: 0.3
is not 0.30000000000000004, and an empty frame would hide this. Conditions on results (a status, a range of losses) may
select no run, and give an empty frame. A value close to a wanted one is another value; a warning names runs that are
left out for this reason.
"""

from __future__ import annotations

import bisect
import math
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import pyarrow as pa

from bpttlab.errors import ConfigurationError, LabWarning, nearest
from bpttlab.fields import python_value
from bpttlab.store import schema
from bpttlab.store.identity import canonical

Where: TypeAlias = Mapping[str, Any]
"""Column of `runs` -> a value, a list or range of values, or a pair (least, most)."""

CLOSE = 1e-12
"""Relative difference below which two values are written alike in tables."""

_RESULTS = frozenset(schema.RUNS.schema.names) - {"run_id", "network_id"}
"""Columns of `runs` that are not part of what was requested to be run."""

MOST_NAMED = 8


def select(runs: pa.Table, where: Where, own: Iterable[str] = ()) -> pa.Array:
    """Which runs fulfil the conditions on all columns.

    Args:
        own: columns of `runs` that a user's own measures fill, which are results.

    Raises:
        ConfigurationError: an unknown column, an impossible value, or a value that no run has.
    """
    mask, results = [True] * runs.num_rows, _RESULTS.union(own)
    for name, requested in where.items():
        if name not in runs.column_names:
            raise ConfigurationError(f"where: runs have no column {name!r}.{nearest(name, runs.column_names)}")
        found = of_column(name, _to_plain(requested), runs, name in results)
        mask = [so_far and one for so_far, one in zip(mask, found, strict=True)]
    if where and not any(mask) and not results & set(where):
        asked_for = ", ".join(f"{name}={requested!r}" for name, requested in where.items())
        raise ConfigurationError(f"where: no run fulfils all of {asked_for}, although some run fulfils each of them")
    return pa.array(mask, pa.bool_())


def _to_plain(requested: Any) -> Any:
    """A condition as values of Python; an array is a list of values."""
    requested = python_value(requested)
    if getattr(requested, "ndim", 0) and hasattr(requested, "tolist"):
        return requested.tolist()
    one = isinstance(requested, str | bytes | Mapping | Sequence) or not isinstance(requested, Iterable)
    return requested if one else list(requested)  # what can be gone through once only


def of_column(name: str, requested: Any, runs: pa.Table, is_result: bool) -> list[bool]:
    """Which runs fulfil the condition on one column."""
    kind, values = runs.schema.field(name).type, runs[name].to_pylist()
    accepts = acceptance(name, requested, kind)
    found = [accepts(value) for value in values]
    stored = list_distinct(values)
    if name == "status" or not any(found):
        refuse_what_no_run_has(name, requested, stored, is_result)
    else:
        warn_of_missing(name, requested, kind, stored)
    warn_of_close(name, requested, stored, accepts)
    return found


# ------------------------------------------------------------------ what is requested, as a question to each value


def acceptance(name: str, requested: Any, kind: pa.DataType) -> Callable[[Any], bool]:
    """A condition on a column as a predicate of its values.

    Raises:
        ConfigurationError: the condition is impossible for that column.
    """
    if isinstance(requested, tuple):
        return match_between(name, requested, kind)
    if isinstance(requested, range) and not (pa.types.is_string(kind) or pa.types.is_boolean(kind)):
        return lambda value: value is not None and math.isfinite(value) and value % 1 == 0 and int(value) in requested
    every = requested if isinstance(requested, range) else elements(requested)
    values = {spelling for value in every for spelling in to_stored(name, python_value(value), kind)}
    return lambda value: value in values


def elements(requested: Any) -> list[Any]:
    """The values of a condition, one or many; the ends of a pair or a range."""
    if isinstance(requested, range):
        return [requested[0], requested[-1]] if requested else []
    one = isinstance(requested, str | bytes | Mapping) or not isinstance(requested, Iterable)
    return [requested] if one else list(requested)


def match_between(name: str, requested: tuple[Any, ...], kind: pa.DataType) -> Callable[[Any], bool]:
    """A pair (least, most), both included."""
    if len(requested) != 2 or pa.types.is_string(kind) or pa.types.is_boolean(kind):
        raise ConfigurationError(
            f"where: {name}={requested!r}: must be a pair (least, most) for a column of numbers; "
            f"write a list as [{name} values]"
        )
    least, most = (to_stored(name, value, kind)[0] for value in requested)
    low, high = -math.inf if least is None else least, math.inf if most is None else most
    return lambda value: value is not None and low <= value <= high


def to_stored(name: str, value: Any, kind: pa.DataType) -> tuple[Any, ...]:
    """A value with the type of the column: in a column of strings (truncation) a number is its text, and 20.0 that of
    20.

    Raises:
        ConfigurationError: it cannot be a value of that column.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is None or (number and math.isnan(value)):
        return (None,)
    if pa.types.is_string(kind):
        whole = (canonical(int(value)),) if isinstance(value, float) and value.is_integer() else ()
        return (value,) if isinstance(value, str) else (canonical(value), *whole)
    if number if not pa.types.is_boolean(kind) else isinstance(value, bool):
        return (value,)
    what = "true or false" if pa.types.is_boolean(kind) else "a number"
    raise ConfigurationError(f"where: {name}={value!r}: must be {what}, None, or a list of these")


# ------------------------------------------------------------------ what no run has, and what is close to it


def list_distinct(values: Iterable[Any]) -> list[Any]:
    """The stored values, in order, without missing ones."""
    return sorted({value for value in values if value is not None and value == value})


def refuse_what_no_run_has(name: str, requested: Any, stored: Sequence[Any], is_result: bool) -> None:
    """Raises the error for a value that is not stored. Ranges, missing values and truth values of results may select no
    run.
    """
    if name == "status":
        stored = schema.STATUSES
        if all(status in stored for status in elements(requested)):
            return
    elif is_result and (
        isinstance(requested, tuple | range)
        or all(value is None or isinstance(value, bool) for value in elements(requested))
    ):
        return
    raise ConfigurationError(f"where: {name}={requested!r}: no run has this; {warn_near(stored, elements(requested))}")


def warn_near(stored: Sequence[Any], requested: Sequence[Any]) -> str:
    """What is stored near to what is requested."""
    if not stored:
        return "no run has a value there"
    numbers = sorted(filter(is_number, stored), key=float)
    near = [one for value in requested if is_number(value) for one in neighbours(float(value), numbers)]
    if near:
        return f"the nearest stored: {', '.join(map(str, dict.fromkeys(near[:MOST_NAMED])))}"
    more = f", and {len(stored) - MOST_NAMED} more" if len(stored) > MOST_NAMED else ""
    hint = next((hint for value in requested if value not in stored and (hint := nearest(value, stored))), "")
    return f"stored: {', '.join(map(str, stored[:MOST_NAMED]))}{more}.{hint}"


def is_number(value: Any) -> bool:
    """Whether a value, or a string in a column of strings, is a number."""
    try:
        return not isinstance(value, bool) and value is not None and math.isfinite(float(value))
    except ValueError:
        return False


def neighbours(value: float, numbers: Sequence[Any]) -> list[Any]:
    """The last of some sorted numbers below a value and the first above it."""
    place = bisect.bisect_left(numbers, value, key=float)
    return list(numbers[max(0, place - 1) : place + 1])


def warn_of_missing(name: str, requested: Any, kind: pa.DataType, stored: Sequence[Any]) -> None:
    """Warns of values of a list that no run has, if some run has another one."""
    if isinstance(requested, tuple | range):
        return
    there = {None, *stored}
    missing = [value for value in elements(requested) if there.isdisjoint(to_stored(name, python_value(value), kind))]
    if missing:
        shown = ", ".join(map(repr, missing[:MOST_NAMED]))
        warn(f"where: {name}: no run has {shown}; {warn_near(stored, missing)}")


def warn_of_close(name: str, requested: Any, stored: Sequence[Any], accepts: Callable[[Any], bool]) -> None:
    """Warns of stored values that are left out although they differ from a wanted one by rounding alone."""
    numbers = [value for value in stored if isinstance(value, float)]
    if isinstance(requested, range) or not numbers:
        return
    for value in filter(is_number, elements(requested)):
        close = [one for one in find_near(float(value), numbers) if not accepts(one)]
        if close:
            others = ", ".join(map(repr, close))
            warn(f"where: {name}={value!r} leaves out runs at {others}; {[value, *close]} takes them too")


def find_near(value: float, numbers: Sequence[float]) -> Iterator[float]:
    """The sorted numbers that differ from a value, but by no more than `CLOSE` of it."""
    width = CLOSE * abs(value)
    for one in numbers[bisect.bisect_left(numbers, value - width) : bisect.bisect_right(numbers, value + width)]:
        if one != value:
            yield one


def warn(message: str) -> None:
    warnings.warn(message, LabWarning, stacklevel=count_own_frames())


def count_own_frames() -> int:
    """The level of the first caller outside of this package, which a warning names."""
    level, frame, own = 1, sys._getframe(1), __name__.partition(".")[0]
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == own:
        level, frame = level + 1, frame.f_back
    return level
