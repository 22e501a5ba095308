"""Test settings: one BLAS thread, and the same examples of hypothesis every time: a red suite is red again."""

from bpttlab.sweeps import blas_threads

blas_threads.pin()  # before anything imports NumPy

from hypothesis import HealthCheck, settings

from tests.support.commandline import folder, studied  # noqa: F401
from tests.support.stored import here, quick_disk  # noqa: F401  # the fixtures of all tests of results

settings.register_profile(
    "lab", derandomize=True, deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("lab")
