"""Hostile stored studies, networks and sequences, a few of them; `python -m faults stored_files` tries ten thousand."""

import pytest

from faults import load, stored_files


def test_hostile_files_are_read_or_refused_in_one_line():
    outcome = stored_files.run(24, 5)
    assert not outcome.losses, outcome
    assert outcome.tried.total() == 24


@pytest.mark.slow
def test_a_made_up_study_is_counted_and_summarised_in_time():
    outcome = load.run(20, 0)
    assert not outcome.losses, outcome
    assert outcome.tried.total() == len(load.LIMITS)
