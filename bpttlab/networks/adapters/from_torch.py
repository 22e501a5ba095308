"""Any recurrent PyTorch module as a cell with its parameters."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from bpttlab.errors import ConfigurationError
from bpttlab.fields import check_integer, format_value
from bpttlab.networks.adapters.adapted import AdaptedNetwork, make_network
from bpttlab.networks.adapters.layout import Layout
from bpttlab.networks.adapters.torch_checks import (
    ROWS,
    advise_step,
    check_rows,
    import_torch,
    refuse_module,
)
from bpttlab.networks.adapters.torch_rows import TorchRows, copy_in_dtype, flatten_state
from bpttlab.networks.adapters.trials import EXAMPLES, ReadFunction, StepFunction, advise_sizes, attempt
from bpttlab.networks.cells.cell import check_dtype
from bpttlab.networks.pretrained import Network
from bpttlab.plugin_sources import single_line

HOW = f"{EXAMPLES}, or tensors (B, 32)"


@dataclass(frozen=True, eq=False)
class TorchNetwork(AdaptedNetwork):
    """A PyTorch module as a cell."""

    name: ClassVar[str] = "torch"


def from_torch(
    module: Any,
    step: StepFunction | None = None,
    read: ReadFunction | None = None,
    input_size: int | None = None,
    state: Any = None,
    dtype: str = "float64",
) -> Network:
    """A recurrent PyTorch module as a cell with its parameters.

    The module is copied: what becomes of it afterwards changes nothing here. Batch axes come first: x_t is (B, I), and
    every tensor of the state (B, …); a step must compute every row by itself.

    Args:
        module: called as module(x_t, state), as nn.RNNCell, nn.GRUCell and nn.LSTMCell are.
        step: step(module, x_t, state) -> state, for a module that is called in another way.
        read: read(module, state) -> y_t (B, O); without it the network has no readout (output_size=0): measures
            that need no loss work; the others raise an error.
        input_size: I; that of the module by default.
        state: a state: tensors (B, …), or the size of each, in the structure that step takes: a tensor, a tuple, a
            list or a dict of them. By default what the module makes of state=None, or hidden_size numbers.
        dtype: float64 or float32, whatever the module has.

    Returns:
        `cell` and `params`; those parameters that step or read depend on, under the module's own names, and all
        others, too, if the Python code of one of them depends on numbers. The state is one vector, whose parts are
        `cell.parts`.

    Raises:
        ConfigurationError: the module reads whole sequences, draws, keeps or changes a state, mixes the rows of a
            batch, or returns something else than the next state; PyTorch is not installed.
        NonFiniteError: a parameter has a NaN or an infinity.
    """
    import_torch("lab.from_torch")
    check_dtype(dtype)
    refuse_module(module, step is not None)
    input_size = find_input_size(module, input_size)
    functions = make_rows(module, step or call_module, read, input_size, state, np.dtype(dtype).name)
    return make_network(TorchNetwork, input_size, functions, np.dtype(dtype).name)


def call_module(module: Any, x_t: Any, state: Any) -> Any:
    return module(x_t, state)


def make_rows(
    module: Any, step: StepFunction, read: ReadFunction | None, input_size: int, state: Any, dtype: str
) -> TorchRows:
    """The functions of a copy of a module, tried on a few rows."""
    own = attempt("module: cannot be copied", lambda: copy.deepcopy(module))
    layout = find_layout(own, step, input_size, state, np.dtype(dtype))
    functions = TorchRows(own, step, read, layout)
    check_rows(functions, input_size, dtype)
    return functions


def find_input_size(module: Any, input_size: int | None) -> int:
    """The size that is given, or the module's own."""
    found = getattr(module, "input_size", None) if input_size is None else input_size
    if found is None:
        raise ConfigurationError(f"input_size: must be given: {type(module).__name__} has no attribute input_size")
    return check_integer("input_size", found, 1)


# ---------------------------------------------------------------------------------------------------- the state


def find_layout(module: Any, step: StepFunction, input_size: int, state: Any, dtype: np.dtype[Any]) -> Layout:
    """Where the parts of the state are: as they are given, or as the module has them."""
    if state is not None:
        return Layout.of(state, shape_of)
    import torch

    called, _, _ = copy_in_dtype(module, dtype)
    x = torch.zeros(ROWS, input_size, dtype=getattr(torch, dtype.name))
    problems: list[tuple[str, Exception]] = []
    for candidate in list_candidates(module, step, called, x):
        tried = "None"
        try:
            layout = Layout.of(candidate(), shape_of)
            tried = layout.describe_sizes()
            h = torch.zeros(ROWS, layout.size, dtype=x.dtype)
            with torch.no_grad():
                flatten_state(layout, step(called, x, layout.unflatten(h, (ROWS,))), h)
            return layout
        except Exception as error:  # a module may raise anything for a state that is not its own
            problems.append((tried, error))
    raise explain_no_state(problems[1:] or problems, input_size)  # the first is that of None, which few modules take


def explain_no_state(problems: list[tuple[str, Exception]], input_size: int) -> ConfigurationError:
    """The error for a state that was not found, with the states that were tried: its cause, then what to give.

    A step that returned something for a state says more than one that raised.
    """
    for _, error in problems:
        if isinstance(error, ConfigurationError) and str(error).startswith("step: returns"):
            return error
    state, error = max(problems, key=lambda problem: bool(advise_sizes(problem[1], input_size, "")))  # or the first
    if state == "None":
        return ConfigurationError(f"state: must be given, {HOW}; with state=None step raises {single_line(error)}")
    tried = f"; it was called with input_size={input_size} and state={state}; another state can be given, {HOW}"
    return ConfigurationError(f"step: raises {single_line(error)}{advise_step(error, input_size, state) or tried}")


def list_candidates(module: Any, step: StepFunction, called: Any, x: Any) -> Iterator[Any]:
    """States that a module may have: what it makes of None, one tensor of hidden_size, a pair of them."""
    import torch

    def from_none() -> Any:
        with torch.no_grad():
            return step(called, x, None)

    yield from_none
    size = getattr(module, "hidden_size", None)
    if isinstance(size, int):
        yield lambda: size
        yield lambda: (size, size)


def shape_of(leaf: Any) -> tuple[int, ...]:
    """The shape of a part without the batch axis: of a size, a tensor (B, …), or one of a single sequence (N,)."""
    if isinstance(leaf, int) and not isinstance(leaf, bool):
        return (check_integer("state", leaf, 1),)
    shape = getattr(leaf, "shape", None)
    if shape is None or not len(shape):
        raise ConfigurationError(f"state={format_value(leaf)}: must be sizes or tensors, {HOW}")
    return tuple(shape) if len(shape) == 1 else tuple(shape[1:])
