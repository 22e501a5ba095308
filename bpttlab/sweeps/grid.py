"""Lists of values -> one configuration for each combination: in Python what a line with commas is for the command.

grid(spectral_radius=[0.5, 1.0], task=["noise", "adding"], seed=range(8))      ->      32 mappings
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bpttlab.errors import ConfigurationError
from bpttlab.fields import Plain, python_value
from bpttlab.limits import MOST_RUNS
from bpttlab.store.columns import FROM
from bpttlab.sweeps.configuration import nest
from bpttlab.sweeps.own_networks import set_told, take_labels
from bpttlab.sweeps.ranges import refuse_too_many


def grid(fields: Mapping[str, Any] | None = None, /, **more: Any) -> list[Plain]:
    """Every combination of the values given; the last field varies fastest.

    Args:
        fields, more: field -> its value, or several: a list, a tuple, a range or an array. A text or a mapping is one
            value. A field of a group is named with a dot, `{"cell.hidden_size": [32, 64]}`. Values of NumPy become the
            equal values of Python: np.arange(0.1, 1.0, 0.1) holds 0.30000000000000004, and keeps it. Several values of
            `cell.label` and `cell.update` belong to those of `cell.path`, one to each. As an argument the field `from`
            is called `from_`, because `from` is a keyword of Python.

    Returns:
        mappings as `Configuration.parse` takes them, which says what is wrong with a name or a value.

    Raises:
        ConfigurationError: a field is given twice, or without any value; or there are too many runs.
    """
    fields, more = rename_keyword(fields or {}), rename_keyword(more)
    twice = sorted(set(fields) & set(more))
    if twice:
        raise ConfigurationError(f"{twice[0]} is given twice")
    return list(combine({**fields, **more}))


def combine(axes: Mapping[str, Any], limit: int = MOST_RUNS) -> Iterator[Plain]:
    """`grid` of at most so many runs, one after the other."""
    several, told = take_labels({name: _choices(name, value) for name, value in rename_keyword(axes).items()})
    refuse_too_many(math.prod(map(len, several.values())), ", ".join(several), limit)
    runs = (dict(zip(several, values, strict=True)) for values in itertools.product(*several.values()))
    return (set_told(nest(run), told) for run in runs)


def rename_keyword(fields: Mapping[str, Any]) -> dict[str, Any]:
    """`from_` as `from`."""
    return {FROM if name == f"{FROM}_" else name: value for name, value in fields.items()}


def _choices(name: str, value: Any) -> list[Any]:
    """The values of a field."""
    value = python_value(value)
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        return [value]
    found = [python_value(element) for element in itertools.islice(value, MOST_RUNS + 1)]
    if not found:
        raise ConfigurationError(f"{name}={value!r}: holds no value at all")
    return found
