"""The source of a user's own classes: read once, identified by its bytes, executed under one name in every process.

The bytes of a file that were hashed are the bytes that are executed, in this process and in workers, whatever becomes
of the file meanwhile. A module is imported by its name, in workers from the folder where this process found it.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from bpttlab.errors import ConfigurationError, LabError, nearest

_ENDING = ".py"

NOTEBOOK = "__main__"
"""The module of classes that are defined in a notebook, or in the script that is run."""

_DIGITS = 32
"""How many of the 64 hexadecimal digits that sha256sum shows of a file are part of a run's identity."""

FILES = "bpttlab_plugin_"
"""What the name in `sys.modules` of a file begins with."""


class Source(NamedTuple):
    """What a run keeps of the file that defines a class that it uses.

    Attributes:
        label: what the user calls the file.
        digest: the part of its hash that is part of the run's identity.
        reaches_workers: whether another process can execute it.
    """

    label: str
    digest: str
    reaches_workers: bool


@dataclass(frozen=True)
class Origin:
    """Where choices are defined.

    Attributes:
        label: what the user calls it: the path as it was given, the name of a module, or that of a class.
        module: its name in `sys.modules`.
        sha256: 64 hexadecimal digits, of the bytes of the file; of a class in a notebook, of its source text.
        path: the absolute path of the file.
        code: the bytes of a file that is executed; None: a module is imported by its name.
        folder: of a module the folder where it, or the package that it is in, was found.
    """

    label: str
    module: str
    sha256: str
    path: str = ""
    code: bytes | None = field(default=None, repr=False)
    folder: str = ""

    @property
    def source(self) -> Source:
        """What a run keeps of it."""
        return Source(self.label, self.sha256[:_DIGITS], self.reaches_workers)

    @property
    def reaches_workers(self) -> bool:
        """Whether another process can execute or import it."""
        return self.module != NOTEBOOK

    def execute(self) -> ModuleType:
        """The module; it is executed or imported once in each process.

        Raises:
            ConfigurationError: it does not parse, raises an exception, or is not what was hashed.
        """
        ORIGINS.setdefault(self.module, self)
        if self.code is not None:
            return sys.modules.get(self.module) or execute_file(self, self.code)
        if self.folder and self.folder not in sys.path:
            sys.path.append(self.folder)
        module = import_module(self.module)
        if self.path and sha256(Path(self.path).read_bytes()) != self.sha256:
            raise ConfigurationError(f"{self.path} has changed since it was imported: start Python again")
        return module


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@contextmanager
def with_field(field: str) -> Iterator[None]:
    """Errors raised inside begin with the field that named what is wrong."""
    try:
        yield
    except LabError as error:
        raise ConfigurationError(f"{field}: {error}") from None


def split(names: str) -> Iterator[str]:
    """The files and modules of a text with commas.

    Raises:
        ConfigurationError: there is nothing before, between or after the commas.
    """
    for name in names.split(","):
        if not name.strip():
            raise ConfigurationError(f"plugins={names}: a name is missing: give files or modules with commas between")
        yield name.strip()


# ------------------------------------------------------------------ files


def read_source(path: str | os.PathLike[str]) -> Origin:
    """The origin of a file that is named by its path; of a module that is named by its name.

    Raises:
        ConfigurationError: there is neither, it cannot be read, or is no .py file.
    """
    label = os.fspath(path)
    file = Path(label).expanduser()
    if may_be_a_module(label) and (not file.exists() or (file.is_dir() and is_a_package(label))):
        return origin_of_module(label)
    if not file.exists():
        raise ConfigurationError(f"there is no such file.{_nearest_file(file)}")
    if file.is_dir():
        raise ConfigurationError("is a folder: must be a .py file, or the name of a module that can be imported")
    if file.suffix != _ENDING:
        raise ConfigurationError("must be a file that ends in .py, or the name of a module")
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot be read: {error.strerror}") from None
    where = str(file.resolve())
    name = f"{FILES}{file.stem}_{sha256(where.encode() + data)[:_DIGITS]}"
    return Origin(label, name, sha256(data), where, data)


def may_be_a_module(label: str) -> bool:
    return all(part.isidentifier() for part in label.split(".")) and not label.endswith(_ENDING)


def is_a_package(name: str) -> bool:
    """Whether a folder's name is that of a package that can be imported, and has a file."""
    spec = importlib.util.find_spec(name) if "." not in name else None
    return spec is not None and spec.origin is not None


def _nearest_file(path: Path) -> str:
    """The .py file, or the folder's file of a module's name, that was perhaps meant."""
    folder = path.parent
    names = [name for name in os.listdir(folder) if name.endswith(_ENDING)] if folder.is_dir() else []
    stem = path.name.removesuffix(_ENDING)
    return nearest(stem, [name.removesuffix(_ENDING) for name in names]).replace("'?", f"{_ENDING}'?")


def execute_file(origin: Origin, code: bytes) -> ModuleType:
    """The module of a file, which stays in `sys.modules` if it can be executed: there pickle looks for its classes."""
    spec = importlib.util.spec_from_loader(origin.module, loader=None, origin=origin.path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    module.__file__ = origin.path
    try:
        parsed = ast.parse(code, origin.path)
        compiled = compile(parsed, origin.path, "exec", dont_inherit=True)
    except SyntaxError as error:
        where = f"line {error.lineno}: " if error.lineno else ""
        raise ConfigurationError(f"{where}cannot be parsed: {error.msg}") from None
    except ValueError as error:  # a null character, in some versions of Python
        raise ConfigurationError(f"cannot be parsed: {error}") from None
    refuse_repeated_classes(parsed)
    sys.modules[origin.module] = module
    try:
        exec(compiled, vars(module))
    except (Exception, SystemExit) as error:
        del sys.modules[origin.module]
        raise ConfigurationError(f"{_line_of(error, origin.path)}{single_line(error)}") from error
    return module


def refuse_repeated_classes(module: ast.Module) -> None:
    """Refuses two classes of one name, of which Python would keep the second.

    Raises:
        ConfigurationError: naming the class and both lines.
    """
    lines: dict[str, int] = {}
    for one in module.body:
        if isinstance(one, ast.ClassDef) and lines.setdefault(one.name, one.lineno) != one.lineno:
            first, second = lines[one.name], one.lineno
            raise ConfigurationError(f"line {second}: the class {one.name} is defined in line {first}, too; rename one")


def describe_error(error: BaseException, origin: Origin) -> str:
    """An exception of a user's own function in one line: "f.py line 3: KeyError: 'x'"."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == origin.path]
    where = f" line {lines[-1]}" if lines else ""
    return f"{origin.label}{where}: {single_line(error)}"


def _line_of(error: BaseException, path: str) -> str:
    """The last line of a file that an exception passed."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    return f"line {lines[-1]}: " if lines else ""


def last_line_of(error: BaseException) -> str:
    """The file and line that raised an exception."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{os.path.basename(frame.filename)}, line {frame.lineno}: " if frame.filename.endswith(_ENDING) else ""


def single_line(error: BaseException) -> str:
    """An exception as its type and its message."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")


# ------------------------------------------------------------------ modules


def origin_of_module(name: str) -> Origin:
    """The origin of a module that can be imported.

    Raises:
        ConfigurationError: there is none, or it raises an exception.
    """
    if name in ORIGINS:
        return ORIGINS[name]
    path = getattr(import_module(name), "__file__", None)
    if path is None:
        raise ConfigurationError(f"the module {name} has no file")
    return Origin(name, name, sha256(Path(path).read_bytes()), path, None, folder_of(name, path))


ORIGINS: dict[str, Origin] = {}
"""Of each module that was executed or imported here, by its name in `sys.modules`: the bytes that it had then."""


def folder_of(name: str, path: str) -> str:
    """The entry of `sys.path` under which a module is found."""
    levels = name.count(".") + (1 if os.path.basename(path) == "__init__.py" else 0)
    return str(Path(path).resolve().parents[levels])


def import_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise ConfigurationError(f"there is no such file and no such module.{_nearest_file(Path(name))}") from None
        raise ConfigurationError(f"{last_line_of(error)}{single_line(error)}") from error
    except SyntaxError as error:
        raise ConfigurationError(single_line(error)) from None
    except (Exception, SystemExit) as error:
        raise ConfigurationError(f"{last_line_of(error)}{single_line(error)}") from error


# ------------------------------------------------------------------ classes


def origin_of_value(value: Any) -> Origin:
    """The origin of a class; of an object the first of its functions that is not bpttlab's."""
    if inspect.isclass(value):
        return origin_of_definition(value)
    functions = [one for one in vars(value).values() if inspect.isfunction(one)]
    own = [one for one in functions if not one.__module__.startswith("bpttlab.")]
    if not own:
        raise ConfigurationError("has no function of its own, so its file is not known: name the file")
    return origin_of_definition(own[0])


def origin_of_definition(kind: Any) -> Origin:
    """The origin of a class or a function: its module, or its own text where it is defined in a notebook.

    Raises:
        ConfigurationError: there is no text of it, so that runs of two versions would have one identity.
    """
    if kind.__module__ != NOTEBOOK:
        return origin_of_module(kind.__module__)
    own = [one for one in getattr(kind, "__mro__", (kind,)) if one.__module__ == NOTEBOOK]
    try:
        text = "".join(map(inspect.getsource, own))
    except (OSError, TypeError):
        raise ConfigurationError("there is no source text of it: put it into a .py file, and name that") from None
    return Origin(kind.__name__, NOTEBOOK, sha256(text.encode()))
