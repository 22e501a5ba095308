"""Hostile stored studies, networks and sequences, a few of them; `python -m faults stored_files` tries ten thousand."""

import itertools

import numpy as np
import pytest

from faults import load, stored_files


@pytest.mark.slow
def test_hostile_files_are_read_or_refused_in_one_line():
    outcome = stored_files.run(24, 5)
    assert not outcome.losses, outcome
    assert outcome.tried.total() == 24


def test_every_change_of_an_array_may_follow_every_other():
    for first, second in itertools.product(stored_files.CHANGES.values(), repeat=2):
        array = first(np.ones((5, 8, 2)))
        if array.dtype.kind == "f":
            assert second(array).nbytes < 1e8


@pytest.mark.slow
def test_a_made_up_study_is_counted_and_summarised_in_time():
    outcome = load.run(20, 0)
    assert not outcome.losses, outcome
    assert outcome.tried.total() == len(load.LIMITS)
