"""`bpttlab status`: what is done, failed, missing, mixed and damaged, once and again."""

import json
import os
import platform
import random
import shutil
import sys
import threading

import pytest

from bpttlab.cli import main, status
from bpttlab.errors import StoreError
from bpttlab.store import sweep_requests
from bpttlab.store.damage import Damage
from bpttlab.store.leases import Leases
from bpttlab.store.records import to_bytes
from bpttlab.store.store import Store
from bpttlab.sweeps import scheduler
from tests.support.commandline import SMALL, bpttlab, run
from tests.support.stored import damage_by_flipping, finished, shard_files

KEYS = {
    *("version", "study", "path", "runs", "networks", "done", "diverged", "failed", "reasons", "sweeps", "requested"),
    *("missing", "missing_runs", "mixed", "damaged", "remedy", "litter"),
}


@pytest.fixture
def store(folder, quick_disk):
    """A store in ./results, as a user has it."""
    return Store("results", "first")


def told(capsys, *words):
    """Exit code and text, with the folder of all studies as "results"."""
    code = main(["status", "study=first", *words])
    return code, capsys.readouterr().out.replace(os.path.abspath("results"), "results")


# ------------------------------------------------------------------ what is told


def test_what_is_stored_is_counted_with_reasons(store, capsys):
    store.publish([finished(seed) for seed in range(4)])
    assert told(capsys) == (0, "results/first: 4 runs of 2 networks: 4 done\n")
    failures = [finished(seed, "failed", error="power cut") for seed in (4, 5)]
    store.publish([*failures, finished(6, "failed", error="red \x1b[31m\nand more"), finished(7, "diverged")])
    code, said = told(capsys)
    assert (code, said.splitlines()) == (
        0,
        [
            "results/first: 8 runs of 4 networks: 4 done, 1 diverged, 3 failed",
            "failed, 2 ×: power cut",
            "failed, 1 ×: red \\x1b[31m\\nand more",
            "diverged, 1 ×: no reason is stored",
        ],
    )


def test_many_reasons_are_not_all_told(store, capsys):
    store.publish([finished(seed, "failed", error=f"reason {seed:02}") for seed in range(13)])
    _, said = told(capsys)
    assert said.splitlines()[10:] == [
        "failed, 1 ×: reason 09",
        "failed: 3 other reasons (column `error` of the table runs)",
    ]


def test_what_was_asked_for_and_is_not_there_is_missing(store, capsys):
    runs = [finished(seed) for seed in range(5)]
    sweep_requests.write_request(store, "bpttlab sweep study=first 'seed=range(0,5)'", [run.run_id for run in runs])
    assert told(capsys)[1].startswith("results/first: 0 runs of 0 networks: none, 5 missing\n")
    store.publish([*runs[:3], finished(9)])
    assert told(capsys)[1].splitlines() == [
        "results/first: 4 runs of 3 networks: 4 done, 2 missing",
        "missing: 2 of 5 runs: repeat bpttlab sweep study=first 'seed=range(0,5)'",
    ]
    found = json.loads(told(capsys, "--json")[1])
    assert (found["requested"], found["missing"]) == (5, 2)
    assert sorted(found["missing_runs"]) == sorted(run.run_id for run in runs[3:])
    store.publish(runs[3:])
    assert "missing" not in told(capsys)[1]


def read_requests(store, damage=None):
    return sweep_requests.read_requests(store.path, damage or Damage(store.path))


def find_damage(store):
    """File -> fault of the records of requests."""
    damage = Damage(store.path)
    sweep_requests.read_requests(store.path, damage)
    return damage.faults


def requested(store, line, *seeds):
    """The runs of these seeds, requested by a line."""
    runs = [finished(seed) for seed in seeds]
    sweep_requests.write_request(store, line, [run.run_id for run in runs])
    return runs


def test_everything_that_was_ever_asked_for_counts(store, capsys):
    first = requested(store, "bpttlab sweep study=first one", *range(4))
    store.publish(first[:1])
    store.publish(requested(store, "bpttlab sweep study=first two", 8, 9))
    requested(store, "bpttlab sweep study=first three", 3, 4)
    code, said = told(capsys)
    lines = said.splitlines()
    assert (code, lines[0]) == (0, "results/first: 3 runs of 2 networks: 3 done, 4 missing")
    assert lines[1:3] == [
        "missing: 2 of 2 runs: repeat bpttlab sweep study=first three",
        "missing: 2 of 4 runs: repeat bpttlab sweep study=first one",
    ]
    assert lines[3].startswith("to withdraw such a sweep, delete its file in results/first: sweeps/")
    found = json.loads(told(capsys, "--json")[1])
    assert (found["requested"], found["missing"]) == (7, 4)
    assert [sweep["line"].split()[-1] for sweep in found["sweeps"]] == ["one", "two", "three"]
    assert [sweep["missing"] for sweep in found["sweeps"]] == [2, 0, 2]
    (store.path / found["sweeps"][0]["file"]).unlink()
    assert told(capsys)[1].startswith("results/first: 3 runs of 2 networks: 3 done, 2 missing\n")


def test_a_line_that_is_repeated_has_one_record_of_its_last_runs(store):
    requested(store, "bpttlab sweep one", 0, 1)
    requested(store, "bpttlab sweep two", 2)
    (run,) = requested(store, "bpttlab sweep one", 5)
    requests = read_requests(store)
    assert [request.line for request in requests] == ["bpttlab sweep two", "bpttlab sweep one"]
    assert requests[1].runs == (run.run_id,)


def test_sweeps_from_python_are_kept_apart_by_their_runs(store, capsys):
    for seeds in ((0, 1), (2,), (0, 1)):
        requested(store, None, *seeds)
    lines = told(capsys)[1].splitlines()
    assert lines[0].endswith(", 3 missing")
    assert [line.split(": repeat")[0] for line in lines[1:3]] == ["missing: 2 of 2 runs", "missing: 1 of 1 runs"]
    assert all(": repeat the sweep from Python of 2" in line for line in lines[1:3])


def test_the_json_has_the_keys_that_the_help_names(store, capsys):
    store.publish([finished(0), finished(1, "failed", error="x")])
    _, said = told(capsys, "--json")
    found = json.loads(said)
    assert set(found) == KEYS
    assert said.count("\n") == 1
    assert (found["runs"], found["done"], found["failed"], found["diverged"]) == (2, 1, 1, 0)
    assert (found["requested"], found["missing"], found["missing_runs"], found["sweeps"]) == (None, None, [], [])
    assert (found["version"], found["path"]) == (2, "results/first")
    assert found["reasons"] == {"failed": {"x": 1}, "diverged": {}}
    assert all(key in status.TEXT for key in KEYS)


@pytest.mark.parametrize("what", ["numpy", "numba", "cpu"])
def test_versions_and_processors_that_were_mixed_are_named(store, capsys, what):
    runs = [finished(seed) for seed in range(3)]
    for record, version in zip(runs, ("2.1", "2.2", "2.2"), strict=True):
        record.provenance.update({"blas": "one", "cpu": "one", what: version})
    store.publish(runs[:2])
    store.publish(runs[2:])
    assert f"mixed: {what} 2.1 (1 ×), 2.2 (2 ×)\n" in told(capsys)[1]
    assert json.loads(told(capsys, "--json")[1])["mixed"] == {what: {"2.1": 1, "2.2": 2}}


def test_provenance_of_a_retried_run_is_the_last(store, capsys):
    failure, success = finished(0, "failed", error="x"), finished(0)
    failure.provenance["numpy"], success.provenance["numpy"] = "1.0", "2.0"
    store.publish([failure])
    store.publish([success])
    assert told(capsys) == (0, "results/first: 1 run of 1 network: 1 done\n")


# ------------------------------------------------------------------ a sweep that is running


def file_of(store, line):
    (found,) = (request.file for request in read_requests(store) if request.line == line)
    return found


def test_runs_that_a_process_computes_are_not_to_be_repeated(store, capsys):
    runs = requested(store, "bpttlab sweep study=first one", *range(4))
    store.publish(runs[:1])
    with Leases(store.path, request=file_of(store, "bpttlab sweep study=first one")):
        _, said = told(capsys)
        (sweep,) = json.loads(told(capsys, "--json")[1])["sweeps"]
    first, second = said.splitlines()
    assert first == "results/first: 1 run of 1 network: 1 done, 3 missing (3 of them being computed)"
    assert second.startswith(f"being computed: 3 of 4 runs, by process {os.getpid()} on {platform.node()} since 2")
    assert second.endswith(" UTC: nothing needs to be done")
    (launcher,) = sweep["launchers"]
    assert set(launcher) == {"process", "host", "since", "is_here", "renewed"} and launcher["is_here"]
    assert told(capsys)[1].splitlines()[1] == "missing: 3 of 4 runs: repeat bpttlab sweep study=first one"


def test_runs_of_a_running_sweep_are_not_missed_for_a_later_one(store, capsys):
    requested(store, "bpttlab sweep study=first one", *range(4))
    requested(store, "bpttlab sweep study=first two", 3, 4)
    with Leases(store.path, request=file_of(store, "bpttlab sweep study=first one")):
        lines = told(capsys)[1].splitlines()
    assert lines[0].endswith("5 missing (4 of them being computed)")
    assert lines[1].startswith("being computed: 4 of 4 runs, by process ")
    assert lines[2:] == ["missing: 1 of 2 runs: repeat bpttlab sweep study=first two"]


@pytest.mark.parametrize("told_of_itself", [True, False], ids=["known", "unknown"])
def test_a_launcher_of_another_machine_may_have_ended(store, capsys, told_of_itself):
    requested(store, "bpttlab sweep study=first one", 0, 1)
    about = {"request": file_of(store, "bpttlab sweep study=first one"), "process": 7, "host": "node\x1b[31m"}
    about |= {"since": "2026-11-30T00:20:07+00:00"} if told_of_itself else {"since": 3, "process": -1, "host": None}
    path = store.path / "leases" / f"{'d' * 32}.launcher"
    path.parent.mkdir()
    path.write_text(f"{'9' * 24}-1-1\n{json.dumps(about)}")
    os.utime(path, (1e9, 1e9))
    line = told(capsys)[1].splitlines()[1]
    who = "7 on node\\x1b[31m since 2026-11-30 00:20 UTC" if told_of_itself else "? on an unknown machine"
    assert line == (
        f"being computed: 2 of 2 runs, by process {who} (last heard of at 2001-09-09 01:46 UTC): if it has ended, "
        "repeat bpttlab sweep study=first one"
    )


@pytest.mark.parametrize("content", ["", "\n", "\n[", "\n3", "\n" + "[" * 4000, '\n{"request": []}', "\n\x00"])
def test_what_a_launcher_says_badly_is_not_known(store, capsys, content):
    requested(store, "bpttlab sweep study=first one", 0, 1)
    path = store.path / "leases" / f"{'d' * 32}.launcher"
    path.parent.mkdir()
    path.write_text(f"{'9' * 24}-1-1{content}")
    assert told(capsys)[1].splitlines()[1] == "missing: 2 of 2 runs: repeat bpttlab sweep study=first one"


def test_a_sweep_names_its_request_to_status(store, capsys, monkeypatch):
    said = []
    look = scheduler.Division.take
    monkeypatch.setattr(scheduler.Division, "take", lambda *given: said.append(told(capsys)) or look(*given))
    assert main(["sweep", "study=first", "seed=0,1", *SMALL]) == 0
    assert "being computed: 2 of 2 runs, by process" in said[0][1]


# ------------------------------------------------------------------ damage


@pytest.mark.parametrize("table", ["runs", "provenance", "jacobians"])
@pytest.mark.parametrize("kind", ["flipped", "missing"])
def test_damage_is_named_and_the_rest_is_counted(store, capsys, table, kind):
    store.publish([finished(0), finished(1)])
    whole = {path.stem for path in shard_files(store, table)}
    store.publish([finished(2)])
    path = shard_files(store, table)[0]
    runs = [finished(0).run_id, finished(1).run_id] if path.stem in whole else [finished(2).run_id]
    damage_by_flipping(path, random.Random(0)) if kind == "flipped" else path.unlink()
    code, said = told(capsys)
    assert code == 1
    reason = "its bytes are not those" if kind == "flipped" else "a commit that is missing" if table == "runs" else kind
    assert f"damaged: store/{table}/{path.name} ({reason}" in said
    assert "to mend it: bpttlab repair study=first sets it aside" in said
    assert said.startswith("results/first: 3 runs" if table != "runs" else "results/first: ")
    (damaged,) = json.loads(told(capsys, "--json")[1])["damaged"]
    assert (damaged["file"], sorted(damaged["runs"])) == (f"store/{table}/{path.name}", sorted(runs))


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"[" * 10**5, b'{"version": 9}', b'{"version":2,"line":3,"runs":[]}', b"\xff"],
)
def test_damaged_record_of_requests_is_named(store, capsys, content):
    store.publish(requested(store, "bpttlab sweep one", 0))
    requested(store, "bpttlab sweep two", 1)
    (path,) = [store.path / one.file for one in read_requests(store) if "one" in one.line]
    path.write_bytes(content)
    code, said = told(capsys)
    assert code == 1
    first, missing, damaged, remedy = said.splitlines()
    assert (first, missing) == (
        "results/first: 1 run of 1 network: 1 done, 1 missing",
        "missing: 1 of 1 runs: repeat bpttlab sweep two",
    )
    assert damaged.startswith(f"damaged: sweeps/{path.name} (")
    assert "bpttlab repair study=first" in remedy
    requested(store, "bpttlab sweep one", 0)
    assert told(capsys)[0] == 0


def test_record_of_requests_is_no_link_and_has_run_ids(store, tmp_path):
    store.publish([finished(0)])
    (tmp_path / "elsewhere").write_text('{"version":2,"line":null,"runs":[]}')
    path = store.path / sweep_requests.SWEEPS_FOLDER / sweep_requests.name_request(None, ["../../x"])
    path.parent.mkdir()
    path.symlink_to(tmp_path / "elsewhere")
    assert "a link" in find_damage(store)[f"sweeps/{path.name}"].reason
    path.unlink()
    path.write_bytes(to_bytes({"version": 2, "line": None, "runs": ["../../x"], "begun": ""}))
    assert "invalid run id" in find_damage(store)[f"sweeps/{path.name}"].reason
    path.unlink()
    path.parent.rmdir()
    path.parent.symlink_to(tmp_path)
    with pytest.raises(StoreError, match="is a link"):
        read_requests(store)


def test_the_record_of_one_line_is_not_that_of_another(store):
    requested(store, "bpttlab sweep one", 0)
    requested(store, "bpttlab sweep two", 1)
    one, two = sorted((store.path / sweep_requests.SWEEPS_FOLDER).iterdir())
    one.write_bytes(two.read_bytes())
    assert "its name is that of another line" in find_damage(store)[f"sweeps/{one.name}"].reason


def test_any_flipped_bit_of_a_record_is_told(store):
    requested(store, "bpttlab sweep one", 0)
    (path,) = (store.path / sweep_requests.SWEEPS_FOLDER).iterdir()
    sound = path.read_bytes()
    for seed in range(200):
        damage_by_flipping(path, random.Random(seed))
        assert list(find_damage(store)) == [f"sweeps/{path.name}"]
        path.write_bytes(sound)


def test_what_was_asked_goes_there_and_back(store):
    assert read_requests(store) == []
    sweep_requests.write_request(store, "bpttlab sweep é", ["b" * 32, "a" * 32])
    (request,) = read_requests(store)
    assert (request.line, request.runs, find_damage(store)) == ("bpttlab sweep é", ("a" * 32, "b" * 32), {})
    assert [path.name for path in store.path.iterdir()] == [sweep_requests.SWEEPS_FOLDER]


# ------------------------------------------------------------------ every study


def all_told(capsys, *words):
    code = main(["status", *words])
    return code, capsys.readouterr().out.replace(os.getcwd(), "HERE")


def test_alone_it_tells_the_studies_and_their_folder(store, capsys):
    store.publish([finished(seed) for seed in range(4)])
    requested(Store("results", "second-one"), "bpttlab sweep x", 0, 1)
    assert all_told(capsys) == (
        0,
        "HERE/results: 2 studies\n"
        "  first       4 runs of 2 networks: 4 done\n"
        "  second-one  0 runs of 0 networks: none, 2 missing\n",
    )
    found = json.loads(all_told(capsys, "--json")[1])
    assert (found["version"], found["results"], found["unreadable"]) == (2, "HERE/results", {})
    assert [study["study"] for study in found["studies"]] == ["first", "second-one"]
    assert set(found["studies"][0]) == KEYS
    assert all_told(capsys, f"results={os.path.abspath('results')}")[1].startswith("HERE/results: 2 studies\n")


def test_a_study_that_is_damaged_or_unreadable_hides_no_other(store, capsys):
    store.publish([finished(0)])
    other = Store("results", "other")
    other.publish([finished(1)])
    damage_by_flipping(shard_files(other, "jacobians")[0], random.Random(0))
    os.makedirs("results/void/store")
    code, said = all_told(capsys)
    assert code == 1
    lines = said.splitlines()
    assert lines[1:3] == ["  first  1 run of 1 network: 1 done", "  other  1 run of 1 network: 1 done, 1 damaged file"]
    assert lines[3].startswith("  void   cannot be read: study 'void' in results has no runs yet")


def test_a_folder_without_studies_says_so(folder, capsys):
    os.makedirs("results")
    assert all_told(capsys) == (0, "HERE/results: no studies\n")
    assert main(["status", "results=nowhere"]) == 2
    assert "nothing is stored yet: there is no folder nowhere;" in capsys.readouterr().err
    assert main(["status", "--watch"]) == 2
    assert "--watch follows one study: say study=NAME" in capsys.readouterr().err


# ------------------------------------------------------------------ again and again


@pytest.fixture
def quickly(monkeypatch):
    monkeypatch.setattr(status, "WATCH_SECONDS", 0.01)


def publish_later(store, runs):
    """Publishes runs one by one from another thread."""
    publisher = threading.Thread(target=lambda: [store.publish([run]) for run in runs])
    publisher.start()
    return publisher


@pytest.mark.usefixtures("quickly")
def test_watching_ends_when_nothing_is_missing(store, capsys):
    runs = [finished(seed) for seed in range(6)]
    sweep_requests.write_request(store, None, [run.run_id for run in runs])
    publisher = publish_later(store, runs)
    code, said = told(capsys, "--watch")
    publisher.join()
    lines = said.splitlines()
    assert code == 0
    assert lines[-1] == "results/first: 6 runs of 3 networks: 6 done"
    assert len(set(lines)) == len(lines)


@pytest.mark.usefixtures("quickly")
def test_watching_does_not_wait_for_earlier_sweeps(store, capsys):
    requested(store, "bpttlab sweep one", 0)
    store.publish(requested(store, "bpttlab sweep two", 1))
    code, said = told(capsys, "--watch")
    assert code == 0
    assert said.splitlines()[-1] == "missing: 1 of 1 runs: repeat bpttlab sweep one"


@pytest.mark.usefixtures("quickly")
def test_watching_as_json_gives_a_line_for_each_change(store, capsys):
    runs = [finished(seed) for seed in range(6)]
    sweep_requests.write_request(store, None, [run.run_id for run in runs])
    publisher = publish_later(store, runs)
    _, said = told(capsys, "--watch", "--json")
    publisher.join()
    missing = [json.loads(line)["missing"] for line in said.splitlines()]
    assert missing == sorted(set(missing), reverse=True)
    assert missing[-1] == 0


@pytest.mark.usefixtures("quickly")
def test_on_a_terminal_it_is_redrawn_in_place(store, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "50")
    runs = [finished(seed) for seed in range(2)]
    sweep_requests.write_request(store, "bpttlab sweep study=first 'seed=range(0,2)'", [run.run_id for run in runs])
    looks = iter([lambda: None, lambda: store.publish(runs)])
    monkeypatch.setattr(status.time, "sleep", lambda seconds: next(looks)())
    monkeypatch.setattr(status.os.path, "abspath", str)
    again = "missing: 2 of 2 runs: repeat bpttlab sweep study=first"
    before = f"{'results/first: 0 runs of 0 networks: none, 2 missing'[:49]}\n{again[:49]}\n"
    up = "\x1b[2F\x1b[J"
    code, said = told(capsys, "--watch")
    assert (code, said) == (0, f"{before}{up}{before}{up}results/first: 2 runs of 1 network: 2 done\n")


def test_ctrl_c_ends_watching_cleanly(store, capsys, monkeypatch):
    sweep_requests.write_request(store, None, ["a" * 32])

    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(status.time, "sleep", interrupt)
    assert main(["status", "study=first", "--watch"]) == 0
    assert capsys.readouterr().err == ""


def test_what_has_not_changed_is_not_read_again(store, monkeypatch):
    store.publish([finished(seed) for seed in range(3)])
    look, reads = status.StatusReport(Store("results", "first")), []
    from bpttlab.store import shards

    real = shards.read_file
    monkeypatch.setattr(shards, "read_file", lambda path, most: reads.append(path) or real(path, most))
    assert look.read_status().runs == 3
    first = len(reads)
    assert look.read_status().runs == 3
    assert len(reads) == first
    store.publish([finished(5)])
    assert look.read_status().runs == 4
    path = shard_files(store, "lag_terms")[0]
    damage_by_flipping(path, random.Random(0))
    os.utime(path, (1e9, 1e9))
    assert [damaged["file"] for damaged in look.read_status().damaged] == [f"store/lag_terms/{path.name}"]


# ------------------------------------------------------------------ with a real sweep


def test_sweep_prints_its_request_and_another_adds_to_it(studied, folder, capsys):
    shutil.copytree(studied / "results", "results")
    before = json.loads(told(capsys, "--json")[1])
    assert (before["runs"], before["requested"], before["missing"]) == (12, 12, 0)
    assert before["sweeps"][0]["line"].startswith("bpttlab sweep study=first spectral_radius=0.5,1.5 'seed=range(0,3)'")


def test_in_a_process_of_its_own_through_a_pipe(studied):
    done = run("bash", "-c", f"{sys.executable} -m bpttlab status study=first --watch | cat", cwd=studied)
    assert (done.stdout, done.stderr) == (f"{studied}/results/first: 12 runs of 6 networks: 12 done\n", "")
    assert json.loads(bpttlab("status", "study=first", "--json", cwd=studied).stdout)["done"] == 12
