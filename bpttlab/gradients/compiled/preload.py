"""Compiled loops that are on disk already, read before workers part.

The process that workers are forked from imports this module, with the variable of the environment that says for which
cells and dtypes: it reads in the time in which the sweep is planned what every worker would have to read by itself.
Nothing is compiled here, except where loops cannot be kept on disk: then workers inherit what this process compiled.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from io import StringIO
from typing import Any

VARIABLE = "BPTTLAB_PRECOMPILED"
"""The variable that names the loops to load: names of cells and of dtypes, "elman,gru float64"."""


class NotOnDisk(Exception):
    """Something would have to be compiled."""


def are_read(kinds: tuple[Sequence[Any], Sequence[str]]) -> bool:
    """Reads the loops of these cells and dtypes, and says whether all were on disk; where not, some may be read.

    Those of a user's own kernels, which are on no disk, do not count.
    """
    cells, dtypes = kinds
    try:
        with no_compilation():
            from bpttlab.gradients.compiled import compile_ahead, forms

            compile_ahead.compile_loops([cell for cell in cells if not forms.is_own(cell)], dtypes, processes=1)
    except NotOnDisk:
        return False
    return True


@contextmanager
def no_compilation() -> Iterator[None]:
    """Numba raises NotOnDisk where it would compile; what `compilation` would announce is not said."""
    from numba.core import event

    class Refusal(event.Listener):
        def on_start(self, event: Any) -> None:
            raise NotOnDisk

        def on_end(self, event: Any) -> None:
            pass

    refusal = Refusal()
    event.register("numba:compile", refusal)
    try:
        with redirect_stderr(StringIO()):
            yield
    finally:
        event.unregister("numba:compile", refusal)


def request_preload(cells: Iterable[str], dtypes: Iterable[str]) -> dict[str, str]:
    """The variable that asks for these."""
    return {VARIABLE: f"{','.join(cells)} {','.join(dtypes)}"}


def preload_requested(requested: str) -> bool:
    """Reads what the variable names, and compiles what can be kept in memory alone; whether all is there.

    Cells that need more than sizes are left out.
    """
    from bpttlab import plugins
    from bpttlab.errors import LabError

    names, _, dtypes = requested.partition(" ")
    smallest = []
    for name in names.split(","):
        with suppress(LabError, TypeError):
            kind: Any = plugins.find("cell", name)
            smallest.append(kind(input_size=1, hidden_size=1, output_size=1))
    return are_read((smallest, dtypes.split(","))) or compile_in_memory(smallest, dtypes.split(","))


def compile_in_memory(cells: Sequence[Any], dtypes: Sequence[str]) -> bool:
    """Compiles loops for processes forked from this one, if loops cannot be kept on disk; whether it did."""
    from bpttlab.gradients.compiled import compilation, compile_ahead

    if compilation.find_cache().kept:
        return False
    compile_ahead.compile_loops(cells, dtypes, processes=1)
    return True


if VARIABLE in os.environ:
    with suppress(Exception):  # it happens again where it can be reported
        preload_requested(os.environ[VARIABLE])
