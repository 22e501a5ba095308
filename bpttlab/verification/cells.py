"""Every cell against the complex step of its own forward pass: derivatives of a step, gradients, constraints."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Sized
from functools import cache, partial
from importlib.util import find_spec

import numpy as np

from bpttlab.gradients.backward import backward
from bpttlab.gradients.compiled import forms
from bpttlab.gradients.double_sum import literal_sum
from bpttlab.gradients.forward import forward
from bpttlab.gradients.forward_mode.rtrl import influence, rtrl
from bpttlab.gradients.loss_and_gradient import loss_and_gradient
from bpttlab.gradients.plan import Plan
from bpttlab.measures.relevant_gradient import input_gradient_norms
from bpttlab.networks import losses
from bpttlab.networks.cells import Elman, Noisy
from bpttlab.networks.cells.cell import Cell, Params
from bpttlab.numerics.array import Array
from bpttlab.verification.check import Check, agree, checks
from bpttlab.verification.examples import B, Example, I, N, O, T, example, examples, kinds, variants
from bpttlab.verification.gradient_check import (
    COMPLEX_STEP,
    COMPLEX_STEP_AGREEMENT,
    agreement,
    disagreement,
    largest,
    worst,
)
from bpttlab.verification.path_derivatives import defined_loss

SOURCE = "complex step of the forward pass"
MeasuredError = Callable[[Example], float]

SEVERAL = np.array([[0, 3, 0], [1, 5, 3], [2, 7, 5]])
"""Segments (start, stop, loss_from) that overlap; the middle one goes back beyond the first one's losses."""


def carries(rng: np.random.Generator) -> Array:
    """One for each step and sequence; some are cut, some are carried as they are.  (T,B)"""
    drawn = rng.uniform(0.3, 1.7, (T, B))
    drawn[2, 0], drawn[4, 1], drawn[3] = 0.0, 0.0, 1.0
    return drawn


def plan_weight(plan: Plan, length: int = T, batch: int = B) -> Array:
    """The weight of each term (t,k) under a plan, from the definition of its segments and carries.  (T,T,B)"""
    carry = np.broadcast_to(plan.carry.reshape(length, -1), (length, batch))
    weight = np.zeros((length, length, batch))
    for start, stop, loss_from in plan.segments:
        for t in range(loss_from + 1, stop + 1):
            for k in range(start + 1, t + 1):
                weight[t - 1, k - 1] += carry[k - 1 : t - 1].prod(axis=0)
    return weight


# ------------------------------------------------------------------------------------------ one quantity of an example


def jacobians_of_a_step(one: Example) -> float:
    """J_t and the products of them, which do not commute."""
    pairs = [(t, t - 1) for t in range(1, T + 1)] + [(T, 0), (5, 1), (T, 4)]
    found = [disagreement(one.trace.product(t, k), one.paths.jacobian(t, k)) for t, k in pairs]
    return largest(found + [disagreement(one.trace.jacobian(t), one.paths.jacobian(t)) for t in range(1, T + 1)])


def vjp_of_rows(one: Example) -> float:
    """Rows of the identity through the vjp: to the state before, to the input, and to every parameter row by row."""
    trace, paths = one.trace, one.paths
    size = trace.h.shape[-1]
    rows = np.broadcast_to(np.eye(size, dtype=trace.h.dtype)[:, None, None], (size, T, B, size))
    da, dh_prev = trace.cell.vjp(trace.params, trace.linearization, rows)
    dx = trace.cell.input_vjp(trace.params, trace.linearization, da)
    own = {"h": dh_prev, "x": dx, **trace.cell.immediate(trace.local, da)}
    expected = {name: paths.immediate[..., part] for name, part in paths.parts.items()}
    found = {name: np.moveaxis(value.reshape(size, T, B, -1), 0, 2) for name, value in own.items()}
    return worst(found, expected)


def full_gradient(one: Example) -> float:
    return worst(one.by_backward, one.whole)


def gradient_by_exponents(one: Example) -> float:
    return worst({name: value.value() for name, value in backward(one.trace, one.loss, scaled=True).items()}, one.whole)


def double_sum(one: Example) -> float:
    return worst(literal_sum(one.trace, one.loss), one.full)


def any_plan(one: Example) -> float:
    """Plans of one and of several segments with carries, one a step and one for each step and sequence."""
    carry, whole = carries(np.random.default_rng(5)), np.array([[0, T, 0]])
    plans = [Plan(segments, some) for segments in (whole, SEVERAL) for some in (carry, carry[:, 1], np.ones(T))]
    return largest(worst(backward(one.trace, one.loss, plan), one.weigh_terms(plan_weight(plan))) for plan in plans)


def forward_influence(one: Example) -> float:
    """M_t at every t, and the gradient from it."""
    found = [worst(rtrl(one.trace, one.loss), {name: one.full[name] for name in one.trace.cell.recurrent_parameters})]
    for t, matrices in influence(one.trace):
        expected = {name: one.paths.term(name)[t - 1].sum(axis=0) for name in matrices}
        found.append(worst({name: matrix.value() for name, matrix in matrices.items()}, expected))
    return largest(found)


def input_gradient(one: Example) -> float:
    """|dL/dx| at one step in each sequence, another step for each."""
    steps = np.array([2, T - 1, 4])
    dx = [np.einsum("tn,tni->i", one.error[:, b], one.paths.term("x")[:, step - 1, b]) for b, step in enumerate(steps)]
    return disagreement(np.exp(input_gradient_norms(one.trace, one.loss, steps)), np.linalg.norm(dx, axis=1))


_QUANTITIES: dict[str, MeasuredError] = {
    "Jacobians and their products": jacobians_of_a_step,
    "vjp, input_vjp and immediate derivatives": vjp_of_rows,
    "full gradient": full_gradient,
    "scaled gradient": gradient_by_exponents,
    "double sum": double_sum,
    "gradients of plans with carries": any_plan,
    "influence matrices and RTRL": forward_influence,
    "gradient at an input": input_gradient,
}


def check_cell(
    cells: Sequence[Cell], dtype: str, engine: str = "numpy", quantities: dict[str, MeasuredError] = _QUANTITIES
) -> Iterator[Check]:
    """One check for each quantity: the worst of some variants of one kind of cell."""
    some = [one for one in examples(cells, dtype, engine) if one.trace.engine.name == engine]
    tolerance = COMPLEX_STEP_AGREEMENT if dtype == "float64" else agreement(dtype)
    for name, measure in quantities.items():
        what = f"{cells[0].name}, {dtype}, {engine}: {name}{worst_of(some)}"
        yield agree(what, SOURCE, largest(measure(one) for one in some), tolerance)


def worst_of(some: Sized) -> str:
    """How many variants a check is the worst of; "" of one alone."""
    return f", worst of {len(some)} variants" if len(some) > 1 else ""


def every_quantity(kind: str, quick: bool) -> Iterator[Check]:
    """Both dtypes. In float32 a cell around another one has its default alone: those within it are checked there."""
    cells = variants(kinds()[kind])
    yield from check_cell(cells, "float64")
    yield from check_cell(cells[:1] if cells[0].wraps else cells, "float32")


for found in kinds():
    source = partial(every_quantity, found)
    source.__name__ = f"cell {found}"  # type: ignore[attr-defined]  # said while it is at work
    checks("gradients")(source)


@checks("gradients")
def fixed_draws(quick: bool) -> Iterator[Check]:
    """Cells with dropout, zoneout and noise. Their draws are inputs, of which nobody asks for a derivative."""
    for of in ("elman", "gru", "lstm"):
        one = example(Noisy(I, N, O, of=of, dropout=0.4, zoneout=0.3, noise=0.2, output_activation="tanh"))
        for name, measure in _QUANTITIES.items():
            if "input" not in name:
                yield agree(f"noisy of {of}: {name}", SOURCE, measure(one), COMPLEX_STEP_AGREEMENT)


# ------------------------------------------------------------------------------------------ compiled loops


def engines(cell: Cell) -> tuple[str, ...]:
    """NumPy's, and that of compiled loops if the cell has them and Numba is installed."""
    compiled = find_spec("numba") is not None and forms.has_kernel(cell, "float64")
    return ("numpy", "numba") if compiled else ("numpy",)


@cache
def compiled_kinds() -> tuple[str, ...]:
    """Cells with compiled loops; none without Numba."""
    return tuple(name for name, kind in kinds().items() if any("numba" in engines(cell) for cell in variants(kind)))


def states(one: Example) -> float:
    """Against NumPy's forward pass."""
    trace = one.trace
    other = forward(trace.cell, trace.params, trace.x, trace.h[0])
    return largest([disagreement(trace.h, other.h), disagreement(trace.y_hat, other.y_hat)])


@checks("gradients")
def compiled_loops(quick: bool) -> Iterator[Check]:
    """The same quantities with compiled loops, and the states compared with NumPy's."""
    chosen = {"states and predictions against NumPy's": states, **_QUANTITIES}
    for kind in compiled_kinds():
        for dtype in ("float64", "float32"):
            yield from check_cell(variants(kinds()[kind]), dtype, "numba", chosen)


@checks("gradients")
def loss_and_gradient_in_one_call(quick: bool) -> Iterator[Check]:
    """By each engine, with masks of gaps and fractions."""
    errors: dict[str, list[float]] = {engine: [] for engine in ("numpy", "numba")}
    for kind in kinds().values():
        for cell in variants(kind):
            one = example(cell)
            for engine in engines(cell):
                errors[engine].append(one_call(one, engine))
    for engine, found in errors.items():
        if found:
            what = f"loss and gradient in one call, {engine}, worst of {len(found)} cells"
            yield agree(what, SOURCE, largest(found), COMPLEX_STEP_AGREEMENT)


def one_call(one: Example, engine: str) -> float:
    trace, rng, found = one.trace, np.random.default_rng(6), list[float]()
    for mask in (None, np.array([0.5, 0.0, 1.0, 0.25, 0.0, 1.0, 0.0])):
        target = np.asarray(rng.standard_normal(trace.y_hat.shape))
        value, gradient = loss_and_gradient(
            trace.cell, trace.params, trace.x, target, mask, h_0=np.array(trace.h[0]), engine=engine
        )
        terms = defined_loss("squared_error", target, np.ones(T) if mask is None else mask, "mean")
        total = float(np.real(terms(trace.y_hat)).sum())
        found += [worst(gradient, one.with_terms(terms).whole), abs(value - total) / abs(total)]
    return largest(found)


# ------------------------------------------------------------------------------------------ losses


@checks("gradients")
def loss_functions(quick: bool) -> Iterator[Check]:
    """Value and slope of every loss against its definition, with masks of gaps and fractions."""
    for name in losses.LOSSES:
        for reduction in REDUCTIONS:
            one = example(Elman(2, 4, 5), loss=name, reduction=reduction)
            y_hat = one.trace.y_hat
            value = float(one.terms(y_hat).sum())
            slope = np.stack([loss_slope(one, o) for o in range(y_hat.shape[-1])], axis=-1)
            error = largest([abs(one.loss.value / value - 1.0), disagreement(one.loss.gradient, slope)])
            yield agree(
                f"{name}, {reduction}: value and slope", "definition; complex step", error, COMPLEX_STEP_AGREEMENT
            )


REDUCTIONS: tuple[losses.Reduction, ...] = ("mean", "sum")


def loss_slope(one: Example, output: int) -> Array:
    """dL/dy_hat of one output.  (T,B)"""
    y_hat = one.trace.y_hat.astype(complex)
    y_hat[..., output] += 1j * COMPLEX_STEP
    return np.imag(one.terms(y_hat)) / COMPLEX_STEP


# ------------------------------------------------------------------------------------------ constraints


@checks("gradients")
def constraints(quick: bool) -> Iterator[Check]:
    """The matrices that training changes: constrain . unconstrain is the identity, and the gradient is the complex step
    through `constrain`.
    """
    for kind in kinds():
        cells = variants(kinds()[kind])
        errors = np.array([constraint_errors(cell) for cell in cells])
        what = f"{kind}: {{}}{worst_of(cells)}"
        yield agree(what.format("constrain(free(parameters))"), "definition", errors[:, 0].max(), 1e-12)
        yield agree(what.format("gradient by the free numbers"), SOURCE, errors[:, 1].max(), COMPLEX_STEP_AGREEMENT)


def constraint_errors(cell: Cell) -> tuple[float, float]:
    """Of a drawn network, and of a linear function of its parameters."""
    rng = np.random.default_rng(7)
    params = cell.init(rng)
    slope = {name: np.asarray(rng.standard_normal(value.shape)) for name, value in params.items()}
    free = cell.unconstrain(params)
    pulled_back = cell.constraint_vjp(free, slope)
    expected = {name: free_gradient(cell, free, slope, name) for name in pulled_back}
    return worst(cell.constrain(free), params), worst(pulled_back, expected)


def free_gradient(cell: Cell, free: Params, slope: Params, name: str) -> Array:
    found = np.zeros(free[name].shape)
    for index in np.ndindex(found.shape):
        changed = {**free, name: free[name].astype(complex)}
        changed[name][index] += 1j * COMPLEX_STEP
        params = cell.constrain(changed)
        found[index] = np.imag(sum((slope[key] * params[key]).sum() for key in slope)) / COMPLEX_STEP
    return found
