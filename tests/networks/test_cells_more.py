"""The diagonal cell as a linear network with a matrix, and a stack as its layers one after the other."""

import json

import numpy as np
import pytest

import bpttlab as lab
from bpttlab.errors import ConfigurationError
from bpttlab.gradients.backward import backward
from bpttlab.gradients.forward import forward
from bpttlab.networks.cells import GRU, LSTM, Diagonal, Elman, Leaky, Scales, Stacked
from bpttlab.networks.initializers import GaussianRadius, Identity, Orthogonal
from bpttlab.store import schema
from bpttlab.sweeps.configuration import Configuration
from bpttlab.truncation.segmented import Full, PerLoss
from bpttlab.verification.gradient_check import assert_agree
from tests.support.networks_of_cells import CELLS, MORE_CELLS, case

LAYERS = {name: make for name, make in CELLS.items() if not name.startswith("stacked")}
every_layer = pytest.mark.parametrize(
    "make",
    [*LAYERS.values(), *(pytest.param(make, marks=pytest.mark.slow) for make in MORE_CELLS.values())],
    ids=[*LAYERS, *MORE_CELLS],
)


def same_bytes(one, other):
    return {name: value.tobytes() for name, value in one.items()} == {n: v.tobytes() for n, v in other.items()}


# ------------------------------------------------------------------------------------------- diagonal


def ring(**more):
    return Diagonal(2, 64, 1, **more)


def moduli(cell, params):
    return np.hypot(*cell.eigenvalues(params))


def test_lambda_is_drawn_uniformly_from_the_ring():
    cell = Diagonal(1, 20_000, 1, r_min=0.5, r_max=0.9)
    params = cell.init(np.random.default_rng(0))
    squared = np.sort(moduli(cell, params) ** 2)
    assert squared[0] >= 0.25 - 1e-15 and squared[-1] <= 0.81 + 1e-15
    np.testing.assert_allclose(squared, np.linspace(0.25, 0.81, 20_000), atol=0.01)
    angles = np.sort(np.exp(params["theta"]))
    np.testing.assert_allclose(angles, np.linspace(0.0, 2.0 * np.pi, 20_000), atol=0.1)


@pytest.mark.parametrize("radius", [0.01, 0.5, 0.999, 0.999999])
def test_a_ring_of_no_width_has_the_radius_asked_for(radius):
    cell = ring(r_min=radius, r_max=radius)
    params = cell.init(np.random.default_rng(0))
    np.testing.assert_allclose(moduli(cell, params), radius, rtol=1e-14)
    block = cell.recurrent_blocks(params)["Lambda"]
    np.testing.assert_allclose(np.abs(np.linalg.eigvals(block)), radius, rtol=1e-12)
    np.testing.assert_allclose(np.linalg.svd(block, compute_uv=False), radius, rtol=1e-12)  # normal


def test_the_block_has_the_eigenvalues_and_their_conjugates():
    cell = Diagonal(2, 5, 1, r_min=0.1, r_max=0.9)
    params = cell.init(np.random.default_rng(1))
    re, im = cell.eigenvalues(params)
    found = np.linalg.eigvals(cell.recurrent_blocks(params)["Lambda"])
    for one in np.concatenate([re + 1j * im, re - 1j * im]):
        assert np.abs(found - one).min() < 1e-14


def test_normalised_units_have_the_variance_of_their_input():
    cell, rng = ring(r_min=0.9, r_max=0.99), np.random.default_rng(2)
    trace = forward(cell, cell.init(rng), rng.standard_normal((3000, 40, 2)))
    kept = trace.h[1000:, :, cell.readout_slice]
    assert np.mean(kept**2) == pytest.approx(1.0, rel=0.15)


def as_elman(trace):
    """The same network with a matrix W: an Elman cell of 2N units with the identity for f_h."""
    cell, params = trace.cell, trace.params
    N, gain = cell.hidden_size, np.tile(cell.input_gain(params), 2)
    same = Elman(cell.input_size, 2 * N, cell.output_size, "identity")
    weights = {
        "W": cell.recurrent_blocks(params)["Lambda"],
        "V": gain[:, None] * params["V"],
        "b_h": params["b_h"],
        "U": np.concatenate([params["U"], np.zeros_like(params["U"])], axis=1),
        "b_y": params["b_y"],
    }
    return forward(same, weights, trace.x, trace.h[0]), gain


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("scheme", [Full(), PerLoss(4)])
def test_a_diagonal_cell_is_a_linear_elman_with_the_block_matrix(normalise, scheme):
    example = case(lambda *sizes, **more: Diagonal(*sizes, normalise=normalise, **more), T=40, N=4)
    ours, params = example.trace, example.trace.params
    theirs, gain = as_elman(ours)
    assert_agree({"h": ours.h, "P": ours.product(40, 3)}, {"h": theirs.h, "P": theirs.product(40, 3)})
    found, expected = backward(ours, example.loss, scheme), backward(theirs, example.loss, scheme)
    dW, dV = expected["W"], expected["V"]
    re, im = ours.cell.eigenvalues(params)
    N, n = 4, np.arange(4)
    d_re, d_im = dW[n, n] + dW[N + n, N + n], dW[N + n, n] - dW[n, N + n]  # of Re and Im lambda
    d_gain = (dV * params["V"]).sum(axis=1).reshape(2, N).sum(axis=0)
    shrink, turn = -np.exp(params["nu"]), np.exp(params["theta"])
    chain = {
        "nu": shrink * (d_re * re + d_im * im) + ours.cell.input_gain_slope(params) * d_gain,
        "theta": turn * (d_im * re - d_re * im),
        "V": gain[:, None] * dV,
        "U": expected["U"][:, :N],
        **{name: expected[name] for name in ("b_h", "b_y", "h_0")},
    }
    assert_agree(found, chain, 1e-12)


def test_a_gradient_through_a_unit_is_its_lambda_to_the_power():
    cell = Diagonal(1, 3, 1, r_min=0.3, r_max=0.99)
    params = cell.init(np.random.default_rng(3))
    trace = forward(cell, params, np.zeros((1000, 1, 1)))
    powers = np.linalg.svd(trace.product(1000, 0)[0], compute_uv=False)
    np.testing.assert_allclose(np.sort(powers), np.sort(np.tile(moduli(cell, params) ** 1000, 2)), rtol=1e-11)


@pytest.mark.parametrize("initializer", [GaussianRadius(0.9), Identity(), Orthogonal(0.5)])
@pytest.mark.parametrize("make", [Diagonal, lambda *sizes: Stacked(*sizes, of="diagonal")])
def test_a_diagonal_cell_refuses_what_asks_for_a_matrix(initializer, make):
    cell = make(1, 3, 1)
    with pytest.raises(ConfigurationError, match=r"has no matrix W to draw; .* set cell\.r_min and cell\.r_max"):
        cell.init(np.random.default_rng(0), initializer)


@pytest.mark.parametrize("given", [{"spectral_radius": 0.9}, {"initializer": "identity"}])
@pytest.mark.parametrize("cell", [{"name": "diagonal"}, {"name": "stacked", "of": "diagonal"}])
def test_and_so_does_its_configuration(given, cell):
    with pytest.raises(ConfigurationError, match="has no matrix W to draw"):
        Configuration.parse({"cell": {**cell, "hidden_size": 4}, **given})


# ------------------------------------------------------------------------------------------- stacked


@every_layer
def test_a_stack_of_one_layer_is_the_cell_to_the_byte(make):
    cell = make(2, 3, 2)
    stack = Stacked(2, 3, 2, layers=1, of=cell)
    assert stack.of == cell
    drawn, alone = (one.init(np.random.default_rng(1), scales=Scales(b=0.3)) for one in (stack, cell))
    assert same_bytes(drawn, {name if name in ("U", "b_y") else f"{name}_1": alone[name] for name in alone})
    rng = np.random.default_rng(2)
    x, h_0, errors = (rng.standard_normal(shape) for shape in ((80, 2, 2), (2, cell.state_size), (80, 2, 2)))
    ours, theirs = forward(stack, drawn, x, h_0), forward(cell, alone, x, h_0)
    for name in ("h", "y_hat", "linearization"):
        assert getattr(ours, name).tobytes() == getattr(theirs, name).tobytes()
    assert ours.product(80, 60).tobytes() == theirs.product(80, 60).tobytes()
    for scheme in (Full(), PerLoss(3)):
        expected = backward(theirs, errors, scheme)
        kept = ("U", "b_y", "h_0")
        expected = {name if name in kept else f"{name}_1": expected[name] for name in expected}
        assert same_bytes(backward(ours, errors, scheme), expected)
    assert stack.lipschitz == cell.lipschitz


@every_layer
def test_a_stack_is_its_layers_one_after_the_other(make):
    """Each layer run alone over the whole of what the one below has done."""
    stack = Stacked(2, 3, 2, layers=3, of=make(2, 3, 2))
    params, x = stack.init(np.random.default_rng(1)), np.random.default_rng(2).standard_normal((70, 2, 2))
    trace = forward(stack, params, x)
    for layer, (cell, state) in enumerate(zip(stack.cells, stack.states, strict=True)):
        own = {**stack.layer_params(params, layer), "U": params["U"], "b_y": params["b_y"]}
        alone = forward(cell, own, x)
        assert_agree({"h": trace.h[:, :, state]}, {"h": alone.h})
        x = alone.h[1:, :, cell.readout_slice]
    assert_agree({"y_hat": trace.y_hat}, {"y_hat": alone.y_hat})


@every_layer
def test_jacobian_of_a_stack_is_block_lower_triangular(make):
    stack = Stacked(2, 3, 2, layers=3, of=make(2, 3, 2))
    params, x = stack.init(np.random.default_rng(1)), np.random.default_rng(2).standard_normal((4, 2, 2))
    trace = forward(stack, params, x)
    J = trace.jacobian(3)
    for layer, (cell, state) in enumerate(zip(stack.cells, stack.states, strict=True)):
        np.testing.assert_array_equal(J[:, state, state.stop :], 0.0)
        slope = trace.linearization[2][..., stack.slope_parts[layer][0]]
        assert J[:, state, state].tobytes() == cell.jacobian(stack.layer_params(params, layer), slope).tobytes()


def test_lower_layers_do_not_depend_on_upper_ones():
    two, three = (Stacked(2, 5, 1, layers=layers, of="gru").init(np.random.default_rng(0)) for layers in (2, 3))
    assert same_bytes(two, {name: three[name] for name in two})
    assert len({three[f"W_{layer}"].tobytes() for layer in (1, 2, 3)}) == 3
    radii = [np.abs(np.linalg.eigvals(three[f"W_{layer}"][10:])).max() for layer in (1, 2, 3)]
    np.testing.assert_allclose(radii, 1.0, rtol=1e-12)  # W_n of each


def test_more_than_nine_layers_keep_their_names_apart():
    stack = Stacked(1, 2, 1, layers=12)
    params = stack.init(np.random.default_rng(0))
    assert set(params) == set(stack.parameter_shapes()) and "W_11" in params
    assert stack.layer_params(params, 0)["W"] is params["W_1"] and stack.layer_params(params, 10)["W"] is params["W_11"]
    errors = np.ones((3, 1, 1))
    assert set(backward(forward(stack, params, np.ones((3, 1, 1))), errors)) == {*params, "h_0"}


def test_a_layer_may_be_given_as_a_cell_of_any_size():
    stack = Stacked(2, 6, 1, of=Leaky(9, 9, 9, alpha=0.5, output_activation="tanh"))
    assert stack == Stacked(2, 6, 1, of=Leaky(2, 6, 1, alpha=0.5))
    assert hash(stack) == hash(Stacked(2, 6, 1, of=Leaky(2, 6, 1, alpha=0.5)))


BAD = [
    (Diagonal, {"r_max": 1.0}, r"r_max=1\.0: must be a number > 0 and < 1"),
    (Diagonal, {"r_max": float("nan")}, r"r_max=nan"),
    (Diagonal, {"r_max": 0.0, "r_min": 0.0}, r"r_max=0\.0"),
    (Diagonal, {"r_min": 0.5, "r_max": 0.4}, r"r_min=0\.5: must be at most r_max=0\.4"),
    (Diagonal, {"r_min": -0.1}, r"r_min=-0\.1"),
    (Diagonal, {"hidden_size": 0}, r"hidden_size=0"),
    (Stacked, {"layers": 0}, r"layers=0: must be an integer >= 1"),
    (Stacked, {"hidden_size": 0}, r"hidden_size=0"),
    (Stacked, {"of": "gruu"}, r"cell\.of='gruu': must be one of .*gru.* Did you mean 'gru'"),
    (Stacked, {"of": "stacked"}, r"cell\.of='stacked': a layer cannot be a stack itself; ask for more cell\.layers"),
    (Stacked, {"output_activation": "sine"}, r"activation='sine'"),
]


@pytest.mark.parametrize(("kind", "given", "message"), BAD, ids=lambda value: str(value)[:40])
def test_bad_fields_are_refused_by_name(kind, given, message):
    with pytest.raises(ConfigurationError, match=message):
        kind(**{"input_size": 1, "hidden_size": 2, "output_size": 1, **given})


# ------------------------------------------------------------------------------------------- configurations


def stacked(of, **more):
    return {"cell": {"name": "stacked", "hidden_size": 4, "of": of, **more}, "sequence_length": 12, "engine": "numpy"}


BAD_LAYERS = [
    ("gruu", r"cell\.of='gruu': must be one of .* Did you mean 'gru'"),
    (3, r"cell\.of=3: must be a mapping of fields, or a name"),
    ({"reset": "after"}, r"cell\.of\.name=None"),
    ({"name": "gru", "rest": 1}, r"cell\.of\.rest of 'gru': there is no such field.* Did you mean 'reset'"),
    ({"name": "gru", "reset": "befor"}, r"cell\.of\.reset='befor': must be 'after' or 'before'"),
    ({"name": "leaky", "alpha": 2.0}, r"alpha=2\.0"),
    ({"name": "elman", "hidden_size": 5}, r"cell\.of\.hidden_size of 'elman': there is no such field"),
    ("stacked", r"a layer cannot be a stack itself"),
]


@pytest.mark.parametrize(("of", "message"), BAD_LAYERS, ids=lambda value: str(value)[:40])
def test_bad_layers_are_refused_by_name(of, message):
    with pytest.raises(ConfigurationError, match=message):
        Configuration.parse(stacked(of))


def test_what_a_layer_is_can_be_said_in_two_ways_and_is_one_run():
    short, long = (Configuration.parse(stacked(of)) for of in ("leaky", {"name": "leaky", "alpha": 0.1}))
    assert short.plain == long.plain and short.run_id == long.run_id
    assert short.plain["cell"]["of"] == {"name": "leaky", "alpha": 0.1, "activation": "tanh"}
    again = Configuration.parse(json.loads(json.dumps(short.plain)))
    assert again.plain == short.plain and again.cell == short.cell
    whole = Configuration.parse(stacked({"name": "lstm", "forget_bias": 0}))
    assert whole.run_id == Configuration.parse(stacked({"name": "lstm", "forget_bias": 0.0})).run_id
    assert short.network_id != Configuration.parse(stacked({"name": "leaky", "alpha": 0.2})).network_id


SHIPPED = {cell.name for make in LAYERS.values() for cell in [make(1, 2, 1)] if "bpttlab" in type(cell).__module__}


@pytest.mark.parametrize("of", sorted(SHIPPED))
def test_every_layer_is_measured_and_documented(of):
    records = lab.run(stacked(of))
    assert records.run["status"] == "done" and records.run["cell_of"] == of
    declared = {column.name: column.dtype for column in schema.CONFIGURATION}
    types = {"int64": int, "float64": float, "string": str, "bool": bool}
    for name, value in schema.flatten(Configuration.parse(stacked(of)).plain).items():
        assert value is None or type(value) is types[declared[name]], name
    assert np.isfinite(records.run["growth_rate"]) and set(records.lag_terms["parameter"]) >= {"V_1", "V_2"}


def test_diagonal_cell_has_the_rate_of_its_radius():
    cell = {"name": "diagonal", "hidden_size": 8, "r_min": 0.9, "r_max": 0.9}
    run = lab.run({"cell": cell, "sequence_length": 40, "engine": "numpy"}).run
    assert run["status"] == "done" and run["rho"] == pytest.approx(0.9)
    assert (run["initializer"], run["spectral_radius"], run["initializer_requested"]) == ("none", None, None)
    for rate in ("growth_rate", "asymptote_rate", "bound_rate"):
        assert run[rate] == pytest.approx(np.log(0.9), rel=1e-10)


# ------------------------------------------------------------------------------------------- PyTorch


def from_torch(module, readout, stack):
    """Our parameters: V and W as they are, biases summed but for the candidate of a GRU."""
    tensors = {name: value.detach().numpy() for name, value in module.named_parameters()}
    params, N = {"U": readout.weight.detach().numpy(), "b_y": readout.bias.detach().numpy()}, stack.hidden_size
    for layer in range(stack.layers):
        b_ih, b_hh = tensors[f"bias_ih_l{layer}"], tensors[f"bias_hh_l{layer}"]
        own = {"V": tensors[f"weight_ih_l{layer}"], "W": tensors[f"weight_hh_l{layer}"], "b_h": b_ih + b_hh}
        if isinstance(stack.of, GRU):
            own |= {"b_h": np.concatenate([(b_ih + b_hh)[: 2 * N], b_ih[2 * N :]]), "b_n": b_hh[2 * N :]}
        params |= {f"{name}_{layer + 1}": value for name, value in own.items()}
    return params


@pytest.mark.parametrize("layers", [2, 3])
@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
def test_a_stack_is_that_of_pytorch(name, layers):
    torch = pytest.importorskip("torch")
    torch.manual_seed(3)
    T, B, N, I, O = 12, 3, 4, 2, 3
    of = {"RNN": Elman(1, 1, 1), "GRU": GRU(1, 1, 1), "LSTM": LSTM(1, 1, 1)}[name]
    stack = Stacked(I, N, O, layers=layers, of=of)
    module = getattr(torch.nn, name)(I, N, num_layers=layers).double()
    readout = torch.nn.Linear(N, O).double()
    x, h_0, errors = (
        torch.randn(*shape, dtype=torch.float64) for shape in ((T, B, I), (B, stack.state_size), (T, B, O))
    )
    h_0.requires_grad_()
    parts = h_0.reshape(B, layers, -1, N).permute(2, 1, 0, 3).contiguous()  # h, then c: (L, B, N) each
    h, last = module(x, tuple(parts) if len(parts) > 1 else parts[0])
    y_hat = readout(h)
    final = torch.stack(last) if isinstance(last, tuple) else last[None]
    final = final.permute(2, 1, 0, 3).reshape(B, -1)

    trace = forward(stack, from_torch(module, readout, stack), x.numpy(), h_0.detach().numpy())
    ours = {"h": trace.h[1:, :, stack.readout_slice], "last": trace.h[-1], "y_hat": trace.y_hat}
    assert_agree(ours, {key: value.detach().numpy() for key, value in (("h", h), ("last", final), ("y_hat", y_hat))})
    rows = [torch.autograd.grad(final[:, n].sum(), h_0, retain_graph=True)[0] for n in range(stack.state_size)]
    assert_agree({"P": trace.product(T, 0)}, {"P": torch.stack(rows, dim=1).numpy()})

    (y_hat * errors).sum().backward()
    gradient = {key: parameter.grad.numpy() for key, parameter in module.named_parameters()}
    expected = {"U": readout.weight.grad.numpy(), "b_y": readout.bias.grad.numpy(), "h_0": h_0.grad.numpy()}
    for layer in range(layers):
        expected |= {
            f"V_{layer + 1}": gradient[f"weight_ih_l{layer}"],
            f"W_{layer + 1}": gradient[f"weight_hh_l{layer}"],
            f"b_h_{layer + 1}": gradient[f"bias_ih_l{layer}"],
        }
        if name == "GRU":
            expected[f"b_n_{layer + 1}"] = gradient[f"bias_hh_l{layer}"][2 * N :]
    found = backward(trace, errors.numpy())
    assert set(found) == set(expected)
    assert_agree(found, expected)
