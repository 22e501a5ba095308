"""Kaplan-Meier estimates and medians of times that some members never reach, beside their definitions in words."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpttlab.errors import LabError
from bpttlab.numerics.censored_times import kaplan_meier, median_time
from bpttlab.numerics.verdicts import median_of

NEVER = math.inf


@st.composite
def samples(draw):
    """Times, of which many are equal, and which of them are events; some of the others are inf."""
    members = draw(st.lists(st.tuples(st.integers(1, 8), st.sampled_from(["event", "censored", "never"])), max_size=14))
    times = [NEVER if kind == "never" else float(time) for time, kind in members]
    return times, [kind == "event" for _, kind in members]


def literal_survival(times, observed, at):
    """The product over all events up to a time of the share of those at risk that survive it, in fractions."""
    share = Fraction(1)
    for time in sorted({time for time, seen in zip(times, observed, strict=True) if seen and time <= at}):
        at_risk = sum(other >= time for other in times)
        events = sum(other == time and seen for other, seen in zip(times, observed, strict=True))
        share *= 1 - Fraction(events, at_risk)
    return share


def literal_median(times, observed):
    reached = [time for time in times if time < NEVER and literal_survival(times, observed, time) <= Fraction(1, 2)]
    return min(reached, default=NEVER)


@settings(max_examples=150, deadline=None)
@given(samples())
def test_survival_is_the_product_over_events(sample):
    curve = kaplan_meier(*sample)
    assert curve.times.tolist() == sorted({time for time in sample[0] if time < NEVER})
    expected = [float(literal_survival(*sample, time)) for time in curve.times]
    np.testing.assert_allclose(curve.survival, expected, rtol=0, atol=1e-12)
    assert curve.events.sum() == sum(sample[1])
    assert curve.at_risk.tolist() == [sum(other >= time for other in sample[0]) for time in curve.times]
    assert (curve.events + curve.censored).sum() == sum(time < NEVER for time in sample[0])


@settings(max_examples=150, deadline=None)
@given(samples())
def test_the_median_is_where_half_have_had_the_event(sample):
    found = median_time(*sample)
    if not sample[0]:
        assert math.isnan(found.value)
        return
    assert found.value == literal_median(*sample)
    assert found.low <= found.value <= found.high


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=15).filter(lambda times: len(times) % 2))
def test_without_censoring_it_is_the_median_of_all_tables(times):
    found, plain = median_time(times, [True] * len(times)), median_of(times)
    assert found[:3] == plain[:3]


def test_a_data_set_of_textbooks_has_its_published_curve():
    """6-mercaptopurine of Freireich et al. 1963, the example of most textbooks: S(6) = 0.857, ..., S(23) = 0.448."""
    times = [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35]
    observed = [1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]
    curve = kaplan_meier(times, observed)
    steps = zip(curve.times, curve.survival, curve.events, strict=True)
    assert {time: round(share, 3) for time, share, events in steps if events} == {
        6: 0.857,
        7: 0.807,
        10: 0.753,
        13: 0.69,
        16: 0.627,
        22: 0.538,
        23: 0.448,
    }
    assert median_time(times, observed).value == 23


def test_a_late_censored_member_counts_differently_at_each_end():
    found = median_time([10, 20, 30, 40, 50, 60, 60, 60], [1, 1, 1, 1, 1, 0, 0, 0])
    assert found[:3] == (40, 10, NEVER)
    assert median_time([60] * 6, [0] * 6)[:3] == (NEVER, 60, NEVER)


def test_one_that_never_can_stays_at_risk():
    assert kaplan_meier([1, NEVER], [1, 0]).survival.tolist() == [0.5]
    assert kaplan_meier([1, 2, NEVER], [0, 1, 0]).survival.tolist() == [1.0, 0.5]
    assert median_time([NEVER, NEVER], [0, 0]).value == NEVER


@pytest.mark.parametrize(("times", "observed"), [([1, math.nan], [1, 0]), ([1, NEVER], [1, 1])])
def test_a_time_that_is_missing_is_refused(times, observed):
    with pytest.raises(LabError, match="every event a finite one"):
        median_time(times, observed)
