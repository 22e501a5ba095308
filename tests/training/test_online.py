"""Updates by step of time: at fixed weights they add up to the gradient of the scheme."""

import numpy as np
import pytest

import bpttlab as lab
from bpttlab.errors import ConfigurationError
from bpttlab.gradients.forward_mode.rtrl import immediate_derivatives
from bpttlab.gradients.forward_mode.uoro import uoro
from bpttlab.training import SGD
from bpttlab.truncation import RFLO, RTRL, UORO, SnAp
from tests.support.training import restore_at

NOISE = lab.tasks.Noise(sequence_length=6)
ADDING = lab.tasks.Adding(sequence_length=6)


def network(kind, task=NOISE):
    cell = kind(task.input_size, 4, task.output_size)
    return cell, cell.init(1), task


def train(cell, params, task, scheme, **fields):
    given = {"optimizer": SGD(), "learning_rate": 0.1, "batch_size": 3, "engine": "numpy", "progress": False}
    return lab.train(cell, params, task, scheme=scheme, update="step", **{**given, **fields})


@pytest.mark.parametrize("task", [NOISE, ADDING], ids=lambda task: task.name)
@pytest.mark.parametrize(
    ("kind", "scheme"),
    [(lab.GRU, RTRL()), (lab.LSTM, RTRL()), (lab.GRU, SnAp(1)), (lab.Elman, SnAp(2)), (lab.Leaky, RFLO())],
    ids=lambda one: getattr(one, "name", repr(one)),
)
def test_at_fixed_weights_steps_add_up_to_the_scheme(kind, scheme, task):
    cell, params, task = network(kind, task)
    rate, setup = 1e-9, train(cell, params, task, scheme, updates=1).setup
    trained = train(cell, params, task, scheme, updates=len(setup.loss_steps), learning_rate=rate)
    batch = setup.batch(1)
    trace = lab.forward(cell, params, batch.x)
    loss = task.loss(trace.y_hat, batch)
    expected = scheme.one_gradient(trace, loss, np.random.default_rng(0))
    assert trained.history["loss"].sum() == pytest.approx(loss.value, rel=1e-6)
    for name in params:
        np.testing.assert_allclose((params[name] - trained.params[name]) / rate, expected[name], rtol=1e-4, atol=1e-5)


class OneStream:
    """A generator that all steps of a sequence share, as `uoro` has it."""

    def __init__(self):
        self.rng = np.random.default_rng(5)

    def __call__(self, role, *fields):
        return self.rng if role == "training scheme" else lab.training.data.stream(role, *fields)


def test_steps_of_uoro_add_up_with_the_same_signs(monkeypatch):
    cell, params, task = network(lab.GRU)
    monkeypatch.setattr("bpttlab.training.online.stream", OneStream())
    trained = train(cell, params, task, UORO(), updates=6, learning_rate=1e-9)
    batch = trained.setup.batch(1)
    trace = lab.forward(cell, params, batch.x)
    expected = uoro(trace, task.loss(trace.y_hat, batch), np.random.default_rng(5))
    for name in params:
        np.testing.assert_allclose((params[name] - trained.params[name]) / 1e-9, expected[name], rtol=1e-4, atol=1e-4)


def test_the_influence_is_that_of_older_weights():
    """Two updates of RTRL written out: M_2 = J_2 M_1 + d+h_2, with M_1 of the weights before the first update."""
    cell, params, task = network(lab.Elman)
    trained = train(cell, params, task, RTRL(), updates=2)
    batch, rate = trained.setup.batch(1), 0.1
    h = np.zeros((3, 4))
    M = {}
    for t in (1, 2):
        trace = lab.forward(cell, params, batch.x[t - 1 : t], h)
        new = immediate_derivatives(trace, 1)
        M = {name: value + (trace.jacobian(1) @ M[name] if M else 0.0) for name, value in new.items()}
        slope = 2 * (trace.y_hat - batch.target[t - 1 : t]) / (3 * task.sequence_length)
        whole = lab.backward(trace, slope)
        error = slope[0] @ params["U"]
        whole |= {name: np.einsum("bn,bnp->p", error, value).reshape(params[name].shape) for name, value in M.items()}
        params = {name: value - rate * whole[name] for name, value in params.items()}
        h = trace.h[1]
    for name, value in params.items():
        np.testing.assert_allclose(trained.params[name], value, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("scheme", [RTRL(), UORO(), SnAp(1)], ids=lambda one: one.name)
def test_a_run_by_steps_goes_on_with_the_same_bytes(scheme):
    cell, params, task = network(lab.GRU)
    whole = train(cell, params, task, scheme, updates=9)
    again = restore_at(whole, cell, params, update=4)
    list(lab.training.iterate_updates(whole.setup, again))
    assert (again.state.vector == whole.state.vector).all()


@pytest.mark.parametrize("scheme", [None, lab.Chunked(3)], ids=repr)
def test_a_scheme_that_goes_back_is_refused(scheme):
    with pytest.raises(ConfigurationError, match=r"training.update=step: scheme '\w+' does not go forward"):
        train(*network(lab.GRU), scheme, updates=1)
