"""Many faults are tried in parts, by several processes, and each of them once."""

from collections import Counter

import pytest

from faults import parts


def try_numbers(places):
    """Loses each number that ends with 7."""
    return Counter(str(place) for place in places), [f"0:{place}" for place in places if place % 10 == 7]


@pytest.mark.parametrize("count", [0, 3, 10, 25])
def test_each_fault_is_tried_once_in_any_number_of_parts(count, monkeypatch):
    monkeypatch.setattr(parts, "PART", 10)
    tried, losses = parts.try_in_parts(try_numbers, count, jobs=2)
    assert tried == Counter(map(str, range(count)))
    assert losses == sorted(f"0:{place}" for place in range(7, count, 10))


def test_progress_is_shown_after_each_part(monkeypatch):
    monkeypatch.setattr(parts, "PART", 10)
    shown = []
    parts.try_in_parts(try_numbers, 25, jobs=1, progress=lambda *numbers: shown.append(numbers))
    assert shown == [(10, 25, 1), (20, 25, 2), (25, 25, 2)]
