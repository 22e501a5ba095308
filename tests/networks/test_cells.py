"""Every cell of `networks_of_cells` against the literal sum, the complex step, mpmath and itself."""

import importlib.util
import inspect
import re
import sys
from dataclasses import fields
from pathlib import Path

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpttlab import plugins
from bpttlab.errors import ConfigurationError
from bpttlab.gradients.backward import backward
from bpttlab.gradients.double_sum import literal_sum
from bpttlab.gradients.forward import forward
from bpttlab.measures.lag_terms import measure_lags
from bpttlab.networks import losses
from bpttlab.networks.activations import logistic_slope, tanh_slope
from bpttlab.networks.cells import GRU, LSTM, Antisymmetric, Cell, Elman, Leaky, MinimalRNN, OrthogonalElman, Scales
from bpttlab.networks.initializers import Gaussian, GaussianRadius, Identity, NonNormal, Orthogonal
from bpttlab.sweeps.configuration import Configuration
from bpttlab.truncation.segmented import Full, PerLoss
from bpttlab.verification.gradient_check import (
    assert_agree,
    complex_step,
    disagreement,
    numerical_gradient,
    terms_that_scheme_keeps,
)
from tests.support.examples import examples
from tests.support.networks import schemes
from tests.support.networks_of_cells import assert_agree_as_sums, case, cases, descend, every_cell, takes_a_radius

ROOT = Path(__file__).resolve().parents[2]


def same_bytes(one, other):
    return all(one[name].tobytes() == other[name].tobytes() for name in other)


# ------------------------------------------------------------------------------------------- every cell


@every_cell
@examples(30)
@given(data=st.data())
def test_backward_is_the_literal_sum(make, data):
    example, scheme = data.draw(cases(make)), data.draw(schemes())
    keeps = terms_that_scheme_keeps(scheme)
    expected = literal_sum(example.trace, example.loss, keeps)
    assert_agree_as_sums(example, backward(example.trace, example.loss, scheme), expected, keeps=keeps)


@every_cell
@examples(20)
@given(data=st.data())
def test_scaled_backward_is_the_plain_one(make, data):
    example, scheme = data.draw(cases(make)), data.draw(schemes())
    scaled = {name: one.value() for name, one in backward(example.trace, example.loss, scheme, scaled=True).items()}
    plain = backward(example.trace, example.loss, scheme)
    assert_agree_as_sums(example, scaled, plain, keeps=terms_that_scheme_keeps(scheme))


@every_cell
@examples(10)
@given(data=st.data())
def test_backward_is_the_complex_step(make, data):
    example = data.draw(cases(make, dtypes=("float64",), longest=5, tame=True))
    trace = example.trace

    def loss(y_hat):
        return losses.total("squared_error", y_hat, example.target, example.mask)

    expected = numerical_gradient(trace.cell, trace.params, trace.x, loss, trace.h[0])
    assert_agree_as_sums(example, backward(trace, example.loss), expected, 1e-11)


@every_cell
@examples(20)
@given(data=st.data())
def test_the_jacobian_is_the_derivative_of_the_step(make, data):
    trace = data.draw(cases(make, dtypes=("float64",), longest=4, tame=True)).trace
    cell, z = trace.cell, trace.cell.project(trace.params, trace.x)
    for t in range(1, trace.length + 1):
        numeric = np.empty_like(trace.jacobian(t))
        for m in range(cell.state_size):
            moved = trace.h[t - 1].astype(complex)
            moved[:, m] += 1e-30j
            numeric[:, :, m] = cell.step(trace.params, z[t - 1], moved).imag / 1e-30
        assert_agree({"J": trace.jacobian(t)}, {"J": numeric}, 1e-11)


@every_cell
def test_pull_is_the_jacobian_transposed_for_any_leading_axes(make):
    trace = case(make, T=5, B=2, N=3).trace
    cell, rng = trace.cell, np.random.default_rng(1)
    rows = rng.standard_normal((4, 5, 2, cell.state_size))
    da, dh_prev = cell.vjp(trace.params, trace.linearization, rows)
    assert da.shape == (4, 5, 2, cell.preactivation_size)
    J = cell.jacobian(trace.params, trace.linearization)
    assert J.shape == (5, 2, cell.state_size, cell.state_size)
    assert_agree({"dh": dh_prev}, {"dh": np.einsum("rtbn,tbnm->rtbm", rows, J)})
    one = cell.vjp(trace.params, trace.linearization[2, 1], rows[3, 2, 1])
    assert_agree({"da": one[0], "dh": one[1]}, {"da": da[3, 2, 1], "dh": dh_prev[3, 2, 1]})


@every_cell
def test_products_go_latest_first(make):
    trace = case(make, T=3, N=3).trace
    J_1, J_2, J_3 = (trace.jacobian(t) for t in (1, 2, 3))
    diagonal = np.array_equal(J_1, J_1 * np.eye(J_1.shape[-1]))
    if not (diagonal or np.array_equal(J_1, J_2)):  # a linear cell has one and the same at every step
        assert disagreement(J_1 @ J_2 @ J_3, J_3 @ J_2 @ J_1) > 1e-3
    assert_agree({"P": trace.product(3, 0)}, {"P": J_3 @ J_2 @ J_1}, 1e-14)


@every_cell
@examples(6)
@given(data=st.data())
def test_a_prefix_has_the_bytes_of_the_whole(make, data):
    T = data.draw(st.integers(2, 150))
    whole = case(make, T=T, B=data.draw(st.integers(1, 3)), N=data.draw(st.integers(1, 9))).trace
    length = data.draw(st.integers(1, T - 1))
    short = forward(whole.cell, whole.params, whole.x[:length], whole.h[0])
    prefix = whole.prefix(length)
    assert short.h.tobytes() == prefix.h.tobytes() and short.y_hat.tobytes() == prefix.y_hat.tobytes()
    assert whole.linearization[:length].tobytes() == prefix.linearization.tobytes()
    errors = np.ones_like(short.y_hat)
    assert same_bytes(backward(prefix, errors), backward(short, errors))


@every_cell
def test_float32_stays_float32(make):
    example = case(make, dtype="float32")
    trace = example.trace
    assert {array.dtype for array in (trace.h, trace.y_hat, trace.linearization, trace.jacobian(2))} == {
        np.dtype("float32")
    }
    gradients = backward(trace, example.loss)
    assert {gradient.dtype for gradient in gradients.values()} == {np.dtype("float32")}
    assert {one.mantissa.dtype for one in backward(trace, example.loss, scaled=True).values()} == {np.dtype("float32")}
    cell = trace.cell
    assert {value.dtype for value in cell.init(np.random.default_rng(0), dtype="float32").values()} == {
        np.dtype("float32")
    }


@every_cell
def test_lag_terms_sum_to_the_gradient(make):
    example = case(make, T=7)
    full = backward(example.trace, example.loss, scaled=True)
    shares = measure_lags(example.trace, example.loss, "all", 7, None, full).lag_terms
    for name in example.trace.cell.recurrent_parameters:
        assert sum(shares["share"][shares["parameter"] == name]) == pytest.approx(1.0, abs=1e-12)


@every_cell
def test_shapes_and_draws_go_together(make):
    cell = make(3, 5, 2)
    params = cell.init(np.random.default_rng(0), scales=Scales(b=0.1))
    assert {name: value.shape for name, value in params.items()} == cell.parameter_shapes()
    assert set(cell.recurrent_parameters) == set(cell.shapes())
    sizes = {5, *(one.state_size for one in getattr(cell, "cells", [cell]))}  # the state's, of a cell without W
    assert {block.shape for block in cell.recurrent_blocks(params).values()} <= {(size, size) for size in sizes}
    assert same_bytes(cell.init(np.random.default_rng(0), scales=Scales(b=0.1)), params)


@every_cell
def test_first_block_has_the_requested_spectral_radius(make):
    cell = make(3, 5, 2)
    if not takes_a_radius(cell):
        return
    small, large = (
        next(iter(cell.recurrent_blocks(cell.init(np.random.default_rng(3), spectral_radius=radius)).values()))
        for radius in (0.5, 1.5)
    )
    assert np.abs(np.linalg.eigvals(large)).max() == pytest.approx(1.5, rel=1e-12)
    np.testing.assert_allclose(large, 3.0 * small, rtol=1e-12, atol=1e-13)


@every_cell
def test_the_bound_holds_where_one_is_stated(make):
    trace = case(make, T=5, N=4, gain=2.0).trace
    if trace.cell.lipschitz is None:
        return
    W = next(iter(trace.cell.recurrent_blocks(trace.params).values()))
    largest = np.linalg.norm(W, 2) * trace.cell.lipschitz
    assert all(np.linalg.norm(trace.jacobian(t), 2, axis=(1, 2)).max() <= largest * (1 + 1e-12) for t in range(1, 6))


@every_cell
def test_no_constraint_is_lost_on_the_way(make):
    """constrain . free is the identity on what was drawn, and the free gradient is the complex step's."""
    cell, rng = make(2, 4, 2), np.random.default_rng(5)
    params = cell.init(rng, spectral_radius=0.9 if takes_a_radius(cell) else None)
    free = cell.unconstrain(params)
    assert_agree(cell.constrain(free), params, 1e-13)
    x, target, mask = rng.standard_normal((5, 2, 2)), rng.standard_normal((5, 2, 2)), np.ones(5)

    def loss_at(changed):
        return losses.total("squared_error", forward(cell, cell.constrain(changed), x).y_hat, target, mask)

    trace = forward(cell, cell.constrain(free), x)
    gradient = backward(trace, losses.evaluate("squared_error", trace.y_hat, target, mask))
    pulled = cell.constraint_vjp(free, {name: gradient[name] for name in params})
    assert_agree(pulled, {name: complex_step(loss_at, free, name) for name in pulled}, 1e-11)


FILES = sorted(path for path in (ROOT / "conf" / "cell").glob("*.yaml") if path.stem != "from_file")
"""Of the cells; a network from a file is one of them, and has no class of its own."""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_cell_and_its_file_in_conf_say_the_same(path):
    yaml = pytest.importorskip("yaml")
    written = yaml.safe_load(path.read_text(encoding="utf-8"))
    configuration = Configuration.parse({"cell": written})
    assert path.stem == written["name"] == configuration.cell.name
    given = {field.name: getattr(configuration.cell, field.name) for field in fields(configuration.cell)}
    given = {name: value.name if isinstance(value, Cell) else value for name, value in given.items()}  # of a stack
    assert {name: given[name] for name in given if name not in ("input_size", "output_size")} == {
        name: value for name, value in written.items() if name != "name"
    }
    kind = plugins.find("cell", path.stem)
    assert configuration.cell == kind(given["input_size"], written["hidden_size"], given["output_size"])


BAD_FIELDS = [
    (Leaky, {"alpha": 0.0}, r"alpha=0\.0: must be a number > 0 and <= 1"),
    (Leaky, {"alpha": 1.5}, r"alpha=1\.5"),
    (Leaky, {"alpha": float("nan")}, r"alpha=nan"),
    (Leaky, {"activation": "tan"}, r"activation='tan'.*Did you mean 'tanh'"),
    (GRU, {"reset": "befor"}, r"reset='befor': must be 'after' or 'before'. Did you mean 'before'"),
    (GRU, {"gate_scale": -1.0}, r"gate_scale=-1\.0: must be a finite number >= 0"),
    (GRU, {"hidden_size": 0}, r"hidden_size=0: must be an integer >= 1"),
    (LSTM, {"gate_scale": float("inf")}, r"gate_scale=inf"),
    (LSTM, {"forget_bias": float("nan")}, r"forget_bias=nan: must be a finite number"),
    (LSTM, {"chrono": 1}, r"chrono=1: must be an integer >= 2 or null"),
    (LSTM, {"chrono": 100, "forget_bias": 2.0}, r"forget_bias=2\.0: chrono=100 draws .* give one of the two"),
    (LSTM, {"output_activation": "sine"}, r"activation='sine'"),
    (MinimalRNN, {"output_size": -1}, r"output_size=-1: must be an integer >= 0"),
    (Antisymmetric, {"epsilon": 0.0}, r"epsilon=0\.0: must be a finite number > 0"),
    (Antisymmetric, {"epsilon": float("inf")}, r"epsilon=inf"),
    (Antisymmetric, {"gamma": -0.1}, r"gamma=-0\.1: must be a finite number >= 0"),
    (OrthogonalElman, {"input_size": 0}, r"input_size=0"),
]


@pytest.mark.parametrize(("kind", "given", "message"), BAD_FIELDS, ids=lambda value: str(value)[:40])
def test_bad_fields_are_refused_by_name(kind, given, message):
    with pytest.raises(ConfigurationError, match=message):
        kind(**{"input_size": 1, "hidden_size": 2, "output_size": 1, **given})


def test_a_field_that_a_cell_lacks_is_refused_by_name():
    with pytest.raises(ConfigurationError, match=r"cell\.activation of 'lstm': there is no such field"):
        Configuration.parse({"cell": {"name": "lstm", "hidden_size": 4, "activation": "relu"}})
    with pytest.raises(ConfigurationError, match=r"cell\.reset='sideways': must be 'after' or 'before'"):
        Configuration.parse({"cell": {"name": "gru", "hidden_size": 4, "reset": "sideways"}})


# ------------------------------------------------------------------------------------------- reduces to


@pytest.mark.parametrize("activation", ["tanh", "relu", "logistic", "softplus", "identity"])
def test_leaky_with_alpha_one_is_elman_to_the_byte(activation):
    elman = case(lambda *sizes, **more: Elman(*sizes, activation=activation, **more), T=80, N=5)
    leaky = case(lambda *sizes, **more: Leaky(*sizes, alpha=1.0, activation=activation, **more), T=80, N=5)
    assert elman.trace.h.tobytes() == leaky.trace.h.tobytes()
    assert elman.trace.linearization.tobytes() == leaky.trace.linearization.tobytes()
    assert elman.trace.jacobian(3).tobytes() == leaky.trace.jacobian(3).tobytes()
    for scheme in (Full(), PerLoss(3)):
        assert same_bytes(backward(leaky.trace, leaky.loss, scheme), backward(elman.trace, elman.loss, scheme))


def test_leaky_identity_is_an_elman_with_leak_in_W():
    leaky = case(lambda *sizes, **more: Leaky(*sizes, alpha=0.25, activation="identity", **more), T=9).trace
    W = 0.75 * np.eye(3) + 0.25 * leaky.params["W"]
    scaled = {name: 0.25 * leaky.params[name] for name in ("V", "b_h")}
    elman = forward(Elman(2, 3, 2, "identity"), {**leaky.params, **scaled, "W": W}, leaky.x, leaky.h[0])
    assert_agree({"h": leaky.h, "J": leaky.product(9, 2)}, {"h": elman.h, "J": elman.product(9, 2)})


def test_a_gru_that_never_resets_is_the_same_before_and_after():
    after = case(GRU, T=8).trace
    params = {name: value.copy() for name, value in after.params.items()}
    params["W"][:3], params["V"][:3], params["b_h"][:3] = 0.0, 0.0, 50.0  # r = 1
    params["b_n"] = np.zeros(3)
    one = forward(after.cell, params, after.x, after.h[0])
    kept = {name: value for name, value in params.items() if name != "b_n"}
    other = forward(GRU(2, 3, 2, reset="before"), kept, after.x, after.h[0])
    assert_agree({"h": one.h, "P": one.product(8, 0)}, {"h": other.h, "P": other.product(8, 0)})
    errors = np.ones_like(one.y_hat)
    left, right = backward(one, errors), backward(other, errors)
    assert_agree({name: left[name] for name in ("V", "h_0")}, {name: right[name] for name in ("V", "h_0")})


def test_an_antisymmetric_matrix_neither_damps_nor_drives():
    """With gamma = 0 the symmetric part of the Jacobian's generator is zero at the origin: |eig J| = |1 + i eps w|."""
    cell = Antisymmetric(1, 6, 1, epsilon=0.1, gamma=0.0)
    trace = at_the_origin(cell, cell.init(np.random.default_rng(0)))
    J = trace.jacobian(1)[0]
    np.testing.assert_allclose(J + J.T, 2.0 * np.eye(6), atol=1e-15)
    M = cell.recurrent_blocks(trace.params)["M"]
    expected = np.sort(np.abs(1.0 + 0.1 * np.linalg.eigvals(M)))
    np.testing.assert_allclose(np.sort(np.abs(np.linalg.eigvals(J))), expected, rtol=1e-12)


# ------------------------------------------------------------------------------------------- the orthogonal cell


DRAWS = [GaussianRadius(0.8), Gaussian(1.3), Orthogonal(1.2), Identity(0.9), NonNormal(1.1), GaussianRadius(0.0)]


@pytest.mark.parametrize("size", [1, 2, 5, 8])
@pytest.mark.parametrize("initializer", DRAWS, ids=lambda one: f"{one.name} {one.requested}")
def test_orthogonal_cell_draws_the_request_times_a_rotation(initializer, size):
    if size == 1 and initializer.name == "non_normal":
        return
    cell = OrthogonalElman(1, size, 1)
    for seed in range(4):
        W = cell.init(np.random.default_rng(seed), initializer)["W"]
        np.testing.assert_allclose(W @ W.T, initializer.requested**2 * np.eye(size), atol=1e-13)
        assert np.linalg.det(W) >= 0.0
        assert_agree(cell.constrain(cell.unconstrain({"W": W})), {"W": W}, 1e-13)


def test_a_draw_that_is_a_rotation_is_left_alone():
    assert_agree(
        {"W": OrthogonalElman(1, 5, 1).init(np.random.default_rng(0), Identity(0.9))["W"]}, {"W": 0.9 * np.eye(5)}
    )


def test_half_turns_have_a_logarithm():
    cell = OrthogonalElman(1, 5, 1)
    W = 0.7 * np.diag([-1.0, 1.0, -1.0, -1.0, -1.0])
    assert_agree(cell.constrain(cell.unconstrain({"W": W})), {"W": W}, 1e-13)


def test_unconstrained_steps_stay_orthogonal():
    cell = OrthogonalElman(2, 4, 1)
    values, free = descend(cell, steps=30)
    assert values[-1] < 0.9 * values[0] and np.all(np.diff(values) < 0)
    W = cell.constrain(free)["W"]
    np.testing.assert_allclose(W @ W.T, np.eye(4), atol=1e-13)


# ------------------------------------------------------------------------------------------- exact values


def at_the_origin(cell, params, T=1):
    """One step or more from h_0 = 0 with x = 0."""
    return forward(cell, params, np.zeros((T, 1, cell.input_size)))


def sigma(a):
    return 1.0 / (1.0 + np.exp(-a))


def apart_by(values, others):
    """The largest distance from a value to the nearest of the others, as sets of complex numbers."""
    return np.abs(values[:, None] - others[None, :]).min(axis=1).max()


def test_lstm_at_the_origin():
    """eig J = sigma(b_f) + sigma(b_i) sigma(b_o) eig(W_g), and N zeros."""
    N = 6
    cell = LSTM(1, N, 1, forget_bias=0.0)
    params = cell.init(np.random.default_rng(2), spectral_radius=1.3)
    b_i, b_f, b_o = 0.4, 1.2, -0.7
    params["b_h"] = np.concatenate([np.full(N, b) for b in (b_i, b_f, 0.0, b_o)])
    trace = at_the_origin(cell, params)
    W_g = cell.recurrent_blocks(params)["W_g"]
    found = np.linalg.eigvals(trace.jacobian(1)[0])
    found = found[np.argsort(np.abs(found))]
    expected = sigma(b_f) + sigma(b_i) * sigma(b_o) * np.linalg.eigvals(W_g)
    # N zeros of a defective block are found to the square root of the rounding, their number through the rank
    assert np.linalg.matrix_rank(trace.jacobian(1)[0]) == N
    assert apart_by(expected, found[N:]) < 1e-12 and apart_by(found[N:], expected) < 1e-12


def test_gru_at_the_origin():
    """PyTorch's: eig J = 1/2 + 1/4 eig(W_n)."""
    cell = GRU(1, 6, 1)
    params = cell.init(np.random.default_rng(2), spectral_radius=1.3)
    J = at_the_origin(cell, params).jacobian(1)[0]
    expected = 0.5 + 0.25 * np.linalg.eigvals(cell.recurrent_blocks(params)["W_n"])
    assert apart_by(expected, np.linalg.eigvals(J)) < 1e-12
    assert np.abs(J - (0.5 * np.eye(6) + 0.25 * cell.recurrent_blocks(params)["W_n"])).max() < 1e-15


def test_minimal_rnn_at_the_origin():
    cell = MinimalRNN(1, 4, 1)
    J = at_the_origin(cell, cell.init(np.random.default_rng(2))).jacobian(1)[0]
    np.testing.assert_array_equal(J, 0.5 * np.eye(4))


def test_lstm_cell_path_is_the_product_of_forget_gates():
    """With no recurrent weights dc_T/dc_0 = prod diag f_t, here with gates that the input moves."""
    N, T, rng = 4, 50, np.random.default_rng(3)
    cell = LSTM(2, N, 1)
    params = {**cell.init(rng), "W": np.zeros((4 * N, N))}
    x = rng.standard_normal((T, 1, 2))
    trace = forward(cell, params, x)
    f = sigma(x[:, 0] @ params["V"][N : 2 * N].T + params["b_h"][N : 2 * N])
    product = trace.product(T, 0)[0]
    np.testing.assert_allclose(product[N:, N:], np.diag(f.prod(axis=0)), rtol=1e-12)
    np.testing.assert_array_equal(product[:, :N], 0.0)  # nothing comes from h_0


def test_chrono_remembers_for_the_time_drawn():
    """f = sigma(log u) = u / (1 + u) at constant gates, so that dc_T/dc_0 = (u / (1 + u))^T."""
    N, T = 5, 200
    cell = LSTM(1, N, 1, chrono=100)
    params = cell.init(np.random.default_rng(4))
    params["W"] = np.zeros_like(params["W"])
    b_i, b_f = params["b_h"][:N], params["b_h"][N : 2 * N]
    np.testing.assert_array_equal(b_i, -b_f)
    u = np.exp(b_f)
    assert np.all((u >= 1.0) & (u <= 99.0)) and u.std() > 5.0
    path = np.diag(at_the_origin(cell, params, T).product(T, 0)[0])[N:]
    np.testing.assert_allclose(path, (u / (1.0 + u)) ** T, rtol=1e-12)


def test_the_forget_bias_is_added_to_the_forget_gates_alone():
    drawn = LSTM(1, 3, 1, forget_bias=2.5).init(np.random.default_rng(0))["b_h"]
    np.testing.assert_array_equal(drawn, [0] * 3 + [2.5] * 3 + [0] * 6)
    plain, shifted = (
        LSTM(1, 3, 1, forget_bias=bias).init(np.random.default_rng(0), scales=Scales(b=1.0))["b_h"] for bias in (0, 2)
    )
    np.testing.assert_allclose(shifted - plain, [0] * 3 + [2] * 3 + [0] * 6, atol=1e-15)


@pytest.mark.parametrize(("kind", "first"), [(GRU, "W_n"), (LSTM, "W_g")])
def test_gate_scale_scales_the_gates_alone(kind, first):
    one, other = (
        kind(1, 5, 1, gate_scale=scale).recurrent_blocks(
            kind(1, 5, 1, gate_scale=scale).init(np.random.default_rng(0), spectral_radius=1.2)
        )
        for scale in (1.0, 0.5)
    )
    assert next(iter(one)) == first
    for name in one:
        radius = np.abs(np.linalg.eigvals(one[name])).max()
        assert radius == pytest.approx(1.2, rel=1e-12)
        np.testing.assert_array_equal(other[name], one[name] if name == first else 0.5 * one[name])
    assert len({block.tobytes() for block in one.values()}) == len(one)  # each from a stream of its own


@pytest.mark.parametrize(
    ("kind", "field", "scaled"),
    [
        (GRU, "reset_scale", "W_r"),
        (GRU, "update_scale", "W_u"),
        (LSTM, "input_scale", "W_i"),
        (LSTM, "forget_scale", "W_f"),
        (LSTM, "output_scale", "W_o"),
    ],
)
def test_every_gate_has_a_scale_of_its_own(kind, field, scaled):
    plain, own = kind(1, 5, 1, gate_scale=0.5), kind(1, 5, 1, gate_scale=0.5, **{field: 3.0})
    one, other = (cell.recurrent_blocks(cell.init(np.random.default_rng(0))) for cell in (plain, own))
    for name in one:
        np.testing.assert_allclose(other[name], (3.0 if name == scaled else 1.0) * one[name], rtol=1e-15)
    with pytest.raises(ConfigurationError, match=f"{field}=-1.0: must be a finite number >= 0"):
        kind(1, 5, 1, **{field: -1.0})


@pytest.mark.parametrize("a", [-700.0, -40.0, -1.0, 0.0, 0.5, 20.0, 40.0, 700.0, 5000.0])
def test_slopes_of_saturated_gates_keep_their_digits(a):
    with mpmath.workdps(700):
        e = mpmath.exp(-abs(mpmath.mpf(a)))
        logistic, tanh = float(e / (1 + e) ** 2), float(4 * e**2 / (1 + e**2) ** 2)
    assert float(logistic_slope(np.array(a))) == pytest.approx(logistic, rel=1e-14, abs=1e-320)
    assert float(tanh_slope(np.array(a))) == pytest.approx(tanh, rel=1e-14, abs=1e-320)


# ------------------------------------------------------------------------------------------- 50 digits


def mp_logistic(a):
    return 1 / (1 + mpmath.exp(-a))


def mp_tanh(a):
    return 2 * mp_logistic(2 * a) - 1


def mp_affine(weights, vector, bias):
    return [sum(w * v for w, v in zip(row, vector, strict=True)) + b for row, b in zip(weights, bias, strict=True)]


def mp_lstm(p, x, s):
    N = len(s) // 2
    h, c = s[:N], s[N:]
    a = [
        one + other
        for one, other in zip(mp_affine(p["V"], x, p["b_h"]), mp_affine(p["W"], h, [0] * 4 * N), strict=True)
    ]
    i, f, o = ([mp_logistic(v) for v in a[k * N : (k + 1) * N]] for k in (0, 1, 3))
    g = [mp_tanh(v) for v in a[2 * N : 3 * N]]
    c = [f[n] * c[n] + i[n] * g[n] for n in range(N)]
    return [o[n] * mp_tanh(c[n]) for n in range(N)] + c


def mp_gru(p, x, h):
    N = len(h)
    z, w = mp_affine(p["V"], x, p["b_h"]), mp_affine(p["W"], h, [0] * 2 * N + list(p["b_n"]))
    r = [mp_logistic(z[n] + w[n]) for n in range(N)]
    u = [mp_logistic(z[N + n] + w[N + n]) for n in range(N)]
    candidate = [mp_tanh(z[2 * N + n] + r[n] * w[2 * N + n]) for n in range(N)]
    return [u[n] * h[n] + (1 - u[n]) * candidate[n] for n in range(N)]


def mp_gradient(step, params, x, h_0, U, name, index):
    """d(U h_T)/d(one number) at 50 digits, by the complex step: mpmath's exponents have no end."""
    numbers = {key: np.vectorize(mpmath.mpf, otypes=[object])(value) for key, value in {**params, "h_0": h_0}.items()}
    numbers[name][index] = mpmath.mpc(numbers[name][index], mpmath.mpf(10) ** -2000)
    state = list(numbers["h_0"])
    for x_t in x:
        state = step(numbers, [mpmath.mpf(v) for v in x_t], state)
    y_hat = sum(mpmath.mpf(u) * v for u, v in zip(U, state, strict=False))
    return mpmath.im(y_hat) * mpmath.mpf(10) ** 2000


@pytest.mark.parametrize(
    ("kind", "step", "T"),
    [(LSTM, mp_lstm, 260), pytest.param(GRU, mp_gru, 292, marks=pytest.mark.slow)],
    ids=["lstm", "gru"],
)
def test_a_gradient_of_1e_300_is_that_of_mpmath(kind, step, T):
    """Forget or update gates nearly shut: what comes from h_0 and from the input of step 1 is about 1e-300."""
    N, rng = 2, np.random.default_rng(6)
    cell = kind(1, N, 1)
    params = cell.init(rng, spectral_radius=0.1)
    params["b_h"] = 0.1 * rng.standard_normal(len(params["b_h"]))
    params["b_h"][N : 2 * N] = -3.0
    x, h_0 = np.zeros((T, 1, 1)), rng.standard_normal((1, cell.state_size))
    x[0] = 0.8
    trace = forward(cell, params, x, h_0)
    errors = np.zeros_like(trace.y_hat)
    errors[-1] = 1.0
    gradients = backward(trace, errors, scaled=True)
    recurrent = {name: params[name] for name in cell.recurrent_parameters}
    with mpmath.workdps(50):
        for name, flat in (("h_0", (0,)), ("h_0", (1,)), ("V", (0, 0)), ("V", (2 * N, 0))):
            expected = mp_gradient(step, recurrent, x[:, 0], h_0[0], params["U"][0], name, flat)
            found = gradients[name]
            mantissa = found.mantissa[0, flat[0]] if name == "h_0" else found.mantissa[flat]
            exponent = int(found.exponent.reshape(-1)[0])
            error = abs(mpmath.mpf(float(mantissa)) * mpmath.mpf(2) ** exponent / expected - 1)
            assert -310 < mpmath.log10(abs(expected)) < -290
            assert error < 1e-11, (name, flat, float(mpmath.log10(abs(expected))), float(error))


# ------------------------------------------------------------------------------------------- the page


def example_of_the_page(tmp_path):
    """The worked example of docs/cells.md as a module, as it stands there."""
    page = (ROOT / "docs" / "cells.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"`ugrnn\.py`\n\n```python\n(.*?)```", page, flags=re.DOTALL)
    path = tmp_path / "ugrnn_of_the_page.py"
    path.write_text(code, encoding="utf-8")
    specification = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(specification)
    sys.modules[path.stem] = module  # where dataclasses look for the names in annotations
    specification.loader.exec_module(module)
    return module


def test_worked_example_of_the_page_is_a_cell(tmp_path):
    make = example_of_the_page(tmp_path).UGRNN
    for test in (
        test_pull_is_the_jacobian_transposed_for_any_leading_axes,
        test_products_go_latest_first,
        test_float32_stays_float32,
        test_lag_terms_sum_to_the_gradient,
        test_shapes_and_draws_go_together,
        test_first_block_has_the_requested_spectral_radius,
        test_no_constraint_is_lost_on_the_way,
    ):
        test(make)
    example = case(make, T=6)
    assert_agree(
        backward(example.trace, example.loss, PerLoss(3)),
        literal_sum(example.trace, example.loss, terms_that_scheme_keeps(PerLoss(3))),
    )
    with pytest.raises(ConfigurationError, match="hidden_size=0"):
        make(1, 0, 1)


def test_the_page_names_every_cell():
    page = (ROOT / "docs" / "cells.md").read_text(encoding="utf-8")
    for path in (ROOT / "conf" / "cell").glob("*.yaml"):
        assert f"`{path.stem}`" in page, path.stem


def test_cells_are_final():
    kinds = [plugins.find("cell", path.stem) for path in FILES]
    below = [derived for kind in kinds for derived in kind.__subclasses__()]
    assert all(issubclass(kind, Cell) for kind in kinds)
    assert not [derived for derived in below if derived.__module__.startswith("bpttlab")]  # tests may make their own
    assert all(inspect.isabstract(base) for kind in kinds for base in kind.__bases__)
