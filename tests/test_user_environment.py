"""Processors: affinity, and quotas in both versions of control groups; folders that belong to one user alone."""

import math
import os
import stat
import tempfile

import pytest

from bpttlab import user_environment


def make_system(root, membership, files):
    """A folder that looks like `/`, with a process that is a member of control groups."""
    for name, text in {"proc/self/cgroup": membership, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="ascii")
    return root


QUOTAS = [
    ("0::/\n", {"sys/fs/cgroup/cpu.max": "150000 100000\n"}, 2),
    ("0::/\n", {"sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1),
    ("0::/\n", {"sys/fs/cgroup/cpu.max": "max 100000\n"}, 64),
    ("0::/job/step\n", {"sys/fs/cgroup/job/cpu.max": "400000 100000", "sys/fs/cgroup/job/step/cpu.max": "max 1"}, 4),
    ("0::/../..\n", {"sys/fs/cgroup/cpu.max": "300000 100000\n"}, 3),
    (
        "5:cpu,cpuacct:/docker/1\n1:name=systemd:/\n",
        {
            "sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_quota_us": "200000",
            "sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_period_us": "100000",
        },
        2,
    ),
    (
        "5:cpu:/\n",
        {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"},
        64,
    ),
    ("0::/\n", {"sys/fs/cgroup/cpu.max": "nonsense\n"}, 64),
    ("nonsense\n\n", {}, 64),
]


@pytest.mark.parametrize(("membership", "files", "expected"), QUOTAS)
def test_a_quota_limits_the_number_of_processors(tmp_path, monkeypatch, membership, files, expected):
    monkeypatch.setattr(user_environment, "_available_processors", lambda: 64)
    assert user_environment.processors(make_system(tmp_path, membership, files)) == expected


def test_a_system_without_control_groups_has_no_quota(tmp_path, monkeypatch):
    monkeypatch.setattr(user_environment, "_available_processors", lambda: 64)
    assert user_environment.processors(tmp_path) == 64


@pytest.mark.parametrize("missing", ["sched_getaffinity", "process_cpu_count"])
def test_other_systems_count_their_processors(tmp_path, monkeypatch, missing):
    monkeypatch.delattr(os, "process_cpu_count", raising=False)
    monkeypatch.delattr(os, missing, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert 1 <= user_environment.processors(tmp_path) < math.inf


# ------------------------------------------------------------------ folders


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """A folder of temporary files of this test alone."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_private_folder_is_this_users_alone(temporary):
    folder = user_environment.private_folder("code")
    assert folder == user_environment.private_folder("code")
    assert folder.parent.parent == temporary
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("kind", ["open", "link", "file"])
def test_a_folder_that_others_may_write_to_is_refused(temporary, kind):
    folder = user_environment.private_folder("code").parent
    (folder / "code").rmdir()
    folder.rmdir()
    if kind == "open":
        folder.mkdir()
        folder.chmod(0o777)
    elif kind == "link":
        folder.symlink_to(temporary)
    else:
        folder.write_text("", encoding="utf-8")
    assert user_environment.private_folder("code") is None


def test_the_current_folder_is_no_folder_for_temporary_files(temporary, monkeypatch):
    monkeypatch.chdir(temporary)
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.delenv(name, raising=False)
    assert user_environment.private_folder("code") is None


def test_folder_for_temporary_files_may_be_the_current_one(temporary, monkeypatch):
    monkeypatch.chdir(temporary)
    monkeypatch.setenv("TMPDIR", str(temporary))
    assert user_environment.private_folder("code") is not None


def test_without_temporary_files_there_is_no_private_folder(monkeypatch):
    def nowhere():
        raise FileNotFoundError(2, "No usable temporary directory")

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    assert user_environment.private_folder("code") is None
