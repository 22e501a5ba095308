"""Keras' and Flax' layouts of recurrent weights, renamed and turned into PyTorch's, which `pytorch_weights` reads.

Names are paths joined by / or . (`w.path` of Keras, `flatten_dict(params, sep="/")` of Flax); kernels are (in, out),
the transposes of PyTorch's weights.

    Keras   SimpleRNN, LSTM, GRU     kernel (I, k N)   recurrent_kernel (N, k N)   bias (k N,); of a GRU (2, 3N) where
            its reset gate comes after the product, input and recurrent bias; gates i, f, c, o and z, r, h
    Flax    SimpleCell               i/{kernel, bias}   h/kernel
            LSTMCell, Optimized…     ii, if, ig, io / kernel   hi, hf, hg, ho / {kernel, bias}
            GRUCell                  ir, iz, in / {kernel, bias}   hr, hz / kernel   hn / {kernel, bias}
    both    Dense                    kernel (in, out)   bias (out,)

Index legend: I input, N hidden unit, O output; k gates.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from bpttlab.errors import ConfigurationError
from bpttlab.networks.tensor_files import Tensor, Tensors, list_tensors
from bpttlab.numerics.array import Array

SUPPORTED_MODULES = (
    "PyTorch's nn.RNN, nn.GRU, nn.LSTM and their Cells; Keras' SimpleRNN, GRU, LSTM; Flax linen's SimpleCell, GRUCell, "
    "LSTMCell, OptimizedLSTMCell"
)

OTHERS = {
    r"in_proj_weight$": "an nn.MultiheadAttention or nn.Transformer",
    r"A_log$": "a Mamba block",
    r"dense_h[/.]kernel$": "a cell of Flax NNX (use linen's, or export PyTorch's layout)",
    r"depthwise_kernel$": "a convolutional layer",
}
"""Modules that are not supported, by the end of a tensor's name."""


class ModuleLayout(NamedTuple):
    """What the layout of a recurrent module says of it besides its tensors."""

    module: str
    reset: Literal["after", "before"] = "after"


@dataclass
class Translated:
    """Tensors under PyTorch's names, and the layout of each recurrent prefix that is not PyTorch's."""

    tensors: Tensors
    layouts: dict[str, ModuleLayout] = field(default_factory=dict)


def translate(tensors: Tensors) -> Translated:
    """The tensors of Keras' or Flax' modules under PyTorch's names; others as they are.

    Raises:
        ConfigurationError: a tensor of a module is missing or has another shape.
    """
    named = {name.removesuffix(":0"): tensor for name, tensor in tensors.items()}
    found = Translated({})
    for read in (read_keras, read_simple_cell, read_lstm_cell, read_gru_cell):
        read(named, found)
    if not found.layouts:
        return Translated(tensors)
    for name, tensor in named.items():
        dense = re.fullmatch(r"(.*[/.]|)kernel", name) if len(tensor.shape) == 2 else None
        found.tensors[f"{dense[1]}weight" if dense else name] = transpose_tensor(tensor) if dense else tensor
    return found


def name_module(tensors: Tensors) -> str:
    """The end of a message about a file without a supported module: which it is, if that is known, and which are."""
    for ending, module in OTHERS.items():
        for name in tensors:
            if re.search(ending, name):
                return f"{tensors[name].name} belongs to {module}; supported: {SUPPORTED_MODULES}"
    return f"supported: {SUPPORTED_MODULES}"


# ------------------------------------------------------------------ tensors


def transpose_tensor(tensor: Tensor) -> Tensor:
    return Tensor(tensor.name, tensor.shape[::-1], lambda: tensor.read().T)


def derive(name: str, shape: tuple[int, ...], parts: list[Tensor], make: Callable[..., Array]) -> Tensor:
    """A tensor whose numbers are made of those of others."""
    return Tensor(name, shape, lambda: make(*(part.read() for part in parts)))


def zeros(name: str, size: int) -> Tensor:
    return Tensor(name, (size,), lambda: np.zeros(size))


def take(named: Tensors, name: str, shape: tuple[int | None, ...], because: str) -> Tensor:
    """A tensor of that shape (None: any size), which is not a tensor of the rest any more."""
    if name not in named:
        raise ConfigurationError(f"has no tensor {name!r} ({because}); there are {list_tensors(named)}")
    tensor = named.pop(name)
    alike = len(tensor.shape) == len(shape) and all(
        size in (None, own) for size, own in zip(shape, tensor.shape, strict=True)
    )
    if not alike:
        wanted = str(tuple("any" if size is None else size for size in shape)).replace("'", "")
        raise ConfigurationError(f"tensor {tensor.name!r} has shape {tensor.shape}: must be {wanted} ({because})")
    return tensor


def add_module(found: Translated, prefix: str, layout: ModuleLayout, weights: dict[str, Tensor]) -> None:
    found.layouts[prefix] = layout
    found.tensors |= {f"{prefix}{name}_l0": tensor for name, tensor in weights.items()}


# ------------------------------------------------------------------ Keras

KERAS = {1: "Keras SimpleRNN", 3: "Keras GRU", 4: "Keras LSTM"}
"""By the columns of recurrent_kernel over N."""


def read_keras(named: Tensors, found: Translated) -> None:
    """Modules with a recurrent_kernel."""
    for name in [name for name in named if re.fullmatch(r"(.*[/.]|)recurrent_kernel", name)]:
        prefix, shape = name.removesuffix("recurrent_kernel"), named[name].shape
        N, columns = shape if len(shape) == 2 else (0, 0)
        gates = columns // N if N and columns % N == 0 else 0
        if gates not in KERAS:
            allowed = ", ".join(f"(N, {k if k > 1 else ''}N) of a {module}" for k, module in KERAS.items())
            raise ConfigurationError(f"tensor {named[name].name!r} has shape {shape}: must be {allowed}")
        add_keras(named, found, prefix, N, gates)


def add_keras(named: Tensors, found: Translated, prefix: str, N: int, gates: int) -> None:
    """One module; PyTorch's order of the gates of a GRU is r, z, n, and that of an LSTM the same as Keras'."""
    module, columns = KERAS[gates], gates * N
    order = np.r_[N : 2 * N, :N, 2 * N : 3 * N] if gates == 3 else np.arange(columns)
    W = take(named, f"{prefix}recurrent_kernel", (N, columns), module)
    V = take(named, f"{prefix}kernel", (None, columns), module)
    bias = named.pop(f"{prefix}bias", None)
    after = bias is not None and len(bias.shape) == 2
    if bias is None and gates == 3:
        raise ConfigurationError(
            f"has no tensor '{prefix}bias': its shape says whether reset_after is true; with use_bias=False add zeros "
            f"of shape (2, {columns}), or ({columns},) with reset_after=False"
        )
    expected = (2, columns) if after and gates == 3 else (columns,)
    if bias is not None and bias.shape != expected:
        also = f" or (2, {columns})" if gates == 3 else ""
        raise ConfigurationError(f"tensor {bias.name!r} has shape {bias.shape}: must be ({columns},){also} ({module})")
    weights = {
        "weight_ih": derive(V.name, (columns, V.shape[0]), [V], lambda values: values.T[order]),
        "weight_hh": derive(W.name, (columns, N), [W], lambda values: values.T[order]),
    }
    if bias is not None:
        first = derive(bias.name, (columns,), [bias], lambda values: (values[0] if after else values)[order])
        second = derive(bias.name, (columns,), [bias], lambda values: values[1][order])
        weights |= {"bias_ih": first, "bias_hh": second if after else zeros(bias.name, columns)}
    add_module(found, prefix, ModuleLayout(module, "before" if gates == 3 and not after else "after"), weights)


# ------------------------------------------------------------------ Flax


def find_flax(named: Tensors, *needed: str) -> list[tuple[str, str]]:
    """Prefixes before which these submodules have kernels, each with the sign that joins names."""
    first = re.compile(rf"(.*[/.]|){needed[0]}([/.])kernel")
    matches = [match for match in map(first.fullmatch, named) if match]
    return [(m[1], m[2]) for m in matches if all(f"{m[1]}{part}{m[2]}kernel" in named for part in needed)]


def read_simple_cell(named: Tensors, found: Translated) -> None:
    for prefix, sep in find_flax(named, "h", "i"):
        flax = Gates(named, prefix, sep, "Flax SimpleCell", "h")
        weights = {"weight_ih": flax.weight("i", ""), "weight_hh": flax.weight("h", "")}
        add_module(found, prefix, ModuleLayout(flax.module), weights | flax.biases(("i",), ("h",)))


def read_lstm_cell(named: Tensors, found: Translated) -> None:
    """Also OptimizedLSTMCell, whose parameters are the same."""
    for prefix, sep in find_flax(named, "hi", "hg"):
        flax = Gates(named, prefix, sep, "Flax LSTMCell", "hi")
        weights = {"weight_ih": flax.weight("i", "ifgo"), "weight_hh": flax.weight("h", "ifgo")}
        biases = flax.biases(("ii", "if", "ig", "io"), ("hi", "hf", "hg", "ho"))
        add_module(found, prefix, ModuleLayout(flax.module), weights | biases)


def read_gru_cell(named: Tensors, found: Translated) -> None:
    """PyTorch's formula and order of gates, with one bias of each gate."""
    for prefix, sep in find_flax(named, "hn", "hf"):
        raise ConfigurationError(
            f"tensor '{prefix}hf{sep}kernel' belongs to a Flax MGUCell; supported: {SUPPORTED_MODULES}"
        )
    for prefix, sep in find_flax(named, "hn", "hr"):
        flax = Gates(named, prefix, sep, "Flax GRUCell", "hn")
        weights = {"weight_ih": flax.weight("i", "rzn"), "weight_hh": flax.weight("h", "rzn")}
        add_module(
            found, prefix, ModuleLayout(flax.module), weights | flax.biases(("ir", "iz", "in"), ("hr", "hz", "hn"))
        )


class Gates:
    """The submodules of a Flax cell, one for each gate and side, put together gate after gate."""

    def __init__(self, named: Tensors, prefix: str, sep: str, module: str, one: str) -> None:
        self.named, self.prefix, self.sep, self.module = named, prefix, sep, module
        shape = named[f"{prefix}{one}{sep}kernel"].shape
        self.N = shape[-1] if shape else 0

    def weight(self, side: str, gates: str) -> Tensor:
        """The kernels of one side: of the input (i) or of h (h)."""
        names = [side + gate for gate in gates] or [side]
        rows = self.N if side == "h" else None
        parts = []
        for name in names:
            parts.append(take(self.named, f"{self.prefix}{name}{self.sep}kernel", (rows, self.N), self.module))
            rows = parts[0].shape[0]
        shape = (len(names) * self.N, parts[0].shape[0])
        return derive(parts[0].name, shape, parts, lambda *kernels: np.concatenate([kernel.T for kernel in kernels]))

    def biases(self, inputs: tuple[str, ...], hidden: tuple[str, ...]) -> dict[str, Tensor]:
        """Zeros where a submodule has none."""
        return {"bias_ih": self.bias(inputs), "bias_hh": self.bias(hidden)}

    def bias(self, names: tuple[str, ...]) -> Tensor:
        parts = []
        for name in names:
            full = f"{self.prefix}{name}{self.sep}bias"
            there = full in self.named
            parts.append(take(self.named, full, (self.N,), self.module) if there else zeros(full, self.N))
        return derive(parts[0].name, (len(names) * self.N,), parts, lambda *biases: np.concatenate(biases))
