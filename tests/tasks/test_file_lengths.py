"""A person's own sequences of different length: three ways to state the lengths, and runs of a sweep on them."""

import numpy as np
import pandas as pd
import pytest

import bpttlab as lab
from bpttlab.errors import ConfigurationError, LabError
from bpttlab.store.schema import SCHEMA_VERSION
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.run import measure_bundle, run
from bpttlab.tables.curves import products_to_the_end
from bpttlab.tasks import File
from bpttlab.tasks.task import Batch, Task

LENGTHS = np.array([5, 2, 7, 5, 1, 7])
SEQUENCES, STEPS = len(LENGTHS), 7
VALID = np.arange(1, STEPS + 1) <= LENGTHS[:, None]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def sequences(garbage=np.nan, loss_name="squared_error"):
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((SEQUENCES, STEPS, 2)), rng.standard_normal((SEQUENCES, STEPS, 1))
    target = y if loss_name == "squared_error" else rng.permuted(np.arange(SEQUENCES * STEPS) % 3).reshape(y.shape[:2])
    x[~VALID] = garbage
    if target.ndim == 3:
        target[~VALID] = garbage
    return {"x": x, "target": target}


def archive(path="own.npz", garbage=np.nan, **changes):
    held = {**sequences(garbage), "lengths": LENGTHS, **changes}
    np.savez(path, **{name: values for name, values in held.items() if values is not None})
    return path


def table():
    x, target = sequences().values()
    rows = {"sequence": np.repeat(list("abcdef"), STEPS), "step": np.tile(np.arange(1, STEPS + 1), SEQUENCES)}
    rows |= {"x_0": x[..., 0].ravel(), "x_1": x[..., 1].ravel(), "y": target.ravel()}
    return pd.DataFrame(rows)[VALID.ravel()].sample(frac=1.0, random_state=0)


def sample(path, length=STEPS, **fields):
    return File(length, path, **fields).sample(0, SEQUENCES)


def as_bytes(batch):
    return batch.x.tobytes(), batch.target.tobytes(), batch.mask.tobytes(), batch.lengths.tobytes()


def test_three_ways_to_state_lengths_give_one_batch():
    table().to_csv("own.csv", index=False)
    table().to_parquet("own.parquet", index=False)
    paths = [archive("one.npz"), archive("two.npz", lengths=None), archive("three.npz", garbage=1e300)]
    batches = [as_bytes(sample(path)) for path in (*paths, "own.csv", "own.parquet")]
    assert all(one == batches[0] for one in batches)
    batch = sample("own.csv")
    assert sorted(batch.lengths) == sorted(LENGTHS)
    for b, length in enumerate(batch.lengths):
        assert batch.x[:length, b].all() and not batch.x[length:, b].any() and not batch.target[length:, b].any()


def test_a_batch_is_cut_and_equal_lengths_are_none():
    assert sorted(sample(archive(), 5).lengths) == [1, 2, 5, 5, 5, 5]
    assert sample(archive(), 1).lengths is None
    assert as_bytes(sample(archive(), 3)) == as_bytes(sample(archive(), 7).prefix(3))
    np.savez("equal.npz", **{**sequences(0.0), "lengths": np.full(SEQUENCES, 4)})
    assert File(4, "equal.npz").sample(0, 2).lengths is None
    with pytest.raises(ConfigurationError, match="sequence_length=5: must be at most 4, as long as equal.npz"):
        File(5, "equal.npz")


def test_a_loss_at_the_last_step_is_at_that_of_each_sequence():
    task = File(6, archive(), loss_at="last")
    batch = task.sample(0, SEQUENCES)
    ends = batch.lengths - 1
    assert (batch.mask.sum(axis=0) == 1).all() and (batch.mask[ends, range(SEQUENCES)] == 1).all()
    y_hat = np.random.default_rng(1).standard_normal(batch.target.shape)
    last = [(y_hat[end, b] - batch.target[end, b]) ** 2 for b, end in enumerate(ends)]
    assert task.loss(y_hat, batch).value == pytest.approx(np.mean(last))


def test_a_baseline_is_a_guess_for_the_sequences_that_are_there():
    target, task = sequences()["target"][..., 0], File(STEPS, archive())
    costs = [((target[VALID[:, t], t] - target[VALID[:, t], t].mean()) ** 2).sum() for t in range(STEPS)]
    assert task.baseline_loss == pytest.approx(np.sum(costs) / LENGTHS.sum())
    classes = sequences(0.0, "softmax_cross_entropy")
    np.savez("classes.npz", **classes, lengths=LENGTHS)
    assert 0 < File(STEPS, "classes.npz", "softmax_cross_entropy").baseline_loss < np.log(3)


def test_classes_in_padding_may_be_any():
    classes = sequences(0.0, "softmax_cross_entropy")
    np.savez("one.npz", **classes, lengths=LENGTHS)
    np.savez("two.npz", **{**classes, "target": np.where(VALID, classes["target"], -100)}, lengths=LENGTHS)
    one, two = (sample(path, loss_name="softmax_cross_entropy") for path in ("one.npz", "two.npz"))
    assert as_bytes(one) == as_bytes(two)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lengths": [5, 0, 7, 5, 1, 7]}, r"array 'lengths' holds 0.0 at \[1\] \(from 0\): must be an integer"),
        ({"lengths": [5, 2, 8, 5, 1, 7]}, r"array 'lengths' holds 8.0 at \[2\]"),
        ({"lengths": [5, 2.5, 7, 5, 1, 7]}, r"array 'lengths' holds 2.5 at \[1\]"),
        ({"lengths": [5, -2, 7, 5, 1, 7]}, r"array 'lengths' holds -2.0 at \[1\]"),
        ({"lengths": [5, np.nan, 7, 5, 1, 7]}, r"array 'lengths' holds nan at \[1\]"),
        ({"lengths": [5, 2]}, r"array 'lengths' has shape \(2,\): must be \(6,\), the steps of each sequence"),
        ({"lengths": [7, 2, 7, 5, 1, 7]}, r"array 'x' holds nan at \[0, 5, 0\] \(from 0\): must be finite"),
    ],
)  # fmt: skip
def test_lengths_that_cannot_be_are_refused(changes, message):
    with pytest.raises(ConfigurationError, match=message) as refused:
        File(STEPS, archive(**{name: np.array(value) for name, value in changes.items()}))
    assert "\n" not in str(refused.value)


def test_a_hole_in_a_sequence_is_refused():
    held = sequences()
    held["x"][2, 3] = np.nan
    np.savez("hole.npz", **held)
    with pytest.raises(ConfigurationError, match=r"array 'x' holds nan at \[2, 3, 0\] \(from 0\): must be finite"):
        File(STEPS, "hole.npz")


# ------------------------------------------------------------------ runs


def configuration(path, **values):
    given = {
        "task": {"name": "file", "path": path},
        "sequence_length": STEPS,
        "batch_size": SEQUENCES,
        "engine": "numpy",
    }
    cell = {"name": "lstm", "hidden_size": 3}
    return Configuration.parse(
        {"cell": cell, "measure": {"sequences": SEQUENCES, "exponents": "all"}, **given, **values}
    )


def test_a_run_measures_each_sequence_to_its_end():
    records = run(configuration(archive()))
    lengths = records.sequence_lengths
    assert sorted(lengths["length"]) == sorted(LENGTHS) and lengths["sequence"].tolist() == [*range(SEQUENCES)]
    ends = records.jacobians.groupby("sequence")["t"].unique().map(list).tolist()
    assert ends == [[length] for length in lengths["length"]]
    assert records.jacobians.groupby("sequence")["lag"].max().tolist() == lengths["length"].tolist()  # every lag to 7
    assert records.spectra.groupby("sequence").size().tolist() == [6] * SEQUENCES
    assert np.isfinite(records.run["growth_rate"]) and np.isfinite(records.run["loss"])
    assert records.lag_terms["lag"].max() == STEPS - 1


def test_a_run_without_padding_has_no_such_table():
    assert "sequence_lengths" not in run(configuration(archive(), sequence_length=1)).tables
    assert SCHEMA_VERSION == 7


def test_padding_changes_no_byte_of_a_run():
    one, two = (run(configuration(path)) for path in (archive("one.npz"), archive("two.npz", garbage=-np.inf)))
    for table, columns in one.tables.items():
        for name, values in columns.items():
            np.testing.assert_array_equal(np.asarray(values), np.asarray(two.tables[table][name]))


def test_a_run_in_a_bundle_is_the_run_alone():
    path = archive()
    asked = [configuration(path, sequence_length=T, truncation=K) for T in (3, 7) for K in ("full", 2)]
    together = measure_bundle(asked)
    for one, record in zip(asked, together, strict=True):
        alone = run(one)
        assert record.run["status"] == "done"
        assert record.run["log_gradient_norm"] == alone.run["log_gradient_norm"]
        for table, columns in alone.tables.items():
            for name, values in columns.items():
                np.testing.assert_array_equal(np.asarray(values), np.asarray(record.tables[table][name]))


def test_a_study_is_stored_and_read_back(tmp_path):
    archive()
    lab.sweep(
        study="own", results=str(tmp_path / "results"), workers=0, task={"name": "file", "path": "own.npz"},
        engine="numpy", sequence_length=STEPS, cell={"name": "elman", "hidden_size": 3}, seed=[0, 1],
        batch_size=SEQUENCES, measure={"sequences": SEQUENCES},
    )  # fmt: skip
    study = lab.load("own", results=str(tmp_path / "results"))
    lengths = study.table("sequence_lengths")
    assert len(lengths) == 2 * SEQUENCES and set(lengths.groupby("run_id")["length"].sum()) == {LENGTHS.sum()}
    joined = study.jacobians.merge(lengths[["run_id", "sequence", "length"]])
    assert (joined["t"] == joined["length"]).all() and len(joined) == len(study.jacobians)
    to_the_end = products_to_the_end(study.jacobians)
    assert len(to_the_end) == len(joined)


def test_a_user_s_own_task_states_lengths():
    class Own(Task):
        name, loss_name, prefix_stable, input_size, output_size, baseline_loss = "own", "squared_error", True, 1, 1, 1.0
        lengths = np.array([3, 1])

        def draw(self, rng, batch_size):
            x = rng.standard_normal((self.sequence_length, batch_size, 1))
            return Batch(x, x, np.ones(self.sequence_length), lengths=self.lengths)

    task = Own(4)
    assert task.sample(0, 2).lengths.tolist() == [3, 1]
    Own.lengths = np.array([3, 9])
    with pytest.raises(LabError, match=r"Own.draw: lengths: holds 9 for sequence 1"):
        task.sample(0, 2)
