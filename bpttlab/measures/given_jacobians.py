"""Jacobians that a user gives in place of a network: an array of them, or a stream that comes step by step.

    an array     (T, N, N) or (T, B, N, N): a trajectory of a linear cell whose Jacobians are its inputs, so that every
                 measure of products works on it as on any other
    a stream     an iterator over (N, N) or (B, N, N), J_1 first: read once and copied, because its source may write
                 into one array again and again; never kept as a whole

A simulator, the flow of a differential equation, a reservoir, a state-space model: of none of them anything else is
needed. Numbers are taken to float64.

Index legend: T time, B sequence, N state; `...` any leading axes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, ClassVar, TypeAlias

import numpy as np

from bpttlab.errors import ConfigurationError, NonFiniteError
from bpttlab.fields import check_integer, format_value
from bpttlab.gradients.trace import Trace
from bpttlab.networks.cells.cell import Cell, Local, Params
from bpttlab.numerics.array import Array

Jacobians: TypeAlias = Array | Iterable[Any]
"""What `jacobians=` takes."""

_CHECKED = 2**20
"""Numbers of an array that are looked at together."""


def check_source(
    jacobians: Jacobians | None,
    length: int | None,
    required: Mapping[str, Any],
    others: Mapping[str, Any] | None = None,
) -> None:
    """Refuses both a network and Jacobians, and neither of them.

    Args:
        required: the arguments in whose place Jacobians are given, by name; None where one is not given.
        others: those that go with them.
    """
    missing = [name for name, value in required.items() if value is None]
    if jacobians is None:
        if missing:
            raise ConfigurationError(f"{', '.join(missing)}: must be given, or jacobians in place of it")
        if length is not None:
            raise ConfigurationError(f"length={format_value(length)}: is for jacobians; leave it out")
        return
    beside = [name for name, value in {**required, **(others or {})}.items() if value is not None]
    if beside:
        raise ConfigurationError(f"{', '.join(beside)}: does not go with jacobians; give one or the other")


def read_jacobians(jacobians: Jacobians, length: int | None = None) -> Trace | JacobianStream:
    """A trajectory that has these Jacobians, or a stream of them.

    Args:
        jacobians: (T, N, N), (T, B, N, N), or an iterator over (N, N) or (B, N, N); a list is an array.
        length: how many steps of them to take; None: all.

    Raises:
        ConfigurationError: they are of no such shape, not square, complex, or fewer than `length`; a stream raises it
            when it comes to that.
        NonFiniteError: one is not finite; the error names its step.
    """
    if length is not None:
        length = check_integer("length", length, 1)
    if callable(jacobians) and not hasattr(jacobians, "shape"):
        raise ConfigurationError("jacobians: is a function; call it, and give what it returns")
    if isinstance(jacobians, str | bytes | Mapping) or not isinstance(jacobians, Iterable):
        kind = type(jacobians).__name__
        raise ConfigurationError(f"jacobians: of type {kind}; must be an array (T, N, N) or an iterator over (N, N)")
    if hasattr(jacobians, "shape"):
        return read_array(convert(jacobians), length)
    if isinstance(jacobians, list | tuple):
        return read_array(stack_steps(jacobians), length)
    return JacobianStream(jacobians, length)


def convert(values: Any, where: str = "") -> Array:
    """Numbers in float64, those of another library's array too."""
    try:
        array = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigurationError(f"jacobians: not an array of numbers{where} ({error})") from None
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise ConfigurationError(f"jacobians: a masked array{where}; must have every entry")
    if array.dtype.kind == "c":
        raise ConfigurationError(f"jacobians: complex{where}; must be those of a real state")
    if array.dtype.kind not in "fiu":
        raise ConfigurationError(f"jacobians: of dtype {array.dtype}{where}; must be numbers")
    return np.asarray(array, np.float64)


def stack_steps(steps: list[Any] | tuple[Any, ...]) -> Array:
    """The steps of a list as one array."""
    arrays = [convert(J, f" at step t = {t}") for t, J in enumerate(steps, 1)]
    for t, J in enumerate(arrays, 1):
        check_alike(J.shape, arrays[0].shape, t)
    return np.stack(arrays) if arrays else np.empty(0)


def check_alike(shape: tuple[int, ...], first: tuple[int, ...], t: int) -> None:
    if shape != first:
        raise ConfigurationError(f"jacobians: shape {shape} at step t = {t}; must be {first}, as at t = 1")


def read_array(array: Array, length: int | None) -> Trace:
    """A trajectory with these Jacobians.  (T,N,N) or (T,B,N,N)"""
    if array.ndim not in (3, 4) or array.shape[-1] != array.shape[-2] or 0 in array.shape:
        raise ConfigurationError(
            f"jacobians: shape {array.shape}; must be (T, N, N) or (T, B, N, N), none of them 0: square, step by step"
        )
    if length is not None and length > len(array):
        raise ConfigurationError(f"jacobians: {len(array)} of them; must be length = {length}, or more")
    matrices = array[:length] if array.ndim == 4 else array[:length, None]
    some = max(1, _CHECKED // matrices[0].size)
    for first in range(0, len(matrices), some):
        bad = ~np.isfinite(matrices[first : first + some]).all(axis=(1, 2, 3))
        if bad.any():
            refuse_step(first + int(np.argmax(bad)) + 1)
    return trace_of_jacobians(matrices)


def refuse_step(t: int) -> None:
    raise NonFiniteError(f"jacobians: not finite at step t = {t}", t)


# ------------------------------------------------------------------------------------------ an array


@dataclass(frozen=True)
class GivenJacobians(Cell):
    """h_t = A_t h_{t-1}, with the entries of A_t, row by row, as x_t. input_size is hidden_size squared."""

    name: ClassVar[str] = "given Jacobians"

    input_size: int
    hidden_size: int
    output_size: int
    output_activation: str = "identity"

    def matrices(self, entries: Array) -> Array:
        """(...,N N) -> (...,N,N)"""
        return entries.reshape(*entries.shape[:-1], self.hidden_size, self.hidden_size)

    def step(self, params: Params, z_t: Array, h_prev: Array) -> Array:
        return np.asarray(np.einsum("bnm,bm->bn", self.matrices(z_t), h_prev))

    def linearize(self, params: Params, x: Array, h: Array) -> Array:
        return x

    def vjp(self, params: Params, linearization_t: Array, dh_t: Array) -> tuple[Array, Array]:
        """dh_t and dh_t A_t: one product for all rows of a sequence where they come first, or lie in its place."""
        A = self.matrices(linearization_t)
        if dh_t.ndim == A.ndim:
            return dh_t, np.moveaxis(np.moveaxis(dh_t, 0, -2) @ A, -2, 0)
        if A.ndim > 2 and A.shape[-3] == 1:
            return dh_t, dh_t @ A[..., 0, :, :]
        return dh_t, (dh_t[..., None, :] @ A)[..., 0, :]

    def parameter_vjp(self, local: Local, da: Array) -> Params:
        return {}

    def jacobian(self, params: Params, linearization_t: Array) -> Array:
        return self.matrices(linearization_t)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {}


def trace_of_jacobians(matrices: Array) -> Trace:
    """A trajectory with these Jacobians, from a state of zeros; the first matrix is J_1.  (T,B,N,N)"""
    T, B, N, _ = matrices.shape
    h = np.broadcast_to(0.0, (T + 1, B, N))
    params = {"U": np.eye(N), "b_y": np.zeros(N)}
    return Trace(GivenJacobians(N * N, N, N), params, matrices.reshape(T, B, N * N), h, h[1:])


# ------------------------------------------------------------------------------------------ a stream


class JacobianStream:
    """J_1, J_2, ..., each (B, N, N) and a copy, checked when it comes; it can be gone through once.

    Attributes:
        length: how many there will be; None: not known.
        batch, size: B and N, of the first, which is read at once.
    """

    def __init__(self, jacobians: Iterable[Any], length: int | None) -> None:
        self.length, source = length, iter(jacobians)
        first = next(source, None)
        if first is None:
            raise ConfigurationError("jacobians: a stream without any (it is read once); must have one or more")
        self.shape = np.shape(convert(first, " at step t = 1"))
        if len(self.shape) not in (2, 3) or self.shape[-1] != self.shape[-2] or 0 in self.shape:
            raise ConfigurationError(f"jacobians: shape {self.shape} at step t = 1; must be (N, N) or (B, N, N)")
        self.batch, self.size = (1, *self.shape)[-3], self.shape[-1]
        self.source = chain([first], source)

    def __iter__(self) -> Iterator[Array]:
        t = 0
        for t, J in enumerate(islice(self.source, self.length), 1):
            yield self.check(J, t)
        if self.length is not None and t < self.length:
            raise ConfigurationError(f"jacobians: the stream ends after {t} steps; must have length = {self.length}")

    def check(self, J: Any, t: int) -> Array:
        """A copy of one step.  -> (B,N,N)"""
        matrix = convert(J, f" at step t = {t}")
        check_alike(matrix.shape, self.shape, t)
        if not np.isfinite(matrix).all():
            refuse_step(t)
        return matrix.reshape(self.batch, self.size, self.size).copy()
