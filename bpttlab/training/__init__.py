"""Networks that learn: optimizers, schedules, clipping, penalties, projections, the loop, and its records."""

from __future__ import annotations

from bpttlab.training.clipping import ClippedGradient, clip_gradient_norm, clip_gradient_value
from bpttlab.training.data import EpochBatches, FreshBatches, TrainingData
from bpttlab.training.export import name_as_pytorch, save_weights
from bpttlab.training.loop import Ongoing, iterate_updates
from bpttlab.training.optimizers import SGD, Adam, AdamW, Optimizer, OptimizerState, RMSprop
from bpttlab.training.penalties import Flossing, Omega, OmegaOfTheCode, Penalty
from bpttlab.training.projections import NearestOrthogonal, Projection, SingularValueBound, SpectralRadiusBound
from bpttlab.training.schedules import Constant, Cosine, Schedule, StepDecay, WarmUp
from bpttlab.training.settings import Training
from bpttlab.training.success import Evaluation, evaluate_network
from bpttlab.training.train import InterruptedTraining, Trained, run_updates, train
from bpttlab.training.update import Setup, TrainingState, make_setup

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "ClippedGradient",
    "Constant",
    "Cosine",
    "EpochBatches",
    "Evaluation",
    "Flossing",
    "FreshBatches",
    "InterruptedTraining",
    "NearestOrthogonal",
    "Omega",
    "OmegaOfTheCode",
    "Ongoing",
    "Optimizer",
    "OptimizerState",
    "Penalty",
    "Projection",
    "RMSprop",
    "Schedule",
    "Setup",
    "SingularValueBound",
    "SpectralRadiusBound",
    "StepDecay",
    "Trained",
    "Training",
    "TrainingData",
    "TrainingState",
    "WarmUp",
    "clip_gradient_norm",
    "clip_gradient_value",
    "evaluate_network",
    "iterate_updates",
    "make_setup",
    "name_as_pytorch",
    "run_updates",
    "save_weights",
    "train",
]
