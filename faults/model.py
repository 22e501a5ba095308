"""A model beside the store: what Hypothesis does to both must be read from the store as the model has it.

    python -m faults model [--quick] [--seed N]

The steps are those of several writers (`store_machine`) and of sweeps that train networks (`training_machine`), of
kills and of damage. A failure is printed as the steps that lead to it; the same seed finds it again.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator

import hypothesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from faults.needs import Progress, need_linux
from faults.outcome import Outcome
from faults.store_machine import TRIED, StoreMachine
from faults.training_machine import TrainingMachine

STEPS = 25


def tried_settings(count: int, steps: int = STEPS, shrink: bool = True) -> settings:
    """So many sequences of so many steps at most."""
    phases = [Phase.generate, *([Phase.shrink] if shrink else [])]
    checks = list(HealthCheck)
    return settings(
        max_examples=count,
        stateful_step_count=steps,
        phases=phases,
        database=None,
        deadline=None,
        print_blob=True,
        report_multiple_bugs=False,
        suppress_health_check=checks,
    )


def find_failure(
    chosen: settings, seed: int, progress: Progress | None = None, steps: type[StoreMachine] = TrainingMachine
) -> Iterator[str]:
    """What does not hold, with the steps that lead to it."""
    ended = itertools.count(1)

    def note_end(machine: StoreMachine) -> None:
        steps.note_end(machine)
        if progress:
            progress(next(ended), chosen.max_examples, 0)

    machine = hypothesis.seed(seed)(type("Machine", (steps,), {"note_end": note_end}))
    try:
        run_state_machine_as_test(machine, settings=chosen)
    except Exception as error:
        yield " | ".join(describe_error(error))


def describe_error(error: BaseException) -> Iterator[str]:
    """What was raised, with its notes and its parts: Hypothesis raises a group for a failure that comes and goes."""
    yield f"{type(error).__name__}: {error}"
    yield from getattr(error, "__notes__", ())
    for part in getattr(error, "exceptions", ()):
        yield from describe_error(part)


def run(count: int = 400, seed: int = 0, progress: Progress | None = None) -> Outcome:
    """So many sequences of steps."""
    need_linux()
    TRIED.clear()
    losses = list(find_failure(tried_settings(count), seed, progress))
    return Outcome(Counter(TRIED), losses, f"python -m faults model --count {count} --seed {seed}")
