"""The network of a training loop as a cell and its weights at this moment.

Weights are copied where another library owns them, so that a measurement never touches the module that is trained.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from bpttlab.errors import ConfigurationError
from bpttlab.monitoring.callbacks import MissingPart
from bpttlab.monitoring.keras_layers import is_of_keras, network_of_layer
from bpttlab.monitoring.probe import copy_array
from bpttlab.networks.adapters.from_torch import from_torch
from bpttlab.networks.adapters.trials import attempt
from bpttlab.networks.cells import Cell, Stacked
from bpttlab.networks.cells.cell import Params
from bpttlab.networks.pretrained import Network, make_layer
from bpttlab.networks.pytorch_weights import Tensor, as_layers, recurrence
from bpttlab.numerics.array import Array

Convert = Callable[[Any], Any]
"""(network) -> (cell, params)."""

SUPPORTED = "a module of PyTorch, or a pair (cell, params); convert= makes such a pair of anything else"


def take_snapshot(
    network: Any, input_size: int, readout: Any = None, units: bool = False, convert: Convert | None = None
) -> Network:
    """The cell and its weights, in float64.

    Args:
        network: a recurrent module of PyTorch, or a pair (cell, params).
        input_size: I of the probe, for a module that does not say it.
        readout: the linear layer on h_t: a module with `weight` and `bias`, or a pair (U, b_y). None: that of the
            network; nn.RNN and the like have none, and their prediction is h_t itself.
        units: the prediction is h_t itself, whatever linear readout there is.
        convert: makes a pair of the network, for example by `lab.from_torch` with a step of one's own.

    Raises:
        ConfigurationError: it is no network that can be measured.
        NonFiniteError: a weight is NaN or infinite.
    """
    own = find_pair(network, input_size) if convert is None else attempt_convert(convert, network)
    found = check_pair("network" if convert is None else "convert", own)
    if units:
        return with_units(found)
    return found if readout is None else replace_readout(found, *readout_arrays(readout))


def attempt_convert(convert: Convert, network: Any) -> Any:
    """What `convert` returns; what it raises is said to be of it."""
    given = in_evaluation(network)
    return attempt("convert", lambda: convert(given))


def find_pair(network: Any, input_size: int) -> Network:
    """The network as a cell and its weights."""
    if isinstance(network, tuple):
        return check_pair("network", network)
    if is_of_keras(network):  # first: with PyTorch as its backend it is a module of PyTorch, too
        return with_units(network_of_layer(network))
    if is_of_torch(network, "nn.modules.rnn", "RNNBase", "RNNCellBase") and computes_as_named(network):
        return network_of_module(in_evaluation(network) if hasattr(network, "parametrizations") else network)
    if is_of_torch(network, "nn", "Module"):
        return network_of_step(network, input_size)
    if isinstance(network, MissingPart):
        raise ConfigurationError(f"network: the function that takes it from the model raises {network.reason}")
    raise ConfigurationError(f"network: {describe_given(network)} is not supported: must be {SUPPORTED}")


def network_of_step(module: Any, input_size: int) -> Network:
    """A module that computes one step, by `lab.from_torch` without a step or a state of the person's own."""
    try:
        return from_torch(in_evaluation(module), input_size=getattr(module, "input_size", input_size))
    except ConfigurationError as error:
        if not str(error).startswith(NOT_AS_CALLED):
            raise
        raise ConfigurationError(
            f"network: module={type(module).__name__} is no step (x_t, state) -> state as it is ({error}); where it "
            "has one, name it: convert=lambda module: lab.from_torch(module, step=…, state=…)"
        ) from error


NOT_AS_CALLED = ("state: ", "step: ")
"""How reasons of `lab.from_torch` begin that a step or a state of the person's own may remove."""


def check_pair(name: str, pair: Any) -> Network:
    """A pair (cell, params) with arrays of NumPy."""
    if not (isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], Cell) and isinstance(pair[1], Mapping)):
        raise ConfigurationError(f"{name}: {describe_given(pair)} is no network: must be a pair (cell, params)")
    return Network(pair[0], {key: np.asarray(value) for key, value in pair[1].items()})


def is_of_torch(network: Any, module: str, *names: str) -> bool:
    """Whether it is of one of these classes of a module of PyTorch, which is not imported for it."""
    known = sys.modules.get(f"torch.{module}")
    return known is not None and isinstance(network, tuple(getattr(known, name) for name in names))


def computes_as_named(module: Any) -> bool:
    """Whether a recurrent module is one of PyTorch's, its weights perhaps parametrized, and no class of one's own."""
    kind = type(module).__mro__[1] if hasattr(module, "parametrizations") else type(module)
    return kind.__module__ == "torch.nn.modules.rnn"


def in_evaluation(network: Any) -> Any:
    """A copy of a module in its evaluation mode; anything else as it is."""
    return copy.deepcopy(network).eval() if is_of_torch(network, "nn", "Module") and network.training else network


def describe_given(network: Any) -> str:
    """What was given, in words."""
    kind = type(network)
    return f"a {kind.__module__}.{kind.__qualname__}".replace("builtins.", "")


# ------------------------------------------------------------------ modules of PyTorch


def network_of_module(module: Any) -> Network:
    """An nn.RNN, nn.GRU or nn.LSTM, or one of their cells."""
    if getattr(module, "bidirectional", False):
        raise ConfigurationError(
            "network: the module is bidirectional, and each direction is a network of its own: give convert=, which "
            "makes a pair (cell, params) of one of them"
        )
    tensors = {name: tensor_of_weight(module, name) for name in names_of_weights(module)}
    of, sizes, params = recurrence(as_layers(tensors), "")
    return with_units(Network(cell_of_kind(of, params, getattr(module, "nonlinearity", "tanh"), **sizes), params))


WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")


def names_of_weights(module: Any) -> list[str]:
    """The names of its weights, which are parameters or, where they are parametrized, made of some."""
    layers = range(getattr(module, "num_layers", 1))
    ends = [f"_l{layer}" for layer in layers] if hasattr(module, "num_layers") else [""]
    names = [f"{name}{end}" for end in ends for name in WEIGHTS]
    return [name for name in names if getattr(module, name, None) is not None]


def tensor_of_weight(module: Any, name: str) -> Tensor:
    """A weight as it is now, its numbers not yet copied."""
    values = getattr(module, name).detach()
    return Tensor(name, tuple(values.shape), lambda: values.cpu().double().numpy().copy())


def cell_of_kind(of: str, params: Params, activation: str, layers: int, input_size: int, hidden_size: int) -> Cell:
    """The cell of that name, with predictions that are h_t itself."""
    sizes: dict[str, Any] = {"input_size": input_size, "hidden_size": hidden_size, "output_size": hidden_size}
    layer = make_layer(of, params, sizes, activation)
    return layer if layers == 1 else Stacked(**sizes, layers=layers, of=layer)


# ------------------------------------------------------------------ readouts


def with_units(network: Network) -> Network:
    """The network with U = I and b_y = 0: its predictions are h_t; one whose readout is no U h_t + b_y as it is."""
    if not getattr(network.cell, "has_linear_readout", True):
        return network
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
    if is_of_keras(readout) and type(readout).__name__ == "Dense":
        kernel, *biases = readout.get_weights()
        return copy_array("readout", kernel).T, copy_array(
            "readout", biases[0] if biases else np.zeros(kernel.shape[1])
        )
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
