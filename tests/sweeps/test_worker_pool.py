"""Worker processes: any may die, hang or ask for too much, and none takes anything along."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bpttlab import resources
from bpttlab.errors import LabError
from bpttlab.sweeps import worker_pool, worker_process
from tests.support.workers import double, stubborn


def allocated(gib):
    """Asks for so much memory, and multiplies matrices before and after."""

    def product():
        return float((np.ones((400, 400)) @ np.ones((400, 400))).sum())

    before = product()
    try:
        np.ones(round(gib * worker_process.BYTES_OF_GIB) // 8)
    except MemoryError:
        return "refused", before == product()
    return "given", before == product()


def test_a_worker_that_dies_idle_is_replaced_and_costs_no_task():
    with worker_pool.Workers(1, double) as pool:
        pool.give("who")
        (answer,) = wait_for(pool)
        os.kill(answer.result, signal.SIGKILL)
        while pool.workers:
            assert pool.answers(0.1) == []
        assert pool.idle == 1
        pool.give(21)
        (answer,) = wait_for(pool)
        assert (answer.task, answer.result, answer.death) == (21, 42, None)
    assert pool.workers == []


def wait_for(pool):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        answers = pool.answers(0.1)
        if answers:
            return answers
    raise AssertionError("no answer in 20 s")


def test_workers_that_cannot_start_are_one_error_not_a_storm():
    with (
        pytest.raises(LabError, match="a worker process cannot start"),
        worker_pool.Workers(1, double, ("no_such_module",)),
    ):
        pass


def test_who_is_late_is_killed_and_the_others_are_not():
    with worker_pool.Workers(2, stubborn) as pool:
        pool.give(3600, 0.3)
        pool.give(0.6, 3600)
        (late,) = wait_for(pool)
        assert (late.task, late.result, late.late) == (3600, None, True)
        assert pool.idle == 1
        (done,) = wait_for(pool)
        assert (done.task, done.result, done.late) == (0.6, 0.6, False)
        pool.give(0.01, 3600)
        assert wait_for(pool)[0].result == 0.01


SLOW = """
import time
print("here", flush=True)
time.sleep(3600)
"""

TO_NOTHING = """
import os
from bpttlab.sweeps import fork_server, worker_pool
from tests.support.workers import double
try:
    with fork_server.preload_or_stop(("slow",), {}):
        raise KeyError
except KeyError:
    assert fork_server.server_id() is None
with fork_server.preload_or_stop((), {"SOMETHING": "said"}), worker_pool.Workers(1, os.getenv) as pool:
    pool.give("SOMETHING")
    print(pool.answers(20)[0].result, fork_server.start_preload(()), os.environ.get("SOMETHING"))
"""


@pytest.mark.skipif("forkserver" not in multiprocessing.get_all_start_methods(), reason="there is none to be begun")
def test_unused_pool_ends_at_once_and_may_start_again(tmp_path):
    """Whoever waits for the output would else wait for the import of `slow`, which may have begun or not."""
    (tmp_path / "slow.py").write_text(SLOW, encoding="utf-8")
    paths = [str(resources.PACKAGE.parent), str(Path(__file__).parent), str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", TO_NOTHING],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "said False None"


needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="the limit on memory needs Linux")


@needs_linux
def test_memory_beyond_the_limit_is_refused_and_blas_goes_on():
    with worker_pool.Workers(1, allocated, memory=1.0) as pool:
        for gib, said in [(0.5, "given"), (2.0, "refused"), (0.5, "given"), (100.0, "refused")]:
            pool.give(gib)
            assert wait_for(pool)[0].result == (said, True)


@needs_linux
def test_a_limit_that_no_worker_can_keep_is_one_error():
    with (
        pytest.raises(LabError, match=r"memory_limit=0.001 \(GiB\) is less than"),
        worker_pool.Workers(1, double, memory=1e-3),
    ):
        pass


@needs_linux
def test_a_worker_that_never_ends_ends_with_its_parent(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(ABANDONED, encoding="utf-8")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(resources.PACKAGE.parent), str(Path(__file__).parent)]),
    }
    with subprocess.Popen([sys.executable, str(script)], env=environment, stdout=subprocess.PIPE, text=True) as parent:
        worker = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 20
    while is_alive(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(worker)


ABANDONED = """
import time
from bpttlab.sweeps.worker_pool import Workers
from tests.support.workers import stubborn
with Workers(1, stubborn) as pool:
    pool.give(3600)
    print(pool.workers[0].process.pid, flush=True)
    time.sleep(3600)
"""


def is_alive(pid):
    """Whether there is such a process, one that waits to be buried left out."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
