"""Whatever ends a worker, its start or the process that forks it: another takes its place, or one line says why not."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

from bpttlab.store.store import Store
from bpttlab.sweeps import fork_server, jobs, process_state, scheduler, worker, worker_pool
from bpttlab.sweeps.worker import Broken
from bpttlab.sweeps.worker_messages import MessageError, pack, receive, send, unpickle
from faults import company, workers
from tests.support.sweeps import limiting, parsed
from tests.support.workers import act, double

needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="states of processes are known on Linux")


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Stopped processes are killed soon, and starts are repeated soon."""
    monkeypatch.setattr(process_state, "STOPPED_SECONDS", 0.3)
    monkeypatch.setattr(worker_pool, "START_PAUSE", 0.001)


def wait_for(pool):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if answers := pool.answers(0.1):
            return answers
    raise AssertionError("no answer in 30 s")


# ------------------------------------------------------------------ while it computes

ENDS = {
    "stop": "its process was stopped for 0.3 seconds (SIGSTOP), and killed",
    "wait": "its process used no processor for 0.5 seconds, and was killed",
    "garbage": "its pipe has bytes that are no message",
    "unreadable": "its result cannot be read: OSError: no such library",
    "unpicklable": "its process ended with exit code 1",
    "child": "its process ended with exit code 3",
}


@needs_proc
@pytest.mark.parametrize("what", ENDS)
def test_a_worker_that_gives_no_result_is_replaced(monkeypatch, what):
    monkeypatch.setattr(process_state, "WAITING_SECONDS", 0.5)
    with worker_pool.Workers(1, act) as pool:
        pool.give(what)
        (answer,) = wait_for(pool)
        assert (answer.task, answer.result, answer.begun) == (what, None, True)
        assert answer.death.startswith(ENDS[what])
        assert sum(pool.ends.values()) == 1
        assert pool.give(21)
        assert wait_for(pool)[0].result == 42


@needs_proc
def test_a_task_is_not_blamed_for_a_worker_that_did_not_begin_it():
    with worker_pool.Workers(1, double) as pool:
        os.kill(pool.workers[0].pid, signal.SIGSTOP)
        pool.give(21)
        (answer,) = wait_for(pool)
    assert (answer.task, answer.result, answer.begun) == (21, None, False)
    job = jobs.Job(((parsed([0])[0],),))
    queue = jobs.Queue((), 1)
    unbegun = worker_pool.Answer(job, None, "killed", begun=False)
    assert [scheduler._finish_job(unbegun, queue, worker_pool.Limits()) for _ in range(3)] == [None] * 3
    assert list(queue.again) == [job] * 3


def test_bytes_that_nobody_requested_are_no_result():
    with worker_pool.Workers(1, act) as pool:
        pool.give(1)
        wait_for(pool)
        ours, theirs = multiprocessing.Pipe()
        theirs.send_bytes(b"Warning: overflow")
        pool.workers[0].pipe, before = ours, pool.workers[0].pipe
        assert pool.answers(0.01) == []
        assert (pool.workers, dict(pool.ends)) == ([], {"its pipe has bytes that are no message": 1})
        pool.give(21)
        assert wait_for(pool)[0].result == 42
    before.close()


def test_workers_that_never_begin_are_given_up(monkeypatch):
    monkeypatch.setattr(worker_pool, "MOST_DEATHS_OUTSIDE", 2)
    with worker_pool.Workers(1, double) as pool:
        for _ in range(3):
            os.kill(pool.workers[0].pid, signal.SIGKILL)
            while pool.workers:
                pool.answers(0.01)
            if pool.deaths_outside < 3:
                pool.start()
        with pytest.raises(fork_server.StartError, match="3 workers ended one after another before they began a run"):
            pool.give(1)


# ------------------------------------------------------------------ while it starts


def disturb(monkeypatch, times, name):
    """The first workers get a signal while they start."""
    welcome, left = worker_pool.welcome, [times]

    def kill_first(worker, greeting):
        if left[0]:
            left[0] -= 1
            os.kill(worker.pid, getattr(signal, name))
            forget_greeting(worker, greeting, name)
        welcome(worker, greeting)

    monkeypatch.setattr(worker_pool, "welcome", kill_first)


def forget_greeting(worker, greeting, name):
    """Whatever a worker said before its signal came is as if it had not been said."""
    if name == "SIGKILL":
        while not isinstance(heard := greeting.get(timeout=30), Broken):
            pass
        greeting.put(heard)
        return
    time.sleep(0.1)
    while not greeting.empty():
        greeting.get()


@needs_proc
@pytest.mark.parametrize("name", ["SIGKILL", "SIGSTOP"])
def test_a_worker_that_is_ended_while_it_starts_is_started_again(monkeypatch, name):
    disturb(monkeypatch, 2, name)
    with worker_pool.Workers(1, double) as pool:
        pool.give(21)
        assert wait_for(pool)[0].result == 42
        assert [(how.rpartition(", ")[2], times) for how, times in pool.ends.items()] == [("while it started", 2)]


def test_a_start_is_repeated_a_stated_number_of_times(monkeypatch):
    disturb(monkeypatch, 99, "SIGKILL")
    with (
        pytest.raises(fork_server.StartError, match=r"killed by SIGKILL.*workers=0.*\(tried 5 times\)$"),
        worker_pool.Workers(1, double),
    ):
        pass


def test_where_no_other_worker_can_start_fewer_do_all_the_work(monkeypatch):
    with worker_pool.Workers(2, double) as pool:
        pool.workers[0].process.kill()
        while len(pool.workers) > 1:
            pool.answers(0.01)
        disturb(monkeypatch, 99, "SIGKILL")
        assert pool.give(21)
        assert not pool.give(22)
        assert (pool.count, pool.idle) == (1, 0)
        assert wait_for(pool)[0].result == 42
        assert any(how.startswith("no other can start: ") for how in pool.ends)


@pytest.mark.slow
@needs_proc
@pytest.mark.skipif(not fork_server.has_fork_server(), reason="there is no fork server")
@pytest.mark.parametrize("name", ["SIGKILL", pytest.param("SIGSTOP", marks=pytest.mark.slow)])
def test_a_fork_server_that_is_ended_is_begun_again(name):
    with worker_pool.Workers(1, act) as pool:
        before = pool.workers[0]
        os.kill(fork_server.server_id(), getattr(signal, name))
        pool.give(21)
        assert wait_for(pool)[0].result == 42  # the worker is not the server
        pool.give("stop")
        assert wait_for(pool)[0].death is not None
        assert not before.lives
        pool.give(21)
        assert wait_for(pool)[0].result == 42
        os.kill(fork_server.server_id(), signal.SIGSTOP)
        while process_state.look_at(fork_server.server_id())[0] != "T":
            time.sleep(0.001)
    assert multiprocessing.active_children() == []  # at its end a program waits for all of them


def test_what_is_done_is_stored_when_no_worker_can_start(tmp_path, monkeypatch):
    store = Store(tmp_path, "x")
    monkeypatch.setattr(scheduler, "PUBLISHING_SECONDS", 3600.0)
    give, given = worker_pool.Workers.give, []

    def end_all(self, task, seconds=None):
        given.append(task)
        if len(given) > 3:
            raise fork_server.StartError("no worker")
        return give(self, task, seconds)

    monkeypatch.setattr(worker_pool.Workers, "give", end_all)
    with pytest.raises(fork_server.StartError, match=r"no worker; \d+ of 9 runs are stored, and the same") as refusal:
        scheduler.execute(parsed(range(9)), store, 1, False)
    assert f"; {len(store.statuses())} of 9" in str(refusal.value) and store.statuses()


@needs_proc
def test_a_worker_that_was_refused_memory_computes_nothing_more(tmp_path):
    store = Store(tmp_path, "x")
    tally = scheduler.execute(parsed(range(30)), store, 1, False, limiting)
    assert (tally.statuses, tally.ends) == ({"done": 29, "failed": 1}, {})
    assert [reason.partition(" ")[2][:6] for reason in tally.reasons] == ["Unable"]


# ------------------------------------------------------------------ messages


@pytest.mark.parametrize("value", [None, "x" * 100_000, {"a": [1.5, b"\x00"]}])
def test_a_message_comes_back(value):
    ours, theirs = multiprocessing.Pipe()
    sending = threading.Thread(target=send, args=(theirs, pack(value)))
    sending.start()
    assert unpickle(receive(ours)) == value
    sending.join()


def test_no_bytes_are_taken_for_a_message():
    choose = random.Random(1)
    for _ in range(300):
        ours, theirs = multiprocessing.Pipe()
        os.write(theirs.fileno(), choose.randbytes(choose.randint(1, 40)))
        theirs.close()
        with pytest.raises((MessageError, EOFError, OSError)):
            receive(ours)
        ours.close()


def test_a_damaged_message_is_noticed():
    ours, theirs = multiprocessing.Pipe()
    data = pack("text")
    send(theirs, data)
    head, _ = ours.recv_bytes(), ours.recv_bytes()
    theirs.send_bytes(head)
    theirs.send_bytes(data[:-2] + b"xx")
    with pytest.raises(MessageError, match="damaged"):
        receive(ours)


# ------------------------------------------------------------------ states of processes


@needs_proc
def test_a_process_that_computes_or_has_children_is_not_silent(monkeypatch):
    monkeypatch.setattr(process_state, "WAITING_SECONDS", 0.3)
    programs = {"waits": "input()", "computes": "while True: pass", "has a child": "import os; os.system('cat')"}
    begun = {
        name: subprocess.Popen([sys.executable, "-c", text], stdin=subprocess.PIPE) for name, text in programs.items()
    }
    watches = {name: process_state.Watch(one.pid) for name, one in begun.items()}
    said = dict.fromkeys(begun)
    deadline = time.monotonic() + 20
    while said["waits"] is None and time.monotonic() < deadline:
        time.sleep(0.01)
        said.update({name: watch.judge() for name, watch in watches.items()})
    for one in begun.values():
        one.kill()
        one.communicate()
    assert said == {"waits": "its process used no processor for 0.3 seconds, and was killed"} | dict.fromkeys(
        ["computes", "has a child"]
    )


@needs_proc
def test_time_in_which_nobody_looked_is_not_counted(monkeypatch):
    monkeypatch.setattr(process_state, "look_at", lambda _: ("T", 0))
    watch = process_state.Watch(0)
    watch._looked -= 3600.0
    assert watch.judge() is None
    assert watch.stopped <= 0.3


@pytest.mark.skipif(not os.path.exists("/bin/ps"), reason="there is no ps")
def test_ps_knows_the_same_states():
    waiting = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    os.kill(waiting.pid, signal.SIGSTOP)
    deadline = time.monotonic() + 20
    while process_state.ask_ps(waiting.pid) != "T" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process_state.ask_ps(waiting.pid) == "T"
    waiting.kill()
    waiting.communicate()
    assert process_state.ask_ps(waiting.pid) == ""


def test_an_exit_code_that_nobody_knows_is_not_made_up():
    assert worker.describe_end(255) == worker.describe_end(None) == "its process ended (nobody knows how)"


# ------------------------------------------------------------------ at random


@needs_proc
def test_of_runs_that_die_at_random_only_culprits_fail():
    outcome = workers.run(14, 3)
    assert outcome.tried.total() > 4
    assert list(outcome.losses) == [], outcome


@pytest.mark.slow
def test_eight_launchers_of_one_study_lose_nothing():
    outcome = company.run(1, 1)
    assert list(outcome.losses) == [], outcome
