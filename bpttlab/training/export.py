"""Weights of a trained network as PyTorch has them: of an nn.RNN, nn.GRU or nn.LSTM, with a linear layer upon it.

The names are those that `cell=from_file` and `lab.from_file` read, so that a network that was trained here can be
measured in any other sweep.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bpttlab.errors import ConfigurationError
from bpttlab.fields import format_value
from bpttlab.files import publish
from bpttlab.networks.cells import GRU, LSTM, Elman
from bpttlab.networks.cells.cell import Cell, Params
from bpttlab.numerics.array import Array
from bpttlab.training.checkpoints import pack_arrays

ACTIVATIONS_OF_PYTORCH = ("tanh", "relu")


def name_as_pytorch(cell: Cell, params: Params) -> dict[str, Array]:
    """The tensors of `module.state_dict()`: rnn.weight_ih_l0, …, readout.weight and readout.bias.

        rnn.load_state_dict({name.removeprefix("rnn."): torch.tensor(value) for name, value in … if "rnn." in name})

    All biases of the recurrence are in bias_ih_l0, except the b_n of a GRU's candidate, which is in bias_hh_l0.

    Raises:
        ConfigurationError: PyTorch has no such module.
    """
    check_has_module(cell)
    b_hh = np.zeros_like(params["b_h"])
    if isinstance(cell, GRU):
        b_hh[2 * cell.hidden_size :] = params["b_n"]
    recurrent = {"weight_ih_l0": params["V"], "weight_hh_l0": params["W"], "bias_ih_l0": params["b_h"]}
    named = {f"rnn.{name}": value for name, value in {**recurrent, "bias_hh_l0": b_hh}.items()}
    return {name: np.array(value) for name, value in named.items()} | {
        "readout.weight": np.array(params["U"]),
        "readout.bias": np.array(params["b_y"]),
    }


def check_has_module(cell: Cell) -> None:
    """Refuses a cell that is none of PyTorch's."""
    elman = isinstance(cell, Elman) and cell.activation in ACTIVATIONS_OF_PYTORCH
    if elman or isinstance(cell, LSTM) or (isinstance(cell, GRU) and cell.reset == "after"):
        return
    raise ConfigurationError(
        f"cell '{cell.name}': PyTorch has no such module; must be elman (tanh, relu), gru (reset=after) or lstm"
    )


def save_weights(path: str | Path, cell: Cell, params: Params) -> Path:
    """Writes a network as a .npz archive that `cell=from_file cell.path=…` and `lab.from_file` read.

    Raises:
        ConfigurationError: PyTorch has no such module, or the file is no .npz.
        StoreError: it cannot be written.
    """
    if Path(path).suffix != ".npz":
        raise ConfigurationError(f"path={format_value(str(path))}: must end in .npz")
    return publish(Path(path), pack_arrays(name_as_pytorch(cell, params)))
