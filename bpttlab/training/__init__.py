"""Networks that learn: optimizers, schedules, clipping, the loop, and what is recorded of it."""

from __future__ import annotations

from bpttlab.training.clipping import ClippedGradient, clip_gradient_norm, clip_gradient_value
from bpttlab.training.optimizers import SGD, Adam, AdamW, Optimizer, OptimizerState, RMSprop
from bpttlab.training.schedules import Constant, Cosine, Schedule, StepDecay, WarmUp

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "ClippedGradient",
    "Constant",
    "Cosine",
    "Optimizer",
    "OptimizerState",
    "RMSprop",
    "Schedule",
    "StepDecay",
    "WarmUp",
    "clip_gradient_norm",
    "clip_gradient_value",
]
