"""The training loop as a generator: one update after another, and what is known of the run meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from bpttlab.errors import DivergedError, GradientRangeError, NonFiniteError
from bpttlab.training.history import History, UpdateRow
from bpttlab.training.update import Setup, TrainingState


class Moment(NamedTuple):
    """A run between two updates; it is replaced as a whole, so that an interruption finds all of it of one update.

    Attributes:
        state: after the last update.
        before: the state before it, which had a finite loss.
        row: of the last update; None before the first one.
        solved_at: as in `Trained`.
        ended: whether no update follows.
    """

    state: TrainingState
    before: TrainingState
    row: UpdateRow | None = None
    solved_at: int | None = None
    ended: bool = False


class Ongoing:
    """What is known of a run that goes on; each update changes it.

    Args:
        state, before, row, solved_at, ended: see `Moment`.
        history: the rows that are kept.

    Attributes:
        moment: after the last update.
        history: the rows.
        diverged_at, reason: as in `Trained`.
    """

    def __init__(
        self,
        state: TrainingState,
        before: TrainingState,
        row: UpdateRow | None = None,
        history: History | None = None,
        solved_at: int | None = None,
        ended: bool = False,
    ) -> None:
        self.moment = Moment(state, before, row, solved_at, ended)
        self.history = History() if history is None else history
        self.diverged_at: int | None = None
        self.reason = ""

    @property
    def state(self) -> TrainingState:
        return self.moment.state

    @property
    def before(self) -> TrainingState:
        return self.moment.before

    @property
    def row(self) -> UpdateRow | None:
        return self.moment.row

    @property
    def solved_at(self) -> int | None:
        return self.moment.solved_at

    @property
    def ended(self) -> bool:
        return self.moment.ended

    def trim(self) -> None:
        """Drops the row of an update that was interrupted."""
        while self.history.rows and self.history.rows[-1].update > self.state.update:
            self.history.rows.pop()


class Step(NamedTuple):
    """An update that was done: the state after it, and its row."""

    state: TrainingState
    row: UpdateRow


def iterate_updates(setup: Setup, known: Ongoing, until: int | None = None) -> Iterator[Step]:
    """One update after another, until the task is solved, the run has diverged or all updates are done.

    Args:
        setup: of `make_setup`.
        known: `Ongoing(state, state)` of the state to begin with, in which is kept what is known.
        until: the last update that is done; None: that of the settings.
    """
    settings = setup.settings
    last = settings.updates if until is None else until
    while known.state.update < last and not known.ended:
        following = known.state.update + 1
        try:
            with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
                state, row = setup.step(known.state)
                moment = Moment(state, known.state, row, known.solved_at)
                if settings.is_checked(following):
                    moment = check_moment(setup, moment)
        except (DivergedError, NonFiniteError, GradientRangeError) as error:
            diverge(known, following, error)
            return
        assert moment.row is not None
        if settings.is_recorded(following) or moment.row.validation_loss is not None:
            known.history.rows.append(moment.row)
        known.moment = moment
        yield Step(state, moment.row)


def check_moment(setup: Setup, moment: Moment) -> Moment:
    """The moment after an update at which it is checked what was learnt."""
    try:
        found, bound = setup.check(moment.state), setup.solved_below
    except (DivergedError, NonFiniteError) as error:
        raise GradientRangeError(f"after the step: {error}") from None
    assert moment.row is not None
    row = moment.row._replace(
        validation_loss=found.loss, validation_accuracy=found.accuracy, validation_error=found.sequence_error
    )
    if moment.solved_at is None and bound is not None and found.error <= bound:
        return moment._replace(row=row, solved_at=row.update, ended=setup.settings.stop == "solved")
    return moment._replace(row=row)


def diverge(known: Ongoing, update: int, error: Exception) -> None:
    """Keeps the last state that had a finite loss and gradient.

    A gradient that is too large belongs to weights whose loss is finite; any other error says that the weights
    themselves have no finite loss.
    """
    known.diverged_at, known.reason = update, str(error)
    good = known.state if isinstance(error, GradientRangeError) else known.before
    known.moment = known.moment._replace(state=good, ended=True)
