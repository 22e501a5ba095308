"""What is chosen by name: shipped with bpttlab, by an installed package, or in a user's own file.

    plugins.find("cell", "gru")                     the class of that name
    plugins.names("cell")                           all names
    with plugins.use("mine.py"):                  and those of a file, a module, a class, or a list of these
        plugins.find("cell", "peephole")

A class that subclasses the contract of its kind (`KINDS`) and has a `name` is a choice, and so is an object of a
contract that is made of functions, such as an `Activation`. An installed package names its modules in the entry-point
group `bpttlab.plugins`. Nothing of a package or of a file is imported before a name is looked up.

A run that uses a choice from outside is identified by the SHA-256 of the file that defines it (`Origin`).
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from types import ModuleType, NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from bpttlab import resources
from bpttlab.errors import ConfigurationError, nearest
from bpttlab.plugin_sources import (
    ORIGINS,
    Origin,
    Source,
    describe_error,
    origin_of_module,
    origin_of_value,
    read_source,
    single_line,
    split,
    with_field,
)

GROUP = "bpttlab.plugins"
"""The entry-point group in which an installed package names its modules."""


class Kind(NamedTuple):
    """A kind of choices.

    Attributes:
        home: the package or module that holds those that are shipped; with a slash at its end, a folder of files.
        contract: module:class of what a choice is a subclass of, or an object.
    """

    home: str
    contract: str

    @property
    def loaded_contract(self) -> Any:
        """The class, if its module has been imported; a file that does not import it defines no such choice."""
        module, _, name = self.contract.partition(":")
        return getattr(sys.modules.get(module), name, None)


KINDS = {
    "cell": Kind("bpttlab.networks.cells", "bpttlab.networks.cells.cell:Cell"),
    "task": Kind("bpttlab.tasks", "bpttlab.tasks.task:Task"),
    "scheme": Kind("bpttlab.truncation", "bpttlab.truncation.scheme:Scheme"),
    "initializer": Kind("bpttlab.networks.initializers", "bpttlab.networks.initializers:Initializer"),
    "activation": Kind("bpttlab.networks.activations", "bpttlab.networks.activations:Activation"),
    "loss": Kind("bpttlab.networks.losses", "bpttlab.networks.losses:StepLoss"),
    "measure": Kind("bpttlab.measures", "bpttlab.measures.measure:Measure"),
    "optimizer": Kind("bpttlab.training.optimizers", "bpttlab.training.optimizers.optimizer:Optimizer"),
    "penalty": Kind("bpttlab.training.penalties", "bpttlab.training.penalties.penalty:Penalty"),
    "projection": Kind("bpttlab.training.projections", "bpttlab.training.projections:Projection"),
    "table": Kind("bpttlab.tables.shipped", "bpttlab.tables.table:SummaryTable"),
    "experiment": Kind("experiment/", "bpttlab.claims.experiment:Experiment"),
    "figure": Kind("bpttlab.figures.shipped", "bpttlab.figures.figure:StudyFigure"),
}


@dataclass(frozen=True)
class Choice:
    """What a name stands for.

    Attributes:
        value: a class, or an object of the contract.
        origin: the file that defines it.
    """

    kind: str
    name: str
    value: Any
    origin: Origin


_ACTIVE: ContextVar[tuple[Choice, ...]] = ContextVar("choices of a user's own", default=())


# ------------------------------------------------------------------ looking up


def find(kind: str, name: str, field: str | None = None) -> Any:
    """The class, or the object, that a name stands for.

    Args:
        kind: one of KINDS.
        name: what a configuration says.
        field: what a message calls the field; the kind, if nothing is said.

    Raises:
        ConfigurationError: there is none of this name; the message lists all names, and the nearest one.
    """
    known = find_shipped(kind)
    if name in known:
        return known[name]
    known = available(kind)
    if name not in known:
        raise ConfigurationError(
            f"{field or kind}={name!r}: must be one of {', '.join(sorted(known))}.{nearest(name, known)}"
        )
    return known[name]


def names(kind: str) -> list[str]:
    """All names of a kind, sorted."""
    return sorted(available(kind))


class Names(Collection[str]):
    """The names of a kind, which looks outside of bpttlab only for a name that is not a shipped one."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __contains__(self, name: object) -> bool:
        return name in find_shipped(self.kind) or name in available(self.kind)

    def __iter__(self) -> Iterator[str]:
        return iter(available(self.kind))

    def __len__(self) -> int:
        return len(available(self.kind))


def available(kind: str) -> dict[str, Any]:
    """All choices of a kind by name: shipped, of installed packages, and those in use."""
    return {**find_shipped(kind), **{choice.name: choice.value for choice in own_choices() if choice.kind == kind}}


def own_choices() -> list[Choice]:
    """The choices that do not come with bpttlab."""
    return [*_ACTIVE.get(), *find_installed()]


@cache
def find_shipped(kind: str) -> Mapping[str, Any]:
    """Those that come with bpttlab, by name, in the order of their modules; not to be changed.

    Of experiments, which are files, their paths.
    """
    if KINDS[kind].home.endswith("/"):
        return {path.stem: path for path in sorted((resources.conf() / KINDS[kind].home).glob("*.yaml"))}
    home = importlib.import_module(KINDS[kind].home)
    inside = pkgutil.iter_modules(home.__path__, f"{home.__name__}.") if hasattr(home, "__path__") else []
    modules = [importlib.import_module(module.name) for module in inside] or [home]
    members = [member for module in modules for member in _members_of(module)]
    return {member.name: member for member in members if is_choice(kind, member)}


@cache
def find_installed() -> tuple[Choice, ...]:
    """Those of installed packages.

    Raises:
        ConfigurationError: a package cannot be imported, or names what cannot be a choice; the message names it.
    """
    found: list[Choice] = []
    from importlib import metadata  # before anything else a command would wait for it

    for entry in sorted(metadata.entry_points(group=GROUP), key=lambda entry: (entry.value, entry.name)):
        with with_field(f"installed plugin {entry.name}"):
            found += choices_of_module(origin_of_module(entry.value))
    refuse_repeated(found)
    return tuple(found)


# ------------------------------------------------------------------ a user's own


@contextmanager
def use(own: Any) -> Iterator[tuple[Choice, ...]]:
    """Makes the choices of a user's own known within a `with` statement.

    Args:
        own: None; the path of a .py file or the name of a module, or several with commas between; a path, a module, a
            class or an object of a contract; or a list of these.

    Raises:
        ConfigurationError: something is wrong with one of them; the message names it.
    """
    before = _ACTIVE.get()
    chosen = load_plugins(own)
    unknown = [choice for choice in chosen if not any(choice.value is one.value for one in before)]
    with with_field("plugins"):
        refuse_repeated([*before, *unknown])
    token = _ACTIVE.set((*before, *unknown))
    try:
        yield chosen
    finally:
        _ACTIVE.reset(token)


def for_workers() -> tuple[Origin, ...]:
    """The files that a worker has to know, in the order in which they are in use."""
    origins = dict.fromkeys(choice.origin for choice in _ACTIVE.get())
    return tuple(origin for origin in origins if origin.reaches_workers)


def restore(origins: Iterable[Origin]) -> None:
    """Makes the choices known that another process knew (`for_workers`), for the rest of this one's life."""
    choices = [choice for origin in origins for choice in choices_of_module(origin)]
    _ACTIVE.set(tuple(choices))


def choices_in_use() -> tuple[Choice, ...]:
    """The choices that are known by `using`."""
    return _ACTIVE.get()


def sources_of(*objects: Any) -> tuple[Source, ...]:
    """The files from outside of bpttlab that decide what objects compute: those of their classes and base classes, and
    of the activations and losses that they name. Each once, sorted by hash."""
    if not own_choices():
        return ()
    known = {id(choice.value): choice.origin for choice in own_choices()}
    origins = {origin_in(known, one) for value in objects for one in _values_of(value)}
    sources = {origin.source.digest: origin.source for origin in origins if origin is not None}
    return tuple(sources[digest] for digest in sorted(sources))


def origin_in(known: Mapping[int, Origin], value: Any) -> Origin | None:
    """The origin of a class or of an object that is a choice."""
    return known.get(id(value)) or (ORIGINS.get(value.__module__) if inspect.isclass(value) else None)


def _values_of(value: Any) -> Iterator[Any]:
    """The classes of an object and of what it holds, and the activations and losses that it names."""
    yield from type(value).__mro__
    for name in {*getattr(value, "__dataclass_fields__", {}), *NAMED}:
        one = getattr(value, name, None)
        if isinstance(one, str) and (kind := kind_of_attribute(name)) is not None:
            yield from filter(None, [available(kind).get(one)])
        else:
            for part in one if isinstance(one, tuple) else (one,):
                if is_dataclass(part):
                    yield from _values_of(part)


NAMED = {"activation": "activation", "output_activation": "activation", "loss_name": "loss"}
"""Attributes that name a choice of another kind."""


def kind_of_attribute(attribute: str) -> str | None:
    """The kind of the choice that an attribute names, if it names one: NAMED, and all that end in _activation."""
    return "activation" if attribute.endswith("_activation") else NAMED.get(attribute)


def load_plugins(own: Any) -> tuple[Choice, ...]:
    """The choices of files, modules, classes and objects, each once; see `using`."""
    found: dict[int, Choice] = {}
    for one in _parts(own):
        for choice in choices_of(one):
            found.setdefault(id(choice.value), choice)
    return tuple(found.values())


def _parts(own: Any) -> list[Any]:
    """Each file, module, class or object of those that were named."""
    if own is None:
        return []
    if isinstance(own, str):
        return list(split(own))
    return [part for one in own for part in _parts(one)] if isinstance(own, list | tuple) else [own]


def choices_of(one: Any) -> list[Choice]:
    """The choices of one file, module, class or object."""
    with with_field(f"plugins={one if isinstance(one, str) else getattr(one, '__name__', one)}"):
        if isinstance(one, ModuleType):
            return choices_of_module(origin_of_module(one.__name__))
        if isinstance(one, str) or hasattr(one, "__fspath__"):
            return choices_of_module(read_source(one))
        return [choice_of(one)]


def choice_of(value: Any) -> Choice:
    """A class, or an object of a contract, as a choice."""
    kind = _kind_of(value)
    if kind is None:
        allowed = "the path of a .py file, a module, or a class of a contract with a name"
        raise ConfigurationError(f"is a {type(value).__name__}: must be {allowed}")
    return check_choice(kind, value, origin_of_value(value))


def choices_of_module(origin: Origin) -> list[Choice]:
    """What a module defines.

    Raises:
        ConfigurationError: it cannot be executed, defines nothing, or something that cannot be a choice.
    """
    module = origin.execute()
    found = []
    for value in _members_of(module):
        kind = _kind_of(value)
        if kind is not None and not is_known(kind, value):
            found.append(check_choice(kind, value, origin_of(value, origin)))
    if not found:
        raise ConfigurationError(f"defines no {', '.join(KINDS)}: a class of such a contract with a name of its own")
    refuse_repeated(found)
    return found


def origin_of(value: Any, origin: Origin) -> Origin:
    """The file of a member of a package: a class may stand in another module of it."""
    if inspect.isclass(value) and value.__module__ != origin.module:
        return origin_of_module(value.__module__)
    return origin


def _members_of(module: ModuleType) -> list[Any]:
    """What a module, or a package with what it imports from its own modules, defines; each once."""
    own = (module.__name__, f"{module.__name__}.")
    members = {id(member): member for name, member in vars(module).items() if not name.startswith("__")}
    return [
        member
        for member in members.values()
        if not inspect.isclass(member) or member.__module__ == own[0] or member.__module__.startswith(own[1])
    ]


def _kind_of(value: Any) -> str | None:
    """The kind of which a class with a name of its own, or an object, is a choice."""
    for name, kind in KINDS.items():
        contract = kind.loaded_contract
        if contract is not None and is_named(value, contract):
            return name
    return None


def is_named(value: Any, contract: Any) -> bool:
    if inspect.isclass(value):
        return issubclass(value, contract) and isinstance(vars(value).get("name"), str)
    return isinstance(value, contract)


def is_choice(kind: str, value: Any) -> bool:
    """Whether it is a whole choice of this kind."""
    return _kind_of(value) == kind and not inspect.isabstract(value)


def is_known(kind: str, value: Any) -> bool:
    """Whether a module has an object from bpttlab, which it may use under any name."""
    return any(value is one for one in find_shipped(kind).values())


# ------------------------------------------------------------------ what can be wrong


def check_choice(kind: str, value: Any, origin: Origin) -> Choice:
    """A choice, or the error that says what it lacks."""
    called = getattr(value, "__name__", value.name)
    if not str(value.name).replace("-", "_").isidentifier():
        raise ConfigurationError(f"{called}.name={value.name!r}: must be letters, digits and _")
    if value.name in find_shipped(kind):
        raise ConfigurationError(f"{called}: the {kind} '{value.name}' comes with bpttlab; give it another name")
    if inspect.isclass(value):
        refuse_incomplete(kind, value)
    return Choice(kind, value.name, value, origin)


def refuse_incomplete(kind: str, value: Any) -> None:
    """Refuses a class that lacks something of its contract."""
    contract = KINDS[kind].loaded_contract.__name__
    missing = sorted(getattr(value, "__abstractmethods__", ()))
    if missing:
        raise ConfigurationError(f"{value.__name__} lacks {', '.join(missing)} of the contract {contract}")
    final = [base.__name__ for base in value.__mro__[1:] if is_shipped(base) and "name" in vars(base)]
    if final:
        raise ConfigurationError(f"{value.__name__} subclasses {final[0]}, which is final: subclass {contract}")
    parameters = vars(value).get("__dataclass_params__")
    if parameters is None or not parameters.frozen:
        raise ConfigurationError(f"{value.__name__} must be a frozen dataclass: @dataclass(frozen=True)")
    refuse_unknown_types(value)


def refuse_unknown_types(value: Any) -> None:
    """Refuses fields that no configuration can give a value."""
    try:
        hints = get_type_hints(value)
    except Exception as error:  # an annotation may be any expression
        raise ConfigurationError(f"{value.__name__}: cannot read its annotations: {single_line(error)}") from None
    inherited = {name for base in value.__mro__ if is_shipped(base) for name in vars(base).get("__annotations__", {})}
    for field in fields(value):
        if field.name not in inherited and not _is_plain(hints[field.name]):
            kind = str(hints[field.name]).removeprefix("<class '").removesuffix("'>")
            allowed = "int, float, bool, str, None, a Literal of such values, or several of these with | between"
            raise ConfigurationError(f"{value.__name__}.{field.name} has the type {kind}: must be {allowed}")


def is_shipped(base: type) -> bool:
    """Whether a class comes with bpttlab."""
    return base.__module__.partition(".")[0] == "bpttlab"


def _is_plain(hint: Any) -> bool:
    """Whether a type has single values alone, which a command line can give and a table can hold."""
    if get_origin(hint) is Literal:
        return all(_is_plain(type(one)) for one in get_args(hint))
    if get_origin(hint) in (Union, UnionType):
        return all(_is_plain(part) for part in get_args(hint))
    return hint in (int, float, bool, str, NoneType)


def refuse_repeated(choices: Iterable[Choice]) -> None:
    """Refuses two choices of one kind and name."""
    seen: dict[tuple[str, str], Choice] = {}
    for choice in choices:
        other = seen.setdefault((choice.kind, choice.name), choice)
        if other is not choice:
            places = " and ".join(f"{name_of(one)} ({one.origin.label})" for one in (other, choice))
            raise ConfigurationError(f"the {choice.kind} '{choice.name}' is defined twice: {places}")


def describe_failure(value: Any, error: Exception) -> str:
    """The failure of a user's own object, with its file and the line: "f.py line 3: KeyError: 'x'"."""
    return describe_error(error, next(choice.origin for choice in own_choices() if choice.value is value))


def name_of(choice: Choice) -> str:
    """What its author calls a choice."""
    return str(getattr(choice.value, "__name__", choice.name))
