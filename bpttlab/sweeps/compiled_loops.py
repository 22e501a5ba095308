"""The compiled loops of a sweep, before its workers begin: which are on disk, which are compiled, which there are not.

Numba is imported by a worker, and by this process only if something has to be compiled: its import takes longer than
all runs of a small sweep.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any, NamedTuple

from tqdm import tqdm

from bpttlab.errors import ConfigurationError, LabError
from bpttlab.gradients.compiled import preload
from bpttlab.networks.cells import Cell
from bpttlab.networks.cells.kernel import has_own_kernel
from bpttlab.plugin_sources import Origin
from bpttlab.plugins import for_workers, restore
from bpttlab.streams import print_error
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.fork_server import preload_of
from bpttlab.sweeps.worker_pool import Workers

Kinds = tuple[list[Cell], list[str]]
"""Cells and dtypes, each in any order."""

OWN_SECONDS = 10.0
"""Of the loops of a cell with a kernel of its own, in each process."""

PATIENCE_SECONDS = 0.25
"""Between two looks at whether the worker has read the loops."""


class Loops(NamedTuple):
    """What there is of the loops of some kinds of cells.

    Attributes:
        stored: whether all of them were read from disk.
        missing: descriptions of the cells that have none.
        problem: why there can be none at all.
    """

    stored: bool
    missing: tuple[str, ...] = ()
    problem: str = ""


def prepare(configurations: Sequence[Configuration], workers: int, silent: bool = False) -> None:
    """Compiles, once for all workers, what engine=numba needs and what is not on disk.

    Where loops cannot be kept on disk, workers compile, or inherit, their own. One line names the cells without loops.

    Raises:
        ConfigurationError: Numba cannot be imported.
    """
    compiled = [configuration for configuration in configurations if configuration.values.engine == "numba"]
    if not compiled:
        return
    kinds: Kinds = list(dict.fromkeys(one.cell for one in compiled)), sorted({one.values.dtype for one in compiled})
    loops = ask_worker(kinds) if workers else Loops(False, find_cells_without_loops(kinds))
    if loops.problem:
        raise ConfigurationError(loops.problem)
    if not silent:
        say_missing(loops.missing)
        say_compiled_by_workers([cell for cell in kinds[0] if workers and has_own_kernel(type(cell))])
    if not loops.stored:
        compile_missing(kinds, workers)


def compile_missing(kinds: Kinds, workers: int) -> None:
    """Compiles what is not on disk, or reads it; not what each worker has to compile by itself."""
    from bpttlab.gradients.compiled import compilation, compile_ahead, forms

    if not workers:
        compile_ahead.compile_loops(*kinds)
    elif compilation.find_cache().kept:
        compile_ahead.compile_loops([cell for cell in kinds[0] if not forms.is_own(cell)], kinds[1])


def ask_worker(kinds: Kinds) -> Loops:
    """`read_loops` in a worker; this process need not import Numba then."""
    with Workers(1, read_loops, preload_of(["numba"]), prepare=worker_preparation()) as one:
        one.give(kinds)
        while not (answers := one.answers(PATIENCE_SECONDS)):
            pass
    return answers[0].result or Loops(False)


def read_loops(kinds: Kinds) -> Loops:
    """Reads the loops that are on disk."""
    tqdm.set_lock(threading.RLock())  # its own is a semaphore of the system, which a worker leaves behind
    try:
        missing = find_cells_without_loops(kinds)
    except LabError as error:
        return Loops(False, problem=str(error))
    return Loops(preload.are_read(kinds), missing)


def find_cells_without_loops(kinds: Kinds) -> tuple[str, ...]:
    """Descriptions of the cells that have no compiled loops.

    Raises:
        ConfigurationError: Numba cannot be imported.
    """
    from bpttlab.gradients.compiled import compilation

    compilation.check_imports()
    from bpttlab.gradients.compiled import forms

    cells, dtypes = kinds
    without = [cell for cell in cells if not all(forms.has_kernel(cell, dtype) for dtype in dtypes)]
    return tuple(dict.fromkeys(map(describe_kind_of_cell, without)))


def describe_kind_of_cell(cell: Cell) -> str:
    """Its name, and its activation if the cell has loops with another one."""
    from bpttlab.gradients.compiled import forms

    settings: Any = cell
    if hasattr(cell, "activation") and forms.has_kernel(replace(settings, activation="tanh"), "float64"):
        return f"{cell.name} with activation={settings.activation}"
    return cell.name


def describe_missing(missing: Sequence[str]) -> str:
    """That these cells have no compiled loops."""
    has, runs = ("cell {} has", "it runs") if len(missing) == 1 else ("cells {} have", "they run")
    return f"{has.format(', '.join(missing))} no compiled loops: {runs} in NumPy"


def say_missing(missing: Sequence[str]) -> None:
    """One line that names the cells without compiled loops, if there are any."""
    if missing:
        print_error(f"bpttlab: {describe_missing(missing)}")


def say_compiled_by_workers(cells: Sequence[Cell]) -> None:
    """One line that names the cells whose loops each worker compiles, if there are any."""
    if names := ", ".join(dict.fromkeys(cell.name for cell in cells)):
        print_error(f"bpttlab: each worker compiles the kernel of {names}: about {OWN_SECONDS:.0f} s")


@cache
def say_missing_once(cell: Cell, dtype: str) -> None:
    """`say_missing` of one cell, once in this process."""
    say_missing(find_cells_without_loops(([cell], [dtype])))


def worker_preparation() -> Callable[[], None]:
    """What makes a worker know the files that this process uses."""
    return partial(prepare_worker, for_workers())


def prepare_worker(origins: tuple[Origin, ...]) -> None:
    """A worker knows these files, and leaves to the process that started it to say what each worker compiles."""
    from bpttlab.gradients.compiled import compilation

    restore(origins)
    compilation.ANNOUNCER.leaves_out_own = True
