"""Training that is killed, interrupted or damaged goes on, with the bytes of a run that was not."""

import os
import random
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest

import bpttlab as lab
from bpttlab.errors import ConfigurationError, LabWarning
from bpttlab.training import checkpoints, loop
from bpttlab.training.optimizers import SGD, Adam, RMSprop

RUN = """
import os, signal, sys
import bpttlab as lab
from bpttlab.training import checkpoints
from bpttlab.training.optimizers import Adam
checkpoints.CHECKPOINT_SECONDS = 0.0
task = lab.tasks.Adding(sequence_length=6)
cell = lab.LSTM(2, 4, 1)
last = int(sys.argv[1])

def kill(update, params):
    if update == last:
        os.kill(os.getpid(), signal.SIGKILL)

lab.train(cell, cell.init(0), task, updates=30, batch_size=3, check_every=7, record_every=2, checkpoint="run.npz",
          optimizer=Adam(amsgrad=True), clip_norm=0.5, engine="numpy", progress=False, callback=kill, check_sequences=9)
"""


def train(tmp_path=None, **fields):
    task = lab.tasks.Adding(sequence_length=6)
    cell = lab.LSTM(2, 4, 1)
    given = {
        "updates": 30, "batch_size": 3, "check_every": 7, "record_every": 2, "optimizer": Adam(amsgrad=True),
        "clip_norm": 0.5, "engine": "numpy", "progress": False, "check_sequences": 9,
    }  # fmt: skip
    path = {} if tmp_path is None else {"checkpoint": tmp_path / "run.npz"}
    return lab.train(cell, cell.init(0), task, **{**given, **path, **fields})


def assert_same(one, other):
    assert one.updates == other.updates
    for name, value in one.params.items():
        assert value.tobytes() == other.params[name].tobytes()
    pd.testing.assert_frame_equal(one.history, other.history, check_exact=True)
    pd.testing.assert_frame_equal(one.gradient_history, other.gradient_history, check_exact=True)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL")
def test_a_run_killed_at_random_updates_ends_with_the_same_bytes(tmp_path):
    places = sorted(random.Random(os.urandom(4)).sample(range(1, 30), 3))
    for last in places:
        done = subprocess.run([sys.executable, "-c", RUN, str(last)], cwd=tmp_path, timeout=120)
        assert done.returncode == -signal.SIGKILL, places
    first = []
    resumed = train(tmp_path, callback=lambda update, params: first.append(update))
    assert first[0] == places[-1] + 1  # the checkpoint of that update was written before the kill
    assert_same(resumed, train())


def test_a_run_that_was_interrupted_goes_on(tmp_path):
    def interrupt(update, params):
        if update == 11:
            raise KeyboardInterrupt

    with pytest.raises(lab.training.InterruptedTraining):
        train(tmp_path, callback=interrupt)
    assert_same(train(tmp_path), train())


def test_an_interruption_within_an_update_leaves_no_half(tmp_path, monkeypatch):
    kept = loop.Moment

    def interrupt(*arguments, **named):
        moment = kept(*arguments, **named)
        if moment.state.update == 13:
            raise KeyboardInterrupt
        return moment

    monkeypatch.setattr(loop, "Moment", interrupt)
    with pytest.raises(lab.training.InterruptedTraining, match="after update 12"):
        train(tmp_path)
    monkeypatch.setattr(loop, "Moment", kept)
    assert_same(train(tmp_path), train())


def test_a_run_that_is_done_is_not_computed_again(tmp_path):
    whole, seen = train(tmp_path), []
    again = train(tmp_path, callback=lambda update, params: seen.append(update))
    assert not [update for update in seen if update != 30]
    assert_same(again, whole)


@pytest.mark.parametrize("optimizer", [SGD(), SGD(momentum=0.9), RMSprop(centered=True), Adam()], ids=repr)
@pytest.mark.parametrize("cell", [lab.Elman(2, 3, 1), lab.OrthogonalElman(2, 3, 1)], ids=lambda cell: cell.name)
def test_a_state_is_restored_to_the_last_bit(cell, optimizer):
    task = lab.tasks.Adding(sequence_length=4)
    trained = lab.train(cell, cell.init(0), task, optimizer=optimizer, updates=5, engine="numpy", progress=False)
    known = loop.Ongoing(trained.state, trained.state, trained.records.rows[-1], trained.records, 3, True)
    data = checkpoints.pack_arrays(checkpoints.arrays_of(known, {"a": "b"}))
    _, found = checkpoints.unpack_run(data)
    assert found.state.vector.tobytes() == known.state.vector.tobytes()
    assert found.history.rows == known.history.rows
    assert (found.row, found.solved_at, found.ended) == (known.row, 3, True)
    assert found.state.optimizer.slots.keys() == known.state.optimizer.slots.keys()
    assert checkpoints.pack_arrays(checkpoints.arrays_of(found, {"a": "b"})) == data


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": 0.5}, "its setting learning_rate is None, and here it is 0.5"),
        ({"optimizer": SGD()}, "its optimizer is Adam"),
        ({"seed": 1}, "its seed is 0, and here it is 1"),
        ({"batch_size": 4}, "its batch_size is 3, and here it is 4"),
        ({"scheme": lab.PerLoss(3)}, "its scheme is Full()"),
        ({"frozen": ("W",)}, "its trained parameters"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(tmp_path, change, message):
    train(tmp_path)
    before = (tmp_path / "run.npz").read_bytes()
    with pytest.raises(ConfigurationError) as caught:
        train(tmp_path, **change)
    assert "is of another training: " in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "run.npz").read_bytes() == before


@pytest.mark.parametrize("data", [b"", b"nothing", b"PK\x03\x04"])
def test_a_damaged_checkpoint_is_refused(tmp_path, data):
    (tmp_path / "run.npz").write_bytes(data)
    with pytest.raises(ConfigurationError, match="is no checkpoint, or is damaged"):
        train(tmp_path)


def test_a_pickle_is_not_opened(tmp_path):
    np.savez(tmp_path / "run.npz", about=np.array([{}], dtype=object))
    with pytest.raises(ConfigurationError, match="is no checkpoint, or is damaged"):
        train(tmp_path)


# ------------------------------------------------------------------ in a sweep

SWEEP = textwrap.dedent(
    """
    import os, signal, sys
    import bpttlab as lab
    from bpttlab.sweeps import trained_runs
    from bpttlab.training import checkpoints
    checkpoints.CHECKPOINT_SECONDS = 0.0
    last, save = int(sys.argv[1]), checkpoints.CheckpointFolder.save_if_due

    def save_and_die(self, known):
        save(self, known)
        if known.state.update == last:
            os.kill(os.getpid(), signal.SIGKILL)

    checkpoints.CheckpointFolder.save_if_due = save_and_die
    lab.sweep([{fields}], study="t", workers=0, progress=False)
    """
)
FIELDS = {
    "task": "adding", "sequence_length": 6, "batch_size": 3, "cell.hidden_size": 4, "engine": "numpy",
    "training": "standard", "training.updates": 20, "training.check_sequences": 9, "optimizer": "rmsprop",
    "training.record_every": 3, "training.measure_at": "every:4",
}  # fmt: skip
TABLES = ("runs", "jacobians", "lag_terms", "truncations", "training", "training_gradients")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL")
def test_a_killed_sweep_ends_with_the_same_tables(tmp_path, quick_disk):
    for last in sorted(random.Random(os.urandom(4)).sample(range(1, 20), 2)):
        line = SWEEP.replace("{fields}", repr(FIELDS))
        done = subprocess.run([sys.executable, "-c", line, str(last)], cwd=tmp_path, timeout=120)
        assert done.returncode == -signal.SIGKILL
    folder = tmp_path / "results" / "t" / "checkpoints"
    assert list(folder.rglob("checkpoint-*.npz"))
    configuration = lab.Configuration.parse(FIELDS)
    found = checkpoints.CheckpointFolder(folder / configuration.network_id, {})
    assert found.list_files("checkpoint")[-1].name.split("-")[1] == f"{last:012d}"
    lab.sweep([FIELDS], study="t", results=tmp_path / "results", workers=0, progress=False)
    lab.sweep([FIELDS], study="t", results=tmp_path / "whole", workers=0, progress=False)
    one, other = lab.load("t", results=tmp_path / "results"), lab.load("t", results=tmp_path / "whole")
    for table in TABLES:
        pd.testing.assert_frame_equal(one.table(table), other.table(table), check_exact=True)
    assert not folder.exists()


def test_a_damaged_checkpoint_of_a_sweep_is_left_out(tmp_path):
    folder = checkpoints.CheckpointFolder(tmp_path / "checkpoints" / "a", {"network_id": "a"}, saved=-1e9)
    trained = train()
    known = loop.Ongoing(trained.state, trained.state)
    folder.save_if_due(known)
    later = lab.training.TrainingState(31, trained.state.vector, trained.state.optimizer)
    folder.saved = -1e9
    folder.save_if_due(loop.Ongoing(later, later))
    assert folder.find(set())[0].state.update == 31
    (last,) = [path for path in folder.list_files("checkpoint") if "031" in path.name]
    last.write_bytes(last.read_bytes()[:-1] + b"x")
    assert folder.find(set())[0].state.update == 30
    assert folder.find({5}) is None  # the state at a measured update is missing
    assert checkpoints.CheckpointFolder(folder.folder, {"network_id": "b"}).find(set()) is None


def test_a_place_that_cannot_be_written_is_refused_at_once(tmp_path):
    def fail(update, params):
        raise AssertionError("training has begun")

    for path, message in [
        ("nofolder/a.npz", "there is no folder '.*nofolder'; make it first"),
        ("a.txt", r"must be the name of a \.npz file"),
        ("/proc/a.npz", "cannot be written"),
    ]:
        with pytest.raises(ConfigurationError, match=message):
            train(None, checkpoint=tmp_path / path, callback=fail)


def test_a_disk_that_fills_up_does_not_end_a_training(tmp_path, monkeypatch):
    plain = checkpoints.write_atomically
    written = []

    def write(path, data):
        if written:
            raise OSError(28, "No space left on device")
        written.append(path)
        return plain(path, data)

    monkeypatch.setattr(checkpoints, "write_atomically", write)
    with pytest.warns(LabWarning, match="could not be written .No space left on device.; it is that of an earlier"):
        trained = train(tmp_path)
    assert trained.updates == 30


def test_a_flipped_bit_is_named_or_changes_nothing(tmp_path):
    train(tmp_path)
    data = (tmp_path / "run.npz").read_bytes()
    about, _ = checkpoints.unpack_run(data)
    chosen, damaged = random.Random(5), 0
    for place in chosen.sample(range(len(data)), 100):
        hurt = bytearray(data)
        hurt[place] ^= 1 << chosen.randrange(8)
        found = checkpoints.unpack_run(bytes(hurt))
        damaged += found is None
        if found is not None:
            assert checkpoints.pack_arrays(checkpoints.arrays_of(found[1], found[0])) == data
            assert found[0] == about
    assert damaged > 50


def test_compressed_arrays_are_no_checkpoint(tmp_path):
    train(tmp_path)
    with np.load(tmp_path / "run.npz") as arrays:
        np.savez_compressed(tmp_path / "run.npz", **dict(arrays))
    with pytest.raises(ConfigurationError, match="is no checkpoint, or is damaged"):
        train(tmp_path)


def test_arrays_of_something_else_are_no_checkpoint(tmp_path):
    np.savez(tmp_path / "run.npz", about=np.array("{}"))
    with pytest.raises(ConfigurationError, match="is no checkpoint, or is damaged"):
        train(tmp_path)
