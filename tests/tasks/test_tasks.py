"""Tasks: what a batch holds, what guessing costs, and that equal generators give equal bytes."""

import hashlib
import inspect
import math
import re
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from bpttlab import plugins, tasks
from bpttlab.cli import main
from bpttlab.errors import ConfigurationError
from bpttlab.gradients.forward import forward
from bpttlab.networks.cells import Elman
from bpttlab.store import store
from bpttlab.sweeps.configuration import Configuration
from bpttlab.tasks import (
    Adding,
    Batch,
    Characters,
    Copy,
    DelayedRecall,
    Digits,
    Hold,
    Lorenz,
    MackeyGlass,
    Memorization,
    Multiplication,
    Noise,
    Parity,
    RandomPermutation,
    Task,
    TemporalOrder,
)
from bpttlab.tasks.digits import images_and_labels

ROOT = Path(__file__).resolve().parents[2]

ALL = [
    Noise(12, input_size=3, output_size=2),
    Adding(12),
    Copy(23),
    Copy(12, symbols=4, alphabet=3),
    TemporalOrder(12),
    TemporalOrder(12, symbols=3),
    Digits(12, by="row"),
    Digits(70, by="pixel"),
    Multiplication(12),
    DelayedRecall(12),
    DelayedRecall(12, delay=3),
    Parity(12),
    RandomPermutation(12),
    RandomPermutation(12, alphabet=4),
    Memorization(12),
    Memorization(23, symbols=10, alphabet=5),
    MackeyGlass(12),
    MackeyGlass(12, horizon=6),
    Lorenz(12),
    Lorenz(12, horizon=3),
    Characters(12),
    Hold(12),
]
each = pytest.mark.parametrize("task", ALL, ids=lambda task: f"{task.name}-{task.input_size}-{task.output_size}")


def sample(task, batch_size=5, seed=0):
    return task.sample(np.random.default_rng(seed), batch_size)


def as_bytes(batch):
    return batch.x.tobytes(), batch.target.tobytes(), batch.mask.tobytes()


@each
def test_shapes_and_types(task):
    batch, length = sample(task), task.sequence_length
    assert batch.x.shape == (length, 5, task.input_size) and batch.x.dtype == np.float64
    assert batch.mask.shape == (length,) and batch.mask.dtype == np.float64
    if task.loss_name != "softmax_cross_entropy":
        assert batch.target.shape == (length, 5, task.output_size) and batch.target.dtype == np.float64
    else:
        assert batch.target.shape == (length, 5) and batch.target.dtype == np.int64
        assert ((batch.target >= 0) & (batch.target < task.output_size)).all()
    assert np.isfinite(batch.x).all()


@each
def test_equal_generators_give_equal_batches(task):
    assert as_bytes(sample(task)) == as_bytes(sample(task))
    assert as_bytes(sample(task)) != as_bytes(sample(task, seed=1))
    rng = np.random.default_rng(0)
    assert as_bytes(task.sample(rng, 5)) != as_bytes(task.sample(rng, 5))


@each
def test_the_loss_has_a_slope_only_where_the_mask_counts(task):
    batch = sample(task)
    y_hat = np.random.default_rng(1).standard_normal((task.sequence_length, 5, task.output_size))
    loss = task.loss(y_hat, batch)
    assert loss.gradient.shape == y_hat.shape
    assert (loss.gradient[batch.mask == 0] == 0).all() and (loss.gradient[batch.mask == 1] != 0).all()
    total = task.loss(y_hat, batch, reduction="sum")
    assert total.value == pytest.approx(loss.value * batch.mask.sum(), rel=1e-14)


def test_where_the_loss_counts():
    assert sample(Noise(7)).mask.tolist() == [1.0] * 7
    assert sample(Adding(7)).mask.tolist() == [0.0] * 6 + [1.0]
    assert sample(Copy(21)).mask.tolist() == [1.0] * 21
    assert sample(TemporalOrder(10)).mask.tolist() == [0.0] * 9 + [1.0]
    assert sample(Digits(9)).mask.tolist() == [0.0] * 8 + [1.0]
    assert sample(Memorization(12)).mask.tolist() == [0.0] * 7 + [1.0] * 5
    for last in (Multiplication(7), DelayedRecall(7), Parity(7)):
        assert sample(last).mask.tolist() == [0.0] * 6 + [1.0]
    for every in (Hold(7), RandomPermutation(7), MackeyGlass(7), Lorenz(7), Characters(7)):
        assert sample(every).mask.tolist() == [1.0] * 7


@pytest.mark.parametrize(
    ("task", "guess", "baseline", "tolerance"),
    [
        (Noise(50, input_size=1, output_size=3), 0.0, 3.0, 0.05),
        (Adding(10), 1.0, 1 / 6, 0.01),
        (Digits(8), 0.0, math.log(10), 1e-13),
        (TemporalOrder(10), 0.0, math.log(4), 1e-13),
        (TemporalOrder(10, symbols=3), 0.0, math.log(8), 1e-13),
        (Memorization(12), 0.0, math.log(2), 1e-13),
        (Memorization(30, symbols=10, alphabet=5), 0.0, math.log(5), 1e-13),
        (Parity(10), 0.0, math.log(2), 1e-13),
        (Hold(10), 0.0, 1.0, 1e-13),
    ],
    ids=lambda value: value.name if isinstance(value, Task) else "",
)
def test_guessing_costs_the_baseline(task, guess, baseline, tolerance):
    batch = sample(task, batch_size=1797)
    y_hat = np.full((task.sequence_length, 1797, task.output_size), guess)
    assert task.loss(y_hat, batch).value == pytest.approx(baseline, abs=tolerance)
    assert task.baseline_loss == baseline


def best_constant(batch):
    """The loss of the best guess that does not look at the input, over many sequences, and its standard error."""
    squares = ((batch.target - batch.target.mean(axis=1, keepdims=True)) ** 2).sum(axis=-1)
    costs = batch.mask @ squares / batch.mask.sum()  # of each sequence
    return costs.mean(), costs.std(ddof=1) / math.sqrt(len(costs))


@pytest.mark.parametrize(
    "task",
    [
        *(Adding(9), Multiplication(9), DelayedRecall(9), DelayedRecall(9, delay=0), Lorenz(200)),
        pytest.param(MackeyGlass(200), marks=pytest.mark.slow),
    ],
    ids=lambda task: f"{task.name}-{task.identity_fields()}",
)
def test_baseline_is_the_loss_of_the_best_guess(task):
    measured, error = best_constant(sample(task, batch_size=3000, seed=4))
    assert measured == pytest.approx(task.baseline_loss, abs=4 * error)
    assert error < 0.03 * task.baseline_loss


@each
def test_tasks_say_what_a_reader_asks(task):
    told = " ".join(inspect.cleandoc(type(task).__doc__).split())
    assert "Loss: " in told and "Baseline: " in told and "refix stable: " in told
    assert ("Not prefix stable: " not in told) == task.prefix_stable
    assert ("Relevant step: " in told) == (sample(task).relevant_step is not None)


# the relevant step ----------------------------------------------------------------------------------------------------


def first(events):
    """The step, from 1, of the first event of each sequence.  (T, B) -> (B,)"""
    assert events.any(axis=0).all()
    return events.argmax(axis=0) + 1


RELEVANT = {
    "adding": lambda x: first(x[..., 1] == 1),
    "multiplication": lambda x: first(x[..., 1] == 1),
    "delayed_recall": lambda x: first(x[..., 1] == 1),
    "temporal_order": lambda x: first(x[..., :2].any(axis=-1)),
    "random_permutation": lambda x: first(x[..., :2].any(axis=-1)),
    "hold": lambda x: first(x[..., 0] != 0),
}


@each
def test_relevant_step_is_the_earliest_that_matters(task):
    batch = sample(task, batch_size=50)
    if task.name not in RELEVANT:
        assert batch.relevant_step is None
        return
    assert batch.relevant_step.shape == (50,) and batch.relevant_step.dtype == np.int64
    assert np.array_equal(batch.relevant_step, RELEVANT[task.name](batch.x))


def test_a_prefix_that_ends_before_a_relevant_step_has_none():
    x, mask = np.arange(10.0).reshape(5, 2, 1), np.ones(5)
    batch = Batch(x, x, mask, np.array([2, 4]))
    assert batch.prefix(5).relevant_step.tolist() == batch.prefix(4).relevant_step.tolist() == [2, 4]
    assert batch.prefix(3).relevant_step is None
    assert Batch(x, x, mask).prefix(3).relevant_step is None
    assert batch.prefix(3).x.tolist() == x[:3].tolist()


BYTES = {
    Noise(12, input_size=3, output_size=2): "71018da065f35fc752b03e30c535f17d",
    Adding(12): "8fe74c125c951ce74336533bbf4c67ed",
    Copy(23): "73599f9f6eb169e9db8ef62ac7b977f3",
    TemporalOrder(12): "069221f36ed7e9db52f38d932cf53d3f",
    TemporalOrder(37): "6339bafd399d72e88f18ca17bb9896f8",
    Digits(12): "399497ed43e23a7a7ffa41904ee64857",
}


@pytest.mark.parametrize("task", BYTES, ids=lambda task: f"{task.name}-{task.sequence_length}")
def test_batches_keep_the_bytes_of_stored_results(task):
    assert hashlib.sha256(b"".join(as_bytes(sample(task)))).hexdigest()[:32] == BYTES[task]


def test_two_symbols_are_the_run_that_they_were_without_a_choice():
    plain = Configuration.parse({"task": "temporal_order"})
    assert plain.plain["task"] == {"name": "temporal_order"}
    two, three = ({"name": "temporal_order", "symbols": symbols} for symbols in (2, 3))
    assert Configuration.parse({"task": two}).run_id == plain.run_id
    assert Configuration.parse({"task": three}).plain["task"] == three


# prefixes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", [task for task in ALL if task.prefix_stable], ids=lambda task: task.name)
@pytest.mark.parametrize("length", [1, 2, 63, 64, 65])
def test_a_shorter_batch_is_the_prefix_of_a_longer_one(task, length):
    short, long = (sample(replace(task, sequence_length=one)) for one in (length, 200))
    assert as_bytes(short) == as_bytes(long.prefix(length))


def test_which_tasks_claim_stable_prefixes():
    assert {task.name for task in ALL if task.prefix_stable} == {"hold", "noise", "mackey_glass", "lorenz"}


@pytest.mark.parametrize("task", [task for task in ALL if not task.prefix_stable], ids=lambda task: task.name)
def test_what_does_not_claim_stable_prefixes_has_none(task):
    length = task.sequence_length - 1
    assert as_bytes(sample(replace(task, sequence_length=length))) != as_bytes(sample(task).prefix(length))


# noise ----------------------------------------------------------------------------------------------------------------


def test_noise_is_white_standard_and_independent_of_its_target():
    batch = sample(Noise(400, input_size=2, output_size=2), batch_size=50)
    columns = np.concatenate([batch.x, batch.target], axis=-1)
    assert np.abs(columns.mean(axis=(0, 1))).max() < 4 / math.sqrt(400 * 50)
    flat = columns.reshape(-1, 4)
    assert np.abs(flat.T @ flat / len(flat) - np.eye(4)).max() < 6 / math.sqrt(400 * 50)
    neighbours = (columns[1:] * columns[:-1]).mean(axis=(0, 1))
    assert np.abs(neighbours).max() < 4 / math.sqrt(399 * 50)


# adding ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [2, 3, 10, 31])
def test_adding_asks_for_the_sum_of_two_marked_values(length):
    batch = sample(Adding(length), batch_size=200)
    values, markers = batch.x[..., 0], batch.x[..., 1]
    assert ((values >= 0) & (values < 1)).all()
    assert set(np.unique(markers)) <= {0.0, 1.0}
    assert (markers[: length // 2].sum(axis=0) == 1).all() and (markers[length // 2 :].sum(axis=0) == 1).all()
    assert batch.target[-1, :, 0] == pytest.approx((values * markers).sum(axis=0), rel=1e-15)


def test_every_step_may_be_marked():
    markers = sample(Adding(9), batch_size=500).x[..., 1]
    assert (markers.sum(axis=1) > 0).all()


# copy -----------------------------------------------------------------------------------------------------------------


def test_copy_reads_waits_and_asks_for_the_same_again():
    task = Copy(30)
    batch = sample(task, batch_size=300)
    read = batch.x.argmax(axis=-1)
    assert task.delay == 10 and (batch.x.sum(axis=-1) == 1).all() and set(np.unique(batch.x)) == {0.0, 1.0}
    letters = read[:10]
    assert (read[10:19] == 8).all() and (read[19] == 9).all() and (read[20:] == 8).all()
    assert np.array_equal(batch.target[20:], letters) and (batch.target[:20] == 8).all()
    shares = np.bincount(letters.ravel(), minlength=8) / letters.size
    assert shares == pytest.approx(np.full(8, 1 / 8), abs=5 * math.sqrt(7 / 64 / 3000))
    assert abs(np.corrcoef(letters[0], letters[1])[0, 1]) < 5 / math.sqrt(300)


@pytest.mark.parametrize(("symbols", "alphabet", "delay"), [(10, 8, 100), (10, 8, 1), (1, 2, 1), (3, 5, 7)])
def test_waiting_and_guessing_costs_the_baseline_of_copy(symbols, alphabet, delay):
    """10 ln 8 / (T + 20) in the words of the source, whose T is the delay."""
    length = delay + 2 * symbols
    task = Copy(length, symbols, alphabet)
    y_hat = np.full((length, 5, alphabet + 2), -1e3)
    y_hat[:-symbols, :, alphabet] = 0.0
    y_hat[-symbols:, :, :alphabet] = 0.0
    expected = symbols * math.log(alphabet) / (delay + 2 * symbols)
    assert task.loss(y_hat, sample(task)).value == pytest.approx(expected, rel=1e-14)
    assert task.baseline_loss == pytest.approx(expected, rel=1e-15)


# temporal order -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [10, 11, 19, 37, 100])
def test_order_of_two_symbols_is_the_class(length):
    batch = sample(TemporalOrder(length), batch_size=2000)
    symbols = batch.x.argmax(axis=-1)
    assert (batch.x.sum(axis=-1) == 1).all()
    assert ((symbols < 2).sum(axis=0) == 2).all()
    sequence = np.arange(2000)
    first = (symbols < 2).argmax(axis=0)
    second = length - 1 - (symbols < 2)[::-1].argmax(axis=0)
    for steps, tenth in ((first + 1, 1), (second + 1, 5)):
        allowed = [t for t in range(1, length + 1) if tenth * length <= 10 * t <= (tenth + 1) * length]
        assert sorted(set(steps.tolist())) == allowed
    assert np.array_equal(batch.target[-1], 2 * symbols[first, sequence] + symbols[second, sequence])
    assert np.bincount(batch.target[-1]) / 2000 == pytest.approx(np.full(4, 0.25), abs=0.06)
    assert np.bincount(symbols[symbols >= 2])[2:] / (symbols >= 2).sum() == pytest.approx(np.full(4, 0.25), abs=0.02)


@pytest.mark.parametrize("length", [10, 11, 19, 37, 100])
def test_three_relevant_symbols_stand_where_the_source_has_them(length):
    batch = sample(TemporalOrder(length, symbols=3), batch_size=2000)
    symbols = batch.x.argmax(axis=-1)
    relevant = symbols < 2
    assert (batch.x.sum(axis=-1) == 1).all() and (relevant.sum(axis=0) == 3).all()
    steps = np.argsort(~relevant, axis=0, kind="stable")[:3]  # those of X and Y, in their order
    for found, (low, high) in zip(steps + 1, ((10, 20), (33, 43), (66, 76)), strict=True):
        assert sorted(set(found.tolist())) == [t for t in range(length + 1) if low * length <= 100 * t <= high * length]
    first, second, third = np.take_along_axis(symbols, steps, axis=0)
    assert np.array_equal(batch.target[-1], 4 * first + 2 * second + third)
    assert np.bincount(batch.target[-1]) / 2000 == pytest.approx(np.full(8, 1 / 8), abs=5 * math.sqrt(7 / 64 / 2000))


# multiplication, delayed recall, parity -------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [2, 3, 10, 31])
def test_multiplication_has_inputs_of_adding(length):
    batch, other = (sample(kind(length), batch_size=200) for kind in (Multiplication, Adding))
    assert batch.x.tobytes() == other.x.tobytes()
    chosen = np.where(batch.x[..., 1] == 1, batch.x[..., 0], 1.0)
    assert batch.target[-1, :, 0] == pytest.approx(chosen.prod(axis=0), rel=1e-15)


@pytest.mark.parametrize(("length", "delay"), [(2, None), (9, None), (1, 0), (9, 0), (9, 3), (9, 8)])
def test_delayed_recall_asks_for_the_one_marked_value(length, delay):
    batch = sample(DelayedRecall(length, delay=delay), batch_size=300)
    values, markers = batch.x[..., 0], batch.x[..., 1]
    assert (markers.sum(axis=0) == 1).all() and ((values >= 0) & (values < 1)).all()
    expected = range(1, length // 2 + 1) if delay is None else [length - delay]
    assert sorted(set((markers.argmax(axis=0) + 1).tolist())) == list(expected)
    assert np.array_equal(batch.target[-1, :, 0], (values * markers).sum(axis=0))


@pytest.mark.parametrize("length", [1, 2, 7, 50])
def test_parity_is_odd_for_an_odd_number_of_ones(length):
    batch = sample(Parity(length), batch_size=2000)
    assert set(np.unique(batch.x)) == {-1.0, 1.0}
    odd = (batch.x[..., 0].prod(axis=0) * (-1.0) ** length) < 0  # each 1 turns the sign once more than each -1
    assert np.array_equal(batch.target[-1, :, 0], odd.astype(float))
    assert batch.target[-1].mean() == pytest.approx(0.5, abs=5 / math.sqrt(4 * 2000))


# random permutation, memorization -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("length", "alphabet"), [(2, 3), (2, 100), (9, 5), (40, 100)])
def test_random_permutation_asks_for_the_next_symbol(length, alphabet):
    batch = sample(RandomPermutation(length, alphabet), batch_size=400)
    symbols = batch.x.argmax(axis=-1)
    assert (batch.x.sum(axis=-1) == 1).all()
    assert np.array_equal(batch.target[:-1], symbols[1:]) and np.array_equal(batch.target[-1], symbols[0])
    assert set(symbols[0].tolist()) == {0, 1} and (symbols[1:] >= 2).all()
    shares = np.bincount(symbols[1:].ravel(), minlength=alphabet)[2:] / symbols[1:].size
    share = 1 / (alphabet - 2)
    error = math.sqrt(share * (1 - share) / symbols[1:].size)
    assert shares == pytest.approx(np.full(alphabet - 2, share), abs=5 * error)


@pytest.mark.parametrize(("length", "alphabet"), [(2, 3), (9, 5), (40, 100)])
def test_best_guess_costs_the_baseline_of_permutation(length, alphabet):
    task = RandomPermutation(length, alphabet)
    y_hat = np.full((length, 5, alphabet), -1e3)
    y_hat[:-1, :, 2:] = y_hat[-1, :, :2] = 0.0
    assert task.loss(y_hat, sample(task)).value == pytest.approx(task.baseline_loss, rel=1e-14)


@pytest.mark.parametrize(("symbols", "alphabet", "delay"), [(5, 2, 20), (10, 5, 1), (1, 2, 1), (3, 4, 7)])
def test_memorization_reads_waits_and_asks_for_the_same_again(symbols, alphabet, delay):
    task = Memorization(delay + 2 * symbols, symbols, alphabet)
    batch = sample(task, batch_size=300)
    read = batch.x.argmax(axis=-1)
    assert task.delay == delay and (batch.x.sum(axis=-1) == 1).all()
    assert (read[:symbols] < alphabet).all() and len(np.unique(read[:symbols])) == alphabet
    expected = [alphabet] * (delay - 1) + [alphabet + 1] + [alphabet] * symbols
    assert (read[symbols:] == np.array(expected)[:, None]).all()
    assert np.array_equal(batch.target[-symbols:], read[:symbols])


def test_memorization_has_the_input_of_copy():
    ours, theirs = sample(Memorization(30, 5, 3)), sample(Copy(30, 5, 3))
    assert ours.x.tobytes() == theirs.x.tobytes()
    assert np.array_equal(ours.target[-5:], theirs.target[-5:])


# digits ---------------------------------------------------------------------------------------------------------------


def test_the_digits_are_those_that_were_shipped():
    images, labels = images_and_labels()
    assert images.shape == (1797, 8, 8) and images.dtype == np.uint8 and labels.shape == (1797,)
    assert (images.min(), images.max()) == (0, 16)
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    content = hashlib.sha256(images.tobytes() + labels.astype(np.uint8).tobytes()).hexdigest()
    assert content == "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"
    assert len(images) == Digits.largest_batch_size


def test_the_shared_images_cannot_be_written_to():
    for array in images_and_labels():
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


@pytest.mark.parametrize(("by", "steps"), [("row", 8), ("pixel", 64)])
@pytest.mark.parametrize("blanks", [0, 22])
def test_digit_is_read_from_top_left_then_blanks(by, steps, blanks):
    batch = sample(Digits(steps + blanks, by=by), batch_size=20)
    images, labels = images_and_labels()
    assert (batch.x[steps:] == 0).all()
    assert (batch.target == batch.target[-1]).all()
    known = {image.tobytes(): label for image, label in zip(images, labels, strict=True)}
    for sequence in range(20):
        image = (batch.x[:steps, sequence] * 16).astype(np.uint8).tobytes()
        assert known[image] == batch.target[-1, sequence]


def test_rows_and_pixels_of_one_generator_are_the_same_images():
    rows, pixels = sample(Digits(8, by="row")), sample(Digits(64, by="pixel"))
    assert np.array_equal(rows.x.transpose(1, 0, 2).reshape(5, 64), pixels.x[..., 0].T)


def test_a_batch_of_all_holds_each_once():
    images, _ = images_and_labels()
    drawn = sample(Digits(8), batch_size=1797).x.transpose(1, 0, 2) * 16
    assert sorted(image.astype(np.uint8).tobytes() for image in drawn) == sorted(image.tobytes() for image in images)


# conf/ and docs/ ------------------------------------------------------------------------------------------------------


FILES = sorted((ROOT / "conf" / "task").glob("*.yaml"))


@pytest.mark.parametrize("path", [path for path in FILES if path.stem != "file"], ids=lambda path: path.stem)
def test_a_task_and_its_file_in_conf_say_the_same(path):
    """Of every field the default, but where a file is there to give another one."""
    written = yaml.safe_load(path.read_text(encoding="utf-8"))
    task = Configuration.parse({"task": written, "sequence_length": 64}).task
    names = [field.name for field in fields(task) if field.name != "sequence_length"]
    assert list(written) == ["name", *names] and written["name"] == task.name
    assert {name: written[name] for name in names if written[name] is not None} == {
        name: getattr(task, name) for name in names if written[name] is not None
    }
    if path.stem == task.name:
        assert task == type(task)(64)


def test_every_task_has_a_file_in_conf():
    written = {yaml.safe_load(path.read_text(encoding="utf-8"))["name"] for path in FILES}
    assert written == set(plugins.find_shipped("task"))


@pytest.mark.slow
def test_every_task_is_swept_from_the_command_line(folder):
    names = [path.stem for path in FILES if path.stem != "file"]
    sizes = ["sequence_length=64", "cell.hidden_size=4", "batch_size=3", "truncation=full,5", "engine=numpy"]
    assert main(["sweep", "study=all", f"task={','.join(names)}", "workers=0", *sizes]) == 0
    study = store.load("all")
    assert len(study.runs) == 2 * len(names) and set(study.runs["status"]) == {"done"}
    for table in (study.jacobians, study.lag_terms, study.truncations):
        assert set(table["run_id"]) == set(study.runs["run_id"])


def tables_of_tasks():
    """The rows of the two tables in docs/tasks.md by task name: input and target, loss and properties."""
    page = (ROOT / "docs" / "tasks.md").read_text(encoding="utf-8")
    for section in page.split("\n## ")[1:3]:
        lines = [line.strip("| ").split("|") for line in section.splitlines() if re.match(r"\| `\w+` ", line)]
        yield {cells[0].strip("` "): [cell.strip() for cell in cells] for cells in lines}


def test_the_page_of_tasks_names_exactly_those_that_there_are():
    inputs, losses = tables_of_tasks()
    assert set(inputs) == set(losses) == {path.stem for path in FILES}
    for path in FILES:
        name = yaml.safe_load(path.read_text(encoding="utf-8"))["name"]
        assert inputs[path.stem][1] == f"`{plugins.find('task', name).__name__}`"


@pytest.mark.parametrize("path", [path for path in FILES if path.stem != "file"], ids=lambda path: path.stem)
def test_the_page_of_tasks_says_what_their_classes_say(path):
    task = Configuration.parse({"task": yaml.safe_load(path.read_text(encoding="utf-8")), "sequence_length": 64}).task
    _, losses = tables_of_tasks()
    _, loss, _, stable, step, _ = losses[path.stem]
    named = {"squared error": "squared_error", "softmax": "softmax_cross_entropy", "sigmoid": "sigmoid_cross_entropy"}
    what, where = loss.split(", ")
    counted = sample(task).mask.astype(bool)
    places = {
        "every step": counted.all(),
        "last step": counted.nonzero()[0].tolist() == [63],
        "last S": counted[-2:].all(),
    }
    assert named[what] == task.loss_name and places[where]
    assert (stable == "yes") == task.prefix_stable
    assert (step != "–") == (sample(task).relevant_step is not None)


# what is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Noise(0), "sequence_length=0: must be an integer >= 1"),
        (lambda: Noise(-4), "sequence_length=-4: must be"),
        (lambda: Noise(2.5), "sequence_length=2.5: must be an integer"),
        (lambda: Noise(True), "sequence_length=True: must be an integer"),
        (lambda: Noise(5, input_size=0), "task.input_size=0: must be an integer >= 1"),
        (lambda: Noise(5, output_size="2"), "task.output_size='2': must be an integer"),
        (lambda: Adding(1), "sequence_length=1: must be an integer >= 2 .*a marker in each half"),
        (lambda: Copy(20), "sequence_length=20: must be an integer >= 21 .*10 symbols to read"),
        (lambda: Copy(4, symbols=2), "sequence_length=4: must be an integer >= 5 "),
        (lambda: Copy(30, symbols=0), "task.symbols=0: must be an integer >= 1"),
        (lambda: Copy(30, alphabet=1), "task.alphabet=1: must be an integer >= 2 .*nothing to remember"),
        (lambda: TemporalOrder(9), "sequence_length=9: must be an integer >= 10 for task 'temporal_order'"),
        (lambda: TemporalOrder(9, symbols=3), "sequence_length=9: must be an integer >= 10 "),
        (lambda: TemporalOrder(12, symbols=4), "task.symbols=4: must be 2 or 3"),
        (lambda: TemporalOrder(12, symbols=True), "task.symbols=True: must be 2 or 3"),
        (
            lambda: Multiplication(1),
            "sequence_length=1: must be an integer >= 2 .*'multiplication' .a marker in each",
        ),
        (lambda: DelayedRecall(1), "sequence_length=1: must be an integer >= 2 .*a marker in the first half"),
        (lambda: DelayedRecall(5, delay=5), "sequence_length=5: must be an integer >= 6 .*5 steps before the end"),
        (lambda: DelayedRecall(5, delay=-1), "task.delay=-1: must be an integer >= 0"),
        (lambda: DelayedRecall(5, delay=1.5), "task.delay=1.5: must be an integer"),
        (lambda: Parity(0), "sequence_length=0: must be an integer >= 1"),
        (lambda: RandomPermutation(1), "sequence_length=1: must be an integer >= 2 .*'random_permutation'"),
        (lambda: RandomPermutation(9, alphabet=2), "task.alphabet=2: must be an integer >= 3 "),
        (lambda: Memorization(10), "sequence_length=10: must be an integer >= 11 .*5 symbols to read, a cue"),
        (lambda: Memorization(20, 10, 5), "sequence_length=20: must be an integer >= 21 "),
        (lambda: Memorization(20, symbols=0), "task.symbols=0: must be an integer >= 1"),
        (lambda: Memorization(20, alphabet=1), "task.alphabet=1: must be an integer >= 2 .*nothing to remember"),
        (lambda: MackeyGlass(0), "sequence_length=0: must be an integer >= 1"),
        (lambda: MackeyGlass(5, horizon=0), "task.horizon=0: must be an integer >= 1"),
        (lambda: Lorenz(0), "sequence_length=0: must be an integer >= 1"),
        (lambda: Lorenz(5, horizon=0.5), "task.horizon=0.5: must be an integer"),
        (lambda: Characters(0), "sequence_length=0: must be an integer >= 1"),
        (
            lambda: Characters(8150),
            "sequence_length=8150: must be at most 8149, the characters of the shipped text but",
        ),
        (lambda: Digits(7), "sequence_length=7: must be an integer >= 8 .*by row"),
        (lambda: Digits(63, by="pixel"), "sequence_length=63: must be an integer >= 64 .*by pixel"),
        (lambda: Digits(64, by="pixels"), "task.by='pixels': must be 'pixel' or 'row'. Did you mean 'pixel'?"),
    ],
)
def test_fields_that_cannot_be_are_refused(make, message):
    with pytest.raises(ConfigurationError, match=message):
        make()


@each
def test_batch_sizes_that_cannot_be_are_refused(task):
    for size in (0, -1, 1.5, True):
        with pytest.raises(ConfigurationError, match="batch_size=.*: must be an integer >= 1"):
            sample(task, size)


def test_more_digits_than_exist_are_refused_before_drawing():
    with pytest.raises(ConfigurationError, match="batch_size=1798: task 'digits' has 1797 .* must be at most 1797"):
        Digits(8).check_batch_size(1798)
    with pytest.raises(ConfigurationError, match="batch_size=1798"):
        sample(Digits(8), 1798)


def test_tasks_are_found_by_name():
    assert {type(task) for task in ALL} | {tasks.File} == set(plugins.find_shipped("task").values())
    for name, kind in plugins.find_shipped("task").items():
        assert plugins.find("task", name) is kind is getattr(tasks, kind.__name__)
    with pytest.raises(ConfigurationError, match="task='nois': must be one of adding, .* Did you mean 'noise'?"):
        plugins.find("task", "nois")


# hold -----------------------------------------------------------------------------------------------------------------


def test_a_bit_is_given_once_and_is_the_target_at_every_step():
    batch = sample(Hold(9), batch_size=400)
    assert set(np.unique(batch.x[0])) == {-1.0, 1.0} and (batch.x[1:] == 0).all()
    assert np.array_equal(batch.target, np.broadcast_to(batch.x[0], batch.target.shape))
    assert abs(batch.x[0].mean()) < 5 / math.sqrt(400)


def test_a_linear_network_holds_it_with_one_eigenvalue_1():
    cell = Elman(input_size=1, hidden_size=3, output_size=1, activation="identity")
    params = {name: np.zeros(shape) for name, shape in cell.parameter_shapes().items()}
    params |= {"W": np.diag([1.0, 0.5, 0.0]), "V": np.eye(3, 1), "U": np.eye(1, 3)}
    batch = sample(Hold(30))
    assert Hold(30).loss(forward(cell, params, batch.x, engine="numpy").y_hat, batch).value == 0.0
