"""dL/dx at a step of its own in each sequence: against the complex step, explicit products, and powers of a matrix."""

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bpttlab as lab
from bpttlab.errors import ConfigurationError, NonFiniteError
from bpttlab.gradients.forward import forward
from bpttlab.measures.relevant_gradient import input_gradient_norms
from bpttlab.networks import losses
from bpttlab.networks.cells import Elman
from bpttlab.verification.gradient_check import COMPLEX_STEP, COMPLEX_STEP_AGREEMENT, agreement
from tests.support.examples import examples
from tests.support.networks import linear
from tests.support.networks_of_cells import CELLS, case, cases, every_cell


def complex_step_gradient(example, steps):
    """dL/dx_tau of every sequence, one forward pass for each number.  (B,) -> (B, I)"""
    trace = example.trace
    gradient = np.empty(trace.x.shape[1:])
    for b, i in np.ndindex(gradient.shape):
        x = trace.x.astype(complex)
        x[steps[b] - 1, b, i] += COMPLEX_STEP * 1j
        y_hat = forward(trace.cell, trace.params, x, trace.h[0]).y_hat
        gradient[b, i] = losses.total("squared_error", y_hat, example.target, example.mask).imag / COMPLEX_STEP
    return gradient


def literal_gradient(example, steps):
    """The same from explicit products, sum_t dL_t/dh_t P_{t,tau} dh_tau/dx_tau, and the sizes of what was summed."""
    trace = example.trace
    error, cell = trace.error(example.loss.gradient), trace.cell
    gradient, summed = np.zeros(trace.x.shape[1:]), np.zeros(trace.x.shape[1:])
    for b, tau in enumerate(steps):
        for t in range(tau, trace.length + 1):
            dh = error[t - 1, b] @ trace.product(t, tau)[b]
            da, _ = cell.vjp(trace.params, trace.linearization[tau - 1, b], dh)
            term = cell.input_vjp(trace.params, trace.linearization[tau - 1, b], da)
            gradient[b] += term
            summed[b] += np.abs(term)
    return gradient, summed


def some_steps(data, trace):
    step = st.integers(1, trace.length)
    return np.array([data.draw(step) for _ in range(trace.x.shape[1])])


def assert_norms(found, expected, summed, tolerance):
    """Logarithms of norms, relative to what was summed."""
    sizes = np.linalg.norm(summed, axis=-1)
    assert (np.abs(np.exp(found) - np.linalg.norm(expected, axis=-1)) <= tolerance * sizes).all()


@every_cell
@examples(15)
@given(data=st.data())
def test_it_is_the_complex_step(make, data):
    T, B, N, I = (data.draw(st.integers(1, most)) for most in (6, 3, 4, 3))
    gain, seed = data.draw(st.sampled_from([0.0, 0.3, 1.0])), data.draw(st.integers(0, 2**16))
    example = case(make, seed, T, B, N, I, gain=gain)  # a saturated readout would have lost its digits in 1 - y y
    steps = some_steps(data, example.trace)
    found = input_gradient_norms(example.trace, example.loss, steps)
    _, summed = literal_gradient(example, steps)
    assert found.shape == (example.trace.x.shape[1],)
    assert_norms(found, complex_step_gradient(example, steps), summed, COMPLEX_STEP_AGREEMENT)


@every_cell
@examples(15)
@given(data=st.data())
def test_it_is_the_sum_over_explicit_products(make, data):
    example = data.draw(cases(make))
    steps = some_steps(data, example.trace)
    expected, summed = literal_gradient(example, steps)
    found = input_gradient_norms(example.trace, example.loss, steps)
    assert_norms(found, expected, summed, 10 * agreement(example.trace.h.dtype))


@pytest.mark.parametrize(("scale", "T"), [(0.1, 3000), (0.9, 3000), (3.0, 3000)])
def test_it_neither_underflows_nor_overflows(scale, T):
    """A linear network with W = scale times a rotation: |dL/dx_tau| = scale^(T - tau) |U|."""
    rotation = np.array([[0.6, -0.8], [0.8, 0.6]])
    trace, steps = linear(scale * rotation, T, B=4), np.array([1, 2, T // 2, T])
    errors = np.zeros_like(trace.y_hat)
    errors[-1] = 1.0
    expected = (T - steps) * np.log(scale) + np.log(np.linalg.norm(trace.params["U"]))
    np.testing.assert_allclose(input_gradient_norms(trace, errors, steps), expected, rtol=1e-12)


def product_of_large_numbers(trace, error):
    """dL_T/dh_1 = error_T J_T … J_2 in numbers of unbounded exponent, as floats with the log of their scale."""
    row = np.array([mpmath.mpf(float(one)) for one in error])
    for t in range(trace.length, 1, -1):
        row = row @ np.vectorize(mpmath.mpf, otypes=[object])(trace.jacobian(t)[0].astype(object))
    largest = max(abs(one) for one in row)
    return np.array([float(one / largest) for one in row]), float(mpmath.log(largest))


@every_cell
def test_it_is_the_product_where_no_float_holds_it(make):
    """900 steps back, which e^-709 does not survive in most cells."""
    trace = case(make, T=900, B=1, N=2, gain=0.3).trace
    errors = np.zeros_like(trace.y_hat)
    errors[-1] = 1.0
    row, scale = product_of_large_numbers(trace, trace.error(errors)[-1, 0])
    da, _ = trace.cell.vjp(trace.params, trace.linearization[0, 0], row)
    if not da.any():  # there is no path from this step: 899 is no multiple of the dilation, or no unit moves at step 1
        assert input_gradient_norms(trace, errors, np.array([1]))[0] == -np.inf
        return
    expected = np.log(np.linalg.norm(trace.cell.input_vjp(trace.params, trace.linearization[0, 0], da))) + scale
    assert input_gradient_norms(trace, errors, np.array([1]))[0] == pytest.approx(expected, abs=1e-10)


class SlopesLast(Elman):
    """An Elman cell that leaves f' to `input_vjp`: the same gradient of x by another way."""

    def vjp(self, params, linearization_t, dh_t):
        return dh_t, super().vjp(params, linearization_t, dh_t)[1]

    def input_vjp(self, params, linearization_t, da_t):
        return super().input_vjp(params, linearization_t, linearization_t * da_t)


def test_the_slopes_that_it_takes_are_those_of_the_step():
    one, other = (case(make, T=7, B=3) for make in (Elman, SlopesLast))
    steps = np.array([6, 2, 4])
    expected = input_gradient_norms(one.trace, one.loss, steps)
    np.testing.assert_allclose(input_gradient_norms(other.trace, other.loss, steps), expected, rtol=1e-13)


def test_a_step_after_the_last_loss_hears_nothing():
    example = case(CELLS["gru"], T=6, mask=[1, 1, 1, 0, 0, 0])
    found = input_gradient_norms(example.trace, example.loss, np.array([3, 4]))
    assert np.isfinite(found[0]) and found[1] == -np.inf


def test_sequences_have_their_own_steps():
    example = case(CELLS["lstm"], T=6, B=3)
    alone = [input_gradient_norms(example.trace, example.loss, np.full(3, step))[b] for b, step in enumerate((5, 1, 6))]
    assert input_gradient_norms(example.trace, example.loss, np.array([5, 1, 6])).tolist() == alone


def test_what_a_task_marks_is_what_it_takes():
    task = lab.tasks.DelayedRecall(30, delay=20)
    batch = task.sample(np.random.default_rng(0), 4)
    cell = Elman(2, 8, 1)
    trace = forward(cell, cell.init(np.random.default_rng(1), spectral_radius=0.9), batch.x)
    found = input_gradient_norms(trace, task.loss(trace.y_hat, batch), batch.relevant_step)
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([1, 2, 3], r"steps: has shape \(3,\) .*; must be \(B,\) = \(2,\), integers"),
        (2, r"steps: has shape \(\)"),
        ([1.0, 2.0], r"steps: has shape \(2,\) and dtype float64; must be .* integers"),
        ([1, 0], "steps: holds 0; must be from 1 to T = 6"),
        ([7, 1], "steps: holds 7; must be from 1 to T = 6"),
    ],
)
def test_steps_that_cannot_be_are_refused(steps, message):
    example = case(CELLS["elman"])
    with pytest.raises(ConfigurationError, match=message):
        input_gradient_norms(example.trace, example.loss, np.array(steps))


def test_a_loss_that_is_not_finite_is_refused():
    example = case(CELLS["elman"])
    with pytest.raises(NonFiniteError, match="step t = 2"):
        input_gradient_norms(
            example.trace, np.where(np.arange(6)[:, None, None] == 1, np.nan, np.ones((6, 2, 2))), [1, 1]
        )
