"""Kinds of cells, as compiled loops see them: which functions make a step, its derivatives, and their sums.

The passes over time (`passes`, `walks`) are written once. For a step they call the functions below, and Numba compiles
each pass for the kind that it is given: what a kind does is inlined there, and no other kind is compiled along. A kind
is a class of named tuples, which hold the settings of a cell that its loops need; `define_loops` states its functions.

Index legend: T time, B sequence, N hidden unit, S state, A pre-activations, Q sequences of a step, R rows for each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from bpttlab.gradients.compiled.compilation import interprets
from bpttlab.numerics.array import Array


class ElmanKind(NamedTuple):
    activation: int


class LeakyKind(NamedTuple):
    """h_t = keep h_{t-1} + gain f_h(a_t)."""

    activation: int
    keep: float
    gain: float


class MinimalKind(NamedTuple):
    """A minimalRNN: the recursion alone."""

    activation: int


class DiagonalKind(NamedTuple):
    """A diagonal linear cell: the recursion alone."""

    activation: int


class LSTMKind(NamedTuple):
    activation: int


class GRUAfterKind(NamedTuple):
    """The reset gate after the product with W_n."""

    activation: int


class GRUBeforeKind(NamedTuple):
    """The reset gate before the product with W_n."""

    activation: int


class StackedKind(NamedTuple):
    """Layers of one kind. The numbers are those of one layer: of its hidden units, state, pre-activations, slopes and
    gated ones; `first` is the number of its state from which on the layer above hears it."""

    layer: Any
    layers: int
    units: int
    state: int
    first: int
    local: int
    slopes: int
    gated: int


class LayerWeights(NamedTuple):
    """What stands for W in a stack: of each layer what its kind needs, and dx/da of each but the first, (L-1,A,N)."""

    recurrent: Any
    inputs: Array


FUNCTIONS: dict[type, dict[str, Callable[..., Any]]] = {}
"""The functions of each kind, by the names below."""


def define_loops(kind: type, **loops: Callable[..., Any]) -> None:
    """States the functions of a kind: one for each of the names below, with its arguments.

    A kind with the recursion alone has no `add_recurrent_gradient`: its gradient is summed by the cell. A stack has the
    functions of the ways back alone: its forward pass is that of one layer after another.
    """
    FUNCTIONS[kind] = loops


def transpose_weights(kind: Any, W: Array) -> Any:
    """W^T of what meets h_{t-1} as it is, and of the rest.  (A,N) -> (N,any), (N,any)"""
    return FUNCTIONS[type(kind)]["transpose_weights"](kind, W)


def step_forward(
    kind: Any, z: Array, W: Array, W_rest: Array, b_n: Array, h: Array, slopes: Array, smallest: float
) -> None:
    """All steps from h[0], in place: z (T,B,A) the projections of x, W and W_rest of `transpose_weights`, b_n (N,) or
    empty, h (T+1,B,S), slopes (T,B,any)."""
    FUNCTIONS[type(kind)]["step_forward"](kind, z, W, W_rest, b_n, h, slopes, smallest)


def pull_back(kind: Any, W: Array, slopes: Array, dh: Array, da: Array, dh_prev: Array, gated: Array) -> None:
    """`Cell.vjp` of R rows for each of Q sequences, the sequences fastest.

    W (A,N), slopes (Q,any), dh (R Q,S); fills da (R Q,A) and dh_prev (R Q,S). `gated` is what goes through W where that
    is not da itself, (R Q,A), without the candidate (R Q,2N) for a reset before.
    """
    FUNCTIONS[type(kind)]["pull_back"](kind, W, slopes, dh, da, dh_prev, gated)


def step_back(kind: Any, W: Array, slopes: Array, delta: Array, da: Array, gated: Array, dh: Array) -> None:
    """`pull_back` of all steps: delta (T,B,S) the errors, which become cotangents of h_t, and dh (B,S) that of h_T,
    which becomes that of h_0; slopes (T,B,any), da (T,B,A), gated (T,B,any)."""
    FUNCTIONS[type(kind)]["step_back"](kind, W, slopes, delta, da, gated, dh)


def add_recurrent_gradient(
    kind: Any, h_prev: Array, slopes: Array, da: Array, gated: Array, dW: Array, db_n: Array
) -> None:
    """What of `Cell.parameter_vjp` meets h_prev, of Q rows: added to dW (A,N), and to db_n (A,), whose last N are the
    gradient by b_n.  h_prev (Q,N), slopes (Q,any), da (Q,A), gated (Q,any)"""
    FUNCTIONS[type(kind)]["add_recurrent_gradient"](kind, h_prev, slopes, da, gated, dW, db_n)


def compile_by_kind(function: Callable[..., Any]) -> None:
    """Compiled code calls what the kind of its arguments has under the name of this function."""
    from numba.extending import overload

    settings: Any = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "nsz"}}

    @overload(function, strict=False, jit_options=settings)
    def choose(kind: Any, *arguments: Any) -> Any:
        return FUNCTIONS[kind.instance_class][function.__name__]


if not interprets():
    for _function in (transpose_weights, step_forward, pull_back, step_back, add_recurrent_gradient):
        compile_by_kind(_function)
