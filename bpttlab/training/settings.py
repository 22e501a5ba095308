"""The settings of a training run: the fields of the group `training` of a configuration."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from typing import Annotated, ClassVar, Literal

from bpttlab.errors import ConfigurationError
from bpttlab.fields import Field, format_value, settle_fields
from bpttlab.tasks.task import Task
from bpttlab.training.data import EpochBatches, FreshBatches, TrainingData
from bpttlab.training.penalties.penalty import Penalty
from bpttlab.training.schedules import Constant, Cosine, Schedule, StepDecay, WarmUp
from bpttlab.truncation.forward import RFLO, RTRL, UORO, SnAp
from bpttlab.truncation.scheme import Scheme
from bpttlab.truncation.segmented import Chunked, Windowed

MeasureAt = Annotated[
    str,
    Field(
        description="updates at which a sweep measures: log (0, 1, 2, 5, 10, …), ends, every:N, or a list [0,100,…]; "
        "the last update always is one of them"
    ),
]


OF_PENALTY = ("penalty_strength", "penalty_every", "penalty_until", "penalty_alone")
OF_SCHEDULE = ("schedule_updates", "schedule_factor")
OF_EPOCHS = ("sequences", "validation", "test")
"""Fields that count beside a penalty, a schedule and a finite set."""


@dataclass(frozen=True)
class NoTraining:
    """Networks are measured as they are drawn."""

    name: ClassVar[str] = "none"


@dataclass(frozen=True)
class NoPenalty:
    """Training follows the gradient of the loss alone."""

    name: ClassVar[str] = "none"


@dataclass(frozen=True)
class NoProjection:
    """A step of the optimizer is left as it is."""

    name: ClassVar[str] = "none"


@dataclass(frozen=True)
class Training:
    """Networks are trained on the task of the run, and measured at some updates."""

    name: ClassVar[str] = "standard"

    updates: Annotated[int, Field(ge=1, description="optimizer steps; fewer if the task is solved before")] = 1000
    learning_rate: Annotated[
        float | None, Field(gt=0, description="eta; null: that of PyTorch: 0.001, rmsprop 0.01")
    ] = None
    update: Annotated[
        Literal["sequence", "window", "step"],
        Field(
            description="sequence: a step of the optimizer for each batch; window: one after each window of a scheme "
            "that has a loss, with the state carried on from older weights; step: one after each step of time that has "
            "a loss, with the influence carried on, for schemes that go forward"
        ),
    ] = "sequence"
    schedule: Annotated[
        Literal["constant", "step", "cosine"], Field(description="of the learning rate, after the warm-up")
    ] = "constant"
    schedule_updates: Annotated[
        int | None,
        Field(ge=1, description="step: updates between two drops; cosine: updates to its end; null: all that are left"),
    ] = None
    schedule_factor: Annotated[
        float | None,
        Field(ge=0, le=1, description="step: factor of a drop, null is 0.1; cosine: the last factor, null is 0"),
    ] = None
    warm_up: Annotated[int, Field(ge=0, description="updates in which the learning rate grows from 0, linearly")] = 0
    clip_norm: Annotated[
        float | None, Field(gt=0, description="largest norm of the gradient of all parameters together; null: none")
    ] = None
    clip_value: Annotated[
        float | None, Field(gt=0, description="largest absolute value of an entry of the gradient; null: none")
    ] = None
    penalty_strength: Annotated[float, Field(ge=0, description="factor of the penalty, if there is one")] = 1.0
    penalty_every: Annotated[int, Field(ge=1, description="the penalty counts at every so many-th update")] = 1
    penalty_until: Annotated[
        int | None, Field(ge=1, description="the last update at which the penalty counts; null: all")
    ] = None
    penalty_alone: Annotated[
        int, Field(ge=0, description="so many updates at the beginning follow the penalty without the loss")
    ] = 0
    data: Annotated[
        Literal["fresh", "epochs"],
        Field(description="fresh: new sequences at each update; epochs: a finite set, divided into three parts"),
    ] = "fresh"
    sequences: Annotated[int | None, Field(ge=2, description="of the finite set; null: all that the task has")] = None
    validation: Annotated[float, Field(gt=0, lt=1, description="share of a finite set that is checked")] = 0.1
    test: Annotated[float, Field(ge=0, lt=1, description="share of a finite set that is kept for the end")] = 0.1
    check_every: Annotated[int, Field(ge=1, description="updates between two checks of what was learnt")] = 100
    check_sequences: Annotated[int, Field(ge=1, description="of a check with fresh data")] = 1000
    stop: Annotated[
        Literal["solved", "updates"],
        Field(description="solved: training ends at the check that finds the task solved; updates: it goes on"),
    ] = "solved"
    solved_below: Annotated[
        float | None,
        Field(
            ge=0,
            description="error below which the task is solved: the loss of numbers, the share of sequences with a "
            "wrong class or bit; null: the task's own",
        ),
    ] = None
    record_every: Annotated[int, Field(ge=1, description="updates between two rows of the table training")] = 1
    measure_at: MeasureAt = field(default="log", compare=False)

    def __post_init__(self) -> None:
        settle_fields(self, "training.{}")
        self.make_schedule().check_length(self.updates)
        self.measured_updates()
        if (self.schedule_updates or 0) > self.updates:
            raise ConfigurationError(
                f"training.schedule_updates={self.schedule_updates}: must be at most training.updates={self.updates}"
            )
        if self.data == "epochs" and self.validation + self.test >= 1.0:
            raise ConfigurationError(
                f"training.validation={self.validation}, training.test={self.test}: must be less than 1 together; the "
                "rest is trained on"
            )
        if self.penalty_alone > self.updates:
            raise ConfigurationError(
                f"training.penalty_alone={self.penalty_alone}: must be at most training.updates={self.updates}"
            )

    def check(self, scheme: Scheme, penalty: Penalty | None) -> None:
        """Refuses updates within a sequence that a scheme has none of, and what is of whole sequences beside them."""
        if self.update == "sequence":
            return
        if self.update == "step" and not isinstance(scheme, RTRL | UORO | SnAp | RFLO):
            raise ConfigurationError(
                f"training.update=step: scheme '{scheme.name}' does not go forward; must be rtrl, uoro, snap or rflo"
            )
        if self.update == "window" and not isinstance(scheme, Chunked | Windowed):
            raise ConfigurationError(
                f"training.update=window: scheme '{scheme.name}' has no windows; must be chunked or windowed, with a "
                "truncation"
            )
        if penalty is not None:
            raise ConfigurationError(
                f"penalty={penalty.name}: is of whole sequences; must be none with update={self.update}"
            )

    def changed_fields(self) -> set[str]:
        """The fields that are not as by default."""
        return {one.name for one in fields(self) if getattr(self, one.name) != one.default}

    def find_ineffective(self, penalty: Penalty | None) -> dict[str, str]:
        """Fields that are not as by default and that nothing depends on, each with what they would need."""
        needed: dict[str, tuple[str, ...]] = {}
        if penalty is None:
            needed["there is no penalty; choose one with penalty="] = OF_PENALTY
        if self.schedule == "constant":
            needed["schedule=constant has no drops and no end; must be schedule=step or cosine"] = OF_SCHEDULE
        if self.data == "fresh":
            needed["data=fresh draws new sequences; must be data=epochs"] = OF_EPOCHS
        changed = self.changed_fields()
        return {name: reason for reason, names in needed.items() for name in names if name in changed}

    def refuse_ineffective(self, penalty: Penalty | None) -> None:
        """Refuses the first field that nothing depends on."""
        for name, reason in self.find_ineffective(penalty).items():
            raise ConfigurationError(f"{name}={format_value(getattr(self, name))}: has no effect: {reason}")

    def check_sources(self, task: Task, batch_size: int, file_update: int | None) -> None:
        """Refuses a finite set that the task does not have, and weights from a file that has a number of updates."""
        if self.data == "epochs":
            self.make_data(task, 0, batch_size)
        if file_update is not None:
            raise ConfigurationError(
                f"cell.update={file_update}: the column `update` counts the updates of training=standard; leave "
                "cell.update out"
            )

    def make_schedule(self) -> Schedule:
        """The schedule with its warm-up.

        Raises:
            ConfigurationError: the warm-up leaves no update for it.
        """
        left = self.updates - self.warm_up
        if left < 1:
            raise ConfigurationError(f"training.warm_up={self.warm_up}: must be below training.updates={self.updates}")
        updates, factor = self.schedule_updates or left, self.schedule_factor
        then: Schedule = Constant()
        if self.schedule == "step":
            then = StepDecay(updates, 0.1 if factor is None else factor)
        elif self.schedule == "cosine":
            then = Cosine(updates, 0.0 if factor is None else factor)
        return WarmUp(self.warm_up, then) if self.warm_up else then

    def make_data(self, task: Task, seed: int, batch_size: int) -> TrainingData:
        """The batches of a task."""
        if self.data == "fresh":
            return FreshBatches(task, seed, batch_size, self.check_sequences)
        return EpochBatches(task, seed, batch_size, self.sequences, self.validation, self.test)

    def measured_updates(self) -> tuple[int, ...]:
        """The updates at which a sweep measures, ascending, the last one among them.

        Raises:
            ConfigurationError: `measure_at` is none of the forms, or names an update that there is not.
        """
        text, last = self.measure_at.replace(" ", ""), self.updates
        if text == "log":
            wanted = [0, *(digit * 10**power for power in range(len(str(last))) for digit in (1, 2, 5))]
        elif text == "ends":
            wanted = [0]
        elif every := re.fullmatch(r"every:([1-9]\d{0,8})", text):
            wanted = list(range(0, last, int(every[1])))
        elif re.fullmatch(r"\[\d{1,9}(,\d{1,9})*\]", text):
            wanted = [int(number) for number in text[1:-1].split(",")]
            if max(wanted) > last:
                raise ConfigurationError(
                    f"training.measure_at={self.measure_at}: must be at most training.updates={last}"
                )
        else:
            raise ConfigurationError(
                f"training.measure_at={format_value(self.measure_at)}: must be log, ends, every:N or a list [0,100,200]"
            )
        return tuple(sorted({last, *(update for update in wanted if update <= last)}))

    def uses_penalty(self, update: int) -> bool:
        """Whether the penalty counts at an update."""
        within = self.penalty_until is None or update <= self.penalty_until
        return update <= self.penalty_alone or (within and (update - 1) % self.penalty_every == 0)

    def is_checked(self, update: int) -> bool:
        """Whether it is checked after an update what was learnt."""
        return update % self.check_every == 0 or update == self.updates

    def is_recorded(self, update: int) -> bool:
        return update % self.record_every == 0 or update == self.updates
