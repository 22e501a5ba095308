"""Real cuts need root and loop devices: what they are made of is tested without."""

import os
import sys
import time

import pytest

from faults import ext4_cuts
from faults.needs import NotTriedError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="children are forked")


def test_without_root_it_is_not_tried(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NotTriedError, match="needs root"):
        ext4_cuts.need_loop_devices(tmp_path)


def test_a_child_is_stopped_and_ended(tmp_path):
    said = tmp_path / "said"
    said.touch()
    pid = ext4_cuts.begin(lambda: time.sleep(60), said)
    assert ext4_cuts.stop(pid, 0.0)
    ext4_cuts.end(pid)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_child_that_has_ended_is_not_stopped(tmp_path):
    said = tmp_path / "said"
    said.touch()
    pid = ext4_cuts.begin(lambda: 0, said)
    assert not ext4_cuts.stop(pid, 0.2)
    ext4_cuts.end(pid)
