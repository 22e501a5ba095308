"""The gradient split by lag, curves over all truncations, and numbers beyond the range of floats."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from bpttlab.gradients import checkpointing
from bpttlab.gradients.backward import backward
from bpttlab.gradients.directional import log_scale, signed_bias
from bpttlab.gradients.forward import forward
from bpttlab.gradients.parameter_gradients import SUMMED_STEPS
from bpttlab.gradients.trace import Trace
from bpttlab.measures import sensitivity
from bpttlab.measures.gradient_bias import truncation_bias
from bpttlab.measures.lag_terms import lag_terms, measure_lags
from bpttlab.measures.truncation_curve import truncation_curve
from bpttlab.networks.cells import GRU, LSTM, Elman
from bpttlab.networks.cells.cell import Cell, Params
from bpttlab.numerics.array import Array
from bpttlab.numerics.scaled import Scaled
from bpttlab.truncation.segmented import PerLoss
from bpttlab.verification.cells import SOURCE, compiled_kinds, engines
from bpttlab.verification.check import Check, agree, checks, equal
from bpttlab.verification.examples import Example, T, example, rows_of
from bpttlab.verification.gradient_check import COMPLEX_STEP, disagreement, largest, worst
from bpttlab.verification.networks import silent_weights
from bpttlab.verification.schemes import CELLS, array_norm, growing_network, weight_of

LAGS = np.arange(T)


def example_in_growth(cell: Cell, engine: str) -> Example:
    """Every engine; growth gives the terms different exponents."""
    return example(cell, engine=engine, gain=1.3)


def terms_of(one: Example) -> list[Params]:
    """G_l for l = 0..T-1."""
    return [one.weigh_terms(weight_of(lambda t, k, lag=lag: t - k == lag)) for lag in LAGS]  # type: ignore[misc]


@checks("gradients")
def terms_by_lag(quick: bool) -> Iterator[Check]:
    """Every column of the table of lag terms except the signal to noise, which has its own check."""
    for cell in (*CELLS, GRU(2, 4, 5)):
        for engine in engines(cell):
            one = example_in_growth(cell, engine)
            error = largest(
                [term_errors(lag_terms(one.trace, one.loss, which, count=4), one) for which in ("all", "log")]
            )
            yield agree(f"lag terms, {cell.name}, {engine}: norm, size, share, cumulated share", SOURCE, error, 1e-10)


def term_errors(frame: pd.DataFrame, one: Example) -> float:
    terms, errors = terms_of(one), []
    losses = np.array([sum(1 for t in range(lag + 1, T + 1) if one.loss.gradient[t - 1].any()) for lag in LAGS])
    for row in rows_of(frame):
        whole, term = one.full[row.parameter], terms[row.lag][row.parameter]
        kept = sum(terms[lag][row.parameter] for lag in range(row.lag + 1))
        errors += [
            np.exp(row.log_norm) / array_norm(term) - 1.0,
            np.exp(row.log_norm_per_loss) * losses[row.lag] / array_norm(term) - 1.0,
            row.relative_size / (array_norm(term) / array_norm(whole)) - 1.0,
            row.share - (term * whole).sum() / array_norm(whole) ** 2,
            row.cumulative_share - (kept * whole).sum() / array_norm(whole) ** 2,
        ]
    return largest(np.abs(errors))


@checks("gradients")
def truncations_read_off_lags(quick: bool) -> Iterator[Check]:
    """The per-loss truncations of one wavefront, complete and shortened, and those of the truncation curve."""
    for cell in (*CELLS, GRU(2, 4, 5)):
        for engine in engines(cell):
            one = example_in_growth(cell, engine)
            frames = [
                pd.DataFrame(measure_lags(one.trace, one.loss, *how).truncations)
                for how in (("all",), ("log", 4), ("all", 24, 3))
            ]
            curve = truncation_curve(one.trace, one.loss, range(1, T + 1))
            error = largest([kept_errors(frame, one) for frame in (*frames, curve)] + [share_error(curve, one)])
            yield agree(f"per_loss read off lag terms and curves, {cell.name}, {engine}", SOURCE, error, 1e-10)


def kept_errors(frame: pd.DataFrame, one: Example) -> float:
    """log_norm, cosine and log_relative_bias of per-loss truncations."""
    errors = []
    for row in rows_of(frame):
        whole = one.full[row.parameter]
        kept = one.weigh_terms(weight_of(lambda t, k, K=row.truncation: t - k < K))[row.parameter]  # type: ignore[misc]
        errors += [np.exp(row.log_norm) / array_norm(kept) - 1.0]
        errors += [row.cosine - (kept * whole).sum() / array_norm(kept) / array_norm(whole)]
        errors += [np.exp(row.log_relative_bias) - array_norm(whole - kept) / array_norm(whole)]
    return largest(np.abs(errors))


def share_error(curve: pd.DataFrame, one: Example) -> float:
    errors = []
    for row in rows_of(curve):
        whole = one.full[row.parameter]
        kept = one.weigh_terms(weight_of(lambda t, k, K=row.truncation: t - k < K))[row.parameter]  # type: ignore[misc]
        errors.append(abs(row.share - (kept * whole).sum() / array_norm(whole) ** 2))
    return largest(errors)


@checks("gradients")
def signal_to_noise_ratio(quick: bool) -> Iterator[Check]:
    """A constructed case: the gradient by V of one sequence is its input, mean +- deviation, as many of each sign.

    The unbiased estimate is mean^2 / s^2 - 1 / B, with s^2 the variance of the B gradients about their mean.
    """
    batch = 20
    cell = Elman(1, 1, 1, "identity")
    for mean, deviation in ((0.0, 2.0), (1.0, 2.0), (3.0, 2.0), (-3.0, 0.5)):
        x = mean + deviation * np.where(np.arange(batch) % 2, 1.0, -1.0).reshape(1, batch, 1)
        trace = forward(cell, silent_weights(cell, [[0.0]]), x)
        frame = lag_terms(trace, np.full(trace.y_hat.shape, 1.0 / batch), "all")
        found = frame.set_index("parameter").loc["V", "signal_to_noise"]
        known = mean**2 / (deviation**2 * batch / (batch - 1)) - 1.0 / batch
        what = f"signal to noise of {batch} sequences, mean {mean:g}, s.d. {deviation:g}"
        yield equal(what, "construction", known, found, absolute=1e-9)


@checks("gradients")
def sensitivities(quick: bool) -> Iterator[Check]:
    """|dh_t/dtheta| by both ways to it."""
    for cell in (*CELLS, GRU(2, 4, 5)):
        one, errors = example(cell), []
        for measure in (sensitivity.norms_forward, sensitivity.norms_backward):
            found = measure(one.trace, np.arange(1, T + 1))
            for name, log_norms in found.items():
                influence = one.paths.term(name).sum(axis=1)  # (T,B,N,entries)
                errors.append(disagreement(np.exp(log_norms), np.linalg.norm(influence, axis=(-2, -1))))
        yield agree(f"forward sensitivity, {cell.name}, forwards and backwards", SOURCE, largest(errors), 1e-10)


@checks("gradients")
def directional_derivatives(quick: bool) -> Iterator[Check]:
    """Along the scale of W and a signed bias: size and sign of the derivative."""
    one = growing_network(CELLS[0])
    positive = 1
    chosen = {"scale": log_scale(one.trace.cell, one.trace.params), "bias": signed_bias(one.trace.cell, positive)}
    known = {
        "scale": float((one.full["W"] * one.trace.params["W"]).sum()),
        "bias": float(one.full["b_h"][:positive].sum() - one.full["b_h"][positive:].sum()),
    }
    frame = truncation_bias(one.trace, one.loss, PerLoss(T), directions=chosen).set_index("parameter")
    for name, expected in known.items():
        found = np.exp(float(frame["log_norm"][name]))
        yield equal(f"|derivative| along a direction, {name}", SOURCE, abs(expected), found, relative=1e-10)


# ------------------------------------------------------------------------------------------ many steps


def make_long_pass(cell: Cell, length: int, engine: str) -> tuple[Trace, Array]:
    """Many steps, the last loss and some early ones."""
    rng = np.random.default_rng(12)
    params = {name: 0.4 * rng.standard_normal(shape) for name, shape in cell.parameter_shapes().items()}
    trace = forward(cell, params, rng.standard_normal((length, 1, cell.input_size)), engine=engine)
    slope = np.asarray(rng.standard_normal(trace.y_hat.shape))
    return trace, slope


def whole_by_complex_step(trace: Trace, slope: Array) -> Params:
    """d(sum slope . y_hat)/d(all parameters and h_0), one forward pass for each number."""
    arrays, found = {**trace.params, "h_0": trace.h[0]}, {}
    for name, values in arrays.items():
        found[name] = np.zeros(values.shape)
        for index in np.ndindex(values.shape):
            moved = {**arrays, name: values.astype(complex)}
            moved[name][index] += 1j * COMPLEX_STEP
            h_0 = moved.pop("h_0")
            y_hat = forward(trace.cell, moved, trace.x, h_0).y_hat
            found[name][index] = np.imag((slope * y_hat).sum()) / COMPLEX_STEP
    return found


@checks("gradients")
def blocks_of_steps(quick: bool) -> Iterator[Check]:
    """More steps than one product takes: plain, scaled, checkpointed, by each engine."""
    cell, length = Elman(1, 2, 1), SUMMED_STEPS + 9
    expected: Params = {}
    for engine in engines(cell):
        trace, slope = make_long_pass(cell, length, engine)
        expected = expected or whole_by_complex_step(trace, slope)
        few = checkpointing.checkpointed_forward(cell, trace.params, trace.x, engine=engine, steps=SUMMED_STEPS)
        ways = {
            "plain": backward(trace, slope),
            "per_loss": backward(trace, slope, PerLoss(200)),
            "scaled": values(backward(trace, slope, scaled=True)),
            "checkpointed": backward(few, slope),
            "checkpointed, scaled": values(backward(few, slope, scaled=True)),
        }
        for way, found in ways.items():
            what = f"{length} steps, {engine}, {way}"
            yield agree(what, SOURCE, worst(found, expected | {"h_0": found["h_0"]}), 1e-10)


def values(gradients: dict[str, Scaled]) -> Params:
    return {name: gradient.value() for name, gradient in gradients.items()}


@checks("gradients")
def terms_beyond_floats(quick: bool) -> Iterator[Check]:
    """h = w h + v x of one unit with w = 0.1 and h = 1 throughout; one loss at T. All derivatives are powers of w."""
    length, w = 500, 0.1
    cell = Elman(1, 1, 1, "identity")
    params = {"V": [[1.0]], "W": [[w]], "b_h": [1.0 - w], "U": [[1e-200]], "b_y": [0.0]}
    x = np.zeros((length, 1, 1))
    for engine in engines(cell):
        trace = forward(cell, {n: np.array(v) for n, v in params.items()}, x, np.ones((1, 1)), engine)
        slope = np.zeros_like(trace.y_hat)
        slope[-1] = 1e-200
        found = {
            name: gradient.log_norm(gradient.mantissa.ndim)
            for name, gradient in backward(trace, slope, scaled=True).items()
        }
        far = -400.0 * np.log(10.0)
        known = {
            "W": far - np.log(1.0 - w),
            "b_h": far - np.log(1.0 - w),
            "U": far / 2,
            "h_0": far + length * np.log(w),
        }
        for name, expected in known.items():
            what = f"w^k, log of the scaled gradient by {name}, {engine}"
            yield equal(what, "geometric series", expected, float(np.ravel(found[name])[0]), relative=1e-12)
        yield from far_inputs(trace, slope, engine)


def far_inputs(trace: Trace, slope: Array, engine: str) -> Iterator[Check]:
    """The same with an input in the first step and half of one in step 2: only these matter for V."""
    x = trace.x.copy()
    x[0], x[1] = 1e-9, 0.5e-9
    other = Trace(trace.cell, trace.params, x, trace.h, trace.y_hat, trace.engine)
    found = backward(other, slope, scaled=True)["V"]
    w, length = 0.1, len(x)
    expected = -409.0 * np.log(10.0) + (length - 2) * np.log(w) + np.log(w + 0.5)
    what = f"w^k, log of the scaled gradient by V, inputs {length} steps ago, {engine}"
    yield equal(what, "geometric series", expected, float(found.log_norm(2)), relative=1e-12)


@checks("gradients")
def states_of_any_size(quick: bool) -> Iterator[Check]:
    """The gradient by U of states of size 1e-170: its exponent is that of the errors and that of the states."""
    cell = Elman(1, 2, 1, "identity")
    params = silent_weights(cell, 0.5 * np.eye(2))
    trace = forward(cell, params, np.zeros((3, 1, 1)), np.full((1, 2), 1e-170))
    slope = np.full(trace.y_hat.shape, 1e-170)
    expected = np.log(1e-170) * 2 + np.log(0.5 + 0.25 + 0.125) + 0.5 * np.log(2.0)
    found = float(backward(trace, slope, scaled=True)["U"].log_norm(2))
    yield equal("small states, log of the scaled gradient by U", "arithmetic", expected, found, relative=1e-12)


# ------------------------------------------------------------------------------------------ compiled, larger


@checks("gradients")
def compiled_at_larger_sizes(quick: bool) -> Iterator[Check]:
    """Sizes beyond the unrolled loops, no multiples of 4 or 8; one sequence and several; more steps than one block."""
    if not compiled_kinds():
        return
    for cell in (Elman(3, 11, 2), LSTM(3, 11, 2), GRU(3, 11, 2), GRU(3, 11, 2, reset="before")):
        for batch, length in ((1, 300), (5, 60)):
            error = between_engines(cell, batch, length)
            name = f"{cell.name}, reset = {cell.reset}" if isinstance(cell, GRU) else cell.name
            what = f"{name}, N = 11, B = {batch}, T = {length}: states, gradients and walks of numba against NumPy"
            yield agree(what, "NumPy's own loops", error, 1e-10)


def between_engines(cell: Cell, batch: int, length: int) -> float:
    rng = np.random.default_rng(13)
    params = {name: 0.3 * rng.standard_normal(shape) for name, shape in cell.parameter_shapes().items()}
    x, h_0 = rng.standard_normal((length, batch, 3)), rng.standard_normal((batch, cell.state_size))
    one, other = (forward(cell, params, x, h_0, engine) for engine in ("numba", "numpy"))
    slope = np.asarray(rng.standard_normal(one.y_hat.shape))
    errors = [
        disagreement(one.h, other.h),
        disagreement(one.y_hat, other.y_hat),
        disagreement(one.linearization, other.linearization),
    ]
    for scheme in (None, PerLoss(20)):
        errors.append(worst(backward(one, slope, scheme), backward(other, slope, scheme)))
    return largest(errors)
