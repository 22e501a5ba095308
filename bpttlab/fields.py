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
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from functools import cache, wraps
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

from bpttlab.errors import ConfigurationError, nearest
from bpttlab.limits import LARGEST_INTEGER

Plain = dict[str, Any]
"""A configuration, or a group of one, as it is written: values of Python by field."""

_EXACT = 2.0**53
"""Up to here every integer is a float; beyond it, a float may be a rounded integer."""

PRIMITIVES: dict[str, type] = {"int": int, "float": float, "bool": bool, "str": str, "None": NoneType}

_NAMES = {int: "an integer", float: "a number", bool: "true or false", str: "a string", NoneType: "null"}


def python_value(value: Any) -> Any:
    """The equal value of Python; what is inside of mappings, lists and tuples too. Anything else is left as it is."""
    if type(value) in _NAMES:
        return value
    if type(value) is dict and _is_plain(value):
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


def _is_plain(mapping: dict[Any, Any]) -> bool:
    """Whether a mapping of mappings has single values of Python alone, as those from the command line have."""
    for item in mapping.values():  # a loop: this runs once for each run of a sweep
        if type(item) not in _NAMES and not (type(item) is dict and _is_plain(item)):
            return False
    return True


def as_integer(value: Any) -> int | None:
    """An integer, or a float that is one exactly; None for anything else, and for true and false."""
    value = python_value(value)
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT:
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
        raise ConfigurationError(f"{field}={format_value(value)}: must be an integer{limits}{because}")
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
    if isinstance(number, bool) or not isinstance(number, Real) or not (accepts is None or accepts(to_float(number))):
        raise ConfigurationError(f"{field}={format_value(value)}: must be {allowed}")
    return to_float(number)


def check_method(method: Any, methods: Sequence[str]) -> None:
    """Refuses a `method=` that is none.

    Raises:
        ConfigurationError: the message lists those there are.
    """
    if method not in methods:
        hint = nearest(method, methods)
        raise ConfigurationError(f"method={format_value(method)}: must be one of {', '.join(methods)}.{hint}")


def format_value(value: Any) -> str:
    """A value in a message, in one line; of an array how many values it has, of a large float what it may be."""
    value = python_value(value)
    text = " ".join(write_value(value).split())
    text = text if len(text) <= 100 else f"{text[:97]}..."
    if isinstance(value, float) and value.is_integer() and abs(value) > _EXACT:
        return f"{text} (a float above 2^53 may be a rounded integer; write all digits)"
    many = getattr(value, "shape", ())
    return f"{text} (an array of {math.prod(many)} values, not one value)" if many and type(many) is tuple else text


def write_value(value: Any) -> str:
    """`repr`, of an integer too that has more digits than Python writes."""
    try:
        return repr(value)
    except (ValueError, RecursionError):
        return f"a value of type {type(value).__name__} that is too long to write"


# ------------------------------------------------------------------ arguments of functions

Function = TypeVar("Function", bound=Callable[..., Any])


def check_arguments(function: Function) -> Function:
    """A function whose arguments are normalised and checked where they are annotated as int, float, bool or str."""
    signature = inspect.signature(function)
    kinds = {name: primitive(parameter.annotation) for name, parameter in signature.parameters.items()}

    @wraps(function)
    def checked(*arguments: Any, **named: Any) -> Any:
        bound = signature.bind(*arguments, **named)
        for name, value in bound.arguments.items():
            bound.arguments[name] = _convert_to_kinds(name, value, kinds[name])
        return function(*bound.args, **bound.kwargs)

    return checked  # type: ignore[return-value]


def primitive(annotation: Any) -> frozenset[type]:
    """The kinds that an annotation like "int | None" allows; none where it names anything else."""
    names = [name.strip() for name in str(getattr(annotation, "__name__", annotation)).split("|")]
    return frozenset(PRIMITIVES[name] for name in names) if all(name in PRIMITIVES for name in names) else frozenset()


def _convert_to_kinds(name: str, value: Any, kinds: frozenset[type]) -> Any:
    """A value as one of these kinds; with no kinds given, as it is."""
    value = convert_value(value, kinds) if kinds else value
    if kinds and type(value) not in kinds and not (str in kinds and isinstance(value, str)):
        allowed = " or ".join(words for kind, words in _NAMES.items() if kind in kinds)
        raise ConfigurationError(f"{name}={format_value(value)}: must be {allowed}")
    return value


def convert_value(value: Any, kinds: frozenset[type]) -> Any:
    """The Python value; a whole float as an int where no float is allowed, an int as a float where no int is, a path as
    its text."""
    value = python_value(value)
    if isinstance(value, os.PathLike) and str in kinds:
        return os.fspath(value)
    if type(value) is float and int in kinds and float not in kinds:
        number = as_integer(value)
        return value if number is None else number
    if type(value) is int and float in kinds and int not in kinds:
        return to_float(value)
    return value


def to_float(value: Any) -> float:
    """The nearest float; of an integer above the largest, an infinity."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


# ------------------------------------------------------------------ fields of dataclasses


@dataclass(frozen=True, kw_only=True)
class Field:
    """The meaning and the bounds of one field: `hidden_size: Annotated[int, Field(ge=1, description="N, units")]`.

    The field is stated nowhere else: values are checked against it, and conf/, `--help` and docs/configuration.md are
    written from it. A bound belongs to the numbers of an annotation: `Annotated[int | None, Field(ge=1)]` allows null.

    Attributes:
        description: the meaning, with its letter in the notes.
        unit: of the number: "step"; "" where it has none.
        because: the reason for a bound, which stands behind it in messages.
        ge, gt, le, lt: bounds of a number.
        choices: returns the strings that are allowed, where they are known only later; None: any string.
        configured: the value in conf/; `...`: the default of the class.
        given_by: the part of a configuration that gives the value; "" if it is a field of its own group.
    """

    description: str = ""
    unit: str = ""
    because: str = ""
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    choices: Callable[[], Collection[str]] | None = None
    configured: Any = ...
    given_by: str = ""

    @property
    def bounds(self) -> dict[str, Any]:
        """The bounds that there are, by name."""
        stated = {name: getattr(self, name) for name in BOUNDS}
        return {name: bound for name, bound in stated.items() if bound is not None}

    def admits(self, number: float) -> bool:
        """Whether a number is finite and within the bounds."""
        return (
            (self.ge is None or number >= self.ge)
            and (self.gt is None or number > self.gt)
            and (self.le is None or number <= self.le)
            and (self.lt is None or number < self.lt)
            and (abs(number) <= LARGEST_INTEGER if type(number) is int else math.isfinite(number))
        )

    def describe_number(self, kind: type) -> str:
        """What is allowed of an int or a float, in words: "an integer >= 1"."""
        limits = self.bounds
        noun = "an integer" if kind is int else "a number" if len(limits) == 2 else "a finite number"
        stated = " and ".join(f"{BOUNDS[name]} {bound:g}" for name, bound in limits.items())
        return f"{noun} {stated}" if stated else noun


BOUNDS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
UNSTATED = Field()


@dataclass(frozen=True)
class Allowed:
    """What the annotation of a field allows.

    Attributes:
        kinds: types of which every value within the bounds is allowed.
        literals: single values, those of a Literal.
        field: the bounds and the meaning.
        complete: whether kinds, literals and field say everything; else pydantic has to be asked.
    """

    kinds: tuple[type, ...]
    literals: tuple[Any, ...]
    field: Field
    complete: bool

    def holds(self, value: Any) -> bool:
        """Whether this value, of exactly this type, is certainly allowed."""
        kind = type(value)
        if kind not in self.kinds:
            return self.complete and (self.is_literal(value) or self.is_instance(value))
        return self.complete and (self.field.admits(value) if kind in (int, float) else self.is_choice(value))

    def is_literal(self, value: Any) -> bool:
        return any(type(value) is type(one) and value == one for one in self.literals)

    def is_instance(self, value: Any) -> bool:
        """Whether it is an object of a class that is no primitive type: a Cell, say."""
        return any(kind not in _NAMES and isinstance(value, kind) for kind in self.kinds)

    def is_choice(self, value: Any) -> bool:
        """False for a string that is none of the choices."""
        if type(value) is not str or self.field.choices is None:
            return True
        return value in self.field.choices() or self.is_literal(value)

    @property
    def names(self) -> list[str]:
        """The strings to choose from: literals and choices."""
        literals = [one for one in self.literals if isinstance(one, str)]
        return [*literals, *(self.field.choices() if self.field.choices else ())]

    @property
    def types(self) -> frozenset[type]:
        """The types of all values that are allowed."""
        return frozenset(self.kinds) | {type(one) for one in self.literals}

    @property
    def in_words(self) -> str:
        """For a message or a table: "an integer >= 1, 'full' or null"."""
        numbers = [self.field.describe_number(kind) for kind in (int, float) if kind in self.kinds]
        listed = [repr(one) for one in dict.fromkeys([*self.names, *self.literals])]
        others = [kind for kind in self.kinds if kind not in (int, float) and not (kind is str and self.field.choices)]
        named = [_NAMES.get(kind, f"a {kind.__name__}") for kind in others if kind is not NoneType]
        return join_alternatives([*numbers, *named, *listed, *(["null"] if NoneType in self.kinds else [])])

    @property
    def limits(self) -> str:
        """The bounds and the choices in short: ">= 1, full"; "" where every value of the type is allowed."""
        stated = [f"{BOUNDS[name]} {bound:g}" for name, bound in self.field.bounds.items()]
        return ", ".join([*stated, *map(str, dict.fromkeys([*self.names, *self.literals]))])


def join_alternatives(words: Sequence[str]) -> str:
    """ "a, b or c" """
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


@cache
def allowed_values(kind: Any) -> dict[str, Allowed]:
    """What each field of a dataclass allows, by its annotation."""
    hints = annotations_of(kind)
    return {one.name: allowed_by(hints[one.name], field_of(kind, one.name)) for one in fields(kind)}


@cache
def annotations_of(kind: Any) -> dict[str, Any]:
    """The annotations of a class and its bases, resolved."""
    return get_type_hints(kind, include_extras=True)


def field_of(kind: Any, name: str) -> Field:
    """The `Field` of a field: that of the class, or of the nearest base that states one for the same name.

    So a cell of your own that declares `hidden_size: int` has the bound, the meaning and the default of `Cell`.
    """
    for base in kind.__mro__:
        if name in vars(base).get("__annotations__", {}):
            for stated in metadata_of(annotations_of(base)[name]):
                if isinstance(stated, Field):
                    return stated
                if getattr(stated, "description", None):  # pydantic's own Field
                    return Field(description=stated.description)
    return UNSTATED


def metadata_of(hint: Any) -> tuple[Any, ...]:
    return tuple(hint.__metadata__) if get_origin(hint) is Annotated else ()


def allowed_by(hint: Any, field: Field) -> Allowed:
    """What an annotation allows, within the bounds of a field."""
    if get_origin(hint) is Annotated:
        ours = all(isinstance(stated, Field) for stated in hint.__metadata__)
        allowed = allowed_by(hint.__origin__, field)
        return allowed if ours else replace(allowed, complete=False)
    if get_origin(hint) is Literal:
        return Allowed((), get_args(hint), field, True)
    if get_origin(hint) in (Union, UnionType):
        parts = [allowed_by(part, field) for part in get_args(hint)]
        kinds, literals = (sum((getattr(part, name) for part in parts), ()) for name in ("kinds", "literals"))
        return Allowed(kinds, literals, field, all(part.complete for part in parts))
    return Allowed((hint,), (), field, True) if isinstance(hint, type) else Allowed((), (), field, False)


def settle_fields(chosen: Any, path: str = "{}", bare: Iterable[str] = ()) -> None:
    """Checks and normalises the fields of a frozen dataclass in place, from its `__post_init__`.

    Args:
        path: how a message calls a field.
        bare: fields that it calls by their name alone.

    Raises:
        ConfigurationError: a value is not what its annotation allows.
    """
    kind: Any = type(chosen)
    for name, allowed in allowed_values(kind).items():
        value = getattr(chosen, name)
        if not allowed.holds(value):
            called = name if name in bare else path.format(name)
            object.__setattr__(chosen, name, typed_value(kind, name, value, called))


def typed_value(kind: type, name: str, value: Any, path: str) -> Any:
    """A value of a field, normalised and checked by the annotation.

    Raises:
        ConfigurationError: it is not allowed; `path` is how the message calls the field.
    """
    allowed = allowed_values(kind)[name]
    if allowed.holds(value):
        return value
    from pydantic import ValidationError  # takes a tenth of a second to import, and most values need it not

    try:
        typed = adapter(kind, name).validate_python(convert_value(value, allowed.types), strict=True)
    except ValidationError as error:
        raise refusal(path, value, allowed, list_complaints(error)) from None
    if not allowed.is_choice(typed) or (type(typed) is int and not allowed.field.admits(typed)):
        raise refusal(path, value, allowed)
    return typed


def refusal(path: str, value: Any, allowed: Allowed, complaints: str = "") -> ConfigurationError:
    """The error that names the field, the value, what is allowed and the nearest choice."""
    wanted = allowed.in_words if allowed.complete else complaints
    reason = f" {allowed.field.because}" if allowed.field.because else ""
    if type(value) is int and abs(value) > LARGEST_INTEGER:
        reason = f"{reason}, of 64 bits"
    hint = nearest(value, allowed.names)
    return ConfigurationError(f"{path}={format_value(value)}: must be {wanted}{reason}{f'.{hint}' if hint else ''}")


@cache
def adapter(kind: type, name: str) -> Any:
    """What checks one field of a dataclass: its annotation."""
    from pydantic import ConfigDict, TypeAdapter

    hint = checkable(annotations_of(kind)[name], field_of(kind, name))
    return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))


def checkable(hint: Any, field: Field) -> Any:
    """The annotation as pydantic takes it: the bounds are at the numbers, and numbers are finite."""
    from pydantic import Field as Bounds

    if get_origin(hint) is Annotated:
        inner = checkable(hint.__origin__, field)
        for stated in hint.__metadata__:
            inner = inner if isinstance(stated, Field) else Annotated[inner, stated]
        return inner
    if get_origin(hint) in (Union, UnionType):
        return Union[tuple(checkable(part, field) for part in get_args(hint))]  # noqa: UP007
    if hint is float:
        return Annotated[float, Bounds(allow_inf_nan=False, **field.bounds)]
    return Annotated[int, Bounds(**field.bounds)] if hint is int else hint


def list_complaints(error: Any) -> str:
    """What pydantic would have accepted."""
    return " or ".join(dict.fromkeys(one["msg"].removeprefix("Input should be ") for one in error.errors()))


# ------------------------------------------------------------------ what is written from fields


class FieldDescription(NamedTuple):
    """A field as documentation shows it.

    Attributes:
        name: of the field.
        allowed: what it may be, in words: "an integer >= 1".
        limits: the same in short: ">= 1"; "" where every value of the type is allowed.
        default: the value that conf/ has; null for a field that must be given.
        description: the meaning.
    """

    name: str
    allowed: str
    limits: str
    default: Any
    description: str


def describe_fields(kind: Any) -> list[FieldDescription]:
    """The fields of a configured class that its group has, in their order."""
    return [
        describe_field(name, allowed_values(kind)[name], default) for name, default in configured_values(kind).items()
    ]


def describe_field(name: str, allowed: Allowed, default: Any) -> FieldDescription:
    if default is None and NoneType not in allowed.kinds:
        allowed = replace(allowed, kinds=(*allowed.kinds, NoneType))  # a configuration may leave it out
    return FieldDescription(name, allowed.in_words, allowed.limits, default, allowed.field.description)


def defaults(kind: Any) -> dict[str, Any]:
    """The mapping of a class in conf/: its `name`, if it has one, and its fields with their defaults.

    A field without a default is null. Fields that another part of the configuration gives are left out.
    """
    named = {"name": kind.name} if hasattr(kind, "name") else {}
    return named | configured_values(kind)


def configured_values(kind: Any) -> dict[str, Any]:
    """The value that conf/ has of each field."""
    own = [one for one in fields(kind) if one.init and not field_of(kind, one.name).given_by]
    return {one.name: configured_value(kind, one) for one in own}


def configured_value(kind: Any, one: Any) -> Any:
    stated = field_of(kind, one.name).configured
    if stated is not ...:
        return stated
    if one.default_factory is not MISSING:
        return one.default_factory()
    return None if one.default is MISSING else one.default
