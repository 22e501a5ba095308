"""A user's own network: a trained PyTorch nn.RNN, nn.GRU or nn.LSTM from a file as a cell of this package, or one of
Keras or Flax (`tensor_layouts`).

nn.RNNCell, nn.GRUCell and nn.LSTMCell are networks of one layer; their tensors have the same names without _l0.

In PyTorch:

    from safetensors.torch import save_file
    save_file(model.state_dict(), "model.safetensors")

The file, .safetensors or .npz, has the names of PyTorch:

    <recurrent prefix>  weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0, …_l1, … of the recurrent module
    <readout prefix>    weight, bias of the linear layer on h_t of the last layer, if there is one

Inputs, hidden units, layers and outputs are those of the file. The task must have as many inputs and outputs.
"""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np

from bpttlab import user_files
from bpttlab.errors import ConfigurationError, nearest
from bpttlab.fields import Field, check_integer, format_value, settle_fields
from bpttlab.networks import activations
from bpttlab.networks.cells import GRU, LSTM, Cell, Elman, ProjectedLSTM, Scales, Stacked
from bpttlab.networks.cells.cell import Params
from bpttlab.networks.initializers import GaussianRadius, Initializer, NoInitializer
from bpttlab.networks.pytorch_weights import NO_READOUT, PATH, Weights, read_weights
from bpttlab.numerics.array import Array
from bpttlab.numerics.random_streams import Rng, check_generator
from bpttlab.numerics.short_repr import show_briefly

if TYPE_CHECKING:
    from bpttlab.tasks import Task


class Network(NamedTuple):
    """A cell and its weights."""

    cell: Cell
    params: Params

    def __repr__(self) -> str:
        return show_briefly(self)


def from_file(
    path: str | os.PathLike[str],
    activation: str | None = None,
    recurrent_prefix: str | None = None,
    readout_prefix: str | None = None,
    output_activation: str = "identity",
    output_size: int | None = None,
    rng: Rng | None = None,
    direction: Literal["forward", "backward"] | None = None,
) -> Network:
    """A trained nn.RNN, nn.GRU or nn.LSTM, or one of Keras or Flax, as a cell with its parameters, in float64.

    Args:
        path: of a `.safetensors` or `.npz` file with PyTorch's, Keras' or Flax' names.
        activation: f_h of an nn.RNN, tanh or relu, which its weights do not say; None for the others.
        recurrent_prefix: what stands before `weight_ih_l0` (Keras: `kernel`; Flax: `hi`, `hn` or `h`); None: whatever
            does, if it is there once.
        readout_prefix: what stands before the `weight` (`kernel`) of the readout; None: the one linear layer that there
            is beside the recurrent tensors; "none": the file's readout is left alone.
        output_activation: f_y.
        output_size, rng: O and the source of U, where the file has no readout and one is to be drawn (b_y is 0). If
            neither is given, the cell of such a file has output_size 0: it has all that needs no loss.
        direction: forward or backward, of a bidirectional network of one layer; each is a network of its own. The
            backward one receives the sequence reversed in time: give x[::-1], and h_t is the state after the steps
            T, T-1, ..., T-t+1. A readout that receives both directions is left out.

    Returns:
        `cell`, an Elman, GRU, LSTM or ProjectedLSTM, or Stacked of them, and `params`, named as in the notes.

    Raises:
        ConfigurationError: the file cannot be read as such a network.
        NonFiniteError: a tensor holds a NaN or an infinity.
    """
    chosen: Any = (activation, recurrent_prefix, readout_prefix, output_activation, direction)
    own = FromFile(os.fspath(path), *chosen)
    cell = own.cell(outputs_of(own, output_size, rng))
    return Network(cell, own.network_weights(cell, np.random.default_rng() if rng is None else check_generator(rng)))


def outputs_of(own: FromFile, output_size: int | None, rng: Rng | None) -> int:
    """O: of the file's readout, of one that is drawn, or 0."""
    there = own.weights.output_size
    if output_size is not None:
        output_size = check_integer("output_size", output_size, 1)
    if there is not None:
        if output_size not in (None, there):
            raise ConfigurationError(f"output_size={output_size}: the readout of the file has {there}; leave it out")
        return there
    if (output_size is None) != (rng is None):
        missing = "output_size" if output_size is None else "rng"
        raise ConfigurationError(
            f"{missing}: must be given to draw a readout, for {PATH}={user_files.show_path(own.path)!r} has none; or "
            "leave output_size and rng out, and there is none"
        )
    return output_size or 0


# ---------------------------------------------------------------------------------------------------- configuration


@dataclass(frozen=True)
class FromFile:
    """A trained network of your own, of PyTorch, Keras or Flax: cell=from_file cell.path=model.safetensors (or .npz).

    It has the description of the file in a configuration and not its numbers, which are read where they are needed.

    Faults of the file are refused when this is built. The run's identity contains the content of the file and the
    prefixes, given or found, and neither the file's name nor its label or update. A file that changes during a sweep is
    refused.

    Attributes:
        recurrent_prefix, readout_prefix: afterwards those that were found.
        content: afterwards the first 32 digits of the SHA-256 of the file.
        of, layers, hidden_size: if they are given, a file with another network is refused.
    """

    name: ClassVar[str] = "from_file"
    takes_initializer: ClassVar[bool] = False

    path: Annotated[
        str,
        Field(
            configured=None,
            description="required: a .safetensors or .npz file, from the current folder; ~ is the home folder",
        ),
    ] = field(default="", compare=False)
    activation: Annotated[
        Literal["tanh", "relu"] | None,
        Field(description="of an nn.RNN or its like, whose weights do not say it: required; null for a GRU or LSTM"),
    ] = None
    recurrent_prefix: Annotated[
        str | int | None,  # 0 is a prefix in an nn.ModuleList
        Field(
            description="text before weight_ih_l0 (Keras: kernel; Flax: hi, hn or h) in the file; null: the only one"
        ),
    ] = None
    readout_prefix: Annotated[
        str | int | None,
        Field(
            description="text before the readout's weight; null: that of the one linear layer that is left; "
            "none: a readout is drawn"
        ),
    ] = None
    output_activation: Annotated[
        str, Field(choices=activations.activation_names, description="f_y, of the readout")
    ] = "identity"
    direction: Annotated[
        Literal["forward", "backward"] | None,
        Field(
            description="of a bidirectional network of one layer, the direction to measure; backward receives the "
            "sequence as the task gives it: reverse it in the task's file; null: it is not bidirectional"
        ),
    ] = None
    content: user_files.Content = None
    of: Annotated[str | None, Field(given_by="path", description="cell of the file")] = None
    layers: Annotated[int | None, Field(ge=1, given_by="path", description="L, layers of the file")] = None
    hidden_size: Annotated[int | None, Field(ge=1, given_by="path", description="N, hidden units of the file")] = None
    label: Annotated[
        str | int | float | None,
        Field(
            description="name of the network in tables and figures, one for each file of cell.path or one for all; "
            "null: the file's name"
        ),
    ] = field(default=None, compare=False)
    update: Annotated[
        int | None,
        Field(
            ge=0,
            description="optimizer steps that the file was trained for, one for each file of cell.path; null: not told",
        ),
    ] = field(default=None, compare=False)

    def __post_init__(self) -> None:
        settle_fields(self, "cell.{}")
        object.__setattr__(self, "label", check_label(self.label))
        if not self.path:
            raise ConfigurationError(f"{PATH}: must name a file of yours, for example {PATH}=model.safetensors")
        found = self.read()
        user_files.refuse_other_content("cell.content", self.content, self.path, found.content)
        self.check_activation(found)
        settled = {name: getattr(found, name) for name in ("content", "recurrent_prefix", "readout_prefix")}
        held = {name: getattr(found, name) for name in ("of", "layers", "hidden_size")}
        for name, value in held.items():
            if getattr(self, name) not in (None, value):
                raise ConfigurationError(f"cell.{name}={getattr(self, name)!r}: {self.path} has {value!r}")
        for name, value in {**settled, **held, "path": user_files.make_absolute(self.path)}.items():
            object.__setattr__(self, name, value)

    def check_activation(self, found: Weights) -> None:
        """An nn.RNN needs its activation; for any other network it is refused."""
        told, module = self.activation is not None, with_article(found.module)
        if found.of == Elman.name and not told:
            raise ConfigurationError(
                f"cell.activation: must be given, tanh (PyTorch's default) or relu: {self.path} holds {module}, whose "
                "weights do not say which of them they were trained with"
            )
        if found.of == Elman.name and self.activation not in ("tanh", "relu"):
            hint = nearest(self.activation, ("tanh", "relu"))
            raise ConfigurationError(f"cell.activation={self.activation!r}: of {module} must be tanh or relu.{hint}")
        if found.of != Elman.name and told:
            raise ConfigurationError(
                f"cell.activation={self.activation!r}: {self.path} holds {module}, which has its own; must be null"
            )

    def read(self) -> Weights:
        """What the file holds now."""
        return read_weights(self.path, as_text(self.recurrent_prefix), as_text(self.readout_prefix), self.direction)

    @property
    def weights(self) -> Weights:
        """What the file holds.

        Raises:
            LabError: it is not what it was when the run was configured.
        """
        found = self.read()
        user_files.refuse_change(self.path, self.content, found.content)
        return found

    def cell(self, output_size: int) -> Cell:
        """The cell, with the readout of the file or, where there is none, one of that size; 0: without a readout."""
        found = self.weights
        common: dict[str, Any] = {
            "input_size": found.input_size,
            "hidden_size": found.hidden_size,
            "output_size": output_size if found.output_size is None else found.output_size,
            "output_activation": self.output_activation,
        }
        layer = make_layer(found.of, found.params, common, self.activation or "tanh", found.reset)
        return layer if found.layers == 1 else Stacked(**common, layers=found.layers, of=layer)

    def network_weights(
        self, cell: Cell, rng: np.random.Generator, scales: Scales | None = None, dtype: str = "float64"
    ) -> Params:
        """The weights of the file in that dtype; a readout that it lacks is drawn as `Cell.init` draws it."""
        held = self.weights.params
        drawn = {} if "U" in held else cell.draw_readout(rng.spawn(2)[1], scales or Scales())
        return {name: round_to_dtype(values, dtype) for name, values in {**held, **drawn}.items()}

    @property
    def has_readout(self) -> bool:
        return self.readout_prefix != NO_READOUT

    def identity_fields(self) -> dict[str, Any]:
        """What a run's identity has of it: all but where the file is, and what it is called."""
        values = {known.name: getattr(self, known.name) for known in fields(self) if known.compare}
        return {"name": self.name} | {name: value for name, value in values.items() if name not in ADDED or value}

    # ------------------------------------------------------------------ what the rest of a configuration may say

    def check_task(self, task: Task) -> None:
        """Refuses a task of other sizes."""
        found = self.weights
        self.check_size(task, "input_size", "has", "inputs", found.input_size)
        if found.output_size is not None:
            self.check_size(task, "output_size", "gives", "outputs", found.output_size)

    def check_size(self, task: Task, name: str, verb: str, what: str, size: int) -> None:
        if getattr(task, name) == size:
            return
        free = name in {known.name for known in fields(task)}
        remedy = f"set task.{name}={size}, or choose another task" if free else "choose another task"
        raise ConfigurationError(
            f"{PATH}={user_files.show_path(self.path)!r}: {verb} {size} {what}, and task '{task.name}' has "
            f"{getattr(task, name)}: {remedy}"
        )

    def check_initializer(self, initializer: Initializer) -> None:
        """Refuses everything but the default, which stands for nothing having been requested."""
        if initializer not in (GaussianRadius(), NoInitializer()):
            raise ConfigurationError(
                f"initializer '{initializer.name}' with {initializer.target}={initializer.requested}: the weights of "
                f"the cell '{self.name}' are in its file; leave initializer and spectral_radius out"
            )

    def check_scales(self, scales: Scales) -> None:
        """Refuses a scale of what is in the file."""
        for name in ("V", "b", *(["U"] if self.has_readout else [])):
            if getattr(scales, name) != getattr(Scales(), name):
                raise ConfigurationError(
                    f"scales.{name}={getattr(scales, name)}: would have no effect, for the weights of the cell "
                    f"'{self.name}' are in its file; must be {getattr(Scales(), name)}"
                )

    def check_dtype(self, dtype: str) -> None:
        """Refuses a dtype in which a weight would be infinite."""
        for name, values in self.weights.params.items():
            if not np.isfinite(round_to_dtype(values, dtype)).all():
                largest = float(np.abs(values).max())
                raise ConfigurationError(
                    f"dtype={dtype}: {user_files.show_path(self.path)} has weights up to {largest:.3g} ({name}), "
                    "too large"
                )


ADDED = ("direction",)
"""Fields that came later: without them a run keeps its id."""


def make_layer(
    of: str, params: Params, common: dict[str, Any], activation: str, reset: Literal["after", "before"] = "after"
) -> Cell:
    """The cell of that name, of one layer, with sizes and readout in common with the network."""
    if of == GRU.name:
        return GRU(**common, reset=reset)
    if of == LSTM.name:
        return LSTM(**common, forget_bias=0.0)  # whatever was added is in the file's biases
    if of == ProjectedLSTM.name:
        memory = next(values.shape[1] for name, values in params.items() if name.startswith("W_r"))
        return ProjectedLSTM(**common, memory_size=memory, forget_bias=0.0)
    return Elman(**common, activation=activation)


LONGEST_LABEL = 100
"""Characters of a label."""


def check_label(label: str | float | None) -> str | None:
    """The label as a text of one line, in one Unicode form (NFC); None stays None."""
    if label is None:
        return None
    text = unicodedata.normalize("NFC", str(label)).strip()
    if not (text.isprintable() and 0 < len(text) <= LONGEST_LABEL):
        raise ConfigurationError(
            f"cell.label={format_value(label)}: must be one line of 1 to {LONGEST_LABEL} printable characters"
        )
    return text


def with_article(module: str) -> str:
    return f"an {module}" if module.startswith("nn.") else f"a {module}"


def as_text(prefix: str | int | None) -> str | None:
    return None if prefix is None else str(prefix)


def round_to_dtype(values: Array, dtype: str) -> Array:
    """A copy in that dtype."""
    with np.errstate(over="ignore"):
        return values.astype(dtype)
