"""Tests of compiled loops run in one worker, so that each loop is compiled once."""

import pytest


def test_this_folder_is_one_group_of_the_workers(request):
    """A release of pytest that pytest-xdist does not know would ignore the groups, and say nothing."""
    if not hasattr(request.config, "workerinput"):
        pytest.skip("in a process of its own")
    assert request.node.get_closest_marker("xdist_group").args == ("compiled",)
    assert not request.config.option.loadgroup or request.node.nodeid.endswith("@compiled")
