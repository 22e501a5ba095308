"""When a task is solved: each task's criterion as its page states it, and the steps that are judged."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import bpttlab as lab
from bpttlab import plugins
from bpttlab.gradients.engine import find_engine
from bpttlab.training import success
from bpttlab.training.success import evaluate_network

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "tasks.md").read_text(encoding="utf-8")


def stated_criteria():
    """Name of a task -> what the page says."""
    table = PAGE.split("| `task=` | solved at |")[1].split("\n\n")[0]
    rows = re.findall(r"^\| (`.*?) \| (.*?) \|", table, flags=re.MULTILINE)
    return {name: said for names, said in rows for name in re.findall(r"`(\w+)`", names)}


def test_the_page_has_the_criterion_of_every_task():
    stated = {re.sub("_(5bit|20bit|rows|pixels)", "", name): said for name, said in stated_criteria().items()}
    kinds = plugins.find_shipped("task")
    assert set(stated) == set(kinds)
    for name, kind in kinds.items():
        said = stated[name]
        number = re.search(r"≤ ([\d.]+)( %)?", said)
        found = None if number is None else float(number[1]) / (100 if number[2] else 1)
        assert found == kind.solved_below, name
        assert (kind.loss_name == "squared_error") == said.startswith("error") or found is None, name


def test_only_the_last_symbol_of_a_permutation_is_judged(monkeypatch):
    task = lab.tasks.RandomPermutation(sequence_length=6, alphabet=5)
    batch = task.sample(np.random.default_rng(0), 40)
    assert task.judged(batch).tolist() == [0, 0, 0, 0, 0, 1]
    y_hat = np.zeros((6, 40, 5))
    last = batch.target[-1]
    y_hat[-1, np.arange(40), np.where(np.arange(40) < 10, 1 - last, last)] = 1.0

    def forward(cell, params, x, h_0, engine, lengths):
        return type("Trace", (), {"y_hat": y_hat})

    monkeypatch.setattr(success, "forward", forward)
    cell = lab.Elman(task.input_size, 3, task.output_size)
    found = evaluate_network(cell, cell.init(0), task, batch, find_engine("numpy"))
    assert found.sequence_error == found.error == 0.25
    assert found.accuracy == 0.75
    everywhere = replace(batch, mask=np.ones(6))
    assert success.count_wrong(task.loss_name, y_hat, everywhere).wrong_sequences > 10


@pytest.mark.parametrize("task", [lab.tasks.Copy(sequence_length=24), lab.tasks.Parity(sequence_length=5)])
def test_other_tasks_are_judged_where_they_have_a_loss(task):
    batch = task.sample(np.random.default_rng(0), 3)
    assert task.judged(batch) is batch.mask


def test_a_short_permutation_is_solved():
    task = lab.tasks.RandomPermutation(sequence_length=3, alphabet=4)
    cell = lab.GRU(task.input_size, 12, task.output_size)
    trained = lab.train(
        cell, cell.init(0), task, updates=600, check_every=50, learning_rate=1e-2, check_sequences=200, engine="numpy"
    )
    assert trained.status == "solved"
