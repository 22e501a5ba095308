"""Recurrent dropout, zoneout and state noise as a fixed draw: exact derivatives of the network that was run."""

import numpy as np
import pytest

import bpttlab as lab
from bpttlab.errors import ConfigurationError
from bpttlab.gradients.backward import backward
from bpttlab.gradients.checkpointing import checkpointed_forward
from bpttlab.gradients.double_sum import literal_sum
from bpttlab.gradients.forward import forward
from bpttlab.gradients.forward_mode.rtrl import rtrl
from bpttlab.measures.gradient_bias import truncation_bias
from bpttlab.measures.lyapunov import lyapunov_spectrum
from bpttlab.networks import losses
from bpttlab.networks.cells import GRU, LSTM, Cell, Diagonal, Elman, Leaky, Noisy, Stacked
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.run import measure, run
from bpttlab.truncation.segmented import PerLoss
from bpttlab.verification.gradient_check import COMPLEX_STEP_AGREEMENT, assert_agree, numerical_gradient

CELLS = {
    "elman": Elman(2, 3, 2),
    "elman, linear": Elman(2, 3, 2, activation="identity"),
    "elman, relu": Elman(2, 3, 2, activation="relu"),
    "leaky": Leaky(2, 3, 2, alpha=0.4),
    "gru": GRU(2, 3, 2),
    "lstm": LSTM(2, 3, 2),
    "diagonal": Diagonal(2, 3, 2),
}
every_cell = pytest.mark.parametrize("of", CELLS.values(), ids=list(CELLS))
RATES = {"dropout": 0.4, "zoneout": 0.3, "noise": 0.2}
every_rate = pytest.mark.parametrize("rates", [RATES, *({name: rate} for name, rate in RATES.items())], ids=str)


def case(of, T=6, B=3, seed=0, **rates):
    cell, rng = Noisy(2, 3, 2, of=of, **rates), np.random.default_rng(seed)
    params = {name: rng.standard_normal(shape) for name, shape in cell.parameter_shapes().items()}
    x = cell.extend_inputs(rng.standard_normal((T, B, 2)), rng=seed)
    h_0, target = rng.standard_normal((B, cell.state_size)), rng.standard_normal((T, B, 2))
    trace = forward(cell, params, x, h_0)
    return trace, losses.evaluate("squared_error", trace.y_hat, target, np.ones(T)), target


@every_cell
def test_without_any_rate_it_is_the_cell_itself(of):
    trace, loss, _ = case(of)
    plain = forward(of, trace.params, trace.x, trace.h[0])
    assert trace.h.tobytes() == plain.h.tobytes() and trace.cell.x_size == 2
    for name, gradient in backward(plain, loss).items():
        assert np.array_equal(backward(trace, loss)[name], gradient)


def test_it_passes_on_all_that_a_stack_passes_on():
    own = {name for name in vars(Stacked) if name in vars(Cell) and not name.startswith("__")}
    assert [name for name in own - {"lipschitz"} if getattr(Noisy, name) is getattr(Cell, name)] == []


@every_cell
@every_rate
def test_gradients_are_those_of_the_complex_step(of, rates):
    trace, loss, target = case(of, **rates)
    found = backward(trace, loss)
    exact = numerical_gradient(
        trace.cell,
        trace.params,
        trace.x,
        lambda y_hat: losses.total("squared_error", y_hat, target, np.ones(len(target))),
        trace.h[0],
    )
    assert_agree(found, exact, COMPLEX_STEP_AGREEMENT)
    recurrent = literal_sum(trace, loss)
    assert_agree({name: found[name] for name in recurrent}, recurrent)


@every_cell
def test_a_jacobian_is_the_derivative_of_the_step(of):
    trace, _, _ = case(of, **RATES)
    cell, z = trace.cell, trace.cell.project(trace.params, trace.x)
    for n in range(cell.state_size):
        moved = trace.h[3].astype(complex)
        moved[:, n] += 1e-30j
        column = cell.step(trace.params, z[3].astype(complex), moved).imag / 1e-30
        assert np.allclose(trace.jacobian(4)[:, :, n], column, rtol=1e-12, atol=1e-14)


@every_cell
def test_other_ways_to_the_gradient_agree(of):
    trace, loss, _ = case(of, **RATES)
    full = backward(trace, loss)
    forwards = rtrl(trace, loss)
    assert_agree({name: forwards[name] for name in trace.cell.recurrent_parameters}, {
        name: full[name] for name in trace.cell.recurrent_parameters
    })  # fmt: skip
    checkpointed = checkpointed_forward(trace.cell, trace.params, trace.x, trace.h[0])
    assert_agree(backward(checkpointed, loss), full)
    kept = literal_sum(trace, loss, lambda t, k: t - k < 2)
    assert_agree({name: backward(trace, loss, PerLoss(2))[name] for name in kept if name != "h_0"}, {
        name: value for name, value in kept.items() if name != "h_0"
    })  # fmt: skip


@pytest.mark.parametrize("of", ["elman", "gru", "lstm"])
def test_pytorch_with_the_same_draws_agrees(of):
    torch = pytest.importorskip("torch")
    trace, loss, _ = case(of, T=7, **RATES)
    cell, N = trace.cell, 3
    tensors = {name: torch.tensor(value, requires_grad=True) for name, value in trace.params.items()}
    x, m, d, xi = (torch.tensor(trace.x[..., part]) for part in cell.columns)

    def inner_step(x_t, h, c):
        blocks = {"elman": 1, "gru": 3, "lstm": 4}[of]
        a = (x_t @ tensors["V"].T + tensors["b_h"]).split(N, dim=-1)
        r = (h @ tensors["W"].T).split(N, dim=-1)
        assert len(a) == len(r) == blocks
        if of == "elman":
            return torch.tanh(a[0] + r[0]), c
        if of == "gru":
            reset, update = torch.sigmoid(a[0] + r[0]), torch.sigmoid(a[1] + r[1])
            return update * h + (1 - update) * torch.tanh(a[2] + reset * (r[2] + tensors["b_n"])), c
        i, f, g, o = torch.sigmoid(a[0] + r[0]), torch.sigmoid(a[1] + r[1]), torch.tanh(a[2] + r[2]), a[3] + r[3]
        c = f * c + i * g
        return torch.sigmoid(o) * torch.tanh(c), c

    state, outputs = torch.tensor(trace.h[0]), []
    for t in range(len(x)):
        reached = torch.cat(inner_step(x[t], state[:, :N] * (1 + m[t]), state[:, N:]), dim=-1)
        state = d[t] * state + (1 - d[t]) * reached
        state = torch.cat([state[:, :N] + xi[t], state[:, N:]], dim=-1)
        outputs.append(state[:, :N] @ tensors["U"].T + tensors["b_y"])
    y_hat = torch.stack(outputs)
    assert np.allclose(y_hat.detach().numpy(), trace.y_hat, rtol=1e-12, atol=1e-13)
    (y_hat * torch.tensor(loss.gradient)).sum().backward()
    found = backward(trace, loss)
    assert_agree({name: found[name] for name in tensors}, {name: one.grad.numpy() for name, one in tensors.items()})


# the draw -------------------------------------------------------------------------------------------------------------


def test_draws_have_their_rates():
    cell = Noisy(1, 50, 1, dropout=0.25, dropout_per="step", zoneout=0.1, noise=0.5)
    _, m, d, xi = (cell.extend_inputs(np.zeros((100, 4, 1)), rng=0)[..., part] for part in cell.columns)
    assert set(np.unique(m)) == {-1.0, 0.25 / 0.75} and (m < 0).mean() == pytest.approx(0.25, abs=0.02)
    assert m.mean() == pytest.approx(0.0, abs=0.02)  # what is heard is h in the mean
    assert set(np.unique(d)) == {0.0, 1.0} and d.mean() == pytest.approx(0.1, abs=0.01)
    assert xi.std() == pytest.approx(0.5, rel=0.03)


def test_a_mask_of_a_sequence_holds_for_all_of_its_steps():
    cell = Noisy(1, 50, 1, dropout=0.5)
    m = cell.extend_inputs(np.zeros((9, 4, 1)), rng=0)[..., cell.columns[1]]
    assert (m == m[:1]).all() and (m[0, 0] != m[0, 1]).any()


def test_a_longer_sequence_begins_with_the_same_draws():
    for per in ("sequence", "step"):
        cell = Noisy(1, 5, 1, of="lstm", dropout=0.5, dropout_per=per, zoneout=0.2, noise=1.0)
        long, short = (cell.extend_inputs(np.ones((T, 3, 1)), rng=7) for T in (30, 12))
        assert np.array_equal(long[:12], short)


def test_a_higher_rate_drops_all_that_a_lower_one_does():
    low, high = (Noisy(1, 40, 1, dropout=rate).extend_inputs(np.ones((1, 5, 1)), rng=3) for rate in (0.2, 0.6))
    assert ((low < 0) <= (high < 0)).all() and (high < 0).sum() > (low < 0).sum() > 0


def test_the_noise_scales_one_and_the_same_draw():
    one, two = (Noisy(1, 4, 1, noise=scale).extend_inputs(np.zeros((6, 2, 1)), rng=3) for scale in (0.5, 1.0))
    assert np.array_equal(2 * one, two)


def test_the_draws_are_held_fixed_in_gradients_by_inputs():
    trace, _, _ = case(CELLS["lstm"], **RATES)
    da, _ = trace.cell.vjp(trace.params, trace.linearization[2], np.ones_like(trace.h[0]))
    dx = trace.cell.input_vjp(trace.params, trace.linearization[2], da)
    assert dx.shape[-1] == trace.cell.x_size and dx[..., :2].all() and not dx[..., 2:].any()


# measures and sweeps --------------------------------------------------------------------------------------------------

SMALL = {"cell.hidden_size": 6, "batch_size": 2, "engine": "numpy"}


def configured(**values):
    return Configuration.parse({"cell": {"name": "noisy"}, "sequence_length": 12, **SMALL, **values})


def test_a_run_measures_the_network_that_it_ran():
    records = run(configured(**{"cell.of": "gru", "cell.dropout": 0.3, "cell.noise": 0.1, "measure": "spectra"}))
    assert records.run["status"] == "done" and records.run["cell_of"] == "gru" and records.run["cell_dropout"] == 0.3
    assert np.isfinite(records.run["growth_rate"]) and np.isfinite(records.run["lyapunov_exponent"])
    assert records.run["mean_field_outside"] == "cell=noisy: mean field is for elman"
    assert records.run["bound_outside"] == "cell=noisy: no bound of its Jacobians by W alone is known"


def test_a_sweep_of_rates_changes_neither_weights_nor_the_data():
    first, second = (run(configured(**{"cell.dropout": rate})) for rate in (0.0, 0.5))
    assert first.run["rho"] == second.run["rho"] and first.run["loss"] != second.run["loss"]
    again = run(configured(**{"cell.dropout": 0.5}))
    assert again.run == second.run


def test_a_run_of_a_bundle_has_the_bytes_of_the_run_alone():
    both = [configured(sequence_length=length, **{"cell.of": "lstm", "cell.zoneout": 0.2}) for length in (9, 70)]
    assert len({one.bundle_key for one in both}) == 1
    for alone, together in zip((measure([one])[0] for one in both), measure(both), strict=True):
        assert alone.run == together.run
        assert alone.jacobians.equals(together.jacobians) and alone.truncations.equals(together.truncations)


def test_a_dropped_mask_removes_its_columns_of_a_jacobian():
    cell = Noisy(1, 4, 1, of="elman", dropout=0.5)
    params = cell.init(0)
    x = cell.extend_inputs(np.ones((3, 1, 1)), rng=1)
    J = forward(cell, params, x).jacobian(2)[0]
    dropped = x[1, 0, cell.columns[1]] < 0
    assert dropped.any() and not J[:, dropped].any() and J[:, ~dropped].all()


def test_full_zoneout_of_a_unit_keeps_its_exponent_at_zero():
    cell = Noisy(1, 3, 1, of="elman", zoneout=0.5)
    params = cell.init(0, spectral_radius=0.0)
    x = np.zeros((40, 1, cell.x_size))
    x[..., cell.columns[2]] = [1.0, 1.0, 0.0]
    exponents = lyapunov_spectrum(cell, params, x)["lyapunov_exponent"].to_numpy()
    assert exponents[:2] == pytest.approx([0.0, 0.0], abs=1e-12) and exponents[2] == -np.inf


def test_every_scheme_measures_its_bias():
    trace, loss, _ = case(CELLS["gru"], T=9, **RATES)
    for scheme in (PerLoss(3), lab.Clipped(0.05), lab.Chunked(4)):
        assert np.isfinite(truncation_bias(trace, loss, scheme)["log_relative_bias"]).all()


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ({"dropout": 1.0}, "cell.dropout=1.0: must be a number >= 0 and < 1"),
        ({"zoneout": -0.1}, "cell.zoneout=-0.1: must be a number >= 0 and < 1"),
        ({"noise": np.inf}, "cell.noise=inf: must be a finite number >= 0"),
        ({"dropout_per": "batch"}, "cell.dropout_per='batch': must be 'sequence' or 'step'"),
        ({"of": "stacked"}, "cell.of='stacked': a layer cannot be a stack itself"),
        ({"of": "noisy"}, "cell.of='noisy': is made of another cell itself; must be a cell that is not"),
        ({"of": "elmann"}, "cell.of='elmann': must be one of .*Did you mean 'elman'"),
        ({"droput": 0.1}, "cell.droput of 'noisy': there is no such field"),
    ],
)
def test_bad_fields_are_refused(cell, message):
    with pytest.raises(ConfigurationError, match=message):
        Configuration.parse({"cell": {"name": "noisy", "hidden_size": 4, **cell}})


def test_inputs_without_their_draws_are_refused():
    cell = Noisy(2, 3, 1, dropout=0.1)
    with pytest.raises(ConfigurationError, match=r"I = 5, 2 inputs and 3 draws: give cell.extend_inputs\(x, rng\)"):
        forward(cell, cell.init(0), np.zeros((4, 1, 2)))
    with pytest.raises(ConfigurationError, match=r"x: shape \(4, 1, 3\); must be \(T, B, I\) with I = input_size = 2"):
        cell.extend_inputs(np.zeros((4, 1, 3)), rng=0)


def test_a_layer_of_a_stack_cannot_be_noisy():
    with pytest.raises(ConfigurationError, match="cell.of='noisy': is made of another cell itself"):
        lab.Stacked(2, 3, 1, of="noisy")
