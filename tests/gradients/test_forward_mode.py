"""RTRL against back-propagation, and every approximation against its definition written out."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bpttlab as lab
from bpttlab.errors import ConfigurationError, GradientRangeError
from bpttlab.gradients.backward import backward
from bpttlab.gradients.forward import forward
from bpttlab.gradients.forward_mode.rtrl import influence
from bpttlab.gradients.forward_mode.snap import patterns, structure
from bpttlab.gradients.forward_mode.uoro import estimates_of_sequences, uoro_variance
from bpttlab.gradients.trace import Trace
from bpttlab.measures import sensitivity
from bpttlab.measures.sensitivity import measure_sensitivity
from bpttlab.networks.cells import GRU, LSTM, Antisymmetric, Cell, Diagonal, Elman, Leaky, MinimalRNN
from bpttlab.numerics.scaled import LOG_2, Scaled
from bpttlab.truncation.segmented import PerLoss
from bpttlab.verification.gradient_check import assert_agree, disagreement
from tests.support.examples import examples
from tests.support.networks import linear
from tests.support.networks_of_cells import CELLS, MORE_CELLS, assert_agree_as_sums, case, cases, every_cell


def recurrent(trace, gradient):
    return {name: gradient[name] for name in trace.cell.recurrent_parameters}


def without_h_0(gradient):
    return {name: value for name, value in gradient.items() if name != "h_0"}


def immediate(trace, t):
    """d+h_t/dtheta, (B,N,P) each: one contraction for each row and sequence, and nothing else."""
    cell, params = trace.cell, trace.params
    _, B, N = trace.h.shape
    found = {name: np.zeros((B, N, params[name].size)) for name in cell.recurrent_parameters}
    for b, n in np.ndindex(B, N):
        da, _ = cell.vjp(params, trace.linearization[t - 1, b : b + 1], np.eye(N)[n : n + 1])
        one = cell.parameter_vjp(trace.local.at((slice(t - 1, t), slice(b, b + 1))), da[None])
        for name in found:
            found[name][b, n] = one[name].ravel()
    return found


def literal_recursion(trace, loss, keeps=None, jacobian=None):
    """sum_t dL_t/dh_t M_t, M_t = keeps . (J_t M_{t-1} + d+h_t/dtheta), in plain dense float64."""
    error = trace.error(loss.gradient)
    names = trace.cell.recurrent_parameters
    M, total = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    for t in range(1, trace.length + 1):
        J, new = trace.jacobian(t) if jacobian is None else jacobian, immediate(trace, t)
        for name in names:
            M[name] = (J @ M[name] if t > 1 else 0.0) + new[name]
            M[name] = M[name] if keeps is None else M[name] * keeps[name]
            total[name] = total[name] + np.einsum("bn,bnp->p", error[t - 1], M[name])
    return {name: total[name].reshape(trace.params[name].shape) for name in names}


# ------------------------------------------------------------------------------------------- immediate derivatives


@every_cell
def test_derivatives_by_sequence_are_those_of_each_alone(make):
    trace = case(make, T=4, B=3).trace
    da = np.random.default_rng(0).standard_normal((4, 3, trace.cell.preactivation_size))
    found = trace.cell.parameter_vjp_each(trace.local, da)
    assert_agree(found, Cell.parameter_vjp_each(trace.cell, trace.local, da))
    assert_agree({name: found[name].sum(axis=0) for name in found}, trace.cell.parameter_vjp(trace.local, da))


@every_cell
def test_immediate_derivatives_are_the_gradient_row_by_row(make):
    trace = case(make, T=4, B=3).trace
    cell, local = trace.cell, trace.local
    da = np.random.default_rng(0).standard_normal((5, 4, 3, cell.preactivation_size))
    found, slow = cell.immediate(local, da), Cell.immediate(cell, local, da)
    assert set(found) == set(cell.shapes()) == set(cell.recurrent_parameters)
    assert_agree(found, slow)
    for index in np.ndindex(5, 4, 3):
        one = cell.parameter_vjp(local.at(index[1:]), da[index])
        assert_agree({name: found[name][index] for name in one}, one)


@every_cell
def test_units_are_numbered_once_for_each_of_their_numbers(make):
    cell = case(make, N=3).trace.cell
    per_unit = np.bincount(cell.units)
    assert len(cell.units) == cell.state_size
    units = cell.state_size if cell.name == "projected_lstm" else 3 * getattr(cell, "layers", 1)  # it has P + N units
    assert (per_unit == per_unit[0]).all() and len(per_unit) == units


# ------------------------------------------------------------------------------------------- RTRL


@every_cell
@examples(15)
@given(data=st.data())
def test_rtrl_is_backward(make, data):
    example = data.draw(cases(make))
    found, expected = lab.rtrl(example.trace, example.loss), backward(example.trace, example.loss)
    assert {**found, "h_0": expected["h_0"]}.keys() == expected.keys()
    assert all(found[name].dtype == expected[name].dtype for name in found)
    assert all(found[name].shape == expected[name].shape for name in found)
    assert_agree_as_sums(example, {**found, "h_0": expected["h_0"]}, expected)


@every_cell
def test_the_influence_is_the_derivative_of_the_state(make):
    """Every entry of M_T by a complex step through a forward pass of its own."""
    trace = case(make, T=4, N=2, seed=3).trace
    *_, last = influence(trace)
    assert last.t == 4
    for name, matrix in last.matrices.items():
        numeric = np.empty(matrix.shape)
        for p in range(trace.params[name].size):
            moved = trace.params[name].astype(complex)
            moved.flat[p] += 1e-30j
            numeric[:, :, p] = (
                forward(trace.cell, {**trace.params, name: moved}, trace.x, trace.h[0]).h[-1].imag / 1e-30
            )
        assert_agree({name: matrix.value()}, {name: numeric}, 1e-11)


def test_some_parameters_alone_are_the_same_as_among_all():
    trace = case(CELLS["gru"]).trace
    for one, all_of_them in zip(influence(trace, ["b_n"]), influence(trace), strict=True):
        assert set(one.matrices) == {"b_n"}
        assert one.matrices["b_n"].mantissa.tobytes() == all_of_them.matrices["b_n"].mantissa.tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("gain", [pytest.param(0.3, marks=pytest.mark.slow), 3.0])
def test_rtrl_is_backward_beyond_the_range_of_floats(gain):
    """At the origin every Jacobian is W: the influence of b_h grows by `gain` a step, or is made of vanishing terms."""
    rng = np.random.default_rng(0)
    cell = Elman(1, 4, 1)
    params = cell.init(rng, spectral_radius=gain)
    trace = forward(cell, params, np.zeros((900, 1, 1)))
    *_, last = influence(trace)
    M = last.matrices["b_h"]
    unit = np.zeros_like(trace.y_hat)
    unit[-1] = 1.0
    expected = backward(trace, unit, scaled=True)["b_h"]
    found = np.einsum("n,np->p", trace.params["U"][0], Scaled(M.mantissa[0], M.exponent[0]).share_exponent(2).mantissa)
    exponent = M[0].share_exponent(2).exponent.item()
    shift = np.ldexp(1.0, int(expected.exponent.item() - exponent))
    np.testing.assert_allclose(found, expected.mantissa * shift, rtol=1e-10)
    assert (float(M.log_norm(3)) > 900.0) == (gain > 1.0)
    if gain > 1.0:
        for method in (lab.rtrl, lambda *given: lab.snap(*given, 2), lambda *given: lab.uoro(*given, rng)):
            with pytest.raises(GradientRangeError):
                method(trace, unit)
    else:
        assert_agree(lab.rtrl(trace, unit), without_h_0(backward(trace, unit)))


def test_a_small_row_is_not_lost_beside_one_that_explodes():
    """Unit 1 grows threefold a step and hears unit 2, which halves; the loss sees unit 2 alone."""
    cell = Elman(1, 2, 1)
    W = np.array([[3.0, 1.0], [0.0, 0.5]])
    params = {"V": np.ones((2, 1)), "W": W, "b_h": np.zeros(2), "U": np.array([[0.0, 1.0]]), "b_y": np.zeros(1)}
    trace = forward(cell, params, np.zeros((1200, 1, 1)))
    errors = np.ones_like(trace.y_hat)
    found = lab.rtrl(trace, errors)
    assert float(list(influence(trace))[-1].matrices["b_h"].log_norm(3)) > 1200.0
    np.testing.assert_allclose(found["b_h"], [0.0, sum(2.0 - 2.0 ** (1 - t) for t in range(1, 1201))], rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("rho", [0.3, 3.0])
def test_a_hundred_thousand_steps_have_a_finite_influence(rho):
    cell, rng = Elman(1, 3, 1), np.random.default_rng(1)
    trace = forward(cell, cell.init(rng, spectral_radius=rho), np.zeros((100_000, 1, 1)))
    *_, last = influence(trace, ["b_h"])
    log_norm = float(last.matrices["b_h"].log_norm(3))
    assert np.isfinite(log_norm)
    assert log_norm / 100_000 == pytest.approx(max(0.0, np.log(rho)), abs=1e-3)


# ------------------------------------------------------------------------------------------- SnAp


def literal_pattern(trace, n):
    """Reach within n steps from where the explicit derivatives of these very weights are not zero at any step."""
    N, steps = trace.h.shape[-1], range(1, trace.length + 1)
    units = trace.cell.units
    whole = np.array([[units[i] == units[j] for j in range(N)] for i in range(N)])
    links = whole | np.any([(trace.jacobian(t) != 0.0).any(axis=0) for t in steps], axis=0)
    reach = {}
    for name in trace.cell.recurrent_parameters:
        pattern = whole @ np.any([(immediate(trace, t)[name] != 0.0).any(axis=0) for t in steps], axis=0)
        for _ in range(n - 1):
            pattern = whole @ links @ pattern
        reach[name] = pattern
    return reach


@every_cell
@examples(10)
@given(n=st.sampled_from([1, 2]), data=st.data())
def test_snap_is_rtrl_with_a_mask(make, n, data):
    example = case(
        make,
        seed=data.draw(st.integers(0, 2**16)),
        T=data.draw(st.integers(1, 6)),
        B=data.draw(st.integers(1, 3)),
        N=data.draw(st.integers(1, 4)),
        I=data.draw(st.integers(1, 2)),
        gain=data.draw(st.sampled_from([0.3, 1.0])),
    )
    trace = example.trace
    expected = literal_recursion(trace, example.loss, literal_pattern(trace, n))
    found = lab.snap(trace, example.loss, n)
    assert_agree_as_sums_of_rows(example, recurrent(trace, found), expected)


def assert_agree_as_sums_of_rows(example, found, expected):
    """`assert_agree`, relative to the gradient that nothing is masked in where that is larger."""
    full = backward(example.trace, example.loss)
    for name, value in expected.items():
        size = max(np.abs(full[name]).max(), np.abs(value).max())
        assert np.abs(found[name] - value).max() <= 1e-12 * size, name


def sparse_case(cell, N=6, T=9, seed=0, off=0.7, **more):
    """A network whose W has most entries zero."""
    example = case(cell, N=N, T=T, seed=seed, **more)
    trace, rng = example.trace, np.random.default_rng(seed)
    mask = {n: rng.random(v.shape) > off if n.startswith("W") else 1.0 for n, v in trace.params.items()}
    params = {name: values * mask[name] for name, values in trace.params.items()}
    return forward(trace.cell, params, trace.x, trace.h[0]), example.loss


@pytest.mark.parametrize("name", ["elman", "leaky", "gru", "gru, reset before", "lstm", "minimal_rnn", "antisymmetric"])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_sparse_matrix_has_a_sparse_pattern(name, n):
    trace, loss = sparse_case(CELLS[name])
    keeps = literal_pattern(trace, n)
    expected = literal_recursion(trace, loss, keeps)
    assert_agree(lab.snap(trace, loss, n), expected)
    if n < 3 and name in ("elman", "leaky"):
        assert not keeps["W"].all()
        assert disagreement(expected["W"], backward(trace, loss)["W"]) > 1e-3


@pytest.mark.parametrize("name", ["elman", "leaky", "gru", "lstm", "minimal_rnn", "antisymmetric", "stacked"])
def test_snap_of_as_many_steps_as_units_is_exact(name):
    trace, loss = sparse_case(CELLS[name], N=5)
    n = len(set(trace.cell.units.tolist()))
    assert_agree(lab.snap(trace, loss, n), without_h_0(backward(trace, loss)))


def test_snap_two_of_a_dense_matrix_is_exact_and_snap_one_is_not():
    for name in ("elman", "leaky", "gru", "lstm", "antisymmetric"):
        example = case(CELLS[name], N=4, T=8)
        exact = without_h_0(backward(example.trace, example.loss))
        assert_agree(lab.snap(example.trace, example.loss, 2), exact)
        assert disagreement(lab.snap(example.trace, example.loss, 1)["W"], exact["W"]) > 1e-3


def kept_rows(cell, n=1):
    """How many numbers of the state each column keeps, by parameter."""
    params = cell.init(np.random.default_rng(0))
    touched, links = structure(cell, params)
    return {
        name: pattern.sum(axis=0).reshape(params[name].shape)
        for name, pattern in patterns(touched, links, cell.units, n).items()
    }


def test_what_snap_one_keeps():
    for cell in (Elman(2, 4, 1), Elman(2, 4, 1, "relu"), Leaky(2, 4, 1), GRU(2, 4, 1)):
        assert all((rows == 1).all() for rows in kept_rows(cell).values()), cell
    for cell in (LSTM(2, 4, 1), Diagonal(2, 4, 1)):
        assert all((rows == 2).all() for rows in kept_rows(cell).values()), cell
    W = kept_rows(Antisymmetric(2, 4, 1))["W"]
    np.testing.assert_array_equal(W, 2 - 2 * np.eye(4))
    minimal = kept_rows(MinimalRNN(2, 4, 1))
    assert {name: set(rows.ravel()) for name, rows in minimal.items()} == {
        "V": {4}, "b_z": {4}, "W": {1}, "W_z": {1}, "b_h": {1},
    }  # fmt: skip
    before = kept_rows(GRU(2, 4, 1, reset="before"))
    for name in ("W", "V", "b_h"):
        assert (before[name][:4] == 4).all() and (before[name][4:] == 1).all()


def test_what_reaches_every_unit_at_once_loses_nothing():
    example = case(CELLS["gru, reset before"], N=4, T=8)
    found, exact = lab.snap(example.trace, example.loss, 1), backward(example.trace, example.loss)
    assert_agree({"W_r": found["W"][:4]}, {"W_r": exact["W"][:4]})
    assert disagreement(found["W"][4:], exact["W"][4:]) > 1e-3


@pytest.mark.parametrize("name", ["diagonal", "diagonal, as it comes"])
def test_snap_one_is_exact_for_a_diagonal_recurrence(name):
    example = case(CELLS[name], N=5, T=30)
    assert_agree(lab.snap(example.trace, example.loss, 1), without_h_0(backward(example.trace, example.loss)))


def test_a_matrix_of_zeros_leaves_snap_one_exact():
    example = case(CELLS["elman"], gain=0.0)
    assert_agree(lab.snap(example.trace, example.loss, 1), without_h_0(backward(example.trace, example.loss)))


# ------------------------------------------------------------------------------------------- RFLO


@pytest.mark.parametrize("name", ["leaky", "leaky, logistic", "leaky, alpha = 1"])
@examples(30)
@given(data=st.data())
def test_rflo_is_its_eligibility_trace(name, data):
    example = data.draw(cases(CELLS[name], dtypes=("float64",)))
    trace = example.trace
    leak = (1.0 - trace.cell.alpha) * np.eye(trace.h.shape[-1])
    expected = literal_recursion(trace, example.loss, jacobian=leak)
    found = lab.rflo(trace, example.loss)
    assert_agree_as_sums_of_rows(example, found, expected)
    exact = backward(trace, example.loss)
    assert_agree({name: found[name] for name in ("U", "b_y")}, {name: exact[name] for name in ("U", "b_y")})


@examples(20)
@given(data=st.data())
def test_rflo_without_a_leak_is_truncation_at_one(data):
    example = data.draw(cases(CELLS["leaky, alpha = 1"]))
    expected = without_h_0(backward(example.trace, example.loss, PerLoss(1)))
    assert_agree(lab.rflo(example.trace, example.loss), expected)


def test_rflo_is_exact_where_the_matrix_is_zero():
    example = case(CELLS["leaky"], gain=0.0, T=20)
    assert_agree(lab.rflo(example.trace, example.loss), without_h_0(backward(example.trace, example.loss)))


def test_random_feedback_takes_the_place_of_u():
    """Of U alone: the derivative of f_y stays that of the prediction, so that it is the same with linear outputs whose
    errors it has been multiplied into."""
    example = case(CELLS["leaky"], T=8, output_activation="tanh")
    trace = example.trace
    feedback = np.random.default_rng(5).standard_normal(trace.params["U"].shape)
    linear = replace(trace.cell, output_activation="identity")
    other = Trace(linear, {**trace.params, "U": feedback}, trace.x, trace.h, trace.y_hat)
    errors = trace.readout_vjp(example.loss.gradient)[0]
    found, expected = lab.rflo(trace, example.loss, feedback), lab.rflo(other, errors)
    assert_agree(found, expected)
    assert disagreement(found["W"], lab.rflo(trace, example.loss)["W"]) > 1e-2
    assert_agree({"U": found["U"]}, {"U": backward(trace, example.loss)["U"]})


# ------------------------------------------------------------------------------------------- UORO


def tiled(trace, errors, draws):
    """One sequence as many: independent draws of its estimate."""
    repeat = np.repeat(np.arange(trace.h.shape[1]), draws)
    many = Trace(trace.cell, trace.params, trace.x[:, repeat], trace.h[:, repeat], trace.y_hat[:, repeat])
    return many, errors[:, repeat]


def draws_of(trace, errors, draws, seed=0, epsilon=1e-7):
    """Estimates of the gradient of a trace of one sequence, {name: (draws, P)}."""
    many, errors = tiled(trace, errors, draws)
    return estimates_of_sequences(many, many.error(errors), np.random.default_rng(seed), epsilon)


def assert_unbiased(drawn, exact):
    """Every entry's mean within 4 standard errors, where it varies at all; the whole with the spread of chance."""
    for name, values in drawn.items():
        error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
        size = np.abs(exact[name]).max()
        off = np.abs(values.mean(axis=0) - exact[name].ravel())
        assert (off <= 4.0 * error + 1e-12 * size).all(), name
        varies = error > 1e-9 * size
        assert varies.any() and (error < 0.2 * size).any(), name  # a test that could fail


@pytest.mark.parametrize(
    "name",
    [
        *("elman", "leaky", "gru", "gru, reset before", "lstm"),
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("diagonal", "stacked, lstm")),
    ],
)
def test_uoro_is_right_in_the_mean(name):
    example = case(CELLS[name], T=5, B=1, N=2, I=1, seed=2)
    drawn = draws_of(example.trace, example.loss.gradient, 4000)
    assert_unbiased(drawn, backward(example.trace, example.loss))


@pytest.mark.slow
@every_cell
def test_uoro_is_right_in_the_mean_of_many_draws(make):
    if make is MORE_CELLS["selective_diagonal"]:
        pytest.skip("the estimates vary by a hundred times the gradient: so few draws say nothing")
    example = case(make, T=8, B=1, N=3, I=2, seed=4)
    drawn = draws_of(example.trace, example.loss.gradient, 60_000 if make is CELLS["elman"] else 8000)
    assert_unbiased(drawn, backward(example.trace, example.loss))


@pytest.mark.parametrize("epsilon", [1e-7, 1e-2])
def test_uoro_is_its_own_recursion(epsilon):
    """The algorithm in vectors, sequence by sequence, with the signs that were drawn."""
    example = case(CELLS["lstm"], T=6, B=2, N=3)
    trace = example.trace
    rng, error = np.random.default_rng(7), trace.error(example.loss.gradient)
    _, B, N = trace.h.shape
    s, theta, total = np.zeros((B, N)), [0.0] * B, 0.0
    for t in range(1, 7):
        new = np.concatenate(list(immediate(trace, t).values()), axis=-1)
        nu = 2.0 * rng.integers(0, 2, (B, N)) - 1.0
        for b in range(B):
            tangent, projected = trace.jacobian(t)[b] @ s[b], nu[b] @ new[b]
            rho_0 = np.sqrt(np.linalg.norm(theta[b]) / (np.linalg.norm(tangent) + epsilon)) + epsilon
            rho_1 = np.sqrt(np.linalg.norm(projected) / (np.sqrt(N) + epsilon)) + epsilon
            s[b] = rho_0 * tangent + rho_1 * nu[b]
            theta[b] = theta[b] / rho_0 + projected / rho_1
            total = total + (error[t - 1, b] @ s[b]) * theta[b]
    found = lab.uoro(trace, example.loss, np.random.default_rng(7), epsilon)
    flat = np.concatenate([found[name].ravel() for name in trace.cell.recurrent_parameters])
    assert_agree({"all": flat}, {"all": total}, 1e-9)
    exact = backward(trace, example.loss)
    assert_agree({name: found[name] for name in ("U", "b_y")}, {name: exact[name] for name in ("U", "b_y")})


def test_uoro_of_one_step_and_one_unit_is_exact():
    """nu nu = 1: a matrix of one row has rank one, and no earlier step that could mix."""
    example = case(CELLS["elman"], T=1, N=1, B=3)
    expected = without_h_0(backward(example.trace, example.loss))
    assert_agree(lab.uoro(example.trace, example.loss, np.random.default_rng(0)), expected)


def test_the_balance_of_the_factors_takes_variance_away():
    example = case(CELLS["elman"], T=12, B=1, N=3, gain=0.5)
    with_it = draws_of(example.trace, example.loss.gradient, 3000)["W"].var(axis=0).sum()
    without = draws_of(example.trace, example.loss.gradient, 3000, epsilon=1e3)["W"].var(axis=0).sum()
    assert with_it < 0.5 * without


def test_the_variance_that_is_reported():
    example = case(CELLS["elman"], T=5, B=1, N=2)
    reported = uoro_variance(example.trace, example.loss, np.random.default_rng(1), draws=2000)
    drawn, exact = draws_of(example.trace, example.loss.gradient, 20_000), backward(example.trace, example.loss)
    for name, values in drawn.items():
        assert reported[name] == pytest.approx(values.var(axis=0).sum() / (exact[name] ** 2).sum(), rel=0.15)
    nothing = uoro_variance(example.trace, np.zeros_like(example.trace.y_hat), np.random.default_rng(1), 2)
    assert all(np.isnan(value) for value in nothing.values())


def test_the_variance_does_not_depend_on_the_unit_of_the_loss():
    example = case(CELLS["elman"], T=5, B=1, N=2)
    one, small, large = (
        uoro_variance(example.trace, factor * example.loss.gradient, np.random.default_rng(1), draws=5)
        for factor in (1.0, 2.0**-600, 2.0**600)
    )
    assert small == pytest.approx(one, rel=1e-12) and large == pytest.approx(one, rel=1e-12)


def test_sequences_have_independent_equal_seeded_signs():
    example = case(CELLS["elman"], T=6, B=1, N=3)
    drawn = draws_of(example.trace, example.loss.gradient, 2)["W"]
    assert (drawn[0] != drawn[1]).any()
    one, again = (lab.uoro(example.trace, example.loss, np.random.default_rng(3)) for _ in range(2))
    assert all(one[name].tobytes() == again[name].tobytes() for name in one)


def test_float32_stays_float32():
    example = case(CELLS["leaky"], dtype="float32")
    trace, loss = example.trace, example.loss
    methods = (lab.rtrl(trace, loss), lab.snap(trace, loss, 1), lab.rflo(trace, loss))
    for gradient in (*methods, lab.uoro(trace, loss, np.random.default_rng(0))):
        assert {value.dtype for value in gradient.values()} == {np.dtype("float32")}


# ------------------------------------------------------------------------------------------- influence balancing


def influence_balancing(T, n=23, plus=10):
    """Tallec & Ollivier 2018a, with the state at rest; dL/dtheta is the sum of signs times dL/db_h."""
    signs = np.array([1.0] * plus + [-1.0] * (n - plus))
    cell = Elman(1, n, 1, "identity")
    W = 0.5 * np.eye(n) + 0.5 * np.eye(n, k=1)
    params = {"V": np.zeros((n, 1)), "W": W, "b_h": signs, "U": np.eye(1, n), "b_y": np.zeros(1)}
    rest = np.linalg.solve(np.eye(n) - W, signs)
    trace = forward(cell, params, np.zeros((T, 1, 1)), rest[None])
    errors = np.zeros_like(trace.y_hat)
    errors[-1] = 1.0
    return trace, errors, signs


@pytest.mark.slow
def test_influence_is_balanced_by_rtrl_and_not_by_what_cuts_it():
    trace, errors, signs = influence_balancing(80)
    assert signs @ lab.rtrl(trace, errors)["b_h"] == pytest.approx(-6.0, rel=1e-4)
    assert signs @ lab.snap(trace, errors, 1)["b_h"] > 0.0
    assert signs @ lab.snap(trace, errors, 10)["b_h"] > 0.0
    assert signs @ lab.snap(trace, errors, 23)["b_h"] == pytest.approx(-6.0, rel=1e-4)


@pytest.mark.slow
def test_influence_is_balanced_by_uoro_in_the_mean():
    trace, errors, signs = influence_balancing(40, n=7, plus=3)
    expected = signs @ backward(trace, errors)["b_h"]
    assert expected == pytest.approx(-2.0, rel=1e-4)
    drawn = draws_of(trace, errors, 10_000)["b_h"] @ signs
    error = drawn.std(ddof=1) / np.sqrt(len(drawn))
    assert abs(drawn.mean() - expected) < 4.0 * error
    assert error < 0.25 * abs(expected)


@pytest.mark.slow
def test_uoro_balances_the_whole_chain_in_the_mean():
    trace, errors, signs = influence_balancing(100)
    drawn = np.concatenate([draws_of(trace, errors, 2000, seed)["b_h"] @ signs for seed in range(6)])
    error = drawn.std(ddof=1) / np.sqrt(len(drawn))
    assert abs(drawn.mean() + 6.0) < 4.0 * error
    assert error < 1.5


# ------------------------------------------------------------------------------------------- sensitivity


@every_cell
@examples(6)
@given(data=st.data())
def test_sensitivity_forwards_and_backwards_agree(make, data):
    trace = data.draw(cases(make, tame=True)).trace
    t = np.arange(1, trace.length + 1)
    ways = sensitivity.norms_forward(trace, t), sensitivity.norms_backward(trace, t)
    tolerance = 1e-11 if trace.h.dtype == np.float64 else 2e-3
    for name in trace.cell.recurrent_parameters:
        one, other = (way[name] for way in ways)
        assert one.shape == other.shape == (trace.length, trace.h.shape[1])
        np.testing.assert_array_equal(np.isneginf(one), np.isneginf(other))
        alive = np.isfinite(other)
        np.testing.assert_allclose(one[alive], other[alive], rtol=0.0, atol=tolerance)


def test_rows_that_do_not_fit_at_once_go_one_after_the_other(monkeypatch):
    trace = case(CELLS["lstm"], T=7, N=3).trace
    whole = sensitivity.norms_backward(trace, np.array([2, 7]))
    monkeypatch.setattr(sensitivity, "SENSITIVITY_BYTES", 1000)
    assert_agree(sensitivity.norms_backward(trace, np.array([2, 7])), whole)


def test_the_way_is_chosen_by_its_cost():
    rng = np.random.default_rng(0)
    small, large = Elman(1, 2, 1), Elman(1, 150, 1)
    few, all_t = np.array([1, 10, 40]), np.arange(1, 41)
    for cell, chosen, backward_way in ((small, all_t, False), (large, few, True)):
        trace = forward(cell, cell.init(rng), rng.standard_normal((40, 1, 1)))
        assert sensitivity.backward_is_cheaper(trace, chosen) is backward_way


def test_the_table_of_sensitivities():
    trace = case(CELLS["gru"], T=30, B=3, N=3).trace
    frame = lab.forward_sensitivity(trace, steps=5, sequences=2)
    assert list(frame.columns) == ["sequence", "t", "parameter", "log_norm"]
    assert frame["t"].min() == 1 and frame["t"].max() == 30 and frame["t"].nunique() == 5
    assert len(frame) == 2 * 5 * 4 and not frame.duplicated(["sequence", "t", "parameter"]).any()
    matrices = {step.t: step.matrices for step in influence(trace)}
    for row in frame.itertuples():
        M = matrices[row.t][row.parameter].value()[row.sequence]
        assert row.log_norm == pytest.approx(np.log(np.linalg.norm(M)), rel=1e-12)


def test_zero_influence_is_minus_infinity():
    """From a state of zero the first step does not use W."""
    cell, rng = Elman(1, 3, 1), np.random.default_rng(0)
    trace = forward(cell, cell.init(rng), np.ones((4, 1, 1)))
    frame = lab.forward_sensitivity(trace).set_index(["t", "parameter"])["log_norm"]
    assert frame[1, "W"] == -np.inf
    assert np.isfinite(frame[1, "V"]) and np.isfinite(frame[2, "W"])


@pytest.mark.parametrize("decay", [pytest.param(0.5, marks=pytest.mark.slow), 0.9])
def test_the_curse_of_memory(decay):
    """h_t = lambda h_{t-1} + noise: E h^2 and E (dh/dlambda)^2 of Zucchet & Orvieto 2024."""
    cell = Elman(1, 1, 1, "identity")
    params = {name: np.ones(shape) for name, shape in cell.parameter_shapes().items()}
    params |= {"W": np.array([[decay]]), "b_h": np.zeros(1), "b_y": np.zeros(1)}
    trace = forward(cell, params, np.random.default_rng(0).standard_normal((2000, 100, 1)))
    found = measure_sensitivity(trace, steps=2000, sequences=100)
    squares = np.exp(2.0 * found["log_norm"][(found["parameter"] == "W") & (found["t"] > 300)])
    assert np.mean(trace.h[300:] ** 2) == pytest.approx(1 / (1 - decay**2), rel=0.05)
    assert np.mean(squares) == pytest.approx((1 + decay**2) / (1 - decay**2) ** 3, rel=0.05)


def test_sensitivity_explodes_where_products_do_not():
    """A rotation: every product has norm one, while the influence of W adds up over all steps."""
    trace = linear(np.array([[0.6, -0.8], [0.8, 0.6]]), 400)
    moved = forward(trace.cell, trace.params, trace.x, np.array([[1.0, 0.0]]))
    frame = lab.forward_sensitivity(moved, sequences=1)
    W = frame[frame["parameter"] == "W"].set_index("t")["log_norm"]
    assert W[1] == pytest.approx(0.5 * np.log(2.0)) and W[400] > np.log(400.0) - 1e-9
    np.testing.assert_allclose(lab.jacobian_products(moved)["log_spectral_norm"], 0.0, atol=1e-12)


# ------------------------------------------------------------------------------------------- refusals


def refusals():
    example = case(CELLS["elman"])
    trace, loss, rng = example.trace, example.loss, np.random.default_rng(0)
    leaky = case(CELLS["leaky"])
    return {
        "n": (lambda: lab.snap(trace, loss, 0), r"n=0: must be an integer >= 1"),
        "rflo": (lambda: lab.rflo(trace, loss), r"cell 'elman': rflo keeps .* the leak .* 'leaky'"),
        "feedback": (lambda: lab.rflo(leaky.trace, leaky.loss, np.ones((3, 2))), r"feedback: shape \(3, 2\); must be"),
        "epsilon": (lambda: lab.uoro(trace, loss, rng, 0.0), r"epsilon=0\.0: must be a number above 0"),
        "draws": (lambda: uoro_variance(trace, loss, rng, 1), r"draws=1: must be an integer >= 2"),
        "steps": (lambda: lab.forward_sensitivity(trace, steps=1), r"steps=1: must be"),
        "sequences": (lambda: lab.forward_sensitivity(trace, sequences=0), r"sequences=0: must be"),
        "parameter": (lambda: influence(trace, ["U"]), r"parameters: 'U' has no influence through time; .* W, V, b_h"),
        "loss": (lambda: lab.rtrl(trace, np.ones((1, 1, 1))), r"loss: dL/dy_hat has shape"),
    }


@pytest.mark.parametrize("what", list(refusals()))
def test_refusals_name_the_field_and_what_is_allowed(what):
    call, message = refusals()[what]
    with pytest.raises(ConfigurationError, match=message):
        call()


@pytest.mark.parametrize(("method", "size"), [(lab.rtrl, 28.5), (lambda trace, loss: lab.snap(trace, loss, 1), 7.1)])
def test_network_too_large_for_its_influence_is_refused(method, size):
    cell = LSTM(4, 256, 1)
    trace = forward(cell, cell.init(np.random.default_rng(0)), np.zeros((2, 4, 4)))
    with pytest.raises(ConfigurationError, match=rf"influence of 267264 .* on 512 .* needs {size} GiB; .* 2 GiB"):
        method(trace, np.ones_like(trace.y_hat))


def test_snap_is_refused_by_its_own_memory_not_by_rtrl():
    cell = Elman(1, 100, 1)
    trace = forward(cell, cell.init(np.random.default_rng(0)), np.zeros((2, 60, 1)))
    for method in (lab.rtrl, lambda trace, loss: lab.snap(trace, loss, 2)):
        with pytest.raises(ConfigurationError, match=r"in 60 sequences: needs 3\.2 GiB"):
            method(trace, np.ones_like(trace.y_hat))
    assert lab.snap(trace, np.ones_like(trace.y_hat), 1)


def test_logarithms_are_natural():
    trace = linear([[0.5]], 1)
    moved = forward(trace.cell, trace.params, trace.x, np.array([[8.0]]))
    frame = lab.forward_sensitivity(moved, sequences=1).set_index("parameter")["log_norm"]
    assert frame["W"] == pytest.approx(3.0 * LOG_2) and frame["b_h"] == pytest.approx(0.0)
