"""Cells without compiled loops: the gradients of each, its step as its source prints it, and what it reduces to."""

import mpmath
import numpy as np
import pytest

from bpttlab.errors import ConfigurationError
from bpttlab.gradients.backward import backward
from bpttlab.gradients.double_sum import literal_sum
from bpttlab.gradients.forward import forward
from bpttlab.gradients.forward_mode.snap import snap
from bpttlab.networks import losses
from bpttlab.networks.cells import (
    GRU,
    LSTM,
    SLSTM,
    Antisymmetric,
    Clockwork,
    CoRNN,
    Dilated,
    Elman,
    LayerNormElman,
    LayerNormGRU,
    LayerNormLSTM,
    LipschitzRNN,
    MinGRU,
    MinLSTM,
    PeepholeLSTM,
    ProjectedLSTM,
    Scales,
    ScoRNN,
    SelectiveDiagonal,
    Stacked,
)
from bpttlab.truncation.segmented import Full, PerLoss
from bpttlab.verification.gradient_check import assert_agree, complex_step, numerical_gradient, terms_that_scheme_keeps
from tests.support.networks_of_cells import MORE_CELLS, case, descend
from tests.support.published_steps import STEPS, by_mpmath, by_torch

every_cell = pytest.mark.parametrize("make", list(MORE_CELLS.values()), ids=list(MORE_CELLS))
published = pytest.mark.parametrize("name", [name for name in MORE_CELLS if name != "dilated, softplus"])
"""`published_steps` has tanh."""


def same_bytes(one, other):
    return all(one[name].tobytes() == other[name].tobytes() for name in other)


# ------------------------------------------------------------------------------------------- every cell


@every_cell
@pytest.mark.parametrize("scheme", [Full(), PerLoss(3)], ids=lambda scheme: scheme.name)
def test_backward_is_the_literal_sum(make, scheme):
    example = case(make, T=7)
    expected = literal_sum(example.trace, example.loss, terms_that_scheme_keeps(scheme))
    assert_agree(backward(example.trace, example.loss, scheme), expected)


@every_cell
def test_backward_is_the_complex_step(make):
    example = case(make, T=4, B=1, N=2, I=1, O=1)
    trace = example.trace

    def loss(y_hat):
        return losses.total("squared_error", y_hat, example.target, example.mask)

    assert_agree(
        backward(trace, example.loss), numerical_gradient(trace.cell, trace.params, trace.x, loss, trace.h[0]), 1e-11
    )


@every_cell
def test_vjp_is_the_jacobian_and_leaves_leading_axes(make):
    trace = case(make, T=3).trace
    rows = np.random.default_rng(1).standard_normal((4, 3, 2, trace.cell.state_size))
    J = trace.cell.jacobian(trace.params, trace.linearization)
    _, dh_prev = trace.cell.vjp(trace.params, trace.linearization, rows)
    assert_agree({"dh": dh_prev}, {"dh": np.einsum("rtbn,tbnm->rtbm", rows, J)})


@every_cell
def test_rows_are_what_is_summed(make):
    """`immediate` and `parameter_vjp_each`, where a cell has formulas of its own, against `parameter_vjp`."""
    trace = case(make, T=3).trace
    cell, local = trace.cell, trace.local
    da, _ = cell.vjp(trace.params, trace.linearization, np.ones_like(trace.h[1:]))
    whole = cell.parameter_vjp(local, da)
    assert_agree({name: rows.sum(axis=(0, 1)) for name, rows in cell.immediate(local, da).items()}, whole)
    assert_agree({name: rows.sum(axis=0) for name, rows in cell.parameter_vjp_each(local, da).items()}, whole)


@every_cell
def test_draws_have_the_shapes_of_the_cell(make):
    cell = make(3, 5, 2)
    params = cell.init(np.random.default_rng(0), scales=Scales(b=0.1))
    assert {name: value.shape for name, value in params.items()} == cell.parameter_shapes()
    assert set(cell.recurrent_parameters) == set(cell.shapes())
    assert sum(part.stop - part.start for part in cell.parts.values()) == cell.state_size
    assert cell.input_vjp(params, *zeros_of(cell, params)).shape == (2, 3)


def zeros_of(cell, params):
    """What `linearize` and `vjp` say of a step from zero, two sequences."""
    x, h = np.zeros((1, 2, 3)), np.zeros((2, 2, cell.state_size))
    h[1] = cell.step(params, cell.project(params, x)[0], h[0])
    linearization_1 = cell.linearize(params, x, h)[0]
    return linearization_1, cell.vjp(params, linearization_1, h[0])[0]


# ------------------------------------------------------------------------------------------- as printed


def recurrent(trace):
    return {name: trace.params[name] for name in trace.cell.recurrent_parameters}


@published
def test_the_step_is_the_published_one(name):
    """Three steps at 50 digits."""
    trace = case(MORE_CELLS[name], T=3, B=1, N=3).trace
    exact, ops = np.vectorize(mpmath.mpf, otypes=[object]), by_mpmath()
    with mpmath.workdps(50):
        params, state = {key: exact(value) for key, value in recurrent(trace).items()}, exact(trace.h[0, 0])
        for t in range(3):
            state = STEPS[trace.cell.name](trace.cell, ops, params, exact(trace.x[t, 0]), state)
            assert_agree({"h": trace.h[t + 1, 0]}, {"h": state.astype(float)}, 1e-14)


@published
def test_the_gradient_is_that_of_autograd(name):
    torch = pytest.importorskip("torch")
    example, ops = case(MORE_CELLS[name], T=6, B=1, N=3, O=3), by_torch()
    trace = example.trace
    params = {key: torch.tensor(value, requires_grad=True) for key, value in trace.params.items()}
    h_0 = torch.tensor(trace.h[0, 0], requires_grad=True)
    state, total = h_0, torch.zeros((), dtype=torch.float64)
    for t in range(trace.length):
        state = STEPS[trace.cell.name](trace.cell, ops, params, torch.tensor(trace.x[t, 0]), state)
        y_hat = params["U"] @ state[trace.cell.readout_slice] + params["b_y"]
        total = total + (y_hat * torch.tensor(example.loss.gradient[t, 0])).sum()
    total.backward()
    found = backward(trace, example.loss)
    expected = {key: one.grad.numpy() for key, one in params.items()} | {"h_0": h_0.grad.numpy()[None]}
    assert_agree(found, expected, 1e-12)


# ------------------------------------------------------------------------------------------- reduces to


def with_weights(cell, other, **more):
    """The trace of another cell that has the weights of the first, and some more."""
    params = {name: value for name, value in other.params.items() if name in cell.parameter_shapes()} | more
    return forward(cell, params, other.x, other.h[0])


def test_a_peephole_lstm_without_peepholes_is_the_lstm():
    lstm = case(LSTM, T=9)
    trace = with_weights(PeepholeLSTM(2, 3, 2), lstm.trace, p=np.zeros(9))
    assert trace.h.tobytes() == lstm.trace.h.tobytes()
    assert same_bytes(backward(trace, lstm.loss), backward(lstm.trace, lstm.loss))
    drawn, plain = (kind(2, 3, 2).init(7) for kind in (PeepholeLSTM, LSTM))
    assert same_bytes(drawn, {name: plain[name] for name in ("V", "W", "b_h")})
    assert np.abs(drawn["p"]).max() > 0 and not PeepholeLSTM(2, 3, 2, peephole_scale=0.0).init(7)["p"].any()


def test_an_lstm_that_projects_by_the_identity_is_the_lstm():
    lstm = case(LSTM, T=9)
    trace = with_weights(ProjectedLSTM(2, 3, 2, memory_size=3), lstm.trace, W_r=np.eye(3))
    assert_agree({"h": trace.h}, {"h": lstm.trace.h})
    assert_agree(backward(trace, lstm.loss), backward(lstm.trace, lstm.loss))


@pytest.mark.parametrize("make", [MinGRU, MinLSTM])
def test_products_of_minimal_gates_are_read_off_the_inputs(make):
    """P_{t,k} is diagonal: the products of what is kept at each step, which the inputs alone say."""
    trace = case(make, T=40, N=4).trace
    gates = 1.0 / (1.0 + np.exp(-(trace.x @ trace.params["V"].T + trace.params["b_h"])))
    kept = 1.0 - gates[..., :4] if make is MinGRU else gates[..., :4] / (gates[..., :4] + gates[..., 4:8])
    expected = kept[3:].prod(axis=0)[..., None] * np.eye(4)
    np.testing.assert_allclose(trace.product(40, 3), expected, rtol=1e-12)
    moved = forward(trace.cell, trace.params, trace.x, trace.h[0] + 5.0)
    assert np.array_equal(moved.product(40, 3), trace.product(40, 3))


def test_minimal_gates_take_no_initializer():
    for make, field in ((MinGRU, "update_bias"), (MinLSTM, "forget_bias")):
        with pytest.raises(ConfigurationError, match=f"has no matrix W to draw; .* set cell.{field}"):
            make(1, 3, 1).init(0, spectral_radius=0.5)
        biased, plain = (make(1, 3, 1, **{field: bias}).init(0)["b_h"] for bias in (2.0, 0.0))
        assert np.array_equal(biased - plain, np.repeat([2.0, 0.0], [3, len(plain) - 3]))


def test_a_dilation_of_one_is_elman_to_the_byte():
    elman = case(Elman, T=80, N=5)
    dilated = case(lambda *sizes, **more: Dilated(*sizes, dilation=1, **more), T=80, N=5)
    assert elman.trace.h.tobytes() == dilated.trace.h.tobytes()
    assert same_bytes(backward(dilated.trace, dilated.loss), backward(elman.trace, elman.loss))
    assert dilated.trace.cell.lipschitz == 1.0 and Dilated(2, 5, 2, dilation=2).lipschitz is None


def test_a_dilated_cell_is_one_elman_network_for_each_residue():
    trace = case(lambda *sizes, **more: Dilated(*sizes, dilation=3, **more), T=12, N=4).trace
    blocks = trace.h[0].reshape(2, 3, 4)
    for residue in range(3):
        alone = with_weights_of(trace, trace.x[residue::3], blocks[:, 2 - residue])
        np.testing.assert_allclose(trace.h[1 + residue :: 3, :, :4], alone.h[1:], rtol=1e-13)


def with_weights_of(trace, x, h_0):
    return forward(Elman(2, 4, 2), trace.params, x, h_0)


def test_a_dilated_path_has_a_third_of_the_steps():
    """Without input h_{3l} = W^l h_0 nearly, and one product over 3l steps is that of l steps of W, cell by cell."""
    trace = case(lambda *sizes, **more: Dilated(*sizes, dilation=3, activation="identity", **more), T=9, N=4).trace
    W_cubed = np.linalg.matrix_power(trace.params["W"], 3)
    expected = np.kron(np.eye(3), W_cubed)
    np.testing.assert_allclose(trace.product(9, 0)[0], expected, rtol=1e-12, atol=1e-14)


def test_a_lipschitz_rnn_without_linear_part_is_antisymmetric():
    antisymmetric = case(lambda *sizes, **more: Antisymmetric(*sizes, epsilon=0.2, gamma=0.0, **more), T=8)
    cell = LipschitzRNN(2, 3, 2, epsilon=0.2, beta=1.0, gamma=0.0)
    trace = with_weights(cell, antisymmetric.trace, W_A=np.zeros((3, 3)))
    found, expected = backward(trace, antisymmetric.loss), backward(antisymmetric.trace, antisymmetric.loss)
    assert_agree({"h": trace.h, **found}, {"h": antisymmetric.trace.h, **expected})


def test_a_skew_matrix_has_imaginary_eigenvalues_less_gamma():
    M = np.random.default_rng(0).standard_normal((6, 6))
    values = np.linalg.eigvals(LipschitzRNN(1, 6, 1, beta=1.0, gamma=0.3).effective_matrix(M))
    np.testing.assert_allclose(values.real, -0.3, atol=1e-13)
    symmetric = LipschitzRNN(1, 6, 1, beta=0.0, gamma=0.3).effective_matrix(M)
    np.testing.assert_allclose(symmetric, M + M.T - 0.3 * np.eye(6), rtol=1e-14)


@pytest.mark.parametrize(("damping", "determinant"), [("explicit", 1 - 0.1 * 2.0), ("implicit", 1 / (1 + 0.1 * 2.0))])
def test_an_oscillator_by_itself_loses_volume_by_damping_alone(damping, determinant):
    """With W = W_z = 0, det J is dz_t/dz_{t-1} at constant force for each oscillator, whatever gamma is."""
    cell = CoRNN(1, 4, 1, dt=0.1, gamma=3.0, epsilon=2.0, damping=damping)
    params = {name: np.zeros(shape) for name, shape in cell.parameter_shapes().items()}
    J = forward(cell, params, np.ones((2, 1, 1))).jacobian(2)[0]
    assert np.linalg.det(J) == pytest.approx(determinant**4, rel=1e-12)


# ------------------------------------------------------------------------------------------- layer normalisation


@pytest.mark.parametrize("make", [LayerNormElman, LayerNormLSTM, LayerNormGRU])
def test_a_factor_on_normalised_weights_changes_nothing(make):
    """But for epsilon, which is smallest beside large weights; in the Elman cell V is within the norm, too."""
    trace = case(make, T=9).trace
    scaled = {name: value * (1e3 if name in ("V", "W") else 1.0) for name, value in trace.params.items()}
    one, other = (
        forward(make(2, 3, 2, epsilon=1e-14), params, trace.x, trace.h[0]) for params in (trace.params, scaled)
    )
    assert_agree({"h": other.h, "P": other.product(9, 0)}, {"h": one.h, "P": one.product(9, 0)}, 1e-9)


@pytest.mark.parametrize("make", [LayerNormElman, LayerNormLSTM, LayerNormGRU])
def test_gains_start_at_one_and_other_weights_as_without_norm(make):
    plain = {LayerNormElman: Elman, LayerNormLSTM: LSTM, LayerNormGRU: GRU}[make]
    drawn, other = (kind(2, 6, 1).init(3, spectral_radius=0.8) for kind in (make, plain))
    assert all((value == 1.0).all() for name, value in drawn.items() if name.startswith("g"))
    assert drawn["W"].tobytes() == other["W"].tobytes()


# ------------------------------------------------------------------------------------------- slstm


@pytest.mark.parametrize("forget_gate", ["logistic", "exponential"])
def test_the_stabiliser_changes_no_output(forget_gate):
    """The same memory in another size: (c e^-d, n e^-d, m + d), with a d of its own for each unit."""
    cell = SLSTM(2, 3, 2, forget_gate=forget_gate)
    trace = case(lambda *sizes, **more: SLSTM(*sizes, forget_gate=forget_gate, **more), T=12).trace
    d = np.array([-3.0, 0.5, 8.0])
    h, c, n, m = np.split(trace.h[0], 4, axis=-1)
    moved = forward(cell, trace.params, trace.x, np.concatenate([h, c * np.exp(-d), n * np.exp(-d), m + d], axis=-1))
    np.testing.assert_allclose(moved.h[1:, :, :3], trace.h[1:, :, :3], rtol=1e-12)


def test_exponential_gates_may_leave_the_range_of_floats():
    """Input gates of e^+-800: h is a mean of what was written, weighted by them."""
    cell = SLSTM(1, 1, 1)
    params = {name: np.zeros(shape) for name, shape in cell.parameter_shapes().items()}
    params["V"][[0, 2], 0], params["b_h"][3] = [800.0, 1.0], 50.0
    trace = forward(cell, params, np.array([1.0, -1.0, 0.5, 2.0]).reshape(4, 1, 1))
    np.testing.assert_allclose(trace.h[1:, 0, 0], np.tanh([1.0, 1.0, 1.0, 2.0]), rtol=1e-12)
    assert np.isfinite(trace.linearization).all()


def test_h_does_not_hear_the_size_of_the_memory():
    """J_t takes the direction (0, -c, -n, 1) to that of the next state while the forget branch is the larger one."""
    cell = SLSTM(1, 2, 1, forget_gate="exponential")
    params = {name: np.zeros(shape) for name, shape in cell.parameter_shapes().items()}
    params["V"][:], params["b_h"][2:4] = 0.3, 5.0
    trace = forward(cell, params, np.linspace(0.1, 1.0, 6).reshape(6, 1, 1))

    def direction(t):
        _, c, n, _ = np.split(trace.h[t, 0], 4)
        return np.concatenate([np.zeros(2), -c, -n, np.ones(2)])

    np.testing.assert_allclose(trace.product(6, 1)[0] @ direction(1), direction(6), rtol=1e-12, atol=1e-14)


def test_initial_states_have_a_normaliser_that_is_a_sum():
    cell = Stacked(1, 3, 1, layers=2, of="slstm")
    drawn = np.random.default_rng(0).standard_normal((2, 24))
    found = cell.initial_states(drawn)
    assert (found[:, 6:9] >= 0).all() and (found[:, 18:21] >= 0).all()
    assert np.array_equal(np.abs(found), np.abs(drawn)) and np.array_equal(found[:, :6], drawn[:, :6])


# ------------------------------------------------------------------------------------------- selective diagonal


def test_selective_products_are_read_off_the_inputs():
    """s<-s of P is diagonal: exp of A times the sum of step lengths; h<-s is C_t beside it, and h is never heard."""
    trace = case(lambda *sizes, **more: SelectiveDiagonal(*sizes, channel_states=2, **more), T=30, N=3).trace
    p = trace.params
    u = trace.x @ p["V"].T + p["b_h"]
    delta = np.log1p(np.exp(u @ p["V_d"].T + p["b_d"]))
    kept = np.exp(-delta[4:].sum(axis=0)[:, None] * np.exp(p["log_A"])).reshape(2, 6)
    P = trace.product(30, 4)
    np.testing.assert_allclose(P[:, 3:, 3:], kept[..., None] * np.eye(6), rtol=1e-12)
    assert not P[:, :, :3].any()
    C_t = u[29] @ p["V_C"].T
    np.testing.assert_allclose(P[:, :3, 3:], (C_t[:, :, None] * kept.reshape(2, 2, 3))[:, None, :, :].reshape(
        2, 1, 6) * np.tile(np.eye(3), 2), rtol=1e-12)  # fmt: skip


def test_selective_steps_are_drawn_within_their_range():
    cell = SelectiveDiagonal(1, 2000, 1, delta_min=0.01, delta_max=0.5)
    drawn = cell.init(0)
    delta = np.log1p(np.exp(drawn["b_d"]))
    np.testing.assert_allclose(np.sort(np.log(delta)), np.linspace(np.log(0.01), np.log(0.5), 2000), atol=0.2)
    assert np.array_equal(drawn["log_A"][:, 0], np.log(np.arange(1.0, 17.0))) and (drawn["D"] == 1.0).all()
    with pytest.raises(ConfigurationError, match=r"no matrix W to draw; .* set cell\.delta_min and cell\.delta_max"):
        cell.init(0, spectral_radius=0.9)


# ------------------------------------------------------------------------------------------- scornn


@pytest.mark.parametrize(("size", "negative", "count"), [(1, 0.0, 0), (5, 0.5, 2), (6, 0.5, 3), (4, 1.0, 4)])
def test_a_cayley_transform_is_orthogonal_with_these_signs(size, negative, count):
    cell = ScoRNN(1, size, 1, negative=negative)
    W = cell.init(5)["W"]
    np.testing.assert_allclose(W @ W.T, np.eye(size), atol=1e-14)
    assert round(np.linalg.det(W)) == (-1) ** count and (cell.signs < 0).sum() == count


def test_angles_are_drawn_up_to_a_quarter_turn():
    cell = ScoRNN(1, 800, 1, negative=0.0)
    angles = np.arccos(np.clip(np.diag(cell.init(0)["W"]), -1.0, 1.0))
    np.testing.assert_allclose(np.sort(angles), np.linspace(0.0, np.pi / 2.0, 800), atol=0.1)


def test_steps_in_free_numbers_stay_orthogonal():
    cell = ScoRNN(2, 4, 1)
    values, free = descend(cell, steps=15)
    assert values[-1] < 0.95 * values[0] and np.all(np.diff(values) < 0)
    W = cell.constrain(free)["W"]
    np.testing.assert_allclose(W @ W.T, np.eye(4), atol=1e-13)


def test_the_free_gradient_is_that_of_the_complex_step():
    cell, rng = ScoRNN(2, 4, 2), np.random.default_rng(5)
    free = cell.unconstrain(cell.init(rng))
    x, target, mask = rng.standard_normal((5, 2, 2)), rng.standard_normal((5, 2, 2)), np.ones(5)

    def loss_at(changed):
        return losses.total("squared_error", forward(cell, cell.constrain(changed), x).y_hat, target, mask)

    trace = forward(cell, cell.constrain(free), x)
    gradient = backward(trace, losses.evaluate("squared_error", trace.y_hat, target, mask))
    found = cell.constraint_vjp(free, {name: gradient[name] for name in trace.params})
    assert_agree(found, {name: complex_step(loss_at, free, name) for name in found}, 1e-11)
    with pytest.raises(ConfigurationError, match="its W is orthogonal, and drawn by its angles"):
        cell.init(0, spectral_radius=0.9)


# ------------------------------------------------------------------------------------------- clockwork


def test_a_module_moves_at_every_second_or_fourth_step():
    trace = forward(Clockwork(1, 6, 1, modules=3), Clockwork(1, 6, 1, modules=3).init(0), np.ones((8, 1, 1)))
    moved = (np.diff(trace.h[:, 0, :6], axis=0) != 0.0).reshape(8, 3, 2).all(axis=-1)
    assert moved[:, 0].all()
    assert np.flatnonzero(moved[:, 1]).tolist() == [1, 3, 5, 7] and np.flatnonzero(moved[:, 2]).tolist() == [3, 7]


def test_a_fast_module_does_not_reach_a_slow_one():
    cell = Clockwork(1, 6, 1, modules=3)
    trace = forward(cell, cell.init(0), np.random.default_rng(1).standard_normal((8, 1, 1)))
    P = trace.product(8, 0)[0]
    assert not P[2:6, :2].any() and not P[4:6, 2:4].any() and P[:2, 4:6].any()
    assert not P[6:].any() and not P[:, 6:].any()  # phases: neither moved by anything nor heard


def test_a_clock_of_one_module_is_elman():
    elman = case(Elman, T=40, N=4)
    clock = case(lambda *sizes, **more: Clockwork(*sizes, modules=1, **more), T=40, N=4)
    h_0 = np.concatenate([elman.trace.h[0], np.zeros((2, 4))], axis=-1)
    trace = forward(clock.trace.cell, elman.trace.params, elman.trace.x, h_0)
    assert trace.h[:, :, :4].tobytes() == elman.trace.h.tobytes()
    found, expected = backward(trace, elman.loss), backward(elman.trace, elman.loss)
    assert_agree({"W": found["W"], "V": found["V"]}, {"W": expected["W"], "V": expected["V"]})


@pytest.mark.parametrize("make", [MORE_CELLS["slstm"], lambda *sizes: Clockwork(*sizes, modules=3)])
def test_snap_knows_both_branches_of_a_step(make):
    """With n as large as the number of units everything is kept, whatever branch the first steps take."""
    cell, rng = make(2, 6, 1), np.random.default_rng(1)
    trace = forward(cell, cell.init(rng, scales=Scales(b=0.5)), rng.standard_normal((9, 2, 2)))
    for kind in (cell, Stacked(2, 3, 1, layers=2, of=make(2, 3, 1))):
        trace = forward(kind, kind.init(rng, scales=Scales(b=0.5)), rng.standard_normal((9, 2, 2)))
        errors = np.ones_like(trace.y_hat)
        exact = backward(trace, errors)
        found = snap(trace, errors, kind.hidden_size * 2)
        assert_agree(found, {name: exact[name] for name in kind.recurrent_parameters}, 1e-11)


# ------------------------------------------------------------------------------------------- bad fields


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (PeepholeLSTM, {"peephole_scale": -1.0}, r"peephole_scale=-1\.0: must be a finite number >= 0"),
        (MinGRU, {"update_bias": float("nan")}, r"update_bias=nan: must be a finite number"),
        (MinLSTM, {"hidden_size": 0}, r"hidden_size=0: must be an integer >= 1"),
        (Dilated, {"dilation": 0}, r"dilation=0: must be an integer >= 1"),
        (Dilated, {"dilation": 1.5}, r"dilation=1\.5: must be an integer >= 1"),
        (CoRNN, {"dt": 0.0}, r"dt=0\.0: must be a finite number > 0"),
        (CoRNN, {"damping": "implicitly"}, r"damping='implicitly': .* Did you mean 'implicit'"),
        (LayerNormLSTM, {"epsilon": 0.0}, r"epsilon=0\.0: must be a finite number > 0"),
        (SLSTM, {"forget_gate": "sigmoid"}, r"forget_gate='sigmoid': must be 'logistic' or 'exponential'"),
        (SelectiveDiagonal, {"channel_states": 0}, r"channel_states=0: must be an integer >= 1"),
        (SelectiveDiagonal, {"delta_min": 0.2}, r"delta_min=0\.2: must be at most delta_max=0\.1"),
        (ScoRNN, {"negative": 1.5}, r"negative=1\.5: must be a number >= 0 and <= 1"),
        (Clockwork, {"modules": 3}, r"modules=3: must be at most hidden_size=2"),
        (LipschitzRNN, {"beta": 1.2}, r"beta=1\.2: must be a number >= 0 and <= 1"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_fields_are_refused_by_name(kind, given, message):
    with pytest.raises(ConfigurationError, match=message):
        kind(**{"input_size": 1, "hidden_size": 2, "output_size": 1, **given})
