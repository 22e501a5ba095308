"""Fields that are given and that nothing depends on: they are no part of a run, and a sweep says so once."""

from __future__ import annotations

from collections.abc import Iterable

from bpttlab.sweeps.configuration import Configuration


def describe_ineffective(configurations: Iterable[Configuration]) -> list[str]:
    """A line for each field of the training that has no effect in any run of a sweep."""
    reasons, effective = dict[str, str](), set[str]()
    for run in configurations:
        reasons |= run.ineffective
        if run.training is not None:
            effective |= run.training.changed_fields()
    return [f"training.{name} has no effect: {reason}" for name, reason in reasons.items() if name not in effective]
