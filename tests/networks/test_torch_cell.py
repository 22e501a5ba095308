"""Cells of a person's own file that PyTorch or JAX computes: drawn by the seed, with fields. Needs `torch`."""

import pickle
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import bpttlab as lab
from bpttlab.errors import ConfigurationError
from bpttlab.networks.cells import LSTM, Elman
from bpttlab.sweeps.run import build_network
from bpttlab.verification.gradient_check import assert_agree

torch = pytest.importorskip("torch")
nn = torch.nn


@dataclass(frozen=True)
class Torch(lab.TorchCell):
    name: ClassVar[str] = "torch_lstm"

    def build(self):
        return nn.LSTMCell(self.input_size, self.hidden_size)


@dataclass(frozen=True)
class Head(lab.TorchCell):
    """With a readout of its own."""

    name: ClassVar[str] = "torch_head"
    outputs: int | None = None

    def build(self):
        outputs = self.output_size if self.outputs is None else self.outputs
        parts = {"cell": nn.RNNCell(self.input_size, self.hidden_size), "head": nn.Linear(self.hidden_size, outputs)}
        return nn.ModuleDict(parts)

    def next_state(self, module, x_t, state):
        return module["cell"](x_t, state)

    def predict(self, module, state):
        return module["head"](state)


@pytest.fixture(autouse=True)
def known():
    with lab.plugins.use([Torch, Head]):
        yield


def test_the_seed_draws_the_weights_as_pytorch_does():
    one, same, other = (Torch(2, 4, 1).init(seed) for seed in (0, 0, 1))
    assert all(np.array_equal(one[name], same[name]) for name in one)
    assert not np.array_equal(one["weight_hh"], other["weight_hh"])
    assert set(one) == {"weight_ih", "weight_hh", "bias_ih", "bias_hh", "U", "b_y"}
    assert np.abs(one["weight_hh"]).max() <= 0.5 and one["U"].shape == (1, 4)  # U(-1/sqrt(N), 1/sqrt(N))


def test_a_run_is_that_of_our_own_cell_with_these_weights():
    configuration = lab.Configuration.parse(
        {"cell": {"name": "torch_lstm", "hidden_size": 4}, "sequence_length": 5, "measure": "minimal"}
    )
    cell, params = build_network(configuration)
    own = LSTM(cell.input_size, 4, 1, forget_bias=0.0)
    biases = params["bias_ih"] + params["bias_hh"]
    weights = {
        "V": params["weight_ih"],
        "W": params["weight_hh"],
        "b_h": biases,
        "U": params["U"],
        "b_y": params["b_y"],
    }
    x = np.random.default_rng(0).standard_normal((6, 2, cell.input_size))
    theirs, ours = lab.forward(cell, params, x), lab.forward(own, weights, x)
    errors = np.ones_like(ours.y_hat)
    assert_agree(
        {new: lab.backward(theirs, errors)[old] for old, new in (("weight_hh", "W"), ("U", "U"), ("h_0", "h_0"))},
        {name: lab.backward(ours, errors)[name] for name in ("W", "U", "h_0")},
    )
    found = lab.run(configuration)
    assert found.run["status"] == "done"


def test_a_readout_of_ones_own_is_drawn_with_the_module():
    configuration = lab.Configuration.parse(
        {"cell": {"name": "torch_head", "hidden_size": 3}, "sequence_length": 5, "measure": "minimal"}
    )
    _, params = build_network(configuration)
    assert set(params) == {
        *(f"cell.{name}" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")),
        "head.weight",
        "head.bias",
    }
    assert lab.run(configuration).run["status"] == "done"


def test_cells_with_equal_fields_are_equal_and_can_be_pickled():
    cell = Torch(2, 3, 1)
    assert cell == Torch(2, 3, 1) != Torch(2, 4, 1) and hash(cell) == hash(Torch(2, 3, 1))
    copied = pickle.loads(pickle.dumps(cell))
    x = np.ones((2, 1, 2))
    assert copied == cell
    assert np.array_equal(lab.forward(copied, cell.init(0), x).h, lab.forward(cell, cell.init(0), x).h)


def test_layers_of_a_stack_may_be_modules():
    stack = lab.Stacked(2, 3, 1, layers=2, of=Torch(2, 3, 1))
    params = stack.init(0)
    own = lab.Stacked(2, 3, 1, layers=2, of=LSTM(2, 3, 1))
    weights = {"U": params["U"], "b_y": params["b_y"]}
    for layer in (1, 2):
        weights |= {f"V_{layer}": params[f"weight_ih_{layer}"], f"W_{layer}": params[f"weight_hh_{layer}"]}
        weights[f"b_h_{layer}"] = params[f"bias_ih_{layer}"] + params[f"bias_hh_{layer}"]
    x = np.random.default_rng(0).standard_normal((5, 2, 2))
    theirs, ours = lab.forward(stack, params, x), lab.forward(own, weights, x)
    errors = np.ones_like(ours.y_hat)
    found, expected = lab.backward(theirs, errors), lab.backward(ours, errors)
    assert_agree(
        {f"W_{layer}": found[f"weight_hh_{layer}"] for layer in (1, 2)}, {n: expected[n] for n in ("W_1", "W_2")}
    )
    np.testing.assert_allclose(theirs.jacobian(3), ours.jacobian(3), atol=1e-14)


REFUSED = {
    "spectral radius": ({"spectral_radius": 0.9}, "has no matrix W to draw.*its module draws its own weights"),
    "initializer": ({"initializer": "orthogonal"}, "has no matrix W to draw"),
    "scales": ({"scales": {"V": 2.0}}, r"scales\.V=2\.0: would have no effect.* draws its own weights; must be 1\.0"),
    "of a readout": ({"scales": {"U": 2.0}}, r"scales\.U=2\.0: would have no effect"),
    "units": ({"readout": "units"}, "readout=units: the cell 'torch_head' has a readout of its own; must be drawn"),
    "outputs": (
        {"cell": {"name": "torch_head", "hidden_size": 3, "outputs": 3}},
        "predict returns 3 outputs, and the task has 1",
    ),
    "f_y": (
        {"cell": {"name": "torch_head", "hidden_size": 3, "output_activation": "tanh"}},
        "must be identity, for predict",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_settings_without_effect_are_refused_before_a_run(kind):
    more, message = REFUSED[kind]
    with pytest.raises(ConfigurationError, match=message):
        lab.Configuration.parse({"cell": "torch_head", **more})


def named(build, **methods):
    """A cell with this `build`."""
    made = type("Own", (lab.TorchCell,), {"name": "own", "build": build, **methods, "__annotations__": {}})
    return dataclass(frozen=True)(made)


class Buffer(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("W", torch.randn(3, 3))


def test_faults_of_a_module_are_told_with_the_name_of_the_cell():
    with pytest.raises(ConfigurationError, match="cell=own: build: raises ZeroDivisionError"):
        named(lambda self: 1 / 0)(2, 3, 1)
    with pytest.raises(ConfigurationError, match="cell=own: module=nn.LSTM: reads a whole sequence"):
        named(lambda self: nn.LSTM(2, 3))(2, 3, 1)
    with pytest.raises(ConfigurationError, match="cell=own: build: the buffer 'W' is drawn at random.*a parameter"):
        named(lambda self: Buffer())(2, 3, 1)
    with pytest.raises(ConfigurationError, match=r"cell\.hidden_size=3: the state of 'own' has 2 numbers"):
        named(lambda self: nn.GRUCell(2, 2))(2, 3, 1)
    with pytest.raises(ConfigurationError, match="lacks build of the contract Cell"), lab.plugins.use([abstract()]):
        pass


def abstract():
    return dataclass(frozen=True)(type("Own", (lab.TorchCell,), {"name": "own", "__annotations__": {}}))


def test_a_cell_of_jax_is_drawn_from_a_key():
    jax = pytest.importorskip("jax")

    @dataclass(frozen=True)
    class Jax(lab.JaxCell):
        name: ClassVar[str] = "jax_elman"
        gain: float = 1.0

        def build(self, key):
            N, I = self.hidden_size, self.input_size
            W, V = (
                jax.random.normal(one, shape)
                for one, shape in zip(jax.random.split(key), ((N, N), (N, I)), strict=True)
            )
            return {"W": self.gain * W / N**0.5, "V": V}

        def next_state(self, params, x_t, h):
            return jax.numpy.tanh(params["V"] @ x_t + params["W"] @ h)

    cell = Jax(2, 3, 1, gain=0.5)
    one, same, other = (cell.init(seed) for seed in (0, 0, 1))
    assert np.array_equal(one["W"], same["W"]) and not np.array_equal(one["W"], other["W"])
    x = np.random.default_rng(0).standard_normal((4, 2, 2))
    ours = lab.forward(Elman(2, 3, 1), {**one, "b_h": np.zeros(3)}, x)
    np.testing.assert_allclose(lab.forward(cell, one, x).y_hat, ours.y_hat, rtol=1e-13)
    with lab.plugins.use([Jax]):
        assert lab.Configuration.parse({"cell": {"name": "jax_elman", "hidden_size": 3, "gain": 2.0}}).cell.gain == 2.0
