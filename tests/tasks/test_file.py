"""A person's own sequences: what a batch holds of them, what their file's content decides, and what is refused."""

import errno
import hashlib
import io
import os
import pickle
import time
import zipfile
from typing import get_args

import numpy as np
import pandas as pd
import pytest

from bpttlab import user_files
from bpttlab.errors import ConfigurationError, LabError
from bpttlab.networks import losses
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.run import measure_bundle, run
from bpttlab.tasks import File, sequence_files
from bpttlab.tasks.file import LossName

SEQUENCES, STEPS = 9, 7
TARGETS = {
    "squared_error": lambda rng: rng.standard_normal((SEQUENCES, STEPS, 2)),
    "sigmoid_cross_entropy": lambda rng: rng.random((SEQUENCES, STEPS, 2)),
    "softmax_cross_entropy": lambda rng: rng.permuted(np.arange(SEQUENCES * STEPS) % 3).reshape(SEQUENCES, STEPS),
}
each_loss = pytest.mark.parametrize("loss_name", sorted(TARGETS))


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def arrays(loss_name="squared_error"):
    rng = np.random.default_rng(3)
    return {"x": rng.standard_normal((SEQUENCES, STEPS, 4)), "target": TARGETS[loss_name](rng)}


def archive(path="own.npz", **changes):
    held = {name: values for name, values in {**arrays(), **changes}.items() if values is not None}
    np.savez(path, **held)
    return path


def table(loss_name="squared_error"):
    """The same numbers as a long table, its rows shuffled, its sequences named by texts in their order."""
    x, target = arrays(loss_name).values()
    rows = {"sequence": np.repeat(list("abcdefghi"), STEPS), "step": np.tile(np.arange(1, STEPS + 1), SEQUENCES)}
    rows |= {f"x_{i}": x[..., i].ravel() for i in range(4)}
    rows |= {f"y_{o}": target[..., o].ravel() for o in range(2)} if target.ndim == 3 else {"class": target.ravel()}
    return pd.DataFrame(rows).sample(frac=1.0, random_state=0)


def sample(task, batch_size=5, seed=0):
    return task.sample(np.random.default_rng(seed), batch_size)


def as_bytes(batch):
    return batch.x.tobytes(), batch.target.tobytes(), batch.mask.tobytes()


# what a batch holds ---------------------------------------------------------------------------------------------------


@each_loss
def test_a_batch_of_all_holds_each_sequence_once_with_its_target(loss_name):
    held = arrays(loss_name)
    archive(**held)
    batch = sample(File(STEPS, "own.npz", loss_name), SEQUENCES)
    order = [int(np.flatnonzero((held["x"] == x).all(axis=(1, 2)))[0]) for x in batch.x.swapaxes(0, 1)]
    assert sorted(order) == list(range(SEQUENCES)) and order != sorted(order)
    assert np.array_equal(batch.x, held["x"][order].swapaxes(0, 1)) and batch.x.dtype == np.float64
    assert np.array_equal(batch.target, held["target"][order].swapaxes(0, 1))
    assert batch.target.dtype == (np.int64 if loss_name == "softmax_cross_entropy" else np.float64)


@each_loss
def test_shapes_are_those_that_a_loss_takes(loss_name):
    task = File(5, archive(**arrays(loss_name)), loss_name)
    batch = sample(task)
    assert batch.x.shape == (5, 5, task.input_size) and task.input_size == 4
    assert task.output_size == (3 if loss_name == "softmax_cross_entropy" else 2)
    y_hat = np.random.default_rng(1).standard_normal((5, 5, task.output_size))
    assert (task.loss(y_hat, batch).gradient != 0).all()


@each_loss
def test_equal_generators_give_equal_bytes(loss_name):
    task = File(STEPS, archive(**arrays(loss_name)), loss_name)
    assert as_bytes(sample(task)) == as_bytes(sample(task))
    assert as_bytes(sample(task)) != as_bytes(sample(task, seed=1))


@each_loss
@pytest.mark.parametrize("loss_at", ["every", "mask"])
@pytest.mark.parametrize("length", [1, 4, STEPS])
def test_a_shorter_batch_is_the_prefix_of_a_longer_one(loss_name, loss_at, length):
    path = archive(**arrays(loss_name), mask=np.arange(1.0, STEPS + 1))
    short, long = (File(T, path, loss_name, loss_at) for T in (length, STEPS))
    assert short.prefix_stable
    assert as_bytes(sample(short)) == as_bytes(sample(long).prefix(length))


def test_a_loss_at_the_end_has_no_stable_prefix():
    short, long = (File(T, archive(), loss_at="last") for T in (STEPS - 1, STEPS))
    assert not long.prefix_stable
    assert sample(long).mask.tolist() == [0.0] * (STEPS - 1) + [1.0]
    assert as_bytes(sample(short)) != as_bytes(sample(long).prefix(STEPS - 1))


def test_loss_follows_the_mask_unless_overridden():
    mask = np.array([0, 0, 1, 0.5, 0, 2, 0])
    masked, plain = archive("masked.npz", mask=mask), archive("plain.npz")
    assert File(STEPS, masked).loss_at == "mask" and sample(File(STEPS, masked)).mask.tolist() == mask.tolist()
    assert File(STEPS, plain).loss_at == "every" and sample(File(STEPS, plain)).mask.tolist() == [1.0] * STEPS
    assert sample(File(STEPS, masked, loss_at="every")).mask.tolist() == [1.0] * STEPS
    assert sample(File(4, masked, loss_at="last")).mask.tolist() == [0.0] * 3 + [1.0]


def test_one_target_for_a_sequence_holds_at_all_its_steps():
    numbers, labels = np.arange(2.0 * SEQUENCES).reshape(SEQUENCES, 1, 2), np.arange(SEQUENCES) % 4
    for target, loss_name in ((numbers, "squared_error"), (labels, "softmax_cross_entropy")):
        batch = sample(File(STEPS, archive(target=target), loss_name, "last"))
        assert (batch.target == batch.target[0]).all()
        assert len(np.unique(batch.target[0], axis=0)) > 1


@pytest.mark.parametrize("dtype", ["float32", "int16", "uint8", ">f8", "bool"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_any_type_of_number_is_read_as_it_is(dtype, order):
    x = np.asarray(np.random.default_rng(0).integers(0, 2, (SEQUENCES, STEPS, 4)).astype(dtype), order=order)
    batch = sample(File(STEPS, archive(x=x)), SEQUENCES)
    assert batch.x.dtype == np.float64
    assert sorted(map(bytes, batch.x.swapaxes(0, 1))) == sorted(map(bytes, x.astype(float)))


@each_loss
@pytest.mark.parametrize("suffix", ["csv", "parquet", "PARQUET"])
def test_a_table_is_read_as_the_archive_of_the_same_numbers(loss_name, suffix):
    path = f"own.{suffix}"
    write = pd.DataFrame.to_csv if suffix == "csv" else pd.DataFrame.to_parquet
    write(table(loss_name), path, index=False)
    as_table, as_archive = File(5, path, loss_name), File(5, archive(**arrays(loss_name)), loss_name)
    assert as_bytes(sample(as_table)) == as_bytes(sample(as_archive))
    assert (as_table.input_size, as_table.output_size) == (as_archive.input_size, as_archive.output_size)


def test_table_may_have_mask_and_both_targets():
    frame = table("softmax_cross_entropy").rename(columns={"x_0": "x"}).drop(columns=["x_1", "x_2", "x_3"])
    frame["y"], frame["mask"] = frame["x"], frame["step"] > 3
    frame["sequence"] = [10 * ord(letter) for letter in frame["sequence"]]
    frame.to_csv("own.csv", index=False)
    numbers, classes = File(6, "own.csv"), File(6, "own.csv", "softmax_cross_entropy")
    assert sample(numbers).mask.tolist() == [0, 0, 0, 1, 1, 1]
    assert np.array_equal(sample(numbers).target, sample(numbers).x)
    assert sample(classes).target.shape == (6, 5)


def test_a_column_may_look_like_another_type_for_long():
    """Types are those of all values, also where a reader of blocks would decide after the first."""
    count = 200_000
    x = np.ones(count)
    frame = pd.DataFrame({"sequence": "one", "step": np.arange(count), "x": x.astype(int), "y": 0})
    text = frame.to_csv(index=False).rstrip("\n") + f"\none,{count},0.5,0\n"
    assert len(text) > 2 * 1024 * 1024
    with open("own.csv", "w") as file:
        file.write(text)
    assert sample(File(count + 1, "own.csv"), 1).x[-1, 0, 0] == 0.5


# the baseline ---------------------------------------------------------------------------------------------------------


@each_loss
@pytest.mark.parametrize("loss_at", ["every", "last", "mask"])
def test_the_best_guess_costs_the_baseline(loss_name, loss_at):
    path = archive(**arrays(loss_name), mask=np.array([0, 1, 0.5, 0, 3, 1, 0]))
    task = File(6, path, loss_name, loss_at)
    batch = sample(task, SEQUENCES)
    if loss_name == "softmax_cross_entropy":
        shares = np.array([[np.mean(classes == one) for one in range(3)] for classes in batch.target])
        guess = np.log(np.maximum(shares, 1e-300))
    else:
        guess = batch.target.mean(axis=1)
        guess = np.log(guess / (1 - guess)) if loss_name == "sigmoid_cross_entropy" else guess
    y_hat = np.repeat(guess[:, None], SEQUENCES, axis=1)
    assert task.loss(y_hat, batch).value == pytest.approx(task.baseline_loss, rel=1e-12)
    for seed in range(5):
        other = y_hat + 0.1 * np.random.default_rng(seed).standard_normal((6, 1, y_hat.shape[-1]))
        assert task.loss(other, batch).value > task.baseline_loss


def test_what_is_certain_costs_nothing():
    ones = np.ones((SEQUENCES, STEPS, 1))
    assert File(STEPS, archive(target=ones), "sigmoid_cross_entropy").baseline_loss == 0.0
    classes = np.tile(np.arange(STEPS), (SEQUENCES, 1))
    assert File(STEPS, archive(target=classes), "softmax_cross_entropy").baseline_loss == 0.0


# identity -------------------------------------------------------------------------------------------------------------


def configured(path="own.npz", **task):
    task = {"name": "file", "path": path, **task}
    return Configuration.parse({"sequence_length": STEPS, "task": task, "engine": "numpy"})


def test_identity_has_the_content_of_the_file_not_its_name():
    archive(), archive("elsewhere.npz"), archive("other.npz", x=arrays()["x"] + 1.0)
    same, elsewhere, other = map(configured, ("own.npz", "elsewhere.npz", "other.npz"))
    assert same.run_id == elsewhere.run_id != other.run_id
    assert same.task == elsewhere.task and hash(same.task) == hash(elsewhere.task)
    assert "path" not in same.plain["task"] and not any("own" in str(value) for value in same.plain["task"].values())
    assert same.network_id == other.network_id


def test_the_content_is_what_sha256sum_shows_at_first():
    path = archive()
    with open(path, "rb") as file:
        shown = hashlib.sha256(file.read()).hexdigest()
    assert File(3, path).content == shown[:32]
    assert File(3, path, content=shown) == File(3, path)


def test_stored_configuration_and_a_moved_file_repeat_a_run():
    stored = configured(archive()).plain
    os.rename("own.npz", "moved.npz")
    again = {**stored, "task": {**stored["task"], "path": "moved.npz"}}
    assert Configuration.parse(again).plain == stored
    with pytest.raises(ConfigurationError, match="task.path: must name a file"):
        Configuration.parse(stored)
    archive("moved.npz", x=arrays()["x"] + 1.0)
    with pytest.raises(ConfigurationError, match="task.content: SHA-256 mismatch: expected .*, moved.npz has"):
        Configuration.parse(again)


def test_where_the_loss_is_is_settled_once():
    path = archive(mask=np.ones(STEPS))
    assert configured(path).run_id == configured(path, loss_at="mask").run_id
    assert configured(path).run_id != configured(path, loss_at="every").run_id


def test_a_run_has_its_rows():
    records = run(configured(archive()))
    assert records.run["status"] == "done" and records.run["task"] == "file"
    assert records.run["task_content"] == configured().task.content
    assert np.isfinite(records.run["loss"])


def test_runs_of_several_lengths_are_the_same_alone_and_together():
    archive()
    plain = {"task": {"name": "file", "path": "own.npz"}, "engine": "numpy"}
    lengths = [Configuration.parse({**plain, "sequence_length": T}) for T in (4, STEPS)]
    assert len({configuration.bundle_key for configuration in lengths}) == 1
    together = measure_bundle(lengths)
    for configuration, record in zip(lengths, together, strict=True):
        (alone,) = measure_bundle([configuration])
        assert alone.run == record.run


def test_changed_file_is_read_again_or_refused():
    before = pickle.loads(pickle.dumps(configured(archive())))
    archive(x=arrays()["x"] + 1.0)
    os.utime("own.npz", ns=(1, 1))
    with pytest.raises(LabError, match=r"own.npz has changed since the run was configured"):
        sample(before.task)
    assert measure_bundle([before])[0].run["status"] == "failed"
    assert configured().run_id != before.run_id


def test_a_task_finds_its_file_from_any_folder(monkeypatch):
    task = File(3, archive())
    monkeypatch.chdir("/")
    assert sample(task).x.shape == (3, 5, 4)
    monkeypatch.setenv("HOME", os.path.dirname(task.path))
    assert File(3, "~/own.npz").path == task.path


def test_a_file_is_read_once(monkeypatch):
    archive()
    configured()
    monkeypatch.setattr(sequence_files, "check_arrays", None)
    assert configured().task.largest_batch_size == SEQUENCES
    assert sample(configured().task).x.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        configured().task.sequences.x[0] = 0.0


# what is refused ------------------------------------------------------------------------------------------------------


def refused(message, **fields):
    with pytest.raises(ConfigurationError, match=message) as told:
        File(**{"sequence_length": STEPS, "path": "own.npz", **fields})
    assert "\n" not in str(told.value)


def test_files_that_are_not_there_or_no_files():
    archive("wakls.npz")
    os.mkdir("folder.npz")
    refused(r"task.path='walks.npz': there is no such file. Did you mean 'wakls.npz'\?", path="walks.npz")
    refused("task.path='nowhere/walks.npz': there is no such file", path="nowhere/walks.npz")
    refused("task.path='folder.npz': is not a file", path="folder.npz")
    refused("task.path: must name a file of yours, for example task.path=sequences.npz", path="")
    refused("task.path='a\\\\x00.npz': cannot be read", path="a\0.npz")
    open("own.txt", "w").close()
    refused("task.path='own.txt': must end in .npz, .csv, .parquet", path="own.txt")


def test_a_pipe_is_not_waited_for():
    os.mkfifo("pipe.csv")
    refused("is not a file", path="pipe.csv")


@pytest.mark.parametrize("suffix", ["npz", "csv", "parquet"])
@pytest.mark.parametrize("content", [b"", b"junk", b"\xff\xfe\x00junk,\n1", bytes(range(256)) * 9], ids=len)
def test_files_that_hold_something_else(suffix, content):
    with open(f"own.{suffix}", "wb") as file:
        file.write(content)
    refused(f"task.path='own.{suffix}': ", path=f"own.{suffix}")


def test_values_that_fields_cannot_have():
    archive()
    refused(f"sequence_length=8: must be at most {STEPS}, as long as own.npz", sequence_length=8)
    refused("sequence_length=0: must be an integer >= 1", sequence_length=0)
    refused(r"task.loss_name='squared': must be .* Did you mean 'squared_error'\?", loss_name="squared")
    refused("task.loss_at='end': must be 'every', 'last', 'mask' or null", loss_at="end")
    refused("task.loss_at=mask: own.npz has no mask; must be every or last", loss_at="mask")
    refused("task.content: SHA-256 mismatch: expected 0, own.npz has ", content="0")
    with pytest.raises(ConfigurationError, match=f"batch_size={SEQUENCES + 1}: task 'file' has {SEQUENCES} sequences"):
        Configuration.parse({"task": {"name": "file", "path": "own.npz"}, "sequence_length": 3, "batch_size": 10})


def with_value(name, place, value):
    values = arrays()[name]
    values[place] = value
    return {name: values}


@pytest.mark.parametrize(
    ("changes", "fields", "message"),
    [
        ({"x": None}, {}, "has no array 'x'"),
        ({"target": None}, {}, "has no array 'target'"),
        ({"targets": np.ones(3)}, {}, r"array 'targets': must be one of x, target, mask, lengths. Did"),
        ({"x": np.zeros((9, 7))}, {}, r"array 'x' has shape \(9, 7\): must be \(sequences, steps, inputs\)"),
        ({"x": np.zeros((9, 0, 4))}, {}, r"array 'x' has shape \(9, 0, 4\): must be"),
        ({"x": np.full((9, 7, 1), "a")}, {}, "array 'x' has the type <U1: must be numbers"),
        ({"x": np.zeros((9, 7, 1), complex)}, {}, "array 'x' has the type complex128: must be numbers"),
        (with_value("x", (2, 3, 1), np.nan), {}, r"array 'x' holds nan at \[2, 3, 1\] \(from 0\): must be finite"),
        (with_value("target", (8, 0, 0), -np.inf), {}, r"array 'target' holds -inf at \[8, 0, 0\]"),
        ({"target": np.zeros((9, 7))}, {}, r"array 'target' has shape \(9, 7\): must be \(9, 7 or 1, outputs\)"),
        ({"target": np.zeros((8, 7, 1))}, {}, r"array 'target' has shape \(8, 7, 1\): must be \(9, 7 or 1"),
        ({"target": np.zeros((9, 5, 1))}, {}, r"array 'target' has shape \(9, 5, 1\)"),
        ({"mask": np.ones(6)}, {}, r"array 'mask' has shape \(6,\): must be \(7,\)"),
        ({"mask": -np.ones(7)}, {}, r"array 'mask' holds -1.0 at \[0\] \(from 0\): must be >= 0"),
        ({"mask": np.zeros(7)}, {}, "sequence_length=7: the mask of own.npz is 0 at all of these steps"),
        ({"mask": np.arange(7) // 5}, {"sequence_length": 5}, "sequence_length=5: the mask of own.npz is 0"),
        ({}, {"loss_name": "sigmoid_cross_entropy"}, r"array 'target' holds -?[\d.]+ at .*: must be from 0 to 1"),
        ({}, {"loss_name": "softmax_cross_entropy"}, r"shape \(9, 7, 2\): must be \(9, 7\) or \(9,\) for classes"),
        ({"target": np.arange(9) + 1}, {"loss_name": "softmax_cross_entropy"}, "the classes are 1, 2, 3, 4, 5, …"),
        ({"target": np.arange(9) // 9}, {"loss_name": "softmax_cross_entropy"}, "the classes are 0: must be 0, 1, 2"),
        ({"target": np.arange(9) / 2}, {"loss_name": "softmax_cross_entropy"}, "the classes are 0, 0.5, 1"),
        ({"target": np.arange(9) - 1}, {"loss_name": "softmax_cross_entropy"}, "the classes are -1, 0, 1"),
    ],
)  # fmt: skip
def test_arrays_that_cannot_be(changes, fields, message):
    archive(**changes)
    refused(message, **fields)


class Exploding:
    """An object whose unpickling would be seen."""

    def __reduce__(self):
        return (open, ("exploded", "w"))


def test_nothing_is_unpickled():
    np.savez("own.npz", x=np.array([[[Exploding()]]], dtype=object), target=np.ones((1, 1, 1)))
    refused("array 'x' has the type object: must be numbers", sequence_length=1)
    with open("own.npz", "wb") as file:
        pickle.dump(Exploding(), file)
    refused("task.path='own.npz': cannot be read")
    assert not os.path.exists("exploded")


def npy_bytes(shape, values):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return stream.getvalue() + values.tobytes()


@pytest.mark.parametrize("shape", [(1 << 50, 1, 1), (9, 7, 5), (9, 7, 3)])
def test_a_header_is_not_believed(shape):
    with zipfile.ZipFile("own.npz", "w") as file:
        file.writestr("x.npy", npy_bytes(shape, arrays()["x"]))
        file.writestr("target.npy", npy_bytes((9, 1, 1), np.zeros(9)))
    refused("array 'x' is damaged")


def test_what_is_too_large_is_not_unpacked(monkeypatch):
    np.savez_compressed("own.npz", x=np.zeros((SEQUENCES, STEPS, 4000)), target=np.zeros((SEQUENCES, 1, 1)))
    assert os.stat("own.npz").st_size < 20_000
    monkeypatch.setattr(user_files, "LARGEST_BYTES", 20_000)
    refused("holds 2016200 bytes|holds 20163.. bytes: must be at most 20000")
    frame = pd.DataFrame({"sequence": 0, "step": np.arange(10_000), "x": 0.0, "y": 0.0})
    frame.to_parquet("own.parquet", index=False)
    refused("bytes: must be at most 20000", path="own.parquet")


# ... of tables


def test_unknown_and_missing_columns_are_named():
    for change, message in (
        (
            lambda frame: frame.rename(columns={"x_1": "speed"}),
            "column 'speed': must be sequence, step, class or mask",
        ),
        (lambda frame: frame.rename(columns={"step": "steps"}), r"column 'steps': .* Did you mean 'step'\?"),
        (lambda frame: frame.drop(columns="sequence"), "has no column 'sequence'"),
        (lambda frame: frame.drop(columns=["y_0", "y_1"]), "has no column 'y', nor any 'y_…'"),
        (lambda frame: frame[["sequence", "step", "y_0"]], "has no column 'x', nor any 'x_…'"),
        (lambda frame: frame.iloc[:0], "has no rows"),
    ):
        change(table()).to_csv("own.csv", index=False)
        refused(f"task.path='own.csv': {message}", path="own.csv")
    refused("task.path='own.csv': has no (rows|column 'class')", path="own.csv", loss_name="softmax_cross_entropy")
    table().to_csv("own.csv")
    refused(r"column '': the index of a data frame\? Write it with index=False", path="own.csv")
    table().to_parquet("own.parquet")
    refused("column '__index_level_0__': the index of a data frame", path="own.parquet")
    with open("own.csv", "w") as file:
        file.write("sequence,step,x,x,y\na,0,1,1,1\n")
    refused("column 'x' occurs 2 times", path="own.csv")


def changed(row, column, value):
    frame = table().astype({column: object}) if isinstance(value, str) else table()
    frame.iloc[row, frame.columns.get_loc(column)] = value
    return frame


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: changed(4, "x_2", np.nan), r"column 'x_2' is empty \(or NaN\) in row 5: no value may be missing"),
        (lambda: changed(6, "y_1", np.inf), "column 'y_1' holds inf in row 7: must be finite"),
        (lambda: changed(0, "sequence", None), r"column 'sequence' is empty \(or NaN\) in row 1"),
        (lambda: table().assign(x_0="fast"), "column 'x_0' holds 'fast' in row 1: must be numbers"),
        (lambda: changed(3, "x_0", "fast").astype({"x_0": str}), "column 'x_0' holds 'fast' in row 4: must be numbers"),
        (lambda: table().assign(step=lambda frame: frame["step"] + 0.5), r"column 'step' holds \d.5 in row 1: must"),
        (lambda: table()[lambda frame: (frame["sequence"] != "d") | (frame["step"] != 4)],
         "sequence d: its steps must be 1 to 6, each once"),
        (lambda: table().assign(step=lambda frame: frame["step"].where(frame["sequence"] != "c", 3)),
         "sequence c: its steps must be 1 to 7, each once"),
        (lambda: table().assign(step=lambda frame: frame["step"] + (frame["sequence"] == "c")),
         "sequence c: its steps must be 1 to 7, each once"),
        (lambda: table().assign(mask=lambda frame: frame["sequence"] == "b").astype({"mask": int}),
         "column 'mask' must be the same in every sequence"),
    ],
)  # fmt: skip
def test_tables_that_cannot_be(make, message, suffix):
    if suffix == "csv":
        make().to_csv("own.csv", index=False)
    else:
        make().to_parquet("own.parquet", index=False)
    refused(f"task.path='own.{suffix}': {message}", path=f"own.{suffix}")


def test_a_file_without_permission(monkeypatch):
    def forbidden(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    archive()
    monkeypatch.setattr(user_files.Path, "read_bytes", forbidden)
    refused("task.path='own.npz': cannot be read: Permission denied")


def test_configuration_offers_every_loss():
    assert set(get_args(LossName)) == set(losses.LOSSES)


@pytest.mark.parametrize("write", ["csv", "parquet"])
def test_a_very_wide_table_is_refused_before_it_is_read(tmp_path, write):
    names, path = [f"x_{place}" for place in range(6000)], tmp_path / f"wide.{write}"
    wide = pd.DataFrame(np.zeros((1, len(names))), columns=names)
    wide.to_csv(path, index=False) if write == "csv" else wide.to_parquet(path)
    begun = time.process_time()
    with pytest.raises(ConfigurationError, match=r"has 6000 columns: must be at most 5000; a .npz file"):
        File(1, path=str(path))
    assert time.process_time() - begun < 2.0


def test_the_widest_table_takes_no_time(tmp_path):
    names = ["sequence", "step", "y", *(f"x_{place}" for place in range(sequence_files.WIDEST_TABLE - 3))]
    pd.DataFrame(np.zeros((1, len(names))), columns=names).to_csv(tmp_path / "wide.csv", index=False)
    begun = time.process_time()
    assert File(1, path=str(tmp_path / "wide.csv")).input_size == len(names) - 3
    assert time.process_time() - begun < 2.0
