"""Keras' SimpleRNN, GRU and LSTM as cells, by what they say of themselves: Keras is not imported."""

from __future__ import annotations

from typing import Any

import numpy as np

from bpttlab.errors import ConfigurationError
from bpttlab.networks.pretrained import Network, make_layer
from bpttlab.networks.pytorch_weights import as_layers, recurrence
from bpttlab.networks.tensor_files import Tensor, Tensors
from bpttlab.networks.tensor_layouts import translate
from bpttlab.numerics.array import Array

KERAS_CELLS = {"SimpleRNNCell": ("tanh", "relu"), "GRUCell": ("tanh",), "LSTMCell": ("tanh",)}
"""Classes of cells and the activations that our cells have."""


def is_of_keras(network: Any) -> bool:
    """Whether it is a layer of Keras."""
    return type(network).__module__.partition(".")[0] == "keras" and hasattr(network, "get_weights")


def network_of_layer(layer: Any) -> Network:
    """A layer SimpleRNN, GRU or LSTM, or its cell, without a readout.

    Raises:
        ConfigurationError: it is another layer, or has other activations than our cells.
    """
    cell = getattr(layer, "cell", layer)
    kind = type(cell).__name__
    if kind not in KERAS_CELLS:
        raise ConfigurationError(
            f"network: a layer {type(layer).__name__} of Keras is not supported: must be SimpleRNN, GRU or LSTM"
        )
    activation = check_activations(cell, kind)
    translated = translate(tensors_of_cell(layer, cell))
    of, sizes, params = recurrence(as_layers(translated.tensors), "")
    reset = translated.layouts[""].reset
    if reset == "before":
        del params["b_n"]
    common = {"input_size": sizes["input_size"], "hidden_size": sizes["hidden_size"], "output_size": 0}
    return Network(make_layer(of, params, common, activation, reset), params)


def check_activations(cell: Any, kind: str) -> str:
    """The activation of h."""
    names = {
        name: getattr(getattr(cell, name, None), "__name__", "") for name in ("activation", "recurrent_activation")
    }
    if names["activation"] not in KERAS_CELLS[kind]:
        allowed = " or ".join(KERAS_CELLS[kind])
        raise ConfigurationError(f"network: activation={names['activation']} of a {kind} of Keras: must be {allowed}")
    if kind != "SimpleRNNCell" and names["recurrent_activation"] != "sigmoid":
        raise ConfigurationError(
            f"network: recurrent_activation={names['recurrent_activation']} of a {kind} of Keras: must be sigmoid"
        )
    return names["activation"]


def tensors_of_cell(layer: Any, cell: Any) -> Tensors:
    """The weights under their names; of a GRU without biases zeros, whose shape says where its reset gate is."""
    found = dict(zip(("kernel", "recurrent_kernel", "bias"), layer.get_weights(), strict=False))
    if not found:
        raise ConfigurationError("network: the layer of Keras has no weights yet: build the model first")
    if "bias" not in found and type(cell).__name__ == "GRUCell":
        size = found["kernel"].shape[1]
        found["bias"] = np.zeros((2, size) if cell.reset_after else size)
    return {name: Tensor(name, tuple(array.shape), reader(array)) for name, array in found.items()}


def reader(array: Array) -> Any:
    """A function that gives the numbers."""
    return lambda: np.asarray(array, np.float64)
