"""Which cells have compiled loops, and what compiled code needs to know of a cell and its parameters.

Index legend: N hidden unit, A pre-activations, L layers, I input.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from bpttlab.gradients.compiled.compilation import NOT_KEPT
from bpttlab.gradients.compiled.elementary import COMPILED_ACTIVATIONS, TANH
from bpttlab.gradients.compiled.kinds import (
    DiagonalKind,
    ElmanKind,
    GRUAfterKind,
    GRUBeforeKind,
    LayerWeights,
    LeakyKind,
    LSTMKind,
    MinimalKind,
    StackedKind,
)
from bpttlab.gradients.compiled.own import check_kernel, make_kind, name_weights, round_settings
from bpttlab.networks.cells import (
    GRU,
    LSTM,
    Antisymmetric,
    Diagonal,
    Elman,
    Leaky,
    MinimalRNN,
    OrthogonalElman,
    ScoRNN,
    Stacked,
)
from bpttlab.networks.cells.cell import Cell, Params
from bpttlab.networks.cells.kernel import has_own_kernel
from bpttlab.numerics.array import Array

COMPILED_DTYPES = {np.dtype("float64"): (2.0**-960, 2.0**960), np.dtype("float32"): (2.0**-100, 2.0**100)}
"""Those with kernels; the largest entry of a cotangent that plain numbers carry on is in this range. What is denormal
beside it is less than a unit in its last place."""


def has_kernel(cell: Cell, dtype: Any) -> bool:
    """Whether the loops of this cell are compiled; those of all others are NumPy's, whatever the engine.

    Raises:
        ConfigurationError: a kernel of a user's own is not that of its class, or cannot be compiled.
    """
    if np.dtype(dtype) not in COMPILED_DTYPES:
        return False
    if type(cell) in SHIPPED_FORMS:
        return getattr(cell, "activation", "tanh") in COMPILED_ACTIVATIONS
    if isinstance(cell, Stacked):
        return has_kernel(cell.cells[0], dtype) and has_constant_inputs(cell.cells[0])
    if has_own_kernel(type(cell)):
        check_kernel(cell, dtype)
        return True
    return False


def has_constant_inputs(layer: Cell) -> bool:
    """Whether da_t/dx_t is the same at every t, as the loops of a stack need it."""
    return type(layer) in SHIPPED_FORMS or (type(layer).input_vjp is Cell.input_vjp and "V" in layer.shapes())


def is_own(cell: Cell) -> bool:
    """Whether the loops are those of a user's own kernel, which are not kept on disk."""
    return has_own_kernel(type(cell.cells[0] if isinstance(cell, Stacked) else cell))


class Form(NamedTuple):
    """The description of a cell that compiled code needs.

    Attributes:
        kind: whose functions make a step (`kinds`), with the settings that they need.
        output: which f_y; -1 where the readout is not compiled.
        slopes, gated: how many numbers a step has of either, in units of N.
        whole: whether projections, readout and the sums of gradients are compiled, too, and not the recursion alone.
        plain: whether a full gradient is first tried in plain numbers, where the recursion alone is compiled.
    """

    kind: Any
    output: int
    slopes: int
    gated: int
    whole: bool = True
    plain: bool = False


def find_form(cell: Cell) -> Form:
    kind: Any = type(cell)  # cells are final, and `isinstance` takes ten times as long
    if kind is Stacked:
        return find_stacked_form(cell)
    if has_own_kernel(kind):
        return Form(make_kind(cell), -1, 0, 0, whole=False, plain=True)
    return SHIPPED_FORMS[kind](cell, COMPILED_ACTIVATIONS.get(cell.output_activation, -1))


class Facts(NamedTuple):
    """What does not change from call to call of one cell: its form, and the shapes of its parameters."""

    cell: Cell
    form: Form
    shapes: dict[str, tuple[int, ...]]


_LAST: list[Facts] = []
"""Those of the cell that came last."""


def recall_facts(cell: Cell) -> Facts:
    """`Facts` of a cell with a form; those of the last cell are kept, since it is the next one as a rule."""
    for last in _LAST:
        if last.cell is cell:
            return last
    _LAST[:] = [Facts(cell, find_form(cell), cell.parameter_shapes())]
    return _LAST[0]


def find_elman_form(cell: Any, output: int) -> Form:
    return Form(ElmanKind(COMPILED_ACTIVATIONS[cell.activation]), output, 1, 0)


def find_leaky_form(cell: Leaky, output: int) -> Form:
    if cell.alpha == 1.0:
        return find_elman_form(cell, output)
    return Form(LeakyKind(COMPILED_ACTIVATIONS[cell.activation], 1.0 - cell.alpha, cell.alpha), output, 1, 0)


def find_gru_form(cell: GRU, output: int) -> Form:
    after = cell.reset == "after"
    return Form(GRUAfterKind(TANH), output, 5, 3) if after else Form(GRUBeforeKind(TANH), output, 5, 2)


SHIPPED_FORMS: dict[type[Cell], Callable[[Any, int], Form]] = {
    Elman: find_elman_form,
    OrthogonalElman: find_elman_form,
    ScoRNN: find_elman_form,
    Leaky: find_leaky_form,
    Antisymmetric: lambda cell, output: Form(LeakyKind(TANH, 1.0, cell.epsilon), output, 1, 0),
    MinimalRNN: lambda cell, output: Form(MinimalKind(TANH), -1, 5, 0, whole=False),
    Diagonal: lambda cell, output: Form(DiagonalKind(TANH), -1, 7, 0, whole=False),
    LSTM: lambda cell, output: Form(LSTMKind(TANH), output, 6, 1),
    GRU: find_gru_form,
}


@lru_cache
def find_stacked_form(stack: Stacked) -> Form:
    return Form(make_stacked_kind(stack), find_form(stack.cells[-1]).output, 0, 0, whole=False, plain=True)


def make_stacked_kind(stack: Stacked) -> StackedKind:
    layer, N = stack.cells[0], stack.hidden_size
    form, first = find_form(layer), layer.readout_slice.indices(layer.state_size)[0]
    sizes = layer.state_size, first, layer.preactivation_size, layer.linearization_size, form.gated * N
    return StackedKind(form.kind, stack.layers, N, *sizes)


def settle_kind(kind: Any, dtype: np.dtype[Any]) -> Any:
    """A kind of a user's own with its settings in the precision of a pass; any other as it is."""
    if isinstance(kind, StackedKind):
        return kind._replace(layer=settle_kind(kind.layer, dtype))
    return round_settings(kind, dtype) if type(kind) in NOT_KEPT else kind


def name_kind(kind: Any) -> tuple[type, ...]:
    """What loops are compiled for: the class of a kind, and of that of its layers."""
    return (type(kind), *name_kind(kind.layer)) if isinstance(kind, StackedKind) else (type(kind),)


def find_matrix(cell: Cell, params: Params) -> Any:
    """What acts on h_{t-1}, as the loops of the kind need it: W for most.  (any,N)"""
    one: Any = cell
    kind = type(one)
    if kind is Antisymmetric:
        return one.effective_matrix(params)
    if kind is MinimalRNN:
        return np.concatenate([params["W"], params["W_z"]])
    if kind is Stacked:
        return find_layer_weights(one, params)
    if has_own_kernel(kind):
        return name_weights(cell, params)
    return np.stack(one.eigenvalues(params)) if kind is Diagonal else params["W"]


def find_layer_weights(stack: Stacked, params: Params) -> LayerWeights:
    """Of shipped cells as one array, so that nothing is compiled once more for another number of layers."""
    each = [stack.layer_params(params, layer) for layer in range(stack.layers)]
    found = [find_matrix(cell, one) for cell, one in zip(stack.cells, each, strict=True)]
    inputs = [find_input_matrix(cell, one) for cell, one in zip(stack.cells[1:], each[1:], strict=True)]
    empty = np.zeros((0, stack.cells[0].preactivation_size, stack.hidden_size), params["U"].dtype)
    return LayerWeights(tuple(found) if is_own(stack) else np.stack(found), np.stack(inputs) if inputs else empty)


def find_input_matrix(layer: Cell, params: Params) -> Array:
    """da_t/dx_t, the same at every t.  (A,I)"""
    if type(layer).input_vjp is Cell.input_vjp:
        return params["V"]
    dtype, A = params["V"].dtype, layer.preactivation_size
    x, h = np.zeros((1, 1, layer.input_size), dtype), np.zeros((2, 1, layer.state_size), dtype)
    return layer.input_vjp(params, layer.linearize(params, x, h)[0], np.eye(A, dtype=dtype))
