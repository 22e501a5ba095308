"""Networks and losses of every cell for the checks: small, with every parameter in use and all sizes different.

Cells are found by name, so a new cell is checked without a change here. Each is used in all its variants: one for every
choice of a field with few choices, such as an activation, a flag, a literal, or the cell of a stack.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import pandas as pd

from bpttlab import plugins
from bpttlab.gradients.backward import backward
from bpttlab.gradients.forward import forward
from bpttlab.gradients.trace import Trace
from bpttlab.networks import losses
from bpttlab.networks.activations import ACTIVATIONS
from bpttlab.networks.cells.cell import Cell, Params
from bpttlab.numerics.array import Array
from bpttlab.verification import gradient_check
from bpttlab.verification.path_derivatives import LossTerms, Paths, defined_loss

T, B, I, N, O = 7, 3, 2, 4, 5
MASK = np.array([0.0, 1.0, 0.5, 0.0, 1.0, 0.25, 1.0])
"""Gaps, fractions, and none of it in the first step."""


def kinds() -> dict[str, Any]:
    """Every cell of the package, by name."""
    return dict(plugins.find_shipped("cell"))


SMALL = {"memory_size": 3, "channel_states": 2}
"""Sizes that cells have beside N: the complex step takes a pass for each number of the state and of the parameters."""


def variants(kind: Any, sizes: tuple[int, int, int] = (I, N, O)) -> list[Cell]:
    """A cell of that kind with default fields, and one for each other choice of a field with few choices."""
    plain = small_cell(kind, sizes)
    found = [plain]
    for field, choices in few_choices(kind).items():
        changed = ({field: small_cell(kinds()[name], sizes) if field == "of" else name} for name in choices)
        found += [cell for cell in (small_cell(kind, sizes, **change) for change in changed) if cell not in found]
    return found


def small_cell(kind: Any, sizes: tuple[int, int, int], **fields_of_it: Any) -> Cell:
    """A cell of these sizes whose other sizes are small, too; so are those of a cell within it."""
    small = {field.name: SMALL[field.name] for field in fields(kind) if field.name in SMALL}
    return kind(*sizes, output_activation="tanh", **small, **fields_of_it)


def few_choices(kind: Any) -> dict[str, tuple[Any, ...]]:
    """Fields of a cell with few possible values, and these values."""
    hints, found = get_type_hints(kind), dict[str, tuple[Any, ...]]()
    for field in fields(kind):
        if field.name == "activation":
            found[field.name] = tuple(ACTIVATIONS)
        elif field.name == "of":
            found[field.name] = tuple(name for name, kind in kinds().items() if not kind.wraps)
        elif hints[field.name] is bool:
            found[field.name] = (True, False)
        elif get_origin(hints[field.name]) is Literal:
            found[field.name] = get_args(hints[field.name])
    return found


@dataclass(frozen=True)
class Example:
    """A network run on random data from a random state, its loss, and both by their definitions."""

    trace: Trace
    loss: losses.Loss
    terms: LossTerms
    paths: Paths

    def with_terms(self, terms: LossTerms) -> Example:
        """The same network and its derivatives with the terms of another loss."""
        return replace(self, terms=terms)

    @cached_property
    def error(self) -> Array:
        """dL_t/dh_t, by the complex step.  (T,B,N)"""
        return self.paths.error(self.terms)

    @cached_property
    def full(self) -> Params:
        """The gradient by every recurrent parameter and by h_0, by the complex step."""
        return self.paths.gradient(self.error)

    @cached_property
    def whole(self) -> Params:
        """`full`, and beside it the gradient by the readout."""
        return self.full | self.paths.readout_gradient(self.terms)

    def weigh_terms(self, weight: Array) -> Params:
        """The gradient of which each term (t,k) counts by its weight."""
        return self.paths.gradient(self.error, weight)

    @cached_property
    def by_backward(self) -> Params:
        return backward(self.trace, self.loss)


def example(
    cell: Cell,
    dtype: str = "float64",
    engine: str = "numpy",
    loss: str = "squared_error",
    reduction: losses.Reduction = "mean",
    mask: Array = MASK,
    batch: int = B,
    seed: int = 4,
    gain: float = 0.6,
) -> Example:
    """Every parameter drawn, biases included; the loss at the steps of the mask."""
    rng, length = np.random.default_rng(seed), len(mask)
    params = {name: gain * rng.standard_normal(shape) for name, shape in cell.parameter_shapes().items()}
    x, h_0 = rng.standard_normal((length, batch, cell.x_size)), rng.standard_normal((batch, cell.state_size))
    target = gradient_check.random_target(rng, loss, (length, batch, cell.output_size))
    trace = forward(cell, {name: value.astype(dtype) for name, value in params.items()}, x, h_0, engine)
    evaluated = losses.evaluate(loss, trace.y_hat, target, mask, reduction)
    return Example(trace, evaluated, defined_loss(loss, target, mask, reduction), Paths.of(trace))


def rows_of(frame: pd.DataFrame) -> Iterator[Any]:
    """The rows of a table, their columns as attributes."""
    return iter(frame.itertuples())


def examples(cells: Iterable[Cell], dtype: str = "float64", engine: str = "numpy") -> Iterator[Example]:
    """Of some cells, with each loss in turn."""
    for number, cell in enumerate(cells):
        yield example(cell, dtype, engine, tuple(losses.LOSSES)[number % len(losses.LOSSES)])
