"""Exported modules of PyTorch: outputs and every gradient, mapped back to its tensors. Needs the extra `torch`."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpttlab.errors import ConfigurationError
from bpttlab.gradients.backward import backward
from bpttlab.gradients.forward import forward
from bpttlab.monitoring.snapshot import network_of_module
from bpttlab.networks.pretrained import from_file
from bpttlab.verification.gradient_check import assert_agree

torch = pytest.importorskip("torch")
safetensors_torch = pytest.importorskip("safetensors.torch")

MODULES = {
    "tanh": lambda *sizes, **more: torch.nn.RNN(*sizes, nonlinearity="tanh", **more),
    "relu": lambda *sizes, **more: torch.nn.RNN(*sizes, nonlinearity="relu", **more),
    "gru": torch.nn.GRU,
    "lstm": torch.nn.LSTM,
}


class Model(torch.nn.Module):
    def __init__(self, kind, I, N, O, layers, bias):
        super().__init__()
        self.rnn = MODULES[kind](I, N, num_layers=layers, bias=bias)
        self.head = torch.nn.Linear(N, O, bias=bias)

    def forward(self, x):
        return self.head(self.rnn(x)[0])


def gradients_of_pytorch(model, errors, x):
    (model(torch.tensor(x)) * torch.tensor(errors)).sum().backward()
    return {name: parameter.grad.numpy() for name, parameter in model.named_parameters()}


def mapped_back(gradient, kind, N, layers, bias):
    """Our gradients under PyTorch's names: of a sum of two biases, the gradient of each."""
    theirs = {"head.weight": gradient["U"], **({"head.bias": gradient["b_y"]} if bias else {})}
    for layer in range(layers):
        end = f"_{layer + 1}" if layers > 1 else ""
        own = {"weight_ih": gradient[f"V{end}"], "weight_hh": gradient[f"W{end}"]}
        if bias:
            b_ih = b_hh = gradient[f"b_h{end}"]
            if kind == "gru":
                b_hh = np.concatenate([b_ih[: 2 * N], gradient[f"b_n{end}"]])
            own |= {"bias_ih": b_ih, "bias_hh": b_hh}
        theirs |= {f"rnn.{name}_l{layer}": values for name, values in own.items()}
    return theirs


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("exported") / "model.safetensors"


@pytest.mark.parametrize("kind", sorted(MODULES))
@given(data=st.data())
def test_outputs_and_gradients_are_those_of_pytorch(path, kind, data):
    T, B, I, N, O, layers = (
        data.draw(st.integers(1, most), name) for name, most in zip("TBINOL", (9, 3, 4, 5, 3, 3), strict=True)
    )
    bias = data.draw(st.booleans(), "bias")
    torch.manual_seed(data.draw(st.integers(0, 2**16), "seed"))
    model = Model(kind, I, N, O, layers, bias).double()
    safetensors_torch.save_file(model.state_dict(), path)
    activation = kind if kind in ("tanh", "relu") else None
    prefixes = {} if bias or I != N else {"readout_prefix": "head"}  # else it could be an embedding
    cell, params = from_file(path, activation, **prefixes)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**16), "data"))
    x, errors = rng.standard_normal((T, B, I)), rng.standard_normal((T, B, O))
    trace = forward(cell, params, x)
    assert_agree({"y_hat": trace.y_hat}, {"y_hat": model(torch.tensor(x)).detach().numpy()})
    ours = mapped_back(backward(trace, errors), kind, N, layers, bias)
    expected = gradients_of_pytorch(model, errors, x)
    assert ours.keys() == expected.keys()
    assert_agree(ours, expected)


CELLS = {"tanh": torch.nn.RNNCell, "gru": torch.nn.GRUCell, "lstm": torch.nn.LSTMCell}


@pytest.mark.parametrize("kind", sorted(CELLS))
@pytest.mark.parametrize("bias", [True, False])
def test_cells_of_one_step_are_networks_of_one_layer(path, kind, bias):
    torch.manual_seed(0)
    model = torch.nn.ModuleDict({"cell": CELLS[kind](3, 4, bias=bias), "head": torch.nn.Linear(4, 2)}).double()
    safetensors_torch.save_file(model.state_dict(), path)
    x = np.random.default_rng(0).standard_normal((5, 2, 3))
    state, expected = None, []
    for x_t in torch.tensor(x):
        state = model["cell"](x_t, state)
        expected.append(model["head"](state[0] if kind == "lstm" else state).detach().numpy())
    cell, params = from_file(path, "tanh" if kind == "tanh" else None)
    assert_agree({"y_hat": forward(cell, params, x).y_hat}, {"y_hat": np.array(expected)})


@pytest.mark.parametrize("kind", sorted(MODULES))
def test_directions_are_those_of_pytorch(path, kind):
    torch.manual_seed(0)
    model = torch.nn.ModuleDict({"rnn": MODULES[kind](3, 4, bidirectional=True), "head": torch.nn.Linear(8, 2)})
    safetensors_torch.save_file(model.double().state_dict(), path)
    x = np.random.default_rng(0).standard_normal((6, 2, 3))
    expected = model["rnn"](torch.tensor(x))[0].detach().numpy()
    for direction, order, half in (("forward", 1, slice(0, 4)), ("backward", -1, slice(4, 8))):
        cell, params = from_file(path, kind if kind in ("tanh", "relu") else None, direction=direction)
        outputs = forward(cell, params, x[::order]).outputs[::order]
        assert_agree({"h": outputs}, {"h": expected[..., half]})


@pytest.mark.parametrize("layers", [1, 2])
def test_a_projected_lstm_is_that_of_pytorch(path, layers):
    torch.manual_seed(0)
    rnn = torch.nn.LSTM(3, 5, proj_size=2, num_layers=layers)
    model = torch.nn.ModuleDict({"rnn": rnn, "head": torch.nn.Linear(2, 2)}).double()
    safetensors_torch.save_file(model.state_dict(), path)
    rng = np.random.default_rng(0)
    x, errors = rng.standard_normal((6, 2, 3)), rng.standard_normal((6, 2, 2))
    cell, params = from_file(path)
    trace = forward(cell, params, x)
    y_hat = model["head"](model["rnn"](torch.tensor(x))[0])
    assert_agree({"y_hat": trace.y_hat}, {"y_hat": y_hat.detach().numpy()})
    (y_hat * torch.tensor(errors)).sum().backward()
    expected = {name.removeprefix("rnn."): one.grad.numpy() for name, one in model.named_parameters()}
    found, names = backward(trace, errors), {"weight_ih": "V", "weight_hh": "W", "weight_hr": "W_r", "bias_ih": "b_h"}
    for layer in range(layers):
        end = f"_{layer + 1}" if layers > 1 else ""
        theirs = {ours: expected[f"{name}_l{layer}"] for name, ours in names.items()}
        assert_agree({ours: found[f"{ours}{end}"] for ours in theirs}, theirs)
    assert_agree({"U": found["U"]}, {"U": expected["head.weight"]})


def test_a_monitor_knows_a_projected_lstm_and_no_two_directions():
    cell, params = network_of_module(torch.nn.LSTM(3, 5, proj_size=2).double())
    assert (cell.name, cell.memory_size, params["W_r"].shape) == ("projected_lstm", 5, (2, 5))
    with pytest.raises(ConfigurationError, match="the module is bidirectional"):
        network_of_module(torch.nn.LSTM(3, 5, bidirectional=True).double())
