"""The gradient by the step at which a parameter acts, and by the inputs of every step."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bpttlab as lab
from bpttlab.errors import ConfigurationError, GradientRangeError
from bpttlab.gradients.forward import forward
from bpttlab.measures.relevant_gradient import input_gradient_norms
from bpttlab.networks import losses
from bpttlab.verification.gradient_check import COMPLEX_STEP, assert_agree
from tests.support.examples import examples
from tests.support.networks import linear
from tests.support.networks_of_cells import CELLS, case, cases
from tests.support.padded import padded


@examples(25)
@given(data=st.data())
def test_the_steps_add_up_to_the_gradient(data):
    example = data.draw(cases(CELLS[data.draw(st.sampled_from([*CELLS]))], dtypes=("float64",), longest=6, tame=True))
    found = lab.step_gradients(example.trace, example.loss)
    expected = lab.backward(example.trace, example.loss)
    for name, values in found.items():
        assert values.shape == (example.trace.length, *example.trace.params[name].shape)
        sizes = np.abs(values).sum(axis=0)
        assert (np.abs(values.sum(axis=0) - expected[name]) <= 1e-12 * np.maximum(sizes, np.abs(expected[name]))).all()


@pytest.mark.parametrize("name", ["elman", "gru", "lstm", "diagonal"])
def test_a_step_is_the_gradient_of_a_weight_of_its_own(name):
    """The complex step with a parameter changed at one step alone, run by hand step by step."""
    example = case(CELLS[name], T=5)
    trace, found = example.trace, lab.step_gradients(example.trace, example.loss)
    for parameter in trace.cell.recurrent_parameters:
        index = tuple(size - 1 for size in trace.params[parameter].shape)
        for t in range(5):
            changed = {key: value.astype(complex) for key, value in trace.params.items()}
            changed[parameter][index] += COMPLEX_STEP * 1j
            h, y_hat = trace.h[0].astype(complex), []
            for step in range(5):
                params = changed if step == t else trace.params
                one = forward(trace.cell, params, trace.x[step : step + 1], h)
                h = one.h[1]
                y_hat.append(one.y_hat[0])
            loss = losses.total("squared_error", np.stack(y_hat), example.target, example.mask)
            assert found[parameter][(t, *index)] == pytest.approx(loss.imag / COMPLEX_STEP, rel=1e-9, abs=1e-13)


def test_a_loss_at_one_step_has_no_gradient_after_it():
    example = case(CELLS["gru"], T=6, mask=[0, 0, 1, 0, 0, 0])
    found = lab.step_gradients(example.trace, example.loss)
    assert found["W"][:3].any(axis=(1, 2)).all() and not found["W"][3:].any()
    assert not found["U"][[0, 1, 3, 4, 5]].any()
    assert not lab.input_gradients(example.trace, example.loss)[3:].any()


@pytest.mark.parametrize("name", ["elman", "lstm", "minimal_rnn", "stacked"])
def test_input_gradients_are_the_complex_step(name):
    example = case(CELLS[name], T=4)
    trace, found = example.trace, lab.input_gradients(example.trace, example.loss)
    for index in np.ndindex(trace.x.shape):
        x = trace.x.astype(complex)
        x[index] += COMPLEX_STEP * 1j
        y_hat = forward(trace.cell, trace.params, x, trace.h[0]).y_hat
        expected = losses.total("squared_error", y_hat, example.target, example.mask).imag / COMPLEX_STEP
        assert found[index] == pytest.approx(expected, rel=1e-9, abs=1e-13)


def test_their_norms_are_those_at_a_step():
    example = case(CELLS["gru"], T=7, B=3)
    found, steps = lab.input_gradients(example.trace, example.loss), np.array([7, 1, 4])
    expected = input_gradient_norms(example.trace, example.loss, steps)
    np.testing.assert_allclose(np.log(np.linalg.norm(found[steps - 1, np.arange(3)], axis=-1)), expected, rtol=1e-12)


def test_torch_has_the_same_input_gradients():
    torch = pytest.importorskip("torch")
    module = torch.nn.RNN(2, 4, dtype=torch.float64)
    cell = lab.Elman(2, 4, 4)
    weights = {name: value.detach().numpy() for name, value in module.named_parameters()}
    params = {
        "V": weights["weight_ih_l0"], "W": weights["weight_hh_l0"], "U": np.eye(4), "b_y": np.zeros(4),
        "b_h": weights["bias_ih_l0"] + weights["bias_hh_l0"],
    }  # fmt: skip
    x = torch.randn(5, 3, 2, dtype=torch.float64, requires_grad=True)
    (module(x)[0] ** 2).sum().backward()
    trace = lab.forward(cell, params, x.detach().numpy())
    errors = 2.0 * trace.y_hat
    assert_agree({"x": lab.input_gradients(trace, errors)}, {"x": x.grad.numpy()})
    each = lab.step_gradients(trace, errors)
    assert_agree({"W": each["W"].sum(axis=0)}, {"W": module.weight_hh_l0.grad.numpy()})


def test_padding_receives_nothing():
    batch = padded("lstm", (2, 5, 3))
    loss = batch.loss(batch.trace.y_hat)
    inputs, each = lab.input_gradients(batch.trace, loss), lab.step_gradients(batch.trace, loss)
    assert not inputs[2:, 0].any() and not inputs[3:, 2].any() and inputs[:, 1].any(axis=-1).all()
    total = lab.backward(batch.trace, loss)
    assert_agree({name: value.sum(axis=0) for name, value in each.items()}, {name: total[name] for name in each})


def test_numbers_beyond_a_float_are_refused():
    trace = linear(3.0 * np.eye(2), 800, B=1)
    errors = np.zeros_like(trace.y_hat)
    errors[-1] = 1.0
    for method in (lab.input_gradients, lab.step_gradients):
        with pytest.raises(GradientRangeError, match="beyond the range of float64"):
            method(trace, errors)


def test_a_loss_of_another_shape_is_refused():
    example = case(CELLS["elman"])
    for method in (lab.input_gradients, lab.step_gradients):
        with pytest.raises(ConfigurationError, match="dL/dy_hat has shape"):
            method(example.trace, np.ones((2, 2)))
