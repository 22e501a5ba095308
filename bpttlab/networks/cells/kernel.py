"""`@lab.kernel`: the step and the vjp of a cell of your own, once more in the part of NumPy that Numba compiles.

    @lab.kernel
    @dataclass(frozen=True)
    class Mine(lab.Cell):
        ...
        @staticmethod
        def step_kernel(cell, params, z_t, h_prev, h_t, linearization_t): ...   # fills the last two
        @staticmethod
        def vjp_kernel(cell, params, linearization_t, dh_t, da_t, dh_prev): ...   # fills the last two

All arrays have the same number of rows, one for each sequence. `cell` has the numbers among the fields of the class.
`params` has the parameters by name and, in `step_kernel`, the transpose of each matrix: `params.W_T`. `z_t` may be
changed, and nothing else of what is given. The functions below are compiled where a kernel calls them. What a kernel
computes is compared with `step`, `linearize` and `vjp` of its class before it is used (`gradients.compiled.own`).
Nothing here needs Numba.

Index legend: Q rows, K terms of a sum, M columns.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from bpttlab.errors import ConfigurationError
from bpttlab.networks.activations import logistic, logistic_slope, tanh_slope
from bpttlab.networks.cells.cell import Cell
from bpttlab.numerics.array import Array

OwnCell = TypeVar("OwnCell", bound=type)

ARGUMENTS = {
    "step_kernel": ("cell", "params", "z_t", "h_prev", "h_t", "linearization_t"),
    "vjp_kernel": ("cell", "params", "linearization_t", "dh_t", "da_t", "dh_prev"),
}
"""What the functions of a kernel receive, in this order."""

ONE_DTYPE = "multiply_add: left, right and out must have one dtype"

_MARK = "_kernel_functions"


def kernel(kind: OwnCell = None) -> OwnCell:  # type: ignore[assignment]
    """Marks a cell of your own as one with compiled loops (`engine="numba"`).

    Raises:
        ConfigurationError: it is no cell, lacks a function of a kernel, or one has other arguments.
    """
    if kind is None:
        raise ConfigurationError("@lab.kernel(): must be written without brackets")
    if not (inspect.isclass(kind) and issubclass(kind, Cell)):
        raise ConfigurationError(f"@lab.kernel: {getattr(kind, '__name__', kind)} must be a class of the contract Cell")
    setattr(kind, _MARK, {name: find_function(kind, name) for name in ARGUMENTS})
    return kind


def find_function(kind: type, name: str) -> Callable[..., None]:
    """A function of a kernel, of its static method."""
    expected = f"@staticmethod def {name}({', '.join(ARGUMENTS[name])})"
    method = inspect.getattr_static(kind, name, None)
    if method is None:
        raise ConfigurationError(f"@lab.kernel: {kind.__name__} lacks {expected}")
    if not isinstance(method, staticmethod):
        raise ConfigurationError(f"@lab.kernel: {kind.__name__}.{name} must be a static method: {expected}")
    function = getattr(method.__func__, "py_func", method.__func__)
    if len(inspect.signature(function).parameters) != len(ARGUMENTS[name]):
        raise ConfigurationError(f"@lab.kernel: {kind.__name__}.{name} must have the arguments of {expected}")
    return function


def has_own_kernel(kind: type) -> bool:
    """Whether a class is marked itself: a subclass may compute something else."""
    return _MARK in vars(kind)


def kernel_functions(kind: type) -> dict[str, Callable[..., None]]:
    """The functions of a marked class by the names of `ARGUMENTS`."""
    return vars(kind)[_MARK]


# ------------------------------------------------------------------ what a kernel can call


def multiply_add(left: Array, right: Array, out: Array) -> None:
    """out += left . right.  (Q,K), (K,M) -> (Q,M); rows of `right` and `out` are contiguous.

    Raises:
        ValueError: shapes do not match, or rows are not contiguous.
        TypeError: the arrays have several dtypes.
    """
    if not left.dtype == right.dtype == out.dtype:
        raise TypeError(f"{ONE_DTYPE}, not {left.dtype}, {right.dtype} and {out.dtype}")
    if left.shape[1] != right.shape[0] or out.shape[0] != left.shape[0] or out.shape[1] != right.shape[1]:
        raise ValueError(f"multiply_add: shapes {left.shape}, {right.shape} and {out.shape} do not match")
    if right.strides[1] != right.itemsize or out.strides[1] != out.itemsize:
        raise ValueError("multiply_add: rows of right and out must be contiguous; params.W_T is the transpose of W")
    out += left @ right


def tanh_with_slope(x: Any) -> tuple[Any, Any]:
    """tanh(x) and tanh'(x) of a number."""
    one = np.atleast_1d(x)
    return np.tanh(one)[0], tanh_slope(one)[0]


def logistic_with_slope(x: Any) -> tuple[Any, Any]:
    """sigma(x) and sigma'(x) of a number."""
    one = np.atleast_1d(x)
    return logistic(one)[0], logistic_slope(one)[0]
