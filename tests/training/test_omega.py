"""Pascanu's Omega: against the literal sum and its complex step with the same quantities frozen, and closed forms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpttlab.errors import ConfigurationError
from bpttlab.gradients.forward import forward
from bpttlab.gradients.plan import full_plan
from bpttlab.networks import losses
from bpttlab.networks.activations import ACTIVATIONS, find_activation
from bpttlab.networks.cells import GRU, Elman
from bpttlab.training.penalties import Omega, OmegaOfTheCode
from bpttlab.verification.gradient_check import agreement, assert_agree, complex_step
from tests.support.compiled import needs_numba
from tests.support.examples import examples
from tests.support.networks import case

BOTH = [Omega(), OmegaOfTheCode(0.0)]
both = pytest.mark.parametrize("penalty", BOTH, ids=lambda penalty: penalty.name)


@st.composite
def networks(draw, longest=8):
    """Shapes from 1, every activation, dead units, losses at some steps only; no W = 0, where norms have a kink."""
    T = draw(st.integers(1, longest))
    mask = draw(st.lists(st.sampled_from([0.0, 1.0, 0.5]), min_size=T, max_size=T))
    return case(
        seed=draw(st.integers(0, 2**16)),
        T=T,
        B=draw(st.integers(1, 3)),
        N=draw(st.integers(1, 5)),
        I=draw(st.integers(1, 2)),
        O=draw(st.integers(1, 2)),
        activation=draw(st.sampled_from(sorted(ACTIVATIONS))),
        gain=draw(st.sampled_from([0.3, 1.0, 3.0])),
        mask=mask if any(mask) else None,
        dead=draw(st.booleans()),
    )


def slopes(trace):
    """f'(a_t), from the pre-activations.  (T,B,N)"""
    cell = trace.cell
    return find_activation(cell.activation).slope(
        cell.preactivations(trace.params, trace.x, trace.h) if cell.activation != "relu" else trace.h[1:]
    )


def cotangents(trace, loss):
    """dL/da_t and dL/dh_t in plain numbers, by the definition of both.  (T,B,N) each"""
    error, slope = trace.error(loss.gradient), slopes(trace)
    da, dh = np.zeros_like(error), np.zeros_like(error)
    for t in range(trace.length, 0, -1):
        dh[t - 1] = error[t - 1] + (da[t] @ trace.params["W"] if t < trace.length else 0.0)
        da[t - 1] = slope[t - 1] * dh[t - 1]
    return da, dh


def norm(v):
    """Euclidean, and analytic."""
    return np.sqrt((v * v).sum())


def literal_omega(trace, loss, W):
    """The double sum of the paper over steps and sequences; only W may be complex."""
    da, _ = cotangents(trace, loss)
    slope, total = slopes(trace), 0.0
    for b in range(da.shape[1]):
        for k in range(1, trace.length):
            delta = da[k, b]
            if delta.any():
                total = total + (norm((delta @ W) * slope[k - 1, b]) / norm(delta) - 1.0) ** 2
    return total / da.shape[1]


def literal_code(trace, loss, W, bound=0.0):
    """The sum of the published code."""
    _, dh = cotangents(trace, loss)
    slope, terms = slopes(trace), []
    for t, b in np.ndindex(dh.shape[:2]):
        if dh[t, b].any() and (dh[t, b] ** 2).sum() >= bound:
            sent = (dh[t, b] * slope[t, b]) @ W
            terms.append(((sent * sent).sum() / (dh[t, b] ** 2).sum() - 1.0) ** 2)
    return sum(terms) / max(len(terms), 1)


LITERAL = {"omega": literal_omega, "omega_squared": literal_code}


def has_a_kink(trace, loss, W):
    """Whether a cotangent that is not zero is sent back as exactly zero: units of relu that are off."""
    da, _ = cotangents(trace, loss)
    sent = (da[1:] @ W) * slopes(trace)[:-1]
    return bool((da[1:].any(axis=-1) & ~sent.any(axis=-1)).any())


@both
@examples(40)
@given(example=networks())
def test_the_value_is_the_literal_sum(penalty, example):
    value, _ = penalty.value_and_gradient(example.trace, example.loss)
    expected = LITERAL[penalty.name](example.trace, example.loss, example.trace.params["W"])
    assert value == pytest.approx(expected, rel=1e-11, abs=1e-13)


@both
@examples(40)
@given(example=networks())
def test_the_gradient_is_the_complex_step_with_all_else_frozen(penalty, example):
    trace, loss = example.trace, example.loss
    if penalty.name == "omega" and has_a_kink(trace, loss, trace.params["W"]):
        return
    expected = complex_step(lambda p: LITERAL[penalty.name](trace, loss, p["W"]), {"W": trace.params["W"]}, "W")
    value, found = penalty.value_and_gradient(trace, loss)
    size = max(np.abs(expected).max(), value)  # terms of both signs may cancel
    assert np.abs(found["W"] - expected).max() <= 1e-11 * size


@both
def test_the_gradient_has_all_recurrent_parameters_and_no_others(penalty):
    example = case(T=5, N=4, B=2, dtype="float32")
    _, found = penalty.value_and_gradient(example.trace, example.loss)
    assert list(found) == ["W", "V", "b_h"]
    for name, gradient in found.items():
        assert gradient.shape == example.trace.params[name].shape and gradient.dtype == np.float32
    assert found["W"].any() and not found["V"].any() and not found["b_h"].any()


@needs_numba
@both
def test_float32_and_compiled_loops_agree_with_float64(penalty):
    example = case(T=7, N=4, B=2)
    value, expected = penalty.value_and_gradient(example.trace, example.loss)
    compiled = example.trace.with_engine("numba")
    assert penalty.value_and_gradient(compiled, example.loss)[0] == pytest.approx(value, rel=1e-13)
    assert_agree(penalty.value_and_gradient(compiled, example.loss)[1], expected)
    narrow = case(T=7, N=4, B=2, dtype="float32")
    found = penalty.value_and_gradient(narrow.trace, narrow.loss)
    assert found[0] == pytest.approx(value, rel=agreement(np.float32))
    assert_agree(found[1], expected, agreement(np.float32))


@both
@pytest.mark.parametrize("factor", [1e-280, 1e280])
def test_the_size_of_the_loss_is_of_no_consequence(penalty, factor):
    example = case(T=6, N=4, B=2)
    expected = penalty.value_and_gradient(example.trace, example.loss)
    found = penalty.value_and_gradient(example.trace, example.loss.gradient * factor)
    assert found[0] == pytest.approx(expected[0], rel=1e-12)
    assert_agree(found[1], expected[1])


def rotation(factor, T, B=2, N=4):
    """A linear network with W = factor * Q: every cotangent changes its norm by the factor. A loss at T alone."""
    rng = np.random.default_rng(5)
    W = factor * np.linalg.qr(rng.standard_normal((N, N)))[0]
    cell = Elman(N, N, 1, "identity")
    params = {"V": np.eye(N), "W": W, "b_h": np.zeros(N), "U": np.ones((1, N)), "b_y": np.zeros(1)}
    trace = forward(cell, params, np.zeros((T, B, N)))
    error = np.zeros((T, B, 1))
    error[-1] = 1.0
    return trace, error


@pytest.mark.parametrize("factor", [0.1, 1.0, 7.0])
def test_omega_over_thousands_of_steps_is_the_closed_form(factor):
    trace, error = rotation(factor, T=3000)  # cotangents of 7^3000 and 0.1^3000
    value, found = Omega().value_and_gradient(trace, error)
    assert value == pytest.approx(2999 * (factor - 1.0) ** 2, rel=1e-10, abs=1e-20)
    # each ratio is homogeneous in W: the derivative along W is the ratio itself
    along = float((found["W"] * trace.params["W"]).sum())
    assert along == pytest.approx(2999 * 2.0 * (factor - 1.0) * factor, rel=1e-10, abs=1e-10)


def test_omega_squared_is_the_mean_of_squared_ratios():
    trace, error = rotation(0.9, T=50)
    value, found = OmegaOfTheCode(0.0).value_and_gradient(trace, error)
    assert value == pytest.approx((0.81 - 1.0) ** 2, rel=1e-12)
    along = float((found["W"] * trace.params["W"]).sum())
    assert along == pytest.approx(4.0 * (0.81 - 1.0) * 0.81, rel=1e-12)


def test_cotangents_below_the_bound_of_the_code_are_left_out():
    example = case(T=8, N=4, B=3)
    sizes = (cotangents(example.trace, example.loss)[1] ** 2).sum(axis=-1)
    bound = float(np.median(sizes)) * 1.001
    value, found = OmegaOfTheCode(bound).value_and_gradient(example.trace, example.loss)
    expected = literal_code(example.trace, example.loss, example.trace.params["W"], bound)
    assert value == pytest.approx(expected, rel=1e-12)
    assert value != pytest.approx(OmegaOfTheCode(0.0).value_and_gradient(example.trace, example.loss)[0], rel=1e-3)
    value, found = OmegaOfTheCode(1e10).value_and_gradient(example.trace, example.loss)
    assert value == 0.0 and not found["W"].any()


def test_steps_that_no_loss_reaches_are_left_out():
    trace, error = rotation(0.5, T=20)
    early = np.zeros_like(error)
    early[7] = 1.0  # t = 8: delta_8, ..., delta_2 have a step before them
    assert Omega().value_and_gradient(trace, early)[0] == pytest.approx(7 * 0.25, rel=1e-12)
    value, found = Omega().value_and_gradient(trace, np.zeros_like(error))
    assert value == 0.0 and not found["W"].any()


@both
def test_padding_is_left_out(penalty):
    example, lengths = case(T=6, N=3, B=3), [6, 2, 4]
    trace = example.trace
    padded = forward(trace.cell, trace.params, trace.x, trace.h[0], lengths=np.array(lengths))
    loss = losses.evaluate("squared_error", padded.y_hat, np.ones_like(padded.y_hat), np.ones(6), lengths=lengths)
    value, _ = penalty.value_and_gradient(padded, loss)
    alone = []
    for b, length in enumerate(lengths):
        one = forward(trace.cell, trace.params, trace.x[:length, b : b + 1], trace.h[0, b : b + 1])
        alone.append(penalty.value_and_gradient(one, loss.gradient[:length, b : b + 1])[0])
    weights = lengths if penalty.name == "omega_squared" else None  # a mean over all steps
    assert value == pytest.approx(np.average(alone, weights=weights), rel=1e-12)


@both
def test_other_cells_and_a_missing_loss_are_refused_by_name(penalty):
    trace = forward(GRU(2, 3, 1), GRU(2, 3, 1).init(0), np.zeros((4, 1, 2)))
    message = f"penalty={penalty.name}: does not serve cell=gru; served is elman"
    with pytest.raises(ConfigurationError, match=message):
        penalty.value_and_gradient(trace, np.zeros((4, 1, 1)))
    with pytest.raises(ConfigurationError, match=f"penalty={penalty.name}: needs a loss"):
        penalty.value_and_gradient(case().trace, None)


def test_a_bound_below_zero_is_refused():
    with pytest.raises(ConfigurationError, match="penalty.bound=-1"):
        OmegaOfTheCode(-1.0)


def test_plain_and_scaled_cotangents_are_the_same_ones():
    example = case(T=5, N=3, B=2, activation="logistic")
    da, _ = cotangents(example.trace, example.loss)
    walked = example.trace.walk(example.trace.error(example.loss.gradient), full_plan(5)).da
    np.testing.assert_allclose(walked, da, rtol=1e-12)
