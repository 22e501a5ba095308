"""The gradient checker of the package, with its tolerances.

Two ways to a gradient agree when max|difference| <= tolerance * max|gradient|, parameter by parameter, on the same
stored trajectory (`numerics.agreement`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from bpttlab.gradients.backward import backward
from bpttlab.gradients.double_sum import literal_sum
from bpttlab.gradients.forward import forward
from bpttlab.gradients.trace import Trace
from bpttlab.networks import losses
from bpttlab.networks.activations import ACTIVATIONS, find_activation
from bpttlab.networks.cells.cell import Cell, Params
from bpttlab.networks.cells.elman import Elman
from bpttlab.numerics.agreement import AGREEMENT as AGREEMENT
from bpttlab.numerics.agreement import agreement as agreement
from bpttlab.numerics.agreement import disagreement as disagreement
from bpttlab.numerics.array import Array
from bpttlab.truncation.scheme import Scheme
from bpttlab.truncation.segmented import Chunked, Full, PerLoss, Windowed

COMPLEX_STEP_AGREEMENT = 1e-11
"""Between back-propagation and the complex step, which runs through a forward pass of its own."""

CENTRAL_AGREEMENT = 1e-6
"""Between back-propagation and central differences, whose own error is about 1e-9 for numbers of order one."""

COMPLEX_STEP = 1e-30
CENTRAL_STEP = 1e-6


def assert_agree(one: Mapping[str, Array], other: Mapping[str, Array], tolerance: float | None = None) -> None:
    """Raises an AssertionError that shows the first parameter on which two gradients disagree.

    Args:
        one, other: keyed by parameter; every key of `other` is compared.
        tolerance: relative; `agreement` of the dtype by default.
    """
    for name, expected in other.items():
        allowed = agreement(expected.dtype) if tolerance is None else tolerance
        error = disagreement(one[name], expected)
        if not error <= allowed:
            raise AssertionError(
                f"{name}: relative disagreement {error:.3g} > {allowed:.3g}\none:\n{one[name]}\nother:\n{expected}"
            )


def numerical_gradient(
    cell: Cell, params: Params, x: Array, loss: Callable[[Array], Any], h_0: Array | None = None, analytic: bool = True
) -> Params:
    """dL/dparams and dL/dh_0 without any derivative rule, one forward pass or two for each number.

    Args:
        cell, params, x, h_0: as in `forward`, in float64.
        loss: y_hat (T, B, O) -> L; must accept complex predictions if `analytic`.
        analytic: complex step (Squire & Trapp 1998), exact to rounding; otherwise central differences.
    """
    h_0 = np.zeros((x.shape[1], cell.state_size)) if h_0 is None else h_0
    arrays = {**params, "h_0": h_0}

    def loss_at(changed: Params) -> Any:
        weights = {name: value for name, value in changed.items() if name != "h_0"}
        return loss(forward(cell, weights, x, changed["h_0"]).y_hat)

    derivative = complex_step if analytic else central_difference
    return {name: derivative(loss_at, arrays, name) for name in arrays}


def complex_step(loss_at: Callable[[Params], Any], arrays: Params, name: str) -> Array:
    gradient = np.zeros(arrays[name].shape)
    for index in np.ndindex(gradient.shape):
        changed = arrays[name].astype(complex)
        changed[index] += 1j * COMPLEX_STEP
        gradient[index] = np.imag(loss_at({**arrays, name: changed})) / COMPLEX_STEP
    return gradient


def central_difference(loss_at: Callable[[Params], Any], arrays: Params, name: str) -> Array:
    gradient = np.zeros(arrays[name].shape)
    for index in np.ndindex(gradient.shape):
        above, below = arrays[name].copy(), arrays[name].copy()
        above[index] += CENTRAL_STEP
        below[index] -= CENTRAL_STEP
        change = loss_at({**arrays, name: above}) - loss_at({**arrays, name: below})
        gradient[index] = change / (above[index] - below[index])
    return gradient


# ------------------------------------------------------------------------------------------ verify gradients


def verify_gradients(progress: Callable[[str], None] = lambda line: None) -> pd.DataFrame:
    """Every activation, loss, reduction, scheme and dtype against the complex step or central differences and the
    literal sum.

    Returns:
        A row per check: activation, loss, reduction, dtype, scheme, oracle, error (the largest relative disagreement
        over the parameters), tolerance, held.
    """
    rows = []
    for activation, loss_name, reduction in product(ACTIVATIONS, losses.LOSSES, ("mean", "sum")):
        progress(f"{activation}, {loss_name}, {reduction}")
        rows += list(checks_of(activation, loss_name, reduction))  # type: ignore[arg-type]
    return pd.DataFrame(rows)


def checks_of(activation: str, loss_name: str, reduction: losses.Reduction) -> Iterator[dict[str, Any]]:
    common = {"activation": activation, "loss": loss_name, "reduction": reduction}
    for dtype in ("float64", "float32"):
        trace, loss, loss_of = _example(activation, loss_name, reduction, dtype)
        for scheme in (Full(), PerLoss(3), Windowed(2, 3), Chunked(3)):
            expected = literal_sum(trace, loss, keeps=terms_that_scheme_keeps(scheme))
            error = worst(backward(trace, loss, scheme), expected)
            yield _row(common, dtype, scheme.name, "literal sum", error, agreement(dtype))
    trace, loss, loss_of = _example(activation, loss_name, reduction, "float64")
    analytic = find_activation(activation).analytic
    expected = numerical_gradient(trace.cell, trace.params, trace.x, loss_of, trace.h[0], analytic)
    error = worst(backward(trace, loss), expected)
    if analytic:
        yield _row(common, "float64", "full", "complex step", error, COMPLEX_STEP_AGREEMENT)
    else:
        yield _row(common, "float64", "full", "central differences", error, CENTRAL_AGREEMENT)


def _row(
    common: dict[str, Any], dtype: str, scheme: str, oracle: str, error: float, tolerance: float
) -> dict[str, Any]:
    checked = {"dtype": dtype, "scheme": scheme, "oracle": oracle, "error": error, "tolerance": tolerance}
    return {**common, **checked, "held": bool(error <= tolerance)}


def worst(one: Mapping[str, Array], other: Mapping[str, Array]) -> float:
    """The largest disagreement over all keys of `other`; NaN if one of them is NaN."""
    return largest([disagreement(one[name], expected) for name, expected in other.items()])


def largest(errors: Iterable[float]) -> float:
    """The largest error; NaN if one is NaN, which Python's max may ignore."""
    return float(np.max(np.array(list(errors), np.float64)))


def _example(
    activation: str, loss_name: str, reduction: losses.Reduction, dtype: str
) -> tuple[Trace, losses.Loss, Callable[[Array], Any]]:
    """A small network with every parameter in use: a trace, its loss, and the loss as a function of y_hat."""
    rng = np.random.default_rng(20)
    cell = Elman(input_size=2, hidden_size=4, output_size=3, activation=activation, output_activation="tanh")
    params = {name: rng.standard_normal(shape) * 0.6 for name, shape in cell.parameter_shapes().items()}
    x, h_0 = rng.standard_normal((7, 2, 2)), rng.standard_normal((2, 4))
    target = random_target(rng, loss_name, (7, 2, 3))
    mask = np.array([0.0, 1.0, 1.0, 0.0, 1.0, 0.5, 1.0])
    trace = forward(cell, {name: value.astype(dtype) for name, value in params.items()}, x, h_0)
    loss = losses.evaluate(loss_name, trace.y_hat, target, mask, reduction)
    return trace, loss, lambda y_hat: losses.total(loss_name, y_hat, target, mask, reduction)


def random_target(rng: np.random.Generator, loss_name: str, shape: tuple[int, int, int]) -> Array:
    """A target for predictions of that shape (T, B, O): classes, numbers from 0 to 1, or any numbers."""
    if loss_name == "softmax_cross_entropy":
        return rng.integers(0, shape[-1], shape[:-1])
    return rng.random(shape) if loss_name == "sigmoid_cross_entropy" else rng.standard_normal(shape)


def terms_that_scheme_keeps(scheme: Scheme) -> Callable[[int, int], bool]:
    """The terms (loss t, step k) of the double sum that a scheme keeps, by its definition and not by its plan."""
    K = scheme.truncation
    if K is None:
        return lambda t, k: True
    if isinstance(scheme, PerLoss):
        return lambda t, k: t - k < K
    if isinstance(scheme, Chunked):
        offset = scheme.offset
        return lambda t, k: (t - 1 - offset) // K == (k - 1 - offset) // K
    if isinstance(scheme, Windowed):
        k1 = scheme.k1
        return lambda t, k: -(-t // k1) * k1 - k < K  # t rounded up to the end of its window
    raise NotImplementedError(f"no list of kept terms for scheme '{scheme.name}'")
