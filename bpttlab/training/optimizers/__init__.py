"""Optimizers: one class each, found by its `name` (`bpttlab.plugins`). Definitions are those of PyTorch."""

from __future__ import annotations

from bpttlab.training.optimizers.adam import Adam
from bpttlab.training.optimizers.adamw import AdamW
from bpttlab.training.optimizers.optimizer import Optimizer, OptimizerState
from bpttlab.training.optimizers.rmsprop import RMSprop
from bpttlab.training.optimizers.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "OptimizerState", "RMSprop"]
