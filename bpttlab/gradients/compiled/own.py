"""The loops of cells of a user's own that have a kernel (`networks.cells.kernel`).

Each marked class becomes a kind, whose settings are the numbers among its fields. What `kinds` calls W are the
parameters, as a named tuple. Machine code of such a kind lives as long as its process (`compilation.NOT_KEPT`).

Before a kernel is used, its functions are interpreted on a draw, small and of the size of the cell, where an index out
of range or a number written into what is given is an error and no damage. They are compiled for the small draw. Each
time what they fill is compared with `step`, `linearize` and `vjp` of the class.

Index legend: T time, B sequence, S state, Q sequences of a step, R rows for each.
"""

from __future__ import annotations

import re
import traceback
from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from functools import cache, lru_cache
from pathlib import PurePath
from typing import Any

import numpy as np

from bpttlab.errors import ConfigurationError, LabError
from bpttlab.gradients.compiled import elementary
from bpttlab.gradients.compiled.arrays import add_product, align, copy_rows
from bpttlab.gradients.compiled.compilation import NOT_KEPT, interprets, say_nothing
from bpttlab.gradients.compiled.kinds import define_loops
from bpttlab.gradients.compiled.lstm import step_back_gates
from bpttlab.gradients.compiled.products import load_product
from bpttlab.networks.cells import Scales
from bpttlab.networks.cells.cell import Cell, Params
from bpttlab.networks.cells.kernel import (
    ONE_DTYPE,
    kernel_functions,
    logistic_with_slope,
    multiply_add,
    tanh_with_slope,
)
from bpttlab.numerics.agreement import agreement, disagreement
from bpttlab.numerics.array import Array

INTERPRETS = interprets()
WITHOUT_KERNEL = "engine=numpy needs no kernel"
COMPARED_SIZES: Any = (
    {"input_size": 2, "hidden_size": 3, "output_size": 1},
    {"hidden_size": 4},
    {},
)
"""Of the cell on which a kernel is compared with its class: the first that the class accepts."""
MOST_INTERPRETED = 256
"""Hidden units of a cell of which a kernel is interpreted at its own size, too."""

# ------------------------------------------------------------------ a cell as a kind


@lru_cache
def make_kind(cell: Cell) -> Any:
    """The kind of a cell with the settings that its kernel sees: the fields that are numbers."""
    settings: Any = cell
    values = {one.name: getattr(cell, one.name) for one in fields(settings)}
    numbers = {name: value for name, value in values.items() if isinstance(value, int | float)}
    return define_kind(type(cell), tuple(numbers))(**numbers)


def round_settings(kind: Any, dtype: np.dtype[Any]) -> Any:
    """The settings in the precision of a pass: a float64 among numbers of float32 would make them all float64."""
    return type(kind)(*(dtype.type(value) if isinstance(value, float) else value for value in kind))


@cache
def define_kind(kind: type[Cell], names: tuple[str, ...]) -> Any:
    """A class of named tuples for a class of cells, with its loops."""
    made = namedtuple(kind.name.replace("-", "_"), names)  # type: ignore[misc]
    step, vjp = (compile_function(kernel_functions(kind)[name]) for name in ("step_kernel", "vjp_kernel"))
    define_loops(
        made,
        transpose_weights=keep_weights,
        step_forward=make_step_forward(step),
        pull_back=make_pull_back(vjp),
        step_back=step_back_gates,
    )
    NOT_KEPT.add(made)
    return made


@cache
def compile_function(function: Callable[..., None]) -> Any:
    """A function of a kernel as the loops call it."""
    if INTERPRETS:
        return function
    from numba import njit

    return njit(nogil=True, error_model="numpy", fastmath={"contract", "nsz"})(function)


def keep_weights(kind: Any, W: Any) -> tuple[Any, Any]:
    """The parameters as they are: their transposes are among them."""
    return W, W


def make_step_forward(step: Any) -> Callable[..., None]:
    """`step_forward`: the kernel at every t."""

    def step_forward_own(
        kind: Any, z: Array, W: Any, W_rest: Any, b_n: Array, h: Array, slopes: Array, smallest: float
    ) -> None:
        for t in range(len(z)):
            step(kind, W, z[t], h[t], h[t + 1], slopes[t])

    return step_forward_own


def make_pull_back(vjp: Any) -> Callable[..., None]:
    """`pull_back`: the kernel on as many rows of slopes as of cotangents."""

    def pull_back_own(kind: Any, W: Any, slopes: Array, dh: Array, da: Array, dh_prev: Array, gated: Array) -> None:
        Q = len(slopes)
        if len(dh) == Q:
            vjp(kind, W, slopes, dh, da, dh_prev)
            return
        of_rows = np.empty((len(dh), slopes.shape[1]), slopes.dtype)
        for first in range(0, len(dh), Q):
            copy_rows(slopes, of_rows[first : first + Q])
        vjp(kind, W, of_rows, dh, da, dh_prev)

    return pull_back_own


@cache
def define_weights(kind: type[Cell], names: tuple[str, ...]) -> Any:
    return namedtuple(f"{kind.__name__}_parameters", names)


def name_weights(cell: Cell, params: Params, transposed: bool = False) -> Any:
    """The parameters of the recurrence for a kernel; with the transpose of each matrix, W_T, if that is asked for."""
    found = {name: np.require(params[name], requirements=["C", "W", "A"]) for name in cell.shapes()}
    if transposed:
        found |= {f"{name}_T": align(value.T) for name, value in found.items() if value.ndim == 2}
    return define_weights(type(cell), tuple(found))(**found)


# ------------------------------------------------------------------ what a kernel may call


def compile_helpers() -> None:
    """Compiled kernels call compiled code for the functions of `networks.cells.kernel`."""
    from numba import TypingError
    from numba.extending import overload

    settings: Any = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "nsz"}}

    @overload(multiply_add, strict=False, jit_options=settings)
    def choose_product(left: Any, right: Any, out: Any) -> Any:
        if not left.dtype == right.dtype == out.dtype:
            raise TypingError(ONE_DTYPE)

        def multiply(left: Array, right: Array, out: Array) -> None:
            if left.shape[1] != right.shape[0] or out.shape[0] != left.shape[0] or out.shape[1] != right.shape[1]:
                raise ValueError("multiply_add: shapes do not match")
            if right.strides[1] != right.itemsize or out.strides[1] != out.itemsize:
                raise ValueError("multiply_add: rows of right and out must be contiguous")
            add_product(left, right, out)

        return multiply

    @overload(tanh_with_slope, strict=False, jit_options=settings)
    def choose_tanh(x: Any) -> Any:
        return lambda x: elementary.tanh_and_slope(x)

    @overload(logistic_with_slope, strict=False, jit_options=settings)
    def choose_logistic(x: Any) -> Any:
        return lambda x: elementary.logistic_and_slope(x)


if not INTERPRETS:
    compile_helpers()

# ------------------------------------------------------------------ whether a kernel is that of its class


def check_kernel(cell: Cell, dtype: Any) -> None:
    """Compares the kernel of a cell with its class: compiled once for each cell that differs in more than sizes.

    Raises:
        ConfigurationError: an exception of the kernel, what Numba does not compile, or by how much which part differs.
    """
    small, name = make_small(cell), np.dtype(dtype).name
    for one in (small, cell) if cell.hidden_size <= MOST_INTERPRETED else (small,):
        compare_interpreted(one, name)
    if not INTERPRETS:
        compare_compiled(small, name)


@cache
def make_small(cell: Cell) -> Cell:
    """A cell like it that is small, if the class accepts one."""
    settings: Any = cell
    for sizes in COMPARED_SIZES:
        try:
            return replace(settings, **sizes)
        except (LabError, ValueError, TypeError):
            continue
    return cell


@cache
def compare_interpreted(cell: Cell, dtype: str) -> None:
    """`check_kernel` without Numba; what a kernel may not change cannot be written to."""
    compare(Drawn(cell, dtype, protects=True), kernel_functions(type(cell)))


@cache
def compare_compiled(cell: Cell, dtype: str) -> None:
    functions = kernel_functions(type(cell)).items()
    compare(Drawn(cell, dtype), {name: compile_function(function) for name, function in functions})


def compare(drawn: Drawn, functions: Mapping[str, Any]) -> None:
    """Every function of a kernel, with what the methods of the class return."""
    for name, function in functions.items():
        with np.errstate(all="ignore"), say_nothing():
            found = drawn.call(name, function)
        refuse_differences(drawn.cell, name, found, agreement(drawn.dtype))


class Drawn:
    """One step of a network, forwards and back, by the methods of its class.

    Attributes:
        protects: whether what a kernel may not change is given as arrays that cannot be written to.
    """

    def __init__(self, cell: Cell, dtype: str, protects: bool = False) -> None:
        rng, B = np.random.default_rng(0), 2
        self.protects = protects

        def draw(*shape: int) -> Array:
            return (0.5 * rng.standard_normal(shape)).astype(dtype)

        params = cell.init(rng, scales=Scales(b=0.3), dtype=dtype)
        self.cell, self.kind, self.dtype = cell, round_settings(make_kind(cell), np.dtype(dtype)), dtype
        self.params = {name: value + 0.1 * draw(*value.shape) for name, value in params.items()}
        x, h = draw(1, B, cell.input_size), draw(2, B, cell.state_size)
        self.z, self.h_prev = cell.project(self.params, x)[0].astype(dtype), h[0]
        h[1] = cell.step(self.params, self.z, self.h_prev)
        self.h_t, self.linearization_t = h[1], cell.linearize(self.params, x, h)[0].astype(dtype)
        self.dh_t = draw(B, cell.state_size)
        self.da_t, self.dh_prev = cell.vjp(self.params, self.linearization_t, self.dh_t)
        load_product(np.dtype(dtype))

    def call(self, name: str, function: Any) -> list[tuple[str, Array, Array]]:
        """What a function of the kernel fills, with what it should be, or its exception in one line."""
        run = {"step_kernel": self.run_step, "vjp_kernel": self.run_vjp}[name]
        try:
            return list(run(function))
        except Exception as error:  # of code of a user's own
            place = describe_place(kernel_functions(type(self.cell))[name], error)
            at = f" (hidden_size={self.cell.hidden_size})" if isinstance(error, IndexError) else ""
            message = f"cell={self.cell.name}: {name}{place}{describe_kernel_error(error)}{at}; {WITHOUT_KERNEL}"
            raise ConfigurationError(message) from None

    def run_step(self, step: Any) -> Iterator[tuple[str, Array, Array]]:
        h_t, linearization_t = (np.full(one.shape, np.nan, self.dtype) for one in (self.h_t, self.linearization_t))
        weights, h_prev = self.give(name_weights(self.cell, self.params, transposed=True), self.h_prev)
        step(self.kind, weights, np.array(self.z), h_prev, h_t, linearization_t)
        yield "h_t of step", h_t, self.h_t
        yield "linearization_t of linearize", linearization_t, self.linearization_t

    def run_vjp(self, vjp: Any) -> Iterator[tuple[str, Array, Array]]:
        da_t, dh_prev = (np.full(one.shape, np.nan, self.dtype) for one in (self.da_t, self.dh_prev))
        given = self.give(name_weights(self.cell, self.params), self.linearization_t, self.dh_t)
        vjp(self.kind, *given, da_t, dh_prev)
        yield "da_t of vjp", da_t, self.da_t
        yield "dh_prev of vjp", dh_prev, self.dh_prev

    def give(self, weights: Any, *arrays: Array) -> tuple[Any, ...]:
        """Copies of what a kernel reads."""
        named = type(weights)(*map(np.copy, weights))
        copies = [array.copy() for array in arrays]
        for array in (*named, *copies) if self.protects else ():
            array.flags.writeable = False
        return named, *copies


def describe_place(function: Any, error: Exception) -> str:
    """The file of a function, and the last line in it that an exception passed."""
    file = function.__code__.co_filename
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    lines += [int(line) for line in re.findall(r'File "[^"]*", line (\d+):', str(error))]
    return f" ({PurePath(file).name}, line {lines[-1]}): " if lines else ": "


def describe_kernel_error(error: Exception) -> str:
    """An exception in one line; of Numba's many lines those that say what it does not compile."""
    lines = [line.strip() for line in re.sub(r"\x1b\[[0-9;]*m", "", str(error)).splitlines()]
    told = [line for line in lines if line and not line.startswith(("Failed in", "During", "Overload", "File", "<"))]
    if not type(error).__module__.startswith("numba."):
        return f"{type(error).__name__}: {' '.join(lines)}{suggest_change(error)}".removesuffix(": ")
    reason = " ".join(told[:2]).partition(" def ")[0].removesuffix(":")
    helper = "; a function that it calls needs numba.njit" if "Untyped global name" in reason else ""
    return f"Numba does not compile it: {reason}{helper}"


def suggest_change(error: Exception) -> str:
    """What is there, where a name is not; what may be written to, where something may not."""
    if "read-only" in str(error):
        return ": a kernel changes nothing but z_t and what it fills"
    names = getattr(getattr(error, "obj", None), "_fields", ()) if isinstance(error, AttributeError) else ()
    return f": it has {', '.join(names)}" if names else ""


def refuse_differences(cell: Cell, name: str, found: list[tuple[str, Array, Array]], most: float) -> None:
    for what, filled, expected in found:
        error = disagreement(filled, expected)
        if not error <= most:
            far = f"differs by {error:.2g} of its largest entry, and may by {most:.0e}"
            found_out = "is not filled everywhere" if np.isnan(filled).any() else far
            raise ConfigurationError(f"cell={cell.name}: {name} must fill {what}: it {found_out}; {WITHOUT_KERNEL}")
