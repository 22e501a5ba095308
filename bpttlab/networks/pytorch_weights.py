"""The weights of a trained PyTorch nn.RNN, nn.GRU or nn.LSTM in a file: read, checked, and named as in the notes.

nn.RNNCell, nn.GRUCell and nn.LSTMCell are networks of one layer whose tensors have no _l0.

A `.safetensors` file or a `.npz` archive of arrays, with the names that `module.state_dict()` has:

    <recurrent prefix>weight_ih_l0   (k N, I)     V of the first layer; of every other, _l1, …, (k N, N)
    <recurrent prefix>weight_hh_l0   (k N, N)     W
    <recurrent prefix>bias_ih_l0     (k N,)       in all layers or, with nn's `bias=False`, in none
    <recurrent prefix>bias_hh_l0     (k N,)
    <recurrent prefix>weight_hr_l0   (P, N)       W_r of an nn.LSTM with proj_size = P, whose W is (4N, P)
    <readout prefix>weight           (O, N)       U of a linear layer upon h_t of the last layer, optional
    <readout prefix>bias             (O,)         b_y, optional

k is 1 for nn.RNN, 3 for nn.GRU (reset, update, candidate) and 4 for nn.LSTM (input, forget, candidate, output), in the
order in which the cells here have their gates. b_h = bias_ih + bias_hh, except of a GRU's candidate, whose bias_hh is
b_n.

Files that are pickles (.pt and its like) are never opened: to unpickle is to run whatever the file says.

Index legend: I input, N hidden unit, O output; l layer, from 0 as in PyTorch.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from bpttlab import user_files
from bpttlab.errors import ConfigurationError, nearest
from bpttlab.networks.cells.cell import Params
from bpttlab.networks.tensor_files import READERS, Tensor, Tensors, list_tensors
from bpttlab.networks.tensor_layouts import ModuleLayout, name_module, translate
from bpttlab.numerics.array import Array
from bpttlab.numerics.short_repr import show_briefly

PATH = "cell.path"
NO_READOUT = "none"
"""As a readout prefix: the file's readout, if it has one, is left alone."""

SEPARATORS = (".", "/")
"""Signs that join the names of modules and tensors."""

REVERSE = "_reverse"
"""The end of the names of the backward direction."""

PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle")
EXPORT = "from safetensors.torch import save_file; save_file(model.state_dict(), 'model.safetensors')"

MODULES = {"elman": "nn.RNN", "gru": "nn.GRU", "lstm": "nn.LSTM", "projected_lstm": "nn.LSTM with proj_size"}
"""What PyTorch calls the cells."""

_KINDS = {1: "elman", 3: "gru", 4: "lstm"}
"""Rows of weight_hh over N: the cell."""

OWN_NAMES = re.compile(r"(weight|bias)_(?P<part>ih|hh|hr)_l(?P<layer>\d+)(?P<reverse>_reverse)?")
"""What PyTorch calls the tensors of a recurrent module."""

OF_A_CELL = re.compile(r"(?P<prefix>.*?)(weight|bias)_(ih|hh)", re.DOTALL)
"""What it calls those of a module that computes one step."""


@dataclass(frozen=True, eq=False)
class Weights:
    """What a file holds, as parameters; the arrays are read-only.

    Attributes:
        content: what the file is known by.
        of: the cell: elman, gru, lstm or projected_lstm.
        module: what its library calls it.
        reset: of a GRU, whether its reset gate comes after the product with W_n, or before.
        layers, input_size, hidden_size: L, I and N, the numbers of h.
        output_size: O; None: there is no readout.
        recurrent_prefix, readout_prefix: those that were given or found; "none": there is no readout.
        params: float64, named as in the notes.
    """

    content: str
    of: str
    module: str
    reset: Literal["after", "before"]
    layers: int
    input_size: int
    hidden_size: int
    output_size: int | None
    recurrent_prefix: str
    readout_prefix: str
    params: Params

    def __repr__(self) -> str:
        return show_briefly(self)


def read_weights(
    path: str, recurrent_prefix: str | None, readout_prefix: str | None, direction: str | None = None
) -> Weights:
    """The network of a file; of a bidirectional one that of one direction.

    Raises:
        ConfigurationError: there is no such file, or something is wrong in it; the message begins with cell.path.
        NonFiniteError: a tensor holds a NaN or an infinity.
    """
    if Path(path).suffix.lower() in PICKLES:
        raise ConfigurationError(
            f"{PATH}={path!r}: is a pickle, which can run code when it is opened, so it is not opened; "
            f"export it: {EXPORT}"
        )
    asked = (recurrent_prefix, readout_prefix, direction)
    found: Weights = user_files.read_user_file(PATH, path, READERS, _interpret, *asked)
    return found


def _interpret(
    data: bytes,
    ending: str,
    content: str,
    recurrent_prefix: str | None,
    readout_prefix: str | None,
    direction: str | None,
) -> Weights:
    """The network that a file's bytes are."""
    translated = translate(READERS[ending](data))
    tensors = as_layers(translated.tensors)
    recurrent, readout = prefixes(tensors, recurrent_prefix, readout_prefix)
    own = choose_direction(own_tensors(tensors, recurrent, readout), recurrent, direction)
    of, sizes, params = recurrence(own, recurrent)
    layout = translated.layouts.get(recurrent) or ModuleLayout(MODULES[of])
    if layout.reset == "before":
        del params["b_n"]
    if direction is not None and readout is not None and receives_both(tensors, readout, sizes["hidden_size"]):
        refuse_half(readout, readout_prefix)
        readout = None
    if readout_prefix is None and readout is not None:
        refuse_embedding(tensors, readout, sizes)
    if readout is not None:
        params |= readout_of(tensors, readout, sizes["hidden_size"])
    for values in params.values():
        values.flags.writeable = False
    output_size = len(params["U"]) if "U" in params else None
    return Weights(
        content,
        of,
        layout.module,
        layout.reset,
        **sizes,
        output_size=output_size,
        recurrent_prefix=recurrent,
        readout_prefix=NO_READOUT if readout is None else readout,
        params=params,
    )


# ------------------------------------------------------------------ names


def as_layers(tensors: Tensors) -> Tensors:
    """The tensors of nn.RNNCell, nn.GRUCell and nn.LSTMCell under the names that a network of one layer has.

    Each tensor keeps its own name for messages. A file that has both names is left as it is.
    """
    renamed = {name: f"{name}_l0" if OF_A_CELL.fullmatch(name) else name for name in tensors}
    if len(set(renamed.values())) < len(renamed):
        return tensors
    return {renamed[name]: tensor for name, tensor in tensors.items()}


# ------------------------------------------------------------------ prefixes


def prefixes(tensors: Tensors, recurrent: str | None, readout: str | None) -> tuple[str, str | None]:
    """The prefixes of the recurrent tensors and of the readout (None: there is none), given or found.

    Whatever has neither is refused, unless both were given.
    """
    chosen = recurrent_prefix_of(tensors, recurrent)
    of_readout = None if readout in (None, NO_READOUT) else readout_prefix_of(tensors, str(readout))
    own = own_tensors(tensors, chosen, of_readout)
    rest = {name: tensor for name, tensor in tensors.items() if name not in own}
    if readout is None:
        return chosen, found_readout(rest)
    beside = {name: tensor for name, tensor in rest.items() if of_readout is None or name not in _linear(of_readout)}
    if beside and recurrent is None:
        refuse_rest(beside)
    return chosen, of_readout


def recurrent_prefix_of(tensors: Tensors, given: str | None) -> str:
    """The prefix of the recurrent tensors."""
    first = "weight_ih_l0"
    candidates = [name.removesuffix(first) for name in tensors if name.endswith(first)]
    if not candidates:
        raise ConfigurationError(
            f"has no tensor whose name ends in {first} (or weight_ih, of a cell); there are {list_tensors(tensors)}; "
            f"{name_module(tensors)}"
        )
    known = ", ".join(map(repr, candidates))
    if given is None and len(candidates) > 1:
        raise ConfigurationError(
            f"has {len(candidates)} recurrent networks: set cell.recurrent_prefix to one of {known}"
        )
    chosen = candidates[0] if given is None else complete(given, first, tensors)
    if chosen not in candidates:
        hint = nearest(given, candidates)
        raise ConfigurationError(f"cell.recurrent_prefix={given!r}: before {first} there is {known}.{hint}")
    return chosen


def readout_prefix_of(tensors: Tensors, given: str) -> str:
    """The prefix of the readout, which stands before its weight and bias and nothing else."""
    chosen = complete(given, "weight", tensors)
    under = {name: tensor for name, tensor in tensors.items() if name.startswith(chosen)}
    if f"{chosen}weight" not in under or (chosen.endswith(SEPARATORS) and set(under) - _linear(chosen)):
        hint = nearest(given, [name.removesuffix("weight") for name in tensors if name.endswith("weight")])
        raise ConfigurationError(
            f"cell.readout_prefix={given!r}: must stand before the weight (and bias) of one linear layer; there are "
            f"{list_tensors(under or tensors)}.{hint}"
        )
    return chosen


def complete(prefix: str, name: str, tensors: Collection[str]) -> str:
    """`lstm` as `lstm.`, where that is what the file has."""
    if f"{prefix}{name}" not in tensors:
        for longer in (f"{prefix}{sign}" for sign in SEPARATORS):
            if f"{longer}{name}" in tensors:
                return longer
    return prefix


def own_tensors(tensors: Tensors, prefix: str, readout: str | None) -> Tensors:
    """The tensors of the recurrent module: those with its prefix but for a readout that is named.

    Where the prefix does not end a module's name with a dot, those that could be its tensors.
    """
    of_readout = set() if readout is None else _linear(readout)
    under = {name for name in tensors if name.startswith(prefix)} - of_readout
    if not prefix.endswith(SEPARATORS):
        under = {name for name in under if re.match(r"(weight|bias)_", name.removeprefix(prefix))}
    return {name: tensors[name] for name in tensors if name in under}


def found_readout(rest: Tensors) -> str | None:
    """The prefix of the one linear layer that is left, if one is."""
    prefixes = [name.removesuffix("weight") for name in rest if name.endswith("weight")]
    if rest and (len(prefixes) != 1 or set(rest) - _linear(prefixes[0])):
        refuse_rest(rest)
    return prefixes[0] if rest else None


def _linear(prefix: str) -> set[str]:
    """What PyTorch calls the tensors of a linear layer."""
    return {f"{prefix}weight", f"{prefix}bias"}


def refuse_embedding(tensors: Tensors, readout: str, sizes: Mapping[str, int]) -> None:
    """Refuses to guess where a matrix could as well be what x_t comes from."""
    if f"{readout}bias" not in tensors and sizes["input_size"] == sizes["hidden_size"]:
        raise ConfigurationError(
            f"tensor '{readout}weight' has no bias beside it, and is as wide as x_t and as h_t: an embedding, or the "
            f"readout? Set cell.readout_prefix={readout.removesuffix('.')}, or none and cell.recurrent_prefix"
        )


def refuse_rest(rest: Tensors) -> None:
    raise ConfigurationError(
        f"beside the recurrent tensors there may be one linear layer, the readout, and there are {list_tensors(rest)}: "
        "name cell.recurrent_prefix and cell.readout_prefix (none: no readout), and all others are left alone"
    )


# ------------------------------------------------------------------ the recurrence


def recurrence(own: Tensors, prefix: str) -> tuple[str, dict[str, int], Params]:
    """The cell's name, its sizes and the parameters of all layers.

    `hidden_size` is the numbers of h; of an LSTM with proj_size these are P.
    """
    layers = layers_of(own, prefix)
    projection = own.get(f"{prefix}weight_hr_l0")
    of, rows, N = _kind_of(take_tensor(own, f"{prefix}weight_hh_l0"), projection)
    I = (0, *take_tensor(own, f"{prefix}weight_ih_l0").shape)[-1]
    has_biases = any(name.removeprefix(prefix).startswith("bias_") for name in own)
    params: Params = {}
    for layer in range(layers):
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, N if layer else I), "weight_hh": (rows, N)}
        shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)} if has_biases else {}
        shapes |= {"weight_hr": (N, rows // 4)} if projection is not None else {}
        held = {name: _numbers(own, f"{prefix}{name}_l{layer}", shape) for name, shape in shapes.items()}
        end = f"_{layer + 1}" if layers > 1 else ""
        params |= {f"{name}{end}": values for name, values in parameters(of, N, held).items()}
    return of, {"layers": layers, "input_size": I, "hidden_size": N}, params


def choose_direction(own: Tensors, prefix: str, direction: str | None) -> Tensors:
    """The tensors of one direction of a bidirectional network, under the names of a network that has one only.

    Raises:
        ConfigurationError: it is bidirectional and the direction is not given, or has layers that receive both
            directions; or it is not, and one is given.
    """
    backward = {name.removesuffix(REVERSE): tensor for name, tensor in own.items() if name.endswith(REVERSE)}
    if not backward and direction is None:
        return own
    if not backward:
        raise ConfigurationError(f"cell.direction={direction}: the network has one direction only; leave it out")
    first = min(name for name in own if name.endswith(REVERSE))
    if direction is None:
        raise ConfigurationError(
            f"tensor {first!r}: the network is bidirectional, and each direction is a network of its own: set "
            "cell.direction=forward or backward (which receives the sequence reversed in time)"
        )
    above = sorted(name for name in own if re.search(r"_l(?!0(_reverse)?$)\d+(_reverse)?$", name.removeprefix(prefix)))
    if above:
        raise ConfigurationError(
            f"tensor {above[0]!r}: layers above the first of a bidirectional network receive both directions, so that "
            "no direction is a network of its own; export the tensors of the first layer (_l0, _l0_reverse) alone"
        )
    return backward if direction == "backward" else {name: own[name] for name in own if not name.endswith(REVERSE)}


def receives_both(tensors: Tensors, readout: str, N: int) -> bool:
    """Whether a linear layer receives h of both directions."""
    return tensors[f"{readout}weight"].shape[1:] == (2 * N,)


def refuse_half(readout: str, given: str | None) -> None:
    if given is not None:
        raise ConfigurationError(
            f"cell.readout_prefix={given}: tensor '{readout}weight' receives both directions, and one alone has no "
            "prediction; must be none"
        )


def layers_of(own: Iterable[str], prefix: str) -> int:
    """How many layers there are, one upon the other, with nothing else beside them."""
    layers = set()
    for name in own:
        match = OWN_NAMES.fullmatch(name.removeprefix(prefix))
        if match is None:
            raise ConfigurationError(
                f"tensor {name!r}: an nn.RNN, nn.GRU or nn.LSTM has only weight_ih_l…, weight_hh_l…, bias_ih_l… and "
                "bias_hh_l… (and weight_hr_l… with proj_size)"
            )
        refuse_unlike(name, match)
        layers.add(int(match["layer"]))
    missing = min(set(range(len(layers) + 1)) - layers)
    if missing < len(layers):
        there = ", ".join(map(str, sorted(layers)))
        raise ConfigurationError(f"has the layers {there} (from 0): layer {missing} is missing")
    return len(layers)


def refuse_unlike(name: str, match: re.Match[str]) -> None:
    """Refuses the other direction of a bidirectional network, if it was not chosen (`choose_direction`)."""
    if match["reverse"]:
        raise ConfigurationError(f"tensor {name!r}: the network is bidirectional, and this is its backward direction")


def _kind_of(tensor: Tensor, projection: Tensor | None) -> tuple[str, int, int]:
    """The cell's name, its rows and the numbers of h, from the shapes of W and of W_r."""
    rows, N = tensor.shape if len(tensor.shape) == 2 else (0, 0)
    if projection is not None:
        memory = projection.shape[1] if len(projection.shape) == 2 else 0
        if not memory or rows != 4 * memory or not N:
            raise ConfigurationError(
                f"tensors {tensor.name!r} and {projection.name!r} have the shapes {tensor.shape} and "
                f"{projection.shape}: must be (4N, P) and (P, N) of an nn.LSTM with proj_size = P"
            )
        return "projected_lstm", rows, N
    gates = rows // N if N and rows % N == 0 else 0
    if gates not in _KINDS:
        allowed = ", ".join(f"({k if k > 1 else ''}N, N) of an {MODULES[name]}" for k, name in _KINDS.items())
        raise ConfigurationError(f"tensor {tensor.name!r} has shape {tensor.shape}: must be {allowed}")
    return _KINDS[gates], rows, N


def parameters(of: str, N: int, held: Mapping[str, Array]) -> Params:
    """Of one layer, from PyTorch's tensors."""
    nothing = np.zeros(len(held["weight_hh"]))
    b_ih, b_hh = held.get("bias_ih", nothing), held.get("bias_hh", nothing)
    own = {"V": held["weight_ih"], "W": held["weight_hh"], "b_h": b_ih + b_hh}
    own |= {"W_r": held["weight_hr"]} if "weight_hr" in held else {}
    if of == "gru":
        own |= {"b_h": np.concatenate([(b_ih + b_hh)[: 2 * N], b_ih[2 * N :]]), "b_n": b_hh[2 * N :].copy()}
    return own


def readout_of(tensors: Tensors, prefix: str, N: int) -> Params:
    """U and b_y of a linear layer that hears h_t."""
    weight, bias = f"{prefix}weight", f"{prefix}bias"
    shape = tensors[weight].shape
    O = shape[0] if shape else 0
    if not O:
        raise ConfigurationError(f"tensor {weight!r} has shape {shape}: must be (O, {N}), the readout of h_t")
    U = _numbers(tensors, weight, (O, N))
    return {"U": U, "b_y": _numbers(tensors, bias, (O,)) if bias in tensors else np.zeros(O)}


def take_tensor(tensors: Tensors, name: str) -> Tensor:
    if name not in tensors:
        is_cell = any(key != tensor.name for key, tensor in tensors.items())
        missing = name.removesuffix("_l0") if is_cell else name
        raise ConfigurationError(f"has no tensor {missing!r}; there are {list_tensors(tensors)}")
    return tensors[name]


def _numbers(tensors: Tensors, name: str, shape: tuple[int, ...]) -> Array:
    """The numbers of a tensor of that shape."""
    tensor = take_tensor(tensors, name)
    if tensor.shape != shape:
        raise ConfigurationError(f"tensor {tensor.name!r} has shape {tensor.shape}: must be {shape}")
    return tensor.read()
