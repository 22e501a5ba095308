"""`lab.train`: a network, a task and an optimizer -> weights and a history; and the loop as a generator."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from dataclasses import fields as declared
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import numpy as np
from tqdm import tqdm

from bpttlab.errors import ConfigurationError, LabWarning, nearest
from bpttlab.fields import check_integer, format_value
from bpttlab.networks.cells.cell import Cell, Params
from bpttlab.networks.losses import Reduction
from bpttlab.numerics.array import detach_all
from bpttlab.tasks.task import Task
from bpttlab.training.checkpoints import CheckpointFile, describe_setup, read_checkpoint
from bpttlab.training.history import History
from bpttlab.training.loop import Ongoing, iterate_updates
from bpttlab.training.optimizers import Adam, Optimizer
from bpttlab.training.penalties.penalty import Penalty
from bpttlab.training.projections import Projection
from bpttlab.training.settings import Training
from bpttlab.training.success import Evaluation
from bpttlab.training.update import Setup, TrainingState, make_setup
from bpttlab.truncation.scheme import Scheme
from bpttlab.truncation.segmented import Full

if TYPE_CHECKING:
    import pandas as pd

TrainingStatus = Literal["done", "solved", "diverged", "interrupted"]

QUIET_SECONDS = 2.0
"""A run that takes no longer shows no progress."""


@dataclass(frozen=True, repr=False)
class Trained:
    """A network after training.

    Attributes:
        cell, params: the network: after the last update, or the last one whose loss and gradient were finite.
        status: done; solved: it ended early for that; diverged; interrupted.
        updates: how many updates `params` have seen.
        solved_at: the update at whose check the task was solved first; None: at none (censored at `updates`).
        diverged_at: the update whose loss, gradient or weights were not finite; None: there is none.
        reason: why it diverged.
        records: the rows.
        state: what training can go on from.
        setup: all that decides an update.
    """

    cell: Cell
    params: Params
    status: TrainingStatus
    updates: int
    solved_at: int | None
    diverged_at: int | None
    reason: str
    records: History
    state: TrainingState
    setup: Setup

    def __repr__(self) -> str:
        at = {"solved": f" at update {self.solved_at}", "diverged": f" at update {self.diverged_at}"}
        return f"Trained({self.cell.name}, {self.updates} updates, {self.status}{at.get(self.status, '')})"

    @property
    def history(self) -> pd.DataFrame:
        """A row for each recorded update (`history.UpdateRow`)."""
        return self.records.frame

    @property
    def gradient_history(self) -> pd.DataFrame:
        """A row for each recorded update and parameter: log_gradient_norm."""
        return self.records.gradients

    def test(self) -> Evaluation:
        """Loss and errors on sequences that training has not used: the test part of a finite set.

        Raises:
            ConfigurationError: the data are fresh, or have no test part.
        """
        batch = self.setup.test_batch
        if batch is None:
            raise ConfigurationError("test: there is no test part; give data='epochs' and test > 0")
        return self.setup.evaluate(self.state, batch)


class InterruptedTraining(KeyboardInterrupt):
    """Ctrl-C during training; `trained` has the weights and the history up to then."""

    def __init__(self, trained: Trained) -> None:
        super().__init__(f"training was interrupted after update {trained.updates}; the error's `trained` has it")
        self.trained = trained


def train(
    cell: Cell,
    params: Params,
    task: Task,
    *,
    optimizer: Optimizer | None = None,
    batch_size: int = 16,
    seed: int = 0,
    scheme: Scheme | None = None,
    reduction: Reduction = "mean",
    engine: str = "numba",
    penalty: Penalty | None = None,
    projection: Projection | None = None,
    frozen: Collection[str] = (),
    settings: Training | Mapping[str, Any] | None = None,
    callback: Callable[[int, Params], None] | None = None,
    checkpoint: str | Path | None = None,
    progress: bool | None = None,
    **fields: Any,
) -> Trained:
    """Trains a network on a task.

        trained = lab.train(cell, params, task, learning_rate=1e-2, updates=500, clip_norm=1.0)
        trained.params, trained.history, trained.solved_at

    Args:
        cell, params: the network before training; the arrays are not changed.
        task: a source of sequences, with its loss.
        optimizer: Adam() by default.
        batch_size: sequences of an update.
        seed: of the batches, and of what schemes draw.
        scheme: how the gradient is truncated or estimated; the full gradient by default.
        reduction: of the loss whose gradient is followed.
        engine: "numba" for compiled loops, where the cell has them, or "numpy".
        penalty: is added to loss and gradient, times `penalty_strength`.
        projection: of recurrent matrices, after each step.
        frozen: names of parameters that stay as they are.
        settings, fields: of `training.Training`: learning_rate, updates, schedule, clip_norm, clip_value, data, ...
        callback: is called with 0 and the weights before training, and after each update with its number.
        checkpoint: a file, .npz, in which the state of the run is kept. It is written every ten seconds, after Ctrl-C
            and at the end. If it is there, training goes on from it, with the same bytes as without interruption.
        progress: a bar (True), silence (False), or a bar for what takes more than two seconds (None).

    Returns:
        the weights, the history and how it ended. A loss, a gradient or a weight that is not finite ends training with
        a warning; `params` are then the last weights that had a finite loss and gradient.

    Raises:
        ConfigurationError: an argument is not as above; the message names it.
        InterruptedTraining: Ctrl-C; it is a KeyboardInterrupt, and its `trained` has what was done.
    """
    chosen = settle_settings(settings, fields)
    check_network(cell, params, task)
    check_options(frozen, callback, checkpoint, progress)
    chosen.refuse_ineffective(settle("penalty", penalty, Penalty, None))
    setup, state = make_setup(
        cell,
        detach_all(params),
        task,
        chosen,
        settle("optimizer", optimizer, Optimizer, Adam()),
        settle("scheme", scheme, Scheme, Full()),
        check_integer("seed", seed, 0),
        check_integer("batch_size", batch_size, 1),
        reduction,
        engine,
        settle("penalty", penalty, Penalty, None),
        settle("projection", projection, Projection, None),
        frozen,
    )
    file, known = None, Ongoing(state, state)
    if checkpoint is not None:
        about = describe_setup(setup, state)
        file, known = CheckpointFile(Path(checkpoint), about), read_checkpoint(Path(checkpoint), about) or known
        file.begin(known)

    def observe(known: Ongoing) -> None:
        if file is not None:
            file.save_if_due(known)
        if callback is not None:
            callback(known.state.update, setup.layout.params(known.state.vector))

    try:
        trained = run_updates(setup, known, observe, progress)
    finally:
        if file is not None and known.diverged_at is None:
            known.trim()
            file.save_or_warn(known)
    if trained.status == "diverged":
        text = f"training diverged at update {trained.diverged_at}: {trained.reason}; the weights are those before it"
        warnings.warn(text, LabWarning, stacklevel=2)
    return trained


def run_updates(
    setup: Setup,
    known: Ongoing,
    observe: Callable[[Ongoing], None] | None = None,
    progress: bool | None = None,
    until: int | None = None,
) -> Trained:
    """All updates that are left.

    Args:
        known: the state to begin with, in which is kept what is known.
        observe: is called before the first update, and after each.
        progress: as in `train`.
        until: the last update that is done; None: that of the settings.

    Raises:
        InterruptedTraining: Ctrl-C.
    """
    start = known.state.update
    # a hidden bar, too, holds a semaphore, which a worker that is ended leaves behind
    with nullcontext() if progress is False else make_bar(setup.settings.updates, start, progress) as bar:
        try:
            if observe is not None and start == 0:
                observe(known)
            for _ in iterate_updates(setup, known, until):
                if bar is not None:
                    bar.update()
                if observe is not None:
                    observe(known)
        except KeyboardInterrupt:
            known.trim()
            raise InterruptedTraining(describe(setup, known, "interrupted")) from None
    return describe(setup, known)


def make_bar(total: int, start: int, progress: bool | None) -> tqdm[NoReturn]:
    """A bar of updates, which appears after some seconds; with None only on a terminal."""
    return tqdm(
        total=total,
        initial=start,
        unit="update",
        delay=QUIET_SECONDS,
        leave=False,
        disable=None if progress is None else not progress,
    )


def describe(setup: Setup, known: Ongoing, status: TrainingStatus = "done") -> Trained:
    """What has become of a run."""
    if known.diverged_at is not None:
        status = "diverged"
    elif known.ended:
        status = "solved"
    return Trained(
        setup.cell,
        {name: np.array(value) for name, value in setup.layout.params(known.state.vector).items()},
        status,
        known.state.update,
        known.solved_at,
        known.diverged_at,
        known.reason,
        known.history,
        known.state,
        setup,
    )


# ------------------------------------------------------------------ arguments


_EXAMPLES = {
    "optimizer": "lab.training.Adam(); there are SGD, RMSprop, Adam and AdamW",
    "scheme": "lab.Chunked(20)",
    "penalty": "lab.training.Omega()",
    "projection": "lab.training.NearestOrthogonal()",
}


def check_network(cell: Any, params: Any, task: Any) -> None:
    """Refuses what is no network and no task."""
    for name, given, kind, example in (
        ("cell", cell, Cell, "lab.LSTM(2, 16, 1)"),
        ("task", task, Task, "lab.tasks.Adding(20)"),
    ):
        if not isinstance(given, kind):
            raise ConfigurationError(f"{name}={format_value(given)}: must be an object, like {example}")
    is_named = isinstance(params, Mapping)
    for name, value in params.items() if is_named else ():
        if not hasattr(value, "shape"):
            raise ConfigurationError(f"params[{name!r}]={format_value(value)}: must be an array")
    if not is_named:
        raise ConfigurationError(f"params={format_value(params)}: must be arrays by name, like cell.init(0)")


def check_options(frozen: Any, callback: Any, checkpoint: Any, progress: Any) -> None:
    """Refuses the options of `train` that are of another type."""
    if isinstance(frozen, str) or not isinstance(frozen, Collection) or not all(isinstance(one, str) for one in frozen):
        raise ConfigurationError(f"frozen={format_value(frozen)}: must be a list of names of parameters, like ['b_h']")
    if callback is not None and not callable(callback):
        raise ConfigurationError(f"callback={format_value(callback)}: must be a function of an update and parameters")
    if checkpoint is not None and not isinstance(checkpoint, str | Path):
        raise ConfigurationError(f"checkpoint={format_value(checkpoint)}: must be the name of a .npz file, or None")
    if progress is not None and not isinstance(progress, bool):
        raise ConfigurationError(f"progress={format_value(progress)}: must be True, False or None")


def settle(name: str, given: Any, kind: type, default: Any) -> Any:
    """An object of a class, or the default."""
    if given is None:
        return default
    if not isinstance(given, kind):
        raise ConfigurationError(f"{name}={format_value(given)}: must be an object, like {_EXAMPLES[name]}")
    return given


def settle_settings(settings: Training | Mapping[str, Any] | None, fields: Mapping[str, Any]) -> Training:
    """Settings as an object, with the fields that are given by name."""
    given = {} if settings is None else vars(settings) if isinstance(settings, Training) else dict(settings)
    known = [one.name for one in declared(Training)]
    for name in (*given, *fields):
        if name not in known:
            others = set(signature(train).parameters) - {name}
            advice = nearest(name, [*known, *sorted(others)]) or f" The settings are {', '.join(known)}."
            raise ConfigurationError(f"{name}: there is no such argument or setting.{advice}")
    return Training(**{**given, **fields})
