"""All loops of a kind of cell, compiled before they are needed, by several processes at once.

A loop is compiled by calling it on the smallest arrays. Where none is on disk, other processes take a part of them and
keep the machine code on disk, and this process reads it there. What another process does not manage is compiled here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bpttlab import resources
from bpttlab.gradients.compiled import compilation, dispatch, engine, forms, leading_pairs, preload, spectral_kernels
from bpttlab.gradients.compiled.products import load_product
from bpttlab.gradients.trace import Trace
from bpttlab.networks.cells import Stacked
from bpttlab.networks.cells.cell import Cell, Params
from bpttlab.numerics.array import Array
from bpttlab.numerics.scaled import Scaled
from bpttlab.user_environment import processors

LONGEST_WAIT = 300.0
"""Seconds for which this process waits for another one's part before it compiles that itself."""
MOST_PROCESSES = 4
"""More gain nothing: the forward pass and its products alone take four tenths of all seconds."""


class Smallest(NamedTuple):
    """A network of one unit of each kind, all zeros, and what its loops are called with."""

    cell: Cell
    params: Params
    x: Array
    h: Array
    slopes: Array

    @classmethod
    def of(cls, cell: Cell, dtype: np.dtype[Any]) -> Smallest:
        params = {name: np.zeros(shape, dtype) for name, shape in cell.parameter_shapes().items()}
        x, h = np.zeros((1, 1, cell.input_size), dtype), np.zeros((2, 1, cell.state_size), dtype)
        return cls(cell, params, x, h, np.zeros((1, 1, cell.linearization_size), dtype))

    def zeros(self, *axes: int) -> Array:
        """Of so many states."""
        return np.zeros((*axes, self.cell.state_size), self.x.dtype)


def load_products(one: Smallest) -> None:
    load_product(one.x.dtype)


def call_forward(one: Smallest) -> None:
    dispatch.run_forward(one.cell, one.params, one.x, one.h[0])


def call_walk(one: Smallest) -> None:
    exponents, segments = np.zeros((1, 1), np.int64), np.array([[0, 1, 0]])
    dispatch.walk(one.cell, one.params, one.slopes, one.h[1:], exponents, segments, np.ones(1))


def call_products(one: Smallest) -> None:
    dispatch.scaled_vjp(one.cell, one.params, one.slopes[0][None], one.h[1:, None], np.zeros((1, 1, 1, 1), np.int64))


def call_lag_terms(one: Smallest) -> None:
    total, zero = np.zeros((1, 1, one.cell.preactivation_size), one.x.dtype), np.zeros((1, 1, 1), np.int64)
    dispatch.vjp_and_add(
        one.cell, one.params, one.slopes, np.ones(1, np.int64), 0, 1, one.zeros(1, 1, 1), zero[None], total, zero
    )


def call_sums_of_lags(one: Smallest) -> None:
    """Of an Elman cell; there are none of others."""
    if isinstance(one.cell, engine.LIKE_ELMAN):
        y_hat = np.zeros((1, 1, one.cell.output_size), one.x.dtype)
        trace = Trace(one.cell, one.params, one.x, one.h, y_hat, engine.COMPILED)
        local, place, alone = np.zeros((1, 1, 3), one.x.dtype), np.zeros(1, np.int64), np.ones(1, bool)
        engine.COMPILED.sum_lags(trace.with_linearization(one.slopes), one.h[1:] + 1, local, place, alone, np.arange(3))


def call_many_lags(one: Smallest) -> None:
    dispatch.vjp_many(one.cell, one.params, one.slopes, one.zeros(2, 1, 1), np.zeros((2, 1, 1, 1), np.int64))


def call_norms(one: Smallest) -> None:
    matrices, exponents = np.zeros((1, 1, 1), one.x.dtype), np.zeros((1, 1), np.int64)
    spectral_kernels.log_norms(matrices, exponents, np.ones(1), np.ones(1), np.empty(1))


def call_leading_pairs(one: Smallest) -> None:
    leading_pairs.DirectNorms().leading_pairs(Scaled.of(np.zeros((1, 1, 1), one.x.dtype)))


LOOPS: dict[str, tuple[Callable[[Smallest], None], float]] = {
    "matrix products": (load_products, 1.7),
    "norms": (call_norms, 2.4),
    "leading singular vectors": (call_leading_pairs, 2.1),
    "forward pass": (call_forward, 4.1),
    "truncated gradients": (call_walk, 3.0),
    "sums of lags": (call_sums_of_lags, 1.5),
    "lag terms": (call_lag_terms, 1.1),
    "Jacobian products": (call_products, 0.8),
    "products of many lags": (call_many_lags, 0.6),
}
"""By name: what calls a loop, and the seconds of its compilation for an Elman cell.

These are what a run of a sweep needs. The gradient in plain numbers, which no run calls, is compiled at its first call.
Each process keeps this order: `norms` and `leading singular vectors` need no matrix products, which another process
compiles meanwhile.
"""


def choose_loops(cells: Iterable[Cell]) -> dict[str, float]:
    """The loops that cells of these sizes need, with their seconds: of the two for singular values often only one."""
    sizes = {size for cell in cells for size in (cell.hidden_size, cell.state_size)}
    left = {"norms"} if max(sizes) <= leading_pairs.LARGEST_SIZE else set()
    left |= {"leading singular vectors"} if min(sizes) > leading_pairs.LARGEST_SIZE else set()
    return {name: seconds for name, (_, seconds) in LOOPS.items() if name not in left}


def compile_loops(cells: Iterable[Cell], dtypes: Sequence[str], processes: int | None = None) -> None:
    """Compiles what these cells need, or reads it from disk: before there are several processes that would do it.

    Args:
        processes: how many compile at once, this one among them; by default as many as there are processors.

    Raises:
        LabError: machine code cannot be written.
    """
    compilable = [(cell, np.dtype(dtype)) for cell in cells for dtype in dtypes if forms.has_kernel(cell, dtype)]
    kinds: dict[Any, list[Cell]] = {}
    for cell, dtype in compilable:
        kinds.setdefault((forms.name_kind(forms.find_form(cell).kind), dtype), []).append(cell)
    for (_, dtype), (cell, *more) in kinds.items():
        what, kept, needed = f"{describe_loops(cell)} in {dtype}", not forms.is_own(cell), choose_loops([cell, *more])
        with compilation.announce(what, len(needed), kept) as announcement:
            own, *others = divide(processes or count_processes(cell, dtype), needed)
            with compile_elsewhere(cell, dtype, others):
                call_loops(cell, dtype, own, announcement.step)
            call_loops(cell, dtype, [name for name in needed if name not in own], announcement.step)


def describe_loops(cell: Cell) -> str:
    """What an announcement calls it."""
    return f"{cell.name} of {cell.cells[0].name}" if isinstance(cell, Stacked) else cell.name


def call_loops(cell: Cell, dtype: np.dtype[Any], names: Iterable[str], begin: Callable[[str], None]) -> None:
    """Calls some loops once; `begin` gets the name of what comes next."""
    one = Smallest.of(cell, dtype)
    for name in names:
        begin(name)
        LOOPS[name][0](one)


# ------------------------------------------------------------------ several processes


def count_processes(cell: Cell, dtype: np.dtype[Any]) -> int:
    """How many should compile: one where all is on disk already, or nothing is kept there."""
    most = 1 if forms.is_own(cell) else min(MOST_PROCESSES, processors())
    return 1 if most == 1 or not compilation.find_cache().kept or preload.are_read(([cell], [dtype.name])) else most


def divide(processes: int, seconds: Mapping[str, float] | None = None) -> list[list[str]]:
    """The names of loops for each of so many processes, of about equal seconds, in the order of `seconds`."""
    seconds = {name: long for name, (_, long) in LOOPS.items()} if seconds is None else seconds
    parts: list[list[str]] = [[] for _ in range(processes)]
    for name in sorted(seconds, key=lambda name: -seconds[name]):
        min(parts, key=lambda part: sum(seconds[one] for one in part)).append(name)
    return [sorted(part, key=list(seconds).index) for part in parts]


@contextmanager
def compile_elsewhere(cell: Cell, dtype: np.dtype[Any], parts: Sequence[Sequence[str]]) -> Iterator[None]:
    """Other processes compile these parts meanwhile; at the end it waits for them, or ends them after an exception."""
    started: list[subprocess.Popen[str]] = []
    try:
        for names in parts:
            with suppress(OSError, TypeError):  # no process can be started, or this one has no interpreter
                started.append(start_process([cell.name, smallest_fields(cell), dtype.name, list(names)]))
        yield
        for process in started:
            with suppress(subprocess.TimeoutExpired):
                process.wait(LONGEST_WAIT)
    finally:
        for process in started:
            process.kill()
            process.wait()
            if process.stdin is not None:
                process.stdin.close()


def start_process(request: list[Any]) -> subprocess.Popen[str]:
    """One that answers a request, and ends when the pipe to it does."""
    command = [sys.executable, "-c", f"from {__name__} import answer_request; answer_request()", json.dumps(request)]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, stdin=subprocess.PIPE, text=True, env=find_same_package(), **quiet)


ONE_UNIT = {"input_size": 1, "hidden_size": 1, "output_size": 1}


def smallest_fields(cell: Cell) -> dict[str, Any]:
    """The fields of a cell of the same kind with one unit of each sort; of the layers of a stack name and fields."""
    if isinstance(cell, Stacked):
        layer = cell.cells[0]
        return {"layers": cell.layers, "of": [layer.name, smallest_fields(layer)], **ONE_UNIT}
    return {**asdict(cell), **ONE_UNIT}  # type: ignore[call-overload]


def build_cell(name: str, fields: dict[str, Any]) -> Cell:
    """The shipped cell of that name with `smallest_fields`."""
    if name == Stacked.name:
        return Stacked(**{**fields, "of": build_cell(*fields["of"])})
    return next(kind for kind in forms.SHIPPED_FORMS if kind.name == name)(**fields)


def find_same_package() -> dict[str, str]:
    """The environment of this process, in which the same package is found."""
    folders = [str(Path(resources.PACKAGE).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}


def answer_request() -> None:
    """Compiles what the request on the command line names, in a process of its own that ends with its parent."""
    threading.Thread(target=watch_parent, daemon=True).start()
    name, fields, dtype, names = json.loads(sys.argv[1])
    call_loops(build_cell(name, fields), np.dtype(dtype), names, lambda name: None)


def watch_parent() -> None:
    """The pipe ends when the parent does, however it ends."""
    sys.stdin.read()
    os._exit(1)
