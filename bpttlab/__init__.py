"""bpttlab: a laboratory for the gradients of recurrent networks.

    import bpttlab as lab

    cell = lab.Elman(input_size=2, hidden_size=64, output_size=1, activation="tanh")
    params = cell.init(rng, spectral_radius=1.1)                 # {"V", "W", "b_h", "U", "b_y"}, named as in the notes
    task = lab.tasks.Adding(sequence_length=100)
    batch = task.sample(rng, batch_size=16)

    trace = lab.forward(cell, params, batch.x)
    loss = task.loss(trace.y_hat, batch)
    gradients = lab.backward(trace, loss, scheme=lab.PerLoss(20))
    frame = lab.jacobian_products(trace, loss)

    lab.sweep(study="first", spectral_radius=[0.5, 1.0, 1.5], seed=range(8))
    lab.run({"spectral_radius": 1.1, "task": "adding"})          # one point of a sweep, in this process
    lab.load("first").jacobians                                  # the tables of a stored study

Names are loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bpttlab import tasks as tasks
    from bpttlab import training as training
    from bpttlab.claims.experiment import Experiment as Experiment
    from bpttlab.errors import ConfigurationError as ConfigurationError
    from bpttlab.errors import LabError as LabError
    from bpttlab.errors import LabWarning as LabWarning
    from bpttlab.figures.figure import StudyFigure as StudyFigure
    from bpttlab.gradients.backward import backward as backward
    from bpttlab.gradients.checkpointing import CheckpointedTrace as CheckpointedTrace
    from bpttlab.gradients.double_sum import literal_sum as literal_sum
    from bpttlab.gradients.forward import forward as forward
    from bpttlab.gradients.forward_mode.rflo import rflo as rflo
    from bpttlab.gradients.forward_mode.rtrl import rtrl as rtrl
    from bpttlab.gradients.forward_mode.snap import snap as snap
    from bpttlab.gradients.forward_mode.uoro import uoro as uoro
    from bpttlab.gradients.loss_and_gradient import loss_and_gradient as loss_and_gradient
    from bpttlab.gradients.step_gradients import input_gradients as input_gradients
    from bpttlab.gradients.step_gradients import step_gradients as step_gradients
    from bpttlab.gradients.trace import Trace as Trace
    from bpttlab.measures.gradient_bias import truncation_bias as truncation_bias
    from bpttlab.measures.jacobian_products import jacobian_products as jacobian_products
    from bpttlab.measures.lag_terms import lag_terms as lag_terms
    from bpttlab.measures.lyapunov import finite_time_exponents as finite_time_exponents
    from bpttlab.measures.lyapunov import lyapunov_spectrum as lyapunov_spectrum
    from bpttlab.measures.measure import Measure as Measure
    from bpttlab.measures.sensitivity import forward_sensitivity as forward_sensitivity
    from bpttlab.measures.singular_values import singular_values as singular_values
    from bpttlab.measures.state_blocks import block_norms as block_norms
    from bpttlab.measures.truncation_curve import truncation_curve as truncation_curve
    from bpttlab.measures.windowed_products import windowed_products as windowed_products
    from bpttlab.monitoring.monitor import Monitor as Monitor
    from bpttlab.networks.activations import Activation as Activation
    from bpttlab.networks.adapters.from_jax import from_jax as from_jax
    from bpttlab.networks.adapters.from_torch import from_torch as from_torch
    from bpttlab.networks.adapters.jax_cell import JaxCell as JaxCell
    from bpttlab.networks.adapters.torch_cell import TorchCell as TorchCell
    from bpttlab.networks.cells import GRU as GRU
    from bpttlab.networks.cells import LSTM as LSTM
    from bpttlab.networks.cells import SLSTM as SLSTM
    from bpttlab.networks.cells import Antisymmetric as Antisymmetric
    from bpttlab.networks.cells import Cell as Cell
    from bpttlab.networks.cells import Clockwork as Clockwork
    from bpttlab.networks.cells import CoRNN as CoRNN
    from bpttlab.networks.cells import Diagonal as Diagonal
    from bpttlab.networks.cells import Dilated as Dilated
    from bpttlab.networks.cells import Elman as Elman
    from bpttlab.networks.cells import LayerNormElman as LayerNormElman
    from bpttlab.networks.cells import LayerNormGRU as LayerNormGRU
    from bpttlab.networks.cells import LayerNormLSTM as LayerNormLSTM
    from bpttlab.networks.cells import Leaky as Leaky
    from bpttlab.networks.cells import LipschitzRNN as LipschitzRNN
    from bpttlab.networks.cells import MinGRU as MinGRU
    from bpttlab.networks.cells import MinimalRNN as MinimalRNN
    from bpttlab.networks.cells import MinLSTM as MinLSTM
    from bpttlab.networks.cells import Noisy as Noisy
    from bpttlab.networks.cells import OrthogonalElman as OrthogonalElman
    from bpttlab.networks.cells import PeepholeLSTM as PeepholeLSTM
    from bpttlab.networks.cells import ProjectedLSTM as ProjectedLSTM
    from bpttlab.networks.cells import Scales as Scales
    from bpttlab.networks.cells import ScoRNN as ScoRNN
    from bpttlab.networks.cells import SelectiveDiagonal as SelectiveDiagonal
    from bpttlab.networks.cells import Stacked as Stacked
    from bpttlab.networks.cells.kernel import kernel as kernel
    from bpttlab.networks.closed_loop import close_loop as close_loop
    from bpttlab.networks.initializers import MatrixFile as MatrixFile
    from bpttlab.networks.initializers import Structured as Structured
    from bpttlab.networks.lengths import find_lengths as find_lengths
    from bpttlab.networks.losses import StepLoss as StepLoss
    from bpttlab.networks.pretrained import from_file as from_file
    from bpttlab.store.store import load as load
    from bpttlab.store.store import repair as repair
    from bpttlab.sweeps.configuration import Configuration as Configuration
    from bpttlab.sweeps.grid import grid as grid
    from bpttlab.sweeps.run import run as run
    from bpttlab.sweeps.scheduler import sweep as sweep
    from bpttlab.tables.table import SummaryTable as SummaryTable
    from bpttlab.tasks.task import Task as Task
    from bpttlab.training.optimizers.optimizer import Optimizer as Optimizer
    from bpttlab.training.penalties.penalty import Penalty as Penalty
    from bpttlab.training.projections import Projection as Projection
    from bpttlab.training.train import train as train
    from bpttlab.truncation.clipped import Clipped as Clipped
    from bpttlab.truncation.scheme import Scheme as Scheme
    from bpttlab.truncation.segmented import Chunked as Chunked
    from bpttlab.truncation.segmented import Full as Full
    from bpttlab.truncation.segmented import PerLoss as PerLoss
    from bpttlab.truncation.segmented import Windowed as Windowed

HOMES = {
    "measures.state_blocks": ("block_norms",),
    "gradients.double_sum": ("literal_sum",),
    "networks.cells": (
        "GRU",
        "LSTM",
        "Antisymmetric",
        "Cell",
        "Diagonal",
        "Elman",
        "Leaky",
        "Clockwork",
        "ScoRNN",
        "SelectiveDiagonal",
        "SLSTM",
        "LayerNormGRU",
        "LayerNormLSTM",
        "LayerNormElman",
        "PeepholeLSTM",
        "ProjectedLSTM",
        "MinLSTM",
        "MinGRU",
        "LipschitzRNN",
        "Dilated",
        "CoRNN",
        "MinimalRNN",
        "Noisy",
        "OrthogonalElman",
        "Scales",
        "Stacked",
    ),
    "networks.adapters.from_jax": ("from_jax",),
    "networks.adapters.from_torch": ("from_torch",),
    "networks.adapters.jax_cell": ("JaxCell",),
    "networks.adapters.torch_cell": ("TorchCell",),
    "networks.cells.kernel": ("kernel",),
    "networks.closed_loop": ("close_loop",),
    "gradients.checkpointing": ("CheckpointedTrace",),
    "gradients.backward": ("backward",),
    "gradients.forward": ("forward",),
    "sweeps.configuration": ("Configuration",),
    "measures.truncation_curve": ("truncation_curve",),
    "sweeps.grid": ("grid",),
    "sweeps.run": ("run",),
    "gradients.forward_mode.rflo": ("rflo",),
    "gradients.forward_mode.rtrl": ("rtrl",),
    "gradients.forward_mode.snap": ("snap",),
    "gradients.forward_mode.uoro": ("uoro",),
    "gradients.loss_and_gradient": ("loss_and_gradient",),
    "networks.initializers": (
        "Gaussian",
        "GaussianRadius",
        "Identity",
        "MatrixFile",
        "NonNormal",
        "Orthogonal",
        "Sparse",
        "Structured",
        "Uniform",
    ),
    "measures.jacobian_products": ("jacobian_products",),
    "measures.measure": ("Measure",),
    "claims.experiment": ("Experiment",),
    "figures.figure": ("StudyFigure",),
    "networks.activations": ("Activation",),
    "networks.lengths": ("find_lengths",),
    "monitoring.monitor": ("Monitor",),
    "networks.losses": ("StepLoss",),
    "tables.table": ("SummaryTable",),
    "measures.sensitivity": ("forward_sensitivity",),
    "measures.lag_terms": ("lag_terms",),
    "networks.pretrained": ("from_file",),
    "measures.lyapunov": ("finite_time_exponents", "lyapunov_spectrum"),
    "measures.singular_values": ("singular_values",),
    "store.store": ("load", "repair"),
    "errors": ("ConfigurationError", "LabError", "LabWarning"),
    "sweeps.scheduler": ("sweep",),
    "gradients.step_gradients": ("input_gradients", "step_gradients"),
    "gradients.trace": ("Trace",),
    "tasks.task": ("Task",),
    "training.optimizers.optimizer": ("Optimizer",),
    "training.train": ("train",),
    "training.penalties.penalty": ("Penalty",),
    "training.projections": ("Projection",),
    "truncation": ("Chunked", "Clipped", "Full", "PerLoss", "Scheme", "Windowed"),
    "measures.gradient_bias": ("truncation_bias",),
    "measures.windowed_products": ("windowed_products",),
}
MODULES = ("figures", "plugins", "tables", "tasks", "theory", "training")
HOME_OF = {name: module for module, names in HOMES.items() for name in names}

__all__ = [*HOME_OF, *MODULES]  # names of the table above


def __getattr__(name: str) -> Any:
    if name in MODULES:
        return import_module(f"bpttlab.{name}")
    if name in HOME_OF:
        return getattr(import_module(f"bpttlab.{HOME_OF[name]}"), name)
    from bpttlab.errors import nearest

    raise AttributeError(f"module 'bpttlab' has no attribute '{name}'.{nearest(name, __all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
