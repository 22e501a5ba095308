"""Data (B, T, I), which PyTorch calls batch_first, in place of (T, B, I): it is said where the axes are known."""

import re

import numpy as np
import pytest

import bpttlab as lab
from bpttlab.errors import ConfigurationError
from bpttlab.networks import losses

T, B = 12, 5
CELL = lab.Elman(2, 4, 1)
PARAMS = CELL.init(0)
TASK = lab.tasks.Adding(T)
BATCH = TASK.sample(0, B)
SWAPPED = BATCH.x.swapaxes(0, 1)


def refuse(said):
    return pytest.raises(ConfigurationError, match=f"{re.escape(said)}$")


def test_the_axes_that_an_initial_state_tells():
    with refuse("steps come before sequences: write x.swapaxes(0, 1)"):
        lab.forward(CELL, PARAMS, SWAPPED, np.zeros((B, 4)))
    with refuse("must be (B, N) = (5, 4)"):
        lab.forward(CELL, PARAMS, BATCH.x, np.zeros((7, 4)))


def test_the_axes_that_a_target_tells():
    trace = lab.forward(CELL, PARAMS, SWAPPED)
    with refuse("x or target looks like (B, T, ...), and steps come before sequences: write x.swapaxes(0, 1) or "
                "target.swapaxes(0, 1)"):  # fmt: skip
        TASK.loss(trace.y_hat, BATCH)
    with refuse("target: shape (3, 5, 1); must begin with (T, B) = (5, 12), the shape of predictions"):
        losses.evaluate("squared_error", trace.y_hat, np.zeros((3, 5, 1)), np.ones(B))


def test_the_axes_that_a_mask_tells():
    with refuse("mask: shape (12,); must be (T,) = (5,); x looks like (B, T, ...), and steps come before sequences: "
                "write x.swapaxes(0, 1)"):  # fmt: skip
        lab.loss_and_gradient(CELL, PARAMS, SWAPPED, BATCH.target.swapaxes(0, 1), np.ones(T))


def test_the_axes_that_a_loss_tells():
    trace = lab.forward(CELL, PARAMS, BATCH.x)
    gradient = TASK.loss(trace.y_hat, BATCH).gradient
    with refuse("write x.swapaxes(0, 1) or dL_dy_hat.swapaxes(0, 1)"):
        lab.backward(trace, gradient.swapaxes(0, 1))


@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_every_engine_says_it(engine):
    with refuse("write x.swapaxes(0, 1) or target.swapaxes(0, 1)"):
        lab.loss_and_gradient(CELL, PARAMS, SWAPPED, BATCH.target, engine=engine)


@pytest.mark.parametrize(
    ("loss_name", "target", "mask"),
    [
        ("softmax_cross_entropy", np.arange(B) % 2, None),
        ("softmax_cross_entropy", np.zeros((B, T)), None),
        ("squared_error", np.zeros((B, T, 1)), None),
        ("squared_error", np.zeros((T, B, 1)), np.ones(T)),
    ],
)
def test_in_a_file_sequences_come_first(tmp_path, loss_name, target, mask):
    path = tmp_path / "walks.npz"
    np.savez(path, x=BATCH.x, target=target, **({} if mask is None else {"mask": mask}))
    with refuse("x looks like (steps, sequences, inputs), and sequences come first: write x.swapaxes(0, 1)"):
        lab.tasks.File(4, path=str(path), loss_name=loss_name)
