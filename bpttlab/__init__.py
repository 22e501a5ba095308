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
    from bpttlab.adaptive_products import lag_norms as lag_norms
    from bpttlab.blocks import block_norms as block_norms
    from bpttlab.bptt import literal_sum as literal_sum
    from bpttlab.cells import GRU as GRU
    from bpttlab.cells import LSTM as LSTM
    from bpttlab.cells import Antisymmetric as Antisymmetric
    from bpttlab.cells import Diagonal as Diagonal
    from bpttlab.cells import Elman as Elman
    from bpttlab.cells import Leaky as Leaky
    from bpttlab.cells import MinimalRNN as MinimalRNN
    from bpttlab.cells import OrthogonalElman as OrthogonalElman
    from bpttlab.cells import Scales as Scales
    from bpttlab.cells import Stacked as Stacked
    from bpttlab.checkpointing import CheckpointedTrace as CheckpointedTrace
    from bpttlab.checkpointing import backward as backward
    from bpttlab.checkpointing import backward_scaled as backward_scaled
    from bpttlab.checkpointing import forward as forward
    from bpttlab.configuration import Configuration as Configuration
    from bpttlab.curves import truncation_curve as truncation_curve
    from bpttlab.expansion import grid as grid
    from bpttlab.experiment import run as run
    from bpttlab.forward_mode import forward_sensitivity as forward_sensitivity
    from bpttlab.forward_mode import rflo as rflo
    from bpttlab.forward_mode import rtrl as rtrl
    from bpttlab.forward_mode import snap as snap
    from bpttlab.forward_mode import uoro as uoro
    from bpttlab.gradient import loss_and_gradient as loss_and_gradient
    from bpttlab.jacobians import jacobian_products as jacobian_products
    from bpttlab.lags import lag_terms as lag_terms
    from bpttlab.own_network import from_file as from_file
    from bpttlab.spectra import lyapunov_spectrum as lyapunov_spectrum
    from bpttlab.store import load as load
    from bpttlab.sweeping import sweep as sweep
    from bpttlab.trace import Trace as Trace
    from bpttlab.truncation import Chunked as Chunked
    from bpttlab.truncation import Full as Full
    from bpttlab.truncation import PerLoss as PerLoss
    from bpttlab.truncation import Windowed as Windowed
    from bpttlab.truncations import truncation_bias as truncation_bias
    from bpttlab.windows import window_norms as window_norms

HOMES = {
    "adaptive_products": ("lag_norms",),
    "blocks": ("block_norms",),
    "bptt": ("literal_sum",),
    "cells": (
        "GRU",
        "LSTM",
        "Antisymmetric",
        "Diagonal",
        "Elman",
        "Leaky",
        "MinimalRNN",
        "OrthogonalElman",
        "Scales",
        "Stacked",
    ),
    "checkpointing": ("CheckpointedTrace", "backward", "backward_scaled", "forward"),
    "configuration": ("Configuration",),
    "curves": ("truncation_curve",),
    "expansion": ("grid",),
    "experiment": ("run",),
    "forward_mode": ("forward_sensitivity", "rflo", "rtrl", "snap", "uoro"),
    "gradient": ("loss_and_gradient",),
    "initializers": ("Gaussian", "GaussianRadius", "Identity", "NonNormal", "Orthogonal", "Sparse", "Uniform"),
    "jacobians": ("jacobian_products",),
    "lags": ("lag_terms",),
    "own_network": ("from_file",),
    "spectra": ("lyapunov_spectrum",),
    "store": ("load",),
    "sweeping": ("sweep",),
    "trace": ("Trace",),
    "truncation": ("Chunked", "Full", "PerLoss", "Windowed"),
    "truncations": ("truncation_bias",),
    "windows": ("window_norms",),
}
MODULES = ("figures", "tables", "tasks", "theory")
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
