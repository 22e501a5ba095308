"""A system call that fails, or is the last one, loses nothing: here without strace, `make faults` with it."""

import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from faults import in_process, studies, system_calls
from faults.children import Ended
from faults.needs import scratch_folder
from faults.system_calls import KILL, LIE, SHORT, Call, Point

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="descriptors have names in /proc on Linux")

LOG = """\
openat(AT_FDCWD</home>, "/elsewhere", O_RDONLY) = 3</elsewhere>
openat(AT_FDCWD</home>, "/results/x/.tmp", O_WRONLY|O_CREAT|O_EXCL|O_CLOEXEC, 0666) = 4</results/x/.tmp>
write(4</results/x/.tmp>, ""..., 120)   = 120
newfstatat(AT_FDCWD</home>, "/results/x", 0x7ffd, AT_SYMLINK_NOFOLLOW) = -1 ENOENT (No such file or directory)
rename("/results/x/.tmp", "/results/x/a") = 0
--- SIGCHLD {si_signo=SIGCHLD} ---
+++ exited with 0 +++
"""


@pytest.fixture(scope="module")
def folder():
    with tempfile.TemporaryDirectory(dir=scratch_folder()) as name:
        yield Path(name)


@pytest.fixture(scope="module")
def whole(folder):
    """A study of the same sweep without a fault."""
    studies.warm_up(folder)
    return studies.inspect(folder / "warm")


@pytest.fixture(scope="module")
def count(folder, whole):
    """How many calls that sweep has."""
    return in_process.count_calls(folder / "counted")


@pytest.mark.parametrize(
    ("fault", "share"),
    [
        (KILL, 0.35),
        *(pytest.param(KILL, share, marks=pytest.mark.slow) for share in (0.6, 0.95)),
        ("ENOSPC", 0.3),
        pytest.param("EIO", 0.7, marks=pytest.mark.slow),
    ],
)
def test_a_call_that_fails_loses_nothing(tmp_path, whole, count, fault, share):
    assert in_process.attempt(tmp_path, whole, round(share * count), fault) == []


def test_a_run_that_is_lost_is_noticed(folder, whole, tmp_path):
    shutil.copytree(folder / "warm", tmp_path, dirs_exist_ok=True)
    lost = sorted(tmp_path.glob("x/store/runs/*"))[0]
    lost.write_bytes(lost.read_bytes()[:-1])
    losses = [*studies.judge(Ended(0, "6 runs computed in 1 s: 6 done"), studies.inspect(tmp_path), whole)]
    assert f"store/runs/{lost.name} has other bytes than its name says" in losses
    assert any("runs were reported as done" in loss for loss in losses)


# ------------------------------------------------------------------ what strace injects


def test_calls_that_touch_the_results_are_recorded(tmp_path):
    (tmp_path / "log").write_text(LOG)
    calls = list(system_calls.read_log(tmp_path / "log", Path("/results")))
    assert calls == [Call("openat", 2, 4), Call("write", 1, 120), Call("newfstatat", 1, -1), Call("rename", 1, 0)]


def test_a_point_is_an_argument_of_strace():
    call = Call("write", 3, 120)
    assert Point(call, "ENOSPC").inject == "inject=write:error=ENOSPC:when=3"
    assert Point(call, KILL).inject == "inject=write:signal=SIGKILL:when=3"
    assert Point(call, LIE).inject == "inject=write:retval=120:when=3"


def test_the_same_seed_chooses_the_same_points():
    calls = [Call("write", number, 100 * number) for number in range(1, 9)]
    assert system_calls.choose(calls, calls, 20, 1) == system_calls.choose(calls, calls, 20, 1)
    assert system_calls.choose(calls, calls, 20, 1) != system_calls.choose(calls, calls, 20, 2)


def test_all_kills_and_lies_come_before_errors():
    calls = [Call("write", number, 100 * number) for number in range(1, 9)]
    chosen = [point.fault for point in system_calls.choose(calls, calls, 90, 0)]
    assert chosen.count(KILL) == chosen.count(LIE) == 16
    assert SHORT in chosen


def test_a_write_cannot_say_more_than_it_was_given():
    assert system_calls.is_possible('write(4</r>, ""..., 120) = 120 (INJECTED)')
    assert not system_calls.is_possible('write(4</r>, ""..., 119) = 120 (INJECTED)')
