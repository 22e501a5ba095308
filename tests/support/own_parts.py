"""A user's own files, as tests write them: small, and each with one choice."""

from __future__ import annotations

from pathlib import Path

CELL = '''
from dataclasses import dataclass
from typing import ClassVar

from bpttlab.networks import activations
from bpttlab.networks.cells.cell import project_in_blocks, rows
from bpttlab.networks.cells.single_matrix import OneMatrix


@dataclass(frozen=True)
class Doubled(OneMatrix):
    """h_t = f_h(factor (V x_t + W h_{t-1} + b_h))"""

    name: ClassVar[str] = "doubled"
    input_size: int
    hidden_size: int
    output_size: int
    factor: float = 2.0
    activation: str = "tanh"
    output_activation: str = "identity"
    lipschitz: ClassVar[float | None] = None

    def project(self, params, x):
        return project_in_blocks(x, params["V"]) + params["b_h"]

    def step(self, params, z_t, h_prev):
        return activations.find_activation(self.activation).function(self.factor * (z_t + h_prev @ params["W"].T))

    def linearize(self, params, x, h):
        a = self.factor * self.preactivations(params, x, h)
        return self.factor * activations.find_activation(self.activation).slope(a)

    def vjp(self, params, linearization_t, dh_t):
        da_t = linearization_t * dh_t
        return da_t, (rows(da_t) @ params["W"]).reshape(da_t.shape)

    def parameter_vjp(self, local, da):
        da, x, h_prev = rows(da), rows(local.x), rows(local.h_prev)
        return {"V": da.T @ x, "W": da.T @ h_prev, "b_h": da.sum(axis=0)}

    def jacobian(self, params, linearization_t):
        return linearization_t[..., :, None] * params["W"]

    def recurrent_blocks(self, params):
        return {"W": params["W"]}
'''

TASK = '''
from dataclasses import dataclass
from typing import ClassVar

from bpttlab.tasks.task import Batch, Task, every_step


@dataclass(frozen=True)
class Echo(Task):
    """The input is asked for at the same step."""

    name: ClassVar[str] = "echo"
    loss_name: ClassVar[str] = "squared_error"
    prefix_stable: ClassVar[bool] = True
    input_size: ClassVar[int] = 1
    output_size: ClassVar[int] = 1
    baseline_loss: ClassVar[float] = 1.0
    gain: float = 1.0

    def draw(self, rng, batch_size):
        x = rng.standard_normal((self.sequence_length, batch_size, 1))
        return Batch(x, self.gain * x, every_step(self.sequence_length))
'''

INITIALIZER = '''
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bpttlab.networks.initializers import Initializer


@dataclass(frozen=True)
class Shift(Initializer):
    """Each unit hears the next one: a permutation."""

    name: ClassVar[str] = "shift"
    target: ClassVar[str] = "spectral_radius"
    has_spectral_radius: ClassVar[bool] = True
    spectral_radius: float = 1.0

    def draw_unscaled(self, rng, size):
        return np.roll(np.eye(size), 1, axis=1)

    def measure_realized(self, W):
        return float(np.abs(W).max())
'''

SCHEME = '''
from dataclasses import dataclass
from typing import ClassVar

from bpttlab.truncation.segmented import Segmented


@dataclass(frozen=True)
class LastOnly(Segmented):
    """The last K steps alone."""

    name: ClassVar[str] = "last_only"
    truncation: int

    def segments(self, length):
        return [(max(0, length - self.truncation), length, max(0, length - self.truncation))]
'''

ACTIVATION = """
import numpy as np

from bpttlab.networks.activations import TANH, Activation


def double(a):
    return np.tanh(2.0 * a)


def double_slope(a):
    return 2.0 * TANH.slope(2.0 * a)


def double_log_slope(a):
    return np.log(2.0) + TANH.log_slope(2.0 * a)


STEEP = Activation("steep", double, double_slope, double_log_slope, 2.0)
"""

MEASURE = '''
from dataclasses import dataclass
from typing import ClassVar

from bpttlab.measures.measure import Measure, Result
from bpttlab.store.column import Column


@dataclass(frozen=True)
class Largest(Measure):
    """The largest number of the state."""

    name: ClassVar[str] = "largest"
    summary: ClassVar[tuple[Column, ...]] = (Column("largest_state", "float64", "", "largest |h|"),)
    factor: float = 1.0

    def __call__(self, context):
        return Result(summary={"largest_state": self.factor * float(abs(context.trace.outputs).max())})
'''

TABLE = """
from bpttlab.tables.table import SummaryTable


def losses(study):
    return study.runs.groupby("spectral_radius", as_index=False)["loss"].median()


LOSSES = SummaryTable("losses", losses)
"""

FIGURE = """
from matplotlib.figure import Figure

from bpttlab.errors import LabError
from bpttlab.figures.figure import StudyFigure


def draw_losses(request):
    if request.study.runs["spectral_radius"].nunique() < 2:
        raise LabError("the study has one spectral radius")
    figure = Figure(figsize=(3.4, 2.0))
    figure.subplots().plot(request.study.runs["spectral_radius"], request.study.runs["loss"], "o")
    return figure


LOSSES = StudyFigure("losses_by_radius", draw_losses)
"""

EXPERIMENT = """
from bpttlab.claims.experiment import Experiment

SHORT = Experiment("short", {"task": "adding", "spectral_radius": [0.5, 1.0], "seed": range(2)})
"""

CHOICES = {
    "cell": ("doubled", CELL),
    "task": ("echo", TASK),
    "initializer": ("shift", INITIALIZER),
    "scheme": ("last_only", SCHEME),
    "activation": ("steep", ACTIVATION),
    "measure": ("largest", MEASURE),
    "table": ("losses", TABLE),
    "figure": ("losses_by_radius", FIGURE),
    "experiment": ("short", EXPERIMENT),
}
"""Of each kind a name, and the file that defines it."""

PARTS = {kind: text for kind, (_, text) in CHOICES.items()}
NAMES = {kind: name for kind, (name, _) in CHOICES.items()}


def write(folder: Path | str, name: str, text: str) -> str:
    """A file in a folder; its name."""
    Path(folder, name).write_text(text, encoding="utf-8")
    return name
