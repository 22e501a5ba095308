"""Schedules: the factor of the learning rate at each update, u = 1, 2, …

A schedule is a function of the update alone, so that a run that goes on later needs no state of it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Annotated

from bpttlab.errors import ConfigurationError
from bpttlab.fields import Field, check_integer, settle_fields


@dataclass(frozen=True)
class Schedule(ABC):
    """A factor of the learning rate for every update."""

    def __post_init__(self) -> None:
        settle_fields(self, "schedule.{}")

    @abstractmethod
    def factor(self, update: int) -> float:
        """The factor at an update, counted from 1."""

    @property
    def length(self) -> int:
        """After so many updates the factor no longer changes; 0: it never does, or it has no end."""
        return 0

    def check_length(self, updates: int) -> None:
        """Refuses a run that ends before the schedule does.

        Raises:
            ConfigurationError: the schedule is longer than so many updates.
        """
        if self.length > updates:
            raise ConfigurationError(f"schedule: takes {self.length} updates; must be at most updates={updates}")


@dataclass(frozen=True)
class Constant(Schedule):
    """1 at every update."""

    def factor(self, update: int) -> float:
        return 1.0


@dataclass(frozen=True)
class StepDecay(Schedule):
    """Multiplied by `gamma` after each `every` updates (`torch.optim.lr_scheduler.StepLR`)."""

    every: Annotated[int, Field(ge=1, description="updates between two drops")]
    gamma: Annotated[float, Field(gt=0, le=1, description="the factor of a drop")] = 0.1

    def factor(self, update: int) -> float:
        return self.gamma ** ((update - 1) // self.every)


@dataclass(frozen=True)
class Cosine(Schedule):
    """From 1 down to `least` along half a cosine (`CosineAnnealingLR`, Loshchilov & Hutter 2017), then constant."""

    updates: Annotated[int, Field(ge=1, description="updates until the factor is `least`")]
    least: Annotated[float, Field(ge=0, le=1, description="the last factor")] = 0.0

    def factor(self, update: int) -> float:
        part = min(update - 1, self.updates) / self.updates
        return self.least + (1.0 - self.least) * (1.0 + math.cos(math.pi * part)) / 2.0

    @property
    def length(self) -> int:
        return self.updates


@dataclass(frozen=True)
class WarmUp(Schedule):
    """u / updates in the first `updates` updates, then another schedule from its beginning."""

    updates: int
    then: Schedule = field(default_factory=Constant)

    def __post_init__(self) -> None:
        object.__setattr__(self, "updates", check_integer("warm_up", self.updates, 0))
        if not isinstance(self.then, Schedule):
            raise ConfigurationError(f"then: is a {type(self.then).__name__}; must be a schedule")

    def factor(self, update: int) -> float:
        return update / self.updates if update <= self.updates else self.then.factor(update - self.updates)

    @property
    def length(self) -> int:
        return self.updates + self.then.length
