"""`bpttlab sweep`: what it says, what it leaves behind, and how it is gone on with."""

from pathlib import Path

import pytest

import bpttlab
from bpttlab.cli import main
from bpttlab.cli.sweep import start_workers
from bpttlab.errors import StoreError
from bpttlab.store import sweep_requests
from bpttlab.store.damage import Damage
from bpttlab.store.store import Store, load
from bpttlab.sweeps import fork_server
from bpttlab.sweeps.jobs import failed_records
from tests.support.commandline import SMALL, visible

pytestmark = pytest.mark.usefixtures("folder")


def test_sweep_reports_its_work_and_repeats_nothing(folder, capsys):
    line = ["sweep", "study=first", "spectral_radius=0.5,1.0", "truncation=full,20", *SMALL]
    assert main(line) == 0
    first = capsys.readouterr().out.splitlines()
    assert first[:3] == [
        "study first: 4 runs of 2 networks",
        "  4 runs to do, in 2 bundles",
        "  a truncation no shorter than the sequence is the full gradient: 2 runs (20 of 8 steps)",
    ]
    assert first[3].startswith("4 runs computed in ")
    assert first[4:] == [
        "results are in results/first",
        "next: bpttlab tables study=first",
        "      bpttlab figures study=first",
    ]
    assert visible(folder)[:2] == ["results", "results/first"]
    before = visible(folder)
    assert sweep_requests.find_last_line(Store("results", "first")) == f"bpttlab {' '.join(line)}"
    assert main(line) == 0
    assert "nothing to do: 4 done before" in capsys.readouterr().out
    assert visible(folder) == before


def test_line_with_everything_stored_is_the_last_request(folder, capsys, monkeypatch):
    for seed in (0, 1):
        assert main(["sweep", "study=first", f"seed={seed}", *SMALL]) == 0
    line = ["sweep", "study=first", "seed=range(0,2)", *SMALL]
    assert main(line) == 0
    assert "nothing to do: 2 done before" in capsys.readouterr().out
    requests = sweep_requests.read_requests(Path("results/first"), Damage(Path("results/first")))
    assert requests[-1].line == f"bpttlab sweep study=first 'seed=range(0,2)' {' '.join(SMALL)}"
    assert [len(request.runs) for request in requests] == [1, 1, 2]

    def refused(*_):
        raise StoreError("results/first/sweeps cannot be written")

    monkeypatch.setattr(sweep_requests, "write_request", refused)
    assert main(line) == 0


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(folder, capsys):
    line = ["study=first", "task=noise,adding", "spectral_radius=0.5,1", "truncation=full,2,5", "seed=range(0,2)"]
    assert main(["sweep", *line, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("study first: 24 runs of 8 networks\n  24 runs to do, in 8 bundles")
    assert visible(folder) == []


def test_configuration_shows_the_first_swept_value(folder, capsys):
    assert main(["sweep", "spectral_radius=0.5,1.0", "--cfg", "job", "task=glob(a*)", "seed=4"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("# swept, shown with the first value: spectral_radius=0.5,1.0 task=glob(a*)\nstudy: null\n")
    assert {"spectral_radius: 0.5", "seed: 4", "  name: adding"} < set(shown.splitlines())
    assert visible(folder) == []


def test_experiments_of_ones_own_are_found(folder, capsys):
    own = folder / "mine" / "experiment"
    own.mkdir(parents=True)
    (own / "short.yaml").write_text("# @package _global_\nsequence_length: 3\nstudy: short\n", encoding="utf-8")
    assert main(["sweep", "--config-dir", "mine", "experiment=short", "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith("study short: 1 run of 1 network")
    assert main(["sweep", "--config-dir=mine", "experiment=short", "--cfg", "job"]) == 0
    assert {"sequence_length: 3", "study: short"} < set(capsys.readouterr().out.splitlines())
    assert main(["sweep", "--config-dir", "mine", "experiment=shot"]) == 2
    assert "Did you mean 'short'?" in capsys.readouterr().err


def test_a_failed_run_makes_the_exit_code_one(capsys):
    assert main(["sweep", "study=x", *SMALL]) == 0
    (run_id,) = Store("results", "x").configurations()
    run = bpttlab.Configuration.parse({"seed": 1, "sequence_length": 8, "engine": "numpy"})
    Store("results", "x").publish([failed_records(run, "power cut")])
    line = ["sweep", "study=x", "sequence_length=8", "seed=1", "workers=0", "engine=numpy"]
    assert main(line) == 1
    assert "failed before: 1, not tried again (retry=failed does)" in capsys.readouterr().out
    assert main([*line, "retry=failed"]) == 0
    assert set(load("x").runs["status"]) == {"done"}
    assert run_id != run.run_id


def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(monkeypatch, capsys):
    from bpttlab.sweeps import scheduler

    def stopped(planned, *_, **__):
        return scheduler.Tally(interrupted=2)

    monkeypatch.setattr(scheduler, "execute", stopped)
    assert main(["sweep", "study=x", "engine=numpy", "seed=range(0,3)"]) == 130
    assert "go on with: bpttlab sweep study=x engine=numpy 'seed=range(0,3)'\n" in capsys.readouterr().out


def test_workers_begin_with_what_the_line_says(monkeypatch):
    begun = []
    monkeypatch.setattr(fork_server, "preload_or_stop", lambda preload, loops: begun.append((preload, *loops.values())))
    for words in (["study=x"], ["engine=numpy", "cell=gru,elman", "dtype=float32"], ["workers=0"]):
        start_workers(words, dry_run=False)
    start_workers(["study=x"], dry_run=True)
    (more, loops), (few, told) = begun
    assert (loops, told) == ("elman float64", "gru,elman float32")
    assert set(more) - set(few) == {"bpttlab.gradients.compiled.preload", "bpttlab.gradients.compiled.dispatch"}
