"""One forward pass, kept: the input of all ways back.

Index legend: T time, B sequence, I input, N hidden state, O output. Times count from 1; `h` has T+1 states with `h[0]`
the initial one, arrays with T entries hold step t at index t-1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bpttlab.networks.cells.cell import Cell, Local, Params
from bpttlab.numerics.array import Array
from bpttlab.numerics.scaled import Scaled
from bpttlab.numerics.short_repr import show_briefly

if TYPE_CHECKING:
    from bpttlab.gradients.engine import Cotangents, Engine
    from bpttlab.gradients.plan import Plan


def numpy_engine() -> Engine:
    """The engine of a trace without a stated one."""
    from bpttlab.gradients.engine import NUMPY

    return NUMPY


@dataclass(frozen=True)
class Trace:
    """One forward pass: the input of backward passes and measures. It is immutable.

    Attributes:
        cell, params: the network.
        x: (T, B, I) inputs.
        h: (T+1, B, N) states, h[0] the initial one.
        y_hat: (T, B, O) predictions.
        engine: the engine of the loops over t, also for the ways back.
        lengths: (B,) integers, the steps of each sequence; T of each where they were not given. T is the longest of
            them. After its last step a sequence has padding: x and y_hat are zero there, and h is the last state, so
            that h[T] is the last state of every sequence.
    """

    cell: Cell
    params: Params
    x: Array
    h: Array
    y_hat: Array
    engine: Engine = field(default_factory=numpy_engine)
    lengths: Array = None  # type: ignore[assignment]  # an array in every trace: `__post_init__`

    def __post_init__(self) -> None:
        if self.lengths is None:
            object.__setattr__(self, "lengths", np.full(self.x.shape[1], len(self.x)))

    def __repr__(self) -> str:
        return show_briefly(self)

    @property
    def length(self) -> int:
        return len(self.x)

    @cached_property
    def padded(self) -> bool:
        """Whether some sequence is shorter than the longest."""
        return bool((self.lengths < len(self.x)).any())

    @property
    def states(self) -> Array:
        """(T, B, N), the whole state after every step: `h` without the initial one."""
        return self.h[1:]

    @property
    def outputs(self) -> Array:
        """(T, B, hidden_size), the part of the state that the readout receives: h_t of an LSTM, the last layer of a
        stack.
        """
        return self.states[..., self.cell.readout_slice]

    @property
    def predictions(self) -> Array:
        """(T, B, O), `y_hat` of the notes."""
        return self.y_hat

    @cached_property
    def linearization(self) -> Array:
        """(T, B, any), the local derivatives of every step that `Cell.vjp` needs; zero in padding."""
        if not self.padded:
            return self.cell.linearize(self.params, self.x, self.h)
        parts = (
            self.cell.linearize(self.params, self.x[steps, going], self.h[steps.start : steps.stop + 1, going])
            for steps, going in stretches(self.lengths)
        )
        return join_stretches(self.lengths, parts)

    @cached_property
    def underflows(self) -> int:
        """The number of derivatives of activations below the smallest normal number of the dtype, which count as zero.

        If it is 0, a logarithm of -inf is that of exactly zero. Otherwise it may be that of a number that is too small.
        """
        if self.padded:
            return sum(group.trace.underflows for group in self.groups())
        if self.linearization.all():
            return 0
        inputs = self.cell.activation_inputs(self.params, self.x, self.h)
        return sum(activation.underflows(a) for activation, a in inputs)

    @property
    def local(self) -> Local:
        """The data of the immediate derivatives of every step."""
        return Local(self.x, self.h[:-1], self.linearization, self.params)

    def jacobian(self, t: int) -> Array:
        """J_t = dh_t/dh_{t-1}, (B, N, N), t = 1..T."""
        return self.cell.jacobian(self.params, self.linearization[t - 1])

    def product(self, t: int, k: int) -> Array:
        """P_{t,k} = J_t J_{t-1} ... J_{k+1} = dh_t/dh_k, (B, N, N), as literally as that; P_{t,t} = I."""
        size = self.h.shape[-1]
        product = np.broadcast_to(np.eye(size, dtype=self.h.dtype), (self.h.shape[1], size, size))
        for i in range(t, k, -1):
            product = product @ self.jacobian(i)
        return product

    def prefix(self, length: int) -> Trace:
        """The first steps alone, sharing memory and linearization with the whole: a forward pass of that length, to the
        byte.
        """
        x, h, y_hat = self.x[:length], self.h[: length + 1], self.y_hat[:length]
        part = replace(self, x=x, h=h, y_hat=y_hat, lengths=np.minimum(self.lengths, length))
        return part.with_linearization(self.linearization[:length])

    def head(self, sequences: int) -> Trace:
        """The first sequences of the batch alone, to the end of the longest of them, sharing memory with the whole."""
        lengths = self.lengths[:sequences]
        steps = slice(int(lengths.max(initial=0))) if self.padded else slice(None)
        x, y_hat, h = self.x[steps, :sequences], self.y_hat[steps, :sequences], self.h[:, :sequences]
        part = replace(self, x=x, h=h[: len(x) + 1], y_hat=y_hat, lengths=lengths)
        left = self.engine.linearizes and "linearization" in self.__dict__  # by the compiled forward pass
        return part.with_linearization(self.linearization[steps, :sequences]) if left else part

    def groups(self) -> Iterator[Group]:
        """The sequences of each length, the shortest first, as a trace of that length without padding."""
        if not self.padded:
            yield Group(self, np.arange(len(self.lengths)))
            return
        for length in np.unique(self.lengths):
            sequences = np.flatnonzero(self.lengths == length)
            x, y_hat, h = self.x[:length, sequences], self.y_hat[:length, sequences], self.h[: length + 1, sequences]
            part = replace(self, x=x, h=h, y_hat=y_hat, lengths=self.lengths[sequences])
            yield Group(part.with_linearization(self.linearization[:length, sequences]), sequences)

    def with_linearization(self, linearization: Array) -> Trace:
        """This trace, with its linearization given, which is not computed again."""
        self.__dict__["linearization"] = linearization
        return self

    def in_float64(self) -> Trace:
        """The same trajectory in float64, with its linearization if it has one."""
        params = {name: np.asarray(value, np.float64) for name, value in self.params.items()}
        x, h, y_hat = (array.astype(np.float64, copy=False) for array in (self.x, self.h, self.y_hat))
        wide = replace(self, params=params, x=x, h=h, y_hat=y_hat)
        return wide.with_linearization(np.ascontiguousarray(self.linearization, np.float64))

    def with_engine(self, engine: str | Engine) -> Trace:
        """The same trajectory, walked back by another engine; by NumPy's where that has no loops for the cell."""
        from bpttlab.gradients.engine import NUMPY, find_engine

        found = find_engine(engine)
        return replace(self, engine=found if found.runs(self.cell, self.h.dtype) else NUMPY)

    def walk(self, error: Any, plan: Plan) -> Cotangents:
        """Back through every segment of a plan by the trace's engine (`Engine.walk`)."""
        return self.engine.walk(self, error, plan)

    def repeat(self, times: int) -> Trace:
        """The sequences of the batch several times over, one copy of the batch after another."""
        x, h, y_hat, slopes = (
            np.tile(array, (1, times, 1)) for array in (self.x, self.h, self.y_hat, self.linearization)
        )
        copies = replace(self, x=x, h=h, y_hat=y_hat, lengths=np.tile(self.lengths, times))
        return copies.with_linearization(slopes)

    def error(self, dL_dy_hat: Array) -> Array:
        """dL/dh_t of each step by way of its own loss: dL/dy_hat_t dy_hat_t/dh_t.  (T,B,O) -> (T,B,N)"""
        return self.readout_vjp(dL_dy_hat)[1]

    def readout_vjp(self, dL_dy_hat: Array, steps: slice = slice(None)) -> tuple[Array, Array]:
        """`Cell.readout_vjp` of some steps, by default of all.  (T,B,O) -> (T,B,O), (T,B,N)"""
        return self.cell.readout_vjp(self.params, self.h[1:][steps], self.y_hat[steps], dL_dy_hat)

    def scaled_error(self, dL_dy_hat: Array) -> Scaled:
        """`error`, of any size."""
        one = Scaled.whole(dL_dy_hat)
        error = self.error(one.mantissa)
        return Scaled(error, np.full((*error.shape[:-1], 1), one.exponent.item())).normalise()


class Group(NamedTuple):
    """Sequences of one length.

    Attributes:
        trace: of them alone, without padding.
        sequences: which they are in the batch, from 0.
    """

    trace: Trace
    sequences: Array

    def __repr__(self) -> str:
        return show_briefly(self)

    def select(self, values: Any) -> Any:
        """Of these sequences and their steps; an array or scaled numbers.  (T,B,...) -> (length,sequences,...)"""
        return values[: self.trace.length, self.sequences]


def stretches(lengths: Array) -> Iterator[tuple[slice, Array]]:
    """Steps from the end of one sequence to that of the next longer one, and the sequences that go on through them."""
    start = 0
    for stop in np.unique(lengths).tolist():
        yield slice(start, stop), np.flatnonzero(lengths > start)
        start = stop


def join_stretches(lengths: Array, parts: Iterable[Array]) -> Array:
    """One array from those of `stretches`, with zeros in padding.  each (steps,going,any) -> (T,B,any)"""
    whole = None
    for (steps, going), part in zip(stretches(lengths), parts, strict=True):
        if whole is None:
            whole = np.zeros((int(lengths.max()), len(lengths), part.shape[-1]), part.dtype)
        whole[steps, going] = part
    assert whole is not None
    return whole
