"""Clipping of dL/dh_t at every step back: its gradient, and its bias without a difference."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bpttlab.errors import ConfigurationError
from bpttlab.gradients.backward import backward
from bpttlab.gradients.clipping import clip_plain, clip_scaled
from bpttlab.gradients.forward import forward
from bpttlab.measures.gradient_bias import truncation_bias
from bpttlab.networks import losses
from bpttlab.networks.cells import GRU, LSTM, Elman, Stacked
from bpttlab.numerics.scaled import Scaled
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.run import run
from bpttlab.truncation.clipped import Clipped
from bpttlab.verification.gradient_check import assert_agree
from tests.support.examples import examples
from tests.support.networks import case

CELLS = [Elman(2, 3, 2), LSTM(2, 3, 2), GRU(2, 3, 2), Stacked(2, 3, 2, layers=2)]


def network(cell, seed=0, T=7, B=2, gain=1.5):
    rng = np.random.default_rng(seed)
    params = {name: gain * rng.standard_normal(shape) for name, shape in cell.parameter_shapes().items()}
    trace = forward(cell, params, rng.standard_normal((T, B, cell.input_size)))
    return trace, losses.evaluate("squared_error", trace.y_hat, rng.standard_normal(trace.y_hat.shape), np.ones(T))


def clip(u, scheme):
    if scheme.by == "value":
        return np.clip(u, -scheme.threshold, scheme.threshold)
    return u * np.minimum(1.0, scheme.threshold / np.linalg.norm(u, axis=-1, keepdims=True))


def literal(trace, loss, scheme):
    """The definition: explicit Jacobians, one step after the other."""
    error, cell = trace.error(loss.gradient), trace.cell
    dh, total = np.zeros_like(error[0]), dict.fromkeys(cell.recurrent_parameters, 0.0)
    for t in range(trace.length, 0, -1):
        dh = clip(error[t - 1] + dh, scheme)
        da, _ = cell.vjp(trace.params, trace.linearization[t - 1], dh)
        term = cell.parameter_vjp(trace.local.at(slice(t - 1, t)), da[None])
        total = {name: total[name] + term[name] for name in total}
        dh = np.einsum("bn,bnm->bm", dh, trace.jacobian(t))
    return total | {"h_0": dh}


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
@pytest.mark.parametrize("scheme", [Clipped(0.2), Clipped(0.2, "norm"), Clipped(1e-6), Clipped(1e9)])
def test_the_gradient_is_that_of_the_definition(cell, scheme):
    trace, loss = network(cell)
    found, expected = scheme.one_gradient(trace, loss, None), literal(trace, loss, scheme)
    assert_agree({name: found[name] for name in expected}, expected)
    frame = truncation_bias(trace, loss, scheme).set_index("parameter")
    full = backward(trace, loss)
    for name in cell.recurrent_parameters:
        assert np.exp(frame.loc[name, "log_norm"]) == pytest.approx(np.linalg.norm(expected[name]), rel=1e-9)
        bias = np.linalg.norm(full[name] - expected[name]) / np.linalg.norm(full[name])
        assert np.exp(frame.loc[name, "log_relative_bias"]) == pytest.approx(bias, rel=1e-8, abs=1e-13)


def test_without_anything_to_clip_it_is_the_full_gradient():
    trace, loss = network(CELLS[0])
    frame = truncation_bias(trace, loss, Clipped(1e9))
    assert (frame["log_relative_bias"] == -np.inf).all() and frame["cosine"].to_list() == pytest.approx([1.0] * 3)
    found, full = Clipped(1e9).one_gradient(trace, loss, None), backward(trace, loss)
    assert all(np.allclose(found[name], full[name], rtol=1e-13, atol=0) for name in full)


def test_it_is_not_linear_in_the_loss():
    trace, loss = network(CELLS[0])
    once, twice = (Clipped(0.1).one_gradient(trace, factor * loss.gradient, None)["W"] for factor in (1.0, 2.0))
    assert not np.allclose(twice, 2 * once, rtol=0.05)
    doubled = Clipped(0.2).one_gradient(trace, 2.0 * loss.gradient, None)["W"]
    assert np.allclose(doubled, 2 * once, rtol=1e-12)


def chain(w, T):
    """h_t = w h_{t-1} + b with a loss at the end whose derivative is 1."""
    cell = Elman(1, 1, 1, activation="identity")
    params = {name: np.zeros(shape) for name, shape in cell.parameter_shapes().items()} | {"W": np.array([[w]])}
    params["U"] = np.ones((1, 1))
    dL_dy_hat = np.zeros((T, 1, 1))
    dL_dy_hat[-1] = 1.0
    return forward(cell, params, np.zeros((T, 1, 1))), dL_dy_hat


def test_a_gradient_beyond_all_floats_is_clipped_to_a_small_one():
    trace, dL_dy_hat = chain(2.0, 1500)
    row = truncation_bias(trace, dL_dy_hat, Clipped(4.0)).set_index("parameter").loc["b_h"]
    assert row["log_norm"] == pytest.approx(math.log(1 + 2 + 4 * 1498), rel=1e-12)  # 1, 2, 4, 4, 4, …
    assert row["log_relative_bias"] == pytest.approx(0.0, abs=1e-12)


def test_a_bias_near_rounding_has_all_of_its_digits():
    trace, _ = chain(1.0, 3)
    errors = np.array([2.0**-900, 2.0**-900, 2.0**-900]).reshape(3, 1, 1)
    row = truncation_bias(trace, errors, Clipped(2.5 * 2.0**-900)).set_index("parameter").loc["b_h"]
    assert row["log_relative_bias"] == pytest.approx(math.log(0.5 / 6.0), rel=1e-12)  # 1, 2, 2.5 of 1, 2, 3
    trace, dL_dy_hat = chain(2.0**-30, 40)
    dL_dy_hat[20] = 1.0 + 2.0**-40  # clipped by 2^-40, 2^-30 of which arrives one step earlier, and so on
    row = truncation_bias(trace, dL_dy_hat, Clipped(1.0)).set_index("parameter").loc["b_h"]
    assert row["log_relative_bias"] == pytest.approx(-41 * math.log(2), rel=1e-6)


@given(
    st.lists(st.floats(-10, 10), min_size=3, max_size=3),
    st.integers(-900, 900),
    st.integers(-300, 300),
    st.sampled_from(["value", "norm"]),
)
@example([0.0, 0.0, 1.0], 512, 0, "norm")  # its square overflows
@example([3.0, 0.0, 4.0], 900, -1, "norm")
@example([3.0, 0.0, 4.0], -900, 2, "norm")  # its square is 0
@examples(25)
def test_scaled_and_plain_numbers_are_clipped_alike(entries, exponent, offset, by):
    c = math.ldexp(0.7, exponent + offset)
    u = np.array([entries]) * math.ldexp(1.0, exponent)
    kept, rest = (part.value() for part in clip_scaled(Scaled.of(u), c, by))
    expected = clip_plain(u, c, by)
    size = np.abs(u).max() + 1e-300
    assert kept == pytest.approx(expected[0], rel=1e-12, abs=1e-14 * min(c, size))
    assert rest == pytest.approx(expected[1], rel=1e-9, abs=1e-14 * size)
    assert np.abs(kept).max() <= c * (1 + 1e-15)


@pytest.mark.parametrize("by", ["value", "norm"])
def test_a_hook_in_pytorch_gives_the_same_gradient(by):
    torch = pytest.importorskip("torch")
    network = case(T=9, B=3, N=4, gain=1.6)
    trace, c = network.trace, 0.05
    tensors = {name: torch.tensor(value, requires_grad=True) for name, value in trace.params.items()}

    def hook(gradient):
        if by == "value":
            return gradient.clamp(-c, c)
        return gradient * (c / gradient.norm(dim=-1, keepdim=True)).clamp(max=1.0)

    h, outputs = torch.tensor(trace.h[0]), []
    for x_t in torch.tensor(trace.x):
        h = torch.tanh(x_t @ tensors["V"].T + h @ tensors["W"].T + tensors["b_h"])
        h.register_hook(hook)
        outputs.append(h @ tensors["U"].T + tensors["b_y"])
    (torch.stack(outputs) * torch.tensor(network.loss.gradient)).sum().backward()
    found = Clipped(c, by).one_gradient(trace, network.loss, None)
    assert_agree({name: found[name] for name in tensors}, {name: one.grad.numpy() for name, one in tensors.items()})


# in a sweep -----------------------------------------------------------------------------------------------------------


def test_it_has_no_truncation():
    ids = {Configuration.parse({"scheme": "clipped", "truncation": K}).run_id for K in ("full", 5)}
    assert len(ids) == 1
    other = Configuration.parse({"scheme": {"name": "clipped", "threshold": 0.5}})
    assert other.run_id not in ids and other.scheme == Clipped(0.5)


def test_a_run_has_the_row_of_the_scheme():
    small = {"cell.hidden_size": 4, "sequence_length": 6, "batch_size": 2, "engine": "numpy"}
    records = run({"scheme": {"name": "clipped", "threshold": 1e-3, "by": "norm"}, "spectral_radius": 1.5, **small})
    rows = records.truncations[records.truncations["origin"] == "scheme"]
    assert set(rows["scheme"]) == {"clipped"} and (rows["steps_computed"] == 6).all()
    assert rows["log_relative_bias"].between(-10, 0.1).all()
    assert records.run["scheme_threshold"] == 1e-3 and records.run["scheme_by"] == "norm"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"threshold": 0}, "scheme.threshold=0: must be a finite number > 0"),
        ({"threshold": math.inf}, "scheme.threshold=inf: must be a finite number > 0"),
        ({"by": "values"}, "scheme.by='values': must be 'value' or 'norm'. Did you mean 'value'"),
        (
            {"treshold": 1},
            "scheme.treshold of 'clipped': there is no such field; there are threshold, by. Did you mean 'threshold'",
        ),
    ],
)
def test_bad_fields_are_refused(fields, message):
    with pytest.raises(ConfigurationError, match=message):
        Configuration.parse({"scheme": {"name": "clipped", **fields}})
