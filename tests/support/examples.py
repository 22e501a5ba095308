"""How many examples hypothesis draws: few in `make test`, all in `make verify` (its profile is thorough)."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

ALL, FEW = 60, 12
"""Examples of a test that does not say how many."""


def register_profiles() -> None:
    """Both profiles draw the same examples every time: a red suite is red again."""
    for name, count in (("quick", FEW), ("thorough", ALL)):
        settings.register_profile(
            name, derandomize=True, deadline=None, max_examples=count, suppress_health_check=[HealthCheck.too_slow]
        )
    settings.load_profile("quick")


def examples(count: int, **others: object) -> settings:
    """So many examples in the thorough profile, and a fifth of them, but four or more, in the quick one."""
    share = settings.default.max_examples / ALL
    return settings(max_examples=max(min(count, 4), round(count * share)), **others)
