"""Schedules of the learning rate, also against those of PyTorch."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpttlab.errors import ConfigurationError
from bpttlab.training.schedules import Constant, Cosine, StepDecay, WarmUp

CASES = [Constant(), StepDecay(3, 0.5), Cosine(10), Cosine(7, 0.1), WarmUp(4), WarmUp(4, Cosine(8))]


@given(schedule=st.sampled_from(CASES), update=st.integers(1, 100))
def test_a_factor_lies_between_zero_and_one(schedule, update):
    assert 0.0 <= schedule.factor(update) <= 1.0


def test_factors_at_chosen_updates():
    assert [StepDecay(2, 0.1).factor(u) for u in (1, 2, 3, 5)] == pytest.approx([1, 1, 0.1, 0.01])
    assert [Cosine(4).factor(u) for u in (1, 3, 5, 99)] == pytest.approx([1, 0.5, 0, 0])
    assert Cosine(4, 0.2).factor(3) == pytest.approx(0.6)
    assert [WarmUp(4).factor(u) for u in (1, 2, 4, 5)] == [0.25, 0.5, 1.0, 1.0]
    assert WarmUp(4, Cosine(4)).factor(7) == pytest.approx(0.5)
    assert WarmUp(0, Cosine(4)).factor(3) == Cosine(4).factor(3)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (StepDecay(3, 0.5), lambda torch, one: torch.StepLR(one, 3, 0.5)),
        (Cosine(10, 0.0), lambda torch, one: torch.CosineAnnealingLR(one, 10)),
        (Cosine(10, 0.2), lambda torch, one: torch.CosineAnnealingLR(one, 10, 0.2)),
    ],
)
def test_schedules_are_those_of_pytorch(ours, theirs):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = theirs(torch.optim.lr_scheduler, optimizer)
    for update in range(1, 11):
        assert math.isclose(ours.factor(update), optimizer.param_groups[0]["lr"], rel_tol=1e-9, abs_tol=1e-12)
        optimizer.step()
        schedule.step()


def test_a_schedule_longer_than_the_run_is_refused():
    WarmUp(4, Cosine(6)).check_length(10)
    with pytest.raises(ConfigurationError, match="takes 10 updates; must be at most updates=9"):
        WarmUp(4, Cosine(6)).check_length(9)


@pytest.mark.parametrize(
    "build",
    [lambda: StepDecay(0), lambda: StepDecay(2, 0.0), lambda: Cosine(0), lambda: WarmUp(-1), lambda: WarmUp(1, 3)],
)
def test_a_wrong_schedule_is_refused(build):
    with pytest.raises(ConfigurationError, match="must be|must be a schedule"):
        build()
