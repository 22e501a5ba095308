"""Trained weights as PyTorch has them: read back by bpttlab, and by PyTorch itself."""

import numpy as np
import pytest

import bpttlab as lab
from bpttlab.errors import ConfigurationError
from bpttlab.training import name_as_pytorch, save_weights

CELLS = [lab.Elman(2, 5, 1), lab.Elman(2, 5, 1, activation="relu"), lab.GRU(2, 5, 1), lab.LSTM(2, 5, 1)]
TASK = lab.tasks.Adding(sequence_length=6)


def trained(cell):
    return lab.train(cell, cell.init(0), TASK, updates=3, learning_rate=0.1, engine="numpy", progress=False).params


@pytest.mark.parametrize("cell", CELLS, ids=repr)
def test_a_file_is_read_back_to_the_last_bit(cell, tmp_path):
    params = trained(cell)
    path = save_weights(tmp_path / "net.npz", cell, params)
    found = lab.from_file(path, **({"activation": cell.activation} if cell.name == "elman" else {}))
    assert found.cell.name == cell.name
    for name, value in params.items():
        np.testing.assert_array_equal(found.params[name], value)


@pytest.mark.parametrize("cell", CELLS, ids=repr)
def test_pytorch_computes_the_same(cell):
    torch = pytest.importorskip("torch")
    params, x = trained(cell), TASK.sample(1, 3).x
    module = {"elman": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}[cell.name]
    given = {"nonlinearity": cell.activation} if cell.name == "elman" else {}
    rnn, readout = module(2, 5, **given).double(), torch.nn.Linear(5, 1).double()
    tensors = {name: torch.tensor(value) for name, value in name_as_pytorch(cell, params).items()}
    for part, of in (("rnn.", rnn), ("readout.", readout)):
        of.load_state_dict({name.removeprefix(part): one for name, one in tensors.items() if name.startswith(part)})
    y_hat = readout(rnn(torch.tensor(x))[0]).detach().numpy()
    np.testing.assert_allclose(lab.forward(cell, params, x).y_hat, y_hat, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("cell", [lab.Leaky(2, 3, 1), lab.GRU(2, 3, 1, reset="before"), lab.Elman(2, 3, 1, "softplus")])
def test_a_cell_that_pytorch_does_not_have_is_refused(cell):
    with pytest.raises(ConfigurationError, match="PyTorch has no such module"):
        name_as_pytorch(cell, cell.init(0))


def test_another_kind_of_file_is_refused(tmp_path):
    cell = lab.Elman(2, 3, 1)
    with pytest.raises(ConfigurationError, match=r"must end in \.npz"):
        save_weights(tmp_path / "net.pt", cell, cell.init(0))
