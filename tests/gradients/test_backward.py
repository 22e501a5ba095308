"""The engine against the literal sum of the notes, the complex step, and itself."""

import numpy as np
import pytest
from hypothesis import given

from bpttlab.errors import ConfigurationError, DivergedError, GradientRangeError, NonFiniteError
from bpttlab.gradients.backward import backward
from bpttlab.gradients.double_sum import literal_sum
from bpttlab.gradients.forward import forward
from bpttlab.networks import losses
from bpttlab.networks.cells import Elman
from bpttlab.truncation.segmented import Chunked, Full, PerLoss, Windowed
from bpttlab.verification.gradient_check import assert_agree, numerical_gradient, terms_that_scheme_keeps
from tests.support.examples import examples
from tests.support.networks import case, cases, linear, schemes


@given(cases(), schemes())
def test_backward_is_the_literal_sum(case, scheme):
    expected = literal_sum(case.trace, case.loss, terms_that_scheme_keeps(scheme))
    assert_agree(backward(case.trace, case.loss, scheme), expected)


@given(cases(), schemes())
def test_scaled_backward_is_the_plain_one(case, scheme):
    scaled = backward(case.trace, case.loss, scheme, scaled=True)
    assert_agree({name: value.value() for name, value in scaled.items()}, backward(case.trace, case.loss, scheme))


@examples(25)
@given(cases(dtypes=("float64",), longest=5, tame=True))
def test_backward_is_the_complex_step(case):
    target = np.zeros_like(case.trace.y_hat)
    mask = np.ones(case.trace.length)
    loss = losses.evaluate("squared_error", case.trace.y_hat, target, mask)
    expected = numerical_gradient(
        case.trace.cell,
        case.trace.params,
        case.trace.x,
        lambda y_hat: losses.total("squared_error", y_hat, target, mask),
        case.trace.h[0],
    )
    assert_agree(backward(case.trace, loss), expected, 1e-11)


@pytest.mark.parametrize("K", [9, 10, 200])
@pytest.mark.parametrize("scheme", [PerLoss, Chunked, lambda K: Windowed(3, K)])
def test_truncation_beyond_the_sequence_reduces_to_full(scheme, K):
    example = case(T=9)
    cut, full = backward(example.trace, example.loss, scheme(K)), backward(example.trace, example.loss, Full())
    assert all(cut[name].tobytes() == full[name].tobytes() for name in full)


def test_per_loss_one_is_the_immediate_derivative():
    example = case(T=7)
    gradient = backward(example.trace, example.loss, PerLoss(1))
    assert_agree(gradient, literal_sum(example.trace, example.loss, lambda t, k: t == k))


@given(cases())
def test_windowed_with_a_stride_of_one_is_per_loss(case):
    assert_agree(backward(case.trace, case.loss, Windowed(1, 4)), backward(case.trace, case.loss, PerLoss(4)))


@given(cases())
def test_chunked_is_windowed_without_overlap(case):
    assert_agree(backward(case.trace, case.loss, Chunked(4)), backward(case.trace, case.loss, Windowed(4, 4)))


def test_three_jacobians_that_do_not_commute():
    """P_{3,0} = J_3 J_2 J_1, latest first: pins the order that a transposed recursion would reverse."""
    x = np.array([[[0.3, -1.0]], [[1.2, 0.4]], [[-0.7, 0.9]]])
    cell = Elman(2, 2, 1)
    W = np.array([[0.5, 1.5], [-1.0, 0.25]])
    params = {"V": np.eye(2), "W": W, "b_h": np.zeros(2), "U": np.ones((1, 2)), "b_y": np.zeros(1)}
    trace = forward(cell, params, x)
    J_1, J_2, J_3 = (np.diag(1.0 - trace.h[t, 0] ** 2) @ W for t in (1, 2, 3))
    assert not np.allclose(J_3 @ J_2 @ J_1, J_1 @ J_2 @ J_3, rtol=1e-3)
    np.testing.assert_allclose(trace.product(3, 0)[0], J_3 @ J_2 @ J_1, rtol=1e-14)
    np.testing.assert_allclose(trace.product(2, 1)[0], J_2, rtol=1e-14)
    np.testing.assert_array_equal(trace.product(2, 2)[0], np.eye(2))


def test_the_jacobian_is_the_derivative_of_the_state():
    trace = case(N=4).trace
    numeric = np.empty((4, 4))
    for m in range(4):
        moved = trace.h[2].astype(complex)
        moved[:, m] += 1e-30j
        z = trace.cell.project(trace.params, trace.x)
        numeric[:, m] = trace.cell.step(trace.params, z[2], moved)[0].imag / 1e-30
    np.testing.assert_allclose(trace.jacobian(3)[0], numeric, rtol=1e-13, atol=1e-15 * np.abs(numeric).max())


def test_the_gradient_vanishes_relative_to_itself_correctly():
    """1e-200: an absolute tolerance would pass anything here."""
    trace = linear(0.1 * np.eye(2), T=200)
    errors = np.zeros_like(trace.y_hat)
    errors[-1] = 1.0
    gradient = backward(trace, errors, scaled=True)["h_0"]
    expected = np.log(np.linalg.norm(trace.params["U"])) + 200 * np.log(0.1)
    assert gradient.log_norm()[0] == pytest.approx(expected, rel=1e-13)


def test_exploding_gradient_is_refused_or_returned_scaled():
    trace = linear(4.0 * np.eye(2), T=600)
    errors = np.zeros_like(trace.y_hat)
    errors[-1] = 1.0
    with pytest.raises(GradientRangeError, match="scaled=True"):
        backward(trace, errors)
    scaled = backward(trace, errors, scaled=True)["h_0"]
    expected = np.log(np.linalg.norm(trace.params["U"])) + 600 * np.log(4.0)
    assert scaled.log_norm()[0] == pytest.approx(expected, rel=1e-14)
    with pytest.raises(GradientRangeError):
        scaled.value()


def test_small_cotangent_survives_beside_zero_inputs():
    """The input matters at the first step only: dL/dV is as small as the cotangent there, though others are large."""
    cell = Elman(1, 2, 1, "identity")
    params = {"V": np.ones((2, 1)), "W": 0.1 * np.eye(2), "b_h": np.zeros(2), "U": np.ones((1, 2)), "b_y": np.zeros(1)}
    x = np.zeros((400, 1, 1))
    x[0] = 1.0
    trace = forward(cell, params, x)
    errors = np.zeros_like(trace.y_hat)
    errors[-1] = 1.0
    expected = 0.5 * np.log(2.0) + 399 * np.log(0.1)
    assert backward(trace, errors, scaled=True)["V"].log_norm(2) == pytest.approx(expected, rel=1e-13)


def test_overflow_names_its_step():
    cell = Elman(1, 2, 1, "identity")
    params = {
        "V": np.ones((2, 1)),
        "W": 1e100 * np.eye(2),
        "b_h": np.zeros(2),
        "U": np.ones((1, 2)),
        "b_y": np.zeros(1),
    }
    with pytest.raises(DivergedError, match="t = 5") as error:
        forward(cell, params, np.ones((9, 1, 1)))
    assert error.value.step == 5  # 1, 1e100, 1e200, 1e300, overflow


def test_bad_input_is_named():
    trace = case().trace
    cell, params, x = trace.cell, trace.params, trace.x.copy()
    with pytest.raises(ConfigurationError, match=r"x: shape \(6, 2, 1\)"):
        forward(cell, params, x[:, :, :1])
    with pytest.raises(ConfigurationError, match="h_0: shape"):
        forward(cell, params, x, np.zeros((2, 7)))
    with pytest.raises(ConfigurationError, match="must have U, V, W, b_h, b_y"):
        forward(cell, {"W": params["W"]}, x)
    with pytest.raises(ConfigurationError, match=r"params\['W'\]: shape"):
        forward(cell, {**params, "W": params["W"][:2]}, x)
    with pytest.raises(ConfigurationError, match="dL/dy_hat has shape"):
        backward(trace, np.zeros((2, 2)))
    x[3, 1, 0] = np.nan
    with pytest.raises(NonFiniteError, match="t = 4") as error:
        forward(cell, params, x)
    assert error.value.step == 4
    errors = np.zeros_like(trace.y_hat)
    errors[1, 0, 0] = np.nan
    with pytest.raises(NonFiniteError, match="t = 2"):
        backward(trace, errors)


def test_float32_stays_float32():
    example = case(dtype="float32")
    assert example.trace.h.dtype == np.float32
    assert all(value.dtype == np.float32 for value in backward(example.trace, example.loss).values())


def test_the_loss_may_be_the_array_of_errors():
    example = case()
    assert_agree(backward(example.trace, example.loss.gradient), backward(example.trace, example.loss))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_states_near_the_largest_float_stay_finite(dtype):
    """h doubles to just below the overflow, and its error is as large: their products are beyond every float."""
    steps = np.finfo(dtype).maxexp - 2
    cell = Elman(1, 2, 1, "relu")
    params = {
        "V": np.ones((2, 1)),
        "W": 2.0 * np.eye(2),
        "b_h": np.zeros(2),
        "U": np.ones((1, 2)) / 4,
        "b_y": np.zeros(1),
    }
    x = np.zeros((steps, 1, 1))
    x[0] = 1.0
    trace = forward(cell, {name: value.astype(dtype) for name, value in params.items()}, x)
    errors = trace.y_hat.copy()
    gradients = backward(trace, errors, scaled=True)
    # dL/dU = sum_t y_hat_t h_t = sum_t h_t^2 / 2 for each of the two equal units, with h_t = 2^(t-1)
    expected = np.log(np.sqrt(2.0) / 2.0) + np.log(4.0 / 3.0) + 2 * (steps - 1) * np.log(2.0)
    assert gradients["U"].log_norm(2) == pytest.approx(expected, rel=1e-6)
    assert np.isfinite(gradients["W"].log_norm(2))
    assert gradients["W"].log_norm(2) > np.log(np.finfo(dtype).max)
