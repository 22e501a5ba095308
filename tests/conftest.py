"""Test settings: one BLAS thread, and the same examples of hypothesis every time: a red suite is red again."""

from bpttlab.sweeps import blas_threads

blas_threads.pin()  # before anything imports NumPy

import pytest
from hypothesis import HealthCheck, settings

from tests.support.commandline import folder, studied  # noqa: F401
from tests.support.stored import here, quick_disk  # noqa: F401  # the fixtures of all tests of results

settings.register_profile(
    "lab", derandomize=True, deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("lab")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of compiled loops go to one worker, so that each loop is compiled once and not once a worker.

    They are recognised by their folder, or by a case whose name says numba.
    """
    for item in items:
        if "gradients/compiled/" in item.nodeid or "numba" in item.nodeid:
            item.add_marker(pytest.mark.xdist_group("compiled"))
