"""Values of fields and arguments: checked, and normalised to values of Python.

Accepted wherever a Python value is: scalars of NumPy and arrays of no dimension (`np.int64(8)`, `np.float32(0.5)`,
`np.bool_(True)`, `np.str_("gru")`, `np.array(3)`; of PyTorch and JAX too), and for an integer a float that is one
(`1e6`). They become the equal Python value, so that a run has one identity however its values were written. Refused by
name: 10.5 or true for an integer, arrays of one dimension or more, complex numbers, text for a number.
"""

from __future__ import annotations

import inspect
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from functools import cache, wraps
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

from bpttlab.errors import ConfigurationError, nearest

EXACT = 2.0**53
"""Up to here every integer is a float; beyond it, a float may be a rounded integer."""

PRIMITIVES: dict[str, type] = {"int": int, "float": float, "bool": bool, "str": str, "None": NoneType}

NAMES = {int: "an integer", float: "a number", bool: "true or false", str: "a string", NoneType: "null"}


def python_value(value: Any) -> Any:
    """The equal value of Python; what is inside of mappings, lists and tuples too. Anything else is left as it is."""
    if type(value) in NAMES:
        return value
    if type(value) is dict and is_plain(value):
        return value
    if isinstance(value, Mapping):
        return {python_value(key): python_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(python_value, value)) if type(value) in (list, tuple) else value
    if getattr(value, "shape", None) != () or not hasattr(value, "item") or getattr(value, "mask", False):
        return value  # an array, or what a masked array leaves out
    found = value.item()
    if hasattr(found, "item") and isinstance(found, Real):
        return float(found)  # a long double, which has no equal in Python
    return found


def is_plain(mapping: dict[Any, Any]) -> bool:
    """Whether a mapping of mappings has single values of Python alone, as those from the command line have."""
    for item in mapping.values():  # a loop: this runs once for each run of a sweep
        if type(item) not in NAMES and not (type(item) is dict and is_plain(item)):
            return False
    return True


def as_integer(value: Any) -> int | None:
    """An integer, or a float that is one exactly; None for anything else, and for true and false."""
    value = python_value(value)
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, float) and value.is_integer() and abs(value) <= EXACT:
        return int(value)
    return None


def check_integer(
    field: str, value: Any, least: float = -math.inf, most: float | None = None, because: str = ""
) -> int:
    """The value as an int within limits.

    Raises:
        ConfigurationError: it is none; the message names the field, the value and what is allowed.
    """
    number = as_integer(value)
    if number is None or number < least or (most is not None and number > most):
        limits = f" from {least} to {most}" if most is not None else f" >= {least}" if least > -math.inf else ""
        raise ConfigurationError(f"{field}={shown(value)}: must be an integer{limits}{because}")
    return number


def real_number(
    field: str, value: Any, allowed: str = "a number", accepts: Callable[[float], bool] | None = None
) -> float:
    """The value as a float.

    Args:
        allowed: what is accepted, in words.
        accepts: whether a number is; None: any.

    Raises:
        ConfigurationError: as `integer`.
    """
    number = python_value(value)
    if isinstance(number, bool) or not isinstance(number, Real) or not (accepts is None or accepts(float(number))):
        raise ConfigurationError(f"{field}={shown(value)}: must be {allowed}")
    return float(number)


def shown(value: Any) -> str:
    """A value in a message, in one line; of an array how many values it has, of a large float what it may be."""
    value = python_value(value)
    text = " ".join(repr(value).split())
    text = text if len(text) <= 100 else f"{text[:97]}..."
    if isinstance(value, float) and value.is_integer() and abs(value) > EXACT:
        return f"{text} (a float above 2^53 may be a rounded integer; write all digits)"
    many = getattr(value, "shape", ())
    return f"{text} (an array of {math.prod(many)} values, not one value)" if many and type(many) is tuple else text


# ------------------------------------------------------------------ arguments of functions

Function = TypeVar("Function", bound=Callable[..., Any])


def checked_arguments(function: Function) -> Function:
    """A function whose arguments are normalised and checked where they are annotated as int, float, bool or str."""
    signature = inspect.signature(function)
    kinds = {name: primitive(parameter.annotation) for name, parameter in signature.parameters.items()}

    @wraps(function)
    def checked(*arguments: Any, **named: Any) -> Any:
        bound = signature.bind(*arguments, **named)
        for name, value in bound.arguments.items():
            bound.arguments[name] = settled(name, value, kinds[name])
        return function(*bound.args, **bound.kwargs)

    return checked  # type: ignore[return-value]


def primitive(annotation: Any) -> frozenset[type]:
    """The kinds that an annotation like "int | None" allows; none where it names anything else."""
    names = [name.strip() for name in str(getattr(annotation, "__name__", annotation)).split("|")]
    return frozenset(PRIMITIVES[name] for name in names) if all(name in PRIMITIVES for name in names) else frozenset()


def settled(name: str, value: Any, kinds: frozenset[type]) -> Any:
    """A value as one of these kinds; with no kinds given, as it is."""
    value = converted(value, kinds) if kinds else value
    if kinds and type(value) not in kinds and not (str in kinds and isinstance(value, str)):
        allowed = " or ".join(words for kind, words in NAMES.items() if kind in kinds)
        raise ConfigurationError(f"{name}={shown(value)}: must be {allowed}")
    return value


def converted(value: Any, kinds: frozenset[type]) -> Any:
    """The Python value; a whole float as an int where no float is allowed, an int as a float where no int is, a path as
    its text."""
    value = python_value(value)
    if isinstance(value, os.PathLike) and str in kinds:
        return os.fspath(value)
    if type(value) is float and int in kinds and float not in kinds:
        number = as_integer(value)
        return value if number is None else number
    return float(value) if type(value) is int and float in kinds and int not in kinds else value


# ------------------------------------------------------------------ fields of dataclasses


class Allowed(NamedTuple):
    """What the annotation of a field allows.

    Attributes:
        kinds: types of which every value is allowed.
        choices: single values, those of a Literal.
    """

    kinds: frozenset[type]
    choices: tuple[Any, ...]

    def holds(self, value: Any) -> bool:
        """Whether this value, of exactly this type, is allowed."""
        return type(value) in self.kinds or any(type(value) is type(one) and value == one for one in self.choices)

    @property
    def types(self) -> frozenset[type]:
        """The types of all values that are allowed."""
        return self.kinds | {type(one) for one in self.choices}


@cache
def allowed_values(kind: Any) -> dict[str, Allowed]:
    """What each field of a dataclass allows, by its annotation."""
    hints = get_type_hints(kind)
    return {field.name: allowed_by(hints[field.name]) for field in fields(kind)}


def allowed_by(hint: Any) -> Allowed:
    if get_origin(hint) is Literal:
        return Allowed(frozenset(), get_args(hint))
    if get_origin(hint) not in (Union, UnionType):
        return Allowed(frozenset({hint}) if isinstance(hint, type) else frozenset(), ())
    parts = [allowed_by(part) for part in get_args(hint)]
    return Allowed(frozenset().union(*(part.kinds for part in parts)), sum((part.choices for part in parts), ()))


def settle_fields(chosen: Any, path: str = "{}", bare: Iterable[str] = ()) -> None:
    """Normalises the fields of a frozen dataclass in place, from its `__post_init__`.

    Args:
        path: how a message calls a field.
        bare: fields that it calls by their name alone.

    Raises:
        ConfigurationError: a value is not of the type that its annotation says.
    """
    kind: Any = type(chosen)
    for name, allowed in allowed_values(kind).items():
        value = getattr(chosen, name)
        if not allowed.holds(value):
            told = name if name in bare else path.format(name)
            object.__setattr__(chosen, name, typed_value(kind, name, value, told))


def typed_value(kind: type, name: str, value: Any, path: str) -> Any:
    """A value of a field, normalised and checked by the annotation.

    Raises:
        ConfigurationError: it is of another type; `path` is how the message calls the field.
    """
    allowed_here = allowed_values(kind)[name]
    if allowed_here.holds(value):
        return value
    from pydantic import ValidationError  # takes a tenth of a second to import, and most values need it not

    try:
        return adapter(kind, name).validate_python(converted(value, allowed_here.types), strict=True)
    except ValidationError as error:
        allowed = [complaint(one) for one in error.errors()]
        choices = re.findall(r"'([^']*)'", " ".join(allowed))
        hint = nearest(value, choices)
        raise ConfigurationError(
            f"{path}={shown(value)}: must be {' or '.join(dict.fromkeys(allowed))}.{hint}"
        ) from None


@cache
def adapter(kind: type, name: str) -> Any:
    """What checks one field of a dataclass: its annotation."""
    from pydantic import ConfigDict, TypeAdapter

    return TypeAdapter(get_type_hints(kind)[name], config=ConfigDict(arbitrary_types_allowed=True))


KINDS = {
    "int_type": "an integer",
    "float_type": "a number",
    "string_type": "a string",
    "bool_type": "true or false",
    "none_required": "null",
}


def complaint(error: Any) -> str:
    """What pydantic would have accepted."""
    if error["type"] == "literal_error":
        return str(error["ctx"]["expected"])
    return KINDS.get(error["type"], error["msg"].removeprefix("Input should be "))
