"""The time of a command that other work has slowed down is measured again."""

import sys

import pytest

from faults import load

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the fault needs Linux")


@pytest.mark.parametrize(
    ("seconds", "measured", "lost"),
    [([1.0], 1, 0), ([2.4, 1.9], 2, 0), ([2.4, 2.3, 2.2, 2.1, 1.0], load.ATTEMPTS, 1)],
)
def test_the_shortest_time_counts(monkeypatch, seconds, measured, lost):
    commands, following = [], iter(seconds)

    def measure(command, folder):
        commands.append(command)
        return load.Took(next(following) if command == "status" else 1.0, 9.0, 1000, 0)

    monkeypatch.setattr(load, "measure_command", measure)
    outcome = load.run(count=1)
    assert commands.count("status") == measured
    assert len(outcome.losses) == lost
    assert all("at most 2 s and 2048 MiB are right" in loss for loss in outcome.losses)
