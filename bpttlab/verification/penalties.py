"""Penalties of training: values and gradients against their definitions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bpttlab.gradients.forward import forward
from bpttlab.networks.cells import Elman
from bpttlab.networks.cells.cell import Cell, Params
from bpttlab.numerics.array import Array
from bpttlab.training.penalties import Flossing, Omega
from bpttlab.verification.cells import SOURCE, compiled_kinds, worst_of
from bpttlab.verification.check import Check, agree, checks
from bpttlab.verification.examples import Example, I, N, O, example, kinds, variants
from bpttlab.verification.gradient_check import (
    CENTRAL_AGREEMENT,
    COMPLEX_STEP_AGREEMENT,
    central_difference,
    complex_step,
    disagreement,
    largest,
    worst,
)

SOFT = ("tanh", "logistic", "softplus")
"""Activations of which no exponent is -inf."""


@checks("gradients")
def flossing(quick: bool) -> Iterator[Check]:
    """Gradients of the squared exponents, of every cell that is served and by each engine."""
    engines = ("numpy", "numba") if compiled_kinds() else ("numpy",)
    for name, kind in kinds().items():
        cells = [cell for cell in variants(kind) if cell.has_second_derivatives]
        served = [cell for cell in cells if getattr(cell, "activation", "tanh") in SOFT]
        errors = [flossing_errors(cell, engines) for cell in served]
        for number, engine in enumerate(engines if served else ()):
            what = f"{name}, {engine}: gradient of gradient flossing{worst_of(served)}"
            yield agree(what, "central differences", largest(one[number] for one in errors), CENTRAL_AGREEMENT)


def flossing_errors(cell: Cell, engines: tuple[str, ...]) -> list[float]:
    """Of two exponents, with a QR at every second step, against differences of NumPy's values."""
    trace, penalty = example(cell, mask=np.ones(5), batch=2).trace, Flossing(2, interval=2)

    def value(changed: Params) -> float:
        rates = penalty.finite_time_exponents(forward(cell, {**trace.params, **changed}, trace.x, trace.h[0]))
        return float((rates * rates).sum(axis=-1).mean())

    arrays = {name: trace.params[name] for name in cell.recurrent_parameters}
    expected = {name: central_difference(value, arrays, name) for name in arrays}
    return [worst(penalty.value_and_gradient(trace.with_engine(one), None)[1], expected) for one in engines]


@checks("gradients")
def norms_of_cotangents(quick: bool) -> Iterator[Check]:
    """Pascanu's Omega: the value, and the gradient by W with cotangents and states held."""
    cells = [Elman(I, N, O, activation, "tanh") for activation in SOFT]
    errors = [omega_errors(example(cell)) for cell in cells]
    what = f"Omega of Pascanu: {{}}{worst_of(cells)}"
    source = f"its definition, Pascanu, Mikolov & Bengio 2013, eq. 9; {SOURCE}"
    yield agree(what.format("value"), source, largest(value for value, _ in errors), COMPLEX_STEP_AGREEMENT)
    yield agree(what.format("gradient"), source, largest(slope for _, slope in errors), COMPLEX_STEP_AGREEMENT)


def omega_errors(one: Example) -> tuple[float, float]:
    """Of the value and of the gradient; cotangents are those of b_h in one step, by the complex step."""
    trace, T = one.trace, one.trace.length
    da = np.einsum("tbn,tkbne->kbe", one.error, one.paths.term("b_h"))
    slopes = one.paths.immediate[..., one.paths.parts["b_h"]].diagonal(axis1=-2, axis2=-1)

    def definition(changed: Params) -> Any:
        sent = (da[1:] @ changed["W"]) * slopes[: T - 1]
        return ((norms(sent) / norms(da[1:]) - 1.0) ** 2).sum() / da.shape[1]

    value, gradient = Omega().value_and_gradient(trace, one.loss)
    arrays = {"W": trace.params["W"]}
    expected = complex_step(definition, arrays, "W")
    return abs(value / float(definition(arrays)) - 1.0), disagreement(gradient["W"], expected)


def norms(rows: Array) -> Array:
    """Euclidean, of complex numbers too."""
    return np.sqrt((rows * rows).sum(axis=-1))
