"""Tasks: what a batch holds, what guessing costs, and that equal generators give equal bytes."""

import hashlib
import math
from dataclasses import replace

import numpy as np
import pytest

from bpttlab import tasks
from bpttlab.errors import ConfigurationError
from bpttlab.tasks import Adding, Copy, Digits, Noise, TemporalOrder
from bpttlab.tasks.digits import images_and_labels

ALL = [
    Noise(12, input_size=3, output_size=2),
    Adding(12),
    Copy(23),
    Copy(12, symbols=4, alphabet=3),
    TemporalOrder(12),
    Digits(12, by="row"),
    Digits(70, by="pixel"),
]
each = pytest.mark.parametrize("task", ALL, ids=lambda task: f"{task.name}-{task.input_size}")


def sample(task, batch_size=5, seed=0):
    return task.sample(np.random.default_rng(seed), batch_size)


def as_bytes(batch):
    return batch.x.tobytes(), batch.target.tobytes(), batch.mask.tobytes()


@each
def test_shapes_and_types(task):
    batch, length = sample(task), task.sequence_length
    assert batch.x.shape == (length, 5, task.input_size) and batch.x.dtype == np.float64
    assert batch.mask.shape == (length,) and batch.mask.dtype == np.float64
    if task.loss_name == "squared_error":
        assert batch.target.shape == (length, 5, task.output_size) and batch.target.dtype == np.float64
    else:
        assert batch.target.shape == (length, 5) and batch.target.dtype == np.int64
        assert ((batch.target >= 0) & (batch.target < task.output_size)).all()
    assert np.isfinite(batch.x).all()


@each
def test_equal_generators_give_equal_bytes_and_one_generator_new_batches(task):
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


@pytest.mark.parametrize(
    ("task", "guess", "baseline", "tolerance"),
    [
        (Noise(50, input_size=1, output_size=3), 0.0, 3.0, 0.05),
        (Adding(10), 1.0, 1 / 6, 0.01),
        (Digits(8), 0.0, math.log(10), 1e-13),
        (TemporalOrder(10), 0.0, math.log(4), 1e-13),
    ],
    ids=["noise", "adding", "digits", "temporal_order"],
)
def test_guessing_costs_the_baseline(task, guess, baseline, tolerance):
    batch = sample(task, batch_size=1797)
    y_hat = np.full((task.sequence_length, 1797, task.output_size), guess)
    assert task.loss(y_hat, batch).value == pytest.approx(baseline, abs=tolerance)
    assert task.baseline_loss == baseline


# prefixes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", [task for task in ALL if task.prefix_stable], ids=lambda task: task.name)
@pytest.mark.parametrize("length", [1, 2, 63, 64, 65])
def test_a_shorter_batch_is_the_prefix_of_a_longer_one(task, length):
    fields = {"input_size": task.input_size, "output_size": task.output_size}
    short, long = sample(type(task)(length, **fields)), sample(type(task)(200, **fields))
    assert short.x.tobytes() == long.x[:length].tobytes()
    assert short.target.tobytes() == long.target[:length].tobytes()


def test_only_noise_claims_stable_prefixes():
    assert [task.name for task in ALL if task.prefix_stable] == ["noise"]


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
def test_two_relevant_symbols_stand_in_their_tenths_and_their_order_is_the_class(length):
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
def test_a_digit_is_read_from_the_top_left_and_followed_by_blanks(by, steps, blanks):
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


# what is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Noise(0), "sequence_length=0: must be a whole number >= 1"),
        (lambda: Noise(-4), "sequence_length=-4: must be"),
        (lambda: Noise(2.5), "sequence_length=2.5: must be a whole number"),
        (lambda: Noise(True), "sequence_length=True: must be a whole number"),
        (lambda: Noise(5, input_size=0), "task.input_size=0: must be a whole number >= 1"),
        (lambda: Noise(5, output_size="2"), "task.output_size='2': must be a whole number >= 1"),
        (lambda: Adding(1), "sequence_length=1: must be a whole number >= 2 .*a marker in each half"),
        (lambda: Copy(20), "sequence_length=20: must be a whole number >= 21 .*10 symbols to read"),
        (lambda: Copy(4, symbols=2), "sequence_length=4: must be a whole number >= 5 "),
        (lambda: Copy(30, symbols=0), "task.symbols=0: must be a whole number >= 1"),
        (lambda: Copy(30, alphabet=1), "task.alphabet=1: must be a whole number >= 2 .*nothing to remember"),
        (lambda: TemporalOrder(9), "sequence_length=9: must be a whole number >= 10 for task 'temporal_order'"),
        (lambda: Digits(7), "sequence_length=7: must be a whole number >= 8 .*by row"),
        (lambda: Digits(63, by="pixel"), "sequence_length=63: must be a whole number >= 64 .*by pixel"),
        (lambda: Digits(64, by="pixels"), "task.by='pixels': must be pixel or row. Did you mean 'pixel'?"),
    ],
)
def test_fields_that_cannot_be_are_refused(make, message):
    with pytest.raises(ConfigurationError, match=message):
        make()


@each
def test_batch_sizes_that_cannot_be_are_refused(task):
    for size in (0, -1, 1.5, True):
        with pytest.raises(ConfigurationError, match="batch_size=.*: must be a whole number >= 1"):
            sample(task, size)


def test_more_digits_than_there_are_is_refused_before_anything_is_drawn():
    with pytest.raises(ConfigurationError, match="batch_size=1798: task 'digits' has 1797 .* must be at most 1797"):
        Digits(8).check_batch_size(1798)
    with pytest.raises(ConfigurationError, match="batch_size=1798"):
        sample(Digits(8), 1798)


def test_tasks_are_found_by_name():
    for kind in (Noise, Adding, Copy, TemporalOrder, Digits, tasks.File):
        assert tasks.by_name(kind.name) is kind
    with pytest.raises(ConfigurationError, match="task='nois': must be one of adding, .* Did you mean 'noise'?"):
        tasks.by_name("nois")
