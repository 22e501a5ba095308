"""Test settings: hypothesis examples are drawn the same way every time, so that a red suite is red again."""

from commandline import folder, studied  # noqa: F401
from hypothesis import HealthCheck, settings
from stored import here, quick_disk  # noqa: F401  # the fixtures of all tests of results

settings.register_profile(
    "lab", derandomize=True, deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("lab")
