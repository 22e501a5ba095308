"""Modules of PyTorch in a training loop: their weights become those of our cells, and nothing of them changes."""

import copy

import numpy as np
import pytest

from bpttlab import forward, from_torch, jacobian_products
from bpttlab.errors import LabWarning
from tests.support.compiled import needs_numba
from tests.support.monitoring import PROBE, load, make_monitor

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("quick_disk")

MODULES = {
    "rnn": lambda: torch.nn.RNN(2, 4),
    "relu": lambda: torch.nn.RNN(2, 4, nonlinearity="relu"),
    "gru": lambda: torch.nn.GRU(2, 4, num_layers=2),
    "lstm": lambda: torch.nn.LSTM(2, 4, num_layers=2, bias=False),
    "rnn_cell": lambda: torch.nn.RNNCell(2, 4),
    "gru_cell": lambda: torch.nn.GRUCell(2, 4),
    "projected": lambda: torch.nn.LSTM(2, 5, proj_size=4, num_layers=2),
    "lstm_cell": lambda: torch.nn.LSTMCell(2, 4, dtype=torch.float64),
}


def product_of_autograd(module, x):
    """dh_T/dh_0 of the first sequence by autograd, for one layer without cell state."""
    module = copy.deepcopy(module).double()
    h_0 = torch.zeros(1, 4, dtype=torch.float64)

    def last(h):
        for x_t in torch.as_tensor(x[:, :1]):
            h = module(x_t, h) if isinstance(module, torch.nn.RNNCellBase) else module(x_t[None], h[None])[1][0]
        return h

    return torch.autograd.functional.jacobian(last, h_0)[0, :, 0].numpy()


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_measured_and_does_not_change(tmp_path, name):
    torch.manual_seed(0)
    module = MODULES[name]()
    before, stream = copy.deepcopy(module.state_dict()), torch.get_rng_state()
    make_monitor(tmp_path)(7, module)
    assert load(tmp_path).runs[["update", "status"]].to_numpy().tolist() == [[7, "done"]]
    assert all(torch.equal(values, before[key]) for key, values in module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), stream)


@pytest.mark.parametrize("name", ["rnn", "relu", "rnn_cell", "gru_cell"])
def test_its_products_are_those_of_autograd(tmp_path, name):
    torch.manual_seed(1)
    module = MODULES[name]()
    make_monitor(tmp_path)(0, module)
    rows = load(tmp_path).jacobians.query("sequence == 0 and lag == 6")
    norm = np.linalg.norm(product_of_autograd(module, PROBE), 2)
    assert rows["log_spectral_norm"].item() == pytest.approx(np.log(norm), rel=1e-9)


def test_the_loop_gives_its_loss_gradient_and_readout(tmp_path):
    torch.manual_seed(2)
    rnn, readout = torch.nn.GRU(2, 4), torch.nn.Linear(4, 1)
    target = torch.ones(3, 1)
    loss = ((readout(rnn(torch.tensor(PROBE).float())[0][-1]) - target) ** 2).mean()
    loss.backward()
    make_monitor(tmp_path, targets=target)(1, rnn, loss=loss, readout=readout)
    (row,) = load(tmp_path).runs.to_dict("records")
    norm = np.sqrt(sum(float((one.grad**2).sum()) for one in rnn.parameters()))
    assert row["training_loss"] == pytest.approx(float(loss.detach()))
    assert row["loss"] == pytest.approx(float(loss.detach()), rel=1e-5)
    assert row["training_log_gradient_norm"] == pytest.approx(np.log(norm), rel=1e-6)


def test_a_module_whose_weights_are_nan_is_a_failed_row(tmp_path):
    module = torch.nn.GRU(2, 4)
    with torch.no_grad():
        module.weight_hh_l0[0, 0] = torch.nan
    with pytest.warns(LabWarning, match="tensor 'weight_hh_l0' holds nan"):
        make_monitor(tmp_path)(0, module)
    assert load(tmp_path).runs["status"].item() == "failed"


class Normalised(torch.nn.Module):
    """A cell of somebody's own with dropout, in training mode."""

    def __init__(self):
        super().__init__()
        self.hidden_size = 4
        self.V, self.W, self.norm = torch.nn.Linear(2, 4), torch.nn.Linear(4, 4), torch.nn.LayerNorm(4)
        self.dropout = torch.nn.Dropout(0.5)

    def forward(self, x, h):
        return torch.tanh(self.norm(self.V(x) + self.W(self.dropout(h))))


@pytest.mark.parametrize(
    "convert", [None, pytest.param(lambda module: from_torch(module, input_size=2), marks=pytest.mark.slow)]
)
def test_a_module_of_ones_own_is_measured_in_evaluation(tmp_path, convert):
    torch.manual_seed(3)
    module = Normalised()
    make_monitor(tmp_path, convert=convert)(0, module)
    (row,) = load(tmp_path).runs.to_dict("records")
    assert (row["status"], row["cell"], row["cell_module"]) == ("done", "torch", "Normalised")
    assert module.training
    trace = forward(*from_torch(copy.deepcopy(module).eval(), input_size=2), PROBE)
    expected = jacobian_products(trace).query("sequence == 0")["log_spectral_norm"]
    found = load(tmp_path).jacobians.query("sequence == 0")["log_spectral_norm"]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@needs_numba
def test_a_module_of_ones_own_compiles_nothing(tmp_path, monkeypatch):
    compiled = []
    monkeypatch.setattr("bpttlab.gradients.compiled.lanczos.LanczosNorms.logs", lambda *given: compiled.append(1))
    make_monitor(tmp_path, engine="numba")(0, Normalised())
    assert load(tmp_path).runs["status"].item() == "done" and not compiled


def test_a_parametrized_weight_is_that_which_the_module_uses(tmp_path):
    torch.manual_seed(4)
    module = torch.nn.RNN(2, 4)
    torch.nn.utils.parametrizations.spectral_norm(module, "weight_hh_l0")
    before = copy.deepcopy(module.state_dict())
    make_monitor(tmp_path)(0, module)
    assert all(torch.equal(values, before[key]) for key, values in module.state_dict().items())
    sigma = np.linalg.norm(module.weight_hh_l0.detach().numpy(), 2)
    assert load(tmp_path).runs["sigma_max"].item() == pytest.approx(sigma, rel=0.05)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: torch.nn.LSTM(2, 4, bidirectional=True), "network: the module is bidirectional"),
        (lambda: torch.nn.Linear(2, 4), "network: module=Linear is no step (x_t, state) -> state as it is (st"),
        (lambda: torch.nn.Transformer(8, 2, 1, 1, 8), "module=nn.Transformer: reads a whole sequence"),
    ],
)
@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_modules_that_are_no_step_are_failed_rows(tmp_path, make, reason):
    with pytest.warns(LabWarning):
        make_monitor(tmp_path)(0, make())
    assert load(tmp_path).runs["error"].item().startswith(reason)


def test_a_tensor_is_a_probe(tmp_path):
    monitor = make_monitor(tmp_path, probe=torch.tensor(PROBE).float().requires_grad_())
    np.testing.assert_allclose(monitor.training.probe.batch.x, PROBE, rtol=1e-6)
