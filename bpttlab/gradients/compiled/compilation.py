"""How loops are compiled: where their machine code is kept, and what is said while it is made.

Numba keeps machine code in the folder that NUMBA_CACHE_DIR names, else beside the source, else in the user's folder for
caches. Where none of them can be written, it is kept in a folder of this user alone among the temporary files; where
that is not possible either, it lives as long as the process.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bpttlab.errors import ConfigurationError, LabError
from bpttlab.streams import Lenient, print_error
from bpttlab.user_environment import private_folder

INSTALL = "pip install numba"
WAY_OUT = "engine=numpy needs no Numba"
UNWRITABLE = "neither the folder of the package nor that of your caches can be written"


def check_installed() -> None:
    """Raises a ConfigurationError where there is no Numba."""
    if "numba" not in sys.modules and find_spec("numba") is None:
        raise ConfigurationError(f"engine=numba: the package numba is not installed; {INSTALL} adds it, and {WAY_OUT}")


def check_imports() -> None:
    """Raises a ConfigurationError where Numba cannot be imported, after which its loops would be plain Python."""
    if sys.modules.get("numba") is not None:
        return
    check_installed()
    try:
        importlib.import_module("numba")
    except Exception as error:  # a NumPy that is too new, a library that cannot be loaded
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ConfigurationError(f"engine=numba: the package numba cannot be imported ({reason}); {WAY_OUT}") from None


def compiled(*fastmath: str) -> Callable[[Any], Any]:
    """Machine code at the first call, kept on disk for the next process; as it stands where there is no Numba."""
    try:
        from numba import njit
    except Exception:  # it is reported where it is needed (`check_imports`)
        return lambda function: function
    # a nan is looked for afterwards, and tanh relies on (t + c) - c
    assert not {"fast", "reassoc", "ninf", "arcp", "afn"}.intersection(fastmath)
    listen()
    settings: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": set(fastmath)}
    decorate: Callable[[Any], Any] = njit(cache=find_cache().kept, **settings)
    return lambda function: keep_by_package(decorate(function))


def compile_for_address(function: Callable[..., None], signature: Any) -> Any:
    """Machine code that is called by its `address`, from disk where it is kept there."""
    from numba.core.ccallback import CFunc

    found = CFunc(function, (signature.args, signature.return_type), {}, {})
    if find_cache().kept:
        found.enable_caching()
        keep_by_package(found)
    found.compile()
    return found


def interprets() -> bool:
    """Whether loops are interpreted: Numba cannot be imported, or NUMBA_DISABLE_JIT is set."""
    try:
        from numba import config
    except Exception:  # as in `compiled`
        return True
    return bool(config.DISABLE_JIT)  # type: ignore[attr-defined]


NOT_KEPT: set[type] = set()
"""Kinds of which nothing is kept on disk: those of cells of a user's own. Their classes are made in each process, and
an index on disk that names one could be read by no other."""


def is_kept(types: Any) -> bool:
    """Whether machine code for arguments of these types may be on disk."""
    return all(find_own_kind(one) is None for one in types)


def find_own_kind(one: Any) -> type | None:
    """The class of `NOT_KEPT` in a type of Numba, which may hold others."""
    kind = getattr(one, "instance_class", None)
    if kind in NOT_KEPT:
        return kind
    return next(filter(None, map(find_own_kind, getattr(one, "types", ()))), None)


def keep_by_package(loop: Any) -> Any:
    """What is on disk counts for this source of the whole package: Numba looks at the file of the loop alone."""
    stored = getattr(loop, "_cache", None)
    files = getattr(stored, "_cache_file", None)
    if files is not None:
        files._source_stamp = describe_source()
        keep_own_in_memory(stored)
    return loop


def keep_own_in_memory(stored: Any) -> None:
    """Nothing of `NOT_KEPT` is looked for on disk, or written there."""
    load, save = stored.load_overload, stored.save_overload

    def look(signature: Any, context: Any) -> Any:
        return load(signature, context) if is_kept(getattr(signature, "args", signature)) else None

    def write(signature: Any, data: Any) -> None:
        if is_kept(getattr(signature, "args", signature)):
            save(signature, data)

    stored.load_overload, stored.save_overload = look, write


@cache
def describe_source() -> str:
    """A digest of all files whose loops call each other: those of this folder."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


# ------------------------------------------------------------------ where it is kept


class Cache:
    """Whether machine code is kept, and what there is to say of the place if it is not the usual one."""

    def __init__(self, kept: bool, remark: str = "") -> None:
        self.kept = kept
        self.remark = remark


@cache
def find_cache() -> Cache:
    """The place of machine code of this process; Numba's own one, if it can be written."""
    from numba import config

    if has_place():
        return Cache(True)
    folder = private_folder("numba")
    if folder is not None:
        config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]
        if has_place():
            return Cache(True, f"they are kept in {folder}, since {UNWRITABLE}; NUMBA_CACHE_DIR names another folder")
    return Cache(False, f"they cannot be kept, since {UNWRITABLE}; NUMBA_CACHE_DIR names another folder")


def has_place() -> bool:
    """Whether Numba finds a folder for the machine code of a function of this file."""
    from numba import njit

    try:
        njit(cache=True)(_probe)
    except RuntimeError:  # no locator available
        return False
    return True


def _probe() -> None:
    """Never called."""


# ------------------------------------------------------------------ what is said


class Announcer:
    """Says that loops are compiled when that begins; what is read from disk says nothing.

    Attributes:
        what: the loops that are compiled now, if that was announced by `announce`.
        told: what was said in this process.
        leaves_out_own: whether another process has said that each compiles the kernels of a user's own.
    """

    def __init__(self) -> None:
        self.what: Announcement | Silence | None = None
        self.told: set[str] = set()
        self.leaves_out_own = False

    def begin(self, dispatcher: Any, types: Any) -> None:
        if not dispatcher.py_func.__module__.startswith("bpttlab."):
            return
        if self.what is not None:
            self.what.begin()
        elif not is_kept(types):
            self.begin_own(types)
        elif (dtype := dtype_of(types)) not in self.told:
            self.told.add(dtype)
            _say(f"compiling loops for {dtype}{describe_frequency()}")

    def begin_own(self, types: Any) -> None:
        """Says once of each cell with a kernel of its own that its loops are compiled."""
        name = next(kind.__name__ for kind in map(find_own_kind, types) if kind is not None)
        if name not in self.told and not self.leaves_out_own:
            self.told.add(name)
            _say(f"compiling the loops of {name}{OWN_REMARK}")


class Silence:
    """In place of an announcement where nothing is to be said."""

    def begin(self) -> None:
        pass


OWN_REMARK = ", in each process: those of a kernel of your own are not kept on disk"
ANNOUNCER = Announcer()


class Announcement:
    """The compilation of the loops of one kind of cell, of which nothing is said before it begins."""

    def __init__(self, what: str, steps: int, kept: bool = True) -> None:
        self.what, self.steps, self.kept = what, steps, kept
        self.begun: float | None = None
        self.bar: Any = None
        self.done, self.name = 0, ""

    def begin(self) -> None:
        if self.begun is None:
            from tqdm import tqdm

            self.begun = time.monotonic()
            _say(f"compiling the loops of {self.what}{describe_frequency() if self.kept else OWN_REMARK}")
            bar = "{desc} {n}/{total} {elapsed}"
            begun = {"total": self.steps, "initial": self.done, "disable": None, "leave": False}
            self.bar = tqdm(bar_format=bar, file=Lenient(sys.stderr), **begun)
        self.show()

    def step(self, name: str) -> None:
        """The loops of this name are next."""
        self.done, self.name = self.done + bool(self.name), name
        if self.bar is not None:
            self.bar.n = self.done
            self.show()

    def show(self) -> None:
        self.bar.set_description_str(f"compiling {self.what}: {self.name}")

    def end(self) -> None:
        if self.begun is not None:
            self.bar.close()
            _say(f"compiled the loops of {self.what} in {time.monotonic() - self.begun:.0f} s")


@contextmanager
def announce(what: str, steps: int, kept: bool = True) -> Iterator[Announcement]:
    """What is compiled meanwhile is announced as the loops of `what`, with the number of steps and its seconds.

    Args:
        kept: whether machine code of `what` may be on disk at all.

    Raises:
        LabError: machine code cannot be written.
    """
    announcement = Announcement(what, steps, kept)
    before, ANNOUNCER.what = ANNOUNCER.what, announcement
    try:
        yield announcement
        announcement.end()
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise LabError(
            f"the compiled loops of {what} cannot be kept: {where}{error.strerror or error}; NUMBA_CACHE_DIR names "
            "another folder, and engine=numpy compiles nothing"
        ) from None
    finally:
        ANNOUNCER.what = before
        if announcement.bar is not None:
            announcement.bar.close()


@contextmanager
def say_nothing() -> Iterator[None]:
    """What is compiled meanwhile, in a moment, is not announced."""
    before, ANNOUNCER.what = ANNOUNCER.what, Silence()
    try:
        yield
    finally:
        ANNOUNCER.what = before


def _say(line: str) -> None:
    """Prints a line to stderr."""
    print_error(f"bpttlab: {line}")


def describe_frequency() -> str:
    """Whether it is once, and where the machine code is kept if that is not the usual place, once in this process."""
    cache, often = find_cache(), ", once on this machine" if find_cache().kept else ""
    if not cache.remark or cache.remark in ANNOUNCER.told:
        return often
    ANNOUNCER.told.add(cache.remark)
    return f"{often}; {cache.remark}"


def dtype_of(types: Any) -> str:
    """The dtype of the first array of floats among the arguments of a loop."""
    names = [str(getattr(one, "dtype", "")) for one in types]
    return next((name for name in names if name.startswith("float")), "numbers")


@cache
def listen() -> None:
    """From here on every compilation in this process is announced."""
    from numba.core import event

    class Listener(event.Listener):
        def on_start(self, event: Any) -> None:
            ANNOUNCER.begin(event.data["dispatcher"], event.data["args"])

        def on_end(self, event: Any) -> None:
            pass

    event.register("numba:compile", Listener())
