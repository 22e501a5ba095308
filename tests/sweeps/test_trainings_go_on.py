"""A training of a sweep that ends early goes on: whatever became of its checkpoints, the tables are the same."""

import hashlib
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bpttlab as lab
from bpttlab.store.store import Store
from bpttlab.sweeps import trained_runs
from bpttlab.sweeps.plan import Options, plan
from bpttlab.sweeps.scheduler import carry_out
from bpttlab.training import checkpoints

FIELDS = {
    "task": "adding", "sequence_length": 4, "batch_size": 1, "cell.hidden_size": 2, "engine": "numpy",
    "measure": "minimal", "training": "standard", "training.updates": 8, "training.check_sequences": 2,
    "training.measure_at": "every:3",
}  # fmt: skip
TABLES = ("runs", "jacobians", "truncations", "training", "training_gradients")
LAST = 5
"""The update after which a training is stopped."""


def sweep(results, seeds=(0,)):
    options = Options("t", str(results), workers=0)
    return carry_out(plan([{**FIELDS, "seed": seed} for seed in seeds], options), options, progress=False)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The study of a sweep that nobody stops."""
    results = tmp_path_factory.mktemp("whole")
    assert sweep(results, (0, 1)).exit_code == 0
    assert not folder_in(results).exists()
    return lab.load("t", results=results)


@pytest.fixture
def at_update(monkeypatch):
    """Writes a checkpoint after each update; does something after one of them."""
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SECONDS", 0.0)
    save = checkpoints.CheckpointFolder.save_if_due

    def choose(update, action):
        def act(self, known):
            save(self, known)
            if known.state.update == update:
                action()

        monkeypatch.setattr(checkpoints.CheckpointFolder, "save_if_due", act)

    return choose


def stop(results, at_update, seeds=(0,)):
    """A sweep that is stopped after an update of its first training."""
    at_update(LAST, lambda: signal.raise_signal(signal.SIGINT))
    stopped = sweep(results, seeds)
    at_update(LAST, lambda: None)
    return stopped


def folder_in(results):
    return Path(results) / "t" / "checkpoints"


def find_last(results):
    """The last checkpoint of the only training."""
    return sorted(folder_in(results).glob("*/checkpoint-*"))[-1]


def assert_same(results, whole, seeds=(0,)):
    found = lab.load("t", results=results)
    ids = set(found.runs["run_id"])
    assert set(found.runs["seed"]) == set(seeds)
    for table in TABLES:
        must = whole.table(table)
        must = must[must["run_id"].isin(ids)].reset_index(drop=True)
        pd.testing.assert_frame_equal(found.table(table), must, check_exact=True, check_like=True)


@pytest.fixture
def begun(monkeypatch):
    """The updates at which trainings begin or go on."""
    seen, run_updates = [], trained_runs.run_updates

    def note(setup, known, *arguments, **named):
        seen.append(known.state.update)
        return run_updates(setup, known, *arguments, **named)

    monkeypatch.setattr(trained_runs, "run_updates", note)
    return seen


# ------------------------------------------------------------------ a signal


def test_the_first_ctrl_c_stops_a_training_that_goes_on(tmp_path, whole, at_update, begun):
    stopped = stop(tmp_path, at_update, seeds=(0, 1))
    assert stopped.exit_code == 130
    assert "interrupted: 8 runs left to do; what is done is stored" in stopped.lines()
    assert sweep(tmp_path, (0, 1)).exit_code == 0
    assert begun == [0, LAST, 0]
    assert_same(tmp_path, whole, seeds=(0, 1))
    assert not folder_in(tmp_path).exists()


def test_a_short_training_writes_a_checkpoint_when_stopped(tmp_path, whole, monkeypatch, begun):
    measured = trained_runs.MeasuredUpdates
    monkeypatch.setattr(measured, "measure", signal_at_update(3, measured.measure))
    assert sweep(tmp_path).exit_code == 128 + signal.SIGTERM
    assert find_last(tmp_path).name.startswith("checkpoint-000000000003-")
    assert sweep(tmp_path).exit_code == 0
    assert begun == [0, 3]
    assert_same(tmp_path, whole)


def signal_at_update(update, measure):
    waiting = [update]

    def act(self, known):
        if waiting == [known.state.update]:
            waiting.clear()
            signal.raise_signal(signal.SIGTERM)
        return measure(self, known)

    return act


# ------------------------------------------------------------------ a place that cannot be written


def test_a_full_disk_costs_no_run(tmp_path, whole, at_update, monkeypatch, capsys):
    def refuse(path, data):
        raise OSError(28, "No space left on device")

    at_update(0, lambda: None)
    monkeypatch.setattr(checkpoints, "write_atomically", refuse)
    assert sweep(tmp_path).tally.statuses == {"done": 4}
    said = capsys.readouterr().err
    assert said.count("a checkpoint of a training could not be written (No space left on device): ") == 1
    assert_same(tmp_path, whole)


def test_no_link_is_followed(tmp_path, whole, at_update, capsys):
    (tmp_path / "t").mkdir()
    (tmp_path / "victim").mkdir()
    folder_in(tmp_path).symlink_to(tmp_path / "victim")
    at_update(0, lambda: None)
    assert sweep(tmp_path).tally.statuses == {"done": 4}
    assert list((tmp_path / "victim").iterdir()) == []
    assert "is a link, and results are neither read nor written through links" in capsys.readouterr().err
    assert_same(tmp_path, whole)


# ------------------------------------------------------------------ damage


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def replace_by_link(path):
    shutil.copy(path, path.parents[3] / "elsewhere.npz")
    path.unlink()
    path.symlink_to(path.parents[3] / "elsewhere.npz")


def replace_by_pipe(path):
    path.unlink()
    os.mkfifo(path)


def replace_by_folder(path):
    path.unlink()
    path.mkdir()


def replace_by_strange_arrays(path):
    """A file that has the SHA-256 of its name, and is no checkpoint."""
    path.unlink()
    np.savez(path.with_name("new.npz"), about=np.array("[]"), vector=np.zeros(3))
    data = path.with_name("new.npz").read_bytes()
    path.with_name("new.npz").rename(path.with_name(f"{path.name[:-21]}-{hashlib.sha256(data).hexdigest()[:16]}.npz"))


@pytest.mark.parametrize(
    "hurt",
    [cut, flip, Path.unlink, replace_by_link, replace_by_pipe, replace_by_folder, replace_by_strange_arrays],
    ids=lambda one: one.__name__,
)
def test_the_checkpoint_before_a_damaged_one_is_used(tmp_path, whole, at_update, begun, hurt):
    stop(tmp_path, at_update)
    hurt(find_last(tmp_path))
    assert sweep(tmp_path).tally.statuses == {"done": 4}
    assert begun == [0, LAST - 1]
    assert_same(tmp_path, whole)
    assert [path for path in folder_in(tmp_path).rglob("*") if path.is_file()] == []


def test_damaged_checkpoints_of_later_updates_replace_none(tmp_path, whole, at_update, begun):
    stop(tmp_path, at_update)
    for update in (91, 92, 93):
        find_last(tmp_path).with_name(f"checkpoint-{update:012d}-{'0' * 16}.npz").write_bytes(b"damaged")
    at_update(LAST + 2, lambda: signal.raise_signal(signal.SIGINT))
    assert sweep(tmp_path).exit_code == 130
    at_update(0, lambda: None)
    assert sweep(tmp_path).exit_code == 0
    assert begun == [0, LAST, LAST + 2]
    assert_same(tmp_path, whole)
    assert not folder_in(tmp_path).exists()


# ------------------------------------------------------------------ what a killed launcher leaves


def test_checkpoints_of_stored_runs_are_deleted_later(tmp_path, at_update, monkeypatch):
    class KilledError(BaseException):
        pass

    def die(self):
        raise KilledError

    with monkeypatch.context() as patch:
        at_update(0, lambda: None)
        patch.setattr(checkpoints.CheckpointFolder, "remove", die)
        with pytest.raises(KilledError):
            sweep(tmp_path)
    assert len(Store(tmp_path, "t").statuses()) == 4
    assert find_last(tmp_path).exists()
    assert sweep(tmp_path).plan.to_do == ()
    assert not folder_in(tmp_path).exists()


def test_a_folder_that_cannot_be_emptied_ends_no_sweep(tmp_path, whole, at_update, monkeypatch):
    unlink = Path.unlink

    def refuse(self, missing_ok=False):
        if self.suffix == ".npz":
            raise PermissionError(13, "Permission denied")
        unlink(self, missing_ok)

    at_update(8, lambda: monkeypatch.setattr(Path, "unlink", refuse))
    assert sweep(tmp_path).exit_code == 0
    assert_same(tmp_path, whole)


def test_checkpoints_of_another_line_stay(tmp_path, at_update):
    stop(tmp_path, at_update)
    left = find_last(tmp_path)
    assert sweep(tmp_path, (1,)).exit_code == 0
    assert left.exists()
    assert sweep(tmp_path, (0, 1)).exit_code == 0
    assert not left.exists()
