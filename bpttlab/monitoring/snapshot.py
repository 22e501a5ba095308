"""The network of a training loop as a cell and its weights at this moment.

Weights are copied where another library owns them, so that a measurement never touches the module that is trained.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np

from bpttlab.errors import ConfigurationError
from bpttlab.monitoring.probe import copy_array
from bpttlab.networks.cells import Cell, Stacked
from bpttlab.networks.cells.cell import Params
from bpttlab.networks.pretrained import Network, make_layer
from bpttlab.networks.pytorch_weights import Tensor, as_layers, recurrence
from bpttlab.numerics.array import Array

SUPPORTED = "nn.RNN, nn.GRU, nn.LSTM, their cells, or a pair (cell, params)"


def take_snapshot(network: Any, readout: Any = None, units: bool = False) -> Network:
    """The cell and its weights, in float64.

    Args:
        network: a recurrent module of PyTorch, or a pair (cell, params).
        readout: the linear layer on h_t: a module with `weight` and `bias`, or a pair (U, b_y). None: that of the
            pair; a module has none, and its prediction is h_t itself.
        units: the prediction is h_t itself, whatever readout there is.

    Raises:
        ConfigurationError: it is no network that can be measured.
        NonFiniteError: a weight is NaN or infinite.
    """
    if isinstance(network, tuple) and len(network) == 2 and isinstance(network[0], Cell):
        found = Network(network[0], {name: np.asarray(value) for name, value in network[1].items()})
    elif is_of_torch(network, "RNNBase", "RNNCellBase"):
        found = network_of_module(network)
    else:
        raise ConfigurationError(f"network: {describe_given(network)} is not supported: must be {SUPPORTED}")
    if units:
        return with_units(found)
    return found if readout is None else replace_readout(found, *readout_arrays(readout))


def is_of_torch(network: Any, *names: str) -> bool:
    """Whether it is a module of one of these classes of `torch.nn.modules.rnn`; PyTorch is not imported for it."""
    modules = sys.modules.get("torch.nn.modules.rnn")
    return modules is not None and isinstance(network, tuple(getattr(modules, name) for name in names))


def describe_given(network: Any) -> str:
    """What was given, in words."""
    kind = type(network)
    return f"a {kind.__module__}.{kind.__qualname__}".replace("builtins.", "")


# ------------------------------------------------------------------ modules of PyTorch


def network_of_module(module: Any) -> Network:
    """An nn.RNN, nn.GRU or nn.LSTM, or one of their cells."""
    tensors = {name: Tensor(name, tuple(values.shape), reader_of(values)) for name, values in module.named_parameters()}
    of, sizes, params = recurrence(as_layers(tensors), "")
    return with_units(Network(cell_of_kind(of, params, getattr(module, "nonlinearity", "tanh"), **sizes), params))


def reader_of(values: Any) -> Any:
    """A function that copies a tensor's numbers."""
    return lambda: values.detach().cpu().double().numpy().copy()


def cell_of_kind(of: str, params: Params, activation: str, layers: int, input_size: int, hidden_size: int) -> Cell:
    """The cell of that name, with predictions that are h_t itself."""
    sizes: dict[str, Any] = {"input_size": input_size, "hidden_size": hidden_size, "output_size": hidden_size}
    layer = make_layer(of, params, sizes, activation)
    return layer if layers == 1 else Stacked(**sizes, layers=layers, of=layer)


# ------------------------------------------------------------------ readouts


def with_units(network: Network) -> Network:
    """The network with U = I and b_y = 0: its predictions are h_t."""
    size = network.cell.hidden_size
    return replace_readout(network, np.eye(size), np.zeros(size), output_activation="identity")


def replace_readout(network: Network, U: Array, b_y: Array, **fields: Any) -> Network:
    """The network with another readout."""
    size = network.cell.hidden_size
    if U.ndim != 2 or U.shape[1] != size or b_y.shape != U.shape[:1]:
        raise ConfigurationError(
            f"readout: has a weight {U.shape} and a bias {b_y.shape}; must be (O, {size}) and (O,)"
        )
    cell: Any = network.cell
    return Network(replace(cell, output_size=len(U), **fields), {**network.params, "U": U, "b_y": b_y})


def readout_arrays(readout: Any) -> tuple[Array, Array]:
    """Weight and bias of a linear layer, float64."""
    if isinstance(readout, tuple) and len(readout) == 2:
        return copy_array("readout", readout[0]), copy_array("readout", readout[1])
    if not hasattr(readout, "weight"):
        raise ConfigurationError(
            f"readout: {describe_given(readout)} is not supported: must be a linear layer with a weight and a bias, or "
            "a pair (U, b_y)"
        )
    U, bias = copy_array("readout", readout.weight), getattr(readout, "bias", None)
    return U, np.zeros(len(U)) if bias is None else copy_array("readout", bias)


# ------------------------------------------------------------------ what the loop's own loss left


def log_norm_of_loop(network: Any) -> float | None:
    """log norm of all gradients in `.grad` of a module's parameters together; None: there are none."""
    if isinstance(network, tuple) or not hasattr(network, "parameters"):
        return None
    gradients = [one.grad.detach().double() for one in network.parameters() if getattr(one, "grad", None) is not None]
    if not gradients:
        return None
    largest = max(float(one.abs().max()) if one.numel() else 0.0 for one in gradients)
    if not np.isfinite(largest) or largest == 0.0:
        return -np.inf if largest == 0.0 else None
    squares = sum(float(((one / largest) ** 2).sum()) for one in gradients)
    return float(np.log(largest) + 0.5 * np.log(squares))
