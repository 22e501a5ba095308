"""The batches of training: decided by seed and update, and finite sets divided once."""

import numpy as np
import pytest

import bpttlab as lab
from bpttlab.training import EpochBatches, FreshBatches

ADDING = lab.tasks.Adding(sequence_length=6)


def test_a_batch_depends_on_seed_and_update_alone():
    first, again, other = FreshBatches(ADDING, 0, 4), FreshBatches(ADDING, 0, 4), FreshBatches(ADDING, 1, 4)
    again.batch(3)
    assert (first.batch(7).x == again.batch(7).x).all()
    assert (first.batch(7).x != other.batch(7).x).any()
    assert (first.batch(7).x != first.batch(8).x).any()


def test_an_epoch_has_every_training_sequence_once():
    data = EpochBatches(ADDING, 0, 7, sequences=50, validation_share=0.2, test_share=0.1)
    seen = [data.batch(update).x for update in range(1, data.updates_of_an_epoch + 1)]
    assert [part.shape[1] for part in seen] == [7, 7, 7, 7, 7]
    keys = {part[:, b].tobytes() for part in seen for b in range(part.shape[1])}
    held = {part.x[:, b].tobytes() for part in (data.validation(), data.test()) for b in range(part.x.shape[1])}
    assert (len(keys), len(held)) == (35, 15)
    assert not keys & held


def test_epochs_have_orders_of_their_own():
    data = EpochBatches(ADDING, 0, 35, sequences=50, validation_share=0.2, test_share=0.1)
    again = EpochBatches(ADDING, 0, 35, sequences=50, validation_share=0.2, test_share=0.1)
    assert (data.batch(1).x != data.batch(2).x).any()
    assert (data.batch(2).x == again.batch(2).x).all()  # whatever was drawn before
    assert (np.sort(data.order_of(0)) == np.sort(data.order_of(1))).all()


def test_all_networks_have_the_same_test_sequences():
    parts = [EpochBatches(lab.tasks.Digits(sequence_length=8), seed, 16).test().x for seed in (0, 1)]
    assert (parts[0] == parts[1]).all()
    assert parts[0].shape[1] == 180


def test_targets_and_masks_follow_their_sequences():
    data = EpochBatches(ADDING, 0, 5, sequences=30)
    batch = data.batch(2)
    for b in range(5):
        marked = batch.x[:, b, 1] > 0
        assert batch.target[-1, b, 0] == pytest.approx(batch.x[marked, b, 0].sum())


def test_digits_are_learnt_by_epochs():
    task = lab.tasks.Digits(sequence_length=8)
    cell = lab.GRU(task.input_size, 24, task.output_size)
    trained = lab.train(
        cell, cell.init(0), task, data="epochs", learning_rate=1e-2, updates=300, batch_size=32, check_every=100,
        engine="numpy", progress=False,
    )  # fmt: skip
    assert trained.test().accuracy > 0.85
    assert trained.history["validation_accuracy"].notna().sum() == 3
