"""Test settings: one BLAS thread, and the same examples of hypothesis every time: a red suite is red again."""

from bpttlab.sweeps import blas_threads

blas_threads.pin()  # before anything imports NumPy

import gc

import pytest

from tests.support.commandline import folder, studied  # noqa: F401
from tests.support.compiled import needs_numba
from tests.support.composition import share_composer
from tests.support.drawing import without_layout  # noqa: F401
from tests.support.examples import register_profiles
from tests.support.stored import here, quick_disk  # noqa: F401  # the fixtures of all tests of results

register_profiles()
share_composer()


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    """Tests of compiled loops go to one worker, so that each loop is compiled once and not once a worker.

    They are recognised by their folder, by a case whose name says numba, by `needs_numba`, or by their mark. They take
    longest: they begin. Groups need pytest-xdist to know this pytest: 3.8 does not know 9.2, and ignores them without a
    word.
    """
    for item in items:
        if "gradients/compiled/" in item.nodeid or "numba" in item.nodeid or compiles(item):
            item.add_marker(pytest.mark.xdist_group("compiled"))
        elif shared := find_shared_fixtures(item):
            item.add_marker(pytest.mark.xdist_group(shared[0]))


def compiles(item: pytest.Function) -> bool:
    """Whether a test is marked `compiles` or `needs_numba`."""
    skipped = {mark.kwargs.get("reason") for mark in item.iter_markers("skipif")}
    return bool(item.get_closest_marker("compiles")) or needs_numba.kwargs["reason"] in skipped


def pytest_collection_finish() -> None:
    """What is collected lives until the end: the garbage collector need not look at it again and again.

    That would take up to a tenth of the time of all tests. Cycles are also looked for less often than by default.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(5000, 20, 10)


def find_shared_fixtures(item: pytest.Function) -> list[str]:
    """The fixtures of ours that are set up once for several tests: one worker has all of these, so that it is once."""
    fixtures = item._fixtureinfo.name2fixturedefs  # pytest has no public way to them
    return sorted(
        definition.func.__module__ if definition.scope == "module" else name
        for name, definitions in fixtures.items()
        for definition in definitions
        if definition.scope != "function" and definition.func.__module__.startswith("tests.")
    )
